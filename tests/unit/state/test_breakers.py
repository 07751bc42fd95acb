"""Breakers on disk: the newest row of each name, read back as it was written (CB-21)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from perpstrader.domain.breakers import BreakerRow, BreakerState
from perpstrader.domain.errors import StateError
from perpstrader.runtime import InlineExecutor
from perpstrader.state import StateStore


async def _open(path: Path) -> StateStore:
    return await StateStore.open(
        path, executor=InlineExecutor(), account="0x" + "a" * 40, network="paper", new_epoch=lambda: 7, durable=False
    )


def _row(name: str, state: BreakerState, until_ms: int | None = None) -> BreakerRow:
    return BreakerRow(
        name=name, state=state, since_ms=5, until_ms=until_ms, failed_probes=2, failure="502", actor="ann", reason="why"
    )


def test_CB_21_the_newest_row_of_each_name_survives_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        rows = (_row("state", BreakerState.LATCHED), _row("venue", BreakerState.OPEN, 99))
        async with await _open(tmp_path / "state.db") as store:
            assert await store.read(lambda tx: tx.breakers.all()) == ()
            await store.transact(lambda tx: tx.breakers.put(_row("venue", BreakerState.CLOSED)))
            for row in rows:
                await store.transact(lambda tx, row=row: tx.breakers.put(row))
        async with await _open(tmp_path / "state.db") as store:
            assert await store.read(lambda tx: tx.breakers.all()) == rows

    asyncio.run(main())


def test_CB_21_a_state_that_cannot_be_read_is_an_error_and_no_guess(tmp_path: Path) -> None:
    async def main() -> None:
        async with await _open(tmp_path / "state.db") as store:
            await store.transact(lambda tx: tx.breakers.put(_row("venue", BreakerState.OPEN)))
            await store.transact(lambda tx: tx.breakers._connection.execute("UPDATE breakers SET state = 'ajar'"))
            with pytest.raises(StateError, match="unreadable breaker"):
                await store.read(lambda tx: tx.breakers.all())

    asyncio.run(main())


def test_S44_each_write_is_told_to_who_watches_with_how_it_ended(tmp_path: Path) -> None:
    async def main() -> None:
        told: list[object] = []
        async with await _open(tmp_path / "state.db") as store:
            store.watch = lambda: told.append
            await store.transact(lambda tx: tx.meta.put_int("x", 1))

            def refuse(tx: object) -> None:
                raise StateError("no")

            with pytest.raises(StateError):
                await store.transact(refuse)
        assert told[0] is None
        assert isinstance(told[1], StateError)
        assert len(told) == 2

    asyncio.run(main())
