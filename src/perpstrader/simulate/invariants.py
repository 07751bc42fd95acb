"""The safety contract as the venue sees it: every order, fill and position of one account, judged as it happens.

The witness trusts nothing that the trader says of itself, with one exception: what an order was meant for (its intent)
is taken from the trader when it names the order, before the first byte goes out. Times an invariant was evaluated are
counted only where it could have been broken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Final

from perpstrader.domain import Halt, HaltKind, Order, Purpose
from perpstrader.domain.cloids import read_cloid
from perpstrader.paper.engine import (
    EngineAsset,
    EngineConfig,
    Event,
    Exchange,
    Fill,
    FillEvent,
    NewOrder,
    OrderView,
    PlaceResult,
    Reject,
    RejectCode,
    Rejected,
    Tpsl,
)
from perpstrader.paper.engine.orders import Builder, Grouping
from perpstrader.settings import Settings
from perpstrader.simulate.conduct import Conduct
from perpstrader.simulate.reach import Reach
from perpstrader.venue.wire import actions, exchange

MALFORMED: Final = frozenset(
    {
        RejectCode.TICK, RejectCode.INVALID_PRICE, RejectCode.INVALID_SIZE, RejectCode.ZERO_SIZE,
        RejectCode.MIN_TRADE_NTL, RejectCode.PRICE_BAND, RejectCode.ORACLE, RejectCode.VALUE_TOO_LARGE,
        RejectCode.UNKNOWN_ASSET, RejectCode.TRIGGER_COUNT, RejectCode.GROUPED_NOT_REDUCE_ONLY,
    }
)  # fmt: skip
"""Refusals of what should never have been sent; the others depend on the market or the account of the moment."""

_FALSE_ALARMS: Final = frozenset(
    {HaltKind.RECONCILIATION, HaltKind.CASH_FLOW, HaltKind.IMPLAUSIBLE, HaltKind.STATE, HaltKind.LIQUIDATION}
)


STRANGER: Final = "stranger"
"""The strategy that owns nothing and yet wants to close and reduce (S38)."""


class Witness:
    """Sees one account at the venue; ``failures`` are sentences, ``evaluated`` counts by invariant."""

    engine: Exchange
    """The exchange that the witness sits in."""

    def __init__(
        self, user: str, assets: Sequence[EngineAsset], now_ms: Callable[[], int], reach: Reach, settings: Settings
    ) -> None:
        self.user = user
        self.conduct = Conduct(self.judge, settings, assets, now_ms)
        self.failures: list[str] = []
        self.evaluated: dict[str, int] = {}
        self.orders = 0
        self.longest_unprotected_ms = 0
        self.halted_since_ms: int | None = None
        self.latched: dict[str, None] = {}
        """The breakers that an operator has opened, and nobody has closed since."""
        self.open_breakers: Callable[[], list[str]] = list
        """Those that stop entries and are not closed, by the trader's own word."""
        self._assets = {asset.coin: asset for asset in assets}
        self._now_ms = now_ms
        self._reach = reach
        self._deadline_ms = settings.execution.protection_deadline_ms
        self._intents: dict[str, Order] = {}
        self._bytes_of: dict[str, bytes] = {}
        self._filled: dict[str, Decimal] = {}
        self._version = -1
        self._uncovered_since: dict[str, int] = {}
        self._long_waits: list[tuple[str, int, int]] = []
        self._sizes: dict[str, int] = {}

    # --- judging ---

    def judge(self, invariant: str, is_kept: bool, seen: str) -> None:
        """Count one evaluation; note what was seen where it was broken, the same sentence once."""
        self.evaluated[invariant] = self.evaluated.get(invariant, 0) + 1
        if not is_kept:
            sentence = f"{invariant}: {seen}"
            if sentence not in self.failures:
                self.failures.append(sentence)

    # --- what the trader does ---

    def meant(self, order: Order) -> None:
        """The trader names an order, or says something new of it."""
        if order.cloid not in self._intents and order.intent.reason.startswith(STRANGER):
            self.judge("S38", False, f"{order.intent.purpose} {order.cloid} in {order.intent.symbol} is a stranger's")
        self._intents.setdefault(order.cloid, order)

    def sent(self, body: bytes) -> None:
        """A signed request leaves the trader."""
        request = exchange.decode_request(body)
        for wire in _orders_in(request):
            cloid = wire.cloid or ""
            meant = self._intents.get(cloid)
            if wire.reduce_only:
                if meant is not None and meant.intent.purpose is Purpose.EXIT:
                    self.conduct.exit_leaves(meant, request.expires_after or 0)
                continue
            if meant is not None:
                self.conduct.entry_leaves(meant, self.engine, self.user)
            before = self._bytes_of.setdefault(cloid, body)
            self.judge("S11", before == body, f"the entry {cloid} was sent again in another request")
            if self.latched:
                text = f"the entry {cloid} was sent although an operator has opened {', '.join(self.latched)}"
                self.judge("S43", False, text)
            if waits := [name for name in self.open_breakers() if name not in self.latched]:
                self.judge("S42", False, f"the entry {cloid} was sent while {', '.join(waits)} is not closed")
            if self.halted_since_ms is not None:
                text = f"the entry {cloid} was sent at {self._now_ms()}, halted since {self.halted_since_ms}"
                self.judge("S40", False, text)

    def settled_by_answer(self, body: bytes) -> None:
        """The trader knows for certain: the venue has answered this signed request, or not a byte of it went out."""
        self.conduct.arrived([wire.cloid or "" for wire in _orders_in(exchange.decode_request(body))])

    def refused_by_a_breaker(self) -> None:
        """Somebody wanted an entry while a breaker was not closed, and was refused."""
        if self.latched:
            self.judge("S43", True, "")
        if any(name not in self.latched for name in self.open_breakers()):
            self.judge("S42", True, "")

    def refused_while_halted(self) -> None:
        """Somebody wanted an entry during a halt, and was refused."""
        if self.halted_since_ms is not None:
            self.judge("S40", True, "")

    def halted(self, halts: Sequence[Halt]) -> None:
        """Halts in force: where nobody but the trader trades, none may say that the books do not agree."""
        for halt in halts:
            self.judge("S39", halt.kind not in _FALSE_ALARMS, f"halted by {halt.kind}: {halt.reason}")

    # --- what the venue does ---

    def placed(self, orders: Sequence[NewOrder | Reject], results: Sequence[PlaceResult], held: dict[str, int]) -> None:
        """The venue answered an order action; ``held`` are the positions before it."""
        self.conduct.arrived([order.cloid or "" for order in orders if isinstance(order, NewOrder)])
        has_entry = False
        for order, result in zip(orders, results, strict=False):
            self.orders += 1
            rejected = result.reject.code if isinstance(result, Rejected) else None
            what = order if isinstance(order, Reject) else _worded(order)
            self.judge("S13", rejected not in MALFORMED, f"the venue refused {what} as {rejected}")
            if isinstance(order, Reject):
                continue
            intent = self._intents.get(order.cloid or "")
            self.judge("S12", intent is not None, f"{_worded(order)} has no cloid of an intent that the trader keeps")
            if intent is not None and intent.intent.purpose is not Purpose.ENTRY and held.get(order.coin):
                text = f"{_worded(order)} is a {intent.intent.purpose} but not reduce-only, at {held[order.coin]} lots"
                self.judge("S02", order.reduce_only, text)
            if intent is not None and rejected is None:
                has_entry = has_entry or intent.intent.purpose is Purpose.ENTRY
                self.conduct.stop_placed(order, intent)
        if has_entry:
            self.conduct.within_limits(self.engine, self.user, self.engine.open_orders(self.user))

    def happened(self, events: Iterable[Event]) -> None:
        """Events of the engine, in their order."""
        for event in events:
            if isinstance(event, FillEvent) and event.user == self.user:
                self._fill(event.fill)

    def _fill(self, fill: Fill) -> None:
        if fill.liquidation is not None:
            return
        order = self._intents.get(fill.cloid or "")
        before = fill.start_position
        after = before + (fill.size if fill.is_buy else -fill.size)
        purpose = Purpose.EXIT if order is None else order.intent.purpose
        told = f"{fill.coin} fill {fill.tid} of {fill.cloid} took the position from {before} to {after} lots"
        if purpose is not Purpose.ENTRY:
            self.judge("S02", abs(after) <= abs(before) and before * after >= 0, f"{told}, and it was a {purpose}")
        elif before:
            self.judge("S02", before * (after - before) > 0, f"{told}: an entry traded against it")
        if order is None:
            return
        if purpose is Purpose.ENTRY:
            self.conduct.entry_filled(fill.coin, self.engine, self.user)
        size = Decimal(fill.size).scaleb(-self._assets[fill.coin].size_decimals)
        for key in _keys(order):
            total = self._filled[key] = self._filled.get(key, Decimal(0)) + size
            self.judge("S10", total <= order.intent.size, f"{key} filled {total} of {order.intent.size} {fill.coin}")

    def settled(self, engine: Exchange) -> None:
        """After each step of the engine: orders and protection as they stand now."""
        self.conduct.look(engine, self.user)
        version = engine.state_version(self.user)
        if version == self._version:
            return
        self._version = version
        listed = engine.open_orders(self.user)
        live: dict[str, int] = {}
        for order in listed:
            known = self._intents.get(order.cloid or "")
            for key in () if known is None else _keys(known):
                live[key] = live.get(key, 0) + 1
        for key, count in live.items():
            self.judge("S10", count == 1, f"{key} has {count} live orders")
        self._watch_protection({p.coin: p.size for p in engine.account_state(self.user).positions}, listed)

    def _watch_protection(self, positions: dict[str, int], listed: Sequence[OrderView]) -> None:
        now = self._now_ms()
        for coin, size in positions.items():
            stops = [order for order in listed if _covers(order, coin, size)]
            if len(stops) == 1 and (meant := self._intents.get(stops[0].cloid or "")) is not None:
                self.conduct.stop_stands(stops[0], meant.intent.episode)
            if not stops:
                self._uncovered_since.setdefault(coin, now)
            elif self._sizes.get(coin) != size or coin in self._uncovered_since:
                self._protected(coin, now)
        for coin in [coin for coin in self._uncovered_since if coin not in positions]:
            self._protected(coin, now)
        self._sizes = positions

    def _protected(self, coin: str, now: int) -> None:
        """Covered, or flat: how long was it neither, in time in which the venue could be reached?"""
        since = self._uncovered_since.pop(coin, now)
        if self._reach.reachable_ms(since, now) <= self._deadline_ms:
            self._judge_wait(coin, since, now)
        else:
            self._long_waits.append((coin, since, now))

    def _judge_wait(self, coin: str, since: int, until: int) -> None:
        waited = self._reach.reachable_ms(since, until)
        self.longest_unprotected_ms = max(self.longest_unprotected_ms, waited)
        text = f"no stop for {waited} ms of reachable time, from {since} to {until}; {self._deadline_ms} allowed"
        self.judge("S20", waited <= self._deadline_ms, f"{coin} had {text}")

    def end(self) -> None:
        """Judge what had to wait: a request that was on its way when a wait ended may turn out to have been lost."""
        now = self._now_ms()
        for coin in list(self._uncovered_since):
            self._protected(coin, now)
        for coin, since, until in self._long_waits:
            self._judge_wait(coin, since, until)
        self._long_waits.clear()


