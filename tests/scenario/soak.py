"""A soak: one virtual hour of quoting through the client while everything on the wire goes wrong, and the venue's own
account of it.

Quoters want sizes, an order at a time or several in one action: resting ones, which they take back, and some that
match at once. Each want is one execution or none, whatever is lost; after an unknown outcome the client's settlement
decides whether another attempt may follow. Fills are heard on the streams and read again after every break.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from decimal import Decimal
from random import Random
from typing import Any

import msgspec

from perpstrader.domain import AssetSpec, Fill, TimeInForce, Trigger, VenueError
from perpstrader.domain.cloids import make_cloid, read_cloid
from perpstrader.paper.engine import EngineConfig, Exchange, NewOrder, PlaceResult, Reject
from perpstrader.paper.faults import FaultKind, FaultRule, RandomFaults
from perpstrader.paper.feeds import SyntheticFeed
from perpstrader.paper.server import InProcessTransport, LatencyModel, PaperVenue, VenueConfig
from perpstrader.paper.server.rate import AddressBudget, ClientWeights
from perpstrader.runtime import Supervisor, Transport, VirtualClock, run_virtual
from perpstrader.venue import HyperliquidClient, MarketData, NonceSource, Signer, Streams, WireEncoder, settle
from perpstrader.venue import contract as c
from perpstrader.venue.address_budget import AddressBudget as OurBudget
from perpstrader.venue.baseline import HyperliquidClient as BaselineClient
from perpstrader.venue.budget import IpBudget
from perpstrader.venue.budgeted import BudgetedTransport
from perpstrader.venue.calls import VenueCalls
from perpstrader.venue.posting import PostingTransport
from perpstrader.venue.reads import Lives
from perpstrader.venue.settlement import look_up

HOUR_S = 3_600
KEY = "0x" + "7c" * 32
ACCOUNT = Signer(KEY, mainnet=False).address
SYMBOLS = ("BTC", "ETH", "SOL")
_ON_MESSAGES = {
    FaultKind.REFUSED: (0.02, 0), FaultKind.REQUEST_LOST: (0.02, 0), FaultKind.RESPONSE_LOST: (0.03, 0),
    FaultKind.BAD_GATEWAY: (0.01, 3), FaultKind.BAD_GATEWAY_AFTER: (0.02, 0), FaultKind.TOO_MANY: (0.01, 3),
    FaultKind.SERVER_ERROR: (0.01, 2), FaultKind.REQUEST_TWICE: (0.02, 0), FaultKind.DELAY: (0.03, 12),
    FaultKind.LAG: (0.05, 5), FaultKind.RECORD_EVICTED: (0.02, 0), FaultKind.FRAME_TWICE: (0.02, 0),
    FaultKind.FRAME_LOST: (0.02, 0), FaultKind.FRAME_LATE: (0.02, 5), FaultKind.FRAME_SWAPPED: (0.02, 0),
    FaultKind.SOCKET_DROPPED: (0.0003, 0), FaultKind.SOCKET_FROZEN: (0.0001, 0),
}  # fmt: skip
"""How probable each is, and its amount: seconds, or messages in a row."""
_AN_HOUR = {
    FaultKind.STOP_CANCELED: (30, 0), FaultKind.POST_ONLY: (3, 60), FaultKind.CLOCK_SKEW: (6, 3),
    FaultKind.DELEVERAGED: (4, 0),
}  # fmt: skip
FAULTS = [FaultRule(kind, rate, "any", amount) for kind, (rate, amount) in (_ON_MESSAGES | _AN_HOUR).items()]
"""All kinds but the pruned agent, after whom nothing more may happen."""
_START_MS = 1_760_000_000_000
_MICRO = 1_000_000
_EPOCH = 0x50AC
_QUOTERS = 7
_EXPIRY_MS = 10_000
_OVERLAP_MS = 60_000
_REPAIR_S = 30.0
_MOST_USD = 40_000
_STOPS = 0.2
_COALESCE_MS = 25
_CONFIRM_S = 6
_GIVE_UP_S = 900


class Want(msgspec.Struct):
    """One execution that a quoter wants, and the attempts at it."""

    number: int
    symbol: str
    buy: bool
    size: Decimal
    price: Decimal
    tif: TimeInForce
    stop: Trigger | None = None
    attempts: int = 0
    cloid: str = ""
    expires_ms: int = 0
    sent_ms: int = 0


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What an hour came to; each list names what should not be."""

    wants: int
    orders: int
    fills: int
    unknown: int
    repeats: int
    posted: int
    faults: Mapping[str, int]
    doubles: list[str]
    lost_fills: list[str]
    our_429: list[str]
    differences: list[str]


