"""What is shown fits the terminal, and long work is told of where nobody looks at a bar."""

from __future__ import annotations

import io
from itertools import count

import pytest
from rich.console import Console
from tests.unit.console.support import HALT, POSITION, status

from perpstrader.cli import progress
from perpstrader.cli.output import POSITION_COLUMNS, halt_text, position_cells, table
from perpstrader.cli.screen import render
from perpstrader.trader.earnings import Earnings
from perpstrader.trader.status import DecisionRow, HaltRow


def shown(width: int, thing: object) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=True, color_system=None).print(thing)
    return [line.rstrip() for line in out.getvalue().splitlines()]


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_positions_are_legible_at_any_width(width: int) -> None:
    lines = shown(width, table("Positions", POSITION_COLUMNS, [position_cells(POSITION)]))
    assert all(len(line) <= width for line in lines)
    text = " ".join(line.strip() for line in lines)
    for cell in ("BTC", "0.01", "100000", "98000", "40.59", "confirmed"):
        assert cell in text
    assert "liquidation" in text


def test_the_whole_screen_fits_sixty_columns() -> None:
    lines = shown(60, render(status(halts=(HALT,)), {"console": "http://127.0.0.1:8420"}))
    assert all(len(line) <= 60 for line in lines)


def test_a_small_terminal_shows_the_newest_decision_first_each_in_one_line_and_cuts_no_figure() -> None:
    rows = tuple(
        DecisionRow(
            id=f"t{n}", time_ms=n * 1_000, kind="decision", symbol="BTC", strategy="trend", wanted="open long",
            verdict="refused", why="SPREAD_TOO_WIDE: 7.2 bps, limit 5 bps (wait for a tighter book)",
        )
        for n in range(12)
    )  # fmt: skip
    lines = shown(80, render(status(decisions=rows), {"console": "http://127.0.0.1:8420"}, live=True))
    assert all(len(line) <= 80 for line in lines)
    at = lines.index("Last decisions")
    assert [line[:8] for line in lines[at + 1 :]] == [f"00:00:{n:02}" for n in range(11, 3, -1)]
    told = " ".join(" ".join(lines[:at]).split())
    for figure in ("longest without a stop", "free ", "compared with the venue"):
        assert figure in told


def test_a_trader_that_stops_raises_no_alarm_about_what_its_stop_ends() -> None:
    alarmed = "\n".join(shown(200, render(status(connected=False, reconciled=False), {})))
    assert "stream is down" in alarmed
    stopping = "\n".join(shown(200, render(status(connected=False, reconciled=False, stopping=True), {})))
    assert "the trader is stopping" in stopping
    assert "stream is down" not in stopping
    assert "compared with the venue; entries wait" not in stopping


def test_a_halt_says_until_when() -> None:
    assert halt_text(HALT).endswith(", until `perpstrader resume` (operator) by ann: lunch")
    ends = HaltRow(kind="loss_streak", since_ms=0, until_ms=3_600_000, reason="5 losses", actor="limits")
    assert "until 1970-01-01 01:00:00 UTC (loss_streak)" in halt_text(ends)


def test_the_money_of_a_run_is_told_apart() -> None:
    made = Earnings(realized_usd="8.80", open_usd="10.00", equity_change_usd="18.80")
    (line,) = [line for line in shown(200, render(status(earnings=made), {})) if line.startswith("equity")]
    assert "since the start 18.80  realised 8.8  open 10.00  realised today -1.2" in line


def test_long_work_is_told_of_in_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    clock = count(0, 4)
    tell = progress._lines("replay of x", now=lambda: float(next(clock)))
    for tenth in range(1, 8):
        tell(tenth / 10)
    assert capsys.readouterr().err.splitlines() == [
        "replay of x: 30% after 12 s, about 28 s left",
        "replay of x: 60% after 24 s, about 16 s left",
    ]
    with progress.progress_bar("x", quiet=True) as nothing:
        assert nothing is None
    with progress.progress_bar("x", quiet=False) as lines:
        assert lines is not None


def test_the_reasons_of_refusals_add_up_although_three_are_named() -> None:
    counts = {"COOLDOWN": 6, "OWNED_BY": 4, "DRAWDOWN": 3, "VOLATILITY": 2, "HALTED": 1}
    told = " ".join(shown(200, render(status(refused=16, refused_by_reason=counts), {})))
    assert "refused 16 (COOLDOWN 6, OWNED_BY 4, DRAWDOWN 3, 3 for others)" in told
    few = " ".join(shown(200, render(status(refused=6, refused_by_reason={"COOLDOWN": 6}), {})))
    assert "refused 6 (COOLDOWN 6) " in few
