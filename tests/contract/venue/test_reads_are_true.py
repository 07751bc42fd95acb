"""Whatever a read gives, from wherever: the venue would have said it at some instant within the age that was asked for,
and not before the last action of ours. Both clients, at random, on the paper exchange.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from decimal import Decimal
from itertools import count
from random import Random
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.venue.scripted import KEY, order

from perpstrader.domain import AssetSpec, TimeInForce, VenueError
from perpstrader.paper.engine import Exchange
from perpstrader.paper.feeds import SyntheticFeed
from perpstrader.paper.server import InProcessTransport, LatencyModel, PaperVenue
from perpstrader.runtime import Answer, CloseHandler, FrameHandler, Socket, TransportError, VirtualClock, run_virtual
from perpstrader.venue import HyperliquidClient, MarketData, NonceSource, Signer, Streams, WireEncoder, convert
from perpstrader.venue import contract as c
from perpstrader.venue.baseline import HyperliquidClient as BaselineClient
from perpstrader.venue.wire import info

START: Final = 1_760_000_000_000
ACCOUNT: Final = Signer(KEY, mainnet=False).address
KINDS: Final = ("account", "open_orders", "book", "mids", "mid", "metadata")
_ASKED: Final = {
    "account": info.InfoRequest(type="clearinghouseState", user=ACCOUNT),
    "open_orders": info.InfoRequest(type="frontendOpenOrders", user=ACCOUNT),
    "book": info.InfoRequest(type="l2Book", coin="BTC"),
    "mids": info.InfoRequest(type="allMids"),
    "metadata": info.InfoRequest(type="meta"),
}
_READ: Final[dict[str, Callable[[bytes], Any]]] = {
    "account": lambda body: convert.account_state(info.CLEARINGHOUSE_STATE.decode(body)),
    "open_orders": lambda body: tuple(convert.open_orders(info.FRONTEND_OPEN_ORDERS.decode(body))),
    "book": lambda body: convert.optional_book(info.L2_BOOK.decode(body)),
    "mids": lambda body: convert.mids(info.ALL_MIDS.decode(body)),
    "metadata": lambda body: convert.assets(info.META.decode(body)),
}


class Truth:
    """What the venue would have said to each read, from when on: noted after every action and every move."""

    def __init__(self, venue: PaperVenue, clock: VirtualClock) -> None:
        self._clock = clock
        self._ask = venue.post
        self.said: dict[str, list[tuple[int, Any]]] = {kind: [] for kind in KINDS}
        show, post = venue._show, venue.post

        def shown(step: Any) -> None:
            show(step)
            self.note()

        def posted(path: str, body: bytes, client: str, **options: Any) -> Answer:
            answer = post(path, body, client, **options)
            if path == "/exchange":
                self.note()
            return answer

        venue._show = shown  # type: ignore[method-assign]  # every move of the market
        venue.post = posted  # type: ignore[method-assign]  # every action

    def note(self) -> None:
        now_ns = self._clock.monotonic_ns()
        for kind, request in _ASKED.items():
            value = timeless(_READ[kind](self._ask("/info", info.encode(request), "truth").body))
            if not self.said[kind] or self.said[kind][-1][1] != value:
                self.said[kind].append((now_ns, value))
        self.said["mid"] = [(when, {"BTC": mids["BTC"]}) for when, mids in self.said["mids"]]

    def was_said(self, kind: str, value: Any, since_ns: int, until_ns: int) -> bool:
        """True where the venue would have said this at some instant of these."""
        said = self.said[kind]
        ends = [when for when, _ in said[1:]] + [1 << 62]
        value = timeless(value)
        return any(
            value == true and when <= until_ns and end >= since_ns for (when, true), end in zip(said, ends, strict=True)
        )


def timeless(value: Any) -> Any:
    """The time that the venue stamps on an answer is not what it says."""
    return msgspec.structs.replace(value, time_ms=0) if isinstance(value, c.AccountState | c.Book) else value


class Unreliable:
    """The transport, but reads fail as often as they are told to, before or after they reached the venue."""

    def __init__(self, inner: InProcessTransport, clock: VirtualClock) -> None:
        self._inner = inner
        self._clock = clock
        self.failures = 0

    async def post(self, path: str, body: bytes, *, timeout_s: float) -> Answer:
        fails = path == "/info" and self.failures > 0
        self.failures -= fails
        answer = await self._inner.post(path, body, timeout_s=timeout_s)
        if fails:
            raise TransportError("the answer was lost", sent=True)
        return answer

    async def open_socket(self, on_frame: FrameHandler, on_close: CloseHandler) -> Socket:
        return await self._inner.open_socket(on_frame, on_close)

    async def close(self) -> None:
        await self._inner.close()


class Quiet:
    """Listens to streams and does nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments: None