class RecordingExchange(Exchange):
    """The engine, which also counts what arrives and notes what executes twice."""

    def __init__(self, assets: Sequence[Any], config: EngineConfig) -> None:
        super().__init__(assets, config)
        self.arrived: Counter[str] = Counter()
        self.doubles: list[str] = []

    def place(self, user: str, orders: Sequence[NewOrder | Reject], *rest: Any, **more: Any) -> list[PlaceResult]:
        """See ``Exchange``; a want never has two live orders, and no order comes twice."""
        results = super().place(user, orders, *rest, **more)
        for order in orders:
            if isinstance(order, NewOrder) and order.cloid is not None:
                self.arrived[order.cloid] += 1
                if self.arrived[order.cloid] > 1:
                    self.doubles.append(f"{order.cloid} arrived {self.arrived[order.cloid]} times")
        live = Counter(_number(order.cloid) for order in self.open_orders(user))
        self.doubles += [f"want {number} has {count} live orders" for number, count in live.items() if count > 1]
        return results


class CountedWeights(ClientWeights):
    """Notes each request that it refuses: a 429 that the client has brought upon itself."""

    def __init__(self, refused: list[str]) -> None:
        super().__init__()
        self._refused = refused

    def allows(self, client: str, weight: int, now_ms: int) -> bool:
        """See ``ClientWeights``."""
        allowed = super().allows(client, weight, now_ms)
        if not allowed:
            self._refused.append(f"429 at {now_ms}: {self.spent(client)} of weight were spent, {weight} more wanted")
        return allowed


class CountedBudget(AddressBudget):
    """Notes each action that it refuses."""

    def __init__(self, refused: list[str]) -> None:
        super().__init__()
        self._refused = refused

    def charge(self, *what: Any, **more: Any) -> str | None:
        """See ``AddressBudget``."""
        text = super().charge(*what, **more)
        if text is not None:
            self._refused.append(text)
        return text


