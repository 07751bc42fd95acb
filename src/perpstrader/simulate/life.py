"""One life of the trader in a campaign: from a start on what the last one left on disk to a stop, or to a death."""

from __future__ import annotations

import asyncio
import warnings
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any, Final

from perpstrader.domain import Order, PerpsTraderError, Reason, Refused, Trace
from perpstrader.runtime import AccountLock, InlineExecutor, VirtualClock
from perpstrader.runtime.pool import TaskPool
from perpstrader.settings import Settings
from perpstrader.simulate.chaos import MortalTransport
from perpstrader.simulate.disk import DiskFaults, FailingStore
from perpstrader.simulate.invariants import Witness
from perpstrader.simulate.operator import Operator
from perpstrader.trader.account import Identity
from perpstrader.trader.build import Deps, build_trader
from perpstrader.trader.commands import Commands
from perpstrader.trader.observer import Nobody
from perpstrader.trader.records import open_traces
from perpstrader.trader.trader import Trader

_ROUNDS: Final = 20


class TellWitness(Nobody):
    """Observes execution for the witness: what orders are meant for, and who was refused in a halt."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness

    def on_order(self, order: Order) -> None:
        """Its intent."""
        self._witness.meant(order)

    def on_decision(self, trace: Trace) -> None:
        """A refusal in a halt is an entry that the halt has stopped, one by a breaker one that the breaker has."""
        if not isinstance(trace.verdict, Refused):
            return
        if trace.verdict.reason is Reason.HALTED:
            self._witness.refused_while_halted()
        elif trace.verdict.reason is Reason.BREAKER_OPEN:
            self._witness.refused_by_a_breaker()


class Life:
    """Builds, runs, stops or kills one trader. ``errors`` are those of its tasks that nobody has foreseen."""

    def __init__(
        self, settings: Settings, clock: VirtualClock, identity: Identity, rng: Random, transport: MortalTransport,
        witness: Witness, state_path: Path, disk: DiskFaults,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._clock = clock
        self._identity = identity
        self._rng = rng
        self.transport = transport
        self._witness = witness
        self._state_path = state_path
        self._disk = disk
        self._files = AsyncExitStack()
        self.store: FailingStore
        self.trader: Trader | None = None
        self.commands: Commands
        self.errors: list[str] = []
        self._operating = TaskPool(self._failed)
        self._operator: asyncio.Task[None] | None = None

    @property
    def lock_path(self) -> Path:
        """What keeps a second writer from the account (S75)."""
        return self._state_path.parent / "lock"

    async def start(self) -> None:
        """Open the files and start the trader; raises where it refuses to start."""
        executor = InlineExecutor()
        self._witness.conduct.born()
        self._files.enter_context(AccountLock(self.lock_path, self._identity.account))
        self.store = await FailingStore.open(
            self._state_path, executor=executor, account=self._identity.account, network="paper",
            new_epoch=lambda: self._rng.getrandbits(64), durable=False,
        )  # fmt: skip
        self.store.faults = self._disk
        self._files.push_async_callback(self.store.close)
        traces = await self._files.enter_async_context(
            open_traces(self._settings, None, self._clock, executor=executor, synchronous="OFF")
        )
        deps = Deps(
            clock=self._clock, rng=self._rng, transport=self.transport, store=self.store, traces=traces,
            identity=self._identity, is_virtual=True, observer=TellWitness(self._witness),
        )  # fmt: skip
        self.trader, self.commands = await build_trader(self._settings, deps)
        breakers = self.trader.guard.breakers
        self._witness.open_breakers = lambda: [
            status.name for status in breakers.statuses() if status.stops_entries and status.state != "closed"
        ]
        await self.trader.start()

    def operate(self) -> None:
        """Let the operator work from now on."""
        assert self.trader is not None
        rng = Random(self._rng.getrandbits(64))
        operator = Operator(
            self.trader, self.commands, self._clock, rng, self._witness, self._operating, self.lock_path
        )
        self._operator = self._operating.spawn("operator", operator.run())

    async def end_operator(self) -> None:
        """No further command; what runs is finished first."""
        if self._operator is not None:
            self._operator.cancel()
        await self._operating.drain()

    async def stop(self) -> None:
        """Stop gracefully."""
        assert self.trader is not None
        self._collect_errors()
        await self.trader.stop()
        await self._files.aclose()

    async def kill(self, survivors: tuple[asyncio.Task[Any], ...]) -> None:
        """As by kill -9: nothing more is sent or written, then every task but ``survivors`` and this one is gone."""
        if self._operator is not None:
            self._operator.cancel()  # who speaks to a dead trader asks nothing of it
        await self.transport.kill()
        self._collect_errors()
        await self._files.aclose()
        with warnings.catch_warnings():
            # A task that dies before its first step leaves the coroutine it was to await untouched: so does kill -9.
            warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
            await _end_all_but((*survivors, asyncio.current_task()))

    def _collect_errors(self) -> None:
        """Failures of the trader's own tasks that are no sentence of ours are errors in the program."""
        for note in self.trader.recorder.recent if self.trader is not None else ():
            if note.kind == "failure" and not any(f": {name}: " in note.text for name in _FORESEEN):
                self.errors.append(note.text)

    def _failed(self, name: str, error: Exception) -> None:
        if not isinstance(error, PerpsTraderError):
            self.errors.append(f"{name}: {type(error).__name__}: {error}")


async def _end_all_but(spared: tuple[asyncio.Task[Any] | None, ...]) -> None:
    for _ in range(_ROUNDS):
        tasks = sorted((t for t in asyncio.all_tasks() if t not in spared), key=lambda task: task.get_name())
        if not tasks:
            return
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    raise RuntimeError(f"tasks of a dead trader live on: {', '.join(task.get_name() for task in tasks)}")


def _names(kind: type[PerpsTraderError]) -> list[str]:
    return [kind.__name__, *(name for child in kind.__subclasses__() for name in _names(child))]


_FORESEEN: Final = tuple(_names(PerpsTraderError))
