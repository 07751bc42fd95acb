"""Seeded worlds with faults, deaths and meddling hands: the trader keeps its contract in each, and each of its mutants
is noticed.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from typing import Any

import msgspec
import pytest
from tests.conftest import ROOT

from perpstrader.domain import Fill, Order, Purpose
from perpstrader.execution.desk import Desk
from perpstrader.execution.positions import PositionBook
from perpstrader.execution.protection import Protector
from perpstrader.risk.keeper import RiskKeeper
from perpstrader.simulate.campaign import CampaignOutcome, campaign
from perpstrader.simulate.plan import Plan, plan_of
from perpstrader.simulate.seed import run_seed
from perpstrader.venue.contract import OrderRequest, Unknown

SAMPLE, FULL = 25, 500
MOST_SEEDS = 12
INVARIANTS = ("S02", "S10", "S11", "S12", "S13", "S15", "S20", "S21", "S35", "S39", "S40", "S54")


@cache
def first_seed() -> int:
    """Another sample with each commit, the same for everybody who has that commit; one for a whole test run."""
    asked = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return int(asked.stdout.strip() or "1", 16) % 1_000_000


@pytest.fixture(scope="module")
def outcome(prove: bool) -> CampaignOutcome:
    """One campaign for all tests that look at it."""
    return campaign(seeds=FULL if prove else SAMPLE, start=first_seed(), jobs=2, progress=None)


def test_no_seed_breaks_an_invariant(outcome: CampaignOutcome, record_property: Callable[[str, object], None]) -> None:
    for name, value in outcome.line.items():
        record_property(name, value)
    record_property("longest_unprotected_ms", max(seed.longest_unprotected_ms for seed in outcome.seeds))
    assert not outcome.failures, "\n".join(outcome.failures)
    assert outcome.line["violations"] == 0


def test_every_invariant_was_at_stake_many_times(outcome: CampaignOutcome) -> None:
    assert all(outcome.line["evaluated"][name] >= SAMPLE for name in INVARIANTS), outcome.line["evaluated"]
    assert outcome.line["orders"] > 100 * SAMPLE / 25
    assert sum(seed.deaths for seed in outcome.seeds) > 5


def test_every_kind_of_fault_landed_while_something_was_open(outcome: CampaignOutcome) -> None:
    assert all(outcome.line["faults"].values()), outcome.line["faults"]


def test_the_line_has_the_documented_fields(outcome: CampaignOutcome) -> None:
    assert list(outcome.line) == ["seeds", "violations", "faults", "evaluated", "orders", "virtual_seconds"]
    msgspec.json.encode(outcome.line)


def test_a_seed_alone_in_this_process_gives_what_it_gave_beside_others(outcome: CampaignOutcome) -> None:
    told: list[float] = []
    again = campaign(seeds=1, start=first_seed(), jobs=1, progress=told.append)
    assert again.seeds == outcome.seeds[:1]
    assert told == [1.0]


def test_a_failure_names_its_seed_and_the_command_that_replays_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perpstrader.simulate.seed._LONGEST_S", 100)
    [failure] = campaign(seeds=1, start=7, jobs=1, progress=None).failures
    assert failure == (
        "seed 7: the run itself failed: it did not come to an end within 100 s; "
        "replay it: perpstrader simulate --seeds 1 --start 7"
    )


def short_plan(seed: int) -> Plan:
    """Six minutes of a seed's world: enough for a mutant to show itself within a few seeds."""
    plan = plan_of(seed)
    rates = msgspec.structs.replace(plan.rates, response_lost=0.06)
    return msgspec.structs.replace(plan, duration_s=360.0, rates=rates, blackouts=())


def changed_requests(change: Callable[[Order, OrderRequest], OrderRequest]) -> Callable[[pytest.MonkeyPatch], None]:
    """A mutant whose orders go out otherwise than they were checked."""
    checked = Desk.request

    def mutate(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(Desk, "request", lambda desk, order: change(order, checked(desk, order)))

    return mutate


def exits_may_flip(order: Order, request: OrderRequest) -> OrderRequest:
    """Exits without the venue's clamp."""
    is_exit = order.intent.purpose is Purpose.EXIT
    return msgspec.structs.replace(request, reduce_only=False) if is_exit else request


def prices_off_tick(order: Order, request: OrderRequest) -> OrderRequest:
    """Prices with more digits than the venue takes."""
    return msgspec.structs.replace(request, limit_price=request.limit_price * Decimal("1.000001"))


def never_protects(patch: pytest.MonkeyPatch) -> None:
    """The grouped stop is all there ever is, and nobody closes what has none."""

    async def nothing(*_: object) -> None:
        return None

    patch.setattr(Protector, "_place", nothing)
    patch.setattr(Protector, "_unprotected", nothing)


def sends_again_on_unknown(patch: pytest.MonkeyPatch) -> None:
    """An entry without an answer goes out once more under the next attempt."""
    send = Desk.send

    async def impatient(desk: Desk, orders: Any, *rest: Any) -> Any:
        acks = await send(desk, orders, *rest)
        if orders[0].intent.purpose is Purpose.ENTRY and isinstance(acks[0], Unknown):
            again = [desk.attempt(orders[0].intent, 2, expires_ms=orders[0].expires_ms)]
            return [*await send(desk, again), *acks[1:]]
        return acks

    patch.setattr(Desk, "send", impatient)


def forgets_halts(patch: pytest.MonkeyPatch) -> None:
    """A halt that is answered, and not kept."""

    async def nothing(*_: object) -> None:
        return None

    patch.setattr(RiskKeeper, "halt", nothing)


def books_fills_twice(patch: pytest.MonkeyPatch) -> None:
    """The second sight of a fill counts, too."""
    is_new, seen = PositionBook.is_new, set[tuple[str, int]]()

    def forgetful(book: PositionBook, fill: Fill) -> bool:
        if is_new(book, fill):
            return True
        first = (fill.symbol, fill.tid) not in seen
        seen.add((fill.symbol, fill.tid))
        return first

    patch.setattr(PositionBook, "is_new", forgetful)


def forgets_fees(patch: pytest.MonkeyPatch) -> None:
    """Realised profit before fees."""
    patch.setattr("perpstrader.execution.bookkeeping.net_usd", lambda effect: effect.realized_usd)


@pytest.mark.parametrize(
    ("invariants", "mutate"),
    [
        pytest.param(("S02",), changed_requests(exits_may_flip), id="S02_exits_are_not_reduce_only"),
        pytest.param(("S10",), sends_again_on_unknown, id="S10_an_unknown_entry_is_sent_again"),
        pytest.param(("S13",), changed_requests(prices_off_tick), id="S13_prices_are_off_tick"),
        pytest.param(("S20",), never_protects, id="S20_the_protector_never_places"),
        pytest.param(("S35",), forgets_fees, id="S35_fees_are_forgotten"),
        pytest.param(("S40",), forgets_halts, id="S40_halts_are_forgotten"),
        pytest.param(("S39", "S54"), books_fills_twice, id="S54_fills_are_booked_twice"),
    ],
)
def test_a_mutant_is_noticed(
    invariants: tuple[str, ...], mutate: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch)
    monkeypatch.setattr("perpstrader.simulate.seed.plan_of", short_plan)
    seen: list[str] = []
    for seed in range(1, MOST_SEEDS + 1):
        failures = run_seed(seed).failures
        if any(failure.startswith(invariants) for failure in failures):
            return
        seen += failures
    pytest.fail(f"{MOST_SEEDS} seeds did not notice it; they said: {seen}")