class World:
    """One client on a moving market, and what is true there."""

    def __init__(self, clock: VirtualClock, build: str, seed: int) -> None:
        feed = SyntheticFeed(seed, START, symbols=("BTC", "ETH"), prehistory_bars=2)
        self.clock = clock
        self.venue = PaperVenue(Exchange(feed.assets), feed, clock)
        self.truth = Truth(self.venue, clock)
        latency = LatencyModel(median_s=0.02, p99_s=0.08)
        self.transport = Unreliable(InProcessTransport(self.venue, Random(seed), latency), clock)
        nonces = NonceSource(clock, 0, lambda mark: None)
        self.client: c.HyperliquidClient
        if build == "baseline":
            self.client = BaselineClient(self.transport, clock, KEY, nonces, account=ACCOUNT)
        else:
            encoder = WireEncoder(Signer(KEY, mainnet=False))
            self.client = HyperliquidClient(self.transport, clock, encoder, nonces, account=ACCOUNT)
        self.wrong: list[str] = []
        self.given = 0
        self.acted_ns = 0
        self.assets: Mapping[str, AssetSpec] = {}
        self._numbers = count(1)

    async def read(self, kind: str, max_age_ms: int | None, leaves_after_ms: int | None) -> None:
        """One reader: what it is given must have been true; one who leaves is given nothing."""
        called_ns, acted_ns = self.clock.monotonic_ns(), self.acted_ns
        try:
            async with asyncio.timeout(None if leaves_after_ms is None else leaves_after_ms / 1000):
                value = await self._ask(kind, max_age_ms)
        except (VenueError, TimeoutError):
            return
        self.given += 1
        life_ms = {"account": 2_000, "open_orders": 1_000, "metadata": 3_600_000}.get(kind, 500)
        age_ms = life_ms if max_age_ms is None else min(max_age_ms, life_ms)
        since_ns = called_ns - age_ms * 1_000_000
        if kind != "metadata":
            since_ns = max(since_ns, acted_ns)
        if not self.truth.was_said(kind, value, since_ns, self.clock.monotonic_ns()):
            self.wrong.append(f"{kind} within {max_age_ms} ms at {called_ns}: {value}")

    async def _ask(self, kind: str, max_age_ms: int | None) -> Any:
        if kind == "book":
            return await self.client.book("BTC", max_age_ms=max_age_ms)
        if kind == "mid":
            return await self.client.mids(["BTC"], max_age_ms=max_age_ms)
        return await getattr(self.client, kind)(max_age_ms=max_age_ms)

    async def act(self, factor: str) -> None:
        """One order: it rests far from the market, or fills at once."""
        price = self.assets["BTC"].bound(self.venue_mid() * Decimal(factor), buy=True)
        tif = TimeInForce.IOC if factor > "1" else TimeInForce.GTC
        await self.client.place([order(f"0x{next(self._numbers):032x}", price=str(price), tif=tif)])
        self.acted_ns = self.clock.monotonic_ns()

    def venue_mid(self) -> Decimal:
        return Decimal(self.venue.world.mids()["BTC"])


reads = st.tuples(
    st.just("read"), st.sampled_from(KINDS), st.sampled_from([None, 0, 1, 50, 300, 700, 5_000]),
    st.sampled_from([None, None, None, 5, 25]),
)  # fmt: skip
acts = st.tuples(st.just("act"), st.sampled_from(["0.9", "1.02"]))
waits = st.tuples(st.just("wait"), st.sampled_from([1, 10, 40, 130, 260, 600, 1_500]))
fails = st.tuples(st.just("fail"), st.integers(1, 3))
plans = st.lists(st.one_of(reads, reads, reads, waits, waits, acts, fails), min_size=10, max_size=60)