class WitnessedExchange(Exchange):
    """The engine, with the witness beside it."""

    def __init__(self, assets: Sequence[EngineAsset], config: EngineConfig, witness: Witness) -> None:
        super().__init__(assets, config)
        self._witness = witness
        witness.engine = self

    def place(
        self, user: str, orders: Sequence[NewOrder | Reject], grouping: Grouping, now_ms: int,
        builder: Builder | None = None,
    ) -> list[PlaceResult]:  # fmt: skip
        """See ``Exchange``."""
        held = {p.coin: p.size for p in self.account_state(user).positions}
        results = super().place(user, orders, grouping, now_ms, builder)
        if user == self._witness.user:
            self._witness.placed(orders, results, held)
        return results

    def drain_events(self) -> list[Event]:
        """See ``Exchange``; it is called after every step, so that the witness sees every state."""
        events = super().drain_events()
        self._witness.happened(events)
        self._witness.settled(self)
        return events


def _orders_in(request: exchange.SignedRequest) -> Sequence[actions.OrderWire]:
    return request.action.orders if isinstance(request.action, actions.Order) else ()


def _keys(order: Order) -> tuple[str, ...]:
    """What an order's size bounds: its intent; and for an entry its signal, which is acted on once."""
    parts = read_cloid(order.cloid)
    intent = f"intent {order.intent.number}" if parts is not None and parts.recorded else f"order {order.cloid}"
    if order.intent.purpose is Purpose.ENTRY:
        return (intent, f"signal {order.intent.signal_id} of {order.intent.strategy}")
    return (intent,)


def _covers(order: OrderView, coin: str, size: int) -> bool:
    return (
        order.coin == coin and order.reduce_only and not order.held and order.is_buy == (size < 0)
        and order.trigger is not None and order.trigger.tpsl is Tpsl.SL and order.size >= abs(size)
    )  # fmt: skip


def _worded(order: NewOrder) -> str:
    side = "buy" if order.is_buy else "sell"
    return f"{side} {order.size} lots {order.coin} at {order.limit_px} ({order.cloid})"
