"""The newest market: nothing older replaces it, a snapshot is made once a version, the hourly range is Wilder's."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.venue import frames
from tests.unit.venue.frames import START

from perpstrader.domain import BookLevel, Candle
from perpstrader.venue.contract import Book
from perpstrader.venue.market_data import DEPTH_LIFE_MS, MarketData
from perpstrader.venue.ranges import HOUR_MS, PERIOD
from perpstrader.venue.wire import WireError, ws
from perpstrader.venue.wire.market import AssetCtx, Trade

HOUR_0 = START // HOUR_MS * HOUR_MS


def bbo(time_ms: int, bid: str | None = "64000.0", ask: str | None = "64001.0") -> ws.Bbo:
    return msgspec.convert(frames.bbo(time_ms, bid, ask), ws.Bbo)


def context(**changes: str) -> AssetCtx:
    return msgspec.convert(frames.context(**changes)["ctx"], AssetCtx)


def book(time_ms: int, bid: str = "63999", ask: str = "64002") -> Book:
    bids, asks = ((BookLevel(Decimal(price), Decimal(2)),) for price in (bid, ask))
    return Book(symbol="BTC", time_ms=time_ms, bids=bids, asks=asks)


def bar(open_ms: int, high: str, low: str, close: str, length_ms: int = HOUR_MS) -> Candle:
    return Candle(
        symbol="BTC", interval="1h", open_ms=open_ms, close_ms=open_ms + length_ms - 1, open=Decimal(low),
        high=Decimal(high), low=Decimal(low), close=Decimal(close), volume=Decimal(1),
    )  # fmt: skip


def test_nothing_is_known_before_the_first_frame() -> None:
    market = MarketData()
    assert market.snapshot("BTC") is None
    assert market.mark("BTC") is None
    assert market.version("BTC") == 0


def test_a_snapshot_holds_the_newest_of_each_series_with_the_venues_times() -> None:
    market = MarketData()
    market.take_bbo(bbo(START))
    market.take_context("BTC", context(), START + 7)
    snapshot = market.snapshot("BTC")
    assert snapshot is not None
    assert (snapshot.bid, snapshot.ask, snapshot.book_ms) == (Decimal("64000.0"), Decimal("64001.0"), START)
    assert (snapshot.mark, snapshot.oracle, snapshot.context_ms) == (Decimal("64000.5"), Decimal("64010.0"), START + 7)
    assert snapshot.funding_rate == Decimal("0.0000125")
    assert snapshot.day_volume_usd == Decimal("1169046.29")
    assert market.mark("BTC") == Decimal("64000.5")
    assert snapshot.last is None
    assert snapshot.atr is None


def test_the_same_version_is_the_same_snapshot_and_each_change_is_a_new_one() -> None:
    market = MarketData()
    market.take_bbo(bbo(START))
    first = market.snapshot("BTC")
    assert market.snapshot("BTC") is first
    market.take_bbo(bbo(START + 1, "64000.5", "64001.0"))
    second = market.snapshot("BTC")
    assert first is not None
    assert second is not None
    assert second.version > first.version
    assert second.bid == Decimal("64000.5")


def test_a_frame_older_than_what_is_held_changes_nothing() -> None:
    market = MarketData()
    market.take_bbo(bbo(START))
    market.take_book(book(START))
    held = market.snapshot("BTC")
    market.take_bbo(bbo(START - 1, "1.0", "2.0"))
    market.take_book(book(START - 1))
    assert market.snapshot("BTC") is held


def test_a_side_without_orders_has_no_price() -> None:
    market = MarketData()
    market.take_bbo(bbo(START, None, "64001.0"))
    snapshot = market.snapshot("BTC")
    assert snapshot is not None
    assert snapshot.bid is None
    assert snapshot.mid is None


def test_a_book_gives_levels_and_newer_best_prices() -> None:
    market = MarketData()
    market.take_bbo(bbo(START))
    market.take_book(book(START + 5))
    snapshot = market.snapshot("BTC")
    assert snapshot is not None
    assert (snapshot.bid, snapshot.book_ms) == (Decimal(63999), START + 5)
    assert snapshot.bids == (BookLevel(Decimal(63999), Decimal(2)),)


def test_a_book_older_than_the_best_prices_gives_levels_only_and_not_for_long() -> None:
    market = MarketData()
    market.take_bbo(bbo(START))
    market.take_book(book(START - 100))
    snapshot = market.snapshot("BTC")
    assert snapshot is not None
    assert (snapshot.bid, snapshot.book_ms) == (Decimal("64000.0"), START)
    assert snapshot.bids
    market.take_bbo(bbo(START - 100 + DEPTH_LIFE_MS + 1))
    later = market.snapshot("BTC")
    assert later is not None
    assert later.bids == later.asks == ()


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-inf", "1e9", "", " 1", "0x10", "9" * 65])
def test_a_number_that_is_none_stops_at_the_boundary(text: str) -> None:
    market = MarketData()
    market.take_bbo(bbo(START))
    held = market.snapshot("BTC")
    with pytest.raises(WireError):
        market.take_bbo(bbo(START + 1, text, "64001.0"))
    with pytest.raises(WireError):
        market.take_context("BTC", context(mark=text), START + 1)
    with pytest.raises(WireError):
        market.take_context("BTC", context(oracle=text), START + 1)
    assert market.snapshot("BTC") is held


def test_the_last_price_is_the_newest_trades_or_bars() -> None:
    market = MarketData()
    market.take_bar(bar(HOUR_0, "10", "8", "9"))
    assert _last(market) == Decimal(9)
    market.take_trades([_trade(HOUR_0, "7.0"), _trade(HOUR_0 + HOUR_MS, "8.5")])
    assert _last(market) == Decimal("8.5")


def _trade(time_ms: int, price: str) -> Trade:
    return Trade("BTC", "B", price, "1.0", time_ms, "0x", 1)


def _last(market: MarketData) -> Decimal | None:
    snapshot = market.snapshot("BTC")
    assert snapshot is not None
    return snapshot.last


def naive_atr(hours: list[Candle]) -> Decimal | None:
    ranges = []
    for index, hour in enumerate(hours):
        close = hours[index - 1].close if index else None
        high, low = (hour.high, hour.low) if close is None else (max(hour.high, close), min(hour.low, close))
        ranges.append(high - low)
    if len(ranges) < PERIOD:
        return None
    value = sum(ranges[:PERIOD], Decimal(0)) / PERIOD
    for true_range in ranges[PERIOD:]:
        value += (true_range - value) / PERIOD
    return value


def close_to(value: Decimal | None, expected: Decimal | None) -> bool:
    if value is None or expected is None:
        return value is expected
    return abs(value - expected) < Decimal("1e-9")


PRICES = st.integers(900, 1100)
HOURS = st.lists(st.tuples(PRICES, PRICES, PRICES), min_size=1, max_size=40)


def hourly(rows: list[tuple[int, int, int]]) -> list[Candle]:
    made = []
    for index, row in enumerate(rows):
        low, close, high = sorted(row)
        made.append(bar(HOUR_0 + index * HOUR_MS, str(high), str(low), str(close)))
    return made


def atr(market: MarketData) -> Decimal | None:
    snapshot = market.snapshot("BTC")
    return snapshot.atr if snapshot is not None else None


@given(rows=HOURS)
def test_the_range_of_hours_is_the_textbooks(rows: list[tuple[int, int, int]]) -> None:
    market, hours = MarketData(), hourly(rows)
    for count, hour in enumerate(hours, 1):
        market.take_bar(hour)
        assert close_to(atr(market), naive_atr(hours[:count]))


@given(rows=HOURS, seeded=st.integers(0, 40), parts=st.sampled_from([1, 2, 12, 60]))
def test_seeded_or_not_and_in_bars_of_any_length_it_is_the_same(
    rows: list[tuple[int, int, int]], seeded: int, parts: int
) -> None:
    market, hours = MarketData(), hourly(rows)
    market.seed_hours("BTC", hours[:seeded])
    for hour in hours[seeded:]:
        for piece in split(hour, parts):
            market.take_bar(piece)
            market.take_bar(piece)
    assert close_to(atr(market), naive_atr(hours))


def split(hour: Candle, parts: int) -> list[Candle]:
    length = HOUR_MS // parts
    pieces = [
        bar(hour.open_ms + index * length, str(hour.close), str(hour.close), str(hour.close), length)
        for index in range(parts)
    ]
    pieces[0] = msgspec.structs.replace(pieces[0], high=hour.high)
    pieces[parts // 2] = msgspec.structs.replace(pieces[parts // 2], low=hour.low)
    return pieces


def test_an_hour_that_was_seen_in_part_does_not_count() -> None:
    market = MarketData()
    hours = [bar(HOUR_0 + index * HOUR_MS, "110", "90", "100") for index in range(PERIOD + 1)]
    market.seed_hours("BTC", hours[:PERIOD])
    before = atr(market)
    market.take_bar(bar(hours[-1].open_ms + HOUR_MS // 2, "101", "99", "100", HOUR_MS // 2))
    assert atr(market) == before == Decimal(20)


def test_seeds_older_than_bars_already_taken_change_nothing() -> None:
    market = MarketData()
    hours: list[Any] = [bar(HOUR_0 + index * HOUR_MS, "110", "90", "100") for index in range(PERIOD + 2)]
    for hour in hours:
        market.take_bar(hour)
    market.seed_hours("BTC", [bar(HOUR_0, "1000", "1", "5")])
    assert atr(market) == Decimal(20)
