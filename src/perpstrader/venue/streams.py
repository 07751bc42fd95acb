"""The venue's WebSocket kept up: subscribed, pinged, watched, connected again after every loss (API sheet 6.1, 8)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from perpstrader.domain import INTERVAL_MS
from perpstrader.domain.errors import UsageError
from perpstrader.runtime import Clock, Socket, Transport, TransportError
from perpstrader.venue.bars import BarGap
from perpstrader.venue.frames import FrameDesk, Note, StreamHandler
from perpstrader.venue.market_data import MarketData
from perpstrader.venue.messages import MessageBudget
from perpstrader.venue.reads import StreamReads
from perpstrader.venue.skew import VenueClock
from perpstrader.venue.wire import WireError, ws
from perpstrader.venue.wire.limits import WS_SUBSCRIPTIONS

PING_INTERVAL_S: Final = 20.0
PONG_TIMEOUT_S: Final = 10.0
RECONNECT_BASE_S: Final = 0.5
RECONNECT_CAP_S: Final = 30.0
SILENCE_MS: Final = 60_000
"""Market channels that say nothing for this long, or for three bars, while the venue answers pings, are taken for
stuck: all of them end the connection, those of one coin are asked for again.
"""

__all__ = ["StreamHandler", "StreamStatus", "Streams"]

_PING: Final = ws.encode(ws.Ping())
_USER_STREAMS: Final = ("userFills", "orderUpdates", "userFundings", "userNonFundingLedgerUpdates")


class StreamStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How the streams stand; ages in milliseconds since the last frame of each channel, ``since_ms`` UTC of the last
    change. ``stuck`` are coins of which nothing comes while others speak.
    """

    connected: bool
    since_ms: int
    reconnects: int
    last_reason: str
    ages_ms: Mapping[str, int]
    unacknowledged: tuple[str, ...]
    undecodable: int
    handler_failures: int
    late_bars: int
    bar_gaps: int
    stuck: tuple[str, ...] = ()


class _Connection:
    """One WebSocket and what is known of it; once lost it delivers nothing more."""

    __slots__ = ("complained", "lost", "outstanding", "pong_seen", "reason", "since_ns", "socket")

    def __init__(self, since_ns: int) -> None:
        self.socket: Socket | None = None
        self.since_ns = since_ns
        self.lost = asyncio.Event()
        self.reason = ""
        self.pong_seen = False
        self.complained = False
        self.outstanding: list[ws.Subscription] = []

    def lose(self, reason: str) -> None:
        """The first reason stays."""
        if not self.lost.is_set():
            self.reason = reason
            self.lost.set()


