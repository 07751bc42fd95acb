"""Halts of the keeper: in memory at once, on disk before anybody acts on them, released by a person alone (S40)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.unit.risk.keeper_desk import Desk, with_desk
from tests.unit.risk.risk_samples import DAY_MS, NOW, D, StandingClock, open_store

from perpstrader.domain import Halt, HaltKind, StateError, UnsafeError


def test_S40_entries_are_halted_until_the_state_is_read() -> None:
    async def go() -> None:
        async with await open_store() as store:
            desk = Desk(store, StandingClock())
            assert desk.kinds() == [HaltKind.STATE]
            await desk.keeper.load()
            assert desk.kinds() == []

    asyncio.run(go())


def test_S40_a_halt_is_on_disk_before_its_call_returns_and_survives_the_process(tmp_path: Path) -> None:
    path = tmp_path / "state.db"

    async def first() -> None:
        async with await open_store(path) as store:
            desk = Desk(store, StandingClock())
            await desk.keeper.load()
            halt = await desk.keeper.halt(HaltKind.EMERGENCY, "something is odd", "anna", flatten=True)
            assert halt in desk.keeper.state.halts

    async def second() -> None:
        async with await open_store(path) as store:
            desk = Desk(store, StandingClock(NOW + 90 * DAY_MS))
            await desk.keeper.load()
            [halt] = desk.keeper.state.halts
            assert (halt.kind, halt.reason, halt.actor, halt.flatten) == (
                HaltKind.EMERGENCY, "something is odd", "anna", True
            )  # fmt: skip
            assert [(e.command, e.actor) for e in await store.read(lambda tx: tx.audit.recent(5))] == [("halt", "anna")]

    asyncio.run(first())
    asyncio.run(second())


def test_S40_a_halt_that_cannot_be_written_raises_and_holds_in_memory() -> None:
    async def work(desk: Desk) -> None:
        await desk.store.close()
        with pytest.raises(StateError):
            await desk.keeper.halt(HaltKind.OPERATOR, "stop", "anna")
        assert desk.kinds() == [HaltKind.OPERATOR]
        with pytest.raises(StateError):
            await desk.keeper.resume("anna", "go on")
        assert desk.kinds() == [HaltKind.OPERATOR]

    with_desk(work)


def test_S40_a_tripped_halt_holds_at_once_and_is_on_disk_when_it_is_settled() -> None:
    async def work(desk: Desk) -> None:
        desk.keeper.on_equity(D(960), NOW)
        assert desk.kinds() == [HaltKind.DAILY_LOSS]
        await desk.keeper.settle_halts()
        assert (await desk.restarted()).kinds() == [HaltKind.DAILY_LOSS]

    with_desk(work)


def test_S40_only_a_recorded_resume_with_a_reason_releases() -> None:
    async def work(desk: Desk) -> None:
        await desk.keeper.halt(HaltKind.OPERATOR, "lunch", "anna")
        for actor, reason in (("", "why"), ("anna", " ")):
            with pytest.raises(UnsafeError, match="needs an actor and a reason"):
                await desk.keeper.resume(actor, reason)
        assert desk.kinds() == [HaltKind.OPERATOR]
        [released] = await desk.keeper.resume("anna", "back from lunch")
        assert (released.kind, desk.kinds()) == (HaltKind.OPERATOR, [])
        assert (await desk.restarted()).kinds() == []
        entry = (await desk.store.read(lambda tx: tx.audit.recent(1)))[0]
        assert (entry.command, entry.actor, entry.reason) == ("resume", "anna", "back from lunch")
        assert entry.result == "released operator"

    with_desk(work)


def test_S40_a_halt_asked_for_while_a_resume_is_being_written_holds() -> None:
    async def work(desk: Desk) -> None:
        await desk.keeper.halt(HaltKind.OPERATOR, "lunch", "anna")
        await desk.keeper._durable.acquire()
        resuming = asyncio.ensure_future(desk.keeper.resume("anna", "back"))
        await asyncio.sleep(0)
        halting = asyncio.ensure_future(desk.keeper.halt(HaltKind.OPERATOR, "no, wait", "bob"))
        await asyncio.sleep(0)
        desk.keeper._durable.release()
        await asyncio.gather(resuming, halting)
        assert desk.kinds() == [HaltKind.OPERATOR]
        assert [h.kind for h in await desk.store.read(lambda tx: tx.halts.active())] == [HaltKind.OPERATOR]

    with_desk(work)


def test_a_daily_loss_beyond_its_limit_is_not_released_before_midnight() -> None:
    async def work(desk: Desk) -> None:
        desk.keeper.on_equity(D(960), NOW)
        assert await desk.keeper.resume("anna", "I know better") == ()
        assert desk.kinds() == [HaltKind.DAILY_LOSS]

    with_desk(work)


def test_S40_a_state_that_cannot_be_read_is_halted_and_stays_so_until_it_can(tmp_path: Path) -> None:
    path = tmp_path / "state.db"

    async def work() -> None:
        async with await open_store(path) as store:
            desk = Desk(store, StandingClock())
            await desk.keeper.load()
            desk.keeper.on_equity(D(1_000), NOW)
            await desk.queue.flush(store)
            good = await store.transact(
                lambda tx: tx.risk._connection.execute("SELECT body FROM risk_state").get
            )
            await store.transact(lambda tx: tx.risk._connection.execute("UPDATE risk_state SET body = '{\"day\":'"))
            after = await desk.restarted()
            assert after.kinds() == [HaltKind.STATE]
            with pytest.raises(StateError, match="unreadable risk state"):
                await after.keeper.resume("anna", "try")
            assert after.kinds() == [HaltKind.STATE]
            await store.transact(lambda tx: tx.risk._connection.execute("UPDATE risk_state SET body = ?", (good,)))
            await after.keeper.resume("anna", "restored from the backup")
            assert after.kinds() == []
            assert after.keeper.state.peak_equity_usd == 1_000

    asyncio.run(work())


def test_halts_merge_to_the_stricter_one() -> None:
    async def work(desk: Desk) -> None:
        await desk.keeper.halt(HaltKind.OPERATOR, "one", "anna", until_ms=NOW + 10)
        await desk.keeper.halt(HaltKind.OPERATOR, "two", "bob", flatten=True)
        [halt] = desk.keeper.state.halts
        assert (halt.until_ms, halt.flatten) == (None, True)
        assert isinstance(halt, Halt)
        on_disk = await desk.store.read(lambda tx: tx.halts.active())
        assert [(h.until_ms, h.flatten) for h in on_disk] == [(None, True)]

    with_desk(work)
