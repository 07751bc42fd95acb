"""What the streams have told, as answers to reads, each with the instant since which it was true.

A frame with a time of its own is as old as that time says. On one connection frames come in the order of their sending:
what comes after a frame of a known time was sent no earlier. So a frame without a time is no older than the newest time
before it, and a stream that speaks only when something changes (``bbo``, ``openOrders``; API sheet 6.2) still says what
it said last as of the newest time on its connection. That is believed for ``trust_ms`` after the stream last spoke, or
was found right by a request; then a request looks again. A lost connection leaves nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

import msgspec

from perpstrader.domain import PerpsTraderError
from perpstrader.runtime import Clock
from perpstrader.venue import convert
from perpstrader.venue.reads.cache import Known
from perpstrader.venue.reads.kinds import Key, Kind
from perpstrader.venue.skew import VenueClock
from perpstrader.venue.wire import ws

TRUST_MS: Final = 30_000
_NS_PER_MS: Final = 1_000_000


class _BookStamp(msgspec.Struct):
    coin: str
    time: int


class _StateTime(msgspec.Struct):
    time: int


class _AccountStamp(msgspec.Struct, rename="camel"):
    user: str
    clearinghouse_state: _StateTime


class _OrdersStamp(msgspec.Struct):
    user: str


_BOOK: Final = msgspec.json.Decoder(_BookStamp)
_ACCOUNT: Final = msgspec.json.Decoder(_AccountStamp)
_ORDERS: Final = msgspec.json.Decoder(_OrdersStamp)


class _Told:
    """The newest frame about one key; it is decoded when somebody asks."""

    __slots__ = ("_make", "_value", "as_of_ns", "on_change", "sequence", "trusted_ns")

    def __init__(self, make: Callable[[], Any], as_of_ns: int, trusted_ns: int, sequence: int, on_change: bool) -> None:
        self._make: Callable[[], Any] | None = make
        self._value: Any = None
        self.as_of_ns = as_of_ns
        self.trusted_ns = trusted_ns
        self.sequence = sequence
        self.on_change = on_change

    @property
    def value(self) -> Any:
        """The answer in the frame, ``None`` for one that is not understood: then a request finds out."""
        if self._make is not None:
            make, self._make = self._make, None
            with contextlib.suppress(PerpsTraderError, ValueError, ArithmeticError):
                self._value = make()
        return self._value


class StreamReads:
    """Takes frames and answers ``venue.reads.cache.Streamed``; nothing before the venue's clock has been measured."""

    def __init__(self, clock: Clock, venue_clock: VenueClock, account: str, *, trust_ms: int = TRUST_MS) -> None:
        self._clock = clock
        self._venue_clock = venue_clock
        self._account = account.lower()
        self._trust_ns = trust_ms * _NS_PER_MS
        self._told: dict[Key, _Told] = {}
        self._touches: dict[str, _Told] = {}
        self._outdated = dict.fromkeys(Kind, 0)
        self._acted_ns: dict[Kind, int] = {}
        self._sequence = 0
        self._floor_ns: int | None = None
        self.on_event: Callable[[], None] = lambda: None
        """Told of every fill, change of an order, payment and transfer."""

    def reset(self) -> None:
        """The connection is another: what the last one told is over."""
        self._told.clear()
        self._touches.clear()
        self._floor_ns = None

    # --- frames ---

    def take_mids(self, frame: ws.Frame) -> None:
        """All mids; they have no time."""
        self._keep((Kind.MIDS, ""), lambda: _mids(frame), self._floor_ns, on_change=False)

    def take_book(self, frame: ws.Frame) -> None:
        """A book at its time."""
        stamp = _BOOK.decode(frame.data)
        as_of_ns = self._stamped(stamp.time)
        self._keep((Kind.BOOK, stamp.coin), lambda: convert.book(ws.L2_BOOK.decode(frame)), as_of_ns, on_change=False)

    def take_account(self, frame: ws.Frame) -> None:
        """The whole account at its time; another's is dropped."""
        stamp = _ACCOUNT.decode(frame.data)
        if stamp.user.lower() == self._account:
            as_of_ns = self._stamped(stamp.clearinghouse_state.time)
            self._keep((Kind.ACCOUNT, ""), lambda: _account(frame), as_of_ns, on_change=False)

    def take_orders(self, frame: ws.Frame) -> None:
        """All open orders after a change; another's are dropped."""
        if _ORDERS.decode(frame.data).user.lower() == self._account:
            self._keep((Kind.ORDERS, ""), lambda: _orders(frame), self._floor_ns, on_change=True)

    def take_bbo(self, bbo: ws.Bbo) -> None:
        """The best prices of a coin; with one side empty the venue's mid is another price, which they do not tell."""
        as_of_ns = self._stamped(bbo.time)
        bid, ask = bbo.bbo
        self._sequence += 1
        if as_of_ns is None or bid is None or ask is None:
            self._touches.pop(bbo.coin, None)
            return
        now_ns = self._clock.monotonic_ns()
        prices = (bid.px, ask.px)
        self._touches[bbo.coin] = _Told(lambda: _middle(*prices), as_of_ns, now_ns, self._sequence, True)

    # --- answers ---

    def find(self, key: Key) -> Known | None:
        """See ``Streamed``."""
        return self._known(self._told.get(key), key[0])

    def mids(self, symbols: Collection[str], oldest_ns: int) -> Mapping[str, Decimal] | None:
        """The mids of these coins by their best prices, ``None`` where one of them is not known so well."""
        found = {}
        for symbol in symbols:
            known = self._known(self._touches.get(symbol), Kind.MIDS)
            if known is None or known.as_of_ns < oldest_ns:
                return None
            found[symbol] = known.value
        return MappingProxyType(found)

    def confirm(self, key: Key, value: Any, began_ns: int) -> None:
        """See ``Streamed``: a stream that said the same is right as of that request; one that did not is left out until
        it speaks again or is found right.
        """
        if key[0] is Kind.ORDERS:
            self._compare(self._told.get(key), value, began_ns)
        elif key[0] is Kind.MIDS:
            for symbol, told in self._touches.items():
                self._compare(told, value.get(symbol), began_ns)

    def outdate(self, kinds: Iterable[Kind], *, by_action: bool) -> None:
        """See ``Streamed``. An event came by the same connection, and what comes after it there shows it; the answer to
        an action may overtake frames from before it, so those are known by their time.
        """
        self._sequence += 1
        for kind in kinds:
            self._outdated[kind] = self._sequence
            if by_action:
                self._acted_ns[kind] = self._clock.monotonic_ns()

    # --- inside ---

    def _keep(self, key: Key, make: Callable[[], Any], as_of_ns: int | None, *, on_change: bool) -> None:
        self._sequence += 1
        if as_of_ns is None:
            self._told.pop(key, None)
            return
        self._told[key] = _Told(make, as_of_ns, self._clock.monotonic_ns(), self._sequence, on_change)

    def _stamped(self, venue_ms: int) -> int | None:
        """When, by our clock and rather too early, the venue's showed this; the connection's floor rises to it."""
        venue = self._venue_clock
        if not venue.measured_ms:
            return None
        now_ns, unsure_ms = self._clock.monotonic_ns(), venue.round_trip_ms // 2 + 1
        as_of_ns = now_ns - max(0, venue.now_ms() - venue_ms + unsure_ms) * _NS_PER_MS
        if self._floor_ns is None or as_of_ns > self._floor_ns:
            self._floor_ns = as_of_ns
        return as_of_ns

    def _known(self, told: _Told | None, kind: Kind) -> Known | None:
        if told is None or told.sequence < self._outdated[kind]:
            return None
        as_of_ns = told.as_of_ns
        is_trusted = told.on_change and self._clock.monotonic_ns() - told.trusted_ns <= self._trust_ns
        if is_trusted and self._floor_ns is not None:
            as_of_ns = max(as_of_ns, self._floor_ns)
        if as_of_ns < self._acted_ns.get(kind, as_of_ns):
            return None
        value = told.value
        return None if value is None else Known(value, as_of_ns)

    def _compare(self, told: _Told | None, value: Any, began_ns: int) -> None:
        if told is None:
            return
        if told.value == value:
            self._sequence += 1
            told.sequence = self._sequence
            told.trusted_ns = self._clock.monotonic_ns()
            told.as_of_ns = max(told.as_of_ns, began_ns)
        elif told.as_of_ns < began_ns:
            told.trusted_ns = began_ns - self._trust_ns - 1


def _mids(frame: ws.Frame) -> Mapping[str, Decimal]:
    return MappingProxyType(convert.mids(ws.ALL_MIDS.decode(frame).mids))


def _account(frame: ws.Frame) -> Any:
    return convert.account_state(ws.CLEARINGHOUSE_STATE.decode(frame).clearinghouse_state)


def _orders(frame: ws.Frame) -> Any:
    return tuple(convert.open_orders(ws.OPEN_ORDERS.decode(frame).orders))


def _middle(bid: str, ask: str) -> Decimal:
    return (Decimal(bid) + Decimal(ask)) / 2
