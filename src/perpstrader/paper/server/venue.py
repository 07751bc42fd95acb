"""The exchange in a box: a market that moves, accounts that trade on it, and the venue's endpoints and streams."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from perpstrader.paper.engine import Event, Exchange, TradeEvent
from perpstrader.paper.faults import FaultRule, RandomFaults
from perpstrader.paper.feeds.contract import Arriving, Feed, FeedStep
from perpstrader.paper.server import info_api
from perpstrader.paper.server.config import VenueConfig
from perpstrader.paper.server.exchange_api import Actor, ExchangeApi, unreadable
from perpstrader.paper.server.history import HOUR_MS
from perpstrader.paper.server.mischief import Mischief
from perpstrader.paper.server.publish import Publisher
from perpstrader.paper.server.streams import Streams
from perpstrader.paper.server.topics import Topics
from perpstrader.paper.server.world import World, address
from perpstrader.runtime import Answer, Clock
from perpstrader.venue.wire import WireError, exchange, weights
from perpstrader.venue.wire.info import encode

PREMIUM_SAMPLE_MS: Final = 5_000
UPKEEP_MS: Final = 5_000
SETTLE_SECONDS: Final = 0.001
_PICO: Final = 10**12
_TOO_MANY: Final = Answer(429, b"null")
_NOT_FOUND: Final = Answer(404, b"")


class Keeper(Protocol):
    """Keeps what has changed, before anybody is told."""

    def keep(self, world: World, events: Sequence[Event], users: Iterable[str], signer: str | None) -> None:
        """Commit these events, those accounts as they are now, and the nonces of ``signer``."""


class PaperVenue:
    """Owns the engine, the feed and all sessions; one event loop, no tasks of its own.

    ``run`` moves the market; ``post`` and ``streams.open`` serve clients at any time, also before it. Every change is
    on the streams before the answer that caused it is given.
    """

    def __init__(self, engine: Exchange, feed: Feed, clock: Clock, config: VenueConfig | None = None) -> None:
        self.engine = engine
        self.feed = feed
        self.clock = clock
        self.config = config or VenueConfig()
        self.world = World(engine, feed, clock, self.config)
        topics = Topics()
        self._publisher = Publisher(self.world, topics)
        self._exchange_api = ExchangeApi(self.world)
        self.streams = Streams(self.world, topics, self._publisher, self)
        self.opened = asyncio.Event()
        """Set once the feed's first instant has been shown."""
        self.keeper: Keeper | None = None
        """Where changes are kept; set before the first request."""
        self.mischief: Mischief | None = None
        self.in_flight = 0
        """Requests and frames on their way; while there are any, no part of a recorded bar is left out."""
        self._stopped = False
        self._next_hour = 0
        self._next_sample = 0
        self._next_upkeep = 0
        self._feed_has_rates = False

    # --- serving ---

    @property
    def faults(self) -> RandomFaults | None:
        """What its own doors (HTTP, and the way in of this process) do to messages; ``None``: nothing, ever."""
        return None if self.mischief is None else self.mischief.faults

    def set_faults(self, faults: RandomFaults) -> None:
        """Let things go wrong from now on, as ``faults`` decides; once in a venue's life."""
        self.mischief = Mischief(self.world, faults)

    def happen(self, rule: FaultRule) -> bool:
        """Let a fault of the venue itself happen now; whether there was anything that it could happen to."""
        happened = self.mischief is not None and self.mischief.happen(rule)
        self._settle()
        return happened

    def now_ms(self) -> int:
        """The venue's time."""
        return self.world.now_ms()

    def post(
        self, path: str, body: bytes, client: str, *, visible_ms: int | None = None, forgets: bool = False
    ) -> Answer:
        """The answer to one POST of ``client``; any bytes are answered.

        Reads of orders and fills leave out what is newer than ``visible_ms`` (now, if not given); ``forgets``: the
        records of done orders that are asked for are evicted.
        """
        if path == "/info":
            return self._info(body, client, visible_ms, forgets=forgets)
        if path == "/exchange":
            return self._exchange(body, client)
        return _NOT_FOUND

    def fund(self, user: str, micro_usd: int) -> None:
        """Give an address money, opening its account if there is none; raises ``WireError`` or ``MoneyError``."""
        self.engine.fund(address(user), micro_usd, self.world.now_ms())
        self._settle()

    def _info(self, body: bytes, client: str, visible_ms: int | None, *, forgets: bool) -> Answer:
        limits, now_ms = self.world.weights, self.world.now_ms()
        try:
            request = info_api.read_request(body)
            weight = weights.info_weight(request.type)
            if self.config.enforce_ip_limits and not limits.allows(client, weight, now_ms):
                return _TOO_MANY
            answer = info_api.answer(self.world, request, now_ms if visible_ms is None else visible_ms)
        except WireError as error:
            return Answer(422, unreadable(error).encode())
        if self.config.enforce_ip_limits:
            limits.spend(client, weight + weights.row_weight(answer.kind, answer.rows), now_ms)
        if self.mischief is not None:
            return Answer(200, self.mischief.changed(request, answer.body, visible_ms, forgets=forgets))
        return Answer(200, answer.body)

    def _exchange(self, body: bytes, client: str) -> Answer:
        limits, now_ms = self.world.weights, self.world.now_ms()
        try:
            request = exchange.decode_request(body)
            if self.config.enforce_ip_limits:
                weight = weights.exchange_weight(weights.batch_size(request.action))
                if not limits.allows(client, weight, now_ms):
                    return _TOO_MANY
                limits.spend(client, weight, now_ms)
            answer = self._exchange_api.handle(request)
        except WireError as error:
            return Answer(422, unreadable(error).encode())
        self._settle(self._exchange_api.last_actor)
        return Answer(200, encode(answer))

    # --- the market moves ---

    async def run(self) -> None:
        """Show the feed's instants at their times, to its end or until ``stop``; a late one follows at once."""
        self._next_hour = self.world.now_ms() // HOUR_MS * HOUR_MS + HOUR_MS
        if isinstance(self.feed, Arriving):
            await self._follow(self.feed)
            return
        leaves_out = self.feed.grade == "candle"
        for step in self.feed.steps(self.engine.net_position_sign, self._is_quiet):
            await self.clock.sleep(max(step.time_ms - self.clock.now_ms(), 0) / 1000)
            if self._stopped:
                return
            self._show(step)
            self.opened.set()
            if step.bars and leaves_out:
                # The feed is about to ask whether the bar's inside matters to anybody: first, who heard of this
                # instant has its say.
                await self.clock.sleep(SETTLE_SECONDS)

    async def _follow(self, feed: Arriving) -> None:
        """Show what arrives, as it comes."""
        async for step in feed.arriving():
            if self._stopped:
                return
            self._show(step)
            self.opened.set()

    def stop(self) -> None:
        """Let ``run`` end before the next instant, and hang up on everybody."""
        if not self._stopped:
            self._keep_prices()
        self._stopped = True
        self.streams.hang_up_all("the exchange is shutting down")

    def _is_quiet(self) -> bool:
        return self.in_flight == 0 and self.engine.is_quiet()

    def _show(self, step: FeedStep) -> None:
        now_ms = step.time_ms
        if now_ms >= self._next_hour:
            self._charge_funding(step)
        engine, publisher = self.engine, self._publisher
        engine.advance(now_ms)
        for update in step.updates:
            engine.apply(update)
        if now_ms >= self._next_sample and not self._feed_has_rates:
            self._next_sample = now_ms - now_ms % PREMIUM_SAMPLE_MS + PREMIUM_SAMPLE_MS
            engine.premium_sample(now_ms)
        for update in step.updates:
            publisher.market(update, now_ms)
        self._settle()
        for bar in step.bars:
            publisher.bar(bar)
        publisher.tick(now_ms)
        if self.mischief is not None:
            self.mischief.tick()
            self._settle()
        if now_ms >= self._next_upkeep:
            self._next_upkeep = now_ms + UPKEEP_MS
            self.streams.close_idle(self.world.now_ms())
            self._keep_prices()

    def _charge_funding(self, step: FeedStep) -> None:
        """Charge each hour that has ended, at the prices and positions from before this instant (API sheet 7.4).

        The feed's rates are those of the last one. Where it has rates, no premium is sampled.
        """
        while self._next_hour <= step.time_ms:
            if self._next_hour + HOUR_MS > step.time_ms:
                self._feed_has_rates = self._feed_has_rates or bool(step.funding)
                for coin, rate in step.funding:
                    self.engine.set_funding_rate(coin, int(rate * _PICO))
            self.engine.funding_tick(self._next_hour)
            self._next_hour += HOUR_MS

    def _keep_prices(self) -> None:
        if self.keeper is not None:
            self.keeper.keep(self.world, (), (), None)

    def _settle(self, actor: Actor | None = None) -> None:
        """Keep what has changed, then tell the streams."""
        events = self.engine.drain_events()
        if self.keeper is not None and (events or actor is not None):
            users, signer = ((), None) if actor is None else ((actor.user,), actor.signer)
            self.keeper.keep(self.world, events, users, signer)
        if events:
            self._publisher.events(events)
            if self.mischief is not None:
                touched = [event.user for event in events if not isinstance(event, TradeEvent)]
                self.mischief.remember(dict.fromkeys(touched))
