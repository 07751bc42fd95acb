"""Breakers on the running path: what fails stops entries and nothing else, and comes back by itself (S42-S46, S01)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.scenario.kit import Script, Stage, go, play
from tests.scenario.market import calm

from perpstrader.alerts import RingChannel
from perpstrader.breakers import HealthStatus
from perpstrader.domain import Side, StateError
from perpstrader.execution.desk import Desk
from perpstrader.execution.entry import EntryDesk
from perpstrader.paper.faults import NO_FAULT, FaultKind, FrameFate, RequestFate
from perpstrader.recovery.baseline import RecoveryService
from perpstrader.simulate import world
from perpstrader.traces.errors import TraceError
from perpstrader.trader.build import Deps
from perpstrader.trader.commands import CommandError
from perpstrader.trader.guard import Guard
from perpstrader.trader.health import health_checks
from perpstrader.trader.trader import Trader
from perpstrader.venue.contract import NotSent

LONG: Script = {("BTC", 1): go(Side.LONG, 57_000, 66_000)}
COINS = {"BTC": calm(60_000), "ETH": calm(3_000), "SOL": calm(150)}
STOPS = {"BTC": ("57000", "66000"), "ETH": ("2850", "3300"), "SOL": ("142.5", "165")}
FREE = {
    "risk.failed_entry_cooldown_ms": 0, "risk.exit_cooldown_ms": 0, "risk.loss_cooldown_ms": 0,
    "risk.duplicate_entry_window_ms": 0, "risk.max_entries_per_minute": 100, "risk.max_signals_per_minute": 100,
    "risk.max_entries_per_day": 100, "risk.max_entries_per_symbol_hour": 100, "risk.max_entries_per_symbol_day": 100,
}  # fmt: skip
"""So that nothing but the breakers stands between two tries."""


class Weather:
    """Faults that begin and end when the scenario says so."""

    def __init__(self, stage: Stage) -> None:
        self.kind: FaultKind | None = None
        self.only = ""
        stage.world.transport._faults = self

    def of_request(self, path: str, body: bytes) -> RequestFate:
        hit = self.kind is not None and self.only in path
        return RequestFate(self.kind) if hit else NO_FAULT

    def of_frame(self, frame: bytes) -> FrameFate:
        return None


def on_stage(act: Callable[[Stage], Awaitable[Any]], script: Script | None = None, **more: Any) -> None:
    overrides = FREE | more.pop("overrides", {})
    play(COINS, {"alpha": LONG if script is None else script}, act, overrides=overrides, **more)


async def enter(stage: Stage, coin: str = "ETH") -> str:
    """The answer to a signal to open."""
    stop, target = STOPS[coin]
    result = await stage.signal(coin, Side.LONG, stop_price=stop, target_price=target)
    return str(result.text)


async def close(stage: Stage, coin: str) -> None:
    assert (await stage.commands.close(coin, "by hand", actor="tester")).done
    assert stage.position(coin) == 0


def state(stage: Stage, name: str) -> str:
    return str(stage.trader.guard.breakers.status(name).state.value)


async def until(stage: Stage, name: str, wanted: str, limit_s: int) -> int:
    """Seconds until the breaker is in that state."""
    for waited in range(limit_s):
        if state(stage, name) == wanted:
            return waited
        await stage.seconds(1)
    raise AssertionError(f"{name} is {state(stage, name)} after {limit_s} s, not {wanted}")


# --- the venue ---


@pytest.mark.parametrize("kind", [FaultKind.BAD_GATEWAY, FaultKind.REQUEST_LOST, FaultKind.TOO_MANY, FaultKind.REFUSED])
def test_S42_S44_CB_12_a_venue_that_is_away_trips_its_breaker_and_comes_back_with_no_operator(kind: FaultKind) -> None:
    async def act(stage: Stage) -> None:
        weather = Weather(stage)
        await stage.bar(2)
        held = stage.position("BTC")
        assert held > 0
        weather.kind = kind
        await until(stage, "venue", "open", 150)
        assert stage.trader.guard.health.report().status is HealthStatus.CRITICAL
        weather.kind = None
        await stage.seconds(10)
        assert state(stage, "venue") == "open"
        answer = await enter(stage)
        assert "BREAKER_OPEN" in answer
        assert "venue is open since" in answer
        assert "it is tried again by itself from" in answer
        await close(stage, "BTC")  # S01: an exit waits for no breaker
        waited = await until(stage, "venue", "closed", 200)
        assert waited >= 120 - 10 - 2
        assert "filled" in await enter(stage)
        assert stage.position("ETH") > 0
        stage.trader.recorder.recent.clear()

    on_stage(act)


def test_CB_14_an_entry_that_a_breaker_stops_costs_no_request() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        await stage.commands.open_breaker("venue", "quiet", actor="tester")
        asked, post = [], stage.world.venue.post
        stage.world.venue.post = lambda *a, **k: asked.append(a) or post(*a, **k)  # type: ignore[func-returns-value,method-assign]
        assert "BREAKER_OPEN" in await enter(stage)
        assert asked == []

    on_stage(act)


# --- orders ---


def _orders_fail_and_work_again(outcomes: list[str]) -> None:
    async def act(stage: Stage) -> None:
        weather = Weather(stage)
        await stage.bar(2)
        weather.kind, weather.only = FaultKind.BAD_GATEWAY, "/exchange"
        sent = 0
        while state(stage, "execution") == "closed" and sent < 12:
            await enter(stage, ("ETH", "SOL")[sent % 2])
            sent += 1
            await stage.seconds(8)
        outcomes.append(state(stage, "execution"))
        assert state(stage, "execution") == "open"
        assert stage.trader.guard.breakers.status("execution").failures >= 5
        assert state(stage, "venue") == "closed", "reads are answered all the time"
        weather.kind = None
        assert "BREAKER_OPEN" in await enter(stage, "ETH")
        await close(stage, "BTC")
        await until(stage, "execution", "closed", 100)
        await stage.seconds(20)
        assert "filled" in await enter(stage, "ETH")
        stage.trader.recorder.recent.clear()

    on_stage(act)


def test_CB_11_S44_failed_submissions_trip_the_execution_breaker_and_a_probe_without_effect_closes_it() -> None:
    _orders_fail_and_work_again([])


def test_CB_11_the_proof_fails_where_nobody_counts_submissions(monkeypatch: pytest.MonkeyPatch) -> None:
    from perpstrader.trader import build

    monkeypatch.setattr(build, "EXECUTION", "recovery")  # mutant: they are counted elsewhere
    outcomes: list[str] = []
    with pytest.raises(AssertionError):
        _orders_fail_and_work_again(outcomes)
    assert outcomes == ["closed"]


# --- exits and protection are never gated ---


async def _latch_all(stage: Stage) -> None:
    for name in stage.trader.guard.breakers.names:
        assert (await stage.commands.open_breaker(name, "all stop", actor="tester")).done


def test_S01_CB_13_with_every_breaker_latched_open_stops_are_placed_and_positions_closed() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        await _latch_all(stage)
        assert "BREAKER_OPEN" in await enter(stage)
        stage.by_hand("ETH", buy=True, size="0.05")  # adopted, and put under a stop
        await stage.seconds(15)
        assert stage.position("ETH") == Decimal("0.05")
        assert stage.stop_of("ETH").reduce_only
        stage.by_hand("BTC", buy=False, size="0.0005")
        await stage.seconds(15)
        assert stage.coins("BTC", stage.stop_of("BTC").size) == stage.position("BTC")
        await close(stage, "BTC")
        await close(stage, "ETH")
        token = stage.commands.prepare("flatten", {"reason": "enough"}).token
        assert (await stage.commands.flatten("enough", actor="tester", token=token)).done
        assert {state(stage, name) for name in stage.trader.guard.breakers.names} == {"latched"}

    on_stage(act, explained=False)


def test_S01_the_proof_fails_where_an_open_breaker_holds_orders_back(monkeypatch: pytest.MonkeyPatch) -> None:
    known: list[Any] = []
    build, send = Guard.__init__, Desk.send

    def knows(self: Guard, breakers: Any, *args: Any, **more: Any) -> None:
        known[:] = [breakers]
        build(self, breakers, *args, **more)

    async def gated(self: Desk, orders: Any, *args: Any) -> Any:
        """Mutant: no order goes out through an open breaker, whatever it is for."""
        if known[0].status("venue").state.value != "closed":
            return [NotSent("the breaker is open")] * len(orders)
        return await send(self, orders, *args)

    monkeypatch.setattr(Guard, "__init__", knows)
    monkeypatch.setattr(Desk, "send", gated)
    with pytest.raises((AssertionError, ValueError)):
        test_S01_CB_13_with_every_breaker_latched_open_stops_are_placed_and_positions_closed()


# --- by hand, restarts ---


def test_S43_CB_21_what_an_operator_opened_survives_crashes_until_an_operator_resets_it(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        answer = await stage.commands.open_breaker("venue", "maintenance", actor="ann")
        assert answer.text == "venue is latched until it is reset; entries wait for it, exits go on (it was closed)"
        for _ in range(2):
            await stage.crash()
            await stage.seconds(400)
            await stage.start_again()
            await stage.seconds(400)
            refusal = await enter(stage)
            assert "venue is latched since" in refusal
            assert "ann, maintenance" in refusal
            assert "perpstrader breakers reset venue --reason" in refusal
        assert (await stage.commands.reset_breaker("venue", "done", actor="bob")).text.startswith("venue is closed")
        assert "filled" in await enter(stage)
        await stage.trader.execution.desk.journal.flush()
        entries = await stage.trader.store.read(lambda tx: tx.audit.recent(10))
        found = [(e.command, e.actor, e.reason) for e in entries if e.command.startswith("breaker")]
        assert sorted(found) == [("breaker open", "ann", "maintenance"), ("breaker reset", "bob", "done")]

    on_stage(act, state_path=tmp_path / "state.db")


def test_CB_21_what_tripped_is_open_after_a_crash_and_closes_by_itself(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        watch = stage.trader.guard.breakers.watch("execution")
        for _ in range(5):
            watch()(TimeoutError())
        await stage.seconds(2)
        before = stage.trader.guard.breakers.status("execution")
        await stage.crash()
        await stage.seconds(5)
        await stage.start_again()
        after = stage.trader.guard.breakers.status("execution")
        assert (after.state, after.until_ms) == (before.state, before.until_ms)
        assert "BREAKER_OPEN" in await enter(stage)
        await until(stage, "execution", "closed", 100)

    on_stage(act, state_path=tmp_path / "state.db")


def test_S43_S71_a_command_needs_a_known_name_and_a_reason_and_a_key_is_carried_out_once() -> None:
    async def act(stage: Stage) -> None:
        with pytest.raises(CommandError, match="there is no breaker 'venu'; there are execution, risk, venue"):
            await stage.commands.open_breaker("venu", "why", actor="ann")
        with pytest.raises(CommandError, match="needs a reason"):
            await stage.commands.reset_breaker("venue", " ", actor="ann")
        first = await stage.commands.open_breaker("venue", "why", actor="ann", key="k")
        await stage.commands.reset_breaker("venue", "over", actor="ann")
        assert await stage.commands.open_breaker("venue", "why", actor="ann", key="k") == first
        assert state(stage, "venue") == "closed"

    on_stage(act)


# --- state.db, the record, recovery ---


def test_S44_a_full_disk_trips_the_state_breaker_and_room_closes_it() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)

        def full(*args: object) -> Any:
            raise StateError("the disk is full")

        stage.trader.store._write = full  # type: ignore[method-assign]
        await enter(stage, "SOL")  # something to write
        await until(stage, "state", "open", 60)
        assert "BREAKER_OPEN" in await enter(stage)
        answer = await stage.commands.open_breaker("risk", "look", actor="ann")
        assert not answer.done
        assert "but state.db did not take it: the disk is full" in answer.text
        await close(stage, "BTC")
        del stage.trader.store._write
        await until(stage, "state", "closed", 60)
        await stage.commands.reset_breaker("risk", "seen", actor="ann")
        assert "filled" in await enter(stage)
        stage.trader.recorder.recent.clear()

    on_stage(act)


def test_S44_a_halt_that_does_not_reach_the_disk_counts_against_the_risk_breaker() -> None:
    async def act(stage: Stage) -> None:
        from perpstrader.domain import HaltKind

        await stage.bar(2)

        def full(*args: object) -> Any:
            raise StateError("the disk is full")

        stage.trader.store._write = full  # type: ignore[method-assign]
        for _ in range(3):
            await stage.trader.halt_in_time(HaltKind.OPERATOR, "stop")
        assert state(stage, "risk") == "open"
        del stage.trader.store._write
        await until(stage, "risk", "closed", 60)
        stage.trader.recorder.recent.clear()

    on_stage(act)


def test_S62_CB_14_a_record_that_keeps_failing_is_no_longer_waited_for_and_trading_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    awaited: list[str] = []
    original = EntryDesk._await_trace

    async def counted(self: EntryDesk, ack: Any, deadline_ms: int, symbol: str) -> None:
        awaited.append(symbol)
        await original(self, ack, deadline_ms, symbol)

    monkeypatch.setattr(EntryDesk, "_await_trace", counted)

    async def act(stage: Stage) -> None:
        await stage.bar(2)
        assert awaited == ["BTC"]
        store = stage.trader.recorder._store
        works = (store.store, store.update)

        async def broken(*args: Any) -> None:
            raise TraceError("the file is damaged")

        store.store = store.update = broken  # type: ignore[method-assign,assignment]
        await close(stage, "BTC")
        for _ in range(6):
            await stage.signal("BTC", Side.LONG, action="hold")
        await stage.seconds(2)
        assert state(stage, "traces") == "open"
        assert "filled" in await enter(stage)
        assert awaited == ["BTC"]
        store.store, store.update = works  # type: ignore[method-assign]
        await until(stage, "traces", "closed", 60)
        assert "filled" in await enter(stage, "SOL")
        assert awaited == ["BTC", "SOL"]
        stage.trader.recorder.recent.clear()

    on_stage(act)


def test_PR_29_recovery_that_breaks_is_told_stops_no_entry_and_is_back_by_itself(
    monkeypatch: pytest.MonkeyPatch, ring: RingChannel
) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        evidence = stage.trader.recovery._evidence  # type: ignore[attr-defined]

        def broken() -> Any:
            raise KeyError("a mistake")

        evidence.cases = broken
        await until(stage, "recovery", "open", 200)
        await stage.seconds(2)
        assert ("breaker:recovery", "new") in told(ring)
        assert "filled" in await enter(stage)
        del evidence.cases
        await until(stage, "recovery", "closed", 200)
        await stage.seconds(2)
        assert ("breaker:recovery", "over") in told(ring)
        before = stage.trader.recovery.stats().checks
        await stage.seconds(35)
        assert stage.trader.recovery.stats().checks > before
        stage.trader.recorder.recent.clear()

    on_stage(act)
    assert RecoveryService.check is not None


def test_S44_CB_09_a_disk_that_hangs_trips_by_its_checks_deadline() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        store, again = stage.trader.store, asyncio.Event()
        run = store._executor.run

        async def hangs(work: Any, *, timeout_s: float | None = None) -> Any:
            async with asyncio.timeout(timeout_s):
                await again.wait()
            return await run(work)

        store._executor.run = hangs  # type: ignore[method-assign]
        stage.trader.execution.desk.journal.later(lambda tx: tx.meta.put_int("x", 1))
        await until(stage, "state", "open", 90)
        assert "BREAKER_OPEN" in await enter(stage)
        await close(stage, "BTC")
        again.set()
        await until(stage, "state", "closed", 60)
        await until(stage, "risk", "closed", 60)
        assert "filled" in await enter(stage)
        stage.trader.recorder.recent.clear()

    on_stage(act)


def test_S44_CB_09_a_record_that_hangs_trips_by_what_waits() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        stuck = msgspec.structs.replace(stage.trader.recorder._store.counters, pending=3)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(stage.trader.recorder._store), "counters", property(lambda self: stuck))
            await stage.seconds(40)
            assert state(stage, "traces") == "closed"
            await until(stage, "traces", "open", 20)
        await until(stage, "traces", "closed", 60)

    on_stage(act)


# --- a person is told ---


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> RingChannel:
    """The alerts that went out."""
    channel = RingChannel()
    monkeypatch.setattr(world, "Deps", partial(Deps, channels=(channel,)))
    return channel


def told(ring: RingChannel, prefix: str = "breaker") -> list[tuple[str, str]]:
    return [(a.incident.key, a.change.value) for a in ring.alerts if a.incident.key.startswith(prefix)]


def test_S45_CB_15_CB_16_an_opening_is_told_once_gets_worse_is_told_to_be_over_and_the_next_one_is_new(
    ring: RingChannel,
) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        weather, watch = Weather(stage), stage.trader.guard.breakers.watch("execution")
        for _ in range(2):
            for _ in range(5):
                watch()(TimeoutError())
            weather.kind, weather.only = FaultKind.BAD_GATEWAY, "/exchange"
            await stage.seconds(160)
            weather.kind = None
            await until(stage, "execution", "closed", 100)
            await stage.seconds(2)
        once = [("breaker:execution", change) for change in ("new", "worse", "over")]
        assert told(ring) == once * 2
        stage.trader.recorder.recent.clear()

    on_stage(act, overrides={"breakers.max_recovery_attempts": 2})


def test_S45_a_component_that_is_unhealthy_is_told_where_nothing_else_tells_of_it(ring: RingChannel) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        stage.trader.execution.desk.journal.refused = 1
        await stage.seconds(35)
        assert told(ring, "health") == [("health:state", "new")]
        stage.trader.execution.desk.journal.refused = 0
        await stage.seconds(35)
        assert told(ring, "health") == [("health:state", "new"), ("health:state", "over")]

    on_stage(act)


# --- health ---


def _found(stage: Stage, component: str) -> tuple[str, str]:
    [row] = [c for c in stage.trader.guard.health.report().components if c.component == component]
    return row.status.value, row.text


def test_S46_the_health_of_a_running_trader_is_checked_at_its_interval_and_shown() -> None:
    async def act(stage: Stage) -> None:
        await stage.seconds(29)
        assert stage.commands.status().health == "unhealthy"
        assert "nothing has been checked yet" in stage.commands.status().health_text
        await stage.seconds(3)
        view = stage.commands.health()
        assert view.report.status is HealthStatus.HEALTHY, view.report.text
        assert [c.component for c in view.report.components] == [
            "venue", "streams", "state", "traces", "risk", "protection", "recovery", "loops", "disk",
        ]  # fmt: skip
        assert len(view.history) == 9
        assert stage.commands.status().health == "healthy"
        metrics = stage.commands.metrics()
        assert 'perpstrader_level{name="breaker_venue"} 0.0' in metrics
        assert 'perpstrader_level{name="health"} 0.0' in metrics

    on_stage(act)


@pytest.mark.parametrize(("interval_ms", "rounds"), [(30_000, 2), (10_000, 6)])
def test_the_interval_of_the_checks_is_the_settings(interval_ms: int, rounds: int) -> None:
    async def act(stage: Stage) -> None:
        await stage.seconds(69)
        assert len(stage.trader.guard.health.history("venue")) == rounds

    on_stage(act, overrides={"breakers.health_interval_ms": interval_ms})


def test_S46_CB_23_a_halt_is_critical_a_loss_near_its_limit_is_degraded_and_a_profit_is_not() -> None:
    async def act(stage: Stage) -> None:
        keeper, health = stage.trader.keeper, stage.trader.guard.health
        await stage.bar(2)
        real = keeper.state
        for realized, expected in ((Decimal(29), "healthy"), (Decimal(-23), "healthy"), (Decimal(-25), "degraded")):
            with pytest.MonkeyPatch.context() as patch:
                changed = msgspec.structs.replace(real, realized_usd=realized)
                patch.setattr(type(keeper), "state", property(lambda self, s=changed: s))
                await health.check()
                assert _found(stage, "risk")[0] == expected, realized
        await stage.commands.halt("look", actor="ann")
        await health.check()
        assert _found(stage, "risk") == ("critical", "entries are halted: operator")
        assert health.report().status is HealthStatus.CRITICAL

    on_stage(act)


def test_S46_each_component_says_what_is_wrong_with_it() -> None:
    async def act(stage: Stage) -> None:
        trader, health = stage.trader, stage.trader.guard.health
        await stage.bar(2)
        trader.connected = False
        await health.check()
        assert _found(stage, "streams")[0] == "unhealthy"
        trader.connected = True
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(trader.execution.desk.venue_clock), "skew_ms", property(lambda self: 3_000))
            await health.check()
            assert _found(stage, "venue")[0] == "critical"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Trader, "heartbeats", lambda self: [_late()])
            await health.check()
            assert _found(stage, "loops") == ("critical", "silent: cycles")
        confirmed = trader.execution.protector._confirmed.pop("BTC")
        holding = trader.execution.desk.positions.holdings["BTC"]
        holding.unprotected_since_ms = stage.clock.now_ms() - 6_000
        await health.check()
        assert _found(stage, "protection") == ("critical", "no confirmed stop under BTC")
        trader.execution.protector._confirmed["BTC"] = confirmed
        holding.unprotected_since_ms = None
        await health.check()
        assert health.report().status is HealthStatus.HEALTHY, health.report().text

    on_stage(act)


def _late() -> Any:
    from perpstrader.runtime import Heartbeat

    return Heartbeat(name="cycles", beat_age_ms=2, deadline_ms=1, restarts=0, last_error="")


def test_S46_a_disk_that_fills_up_is_degraded_and_then_critical(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        trader = stage.trader
        for free, expected in ((50 << 20, "critical"), (500 << 20, "degraded"), (5 << 30, "healthy")):
            checks = health_checks(
                trader, trader.guard._probes["venue"], trader.recorder._store, free=lambda path, free=free: free  # type: ignore[arg-type,misc]
            )  # fmt: skip
            [disk] = [check for check in checks if check.component == "disk"]
            assert (await disk.look()).status.value == expected

    on_stage(act, state_path=tmp_path / "state.db")


def test_CB_18_which_breaker_a_check_that_cannot_be_made_counts_against() -> None:
    async def act(stage: Stage) -> None:
        await stage.trader.guard.health.check()
        mapped = {c.component: c.breaker for c in stage.trader.guard.health.report().components}
        assert mapped == {
            "venue": "venue", "streams": "", "state": "state", "traces": "traces", "risk": "risk", "protection": "",
            "recovery": "", "loops": "", "disk": "",
        }  # fmt: skip

    on_stage(act)


def test_CB_12_without_the_guards_loop_nothing_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async def idle(self: Guard, beat: Callable[[], None]) -> None:
        """Mutant: only a call through the breaker could half-open it."""

    monkeypatch.setattr(Guard, "run", idle)
    with pytest.raises(AssertionError):
        test_S42_S44_CB_12_a_venue_that_is_away_trips_its_breaker_and_comes_back_with_no_operator(FaultKind.BAD_GATEWAY)
