"""The daily analysis as a page to read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final

from perpstrader.domain.money import plain
from perpstrader.traces.analysis import Analysis, Told
from perpstrader.traces.outcomes import Outcome

_CENT: Final = Decimal("0.01")
_OUTCOMES: Final = ("decisions", "orders", "ended", "win rate", "expectancy USD", "profit factor", "net USD")


def as_markdown(analysis: Analysis) -> str:
    """The page; every number is of the UTC day that its title names."""
    return "\n".join(_lines(analysis)) + "\n"


def _lines(day: Analysis) -> Iterator[str]:
    yield f"# {day.day}"
    yield ""
    if day.total is None:
        yield "Nothing was decided."
        return
    total = day.total
    yield (
        f"{total.decisions} decisions, {total.executed} led to an order, {total.failed} had errors. {total.ended} "
        f"positions that were opened have ended by now, {total.wins} with a profit: {_usd(total.net_usd)} USD net."
    )
    yield from _section("Outcomes", ("", *_OUTCOMES), [("all", *_cells(total))])
    for name, rows in (("kind", day.by_kind), ("strategy", day.by_strategy), ("symbol", day.by_symbol)):
        cells = [(str(row.key[name]) or "-", *_cells(row)) for row in rows]
        yield from _section(f"By {name}", (name, *_OUTCOMES), cells)
    yield from _section("Refusals", ("reason", "times"), [(reason, str(count)) for reason, count in day.refusals])
    after = [
        (
            row.reason or "(all)", str(row.bars), str(row.won), str(row.lost), str(row.even), str(row.unknown),
            "-" if row.mean_fraction is None else f"{row.mean_fraction:+.3%}",
        )
        for row in day.refusals_after
    ]  # fmt: skip
    columns = ("reason", "bars after", "would have won", "lost", "even", "not known", "mean move")
    yield from _section("What refusals missed and spared (closes in the record, before costs)", columns, after)
    bins = [
        (f"{b.low:.1f}-{b.high:.1f}", str(b.ended), f"{b.mean_confidence:.0%}", f"{b.win_rate:.0%}", _usd(b.net_usd))
        for b in day.calibration
    ]
    yield from _section("Confidence against outcome", ("confidence", "ended", "said", "won", "net USD"), bins)
    yield from _told("Best decisions", day.best)
    yield from _told("Worst decisions", day.worst)
    changes = [(change.what, change.before or "-", change.now or "-") for change in day.changes]
    yield from _section("Against the day before", ("", "then", "now"), changes)
    if day.errors:
        yield from ("", "## Errors", "", *(f"- {_safe(text)}" for text in day.errors))
    yield ""
    yield f"Settings {', '.join(name[:12] for name in day.settings)}; version {', '.join(day.versions)}."


def _told(title: str, rows: Sequence[Told]) -> Iterator[str]:
    columns = ("trace", "symbol", "strategy", "side", "net USD", "why")
    cells = [(row.id, row.symbol, row.strategy, row.side, _usd(row.outcome_usd), row.why) for row in rows]
    yield from _section(title, columns, cells)


def _section(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if rows:
        yield from ("", f"## {title}", "", _row(columns), _row(["---"] * len(columns)))
        yield from (_row(row) for row in rows)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_safe(cell) for cell in cells)} |"


def _safe(text: str) -> str:
    """Text of others stays one cell: no line breaks, no bars, no markup."""
    plain_text = " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")
    return plain_text.replace("<", "&lt;").replace("[", "\\[")


def _cells(row: Outcome) -> tuple[str, ...]:
    return (
        str(row.decisions), str(row.executed), str(row.ended),
        "-" if row.win_rate is None else f"{row.win_rate:.0%}",
        "-" if row.expectancy_usd is None else _usd(row.expectancy_usd),
        "-" if row.profit_factor is None else f"{row.profit_factor:.2f}", _usd(row.net_usd),
    )  # fmt: skip


def _usd(amount: Decimal) -> str:
    return plain(amount.quantize(_CENT))
