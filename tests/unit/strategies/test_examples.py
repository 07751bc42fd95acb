"""The three examples open, exit and stay silent when their rules say so."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.strategies.strategy_samples import bar, bars, play, position, view

from perpstrader.domain import Action, Side, Signal
from perpstrader.strategies import (
    BarStrategy,
    FundingParams,
    FundingStrategy,
    ReversionParams,
    ReversionStrategy,
    TrendParams,
    TrendStrategy,
    price_level,
)

FALL_THEN_RISE = [200 - n for n in range(80)] + [121 + n for n in range(80)]
SWING = [100 + 20 * math.sin(n / 25) for n in range(600)]
NOISE = [100 + (0.1 if n % 2 else -0.1) for n in range(60)]


def all_three() -> list[BarStrategy]:  # type: ignore[type-arg]  # three kinds of state in one list
    return [TrendStrategy(), ReversionStrategy(), FundingStrategy()]


# trend


def test_trend_opens_long_when_the_fast_average_crosses_above() -> None:
    [(_, signal)] = play(TrendStrategy(), bars(FALL_THEN_RISE))
    assert signal.action is Action.OPEN
    assert signal.side is Side.LONG
    assert signal.stop_price is not None
    assert signal.target_price is None
    assert 0 <= signal.confidence <= 1
    assert signal.id == f"trend:BTC:{signal.created_ms - 1}:open"
    assert "crossed above" in signal.reason


def test_trend_stop_is_three_atr_away_but_never_nearer_than_a_percent() -> None:
    [(number, near)] = play(TrendStrategy(), bars(FALL_THEN_RISE, spread=0.01))
    close = FALL_THEN_RISE[number]
    assert float(near.stop_price or 0) == pytest.approx(close - max(0.01 * close, 3 * 1.01), abs=0.1)
    [(number, far)] = play(TrendStrategy(), bars(FALL_THEN_RISE, spread=5))
    assert float(far.stop_price or 0) == pytest.approx(FALL_THEN_RISE[number] - 3 * 10, rel=1e-6)


def test_trend_closes_on_the_opposite_cross_and_flips_on_a_later_bar() -> None:
    signals = [(n, s.action, s.side) for n, s in play(TrendStrategy(), bars(SWING))]
    assert len(signals) >= 6
    for (n, action, side), (m, following, other) in itertools.pairwise(signals):
        if action is Action.OPEN:
            assert (following, other) == (Action.CLOSE, side)
        else:
            assert (following, other) == (Action.OPEN, side.opposite)
            assert m == n + 1


def test_trend_asks_again_for_an_exit_that_did_not_happen() -> None:
    strategy = TrendStrategy()
    held = position("trend", Side.LONG)
    closes = [100 + n for n in range(80)] + [180 - 2 * n for n in range(60)]
    asked = [strategy.on_market(view(candle, held=held)) for candle in bars(closes)]
    exits = [signal for signal in asked if signal is not None]
    assert len(exits) > 5
    assert all(signal.action is Action.CLOSE and signal.episode == "BTC-1" for signal in exits)
    assert len({signal.id for signal in exits}) == len(exits)


def test_trend_asks_for_an_entry_once_and_forgets_a_cross_it_could_not_use() -> None:
    strategy = TrendStrategy(TrendParams(patience_bars=2))
    asked = [strategy.on_market(view(candle)) for candle in bars(FALL_THEN_RISE)]
    assert sum(signal is not None for signal in asked) == 1

    strategy = TrendStrategy(TrendParams(patience_bars=2))
    crossed = next(n for n, signal in enumerate(asked) if signal is not None)
    held = position("trend", Side.LONG)  # it is in the market already, and flat again long after the cross
    again = [
        strategy.on_market(view(candle, held=held if crossed - 1 <= n <= crossed + 10 else None))
        for n, candle in enumerate(bars(FALL_THEN_RISE))
    ]
    assert not any(signal is not None and signal.action is Action.OPEN for signal in again)


# mean reversion


def test_reversion_buys_a_fall_below_the_band_aims_at_the_middle_and_closes_there() -> None:
    closes = [*NOISE, 99.0, 98.0, 96.5, 95.0, 95.5, 97.0, 99.5, 100.2]
    [(_, entry), (_, leave)] = play(ReversionStrategy(), bars(closes))
    assert (entry.action, entry.side) == (Action.OPEN, Side.LONG)
    assert entry.stop_price is not None
    assert entry.target_price is not None
    price = float(entry.reason.split()[1])
    assert entry.stop_price < price < entry.target_price
    assert 0.5 <= entry.confidence <= 1
    assert (leave.action, leave.side, leave.episode) == (Action.CLOSE, Side.LONG, "BTC-1")


def test_reversion_sells_a_rise_above_the_band() -> None:
    [(_, entry)] = play(ReversionStrategy(), bars([*NOISE, 101.0, 102.0, 103.5, 105.0]))
    assert entry.side is Side.SHORT
    assert entry.stop_price is not None
    assert entry.target_price is not None
    assert entry.stop_price > entry.target_price


def test_reversion_uses_one_excursion_once() -> None:
    strategy = ReversionStrategy()
    falling = [*NOISE, 99.0, 98.0, 96.5, 95.0, 94.0]
    asked = [strategy.on_market(view(candle)) for candle in bars(falling)]
    assert sum(signal is not None for signal in asked) == 1
    assert "must come back inside" in strategy.explain("BTC")


def test_reversion_leaves_alone_what_could_not_pay_the_fees() -> None:
    tiny = [100 + (x - 100) / 50 for x in [*NOISE, 99.0, 98.0, 96.5, 95.0]]
    assert list(play(ReversionStrategy(), bars(tiny, spread=0.005))) == []
    assert list(play(ReversionStrategy(ReversionParams(min_target_fraction=0)), bars(tiny, spread=0.005))) != []


# funding


def rates(*parts: tuple[int, str]) -> Iterable[str]:
    return [rate for count, rate in parts for _ in range(count)]


def test_funding_takes_the_side_that_is_paid_and_leaves_when_it_is_normal_again() -> None:
    falling = [200 - 0.1 * n for n in range(150)]
    crowded = rates((100, "0.0000125"), (20, "0.0001"), (30, "0.0000125"))
    (at, entry), (out, leave) = play(FundingStrategy(), bars(falling), funding=crowded)
    assert (at, entry.action, entry.side) == (100, Action.OPEN, Side.SHORT)
    assert entry.confidence == pytest.approx(0.75)
    assert entry.stop_price is not None
    assert entry.stop_price > 190
    assert (out, leave.action, leave.side) == (120, Action.CLOSE, Side.SHORT)


def test_funding_does_not_stand_against_the_trend() -> None:
    strategy = FundingStrategy()
    rising = [100 + 0.1 * n for n in range(150)]
    assert list(play(strategy, bars(rising), funding=rates((150, "0.0001")))) == []
    assert "above the trend" in strategy.explain("BTC")
    assert [s.side for _, s in play(FundingStrategy(), bars(rising), funding=rates((150, "-0.0001")))] == [Side.LONG]


def test_funding_enters_one_spell_of_crowding_once() -> None:
    strategy = FundingStrategy()
    falling = bars([200 - 0.1 * n for n in range(200)])
    asked = [strategy.on_market(view(candle, funding="0.0001")) for candle in falling]
    assert sum(signal is not None for signal in asked) == 1
    assert "spell" in strategy.explain("BTC")


def test_funding_leaves_when_the_sign_has_changed() -> None:
    strategy = FundingStrategy()
    signal = strategy.on_market(view(bar(0, 100), held=position("funding", Side.SHORT), funding="-0.0001"))
    assert signal is not None
    assert signal.action is Action.CLOSE


def test_funding_says_nothing_when_the_rate_is_unknown() -> None:
    strategy = FundingStrategy()
    assert list(play(strategy, bars([200 - 0.1 * n for n in range(100)]))) == []
    assert strategy.explain("BTC") == "the funding rate is not known"


# what all have in common


def test_history_warms_a_strategy_up_as_if_it_had_seen_the_bars() -> None:
    candles = bars(SWING)
    for shown, warmed in zip(all_three(), all_three(), strict=True):
        for candle in candles[:-1]:
            shown.on_market(view(candle, funding="0.0001"))
        last = view(candles[-1], history=candles[:-1], funding="0.0001")
        shown.on_market(last)
        warmed.on_market(last)
        assert shown.indicators("BTC") == warmed.indicators("BTC")
        assert len(warmed.indicators("BTC")) >= 3


def test_bars_that_were_not_shown_are_taken_from_the_history() -> None:
    candles = bars(SWING[:200])
    for whole, gappy in zip(all_three(), all_three(), strict=True):
        for n, candle in enumerate(candles):
            whole.on_market(view(candle, history=candles[:n]))
            if n % 7 == 3 or n == 199:
                gappy.on_market(view(candle, history=candles[:n]))
        assert whole.indicators("BTC") == gappy.indicators("BTC")


def test_a_bar_seen_twice_changes_nothing() -> None:
    candles = bars(SWING[:200])
    for strategy in all_three():
        for candle in candles:
            strategy.on_market(view(candle))
        before = strategy.indicators("BTC")
        assert strategy.on_market(view(candles[-1])) is None
        assert strategy.on_market(view(candles[-5])) is None
        assert strategy.indicators("BTC") == before


def test_symbols_do_not_mix() -> None:
    for strategy, alone in zip(all_three(), all_three(), strict=True):
        for n, x in enumerate(SWING[:200]):
            strategy.on_market(view(bar(n, x)))
            strategy.on_market(view(bar(n, 3 * x, symbol="ETH")))
            alone.on_market(view(bar(n, x)))
        assert strategy.indicators("BTC") == alone.indicators("BTC")
        assert strategy.indicators("SOL") == {}


@settings(max_examples=25)
@given(st.integers(min_value=0, max_value=10_000), st.sampled_from([0.00002, 1.0, 70_000.0]))
def test_signals_are_always_such_that_a_risk_manager_can_judge_them(seed: int, scale: float) -> None:
    chance = random.Random(seed)
    price, closes, funding = scale, [], []
    for _ in range(400):
        price *= math.exp(chance.gauss(0, 0.01))
        closes.append(price)
        funding.append(f"{chance.gauss(0, 0.0001):.7f}")
    for strategy in all_three():
        for number, signal in play(strategy, bars(closes, spread=scale / 500), funding=funding):
            check_signal(signal, float(bars(closes)[number].close))


def check_signal(signal: Signal, close: float) -> None:
    assert 0 <= signal.confidence <= 1
    assert signal.reason
    for price, sign in ((signal.stop_price, -1), (signal.target_price, 1)):
        if price is not None:
            assert (float(price) - close) * sign * signal.side.sign > 0
    assert (signal.episode is None) == (signal.action is Action.OPEN)
    assert msgspec.json.decode(msgspec.json.encode(signal), type=Signal) == signal


def test_warming_up_is_said_and_no_bar_leaves_a_strategy_without_words() -> None:
    for strategy in all_three():
        strategy.on_market(view(bar(0, 100)))
        assert "warming up" in strategy.explain("BTC")
        for candle in bars(SWING[:200])[1:]:
            strategy.on_market(view(candle, funding="0.00001"))
            assert strategy.explain("BTC")


def test_parameters_out_of_range_are_refused_however_they_are_given() -> None:
    with pytest.raises(ValueError, match="must be smaller than slow"):
        TrendParams(fast=50, slow=20)
    with pytest.raises(ValueError, match="must be smaller than entry_rate"):
        FundingParams(entry_rate=0.00001)
    with pytest.raises(msgspec.ValidationError, match="period"):
        ReversionStrategy(ReversionParams(period=1))


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_what_is_no_price_does_not_become_money(value: float) -> None:
    with pytest.raises(ValueError, match="is no price"):
        price_level(value)
