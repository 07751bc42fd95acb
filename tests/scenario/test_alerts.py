"""A person is told: what goes wrong with a running trader goes out by a channel, once, and so does its end (S45)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from tests.scenario.kit import Script, Stage, go, play
from tests.scenario.market import Bar, calm

from perpstrader.alerts import Alert, AlertDesk, Channel, RingChannel
from perpstrader.domain import OrderStatus, Side
from perpstrader.execution import Note
from perpstrader.execution.protection import Protector
from perpstrader.execution.reconcile import Difference
from perpstrader.simulate import world
from perpstrader.trader.alarms import Alarms
from perpstrader.trader.build import Deps
from perpstrader.venue.contract import RateLimit

LONG: Script = {("BTC", 1): go(Side.LONG, 57_000, 66_000)}


class Broken:
    """Raises at every delivery."""

    name = "broken"
    is_local = False

    async def send(self, alert: Alert) -> None:
        raise RuntimeError("https://hooks.invalid/SECRET")

    def close(self) -> None: ...


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> RingChannel:
    """The alerts that went out; every trader that a stage builds has this channel, and one that fails."""
    channel = RingChannel()
    channels: tuple[Channel, ...] = (channel, Broken())
    monkeypatch.setattr(world, "Deps", partial(Deps, channels=channels))
    return channel


def told(ring: RingChannel, prefix: str = "") -> list[tuple[str, str]]:
    """Key and change of each alert about the trader itself, in order."""
    return [
        (alert.incident.key, alert.change.value) for alert in ring.alerts
        if alert.incident.key.startswith(prefix) and not alert.incident.key.startswith("channel:")
    ]  # fmt: skip


def on_stage(
    act: Callable[[Stage], Awaitable[Any]], script: Script = LONG, market: Mapping[str, list[Bar]] | None = None,
    **more: Any,
) -> None:  # fmt: skip
    play(market or {"BTC": calm(60_000)}, {"alpha": script}, act, **more)


def _halted_and_released(ring: RingChannel) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        assert told(ring) == []
        await stage.commands.halt("a person says stop", actor="tester")
        await stage.seconds(200)
        assert told(ring) == [("halt:operator", "new")]
        confirmation = stage.commands.prepare("resume", {})
        await stage.commands.resume("a person looked", actor="tester", token=confirmation.token)
        await stage.seconds(200)
        assert told(ring) == [("halt:operator", "new"), ("halt:operator", "over")]

    on_stage(act)


def test_S45_a_halt_and_its_release_are_told_exactly_once_each(ring: RingChannel) -> None:
    _halted_and_released(ring)


@pytest.mark.parametrize(
    ("owner", "name", "instead"),
    [
        (Alarms, "look", lambda self: None),
        (AlertDesk, "recovered", lambda self, key, text: None),
        (Alarms, "_halts", lambda self: iter(())),
    ],
)
def test_S45_the_proof_fails_where_nobody_looks_or_tells(
    ring: RingChannel, monkeypatch: pytest.MonkeyPatch, owner: type, name: str, instead: Any
) -> None:
    monkeypatch.setattr(owner, name, instead)
    with pytest.raises(AssertionError):
        _halted_and_released(ring)


def test_S45_a_daily_loss_is_told_when_it_begins_and_when_it_gets_worse(ring: RingChannel) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(7)
        assert told(ring, "halt:") == [("halt:daily_loss", "new"), ("halt:daily_loss", "worse")]
        assert ("flatten:", "new") in told(ring)

    falling = [*calm(60_000, 3), *(Bar(path=(str(60_000 * Decimal(part)),)) for part in ("0.965", "0.953"))]
    both = {**LONG, ("ETH", 1): go(Side.LONG, 2_850, 3_300)}
    ether = [*calm(3_000, 3), *(Bar(path=(str(3_000 * Decimal(part)),)) for part in ("0.965", "0.953"))]
    tight = {"risk.daily_loss_entry_stop_fraction": "0.005", "risk.max_daily_loss_fraction": "0.0075"}
    on_stage(act, both, {"BTC": falling, "ETH": ether}, overrides=tight)


def test_S45_a_position_without_a_stop_is_told_after_two_seconds_and_again_when_it_has_one(
    ring: RingChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*args: Any, **kwargs: Any) -> None:
        return None

    async def act(stage: Stage) -> None:
        with monkeypatch.context() as blind:
            blind.setattr(Protector, "_confirm", never)
            await stage.bar(1)
            await stage.seconds(1.5)
            assert told(ring) == []
            await stage.seconds(2.5)
            assert told(ring) == [("unprotected:BTC", "new")]
        await stage.seconds(10)
        assert told(ring, "unprotected:") == [("unprotected:BTC", "new"), ("unprotected:BTC", "over")]

    on_stage(act, overrides={"execution.protection_deadline_ms": 60_000})


def test_S45_foreign_activity_is_told(ring: RingChannel) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        stage.by_hand("BTC", buy=True, size="0.001")
        await stage.bar(4)
        assert ("foreign-fill:BTC", "new") in told(ring)

    on_stage(act, {}, sound=False)


def test_S45_a_stream_that_stays_down_is_told_and_that_it_is_back(ring: RingChannel) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(1)
        stage.trader.connected = False
        await stage.seconds(25)
        assert told(ring) == []
        await stage.seconds(10)
        assert told(ring) == [("stream-down", "new")]
        stage.trader.connected = True
        await stage.seconds(3)
        assert told(ring) == [("stream-down", "new"), ("stream-down", "over")]

    on_stage(act, {})


def test_S45_few_requests_left_a_wrong_clock_and_an_unknown_order_are_told(
    ring: RingChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(3)
        trader = stage.trader
        desk, alarms, before = trader.execution.desk, trader.alarms, trader.address_budget
        assert alarms is not None
        [stop, *_] = desk.orders.live("BTC")
        await stage.seconds(10)
        with monkeypatch.context() as wrong:
            wrong.setattr(type(desk.venue_clock), "skew_ms", property(lambda self: 800))
            trader.address_budget = RateLimit(used=7_100, cap=10_000)
            desk.orders.update(stop.cloid, status=OrderStatus.UNKNOWN)
            alarms.look()
            desk.orders.update(stop.cloid, status=stop.status)
        alarms.look()
        trader.address_budget = before
        alarms.look()
        await stage.seconds(1)
        keys = {"unknown:BTC", "clock-skew", "address-budget"}
        assert sorted(told(ring)) == sorted((key, change) for key in keys for change in ("new", "over"))

    on_stage(act)


def test_S45_a_trace_that_cannot_be_stored_is_told(ring: RingChannel) -> None:
    async def act(stage: Stage) -> None:
        async def full(*args: Any) -> None:
            raise OSError("the disk is full")

        stage.trader.recorder._store.store = full  # type: ignore[method-assign,assignment]
        await stage.bar(3)
        gaps = [alert for alert in ring.alerts if alert.incident.key.startswith("trace-gap:")]
        assert gaps
        assert "the disk is full" in gaps[0].incident.text

    on_stage(act)


def _note(stage: Stage, kind: str, text: str = "it happened", symbol: str = "BTC", episode: str = "") -> None:
    note = Note(time_ms=stage.clock.now_ms(), kind=kind, symbol=symbol, text=text, episode=episode, grave=True)
    stage.trader.recorder.take(note)


def test_S45_what_fails_is_over_when_it_has_not_come_again_and_what_was_done_only_ceases(ring: RingChannel) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(0)
        alarms = stage.trader.alarms
        assert alarms is not None
        for _ in range(3):
            _note(stage, "exit-not-filling")
            _note(stage, "liquidation")
            await stage.seconds(100)
        assert told(ring) == [("exit-not-filling:BTC", "new"), ("liquidation:BTC", "new")]
        await stage.seconds(190)
        assert len(told(ring)) == 2
        assert len(alarms.desk.book.open()) == 2 + 1  # and the broken channel
        await stage.seconds(20)
        assert told(ring)[2:] == [("exit-not-filling:BTC", "over")]
        assert [i.key for i in alarms.desk.book.open()] == ["channel:broken"]

    on_stage(act, {})


def test_S45_another_episode_and_another_failing_part_are_other_incidents(ring: RingChannel) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(0)
        for episode in ("e1", "e1", "e2"):
            _note(stage, "liquidation", episode=episode)
        for text in ("close-BTC: OSError: no", "close-ETH: OSError: no", "cycles: KeyError: x"):
            _note(stage, "failure", text, symbol="")
        await stage.seconds(1)
        keys = ["liquidation:BTC:e1", "liquidation:BTC:e2", "failure:close", "failure:cycles"]
        assert told(ring) == [(key, "new") for key in keys]

    on_stage(act, {}, sound=False)


def test_the_windows_are_those_of_the_settings(ring: RingChannel) -> None:
    async def act(stage: Stage) -> None:
        await stage.commands.halt("a person says stop", actor="tester")
        for _ in range(3):
            _note(stage, "exit-not-filling")
            await stage.seconds(65)
        assert told(ring, "halt:") == [("halt:operator", "new"), *[("halt:operator", "again")] * 3]
        assert told(ring, "exit-not-filling:") == [("exit-not-filling:BTC", "new"), ("exit-not-filling:BTC", "again")]

    windows = {"breakers.alert_cooldown_ms": 60_000, "recovery.alert_cooldown_ms": 100_000}
    on_stage(act, {}, overrides=windows)


def test_no_secret_of_a_note_goes_out(ring: RingChannel) -> None:
    async def act(stage: Stage) -> None:
        _note(stage, "failure", f"streams: private_key=0x{'ab' * 32} " + "x" * 550 + "cd" * 32)
        await stage.seconds(1)
        [alert] = [alert for alert in ring.alerts if alert.incident.key == "failure:streams"]
        assert "abab" not in alert.body
        assert "cdcd" not in alert.body

    on_stage(act, {}, sound=False)


def test_a_look_that_fails_keeps_no_trader_from_its_stop(ring: RingChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(stage: Stage) -> None:
        def broken(self: Alarms) -> None:
            raise KeyError("a part that is not there")

        monkeypatch.setattr(Alarms, "look", broken)
        await stage.trader.stop()
        assert told(ring) == [("failure:alarms", "new")]
        assert stage.trader.heartbeats() == []

    on_stage(act, {}, sound=False)


def test_S45_a_channel_that_fails_is_told_by_the_others_and_hurts_nothing(ring: RingChannel) -> None:
    async def act(stage: Stage) -> None:
        await stage.commands.halt("a person says stop", actor="tester")
        await stage.seconds(5)
        status = stage.commands.status()
        [broken] = [channel for channel in status.alert_channels if channel.name == "broken"]
        assert broken.error
        assert "SECRET" not in repr(status)
        assert [row.title for row in status.alerts] == ["entries are halted: operator", "alerts do not go out"]
        began = stage.clock.now_ms()
        await stage.trader.stop()
        assert stage.clock.now_ms() - began < 10_000

    on_stage(act, {}, sound=False)


def test_S45_without_channels_nothing_looks_and_with_them_two_loops_do(ring: RingChannel) -> None:
    async def loops(stage: Stage) -> set[str]:
        await stage.bar(0)
        return {beat.name for beat in stage.trader.heartbeats()}

    with_them = play({"BTC": calm(60_000)}, {"alpha": {}}, loops)
    with pytest.MonkeyPatch.context() as none:
        none.setattr(world, "Deps", Deps)
        without = play({"BTC": calm(60_000)}, {"alpha": {}}, loops)
    assert with_them - without == {"alerts", "alarms"}


def test_S45_S52_what_recovery_finds_and_does_is_told_and_so_is_its_end(ring: RingChannel) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        stage.trader.execution.view.frozen["BTC"] = "the venue's position differed"
        stage.trader.execution.reconciler.followed["BTC"] = Difference("BTC", Decimal(1), Decimal(2))
        await stage.seconds(30)
        assert told(ring, "recovery:") == [("recovery:BTC", "new")]
        stage.trader.execution.view.frozen.clear()
        await stage.seconds(10)
        assert told(ring, "recovery:") == [("recovery:BTC", "new"), ("recovery:BTC", "over")]
        await stage.seconds(60)
        assert ("recovery-acts:BTC", "new") in [(key.rpartition(":")[0], change) for key, change in told(ring)]
        await stage.seconds(70)
        assert stage.position("BTC") == 0
        exhausted = [alert for alert in ring.alerts if alert.incident.key.startswith("recovery-exhausted:BTC")]
        assert exhausted[0].incident.severity.name == "CRITICAL"

    stuck = {"recovery.stuck_window_ms": 60_000, "recovery.stuck_action": "reduce", "recovery.max_attempts": 1}
    on_stage(act, overrides=stuck)
