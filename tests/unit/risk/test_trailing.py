"""Where a stop should move to: only tighter, never too near, the same for any price, size of coin and side (S22)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.risk.risk_samples import NOW, D, execution, limits

from perpstrader.domain import AssetSpec, Side
from perpstrader.risk.trailing import (
    EpisodeFacts,
    StopMove,
    StopRule,
    least_distance,
    least_step,
    next_stop,
    risk_distance,
)

COIN = AssetSpec(name="BTC", index=0, size_decimals=5, max_leverage=40)
FINE = AssetSpec(name="FINE", index=1, size_decimals=0, max_leverage=40)
HOUR = 3_600_000


def _facts(side: Side = Side.LONG, **changes: Any) -> EpisodeFacts:
    """In at 100,000 with the stop 2,000 away, an hour ago, at the entry price."""
    stop = D(100_000) - side.sign * 2_000
    given_facts: dict[str, Any] = {
        "side": side, "entry_price": D(100_000), "first_stop": stop, "stop": stop, "best_mark": D(100_000),
        "mark": D(100_000), "opened_ms": NOW - HOUR, "now_ms": NOW, **changes,
    }  # fmt: skip
    return EpisodeFacts(**given_facts)


def _best(profit: int, side: Side = Side.LONG, **changes: Any) -> EpisodeFacts:
    """The best mark, and the mark, lie this much in profit."""
    mark = D(100_000) + side.sign * profit
    return _facts(side, best_mark=mark, mark=mark, **changes)


def _next(facts: EpisodeFacts, asset: AssetSpec = COIN, **of_limits: Any) -> StopMove | None:
    return next_stop(facts, asset, limits(**of_limits), execution())


def _rule(facts: EpisodeFacts, **of_limits: Any) -> StopRule | None:
    move = _next(facts, **of_limits)
    return move.rule if move is not None else None


@pytest.mark.parametrize("side", list(Side))
def test_breakeven_arms_at_one_stop_distance_and_not_below(side: Side) -> None:
    assert _rule(_best(1_999, side)) is None
    move = _next(_best(2_000, side))
    assert move is not None
    assert move.rule is StopRule.BREAKEVEN
    assert move.price == D(100_000) + side.sign * 90, "the entry and both taker fees of 0.045 %"


@pytest.mark.parametrize("side", list(Side))
def test_trailing_arms_at_one_and_a_half_and_keeps_55_percent_of_the_best_profit(side: Side) -> None:
    assert _rule(_best(2_999, side)) is StopRule.BREAKEVEN
    move = _next(_best(3_000, side))
    assert move is not None
    assert (move.rule, move.price) == (StopRule.TRAILING, D(100_000) + side.sign * 1_650)


def test_a_trailing_stop_keeps_at_least_the_lock() -> None:
    move = _next(_best(3_000), trailing_giveback_fraction=D("0.9"))
    assert move is not None
    assert move.price == 101_000, "half of a stop distance"
    farther = _next(_best(3_000), trailing_giveback_fraction=D("0.9"), trailing_lock_ratio=D("0.8"))
    assert farther is not None
    assert farther.price == 101_600


def test_a_time_stop_needs_both_the_age_and_the_loss_beyond_their_limits() -> None:
    old, losing = {"opened_ms": NOW - 2 * HOUR - 1}, {"mark": D(100_000) - D("660.01")}
    assert _rule(_facts(**old, **losing)) is StopRule.TIME
    assert _rule(_facts(opened_ms=NOW - 2 * HOUR, **losing)) is None
    assert _rule(_facts(**old, mark=D(100_000) - 660)) is None
    assert _rule(_facts(**old, **losing), time_stop_ms=0) is None
    assert _rule(_facts(**old, **losing), time_stop_loss_ratio=D("0.4")) is None
    assert _rule(_facts(**old, **losing), time_stop_ms=3 * HOUR) is None


def test_a_time_stop_goes_to_the_nearest_distance_that_an_entrys_stop_may_have() -> None:
    losing = {"opened_ms": NOW - 3 * HOUR, "mark": D(99_200)}
    move = _next(_facts(**losing))
    assert move is not None
    assert move.price == D(99_200) * D("0.995")
    with_atr = _next(_facts(**losing, atr=D(600)))
    assert with_atr is not None
    assert with_atr.price == D(99_200) - 600


def test_a_stop_never_comes_nearer_to_mark_than_is_allowed() -> None:
    fell = _facts(best_mark=D(104_000), mark=D(102_300))
    move = _next(fell)
    assert move is not None
    assert move.price == COIN.price_down(D(102_300) * D("0.995"))


def test_a_move_smaller_than_the_least_step_is_not_made() -> None:
    trailing = _best(3_000, stop=D(101_650) - 206, atr=None)
    assert least_step(trailing, execution()) == 206
    assert _rule(trailing) is StopRule.TRAILING
    assert _rule(_best(3_000, stop=D(101_650) - 205)) is None
    wild = _best(3_000, stop=D(101_650) - 249, atr=D(1_000))
    assert least_step(wild, execution()) == 250
    assert _rule(wild) is None
    assert next_stop(wild, COIN, limits(), execution(trailing_step_atr_ratio=D("0.1"))) is not None
    assert next_stop(trailing, COIN, limits(), execution(trailing_step_fraction=D("0.003"))) is None


@pytest.mark.parametrize("off", ["breakeven_arm_ratio", "trailing_arm_ratio"])
def test_an_arm_of_zero_turns_its_rule_off(off: str) -> None:
    gone = {"breakeven_arm_ratio": StopRule.BREAKEVEN, "trailing_arm_ratio": StopRule.TRAILING}[off]
    profit = 2_000 if gone is StopRule.BREAKEVEN else 4_000
    assert _rule(_best(profit)) is gone
    assert _rule(_best(profit), **{off: D(0)}) is not gone


def test_an_episode_that_began_with_its_stop_beyond_its_entry_has_the_default_distance() -> None:
    adopted = _facts(first_stop=D(101_000), stop=D(101_000))
    assert risk_distance(adopted, limits()) == 3_000
    assert risk_distance(adopted, limits(default_stop_fraction=D("0.02"))) == 2_000


@pytest.mark.parametrize("bad", [D("NaN"), D("Infinity"), D(0), D(-1)])
@pytest.mark.parametrize("name", ["entry_price", "first_stop", "stop", "best_mark", "mark"])
def test_S30_what_is_no_price_moves_nothing(name: str, bad: Decimal) -> None:
    assert _next(_facts(**{"best_mark": D(105_000), "mark": D(105_000), name: bad})) is None


@pytest.mark.parametrize("atr", [D("NaN"), D("Infinity"), D(0), None])
def test_an_atr_that_is_not_known_leaves_the_rules_that_need_none(atr: Decimal | None) -> None:
    move = _next(_best(3_000, atr=atr))
    assert move is not None
    assert move.price == 101_650


FACTS = st.builds(
    lambda side, first, best, mark, age, atr: (side, first, best, mark, age, atr),
    st.sampled_from(list(Side)), st.decimals("0.005", "0.08", places=4), st.decimals(0, "0.5", places=4),
    st.decimals("-0.3", "0.3", places=4), st.integers(0, 6 * HOUR),
    st.one_of(st.none(), st.decimals("0.0001", "0.03", places=4)),
)  # fmt: skip


USUAL = D(1_000)


def _episode(drawn: Any, scale: Decimal = USUAL) -> EpisodeFacts:
    side, first, best, mark, age, atr = drawn
    at = {name: scale * (1 + side.sign * part) for name, part in (("best", best), ("mark", min(mark, best)))}
    stop = scale * (1 - side.sign * first)
    return EpisodeFacts(
        side=side, entry_price=scale, first_stop=stop, stop=stop, best_mark=at["best"], mark=at["mark"],
        opened_ms=NOW - age, now_ms=NOW, atr=atr * scale if atr is not None else None,
    )  # fmt: skip


@given(FACTS)
def test_S22_a_stop_only_tightens_and_keeps_its_distance_from_mark(drawn: Any) -> None:
    facts = _episode(drawn)
    move = next_stop(facts, COIN, limits(), execution())
    if move is not None:
        sign = facts.side.sign
        assert (move.price - facts.stop) * sign >= least_step(facts, execution())
        assert (facts.mark - move.price) * sign >= least_distance(facts, limits())
        assert COIN.is_price(move.price)


@given(FACTS)
def test_S22_what_was_moved_is_not_moved_again_by_the_same_facts(drawn: Any) -> None:
    facts = _episode(drawn)
    move = next_stop(facts, COIN, limits(), execution())
    if move is not None:
        again = EpisodeFacts(**{name: getattr(facts, name) for name in facts.__slots__} | {"stop": move.price})
        assert next_stop(again, COIN, limits(), execution()) is None


def _moved(facts: EpisodeFacts, **of_limits: Any) -> Decimal:
    """How far the stop moves toward the profit, in parts of the entry price."""
    smooth = execution(trailing_step_fraction=D("0.0000001"))
    move = next_stop(facts, FINE, limits(min_stop_distance_fraction=D("0.0000001"), **of_limits), smooth)
    return D(0) if move is None else (move.price - facts.stop) * facts.side.sign / facts.entry_price


TICKS = D("0.0005")
"""A few ticks of a coin with five significant figures, in parts of its price."""


@given(FACTS)
def test_a_short_is_the_mirror_image_of_a_long(drawn: Any) -> None:
    side, *rest = drawn
    here, there = _episode((side, *rest)), _episode((side.opposite, *rest))
    assert abs(_moved(here) - _moved(there)) <= TICKS


@given(FACTS, st.sampled_from([D("0.01"), D("0.1"), D(10), D(100)]))
def test_RM13_the_rules_do_not_care_how_dear_a_coin_is(drawn: Any, factor: Decimal) -> None:
    assert abs(_moved(_episode(drawn)) - _moved(_episode(drawn, USUAL * factor))) <= TICKS