class Desk:
    """Quotes through one client until told that it is over, and keeps its own book of fills and live orders."""

    def __init__(self, client: c.HyperliquidClient, clock: VirtualClock, market: MarketData, rng: Random) -> None:
        self.client = client
        self.wants: list[Want] = []
        self.fills: dict[tuple[str, int], Fill] = {}
        self.positions: dict[str, Decimal] = {}
        self.live: dict[str, None] = {}
        self.denied: dict[str, None] = {}
        self.unknown = 0
        self.repeats = 0
        self.over = False
        self.torn = asyncio.Event()
        self._clock = clock
        self._market = market
        self._rng = rng
        self._assets: Mapping[str, AssetSpec] = {}
        self._read_from_ms = 0

    # --- what the streams tell ---

    def on_fills(self, fills: Sequence[Fill]) -> None:
        """Each is booked once, however often it is told."""
        for fill in fills:
            if self.is_new(fill):
                self.fills[fill.symbol, fill.tid] = fill
                signed = fill.size if fill.buy else -fill.size
                self.positions[fill.symbol] = self.positions.get(fill.symbol, Decimal(0)) + signed

    def is_new(self, fill: Fill) -> bool:
        """Whether it was never told before."""
        return (fill.symbol, fill.tid) not in self.fills

    def on_connected(self, reconnected: bool) -> None:
        """What a break has swallowed is read."""
        if reconnected:
            self.torn.set()

    def on_bar(self, candle: Any) -> None:
        """Nothing."""

    def on_order_record(self, cloid: str, record: c.OrderRecord) -> None:
        """Nothing: a quoter asks for itself."""

    def on_funding(self, payments: Any) -> None:
        """Nothing."""

    def on_cash_flows(self, flows: Any) -> None:
        """Nothing."""

    def on_market(self, symbol: str) -> None:
        """Nothing."""

    def on_disconnected(self, reason: str) -> None:
        """Nothing."""

    # --- what it does ---

    async def begin(self) -> None:
        """Read what quoting needs, however often it takes."""
        while not self._assets:
            try:
                self._assets = await self.client.metadata()
                await self.client.venue_time_ms()
            except VenueError:
                self._assets = {}
                await self._clock.sleep(1)

    async def repair(self) -> None:
        """Read the fills since a while before the last reading, after each break and every half a minute."""
        while True:
            try:
                async with asyncio.timeout(_REPAIR_S):
                    await self.torn.wait()
            except TimeoutError:
                pass
            self.torn.clear()
            begun_ms = self._clock.now_ms()
            try:
                self.on_fills(await self.client.fills(max(0, self._read_from_ms - _OVERLAP_MS)))
                self._read_from_ms = begun_ms
            except VenueError:
                self.torn.set()
                await self._clock.sleep(1)

    async def look(self) -> None:
        """Read the account and the orders as a page would, all the time."""
        while not self.over:
            await self._clock.sleep(self._rng.uniform(4, 12))
            try:
                await self.client.account(max_age_ms=2_000)
                await self.client.mids(SYMBOLS, max_age_ms=500)
                await self.client.open_orders(max_age_ms=None)
            except VenueError:
                await self._clock.sleep(1)

    async def quote(self, rng: Random) -> None:
        """Want something every few seconds, several of a kind at a time now and then, and see it through."""
        while not self.over:
            await self._clock.sleep(rng.randint(2, 40) / 10)
            wants = [want for _ in range(rng.choice((1, 1, 1, 4))) if (want := self._want(rng)) is not None]
            if wants:
                async with asyncio.timeout(_GIVE_UP_S):
                    await self._see_through(wants, rng)

    def _want(self, rng: Random) -> Want | None:
        symbol = rng.choice(SYMBOLS)
        snapshot, asset = self._market.snapshot(symbol), self._assets[symbol]
        if snapshot is None or snapshot.mid is None:
            return None
        held_usd = self.positions.get(symbol, Decimal(0)) * snapshot.mid
        buy = rng.random() < 0.5 if abs(held_usd) < _MOST_USD else held_usd < 0
        tif = rng.choice((TimeInForce.ALO, TimeInForce.GTC, TimeInForce.IOC))
        away = Decimal(rng.randint(-20, 5) if tif is TimeInForce.IOC else rng.randint(0, 15)) / 10_000
        price = asset.price_near(snapshot.mid * (1 - away if buy else 1 + away))
        size = asset.ceil_size(Decimal(rng.randint(8, 900)) / price)  # some are too small for the venue
        want = Want(len(self.wants), symbol, buy, size, price, tif)
        if abs(held_usd) > _MOST_USD / 2 and rng.random() < _STOPS:
            want.buy, away = held_usd < 0, Decimal("1.02") if held_usd < 0 else Decimal("0.98")
            want.stop = Trigger(price=asset.price_near(snapshot.mid * away), is_stop=True)
            want.price, want.tif = asset.price_near(snapshot.mid * away * away * away), TimeInForce.GTC
        self.wants.append(want)
        return want

    async def _see_through(self, wants: Sequence[Want], rng: Random) -> None:
        """Until every want is executed, taken back, refused, or provably never was and given up."""
        left = list(wants)
        for _ in range(4):
            left = await self._try(left)
            if not left:
                break
        live = [want for want in wants if want.cloid in self.live]
        if live:
            await self._clock.sleep(rng.randint(5, 200) / 10)
            await self._take_back(live)

    async def _try(self, wants: Sequence[Want]) -> list[Want]:
        """One attempt at each in one action; those that provably never reached the venue are given back."""
        expires_ms = self._clock.now_ms() + _EXPIRY_MS
        for want in wants:
            want.attempts += 1
            self.repeats += want.attempts > 1
            want.cloid = make_cloid(_EPOCH, want.number, want.attempts)
            want.expires_ms, want.sent_ms = expires_ms, self._clock.now_ms()
        acks = await self.client.place([_request(want) for want in wants], expires_ms=expires_ms)
        groups = await asyncio.gather(*(self._group(want, ack) for want, ack in zip(wants, acks, strict=True)))
        for want, group in zip(wants, groups, strict=True):
            if group is c.OrderGroup.LIVE:
                self.live[want.cloid] = None
            elif group in (c.OrderGroup.MISSING, c.OrderGroup.REJECTED):
                self.denied[want.cloid] = None
        return [want for want, group in zip(wants, groups, strict=True) if group is c.OrderGroup.MISSING]

    async def _group(self, want: Want, ack: c.OrderAck) -> c.OrderGroup:
        match ack:
            case c.Resting() | c.Waiting():
                return c.OrderGroup.LIVE
            case c.Filled():
                return c.OrderGroup.FILLED
            case c.Rejected():
                return c.OrderGroup.REJECTED
            case c.NotSent():
                return c.OrderGroup.MISSING
        self.unknown += 1
        settled = await settle(self.client, self._clock, want.cloid, expires_ms=want.expires_ms, sent_ms=want.sent_ms)
        return settled.record.group

    async def _take_back(self, wants: Iterable[Want]) -> None:
        """Cancel until the venue shows none of them."""
        left, unlisted = list(wants), set[str]()
        while left:
            acks = await self.client.cancel([(want.symbol, want.cloid) for want in left])
            asked = [want for want, ack in zip(left, acks, strict=True) if not isinstance(ack, c.Canceled)]
            left = [want for want in asked if not await self._has_ended(want, unlisted)]
            if left:
                await self._clock.sleep(_CONFIRM_S)
        for want in wants:
            del self.live[want.cloid]

    async def _has_ended(self, want: Want, unlisted: set[str]) -> bool:
        """Its record says so; or has gone, and two lists of open orders, a while apart, do not have it."""
        record = await look_up(self.client, want.cloid)
        if record is None or record.group is not c.OrderGroup.MISSING:
            return record is not None and record.group is not c.OrderGroup.LIVE
        try:
            listed = any(order.cloid == want.cloid for order in await self.client.open_orders())
        except VenueError:
            return False
        if listed or want.cloid not in unlisted:
            unlisted.discard(want.cloid) if listed else unlisted.add(want.cloid)
            return False
        return True


