"""A keeper with its store, clock and queue, for the tests of the keeper."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.unit.risk.risk_samples import NOW, D, Queue, StandingClock, limits, open_store

from perpstrader.domain import HaltKind
from perpstrader.risk.keeper import RiskKeeper
from perpstrader.state import StateStore


class Desk:
    """A keeper with its store, clock and queue."""

    def __init__(self, store: StateStore, clock: StandingClock, **of_limits: Any) -> None:
        self.store, self.clock, self.queue = store, clock, Queue()
        self.keeper = RiskKeeper(limits(**of_limits), store, clock, self.queue)

    async def restarted(self) -> Desk:
        """The same files in a new process; what was not flushed is lost."""
        after = Desk(self.store, self.clock)
        await after.keeper.load()
        return after

    def kinds(self) -> list[HaltKind]:
        """The halts in force."""
        return [halt.kind for halt in self.keeper.state.halts]


def with_desk(work: Callable[[Desk], Awaitable[None]], path: Path | None = None, **of_limits: Any) -> None:
    """Run it with a keeper that has read an empty store and seen $1,000."""

    async def go() -> None:
        async with await open_store(path) as store:
            desk = Desk(store, StandingClock(), **of_limits)
            await desk.keeper.load()
            desk.keeper.on_equity(D(1_000), NOW)
            await work(desk)

    asyncio.run(go())
