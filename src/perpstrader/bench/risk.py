"""The risk manager: what judging a signal and looking at an account costs, and how it grows with the account."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import count as counter
from itertools import repeat
from typing import Final

from perpstrader import risk
from perpstrader.bench import samples
from perpstrader.bench.harness import Arm, Case, Subject, builds
from perpstrader.bench.lab import Lab
from perpstrader.domain import Portfolio, Signal, Verdict
from perpstrader.risk import PortfolioRisk, PositionRisk, RiskManagerContract, baseline
from perpstrader.settings.limits import RiskSettings
from perpstrader.settings.trading import ExecutionSettings

COMPONENT: Final = "risk"
_SIGNALS: Final = 1_000
_HELD: Final = 10
_READS: Final = 20_000


def cases(lab: Lab) -> list[Case]:
    """The rows of this component."""
    many = 50 if lab.quick else _SIGNALS
    judged = [
        Case(
            COMPONENT, "signal-repeated", "us/signal", many, partial(_judging, _HELD, many, 1), claim=10.0,
            note=f"the same signal {many} times with {_HELD} positions held: the best case of any cache; a live "
            "market moves between two looks",
        ),
        Case(
            COMPONENT, "signal-mixed", "us/signal", many, partial(_judging, _HELD, many, many // 2),
            note=f"each of {many // 2} signals twice with {_HELD} positions held: half of the answers can be reused",
        ),
        *(
            Case(
                COMPONENT, _name("signal-fresh", held), "us/signal", count, partial(_judging, held, count, count),
                size=held,
                note=f"{count} different signals with {held} positions held: no answer can be reused",
            )
            for held, count in ((1, many), (_HELD, many), (100, 2 if lab.quick else 10))
        ),
    ]  # fmt: skip
    looked = [
        Case(
            COMPONENT, _name(call, held), "us/call", calls, partial(_looking, call, held, calls),
            claim=claim if held == _HELD else None, size=held,
            note=f"an unchanged account with {held} positions; a trade or a new mark makes every cached look stale",
        )
        for call, claim, held, calls in (
            ("portfolio-risk", None, 1, 50), ("portfolio-risk", 5.0, _HELD, 20), ("portfolio-risk", None, 100, 1),
            ("position-risk", None, 1, 100), ("position-risk", None, _HELD, 100), ("position-risk", None, 100, 10),
            ("position-risk", None, 1_000, 2),
        )
    ]  # fmt: skip
    changed = [
        Case(
            COMPONENT, f"{call}-changed", "us/call", calls, partial(_looking, call, _HELD, calls, changing=True),
            note=f"an account with {_HELD} positions that has changed at each look, as in a market that moves",
        )
        for call, calls in (("portfolio-risk", 20), ("position-risk", 100))
    ]  # fmt: skip
    limit = Case(
        COMPONENT, "limit-attribute-read", "us/read", _READS, _attribute_reads,
        note="compare two versions and take an answer from a dict: what a cached verdict cannot cost less than",
    )  # fmt: skip
    return [*judged, *looked, *changed, limit]


def _name(row: str, held: int) -> str:
    return row if held == _HELD else f"{row}-of-{held}"


def _managers(coins: int) -> list[RiskManagerContract]:
    """The plain manager and, once there is one, the other; with room for every position of the samples."""
    limits = RiskSettings(max_positions=2_000)
    kinds = builds(baseline.RiskManager, risk.RiskManager)
    return [kind(limits, ExecutionSettings(), samples.LEVERAGE, samples.assets(coins)) for kind in kinds]


@asynccontextmanager
async def _judging(held: int, count: int, different: int) -> AsyncIterator[Subject]:
    """``count`` judgements of ``different`` signals; one is always the same, several are new in each repetition."""
    coins = held + 1
    portfolio, market, state = samples.portfolio(held, coins), samples.market(0), samples.risk_state()
    asset = samples.assets(coins)["BTC"]

    def arm(manager: RiskManagerContract) -> Arm:
        wishes: list[Signal] = []
        firsts = repeat(0) if different == 1 else counter(different, different)

        def wish_from(first: int) -> None:
            wishes[:] = [samples.signal(first + number % different) for number in range(count)]

        def run() -> list[Verdict]:
            return [manager.evaluate(wish, portfolio, market, asset, state, samples.NOW_MS) for wish in wishes]

        def answer() -> list[Verdict]:
            wish_from(0)
            return run()

        return Arm(run=run, answer=answer, prepare=lambda: wish_from(next(firsts)))

    yield Subject.of([arm(manager) for manager in _managers(coins)])


@asynccontextmanager
async def _looking(call: str, held: int, calls: int, *, changing: bool = False) -> AsyncIterator[Subject]:
    """``calls`` looks at one account, or each at a newer version of it, new ones in each repetition."""
    assets = samples.assets(held + 1)

    def arm(manager: RiskManagerContract) -> Arm:
        versions = counter(1) if changing else repeat(1)
        accounts: list[Portfolio] = []

        def prepare() -> None:
            accounts[:] = [samples.portfolio(held, held + 1, version=next(versions)) for _ in range(calls)]

        def run() -> list[PortfolioRisk] | list[PositionRisk]:
            if call == "portfolio-risk":
                return [manager.portfolio_risk(account, assets) for account in accounts]
            last = samples.symbol(held)
            return [manager.position_risk(account.positions[last], account, assets) for account in accounts]

        def answer() -> list[PortfolioRisk] | list[PositionRisk]:
            prepare()
            return run()

        return Arm(run=run, answer=answer, prepare=prepare)

    yield Subject.of([arm(manager) for manager in _managers(held + 1)])


@asynccontextmanager
async def _attribute_reads() -> AsyncIterator[Subject]:
    portfolio, kept = samples.portfolio(_HELD, _HELD + 1), {"s0": "approved"}

    def run() -> int:
        version, found = portfolio.version, 0
        for _ in range(_READS):
            if portfolio.version == version and kept["s0"]:
                found += 1
        return found

    yield Subject(Arm(run=run, answer=run), expected=_READS)
