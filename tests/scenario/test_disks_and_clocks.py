"""The disk of the record fills up, or this machine's clock is set back, while positions are open."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import pytest
from tests.scenario.kit import MIDNIGHT_MS, Script, Stage, go, leave, play
from tests.scenario.market import calm

from perpstrader.alerts import RingChannel
from perpstrader.domain import Side
from perpstrader.runtime import Answer, Clock
from perpstrader.simulate import world
from perpstrader.trader.build import Deps
from perpstrader.venue.nonces import NonceSource

DAY_MS = 86_400_000


def _as_on_a_full_disk(cursor: Any, sql: str, bindings: Any) -> bool:
    """What SQLite says to whoever wants to write there."""
    if sql.startswith(("INSERT", "UPDATE")):
        raise apsw.FullError("database or disk is full")
    return True


def test_S62_orders_flow_while_the_disk_of_the_record_is_full_and_the_gap_is_counted_and_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ring = RingChannel()
    monkeypatch.setattr(world, "Deps", partial(Deps, channels=(ring,)))

    async def act(stage: Stage) -> None:
        await stage.bar(2)
        writer = stage.trader.recorder._store._writer  # type: ignore[attr-defined]
        writer.exec_trace = _as_on_a_full_disk
        await stage.bar(5)
        assert stage.position("BTC") > 0 > stage.position("ETH")
        assert stage.stop_of("ETH")
        await stage.bar(10)
        assert stage.position("BTC") == 0
        assert stage.halts() == []
        await stage.seconds(60)
        assert stage.trader.counters.trace_gaps > 0
        assert "trace-gap:" in {alert.incident.key for alert in ring.alerts}
        entered = await stage.signal("BTC", Side.LONG, stop_price="57000", target_price="66000")
        assert entered.done, entered.text
        assert stage.position("BTC") > 0
        writer.exec_trace = None
        before = stage.trader.recorder._store.counters.stored
        assert (await stage.commands.close("ETH", "the disk has room again", actor="tester")).done
        await stage.trader.recorder._store.flush()
        assert stage.trader.recorder._store.counters.stored > before

    script: Script = {
        ("BTC", 1): go(Side.LONG, 57_000, 66_000), ("ETH", 3): go(Side.SHORT, 3_150, 2_700), ("BTC", 8): leave,
    }  # fmt: skip
    play({"BTC": calm(60_000, 40), "ETH": calm(3_000, 40)}, {"alpha": script}, act, overrides={
        "risk.exit_cooldown_ms": "0", "risk.loss_cooldown_ms": "0", "risk.duplicate_entry_window_ms": "0",
    })  # fmt: skip


class ShiftedClock:
    """A clock of this machine that somebody sets."""

    def __init__(self, clock: Clock) -> None:
        self.offset_ms = 0
        self.monotonic_ns = clock.monotonic_ns
        self.sleep = clock.sleep
        self._clock = clock

    def now_ms(self) -> int:
        return self._clock.now_ms() + self.offset_ms


async def _on_a_clock_of_its_own(stage: Stage) -> ShiftedClock:
    """The trader starts again on a clock that is not the venue's."""
    own, venues = ShiftedClock(stage.clock), stage.clock
    await _start_on(stage, own)
    assert stage.clock is venues
    return own


async def _start_on(stage: Stage, own: ShiftedClock) -> None:
    await stage.crash()
    venues, stage.clock = stage.clock, own  # type: ignore[assignment]
    try:
        await stage.start_again()
    finally:
        stage.clock = venues


def _nonces(stage: Stage) -> list[int]:
    """The nonces of all that is sent from now on."""
    seen: list[int] = []
    post = stage.world.transport.post

    async def watched(path: str, body: bytes, *, timeout_s: float) -> Answer:
        if path == "/exchange":
            seen.append(json.loads(body)["nonce"])
        return await post(path, body, timeout_s=timeout_s)

    stage.world.transport.post = watched  # type: ignore[method-assign]
    return seen


def _set_back(tmp_path: Path, back_ms: int) -> None:
    async def act(stage: Stage) -> None:
        own = await _on_a_clock_of_its_own(stage)
        nonces = _nonces(stage)
        await stage.bar(2)
        assert stage.position("BTC") > 0
        own.offset_ms = -back_ms
        await stage.seconds(70)
        assert abs(stage.trader.execution.desk.venue_clock.skew_ms) > 2_000
        assert stage.notes("clock-skew")
        refused = await stage.signal("ETH", Side.LONG, stop_price="2850", target_price="3300")
        assert not refused.done
        assert stage.position("ETH") == 0
        assert stage.stop_of("BTC")
        await _start_on(stage, own)
        await stage.seconds(10)
        assert stage.stop_of("BTC")
        assert (await stage.commands.close("BTC", "out, whatever the clock says", actor="tester")).done
        assert stage.position("BTC") == 0
        await stage.seconds(5)  # the stop that is left goes in a clean-up of its own
        assert len(nonces) > 2
        assert nonces == sorted(set(nonces))

    play(
        {"BTC": calm(60_000, 60), "ETH": calm(3_000, 60)}, {"alpha": {("BTC", 1): go(Side.LONG, 57_000, 66_000)}}, act,
        state_path=tmp_path / "state.db",
    )  # fmt: skip


@pytest.mark.parametrize("back_ms", [10_000, 3_600_000])
def test_S12_a_clock_set_back_stops_entries_and_no_exit_and_repeats_no_nonce(back_ms: int, tmp_path: Path) -> None:
    _set_back(tmp_path, back_ms)


def test_S12_that_proof_fails_where_nonces_are_the_time_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def time_alone(self: NonceSource) -> int:
        """Mutant: what the machine's clock says, whatever was used before."""
        return getattr(self.clock, "_clock", self.clock).now_ms()

    monkeypatch.setattr(NonceSource, "take", time_alone)
    with pytest.raises(AssertionError):
        _set_back(tmp_path, 3_600_000)


def test_S41_a_clock_set_back_over_midnight_does_not_bring_the_day_back(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        own = await _on_a_clock_of_its_own(stage)
        await stage.bar(3)
        day = stage.trader.keeper.state.day
        own.offset_ms = -3 * 60_000
        await stage.seconds(70)
        assert stage.trader.keeper.state.day == day
        await _start_on(stage, own)
        await stage.seconds(10)
        assert stage.trader.keeper.state.day == day
        assert stage.halts() == []

    play(
        {"BTC": calm(60_000, 60)}, {"alpha": {("BTC", 1): go(Side.LONG, 57_000, 66_000)}}, act,
        start_ms=MIDNIGHT_MS + 60_000, state_path=tmp_path / "state.db",
    )  # fmt: skip
