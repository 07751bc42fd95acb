"""Recovery: what looking at all positions costs, how that grows with them, and how long it takes to act on one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from functools import partial
from typing import Final

from perpstrader import recovery
from perpstrader.bench.flat import buy, flat_world, protected
from perpstrader.bench.harness import Arm, Case, Disagreement, Subject, builds
from perpstrader.bench.lab import Lab
from perpstrader.bench.samples import NOW_MS
from perpstrader.recovery import Action, IssueKind, baseline
from perpstrader.runtime import VirtualClock, VirtualLoop
from perpstrader.simulate.world import World

COMPONENT: Final = "recovery"
_USUAL: Final = 20
_COIN: Final = "C0"


def cases(lab: Lab) -> list[Case]:
    """The rows of this component."""
    analysed = [
        Case(
            COMPONENT, "analysis" if held == _USUAL else f"analysis-of-{held}", "us/position", held,
            partial(_analysing, lab, held), claim=6.0 if held == _USUAL else None, size=held, virtual=True,
            note=f"one check of {held} positions by all rules; each was taken over from another hand, which a rule "
            "tells and no rule trades on; evidence comes from memory, so no waiting can be done at once",
        )
        for held in (1, _USUAL, 100)
    ]  # fmt: skip
    acting = Case(
        COMPONENT, "action-to-order", "us/action", 1, partial(_acting, lab), claim=4.0, virtual=True,
        note="recover a position by closing it, until the venue has shown it flat: the work of trader and paper "
        "exchange under virtual time; a network's round trips, which are most of it in life, are not in it",
    )  # fmt: skip
    limit = Case(
        COMPONENT, "limit-evidence-read", "us/position", _USUAL, partial(_reading, lab), virtual=True,
        note=f"the portfolio of {_USUAL} positions put together once, no rule asked: what any look has to read",
    )  # fmt: skip
    return [*analysed, acting, limit]


def _builds() -> list[str]:
    """The names that the rollout has for the builds that there are."""
    kinds = builds(baseline.RecoveryService, recovery.RecoveryService)
    return ["baseline", "optimized"][: len(kinds)]


async def _world(lab: Lab, stack: AsyncExitStack, positions: int, build: str) -> World:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)  # the case says so
    clock = VirtualClock(loop, NOW_MS)
    return await stack.enter_async_context(flat_world(positions, lab.new_folder(), clock, recovery=build))


@asynccontextmanager
async def _analysing(lab: Lab, held: int) -> AsyncIterator[Subject]:
    def arm(world: World) -> Arm:
        service, account = world.trader.recovery, world.trader.execution.account

        async def answer() -> object:
            await account.try_refresh()
            issues = await service.check()
            told = {issue.symbol for issue in issues if issue.kind is IssueKind.FOREIGN}
            wrong = [issue.sentence() for issue in issues if issue.action.trades or not issue.is_known]
            if len(told) < held or wrong:
                raise Disagreement(f"{len(told)} of {held} positions were told of, and wrongly: {wrong[:3]}")
            return sorted((issue.symbol, issue.kind.value, issue.action.value) for issue in issues)

        return Arm(run=service.check, answer=answer, prepare=account.try_refresh)

    async with AsyncExitStack() as stack:
        yield Subject.of([arm(await _world(lab, stack, held, build)) for build in _builds()])


@asynccontextmanager
async def _acting(lab: Lab) -> AsyncIterator[Subject]:
    def arm(world: World) -> Arm:
        async def prepare() -> None:
            if _COIN not in world.trader.execution.desk.positions.holdings:
                buy(world, _COIN)
            await protected(world, [_COIN])

        async def run() -> bool:
            done = await world.trader.recovery.recover(_COIN, Action.CLOSE, "to measure it", actor="bench")
            return done.done

        async def answer() -> object:
            await prepare()
            done = await run()
            return done, _at_venue(world)

        return Arm(run=run, answer=answer, prepare=prepare)

    async with AsyncExitStack() as stack:
        worlds = [await _world(lab, stack, 1, build) for build in _builds()]
        yield Subject.of([arm(world) for world in worlds], (True, Decimal(0)))


def _at_venue(world: World) -> Decimal:
    account = world.trader.execution.desk.client.account_address
    held = {view.coin: view.size for view in world.engine.account_state(account).positions}
    return Decimal(held.get(_COIN, 0))


@asynccontextmanager
async def _reading(lab: Lab) -> AsyncIterator[Subject]:
    async with AsyncExitStack() as stack:
        world = await _world(lab, stack, _USUAL, "baseline")
        build = world.trader.execution.view.build
        yield Subject(Arm(run=build, answer=lambda: len(build().positions)), expected=_USUAL)