class Streams:
    """One connection for one account and its symbols; every frame is handled within its own callback, there is no
    queue.

    ``run`` is a body for ``runtime.Supervisor``. ``trades`` asks for public trades as well. ``ping_interval_s`` is 20 s
    on a network (the venue closes a connection on which it sent nothing for 60 s); in virtual time a longer one saves
    wake-ups. With ``reads`` the streams that answer reads are followed too. ``on_gap`` is told of missing bars,
    ``note`` of all that an operator should know. A connection waits until the minute's ``messages`` have room for what
    it subscribes to. Raises ``UsageError`` for more symbols than the venue lets one address subscribe to (S18).
    """

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        venue_clock: VenueClock,
        market: MarketData,
        handler: StreamHandler,
        *,
        account: str,
        symbols: Sequence[str],
        interval: str,
        rng: random.Random,
        note: Note,
        trades: bool = False,
        on_gap: Callable[[BarGap], None] | None = None,
        ping_interval_s: float = PING_INTERVAL_S,
        reads: StreamReads | None = None,
        messages: MessageBudget | None = None,
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._venue_clock = venue_clock
        self._handler = handler
        self._rng = rng
        self._note = note
        self._on_gap = on_gap
        self._ping_interval_s = ping_interval_s
        self._silence_ms = max(SILENCE_MS, 3 * INTERVAL_MS.get(interval, 0), int(3_000 * ping_interval_s))
        self._reads = reads
        self._subscriptions = _subscriptions(account.lower(), symbols, interval, trades=trades)
        if reads is not None:
            self._subscriptions += _answering(account.lower(), symbols)
        _check_number(len(self._subscriptions), len(symbols), has_reads=reads is not None)
        self._messages = messages or MessageBudget(clock)
        self._desk = FrameDesk(
            clock, venue_clock, market, handler, account=account, interval=interval, note=note, on_gap=self._gap,
            reads=reads,
        )  # fmt: skip
        self._symbols = tuple(symbols)
        self._stuck: dict[str, int] = {}
        self._bar_kept = asyncio.Event()
        self._current: _Connection | None = None
        self._since_ms = clock.now_ms()
        self._last_reason = ""
        self._connections = 0

    @property
    def status(self) -> StreamStatus:
        """A snapshot for the console."""
        current, desk = self._current, self._desk
        waiting = tuple(_name(s) for s in current.outstanding) if current is not None else ()
        return StreamStatus(
            connected=current is not None,
            since_ms=self._since_ms,
            reconnects=max(0, self._connections - 1),
            last_reason=self._last_reason,
            ages_ms=desk.ages_ms(),
            unacknowledged=waiting,
            undecodable=desk.undecodable,
            handler_failures=desk.failures,
            late_bars=desk.bars.late,
            bar_gaps=desk.bars.gaps,
            stuck=tuple(self._stuck),
        )

    def staleness_ms(self) -> Mapping[str, int]:
        """Milliseconds since the last frame, by channel; a channel that was never heard is absent."""
        return self._desk.ages_ms()

    @property
    def is_quiet(self) -> bool:
        """True for a connection that says nothing for longer than its market explains: it may be dead, and the ping
        that shows it is due only later.
        """
        return self._current is not None and self._desk.rhythm.is_quiet

    async def run(self, beat: Callable[[], None]) -> None:
        """Stay connected for ever; ends only by cancellation, and then the socket is closed."""
        attempt = 0
        while True:
            await self._until_room(beat)
            connection = _Connection(self._clock.monotonic_ns())
            try:
                await self._connect(connection)
                await self._live(connection, beat)
            except TransportError as error:
                connection.lose(str(error))
            finally:
                await self._leave(connection)
            lived_s = (self._clock.monotonic_ns() - connection.since_ns) / 1e9
            attempt = 0 if lived_s >= RECONNECT_CAP_S else attempt
            beat()
            await self._clock.sleep(self._rng.uniform(0.0, min(RECONNECT_CAP_S, RECONNECT_BASE_S * 2.0**attempt)))
            attempt = min(attempt + 1, 16)

    async def _until_room(self, beat: Callable[[], None]) -> None:
        """A connection that breaks again and again may use up the messages that its subscriptions take (S18)."""
        beat()
        wait_s = self._messages.wait_s(len(self._subscriptions))
        if wait_s > 0:
            self._note("stream-waits", f"{wait_s:.0f} s until the venue takes as many WebSocket messages again")
        while wait_s > 0:
            await self._clock.sleep(min(wait_s, PONG_TIMEOUT_S))
            beat()
            wait_s = self._messages.wait_s(len(self._subscriptions))

    # --- one connection ---

    async def _connect(self, connection: _Connection) -> None:
        def on_frame(raw: bytes) -> None:
            self._take(connection, raw)

        connection.socket = await self._transport.open_socket(on_frame, connection.lose)
        connection.since_ns = self._clock.monotonic_ns()
        self._desk.rhythm.begin()
        connection.outstanding = list(self._subscriptions)
        self._messages.note(len(self._subscriptions))
        for subscription in self._subscriptions:
            connection.socket.send(ws.encode(ws.Subscribe(subscription)))
        self._connections += 1
        self._current, self._since_ms = connection, self._clock.now_ms()
        self._handler.on_connected(self._connections > 1)

    async def _live(self, connection: _Connection, beat: Callable[[], None]) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._keep_alive(connection, beat), name="stream-ping"),
                group.create_task(self._flush_bars(), name="stream-bars"),
            ]
            await connection.lost.wait()
            for task in tasks:
                task.cancel()

    async def _leave(self, connection: _Connection) -> None:
        connection.lose("stopped")
        was_up = self._current is connection
        self._current = None
        if self._reads is not None:
            self._reads.reset()
        self._desk.bars.drop_pending()
        try:
            if was_up or connection.reason != self._last_reason:
                self._since_ms, self._last_reason = self._clock.now_ms(), connection.reason
                self._handler.on_disconnected(connection.reason)
        finally:
            if connection.socket is not None:
                await connection.socket.close()

    async def _keep_alive(self, connection: _Connection, beat: Callable[[], None]) -> None:
        assert connection.socket is not None
        while True:
            beat()
            connection.pong_seen = False
            try:
                connection.socket.send(_PING)
            except TransportError as error:
                connection.lose(str(error))
                return
            waited_s = 0.0
            if not connection.pong_seen:
                waited_s = PONG_TIMEOUT_S
                await self._clock.sleep(waited_s)
            if not connection.pong_seen:
                connection.lose(f"no pong within {PONG_TIMEOUT_S:g} s")
                return
            beat()
            if not self._is_well(connection):
                return
            await self._clock.sleep(self._ping_interval_s - waited_s)

    def _is_well(self, connection: _Connection) -> bool:
        if self._desk.market_silence_ms(connection.since_ns) > self._silence_ms:
            connection.lose(f"the venue answers pings but has sent no market data for {self._silence_ms // 1000} s")
            return False
        try:
            self._wake_stuck(connection)
        except TransportError as error:
            connection.lose(str(error))
            return False
        age_s = (self._clock.monotonic_ns() - connection.since_ns) / 1e9
        if connection.outstanding and age_s >= PONG_TIMEOUT_S and not connection.complained:
            connection.complained = True
            names = ", ".join(_name(s) for s in connection.outstanding)
            self._note("stream-unacknowledged", f"the venue has not acknowledged: {names}")
        return True

    def _wake_stuck(self, connection: _Connection) -> None:
        """Ask again for the streams of coins that are silent while others speak, once in that time each (API sheet 8,
        pitfall 8).
        """
        assert connection.socket is not None
        now_ns, silent = self._clock.monotonic_ns(), {}
        for coin in self._desk.silent_coins(self._symbols, connection.since_ns, self._silence_ms):
            asked_ns = self._stuck.get(coin)
            silent[coin] = asked_ns if asked_ns is not None else now_ns
            if asked_ns is not None and now_ns - asked_ns < self._silence_ms * 1_000_000:
                continue
            of_coin = [subscription for subscription in self._subscriptions if subscription.coin == coin]
            if self._messages.left < 2 * len(of_coin):
                continue
            self._messages.note(2 * len(of_coin))
            silent[coin] = now_ns
            self._note("stream-stuck", f"nothing of {coin} for {self._silence_ms // 1000} s while others speak")
            for subscription in of_coin:
                connection.socket.send(ws.encode(ws.Unsubscribe(subscription)))
                connection.socket.send(ws.encode(ws.Subscribe(subscription)))
        self._stuck = silent

    async def _flush_bars(self) -> None:
        while True:
            due_ms = self._desk.bars.next_due_ms()
            if due_ms is None:
                self._bar_kept.clear()
                await self._bar_kept.wait()
                continue
            left_ms = due_ms - self._venue_clock.now_ms()
            if left_ms > 0:
                await self._clock.sleep(left_ms / 1000)
            self._desk.flush_bars()

    # --- frames ---

    def _take(self, connection: _Connection, raw: bytes) -> None:
        if connection.lost.is_set():
            return
        frame = self._desk.take(raw)
        if frame is None:
            if self._desk.bars.keeps_any and not self._bar_kept.is_set():
                self._bar_kept.set()
        elif frame.channel == "pong":
            connection.pong_seen = True
        elif frame.channel == ws.SUBSCRIPTION_RESPONSE.name:
            self._acknowledge(connection, frame)

    def _acknowledge(self, connection: _Connection, frame: ws.Frame) -> None:
        try:
            echo = ws.SUBSCRIPTION_RESPONSE.decode(frame).subscription
        except WireError as error:
            self._note("stream-undecodable", str(error))
            return
        connection.outstanding = [asked for asked in connection.outstanding if not _answers(echo, asked)]

    def _gap(self, gap: BarGap) -> None:
        self._note("bar-gap", f"{gap.symbol}: no {gap.interval} bars came for {gap.start_ms} to {gap.end_ms} ms")
        if self._on_gap is not None:
            self._on_gap(gap)


