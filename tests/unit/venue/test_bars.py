"""Closed bars out of candle frames: each once, in order, and only when it can no longer change."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.venue.frames import MINUTE, START, candle

from perpstrader.domain import Candle
from perpstrader.venue.bars import GRACE_MS, BarAssembler, BarGap
from perpstrader.venue.skew import VenueClock
from perpstrader.venue.wire import WireError
from perpstrader.venue.wire.market import CandleWire


class HandClock:
    """A clock that stands where it is put."""

    def __init__(self, now_ms: int = START) -> None:
        self.now = now_ms

    def now_ms(self) -> int:
        return self.now

    def monotonic_ns(self) -> int:
        return self.now * 1_000_000

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("the assembler never waits")


class Bench:
    """An assembler with its clock, and what came out of it in the order it came."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.out: list[Candle | BarGap] = []
        self.venue_clock = VenueClock(self.clock)
        self.assembler = BarAssembler(self.venue_clock, self.out.append, self.out.append)

    def frame(self, minute: int, close: str = "64005.0", coin: str = "BTC", **changes: Any) -> None:
        raw = {**candle(START + minute * MINUTE, close, coin), **changes}
        self.assembler.take(msgspec.convert(raw, CandleWire))

    def at(self, minute: float) -> Bench:
        self.clock.now = START + round(minute * MINUTE)
        return self

    @property
    def bars(self) -> list[tuple[str, int, str]]:
        return [
            (b.symbol, (b.open_ms - START) // MINUTE, str(b.close)) for b in self.out if isinstance(b, Candle)
        ]  # fmt: skip


def test_a_frame_whose_bar_is_over_is_a_bar_at_once() -> None:
    bench = Bench().at(1)
    bench.frame(0)
    assert bench.bars == [("BTC", 0, "64005.0")]


def test_a_bar_that_is_open_waits_for_the_first_frame_of_the_next_and_has_its_newest_values() -> None:
    bench = Bench().at(0.5)
    bench.frame(0, "64005.0")
    bench.frame(0, "64007.0")
    assert bench.bars == []
    bench.at(1).frame(1)
    assert bench.bars == [("BTC", 0, "64007.0")]


def test_a_quiet_bar_is_emitted_when_its_end_and_the_grace_have_passed() -> None:
    bench = Bench().at(0.9)
    bench.frame(0)
    due = bench.assembler.next_due_ms()
    assert due == START + MINUTE + GRACE_MS
    bench.assembler.flush_due(due - 1)
    assert bench.bars == []
    bench.assembler.flush_due(due)
    bench.assembler.flush_due(due + MINUTE)
    assert bench.bars == [("BTC", 0, "64005.0")]
    assert bench.assembler.next_due_ms() is None


def test_late_and_repeated_frames_of_an_emitted_bar_are_dropped_and_counted() -> None:
    bench = Bench().at(2)
    bench.frame(0)
    bench.frame(1)
    bench.frame(1, "1.0")
    bench.frame(0, "1.0")
    assert bench.bars == [("BTC", 0, "64005.0"), ("BTC", 1, "64005.0")]
    assert bench.assembler.late == 2


def test_missing_bars_are_reported_before_the_bar_that_shows_the_gap() -> None:
    bench = Bench().at(9)
    bench.frame(0)
    bench.frame(3)
    gap = BarGap(symbol="BTC", interval="1m", start_ms=START + MINUTE, end_ms=START + 3 * MINUTE - 1)
    assert bench.out[1] == gap
    assert [b[1] for b in bench.bars] == [0, 3]
    assert bench.assembler.gaps == 1


def test_over_a_network_a_bar_that_ended_within_the_round_trip_may_still_change() -> None:
    bench = Bench()
    bench.venue_clock.observe(START, START - 150, START + 150)
    bench.at(1)
    bench.frame(0, "64005.0")
    assert bench.bars == []
    bench.frame(0, "64006.0")
    bench.at(2)
    bench.frame(1)
    assert bench.bars[0] == ("BTC", 0, "64006.0")


def test_after_a_lost_connection_a_bar_that_was_open_is_not_made_up() -> None:
    bench = Bench().at(0.5)
    bench.frame(-1)
    bench.frame(0)
    bench.assembler.drop_pending()
    bench.at(3)
    bench.frame(2)
    assert [b[1] for b in bench.bars] == [-1, 2]
    assert bench.assembler.gaps == 1


def test_a_bar_of_numbers_that_are_none_is_no_bar_and_what_was_kept_stays() -> None:
    bench = Bench().at(0.5)
    bench.frame(0)
    for text in ("NaN", "Infinity", "1e5", ""):
        with pytest.raises(WireError):
            bench.frame(1, text)
    bench.at(3)
    bench.frame(1)
    assert [b[1] for b in bench.bars] == [0, 1]


FRAMES = st.lists(
    st.tuples(st.integers(0, 8), st.sampled_from(["BTC", "ETH"]), st.integers(0, 40), st.booleans()), max_size=60
)


@given(frames=FRAMES)
def test_whatever_comes_in_whatever_order_bars_come_out_once_and_in_order(
    frames: list[tuple[int, str, int, bool]],
) -> None:
    bench = Bench()
    quarter = 0
    for minute, coin, step, flush in frames:
        quarter += step
        bench.at(quarter / 4)
        bench.frame(minute, coin=coin)
        if flush:
            bench.assembler.flush_due(bench.clock.now)
    bench.assembler.flush_due(START + 10_000 * MINUTE)
    for coin in ("BTC", "ETH"):
        minutes = [minute for symbol, minute, _ in bench.bars if symbol == coin]
        assert minutes == sorted(set(minutes))
        heard = {minute for minute, symbol, _, _ in frames if symbol == coin}
        assert set(minutes) <= heard
        assert not heard or max(heard) in minutes
