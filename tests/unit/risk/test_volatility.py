"""The move of the market within an hour: what it counts, and the edges of its limits (S33, S41)."""

from __future__ import annotations

from decimal import Decimal

from tests.unit.risk.risk_samples import D, approved, judged, reasons, state

from perpstrader.domain import Candle, Reason
from perpstrader.risk.volatility import HourlyMove

MINUTE = 60_000
HOUR = 3_600_000


def bar(minute: int, low: int, high: int, close: int, *, length_ms: int = MINUTE, symbol: str = "BTC") -> Candle:
    """A bar that closes with that minute of the epoch."""
    close_ms = (minute + 1) * MINUTE - 1
    return Candle(
        symbol=symbol, interval="1m", open_ms=close_ms + 1 - length_ms, close_ms=close_ms, open=D(close), high=D(high),
        low=D(low), close=D(close), volume=D(1),
    )  # fmt: skip


def test_it_is_the_distance_of_the_newest_close_from_the_hours_low_or_high() -> None:
    move = HourlyMove()
    for candle in (bar(100, 99, 100, 100), bar(101, 80, 100, 90), bar(102, 88, 92, 90)):
        move.take(candle)
    assert move.fraction(103 * MINUTE) == Decimal(90) / 80 - 1


def test_what_is_older_than_an_hour_counts_no_more_and_silence_is_unknown() -> None:
    move = HourlyMove()
    assert move.fraction(0) is None
    move.take(bar(100, 50, 200, 100))
    move.take(bar(160, 100, 100, 100))
    assert move.fraction(161 * MINUTE) == 0
    assert move.fraction(161 * MINUTE + HOUR) is None


def test_a_bar_of_more_than_an_hour_and_one_that_is_late_say_nothing() -> None:
    move = HourlyMove()
    move.take(bar(100, 50, 200, 100, length_ms=2 * HOUR))
    assert move.fraction(101 * MINUTE) is None
    move.take(bar(102, 100, 100, 100))
    move.take(bar(101, 50, 200, 100))
    assert move.fraction(103 * MINUTE) == 0


def test_S33_S41_the_limits_themselves_are_allowed() -> None:
    usual = approved(judged(memory=state())).size
    assert approved(judged(memory=state(market_move_fraction=D("0.05")))).size == usual
    halved = approved(judged(memory=state(market_move_fraction=D("0.0500001"))))
    assert halved.size <= usual / 2
    assert "fast market" in halved.warnings[0]
    assert approved(judged(memory=state(market_move_fraction=D("0.1")))).size == halved.size
    assert reasons(judged(memory=state(market_move_fraction=D("0.1000001")))) == [Reason.VOLATILITY]


def test_S41_an_unknown_move_passes_with_a_warning() -> None:
    found = approved(judged(memory=state(market_move_fraction=None)))
    assert "VOLATILITY not judged: input unknown" in found.warnings
