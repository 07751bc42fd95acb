"""What happens when price meets a stop: on a path, in a gap, in a thin book, in a halted market (S04, S21, S23)."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from tests.scenario.kit import Stage, go, play
from tests.scenario.market import Bar, calm

from perpstrader.domain import Side
from perpstrader.execution.exits import ExitDesk
from perpstrader.execution.protection import Protector

LONG = {"alpha": {("BTC", 1): go(Side.LONG, 58_800, 63_000)}}


def test_S21_price_falls_through_the_stop_inside_a_bar_and_the_account_is_flat_at_about_the_trigger() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        assert stage.position("BTC") > 0
        await stage.bar(4)
        assert stage.position("BTC") == 0
        last = stage.fills("BTC")[-1]
        assert 58_790 <= stage.usd("BTC", last.px) <= 58_800
        assert stage.listed("BTC") == []

    bars = [*calm(60_000, 3), Bar(path=(59_900, 59_000, 58_000)), *calm(58_000)]
    play({"BTC": bars}, LONG, act)


def test_S23_a_gap_through_the_stop_fills_at_the_new_price_and_leaves_nothing() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(4)
        assert stage.position("BTC") == 0
        last = stage.fills("BTC")[-1]
        assert stage.usd("BTC", last.px) < 57_001
        assert stage.listed("BTC") == []

    bars = [*calm(60_000, 3), Bar(path=(57_000,), gap=True), *calm(57_000)]
    play({"BTC": bars}, LONG, act)


def _stop_finds_nobody() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        held = stage.position("BTC")
        await stage.bar(3)
        assert Decimal(0) < stage.position("BTC") <= held
        await stage.bar(10)
        assert stage.position("BTC") == 0
        assert stage.listed("BTC") == []
        assert stage.fills("BTC")[-1].time_ms >= stage.feed.start_ms + 5 * stage.feed.bar_ms

    empty = [Bar(path=(58_000,), gap=True, bids_usd=0), *calm(58_000, 1, bids_usd=0)]
    play({"BTC": [*calm(60_000, 3), *empty, *calm(58_000)]}, LONG, act)


def test_S23_S04_a_stop_that_triggers_without_a_bid_is_followed_by_an_exit_that_goes_on_until_flat() -> None:
    _stop_finds_nobody()


def test_S23_the_proof_fails_where_a_triggered_stop_counts_as_protection(monkeypatch: pytest.MonkeyPatch) -> None:
    ensure, done = Protector.ensure, set[str]()

    async def once(self: Protector, symbol: str) -> None:
        """Mutant: a stop that was listed once is believed for ever."""
        if symbol not in done:
            await ensure(self, symbol)
        if self.stop_of(symbol) is not None:
            done.add(symbol)

    monkeypatch.setattr(Protector, "ensure", once)
    with pytest.raises(AssertionError):
        _stop_finds_nobody()


def _stop_fills_in_part() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(10)
        assert stage.position("BTC") == 0
        assert stage.listed("BTC") == []
        assert len(stage.fills("BTC")) > 2

    thin = [Bar(path=(58_000,), gap=True, bids_usd=10), *calm(58_000, 1, bids_usd=10)]
    play({"BTC": [*calm(60_000, 3), *thin, *calm(58_000)]}, LONG, act)


def test_S04_a_stop_that_a_thin_book_fills_in_part_is_finished_by_what_follows() -> None:
    _stop_fills_in_part()


def test_S04_the_proof_fails_where_an_exit_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: ExitDesk, symbol: str, reason: str, **more: object) -> None:
        """Mutant: nobody closes what cannot be protected."""
        await asyncio.sleep(1)

    monkeypatch.setattr(ExitDesk, "close", nothing)
    with pytest.raises((AssertionError, ValueError)):
        _stop_finds_nobody()


def test_S23_a_stop_cancelled_behind_our_back_is_replaced_within_the_deadline() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        lost = stage.stop_of("BTC")
        stage.engine.cancel(stage.user, "BTC", lost.oid, stage.clock.now_ms())
        assert stage.listed("BTC", "stop") == []
        cancelled_ms = stage.clock.now_ms()
        await stage.seconds(5)
        stop = stage.stop_of("BTC")
        assert stop.oid != lost.oid
        assert (stop.size, stop.trigger) == (lost.size, lost.trigger)
        assert stop.time_ms - cancelled_ms <= 5_000

    play({"BTC": calm(60_000)}, LONG, act)


def test_S23_a_stop_cancelled_while_the_stream_is_silent_is_found_missing_by_the_comparison() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        lost = stage.stop_of("BTC")
        stage.engine.cancel(stage.user, "BTC", lost.oid, stage.clock.now_ms())
        stage.untold()
        await stage.seconds(70)
        assert stage.stop_of("BTC").oid != lost.oid

    play({"BTC": calm(60_000)}, LONG, act)


def test_S21_the_proof_of_a_lost_stop_fails_where_nobody_looks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ensure, done = Protector.ensure, set[str]()

    async def once(self: Protector, symbol: str) -> None:
        """Mutant: what was protected once needs nothing more."""
        if symbol not in done:
            await ensure(self, symbol)
        if self.stop_of(symbol) is not None:
            done.add(symbol)

    monkeypatch.setattr(Protector, "ensure", once)
    with pytest.raises(ValueError, match="not enough values"):
        test_S23_a_stop_cancelled_behind_our_back_is_replaced_within_the_deadline()


def test_S30_in_a_halted_market_nothing_fills_nobody_panics_and_trading_resumes() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        held, stop = stage.position("BTC"), stage.stop_of("BTC")
        await stage.bar(12)
        assert stage.position("BTC") == held
        assert stage.stop_of("BTC").oid == stop.oid
        assert len(stage.fills("BTC")) == 1
        assert stage.halts() == []
        await stage.bar(16)
        assert stage.position("BTC") == 0
        assert stage.fills("BTC")[-1].time_ms >= stage.feed.start_ms + 13 * stage.feed.bar_ms

    halted = [Bar(path=(60_000,), halted=True)] * 10
    after = [Bar(path=(60_000, 59_500)), Bar(path=(59_500, 58_500)), *calm(58_500)]
    play({"BTC": [*calm(60_000, 3), *halted, *after]}, LONG, act)
