"use strict";
(() => {
  const data = JSON.parse(document.getElementById("curve").textContent);
  const reading = document.getElementById("reading");
  const plots = [...document.querySelectorAll(".plot")];
  const money = new Intl.NumberFormat("en-US", { style: "currency", currency: "USD" });
  const first = data.length ? data[0][0] : 0;
  const span = data.length ? Math.max(1, data[data.length - 1][0] - first) : 1;

  const nearest = (time) => {
    let low = 0, high = data.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (data[middle][0] < time) low = middle + 1; else high = middle;
    }
    return low > 0 && time - data[low - 1][0] < data[low][0] - time ? low - 1 : low;
  };

  const show = (index) => {
    const [time, equity, drawdown] = data[index];
    reading.textContent = `${new Date(time).toISOString().slice(0, 16).replace("T", " ")} UTC · equity ${money.format(equity)} · ` +
      `drawdown ${(100 * drawdown).toFixed(2)} %`;
    for (const plot of plots) {
      const value = plot.classList.contains("drawdown") ? -drawdown : equity;
      const low = Number(plot.dataset.low), high = Number(plot.dataset.high);
      const left = `${100 * (time - first) / span}%`;
      const rule = plot.querySelector(".rule"), dot = plot.querySelector(".dot");
      rule.style.left = dot.style.left = left;
      dot.style.top = `${100 * (1 - (value - low) / (high - low))}%`;
      rule.hidden = dot.hidden = false;
    }
  };

  const idle = reading ? reading.textContent : "";
  for (const plot of data.length > 1 ? plots : []) {
    plot.addEventListener("pointermove", (event) => {
      const box = plot.getBoundingClientRect();
      show(nearest(first + span * Math.min(1, Math.max(0, (event.clientX - box.left) / box.width))));
    });
    plot.addEventListener("pointerleave", () => {
      reading.textContent = idle;
      for (const mark of document.querySelectorAll(".rule, .dot")) mark.hidden = true;
    });
  }

  for (const table of document.querySelectorAll("table[data-sortable]")) {
    const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = head.querySelector("button");
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") !== "descending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const value = (row) => row.cells[column].dataset.v ?? row.cells[column].textContent;
        const compare = (a, b) => {
          const x = value(a), y = value(b), p = Number(x), q = Number(y);
          return Number.isNaN(p) || Number.isNaN(q) ? x.localeCompare(y) : p - q;
        };
        body.append(...[...body.rows].sort((a, b) => (down ? compare(b, a) : compare(a, b))));
      });
    });
    const filter = document.querySelector("input[data-filters]");
    filter.addEventListener("input", () => {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of body.rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
    });
  }
})();