def _number(cloid: str | None) -> int:
    parts = read_cloid(cloid)
    assert parts is not None
    return parts.number


def _request(want: Want) -> c.OrderRequest:
    return c.OrderRequest(
        symbol=want.symbol, buy=want.buy, size=want.size, limit_price=want.price, tif=want.tif, cloid=want.cloid,
        reduce_only=want.stop is not None, trigger=want.stop,
    )  # fmt: skip


def build_client(build: str, transport: Transport, clock: VirtualClock) -> VenueCalls:
    """The client as the trader has it: within the venue's budgets; the optimized one gathers, caches, and shares."""
    budgeted = BudgetedTransport(transport, IpBudget(clock, limit=1_200, reserve=0.3), OurBudget(clock))
    nonces = NonceSource(clock, 0, lambda mark: None)
    if build == "baseline":
        return BaselineClient(budgeted, clock, KEY, nonces, account=ACCOUNT)
    return HyperliquidClient(
        budgeted, clock, WireEncoder(Signer(KEY, mainnet=False)), nonces, account=ACCOUNT, lives=Lives(),
        coalesce_ms=_COALESCE_MS,
    )  # fmt: skip


def soak(seed: int, *, build: str = "optimized", seconds: float = HOUR_S) -> Outcome:
    """An hour of it in virtual time; the same seed gives the same hour. Odd ones go by WebSocket where one is open."""
    return run_virtual(lambda clock: _hour(clock, seed, build, seconds), start_ms=_START_MS - 1_000)


