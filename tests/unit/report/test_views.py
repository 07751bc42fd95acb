"""The page and the terminal show the same run, escape what is not theirs, and need nothing from outside."""

from __future__ import annotations

import io
import json
import re
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from rich.console import Console
from tests.unit.report.report_samples import sample_report

from perpstrader.report import ReplayReport, print_report, render_html, report_lines, write_html
from perpstrader.report.charts import nice_ticks, time_ticks
from perpstrader.report.html import MAX_LISTED_TRADES
from perpstrader.report.text import duration_text, percent_text, price_text, usd_text

EVIL = '</script><script>alert(1)</script><img src=x onerror="alert(2)">'
VOID = {"meta", "input", "path", "br", "img"}


class Reader(HTMLParser):
    """Checks that each tag is closed in its turn, and collects what the page would load or run."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.scripts += tag == "script"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def report() -> ReplayReport:
    return sample_report()


def test_the_page_is_whole_and_asks_the_network_for_nothing(report: ReplayReport) -> None:
    page = render_html(report)
    reader = read(page)
    assert not [a for a in reader.attributes if a[1] in ("src", "href", "srcset") or a[1].startswith("on")]
    assert "default-src &#x27;none&#x27;" in page
    assert "http:" not in page
    assert "https:" not in page
    assert "@import" not in page
    assert "url(" not in page


def test_the_page_shows_what_it_must(report: ReplayReport) -> None:
    page = render_html(report)
    assert "Not evidence of profit" in page
    for cost in report.costs:
        assert f"{cost.multiple}x costs" in page
        assert usd_text(cost.net_pnl_usd, signed=True) in page
    for reason, count in report.decisions.refused_by_reason.items():
        assert f"<code>{reason}</code>" in page
        assert f"<dd>{count}</dd>" in page
    assert report.fingerprint in page
    assert page.count("<tbody>") == 4
    assert 'class="plot equity"' in page
    assert 'class="plot drawdown"' in page


def test_the_curve_in_the_page_is_that_of_the_report(report: ReplayReport) -> None:
    found = re.search(r'id="curve">(.*?)</script>', render_html(report))
    assert found is not None
    points = json.loads(found.group(1))
    assert [point[0] for point in points] == [point.time_ms for point in report.equity]
    assert len(points) <= 2_000


def test_what_comes_from_the_run_cannot_become_markup(report: ReplayReport) -> None:
    trades = tuple(msgspec.structs.replace(trade, strategy=EVIL, symbol=EVIL, exit=EVIL) for trade in report.trades[:5])
    evil = msgspec.structs.replace(
        report,
        title=EVIL,
        version=EVIL,
        fingerprint=EVIL,
        trades=trades,
        recording=msgspec.structs.replace(report.recording, source=EVIL, symbols=(EVIL,), interval=EVIL),
        decisions=msgspec.structs.replace(report.decisions, refused_by_reason={EVIL: 3}),
        by_strategy=tuple(msgspec.structs.replace(row, name=EVIL) for row in report.by_strategy),
        by_symbol=tuple(msgspec.structs.replace(row, name=EVIL) for row in report.by_symbol),
        speed=msgspec.structs.replace(report.speed, breakdown=((EVIL, 1.0),)),
    )
    page = render_html(evil)
    reader = read(page)
    assert reader.scripts == 2
    assert not [a for a in reader.attributes if a[0] == "img" or a[1].startswith("on")]
    console = Console(file=io.StringIO(), force_terminal=True, width=200)
    print_report(msgspec.structs.replace(report, title="[bold]x[/bold] [/nothing]"), console)


def test_the_pages_policy_allows_exactly_its_own_script(report: ReplayReport) -> None:
    page = render_html(report)
    assert re.search(r"script-src &#x27;sha256-[A-Za-z0-9+/=]{44}&#x27;;", page)
    assert "script-src &#x27;unsafe-inline" not in page


def test_equal_reports_give_equal_pages(report: ReplayReport) -> None:
    assert render_html(report) == render_html(sample_report())


def test_a_run_without_trades_or_refusals_is_a_page_too(report: ReplayReport) -> None:
    quiet = msgspec.structs.replace(
        report,
        trades=(),
        equity=(),
        by_strategy=(),
        decisions=msgspec.structs.replace(report.decisions, refused_by_reason={}),
        speed=msgspec.structs.replace(report.speed, breakdown=(), decisions_per_second=None),
    )
    page = render_html(quiet)
    read(page)
    assert "No position was opened" in page
    assert "Nothing was refused" in page
    assert report_lines(quiet)


def test_books_that_do_not_balance_and_liquidations_raise_an_alarm(report: ReplayReport) -> None:
    sound = msgspec.structs.replace(report, halts=report.halts[:1])
    assert 'role="alert"' not in render_html(sound), "a halt that ended is no alarm"
    wrong = msgspec.structs.replace(
        report,
        money=msgspec.structs.replace(report.money, identity_error_usd=Decimal("-0.01")),
        safety=msgspec.structs.replace(report.safety, liquidations=2),
    )
    page = render_html(wrong)
    assert "The books do not balance: net PnL and equity differ by $0.01" in page
    assert "2 liquidations happened" in page


def test_a_long_run_lists_its_last_trades_and_says_so() -> None:
    page = render_html(sample_report(38_531))
    assert page.count('<tr><td class="t" data-v=') == MAX_LISTED_TRADES
    assert "the last 1,000 of 1,213" in page


def test_a_page_is_written_whole_or_not_at_all(report: ReplayReport, tmp_path: Path) -> None:
    path = write_html(report, tmp_path / "new" / "report.html")
    assert path.read_text(encoding="utf-8") == render_html(report)
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_piped_output_is_plain_lines(report: ReplayReport) -> None:
    out = io.StringIO()
    print_report(report, Console(file=out), html=Path("report.html"))
    text = out.getvalue()
    assert "\x1b" not in text
    assert "│" not in text
    assert f"fingerprint: {report.fingerprint}\n" in text
    assert "refused POSITION_EXISTS: 812\n" in text
    assert text.endswith("report: report.html\n")


def test_a_terminal_gets_tables_with_the_same_figures(report: ReplayReport) -> None:
    out = io.StringIO()
    print_report(report, Console(file=out, force_terminal=True, width=160, no_color=True))
    text = out.getvalue()
    for name, value in report_lines(report)[1:12]:
        assert name in text
        assert value in text
    assert "Refusals by reason" in text


def test_the_json_line_has_what_programs_read(report: ReplayReport) -> None:
    line = json.loads(json.dumps(report.summary()))
    wanted = {"bars", "signals", "approved", "refused", "fills", "fees_usd", "funding_usd", "net_pnl_usd",
              "equity_identity_error_usd", "fingerprint", "bars_per_second", "data_grade"}  # fmt: skip
    assert wanted <= line.keys()
    assert line["signals"] == line["approved"] + line["refused"]
    assert Decimal(line["net_pnl_usd"]) == report.money.net_pnl_usd
    assert sum(line["refused_by_reason"].values()) == line["refused"]


def test_numbers_are_written_as_people_read_them() -> None:
    assert usd_text(Decimal("-1234.505"), signed=True) == "\u2212$1,234.50"
    assert usd_text(Decimal("0.001"), signed=True) == "$0.00"
    assert usd_text(None) == "\u2013"
    assert percent_text(0.12345, signed=True) == "+12.35 %"
    assert percent_text(-0.00001) == "0.00 %"
    assert price_text(Decimal("104123.5")) == "104124"
    assert price_text(Decimal("0.0068471234")) == "0.00684712"
    assert [duration_text(ms) for ms in (850, 4_200, 90_000, 3_600_000, 277_200_000)] == [
        "850 ms", "4.2 s", "1 min 30 s", "1 h", "3 d 5 h",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (-0.0388, 0.0), (998.2, 1_003.9), (0.00002, 0.00003), (-5e6, 9e6)]
)
def test_axis_ticks_are_few_and_inside(low: float, high: float) -> None:
    ticks = nice_ticks(low, high)
    assert 2 <= len(ticks) <= 6
    assert all(low - 1e-9 * abs(low) <= tick <= high + 1e-9 * abs(high) for tick in ticks)


@pytest.mark.parametrize("days", [1 / 86_400, 1 / 1440, 1 / 24, 1, 9, 40, 134, 365, 2_000])
def test_time_ticks_are_few_and_inside(days: float) -> None:
    start = 1_741_946_400_000
    end = start + int(days * 86_400_000)
    ticks = time_ticks(start, end)
    assert 1 <= len(ticks) <= 9
    assert all(start <= time_ms <= end for time_ms, _ in ticks)


def test_an_unknown_grade_is_refused() -> None:
    from perpstrader.report import Recording, replay_report

    sample = sample_report(400)
    recording: Recording = msgspec.structs.replace(sample.recording, grade="gold")
    with pytest.raises(ValueError, match="'gold' is not known; allowed are synthetic, candle, bbo, book"):
        replay_report(
            title="", version="", seed=0, fingerprint="", recording=recording, decisions_by_strategy={}, orders=0,
            fills=0, money=sample.money, safety=sample.safety, speed=sample.speed, curve=[], trades=[],
        )  # fmt: skip
