"""What to do with a frame from the venue: one typed decoding, then the market, the bars or the handler; nothing raises
out of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

from perpstrader.domain import Candle, CashFlow, Fill, FundingPayment, PerpsTraderError
from perpstrader.runtime import Clock
from perpstrader.venue import convert
from perpstrader.venue.bars import BarAssembler, BarGap
from perpstrader.venue.contract import OrderRecord
from perpstrader.venue.market_data import MarketData
from perpstrader.venue.reads import StreamReads
from perpstrader.venue.skew import VenueClock
from perpstrader.venue.wire import WireError, ws

Note = Callable[[str, str], None]
"""Told of what an operator should know: a slug such as ``stream-undecodable``, and a sentence."""

_NOTE_PAUSE_NS: Final = 60 * 1_000_000_000
QUIET_MS: Final = 3_000
"""Best prices of a liquid coin come several times a second, and the context of each coin about once (API sheet 6)."""


class StreamHandler(Protocol):
    """Who lives on the streams; called from within the frame's own callback: each method is short and never waits."""

    def on_bar(self, candle: Candle) -> None:
        """A closed bar: each once, and in order per symbol."""
        ...

    def on_fills(self, fills: Sequence[Fill]) -> None:
        """Fills, repeated ones too: the receiver drops what it has by ``(symbol, tid)``."""
        ...

    def on_order_record(self, cloid: str, record: OrderRecord) -> None:
        """A change of an order that has a client order id."""
        ...

    def on_funding(self, payments: Sequence[FundingPayment]) -> None:
        """Funding payments, repeated ones too."""
        ...

    def on_cash_flows(self, flows: Sequence[CashFlow]) -> None:
        """Deposits, withdrawals and transfers, repeated ones too."""
        ...

    def on_market(self, symbol: str) -> None:
        """A new best price or context was taken; called for every such frame."""
        ...

    def on_connected(self, reconnected: bool) -> None:
        """Every stream was asked for; after a break, what it may have missed is to be read by REST."""
        ...

    def on_disconnected(self, reason: str) -> None:
        """The connection is gone; another is being tried."""
        ...