async def _hour(clock: VirtualClock, seed: int, build: str, seconds: float) -> Outcome:
    feed = SyntheticFeed(seed, _START_MS, symbols=SYMBOLS, bar_ms=5_000, speed=20.0)
    engine = RecordingExchange(feed.assets, EngineConfig())
    venue = PaperVenue(engine, feed, clock, VenueConfig(enforce_ip_limits=True))
    our_429: list[str] = []
    venue.world.weights, venue.world.budget = CountedWeights(our_429), CountedBudget(our_429)
    venue.fund(ACCOUNT, 1_000_000 * _MICRO)
    rng = Random(f"soak {seed}")
    faults = RandomFaults(Random(rng.getrandbits(64)), FAULTS)
    venue.set_faults(faults)
    network = InProcessTransport(venue, Random(rng.getrandbits(64)), LatencyModel(), faults=faults)
    transport = PostingTransport(network, clock, by_socket=["/info", "/exchange"] if seed % 2 else [])
    client, market = build_client(build, transport, clock), MarketData()
    desk = Desk(client, clock, market, Random(rng.getrandbits(64)))
    failures: list[Exception] = []
    async with AsyncExitStack() as stack:
        group = await stack.enter_async_context(asyncio.TaskGroup())
        running = [group.create_task(venue.run()), group.create_task(desk.repair())]
        supervisor = Supervisor(clock, lambda name, error: failures.append(error))
        streams = Streams(
            transport, clock, client.venue_clock, market, desk, account=ACCOUNT, symbols=SYMBOLS, interval="5s",
            rng=Random(rng.getrandbits(64)), note=lambda kind, text: None,
            reads=client.streamed if isinstance(client, HyperliquidClient) else None,
        )  # fmt: skip
        await clock.sleep(2)
        supervisor.start("streams", streams.run, deadline_ms=120_000)
        await desk.begin()
        quoting = [group.create_task(desk.quote(Random(rng.getrandbits(64)))) for _ in range(_QUOTERS)]
        quoting.append(group.create_task(desk.look()))
        await clock.sleep(seconds)
        desk.over = True
        await asyncio.wait(quoting)
        faults.paused = True
        desk.torn.set()
        await clock.sleep(2 * _OVERLAP_MS / 1_000)
        differences = await _differences(desk, engine)
        await supervisor.stop()
        venue.stop()
        for task in running:
            task.cancel()
    assert not failures, failures
    landed = {kind.value: faults.landed[kind] for kind in FaultKind}
    return _outcome(desk, engine, landed, our_429, differences, transport.posted)


async def _differences(desk: Desk, engine: RecordingExchange) -> list[str]:
    """Positions and orders: what the venue has, what the desk has from fills and answers, what the client reads."""
    decimals = {asset.coin: asset.size_decimals for asset in engine.assets}
    theirs = {p.coin: Decimal(p.size).scaleb(-decimals[p.coin]) for p in engine.account_state(ACCOUNT).positions}
    read = {symbol: position.size for symbol, position in (await desk.client.account()).positions.items()}
    booked = {symbol: size for symbol, size in desk.positions.items() if size}
    found = [f"{what} {sizes}, the venue has {theirs}" for what, sizes in (("booked", booked), ("read", read))
             if sizes != theirs]  # fmt: skip
    listed = [order.cloid for order in engine.open_orders(ACCOUNT)]
    if listed or desk.live:
        found.append(f"the venue still lists {listed}, the desk still counts on {list(desk.live)}")
    return found


def _outcome(
    desk: Desk, engine: RecordingExchange, faults: Mapping[str, int], our_429: list[str], differences: list[str],
    posted: int,
) -> Outcome:  # fmt: skip
    decimals = {asset.coin: asset.size_decimals for asset in engine.assets}
    filled: dict[int, Decimal] = {}
    for fill in engine.fills(ACCOUNT):
        if fill.cloid is None:
            continue  # the venue's own doing
        number = _number(fill.cloid)
        filled[number] = filled.get(number, Decimal(0)) + Decimal(fill.size).scaleb(-decimals[fill.coin])
    doubles = engine.doubles + [
        f"want {number} of {desk.wants[number].size} filled {size}" for number, size in filled.items()
        if size > desk.wants[number].size
    ]  # fmt: skip
    denied = {fill.cloid for fill in engine.fills(ACCOUNT) if fill.cloid in desk.denied}
    differences = differences + [f"{cloid} filled, the desk was told that it never was" for cloid in sorted(denied)]
    happened = {(fill.coin, fill.tid) for fill in engine.fills(ACCOUNT)}
    return Outcome(
        wants=len(desk.wants), orders=sum(engine.arrived.values()), fills=len(happened), unknown=desk.unknown,
        repeats=desk.repeats, posted=posted, faults=faults, doubles=doubles, our_429=our_429, differences=differences,
        lost_fills=[f"{coin} {tid}" for coin, tid in sorted(happened ^ set(desk.fills))],
    )  # fmt: skip
