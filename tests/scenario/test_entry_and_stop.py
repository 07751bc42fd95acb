"""From a signal to a filled, protected, explained position: what the venue lists, and what the trace tells."""

from __future__ import annotations

from decimal import Decimal

import pytest
from tests.scenario.kit import Stage, go, leave, play, reduce_by
from tests.scenario.market import Bar, calm

from perpstrader.domain import Side
from perpstrader.execution.protection import Protector
from perpstrader.paper.server import LatencyModel
from perpstrader.traces.explain import explain

CALM = {"BTC": calm(60_000)}


def test_S20_a_market_entry_is_filled_with_its_stop_and_target_listed_at_the_venue() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(1)
        size = stage.position("BTC")
        assert size > 0
        [fill] = stage.fills("BTC")
        assert stage.coins("BTC", fill.size) == size
        stop = stage.stop_of("BTC")
        assert stop.trigger is not None
        assert (stage.coins("BTC", stop.size), stage.usd("BTC", stop.trigger.trigger_px)) == (size, 58_800)
        [target] = stage.listed("BTC", "target")
        assert target.trigger is not None
        assert target.reduce_only
        assert (stage.coins("BTC", target.size), stage.usd("BTC", target.trigger.trigger_px)) == (size, 62_400)

    play(CALM, {"alpha": {("BTC", 1): go(Side.LONG, 58_800, 62_400)}}, act)


def test_S20_the_trace_tells_signal_rules_order_and_protection_in_plain_words() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        [decision] = stage.decisions()
        trace = await stage.trader.recorder._store.get(decision.id)
        assert trace is not None
        text = "\n".join(explain(trace))
        rules = ("SPREAD_TOO_WIDE", "DEPTH_TOO_THIN", "LIQUIDATION_DISTANCE", "RISK_PER_TRADE")
        for word in ("alpha", *rules, "Approved", "stop 58800", "filled: bought", "protected: "):
            assert word in text, f"{word} is missing in:\n{text}"
        assert trace.led_to_order
        [order] = trace.orders
        assert order.status.value == "filled"
        assert order.oid == stage.fills("BTC")[0].oid
        assert any("stop-confirmed" in step.text for step in trace.steps)

    play(CALM, {"alpha": {("BTC", 1): go(Side.LONG, 58_800, 62_400)}}, act)


def test_S20_a_short_is_protected_above_its_entry() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(1)
        assert stage.position("BTC") < 0
        stop = stage.stop_of("BTC")
        assert stop.trigger is not None
        assert stop.is_buy
        assert stop.fires_above
        assert stage.usd("BTC", stop.trigger.trigger_px) == 61_200

    play(CALM, {"alpha": {("BTC", 1): go(Side.SHORT, 61_200)}}, act)


def _part_filled(latency: LatencyModel | None = None) -> None:
    async def act(stage: Stage) -> None:
        stage.before_order(lambda: stage.take_all_but("BTC", "0.001", buy=True))
        await stage.bar(2)
        assert stage.position("BTC") == Decimal("0.001")
        [entry] = stage.sent("BTC", "plain")
        assert stage.coins("BTC", entry.orig_size) > Decimal("0.001")
        assert stage.coins("BTC", stage.stop_of("BTC").size) == Decimal("0.001")
        child = stage.sent("BTC", "stop")[0]
        assert child.orig_size == entry.orig_size, "the stop that went out with the entry"
        assert stage.stop_of("BTC").oid != child.oid, "it was never armed; the one that is listed is another"
        filled_ms = stage.fills("BTC")[0].time_ms
        assert stage.stop_of("BTC").time_ms - filled_ms <= 5_000
        assert stage.trader.execution.protector.max_unprotected_ms <= 5_000

    play(CALM, {"alpha": {("BTC", 1): go(Side.LONG, 58_800)}}, act, latency=latency)


def test_S20_what_a_thin_book_filled_in_part_gets_a_stop_of_its_own() -> None:
    _part_filled()


def test_S20_it_gets_its_stop_in_time_over_a_slow_network() -> None:
    _part_filled(LatencyModel())


def test_S20_the_proof_fails_where_the_answer_to_the_group_is_taken_for_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    async def trusting(self: Protector, symbol: str) -> None:
        """Mutant: the children that went out with the entry are believed to stand."""

    monkeypatch.setattr(Protector, "ensure", trusting)
    with pytest.raises((AssertionError, ValueError)):
        _part_filled()


def _reduced() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(1)
        before = stage.position("BTC")
        await stage.bar(3)
        assert stage.position("BTC") == before - Decimal("0.001")
        assert stage.coins("BTC", stage.stop_of("BTC").size) == before - Decimal("0.001")
        [exit_order] = stage.sent("BTC", "plain")[1:]
        assert exit_order.reduce_only

    script = {("BTC", 1): go(Side.LONG, 58_800, 62_400), ("BTC", 3): reduce_by("0.001")}
    play(CALM, {"alpha": script}, act)


def test_S21_after_a_partial_exit_the_stop_is_as_large_as_what_is_left() -> None:
    _reduced()


def test_S21_the_proof_fails_where_a_protected_position_is_never_looked_at_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ensure, done = Protector.ensure, set[str]()

    async def once(self: Protector, symbol: str) -> None:
        """Mutant: who has a stop, of whatever size, is left alone."""
        if symbol not in done:
            await ensure(self, symbol)
        if self.stop_of(symbol) is not None:
            done.add(symbol)

    monkeypatch.setattr(Protector, "ensure", once)
    with pytest.raises(AssertionError):
        _reduced()


def test_S21_a_close_leaves_no_order_behind() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(1)
        assert len(stage.listed("BTC")) == 2
        await stage.bar(3)
        assert stage.position("BTC") == 0
        assert stage.listed("BTC") == []

    play(CALM, {"alpha": {("BTC", 1): go(Side.LONG, 58_800, 62_400), ("BTC", 3): leave}}, act)


def test_S21_the_target_closes_the_position_and_the_stop_goes_with_it() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(5)
        assert stage.position("BTC") == 0
        exit_fill = stage.fills("BTC")[-1]
        assert stage.usd("BTC", exit_fill.px) >= 62_399
        assert stage.listed("BTC") == []

    bars = [*calm(60_000, 3), Bar(path=(60_000, 61_000, 62_000, 62_600)), *calm(62_500)]
    play({"BTC": bars}, {"alpha": {("BTC", 1): go(Side.LONG, 58_800, 62_400)}}, act)