def _subscriptions(account: str, symbols: Sequence[str], interval: str, *, trades: bool) -> tuple[ws.Subscription, ...]:
    asked = [ws.Subscription(kind, user=account) for kind in _USER_STREAMS]
    for symbol in symbols:
        asked.append(ws.Subscription("bbo", coin=symbol))
        asked.append(ws.Subscription("activeAssetCtx", coin=symbol))
        asked.append(ws.Subscription("candle", coin=symbol, interval=interval))
        if trades:
            asked.append(ws.Subscription("trades", coin=symbol))
    return tuple(asked)


def _answering(account: str, symbols: Sequence[str]) -> tuple[ws.Subscription, ...]:
    """Streams of what is also read: mids, books, the account, its open orders."""
    mine = [ws.Subscription(kind, user=account) for kind in ("clearinghouseState", "openOrders")]
    books = [ws.Subscription("l2Book", coin=symbol) for symbol in symbols]
    return (ws.Subscription("allMids"), *mine, *books)


def _check_number(asked: int, symbols: int, *, has_reads: bool) -> None:
    if asked <= WS_SUBSCRIPTIONS:
        return
    hint = "fewer symbols, or client.streamed_reads = false" if has_reads else "fewer symbols"
    raise UsageError(
        f"trader.symbols names {symbols} symbols, which takes {asked} subscriptions at the venue; it grants"
        f" {WS_SUBSCRIPTIONS:,}: {hint}"
    )


def _answers(echo: ws.Subscription, asked: ws.Subscription) -> bool:
    """The venue adds fields to its echo and lower-cases addresses; what we asked for must all be in it."""
    normal = echo.key()
    return all(
        value is None or getattr(normal, field) == value for field, value in msgspec.structs.asdict(asked.key()).items()
    )


def _name(subscription: ws.Subscription) -> str:
    narrowed = subscription.coin or ""
    return f"{subscription.type} {narrowed}".strip()
