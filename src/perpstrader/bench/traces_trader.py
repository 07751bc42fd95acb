"""A running trader at 500 decisions a second, with its record on and off: what recording costs whoever trades.

One trader, in real time, on a paper exchange in the same process; between repetitions its record is switched. Each
decision goes through the rules and is refused, as nearly all are. The venue's weights allow no thousand reads a second,
so account and book are read before each repetition and answered from memory during it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import count
from random import Random
from time import perf_counter_ns, process_time_ns
from typing import Any, Final

from perpstrader.bench.desk import MADE_UP_KEY
from perpstrader.bench.harness import Arm, Case, Disagreement, Subject
from perpstrader.bench.lab import Lab
from perpstrader.bench.statistics import quantile
from perpstrader.domain import Action, Refused, Side, Signal, Trace
from perpstrader.paper.build import PaperPlan, open_paper
from perpstrader.runtime import SystemClock, ThreadedExecutor
from perpstrader.settings import load
from perpstrader.state import StateStore
from perpstrader.traces.contract import TraceStore
from perpstrader.trader.account import Identity
from perpstrader.trader.build import Deps, build_trader
from perpstrader.trader.records import open_traces
from perpstrader.trader.trader import Trader
from perpstrader.venue import Signer

COMPONENT: Final = "traces"
_A_SECOND: Final = 500
_SYMBOL: Final = "BTC"
_SEED: Final = 7
_CHECKED: Final = 20
_BEHIND_NS: Final = 1_000_000
_SETTINGS: Final = {
    "trader.symbols": [_SYMBOL], "trader.strategies": [],
}  # fmt: skip
"""No strategy of its own."""


def cases(lab: Lab) -> list[Case]:
    """The rows of a running trader."""
    seconds = 0.1 if lab.quick else 1.0
    more = (
        "baseline is the same trader with its record switched off, optimized with it on (WAL, NORMAL, as the settings "
        "have it), so a ratio of 1 is a record that costs nothing; account and book are answered from memory, a paper "
        "exchange runs in the same process, and both are in both figures"
    )
    rows: tuple[tuple[str, str, Callable[[_Figures], float], str], ...] = (
        ("trader-500", "us/decision", lambda seen: quantile(seen.took_us, 0.5), "the median time of a decision"),
        ("trader-500-p99", "us/decision", lambda seen: quantile(seen.took_us, 0.99), "its 99th percentile"),
        ("trader-500-cpu", "us/decision", lambda seen: seen.cpu_us, "processor time of the whole process a decision"),
        (
            "trader-500-loop-lag", "us/turn", lambda seen: quantile(seen.late_us, 0.99),
            "how late the loop wakes who slept a millisecond, 99th percentile",
        ),
    )  # fmt: skip
    return [
        Case(
            COMPONENT, row, unit, 1, partial(_trading, lab, seconds, figure), counted=True,
            compares_builds=False,
            note=f"{what}, at {_A_SECOND} decisions a second for {seconds:g} s a repetition; {more}",
        )
        for row, unit, figure, what in (rows[:1] if lab.quick else rows)
    ]  # fmt: skip


class _Switch:
    """A trace store that may be switched off: what it is handed then is taken, and forgotten."""

    def __init__(self, store: TraceStore) -> None:
        self.store_behind = store
        self.is_on = True

    def store(self, trace: Trace, *, urgent: bool = True) -> Awaitable[None]:
        """As ``TraceStore.store``."""
        return self.store_behind.store(trace, urgent=urgent) if self.is_on else _nothing()

    def update(self, trace: Trace, *, urgent: bool = True) -> Awaitable[None]:
        """As ``TraceStore.update``."""
        return self.store_behind.update(trace, urgent=urgent) if self.is_on else _nothing()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store_behind, name)


async def _nothing() -> None:
    return


class _Figures:
    """One repetition: what each decision took, how late the loop was, and the processor time a decision."""

    def __init__(self, took_us: list[float], late_us: list[float], cpu_us: float) -> None:
        self.took_us, self.late_us, self.cpu_us = sorted(took_us), sorted(late_us), cpu_us


@asynccontextmanager
async def _trading(lab: Lab, seconds: float, figure: Callable[[_Figures], float]) -> AsyncIterator[Subject]:
    async with AsyncExitStack() as stack:
        switch, trader = await _started(lab, stack)
        numbers = count()

        async def run(is_on: bool) -> float:
            switch.is_on = is_on
            return figure(await _decide_at_pace(trader, numbers, seconds))

        async def answer(is_on: bool) -> object:
            await renew()
            switch.is_on = is_on
            return await _checked(trader, switch, numbers)

        renew = _hold_evidence(trader)

        async def settled() -> None:
            await switch.flush()
            await renew()

        off, on = (Arm(run=partial(run, on), answer=partial(answer, on), prepare=settled) for on in (False, True))
        yield Subject(off, on, "refused")


async def _started(lab: Lab, stack: AsyncExitStack) -> tuple[_Switch, Trader]:
    """A trader that runs, and the switch of its record; both end with the stack."""
    clock, folder = SystemClock(), lab.new_folder()
    settings = load(None, {}, {"data.dir": folder, **_SETTINGS})
    identity = Identity(private_key=MADE_UP_KEY, account=Signer(MADE_UP_KEY, mainnet=False).address)
    executors = [ThreadedExecutor(f"bench-{name}") for name in ("state", "traces", "traces-read")]
    for executor in executors:
        stack.callback(executor.close)
    plan = PaperPlan(seed=_SEED, symbols=(_SYMBOL,), bar_ms=1_000, speed=1.0, enforce_limits=False)
    paper = await stack.enter_async_context(open_paper(plan, None, clock))
    paper.ensure_funded(identity.account, settings.paper.balance_usd)
    state = await StateStore.open(
        folder / "state.db", executor=executors[0], account=identity.account, network="paper", new_epoch=lambda: _SEED,
    )  # fmt: skip
    stack.push_async_callback(state.close)
    traces = await stack.enter_async_context(
        open_traces(settings, folder / "traces.db", clock, executor=executors[1], reader=executors[2])
    )
    switch = _Switch(traces)
    deps = Deps(
        clock=clock, rng=Random(_SEED), transport=paper.transport(), store=state, traces=switch, identity=identity
    )
    trader, _ = await build_trader(settings, deps)
    stack.push_async_callback(trader.stop)
    await trader.start()
    return switch, trader


def _hold_evidence(trader: Trader) -> Callable[[], Awaitable[None]]:
    """From now on account and book are answered from memory; what is given reads them anew.

    The rules are not told of the signals either: they keep those of the last minute, and so does each trace.
    """
    account, client = trader.execution.account, trader.execution.desk.client
    read_account, read_book = account.refresh, client.book
    held: dict[str, Any] = {}

    async def renew() -> None:
        held["account"], held["book"] = await read_account(), await read_book(_SYMBOL)

    async def answer(name: str, *_: object, **__: object) -> Any:
        return held[name]

    setattr(account, "refresh", partial(answer, "account"))  # noqa: B010  # stand-ins on these instances alone
    setattr(client, "book", partial(answer, "book"))  # noqa: B010
    setattr(trader.keeper.conduct, "on_signal", lambda signal, now_ms: None)  # noqa: B010
    return renew


async def _decide_at_pace(trader: Trader, numbers: count[int], seconds: float) -> _Figures:
    took: list[float] = []
    late: list[float] = []
    watching = asyncio.get_running_loop().create_task(_watch_loop(late))
    decisions = round(_A_SECOND * seconds)
    cpu, start = process_time_ns(), perf_counter_ns()
    for number in range(decisions):
        ahead_ns = start + number * 1_000_000_000 // _A_SECOND - perf_counter_ns()
        if ahead_ns > 0:
            await asyncio.sleep(ahead_ns / 1e9)
        began = perf_counter_ns()
        await trader.decider.decide(_signal(next(numbers)))
        took.append((perf_counter_ns() - began) / 1_000)
    spent_us = (process_time_ns() - cpu) / 1_000 / decisions
    watching.cancel()
    await asyncio.wait([watching])
    return _Figures(took, late, spent_us)


async def _watch_loop(late_us: list[float]) -> None:
    while True:
        asked = perf_counter_ns()
        await asyncio.sleep(_BEHIND_NS / 1e9)
        late_us.append(max(0.0, (perf_counter_ns() - asked - _BEHIND_NS) / 1_000))


async def _checked(trader: Trader, switch: _Switch, numbers: count[int]) -> str:
    """Some decisions: all refused, and in the record exactly when it is on."""
    ids = []
    for number in (next(numbers) for _ in range(_CHECKED)):
        decision = await trader.decider.decide(_signal(number))
        if not isinstance(decision.verdict, Refused):
            raise Disagreement(f"signal {number} was not refused, but {decision.verdict!r}")
        ids.append(decision.trace_id)
    await trader.recorder.settle()
    found = [await switch.get(trace_id) is not None for trace_id in ids]
    if found != [switch.is_on] * _CHECKED:
        raise Disagreement(f"{sum(found)} of {_CHECKED} decisions are recorded with the record on: {switch.is_on}")
    return "refused"


def _signal(number: int) -> Signal:
    """A wish with hardly any confidence."""
    return Signal(
        id=f"bench-{number}", action=Action.OPEN, symbol=_SYMBOL, side=Side.LONG, confidence=0.01, strategy="bench",
        created_ms=SystemClock().now_ms(), reason="a made-up signal",
    )  # fmt: skip