class Rhythm:
    """How often frames come on the connection of now, and so whether a silence is longer than its market explains.

    The longest pause of late is what is usual; with each frame a little of it is forgotten.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last_ns = 0
        self._usual_ns = 0

    def begin(self) -> None:
        """A connection begins: the silence before it is no pause of this one."""
        self._last_ns = self._clock.monotonic_ns()

    def beat(self) -> int:
        """A frame came; when, by the monotonic clock."""
        now_ns = self._clock.monotonic_ns()
        self._usual_ns = max(now_ns - self._last_ns, self._usual_ns * 31 // 32)
        self._last_ns = now_ns
        return now_ns

    @property
    def is_quiet(self) -> bool:
        """True for a silence of more than ``QUIET_MS`` that is three times what is usual."""
        silence_ns = self._clock.monotonic_ns() - self._last_ns
        return silence_ns > max(QUIET_MS * 1_000_000, 3 * self._usual_ns)


class FrameDesk:
    """Takes the frames of one account's connection, whichever it is at the time.

    A frame that is not understood, that is another account's, or whose handler failed is counted and noted, at most
    once a minute for each kind, and changes nothing else. ``ages`` tells how long each channel has been silent.
    """

    def __init__(
        self,
        clock: Clock,
        venue_clock: VenueClock,
        market: MarketData,
        handler: StreamHandler,
        *,
        account: str,
        interval: str,
        note: Note,
        on_gap: Callable[[BarGap], None],
        reads: StreamReads | None = None,
    ) -> None:
        self._clock = clock
        self._reads = reads
        self._venue_clock = venue_clock
        self._market = market
        self._handler = handler
        self._account = account.lower()
        self._interval = interval
        self._note = note
        self._noted_ns: dict[str, int] = {}
        self._heard_ns: dict[str, int] = {}
        self._coin_ns: dict[str, int] = {}
        self.rhythm = Rhythm(clock)
        self.bars = BarAssembler(venue_clock, handler.on_bar, on_gap)
        self.undecodable = 0
        self.failures = 0
        self._routes: dict[str, Callable[[ws.Frame], None]] = {
            ws.BBO.name: self._bbo,
            ws.ACTIVE_ASSET_CTX.name: self._context,
            ws.CANDLE.name: self._candle,
            ws.TRADES.name: self._trades,
            ws.ORDER_UPDATES.name: self._orders,
            ws.USER_FILLS.name: self._fills,
            ws.USER_FUNDINGS.name: self._fundings,
            ws.USER_LEDGER.name: self._ledger,
            ws.ERROR.name: self._error,
        }
        if reads is not None:
            self._routes |= {
                ws.ALL_MIDS.name: reads.take_mids,
                ws.L2_BOOK.name: reads.take_book,
                ws.CLEARINGHOUSE_STATE.name: reads.take_account,
                ws.OPEN_ORDERS.name: reads.take_orders,
            }

    def take(self, raw: bytes) -> ws.Frame | None:
        """Handle one frame; one of no data channel is given back, for the connection to look at."""
        try:
            frame = ws.decode_frame(raw)
            if frame is None:
                return None
            channel = frame.channel
            self._heard_ns[channel] = self.rhythm.beat()
            route = self._routes.get(channel)
            if route is None:
                return frame
            route(frame)
        except WireError as error:
            self.undecodable += 1
            self._note_seldom("stream-undecodable", f"{error} ({self.undecodable} such frames so far)")
        except Exception as error:  # the venue's reader must outlive a bug of whoever listens
            self.failures += 1
            self._note_seldom(
                "stream-handler-failed", f"{type(error).__name__}: {error} ({self.failures} so far); the frame is lost"
            )
        return None

    def flush_bars(self) -> None:
        """Emit the bars whose time has passed; a handler that fails is noted."""
        try:
            self.bars.flush_due(self._venue_clock.now_ms())
        except Exception as error:  # as in take
            self.failures += 1
            self._note_seldom(
                "stream-handler-failed", f"{type(error).__name__}: {error} ({self.failures} so far); a bar is lost"
            )

    def ages_ms(self) -> Mapping[str, int]:
        """Milliseconds since the last frame of each channel that was ever heard."""
        now = self._clock.monotonic_ns()
        return {channel: (now - heard) // 1_000_000 for channel, heard in self._heard_ns.items()}

    def market_silence_ms(self, since_ns: int) -> int:
        """How long no market channel has spoken, counted from ``since_ns`` at the earliest."""
        heard = max((self._heard_ns.get(c.name, 0) for c in (ws.ACTIVE_ASSET_CTX, ws.BBO, ws.CANDLE)), default=0)
        return (self._clock.monotonic_ns() - max(heard, since_ns)) // 1_000_000

    def silent_coins(self, coins: Iterable[str], since_ns: int, limit_ms: int) -> tuple[str, ...]:
        """Those of which nothing has come for longer than that, counted from ``since_ns`` at the earliest."""
        before_ns = self._clock.monotonic_ns() - limit_ms * 1_000_000
        return tuple(coin for coin in coins if max(self._coin_ns.get(coin, 0), since_ns) < before_ns)

    # --- the market ---

    def _bbo(self, frame: ws.Frame) -> None:
        data = ws.BBO.decode(frame)
        self._coin_ns[data.coin] = self._clock.monotonic_ns()
        self._market.take_bbo(data)
        if self._reads is not None:
            self._reads.take_bbo(data)
        self._handler.on_market(data.coin)

    def _context(self, frame: ws.Frame) -> None:
        data = ws.ACTIVE_ASSET_CTX.decode(frame)
        self._coin_ns[data.coin] = self._clock.monotonic_ns()
        self._market.take_context(data.coin, data.ctx, self._venue_clock.now_ms())
        self._handler.on_market(data.coin)

    def _candle(self, frame: ws.Frame) -> None:
        wire = ws.CANDLE.decode(frame)
        if wire.interval == self._interval:
            self.bars.take(wire)

    def _trades(self, frame: ws.Frame) -> None:
        self._market.take_trades(ws.TRADES.decode(frame))

    # --- the account ---

    def _happened(self) -> None:
        """Before anybody acts on it: what was read until now does not show it."""
        if self._reads is not None:
            self._reads.on_event()

    def _orders(self, frame: ws.Frame) -> None:
        self._happened()
        for update in ws.ORDER_UPDATES.decode(frame):
            record = convert.order_update(update)
            if record.order is not None and record.order.cloid is not None:
                self._handler.on_order_record(record.order.cloid, record)

    def _fills(self, frame: ws.Frame) -> None:
        data = ws.USER_FILLS.decode(frame)
        if self._is_ours(data.user) and data.fills:
            self._happened()
            self._handler.on_fills([convert.fill(wire, self._account) for wire in data.fills])

    def _fundings(self, frame: ws.Frame) -> None:
        data = ws.USER_FUNDINGS.decode(frame)
        if self._is_ours(data.user) and data.fundings:
            self._happened()
            self._handler.on_funding([convert.funding(event.time, event) for event in data.fundings])

    def _ledger(self, frame: ws.Frame) -> None:
        data = ws.USER_LEDGER.decode(frame)
        if not self._is_ours(data.user):
            return
        self._happened()
        flows = []
        for update in data.non_funding_ledger_updates:
            try:
                flow = convert.cash_flow(update, self._account)
            except PerpsTraderError as error:
                self._note("cash-flow-unknown", str(error))
                continue
            if flow is not None:
                flows.append(flow)
        if flows:
            self._handler.on_cash_flows(flows)

    def _error(self, frame: ws.Frame) -> None:
        self._note("stream-error", f"the venue's stream says: {ws.ERROR.decode(frame)}")

    def _is_ours(self, user: str) -> bool:
        if user.lower() == self._account:
            return True
        raise WireError(f"a frame of account {user} came on the stream of {self._account}; it is not booked")

    def _note_seldom(self, kind: str, text: str) -> None:
        now = self._clock.monotonic_ns()
        last = self._noted_ns.get(kind)
        if last is None or now - last >= _NOTE_PAUSE_NS:
            self._noted_ns[kind] = now
            self._note(kind, text)