def play(build: str, plan: list[Any], seed: int, *, streams: bool) -> World:
    async def main(clock: VirtualClock) -> World:
        world = World(clock, build, seed)
        market = asyncio.create_task(world.venue.run())
        world.venue.fund(ACCOUNT, 10_000_000_000)
        await clock.sleep(1)
        await world.client.venue_time_ms()
        world.assets = await world.client.metadata()
        listening = asyncio.create_task(follow(world)) if streams else None
        await clock.sleep(0.5)
        tasks: list[asyncio.Task[None]] = []
        for name, *arguments in plan:
            if name == "read":
                tasks.append(asyncio.create_task(world.read(*arguments)))
            elif name == "act":
                tasks.append(asyncio.create_task(world.act(*arguments)))
            elif name == "fail":
                world.transport.failures += arguments[0]
            await clock.sleep(arguments[0] / 1000 if name == "wait" else 0.0005)
        await asyncio.gather(*tasks)
        for task in (market, listening):
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in (market, listening) if task is not None), return_exceptions=True)
        return world

    return run_virtual(main, start_ms=START)


async def follow(world: World) -> None:
    client: Any = world.client
    quiet: Any = Quiet()
    streams = Streams(
        world.transport, world.clock, client.venue_clock, MarketData(), quiet, account=ACCOUNT, symbols=("BTC", "ETH"),
        interval="1s", rng=Random(2), note=lambda kind, text: None, reads=getattr(client, "streamed", None),
    )  # fmt: skip
    await streams.run(lambda: None)


@given(plan=plans, seed=st.integers(1, 1_000), streams=st.booleans())
def test_S31_each_answer_of_the_optimized_client_was_true_within_the_age_asked_for(
    plan: list[Any], seed: int, streams: bool
) -> None:
    assert play("optimized", plan, seed, streams=streams).wrong == []


@given(plan=plans, seed=st.integers(1, 1_000))
def test_and_so_was_each_of_the_baseline(plan: list[Any], seed: int) -> None:
    assert play("baseline", plan, seed, streams=False).wrong == []


def test_an_answer_that_overtakes_frames_from_before_it_leaves_them_unbelieved() -> None:
    waits = [("wait", ms) for ms in (10, 40, 40, 130, 130)]
    plan = [*waits, ("act", "1.02"), ("wait", 600), ("act", "0.9"), ("wait", 40), ("read", "account", None, None)]
    assert play("optimized", plan, 45, streams=True).wrong == []


BUSY: Final = [
    *[("read", kind, None, None) for kind in KINDS],
    ("act", "1.02"),
    ("wait", 600),
    ("act", "0.9"),
    ("wait", 1_500),
    *[step for _ in range(40) for step in (*[("read", kind, None, None) for kind in KINDS], ("wait", 40))],
]


def test_with_streams_a_busy_reader_costs_a_tenth_of_the_requests_and_hears_nothing_but_the_truth() -> None:
    world = play("optimized", BUSY, 3, streams=True)
    client: Any = world.client
    assert (world.wrong, world.given) == ([], 41 * len(KINDS))
    assert client.reads.total("asked") * 10 <= world.given
    assert client.reads.total("streamed") > client.reads.total("asked")


@pytest.mark.parametrize("mutant", ["never outdated", "twice the age"])
def test_the_proof_notices_a_cache_that_lies(monkeypatch: pytest.MonkeyPatch, mutant: str) -> None:
    from perpstrader.venue.reads import ReadCache

    if mutant == "never outdated":
        monkeypatch.setattr(ReadCache, "outdate", lambda self, kinds, by_action: None)
    else:
        honest = ReadCache.oldest_ns

        def older(self: ReadCache, kind: Any, age_ms: int | None) -> int | None:
            oldest_ns = honest(self, kind, age_ms)
            return None if oldest_ns is None else oldest_ns - 5_000_000_000

        monkeypatch.setattr(ReadCache, "oldest_ns", older)
    plan = [
        *[step for _ in range(6) for step in (("read", "account", None, None), ("wait", 130))],
        ("act", "1.02"), ("wait", 600),
        *[step for _ in range(30) for step in (*[("read", kind, None, None) for kind in KINDS], ("wait", 130))],
    ]  # fmt: skip
    assert play("optimized", plan, 3, streams=False).wrong
