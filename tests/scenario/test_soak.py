"""An hour of quoting while everything goes wrong, judged by the venue's own account of it; each check fails under a
mutant.
"""

from __future__ import annotations

import asyncio
import faulthandler
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import msgspec
import pytest
from tests.scenario.soak import HOUR_S, Desk, soak

from perpstrader.domain import Fill
from perpstrader.paper.faults import FaultRates
from perpstrader.runtime import Answer
from perpstrader.simulate import operator
from perpstrader.simulate.plan import Plan, plan_of
from perpstrader.simulate.seed import run_seed
from perpstrader.venue import contract as c
from perpstrader.venue.budgeted import BudgetedTransport
from perpstrader.venue.calls import VenueCalls
from perpstrader.venue.settlement import Settled
from perpstrader.venue.wire.errors import ErrorCode

SEEDS = 10
MINUTES_S = 600
MOST_SEEDS = 6
"""So long, and so often, a mutant is given to show itself."""


def hours(prove: bool) -> Sequence[tuple[int, str]]:
    """One hour in the tests; ten of the optimized client and one of the baseline where all is proven."""
    return [*((seed, "optimized") for seed in range(1, SEEDS + 1)), (1, "baseline")] if prove else [(1, "optimized")]


def test_S10_S11_S18_S54_an_hour_with_every_fault_executes_nothing_twice_and_loses_nothing(
    prove: bool, record_property: Callable[[str, object], None]
) -> None:
    faulthandler.cancel_dump_traceback_later()  # at full size this takes longer than any other test may
    outcomes = [soak(seed, build=build) for seed, build in hours(prove)]
    for name in ("wants", "orders", "fills", "unknown", "repeats", "posted"):
        record_property(name, sum(getattr(outcome, name) for outcome in outcomes))
    record_property("faults", sum(sum(outcome.faults.values()) for outcome in outcomes))
    for outcome in outcomes:
        assert outcome.doubles == []
        assert outcome.lost_fills == []
        assert outcome.our_429 == []
        assert outcome.differences == []
        assert outcome.orders > 1_000
        assert outcome.unknown > 100
        assert outcome.repeats > 50
    landed = {kind for outcome in outcomes for kind, count in outcome.faults.items() if count}
    assert landed == set(outcomes[0].faults) - {"agent_pruned"}


TRADER_RATES = FaultRates(
    refused=0.01, request_lost=0.01, response_lost=0.02, bad_gateway=0.01, bad_gateway_after=0.01, too_many=0.01,
    delay=0.02, lag=0.03, frame_twice=0.01, socket_dropped=0.0002, socket_frozen=0.0001, most_delay_s=12.0,
)  # fmt: skip


def test_S10_S18_S20_S54_the_whole_trader_under_a_restless_operator_keeps_its_contract_for_hours(
    prove: bool, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    def longer(seed: int) -> Plan:
        duration_s = float(HOUR_S if prove else HOUR_S / 6)
        return msgspec.structs.replace(
            plan_of(seed), duration_s=duration_s, rates=TRADER_RATES, blackouts=(), requests_left=None,
            deposit_usd=2_000_000,
        )  # fmt: skip

    monkeypatch.setattr("perpstrader.simulate.seed.plan_of", longer)
    monkeypatch.setattr("perpstrader.simulate.operator.PAUSE_S", (0.5, 4.0))
    monkeypatch.setitem(operator._WEIGHTS, "latch", 0)  # what stops all entries until a person has closed it again
    faulthandler.cancel_dump_traceback_later()  # as above
    seeds = [run_seed(seed) for seed in range(1, SEEDS + 1 if prove else 2)]
    record_property("orders", sum(seed.orders for seed in seeds))
    record_property("deaths", sum(seed.deaths for seed in seeds))
    assert [failure for seed in seeds for failure in seed.failures] == []
    assert min(seed.orders for seed in seeds) > (300 if prove else 30)


def test_a_soak_is_the_same_again() -> None:
    assert soak(2, seconds=120) == soak(2, seconds=120)


def settles_without_proof(patch: pytest.MonkeyPatch) -> None:
    """No answer is taken for no order."""

    async def never(*_: object, **__: object) -> Settled:
        return Settled(c.OrderRecord(group=c.OrderGroup.MISSING, status="unknownOid"), 1)

    patch.setattr("tests.scenario.soak.settle", never)


def takes_a_repeated_request_for_a_refusal(patch: pytest.MonkeyPatch) -> None:
    """The answer to the second copy of a request is taken for the answer to the first."""
    codes = {code.name: code for code in ErrorCode} | {"DUPLICATE_NONCE": None}
    patch.setattr("perpstrader.venue.writes.ErrorCode", SimpleNamespace(**codes))


def reads_no_fills(patch: pytest.MonkeyPatch) -> None:
    """What the streams have swallowed is never read."""

    async def nothing(*_: object, **__: object) -> Sequence[Fill]:
        return []

    patch.setattr(VenueCalls, "fills", nothing)


def books_fills_twice(patch: pytest.MonkeyPatch) -> None:
    """A fill that is told again counts again."""
    patch.setattr(Desk, "is_new", lambda desk, fill: True)


def counts_no_weight(patch: pytest.MonkeyPatch) -> None:
    """Reads as many as one likes."""

    async def straight(self: BudgetedTransport, path: str, body: bytes, *, timeout_s: float) -> Answer:
        return await self._inner.post(path, body, timeout_s=timeout_s)

    async def greedy(desk: Desk) -> None:
        while not desk.over:
            await desk._clock.sleep(0.5)
            await asyncio.gather(*(desk.client.open_orders(max_age_ms=0) for _ in range(2)), return_exceptions=True)

    patch.setattr(BudgetedTransport, "post", straight)
    patch.setattr(Desk, "look", greedy)


@pytest.mark.parametrize(
    ("found", "mutate"),
    [
        pytest.param("doubles", settles_without_proof, id="S11_no_answer_is_no_order"),
        pytest.param("differences", takes_a_repeated_request_for_a_refusal, id="S11_a_repeated_request_was_refused"),
        pytest.param("lost_fills", reads_no_fills, id="S54_what_a_stream_lost_is_never_read"),
        pytest.param("differences", books_fills_twice, id="S54_a_fill_is_booked_twice"),
        pytest.param("our_429", counts_no_weight, id="S18_nobody_counts_the_weight"),
    ],
)
def test_a_mutant_is_noticed_by_the_soak(
    found: str, mutate: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch)
    assert any(getattr(soak(seed, seconds=MINUTES_S), found) for seed in range(1, MOST_SEEDS + 1))
