"""Seeded worlds with faults, deaths and meddling hands: the trader keeps its contract in each, and each of its mutants
is noticed.
"""

from __future__ import annotations

import dataclasses
import faulthandler
import fcntl
import subprocess
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from typing import Any

import msgspec
import pytest
from tests.conftest import ROOT

from perpstrader.domain import Fill, Order, Purpose, Reason, Refusal, Side, Signal
from perpstrader.execution.account import AccountWatch
from perpstrader.execution.desk import Desk
from perpstrader.execution.positions import Holding, PositionBook
from perpstrader.execution.positions import Plan as Levels
from perpstrader.execution.protection import Protector
from perpstrader.execution.view import PortfolioView
from perpstrader.risk.exposure import open_book
from perpstrader.risk.keeper import RiskKeeper
from perpstrader.simulate.campaign import CampaignOutcome, campaign
from perpstrader.simulate.plan import Blackout, Plan, plan_of
from perpstrader.simulate.seed import campaign_settings, run_seed
from perpstrader.trader.decisions import Decider
from perpstrader.venue.budget import IpBudget
from perpstrader.venue.client import HyperliquidClient
from perpstrader.venue.contract import AccountState, OrderRequest, Unknown

SAMPLE, FULL = 25, 500
MOST_SEEDS = 12
INVARIANTS = (
    "S01", "S02", "S03", "S10", "S11", "S12", "S13", "S15", "S18", "S20", "S21", "S22", "S30", "S32", "S35", "S38",
    "S39", "S40", "S43", "S54", "S75",
)  # fmt: skip


@cache
def first_seed() -> int:
    """Another sample with each commit, the same for everybody who has that commit; one for a whole test run."""
    asked = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return int(asked.stdout.strip() or "1", 16) % 1_000_000


