"""Twenty positions and two hundred resting orders, and out of all of it at once: in what order, how long, and what the
venue shows afterwards.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Any

import msgspec
import pytest
from tests.scenario.kit import SEED, Stage, play, settings_for
from tests.scenario.market import ScriptedFeed, calm

from perpstrader.domain import Action, Approved, Side, Signal
from perpstrader.execution.entry import EntryDesk
from perpstrader.execution.flatten import FlattenReport
from perpstrader.paper.engine import EngineConfig, Exchange
from perpstrader.paper.server import LatencyModel, PaperVenue, VenueConfig
from perpstrader.paper.server.http import serve
from perpstrader.paper.server.rate import ClientWeights
from perpstrader.runtime import Answer, InlineExecutor, SystemClock
from perpstrader.runtime.http import HttpTransport
from perpstrader.simulate.world import simulated_identity
from perpstrader.state import StateStore
from perpstrader.traces import TraceStore
from perpstrader.trader.build import Deps, build_trader
from perpstrader.trader.trader import Trader
from perpstrader.venue.wire import actions, exchange

HELD = tuple(f"H{number:02}" for number in range(20))
WAITING = tuple(f"W{number:03}" for number in range(200))
PRICE = 100
BALANCE_USD = 1_000_000
WIDE = {"paper.balance_usd": str(BALANCE_USD), "paper.enforce_limits": False}
MARKET = {coin: calm(PRICE) for coin in (*HELD, *WAITING)}


class Wire:
    """Every signed request in the order in which it reached the venue, with what the venue held for us just before."""

    def __init__(self, venue: PaperVenue, user: str) -> None:
        self.exits: list[tuple[int, str]] = []
        self.entry_cancels: list[tuple[int, int]] = []
        self.early_stop_cancels: list[str] = []
        self.stop_cancels = 0
        self.halted: Callable[[], bool] = lambda: True
        self.unhalted_exits = 0
        self.refused = 0
        self._venue, self._user, self._post = venue, user, venue.post
        self._coin = {asset.index: asset.coin for asset in venue.engine.assets}
        venue.post = self.post  # type: ignore[method-assign]  # an instance's own road to the engine

    def post(self, path: str, body: bytes, client: str, **more: Any) -> Answer:
        """Look, and let it pass."""
        if path == "/exchange":
            self._look(exchange.decode_request(body).action)
        answer = self._post(path, body, client, **more)
        self.refused += answer.status == 429
        return answer

    def _look(self, action: object) -> None:
        now = self._venue.world.now_ms()
        held = {view.coin for view in self._venue.engine.account_state(self._user).positions}
        if isinstance(action, actions.Order):
            coins = [self._coin[wire.asset] for wire in action.orders if wire.reduce_only and wire.type.limit]
            self.exits += [(now, coin) for coin in coins]
            self.unhalted_exits += len(coins) if not self.halted() else 0
        elif isinstance(action, actions.CancelByCloid):
            cloids = {order.cloid: order for order in self._venue.engine.open_orders(self._user)}
            known = [cloids[cancel.cloid] for cancel in action.cancels if cancel.cloid in cloids]
            entries = [order for order in known if not order.reduce_only]
            if entries:
                self.entry_cancels.append((now, len(entries)))
            stops = [order for order in known if order.reduce_only]
            self.stop_cancels += len(stops)
            self.early_stop_cancels += [order.coin for order in stops if order.coin in held]


async def fill_up(trader: Trader, engine: Exchange, user: str) -> None:
    """Twenty positions under their stops, two hundred entries that rest: past the limits, which would not allow it."""
    for coin in (*HELD, *WAITING):
        approved = approved_entry(coin, trader.clock.now_ms(), resting=coin in WAITING)
        report = await trader.execution.submit(approved, digest="", trace_ack=None, ack_deadline_ms=0)
        assert report.refusal is None, f"{coin}: {report.refusal}"
    assert len(engine.account_state(user).positions) == len(HELD)
    assert sum(not order.reduce_only for order in engine.open_orders(user)) == len(WAITING)


def approved_entry(coin: str, now_ms: int, *, resting: bool) -> Approved:
    """One coin long, with a stop 5 % below and a target."""
    signal = Signal(
        id=f"{coin}-1", action=Action.OPEN, symbol=coin, side=Side.LONG, confidence=1.0, strategy="tester",
        created_ms=now_ms, ttl_ms=3_600_000,
    )  # fmt: skip
    price = Decimal(PRICE - 1 if resting else PRICE + 1)
    return Approved(
        signal=signal, size=Decimal(1), reference_price=price, worst_price=price, stop_price=Decimal(95),
        stop_limit_price=Decimal(86), target_price=Decimal(120), notional_usd=price, risk_usd=Decimal(5), leverage=3,
        risk_score=0.0, size_bound="test", portfolio_version=1, decided_ms=now_ms, resting=resting,
    )  # fmt: skip


def check(report: FlattenReport, wire: Wire, engine: Exchange, user: str) -> None:
    """What the venue itself holds and lists now, and how it came to that."""
    assert report.verified_flat
    assert not report.failed
    assert [one.symbol for one in report.positions if one.flat] == list(HELD)
    assert report.entries_canceled == len(WAITING)
    assert engine.account_state(user).positions == ()
    assert engine.open_orders(user) == ()
    assert sorted(coin for _, coin in wire.exits) == list(HELD), "each position was closed by one exit"
    assert wire.unhalted_exits == 0
    assert wire.early_stop_cancels == [], "a stop went before its position was flat"
    assert wire.stop_cancels >= len(HELD)


async def settled(engine: Exchange, user: str, sleep: Callable[[float], Any]) -> None:
    """Stops and targets of what is flat go a moment after the answer."""
    for _ in range(200):
        if not engine.open_orders(user):
            return
        await sleep(0.1)


def flatten_in_virtual_time(
    record: Callable[[str, object], None], *, latency: LatencyModel | None, cancels_take_s: float = 0.0
) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(1)
        await fill_up(stage.trader, stage.engine, stage.user)
        await stage.seconds(3)
        wire, venue = Wire(stage.world.venue, stage.user), stage.world.venue
        wire.halted = lambda: "operator" in stage.halts()
        venue.config = msgspec.structs.replace(venue.config, enforce_ip_limits=True)
        venue.world.weights = ClientWeights()
        if cancels_take_s:
            _hold_up_cancels(stage, cancels_take_s)
        begun = stage.clock.now_ms()
        token = stage.commands.prepare("flatten", {"reason": "out"}).token
        result = await stage.commands.flatten("out", actor="tester", token=token)
        took_ms = stage.clock.now_ms() - begun
        await settled(stage.engine, stage.user, stage.seconds)
        check(msgspec.convert(result.details, FlattenReport), wire, stage.engine, stage.user)
        first_cancel_ms, last_exit_ms = wire.entry_cancels[0][0] - begun, max(at for at, _ in wire.exits) - begun
        assert wire.entry_cancels[0][1] == len(WAITING), "all entries are taken back in one action"
        if cancels_take_s:
            assert last_exit_ms < cancels_take_s * 1000, "exits wait for no cancel's answer"
        record("flatten_ms", took_ms)
        record("last_exit_sent_ms", last_exit_ms)
        record("weight", venue.world.weights.spent("in-process"))
        print(
            f"flatten: {took_ms} ms of virtual time, entries' cancel arrived after {first_cancel_ms} ms, the last of "
            f"{len(wire.exits)} exits after {last_exit_ms} ms; weight {venue.world.weights.spent('in-process')} of "
            f"1200, {wire.refused} requests refused"
        )
        assert wire.refused == 0

    play(MARKET, {}, act, overrides=WIDE, latency=latency)


def _hold_up_cancels(stage: Stage, seconds: float) -> None:
    transport = stage.world.transport
    post = transport.post

    async def slow(path: str, body: bytes, *, timeout_s: float) -> Answer:
        answer = await post(path, body, timeout_s=timeout_s)
        if path == "/exchange" and b"cancelByCloid" in body:
            await stage.seconds(seconds)
        return answer

    transport.post = slow  # type: ignore[method-assign]  # this scenario's own wire


def test_S05_twenty_positions_and_two_hundred_orders_within_the_minutes_weight(
    record_property: Callable[[str, object], None],
) -> None:
    flatten_in_virtual_time(record_property, latency=LatencyModel())


def test_S05_exits_do_not_wait_for_the_cancels_of_entries(record_property: Callable[[str, object], None]) -> None:
    flatten_in_virtual_time(record_property, latency=LatencyModel(), cancels_take_s=8.0)


def test_S05_a_flatten_in_an_outage_answers_within_a_minute_and_goes_on() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(1)
        assert (await stage.signal("BTC", Side.LONG, stop_price="57000")).done
        transport = stage.world.transport
        post = transport.post

        async def down(path: str, body: bytes, *, timeout_s: float) -> Answer:
            return Answer(502, b"<html><title>502 Bad Gateway</title></html>")

        transport.post = down  # type: ignore[method-assign]  # this scenario's own wire
        begun = stage.clock.now_ms()
        token = stage.commands.prepare("flatten", {"reason": "out"}).token
        result = await stage.commands.flatten("out", actor="tester", token=token)
        assert not result.done
        assert stage.clock.now_ms() - begun <= 75_000
        assert stage.position("BTC") > 0
        assert any("BTC: not closed" in text for text in result.details["failed"]), result.details
        assert stage.notes("flatten-goes-on"), "what is still open is said meanwhile"
        transport.post = post  # type: ignore[method-assign]  # the venue is back
        await stage.seconds(30)
        assert stage.position("BTC") == 0, "the exit went on by itself"
        assert not stage.listed("BTC")

    play({"BTC": calm(60_000)}, {}, act)


def test_S05_the_proof_fails_where_stops_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    close = Trader.halt_in_time

    async def and_stops_too(trader: Trader, *args: Any, **more: Any) -> None:
        await close(trader, *args, **more)
        live = trader.execution.desk.orders.live()
        stops = [(order.intent.symbol, order.cloid) for order in live if order.intent.trigger is not None]
        await trader.execution.desk.client.cancel(stops[:40])

    monkeypatch.setattr(Trader, "halt_in_time", and_stops_too)
    with pytest.raises(AssertionError):
        flatten_in_virtual_time(lambda name, value: None, latency=None)


def test_S18_the_proof_fails_where_each_entry_is_taken_back_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object) -> None:
        return None

    monkeypatch.setattr(EntryDesk, "_cancel_together", nothing)
    monkeypatch.setattr(EntryDesk, "_has_its_fills", lambda *_: False)
    with pytest.raises(AssertionError):
        flatten_in_virtual_time(lambda name, value: None, latency=None)


def test_S05_the_same_over_real_sockets(record_property: Callable[[str, object], None]) -> None:
    asyncio.run(_over_sockets(record_property))


async def _over_sockets(record: Callable[[str, object], None]) -> None:
    clock, identity = SystemClock(), simulated_identity(SEED)
    feed = ScriptedFeed(MARKET, start_ms=clock.now_ms() + 500)
    settings = settings_for(feed, [], WIDE)
    engine = Exchange(feed.assets, EngineConfig())
    venue = PaperVenue(engine, feed, clock, VenueConfig())
    venue.fund(identity.account, BALANCE_USD * 10**6)
    server = await serve(venue, port=0)
    market = asyncio.create_task(venue.run())
    transport = HttpTransport(server.url, connect_timeout_s=5)
    try:
        await asyncio.wait_for(venue.opened.wait(), 30)
        store = await StateStore.open(
            None, executor=InlineExecutor(), account=identity.account, network="paper", new_epoch=lambda: SEED
        )
        async with TraceStore.open(None, executor=InlineExecutor(), synchronous="OFF") as traces:
            deps = Deps(
                clock=clock, rng=Random(SEED), transport=transport, store=store, traces=traces, identity=identity
            )
            trader, _ = await build_trader(settings, deps)
            await trader.start()
            try:
                await _timed(trader, venue, identity.account, record)
            finally:
                await trader.stop()
                await store.close()
    finally:
        await transport.close()
        market.cancel()
        await server.close()


async def _timed(trader: Trader, venue: PaperVenue, user: str, record: Callable[[str, object], None]) -> None:
    await fill_up(trader, venue.engine, user)
    wire = Wire(venue, user)
    wire.halted = lambda: bool(trader.keeper.state.halts)
    begun = time.perf_counter()
    report = await trader.recovery.emergency_close_all("out", actor="tester")
    took_ms = (time.perf_counter() - begun) * 1000
    await settled(venue.engine, user, asyncio.sleep)
    check(report, wire, venue.engine, user)
    record("flatten_over_sockets_ms", round(took_ms))
    print(f"flatten over loopback HTTP: {took_ms:.0f} ms")
