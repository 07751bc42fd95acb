"""The report says when and why trading paused or ended."""

from __future__ import annotations

from tests.unit.report.report_samples import sample_report

from perpstrader.domain import Halt, HaltKind
from perpstrader.report import HaltSpan, render_html, report_lines
from perpstrader.report.halts import halted_ms, trading_ended
from perpstrader.risk.contract import HaltChange
from perpstrader.simulate.watch import Watch


def span(since_ms: int, until_ms: int | None, kind: str = "loss_streak") -> HaltSpan:
    """A halt."""
    return HaltSpan(kind=kind, reason="4 losing round trips", actor="risk limits", since_ms=since_ms, until_ms=until_ms)


def test_time_in_which_two_halts_were_in_force_counts_once() -> None:
    assert halted_ms([], 100) == 0
    assert halted_ms([span(10, 30), span(20, 50), span(25, 28)], 100) == 40
    assert halted_ms([span(90, None), span(10, 30)], 100) == 30


def test_trading_ended_with_the_first_halt_that_nothing_ended() -> None:
    assert trading_ended([span(10, 30)]) is None
    assert trading_ended([span(50, None), span(40, None, "drawdown"), span(10, 30)]) == span(40, None, "drawdown")


def test_both_views_and_the_json_say_when_trading_ended_and_what_it_cost() -> None:
    report = sample_report(bars=1_000)
    lines = dict(report_lines(report))
    assert lines["trading ended"].startswith("(drawdown) from 2025-")
    assert "0.1001 under its peak" in lines["trading ended"]
    assert "207 entries refused meanwhile" in lines["trading ended"]
    assert "ended by risk limits: its time is over" in lines["halt loss_streak"]
    assert lines["max drawdown"].startswith("10.01 % ($100.10) at every mark, ")
    page = render_html(report)
    assert "Trading ended (drawdown)" in page
    assert "207 entries refused meanwhile" in page
    line = report.summary()
    assert line["trading_ended_ms"] == report.halts[1].since_ms
    assert line["halted_ms"] == report.recording.end_ms - report.halts[1].since_ms + 48 * 300_000
    assert [row["refused"] for row in line["halts"]] == [12, 207]  # type: ignore[attr-defined,index]  # it is a list


def _change(kind: HaltKind, time_ms: int, *, began: bool, reason: str = "a reason") -> HaltChange:
    halt = Halt(kind=kind, since_ms=time_ms, reason=reason, actor="risk limits")
    return HaltChange(halt=halt, began=began, time_ms=time_ms, actor="risk limits", reason=reason)


def test_a_halt_that_gets_stricter_stays_one_and_ends_once() -> None:
    watch = Watch()
    watch.on_halt(_change(HaltKind.DAILY_LOSS, 10, began=True))
    watch.on_halt(_change(HaltKind.LOSS_STREAK, 15, began=True))
    watch.on_halt(_change(HaltKind.DAILY_LOSS, 20, began=True, reason="worse"))
    watch.on_halt(_change(HaltKind.DAILY_LOSS, 30, began=False, reason="its time is over"))
    watch.on_halt(_change(HaltKind.DAILY_LOSS, 40, began=True))
    assert [(s.kind, s.since_ms, s.until_ms, s.reason) for s in watch.halts] == [
        ("daily_loss", 10, 30, "worse"), ("loss_streak", 15, None, "a reason"), ("daily_loss", 40, None, "a reason"),
    ]  # fmt: skip