@pytest.fixture(scope="module")
def outcome(prove: bool, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> CampaignOutcome:
    """One campaign for all tests that look at it, whichever of the workers they fall to."""
    faulthandler.cancel_dump_traceback_later()  # this takes longer than any other test may
    seeds, start = FULL if prove else SAMPLE, first_seed()
    if worker_id == "master":
        return campaign(seeds=seeds, start=start, jobs=2, progress=None)
    kept = tmp_path_factory.getbasetemp().parent / f"campaign-{start}-{seeds}"
    with kept.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            kept.write_bytes(msgspec.msgpack.encode(campaign(seeds=seeds, start=start, jobs=2, progress=None)))
    return msgspec.msgpack.decode(kept.read_bytes(), type=CampaignOutcome)


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


def _plan_with(
    patch: pytest.MonkeyPatch,
    *,
    requests_left: int | None = None,
    bad_gateway: float = 0.0,
    delay: float = 0.0,
    blackouts: tuple[Blackout, ...] = (),
) -> None:
    """The short plan, with what a mutant needs to show itself soon."""

    def plan(seed: int) -> Plan:
        short = short_plan(seed)
        rates = msgspec.structs.replace(short.rates, bad_gateway=bad_gateway, delay=delay)
        return msgspec.structs.replace(short, requests_left=requests_left, rates=rates, blackouts=blackouts, crashes=())

    patch.setattr("perpstrader.simulate.seed.plan_of", plan)


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
            again = [desk.attempt(orders[0].intent, 2, expires_ms=desk.expiry(desk.settings.entry_expiry_ms))]
            return [*await send(desk, again), *acks[1:]]
        return acks

    patch.setattr(Desk, "send", impatient)


def forgets_halts(patch: pytest.MonkeyPatch) -> None:
    """A halt that is answered, and not kept."""

    async def nothing(*_: object) -> None:
        return None

    patch.setattr(RiskKeeper, "halt", nothing)


def halts_stop_exits(patch: pytest.MonkeyPatch) -> None:
    """Whoever is halted may not close either, and the first loss of a row is a halt: else few seeds of this length see
    a close under one.
    """
    may_exit = Decider._may_exit

    async def halted(decider: Decider, signal: Signal) -> Refusal | None:
        state = decider._risk_state()
        return Refusal(reason=Reason.HALTED) if state.halts or state.loss_streak else await may_exit(decider, signal)

    patch.setattr(Decider, "_may_exit", halted)


def repeats_exits_at_once(patch: pytest.MonkeyPatch) -> None:
    """A full close goes out again without a pause, as soon as its answer is a little late."""
    patch.setattr("perpstrader.execution.exits._UNKNOWN_PAUSE_S", 0.05)
    patch.setattr("perpstrader.execution.exits._RETRY_PAUSE_S", 0.05)
    _give_up_soon(patch)
    _plan_with(patch, delay=0.25)


def _give_up_soon(patch: pytest.MonkeyPatch) -> None:
    """No answer within 300 ms is taken for none, so that an exit is often still on its way when the next one goes."""
    place = HyperliquidClient.place

    async def impatient(self: HyperliquidClient, orders: Any, **more: Any) -> Any:
        return await place(self, orders, **{**more, "answer_ms": 300 if more.get("answer_ms") else None})

    patch.setattr(HyperliquidClient, "place", impatient)


def spends_every_request(patch: pytest.MonkeyPatch) -> None:
    """Entries go on, however few requests are left to the address."""
    build = PortfolioView.build
    patch.setattr(
        PortfolioView, "build", lambda view: msgspec.structs.replace(build(view), address_budget_left=1_000_000)
    )
    _plan_with(patch, requests_left=990)


def reads_too_much(patch: pytest.MonkeyPatch) -> None:
    """The venue is compared with all the time, and nobody counts what that weighs."""
    patch.setattr(IpBudget, "_fits", lambda *_: True)
    patch.setattr(
        "perpstrader.simulate.seed.campaign_settings",
        lambda plan: dataclasses.replace(
            campaign_settings(plan),
            execution=campaign_settings(plan).execution.model_copy(update={"reconcile_interval_ms": 1_000}),
        ),
    )


def limit_at_the_trigger(order: Order, request: OrderRequest) -> OrderRequest:
    """A stop whose limit does not lie beyond its trigger fills nothing in a fall."""
    trigger = request.trigger
    is_stop = order.intent.purpose is Purpose.STOP and trigger is not None
    return msgspec.structs.replace(request, limit_price=trigger.price) if is_stop and trigger else request


def stops_drift_away(patch: pytest.MonkeyPatch) -> None:
    """Each time a stop is placed it lies a little further away, and nobody remembers where the last ones lay."""
    plan = Protector._plan

    def wider(protector: Protector, holding: Holding) -> Levels:
        was = plan(protector, holding)
        price = was.stop_price
        assert price is not None
        asset = protector._desk.asset(holding.symbol)
        away = price * (1 - Decimal("0.001") * holding.side.sign)
        stop = asset.price_down(away) if holding.side is Side.LONG else asset.price_up(away)
        holding.plan = msgspec.structs.replace(was, stop_price=stop)
        return holding.plan

    patch.setattr(Protector, "_plan", wider)
    patch.setattr(Protector, "_tighter_at_the_venue", lambda *_: None)


def enters_blind(patch: pytest.MonkeyPatch) -> None:
    """What was once read of the account is taken for fresh for ever."""
    refresh = AccountWatch.refresh

    async def remembered(watch: AccountWatch) -> AccountState:
        if watch.state is None or watch._desk.clock.now_ms() % 60_000 < 2_000:
            return await refresh(watch)
        watch.read_ms = watch._desk.clock.now_ms()
        return watch.state

    patch.setattr(AccountWatch, "refresh", remembered)


def forgets_what_is_in_flight(patch: pytest.MonkeyPatch) -> None:
    """Limits hold for positions alone."""
    patch.setattr("perpstrader.risk.judge.open_book", lambda held, reserved, *more: open_book(held, (), *more))


def anybody_may_exit(patch: pytest.MonkeyPatch) -> None:
    """Whose position it is does not matter."""

    async def nothing(*_: object) -> None:
        return None

    patch.setattr(Decider, "_may_exit", nothing)


def breakers_stop_nothing(patch: pytest.MonkeyPatch) -> None:
    """Whatever a breaker says, entries go on."""
    patch.setattr("perpstrader.trader.guard.entry_refusal", lambda breakers: None)
    patch.setattr("perpstrader.trader.decisions.entry_refusal", lambda breakers: None)
    _plan_with(patch, blackouts=(Blackout(60, 110, has_gateway=True),))


def locks_nothing(patch: pytest.MonkeyPatch) -> None:
    """The account's lock is a file and no more."""
    patch.setattr("perpstrader.runtime.lock.fcntl.flock", lambda *_: None)


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
        pytest.param(("S01",), halts_stop_exits, id="S01_a_halt_stops_exits"),
        pytest.param(("S03",), repeats_exits_at_once, id="S03_an_unknown_close_is_repeated_at_once"),
        pytest.param(("S18",), spends_every_request, id="S18_entries_spend_the_last_requests"),
        pytest.param(("S18",), reads_too_much, id="S18_reads_exceed_the_minutes_weight"),
        pytest.param(("S22",), changed_requests(limit_at_the_trigger), id="S22_a_stop_has_its_limit_at_its_trigger"),
        pytest.param(("S22",), stops_drift_away, id="S22_stops_widen"),
        pytest.param(("S30",), enters_blind, id="S30_an_old_account_is_taken_for_fresh"),
        pytest.param(("S32",), forgets_what_is_in_flight, id="S32_what_is_in_flight_is_forgotten"),
        pytest.param(("S38",), anybody_may_exit, id="S38_anybody_may_exit"),
        pytest.param(("S42",), breakers_stop_nothing, id="S42_an_open_breaker_stops_no_entry"),
        pytest.param(("S43",), breakers_stop_nothing, id="S43_what_an_operator_opened_stops_no_entry"),
        pytest.param(("S75",), locks_nothing, id="S75_the_lock_locks_nothing"),
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
    monkeypatch.setattr("perpstrader.simulate.seed.plan_of", short_plan)
    mutate(monkeypatch)
    seen: list[str] = []
    for seed in range(1, MOST_SEEDS + 1):
        failures = run_seed(seed).failures
        if any(failure.startswith(invariants) for failure in failures):
            return
        seen += failures
    pytest.fail(f"{MOST_SEEDS} seeds did not notice it; they said: {seen}")
