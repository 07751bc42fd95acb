"""Every hook of safety makes a difference: with any of them turned off, the same eventful minutes end otherwise.

``test_wiring`` shows that each hook has a caller while the trader runs; here each is replaced by nothing at all, and
what a person or the venue can see afterwards must tell of it. A hook that nobody calls, or that does nothing, fails.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import pytest
from tests.scenario.kit import Stage, go, play
from tests.scenario.market import Bar, calm

from perpstrader.alerts import RingChannel
from perpstrader.breakers import CircuitBreakers, HealthChecks
from perpstrader.domain import Side, VenueError
from perpstrader.execution import AccountWatch, Journal
from perpstrader.execution.bookkeeping import Accountant
from perpstrader.execution.execution import Execution
from perpstrader.execution.protection import Protector
from perpstrader.execution.reconcile import Reconciler, ReconcileReport
from perpstrader.recovery.baseline import RecoveryService
from perpstrader.risk.keeper import RiskKeeper
from perpstrader.runtime import Answer
from perpstrader.simulate import world
from perpstrader.trader.alarms import Alarms
from perpstrader.trader.build import Deps
from perpstrader.trader.cycle import Cycle
from perpstrader.trader.guard import Guard
from perpstrader.trader.ratchet import Ratchet
from perpstrader.trader.recorder import Recorder
from perpstrader.trader.trader import Trader
from perpstrader.trader.upkeep import Upkeep
from perpstrader.venue.contract import AccountMode
from perpstrader.venue.wire import info

MICRO = 1_000_000
HOUR_END_MS = 1_700_053_200_000
SETTINGS = {
    "risk.min_liquidation_distance_fraction": "0.7", "recovery.stuck_window_ms": 60_000,
    "recovery.stuck_range_fraction": "0.001", "risk.duplicate_entry_window_ms": 0,
}  # fmt: skip
DOWN = Answer(502, b"<html><title>502 Bad Gateway</title></html>")


async def _nothing(*_: object, **__: object) -> None:
    return None


def _none(*_: object, **__: object) -> None:
    return None


def _answering(value: object) -> Callable[..., Any]:
    async def answer(*_: object, **__: object) -> object:
        return value

    return answer


HOOKS: dict[str, tuple[type, str, Callable[..., Any]]] = {
    "protection of each fill": (Protector, "ensure", _nothing),
    "the watch over protection": (Execution, "watch_protection", _nothing),
    "the comparison with the venue": (Reconciler, "run", _answering(ReconcileReport(complete=True))),
    "orders of the stream": (Trader, "on_order_record", _none),
    "fills of the stream": (Trader, "on_fills", _none),
    "cash flows of the stream": (Trader, "on_cash_flows", _none),
    "funding of the stream": (Trader, "on_funding", _none),
    "upkeep": (Upkeep, "look", _nothing),
    "moving stops": (Ratchet, "on_market", _none),
    "recovery's checks": (RecoveryService, "check", _answering(())),
    "recovery's view of bars": (RecoveryService, "on_bar", _none),
    "recovery's view of marks": (RecoveryService, "on_market", _none),
    "health checks": (HealthChecks, "check", _nothing),
    "probes of open breakers": (CircuitBreakers, "probe", _nothing),
    "the breakers' gate": (Guard, "refusal", _none),
    "the look at equity": (RiskKeeper, "on_equity", lambda *_: ()),
    "volatility": (RiskKeeper, "on_bar", _none),
    "losses of fills": (RiskKeeper, "on_fill", _none),
    "losses by funding": (RiskKeeper, "on_funding", _none),
    "the loss streak": (RiskKeeper, "on_episode_end", _none),
    "limits after cash flows": (RiskKeeper, "on_cash_flow", _none),
    "the frequency of entries": (RiskKeeper, "on_entry", _none),
    "halts": (RiskKeeper, "halt", _nothing),
    "the last gate": (Trader, "gate", _none),
    "the account's mode": (AccountWatch, "check_mode", _answering(AccountMode.DEFAULT)),
    "whether the money is explained": (AccountWatch, "_check", _nothing),
    "the address budget": (Trader, "_check_account", _nothing),
    "the venue's clock": (Trader, "_check_clock", _nothing),
    "alarms": (Alarms, "look", _none),
    "the journal": (Journal, "run", _nothing),
    "the books": (Accountant, "book_fill", _none),
    "a cycle for each bar": (Cycle, "take", _none),
    "the record of silences": (Recorder, "flush", _nothing),
    "leverage in doubt": (Execution, "doubt_leverage", _none),
}


def eventful() -> dict[str, Any]:
    """Seven minutes with about everything that hooks are for; returns what can be seen of them."""
    asked: Counter[str] = Counter()
    ring = RingChannel()
    patch = pytest.MonkeyPatch()
    patch.setattr(world, "Deps", partial(Deps, channels=(ring,)))
    patch.setattr("perpstrader.trader.upkeep.METADATA_MS", 60_000)
    try:
        return play(_market(), {"alpha": {("BTC", 1): go(Side.LONG, 59_400, 80_000)}}, partial(_act, asked, ring),
                    sound=False, start_ms=HOUR_END_MS - 105_000, overrides=SETTINGS)  # fmt: skip
    finally:
        patch.undo()


def _market() -> dict[str, list[Bar]]:
    """Calm, then up by five percent within a minute, then calm, then down through what a stop was moved to."""
    rise = [Bar(path=tuple(60_000 + 250 * bar + 50 * point for point in range(5))) for bar in range(12)]
    fall = [Bar(path=tuple(63_000 - 200 * bar - 40 * point for point in range(5))) for bar in range(8)]
    return {
        "BTC": [*calm(60_000, 10), *rise, *calm(63_000, 36), *fall, *calm(61_400)],
        "ETH": calm(3_000), "SOL": calm(150),
    }  # fmt: skip


async def _act(asked: Counter[str], ring: RingChannel, stage: Stage) -> dict[str, Any]:
    _count(stage, asked)
    now, desk, early = stage.clock.now_ms, stage.trader.execution.desk, {}
    await stage.bar(3)
    for order in stage.listed("BTC", "stop"):  # somebody takes our stop away
        stage.engine.cancel(stage.user, "BTC", order.oid, now())
    await stage.bar(5)
    for _ in range(6_000):  # a long time of trading in a moment
        desk.numbers.take()
    stage.engine.withdraw(stage.user, 820 * MICRO, now())
    await stage.bar(14)
    stage.engine.fund(stage.user, 900 * MICRO, now())
    stage.engine.update_leverage(stage.user, "ETH", 5, True, now())
    stage.world.venue.world.budget.used[stage.user] = 777
    await stage.clock.sleep((HOUR_END_MS + 500 - now()) / 1000)
    early["funding"] = stage.trader.execution.accountant.funding_usd
    for what, stop, go_on in (("breaker", _open_breaker, _reset_breaker), ("halt", _halt, _resume)):
        told = await stage.signal("SOL", Side.LONG, entry_price="149", ttl_ms=200_000)
        await stage.seconds(2)
        early[f"before the {what}"] = (told.text, len(stage.listed("SOL", "plain")))
        await stop(stage)
        await stage.seconds(3)
        early[f"in the {what}"] = len(stage.listed("SOL", "plain"))
        await go_on(stage)
        await stage.seconds(8)
    stage.by_hand("ETH", buy=True, size="0.1")
    await stage.bar(36)
    await _outage(stage)
    await stage.bar(76)
    for symbol in ("ETH", "SOL", "BTC"):
        await stage.signal(symbol, Side.LONG)
    stage.engine._state.accounts[stage.user].cash -= MICRO  # money goes, and no record says where
    await stage.seconds(80)
    return {"early": early, **await _seen(stage, asked, ring)}


async def _open_breaker(stage: Stage) -> None:
    await stage.commands.open_breaker("venue", "a look", actor="tester")


async def _reset_breaker(stage: Stage) -> None:
    await stage.commands.reset_breaker("venue", "looked", actor="tester")


async def _halt(stage: Stage) -> None:
    await stage.commands.halt("a look", actor="tester")


async def _resume(stage: Stage) -> None:
    token = stage.commands.prepare("resume", {}).token
    await stage.commands.resume("looked", actor="tester", token=token)


def _count(stage: Stage, asked: Counter[str]) -> None:
    venue, post = stage.world.venue, stage.world.venue.post

    def counting(path: str, body: bytes, client: str, **more: Any) -> Answer:
        asked[info.decode_request(body).type if path == "/info" else "action"] += 1
        return post(path, body, client, **more)

    venue.post = counting  # type: ignore[method-assign]  # an instance's own road to the engine


async def _outage(stage: Stage) -> None:
    transport, post = stage.world.transport, stage.world.transport.post

    async def down(path: str, body: bytes, *, timeout_s: float) -> Answer:
        return DOWN

    transport.post = down  # type: ignore[method-assign]  # this scenario's own wire
    for _ in range(80):  # often enough that the venue's breaker opens
        await stage.signal("SOL", Side.SHORT)
        await stage.seconds(0.5)
    transport.post = post  # type: ignore[method-assign]  # the venue is back


async def _seen(stage: Stage, asked: Counter[str], ring: RingChannel) -> dict[str, Any]:
    trader, view = stage.trader, stage.trader.execution.view
    totals, halts = await trader.store.read(lambda tx: (tx.ledger.totals(), tx.halts.active()))
    return {
        "requests": dict(asked),
        "positions": {coin: stage.position(coin) for coin in stage.feed.coins},
        "stops": [(o.coin, o.size, o.trigger) for coin in stage.feed.coins for o in stage.sent(coin, "stop")],
        "listed": [(o.coin, o.size, o.reduce_only) for coin in stage.feed.coins for o in stage.listed(coin)],
        "fills": [(fill.coin, fill.size, fill.px) for fill in stage.engine.fills(stage.user)],
        "decisions": [(t.strategy, getattr(t.verdict, "refusals", "not refused")) for t in stage.decisions()],
        "notes": Counter((note.kind, note.symbol) for note in trader.recorder.recent),
        "risk": trader.keeper.state,
        "ledger": totals,
        "halts": [(halt.kind, halt.reason) for halt in halts],
        "unwritten": trader.execution.desk.journal.pending,
        "numbers": trader.execution.desk.numbers.left,
        "view": (view.address_budget_left, dict(view.leverage), view.reconciled, dict(view.frozen)),
        "volatility": [trader.keeper.inactive],
        "account": (trader.execution.account.mode, trader.execution.account.mode_read_ms),
        "breakers": trader.guard.breakers.statuses(),
        "health": trader.guard.health.report(),
        "recovery": trader.recovery.stats(),
        "alerts": [(alert.incident.key, alert.change.value) for alert in ring.alerts],
        "records": trader.recorder._store.counters,
    }


@cache
def as_it_is() -> dict[str, Any]:
    """The minutes with every hook in its place."""
    return eventful()


@pytest.fixture(autouse=True)
def _first() -> None:
    """What is compared with was made before anything is taken out."""
    as_it_is()


def test_S20_S41_S54_the_same_minutes_end_the_same() -> None:
    again = eventful()
    assert {name: seen for name, seen in as_it_is().items() if again[name] != seen} == {}


@pytest.mark.parametrize("hook", HOOKS)
def test_S20_S41_S54_without_a_hook_the_minutes_end_otherwise(hook: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, name, instead = HOOKS[hook]
    assert hasattr(owner, name)
    monkeypatch.setattr(owner, name, instead)
    try:
        seen = eventful()
    except (AssertionError, VenueError, KeyError) as error:
        pytest.fail(f"without {hook} the minutes could not be lived through: {error}")
    different = [part for part, value in as_it_is().items() if seen[part] != value]
    assert different, f"nobody can tell that {hook} is gone"
