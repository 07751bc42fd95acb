"""How the trader behaves between two answers of the venue: what it knew, what was still out, and what it held when an
order left it.

A second pair of eyes of the ``Witness``: the invariants whose breach shows in *when* something is sent, or how much of
it at once (S01, S03, S18, S22, S30, S32).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Final

import msgspec

from perpstrader.domain import Order
from perpstrader.paper.engine import EngineAsset, Exchange, NewOrder, OrderView, Tpsl
from perpstrader.paper.server.rate import MINUTE_MS, AddressBudget, ClientWeights
from perpstrader.settings import Settings
from perpstrader.venue.wire.limits import EXPIRY_SLACK_MS, IP_WEIGHT_PER_MINUTE

EXIT_PATIENCE_MS: Final = 2_000
"""A book is waited for a second, the disk a tenth of one: then an exit that was asked for has left (S01)."""

REPEAT_MS: Final = 2_000
"""A full close whose outcome is unknown goes out again after this long, and not before (S03)."""

_SENDING_MS: Final = 1_000
"""Between a verdict and its order lie the commit of its intent and the wait for its trace, no more."""

_RECENT_EXIT_MS: Final = 30_000
_MOVED: Final = Decimal("1.03")
"""Marks move between a verdict and the order's arrival, and with them the notional of what is held."""

_LEAST_DISTANCE: Final = 0.19
"""The approval's 20 %, less what the mark may move until the fill."""

_UNREAD: Final = (1 << 30, 0)
_NOTEWORTHY_WEIGHT: Final = IP_WEIGHT_PER_MINUTE // 4
_BUDGET_PER_POSITION: Final = 50
_MICRO: Final = Decimal(10) ** -6
_LIQUIDATION_UNIT: Final = Decimal(10) ** -10

Judge = Callable[[str, bool, str], None]


class SentExit(msgspec.Struct, frozen=True):
    """An exit that left the trader, and of which the venue has not shown that it arrived."""

    cloid: str
    sent_ms: int
    expires_ms: int
    full: bool
    life: int


class Conduct:
    """Follows one account's trader through all its lives; ``judge`` is told of each evaluation."""

    def __init__(
        self, judge: Judge, settings: Settings, assets: Sequence[EngineAsset], now_ms: Callable[[], int]
    ) -> None:
        self._judge = judge
        self._risk = settings.risk
        self._execution = settings.execution
        self._leverage = settings.venue.leverage
        self._assets = {asset.coin: asset for asset in assets}
        self._now_ms = now_ms
        self._life = 0
        self._read_ms: dict[str, int] = {}
        self._wanted_out: dict[str, int] = {}
        self._exits_out: dict[str, list[SentExit]] = {}
        self._last_exit_ms: dict[str, int] = {}
        self._tightest: dict[str, int] = {}
        self._requests_left = _UNREAD

    # --- what the trader learns ---

    def born(self) -> None:
        """Another life begins: it has read nothing."""
        self._life += 1
        self._read_ms.clear()
        self._requests_left = _UNREAD

    def died(self) -> None:
        """The trader is gone: nobody waits for its exits any more."""
        self._wanted_out.clear()

    def learned(self, what: str) -> None:
        """A usable answer or frame has reached the trader: ``account``, ``stream``, or ``book COIN``."""
        self._read_ms[what] = self._now_ms()

    def learned_budget(self, left: int) -> None:
        """The trader has read how many requests are left to its address."""
        self._requests_left = (left, self._now_ms())

    # --- S01: an exit that was asked for goes out ---

    def wants_out(self, symbols: Sequence[str]) -> None:
        """Somebody who may has asked for these positions to be closed."""
        for symbol in symbols:
            self._wanted_out.setdefault(symbol, self._now_ms())

    def look(self, engine: Exchange, user: str) -> None:
        """At each step of the venue: whose exit is overdue?"""
        if not self._wanted_out:
            return
        held = {view.coin for view in engine.account_state(user).positions}
        for symbol, asked_ms in list(self._wanted_out.items()):
            if symbol not in held:
                del self._wanted_out[symbol]
            elif self._now_ms() - asked_ms > EXIT_PATIENCE_MS:
                del self._wanted_out[symbol]
                text = f"a close of {symbol} was asked for at {asked_ms}, and {EXIT_PATIENCE_MS} ms later none was sent"
                self._judge("S01", False, text)

    # --- what leaves the trader ---

    def exit_leaves(self, order: Order, expires_ms: int) -> None:
        """One exit at a time; a full close alone may go again, after a while (S03)."""
        symbol, now = order.intent.symbol, self._now_ms()
        if self._wanted_out.pop(symbol, None) is not None:
            self._judge("S01", True, "")
        for earlier in self._unsettled(symbol):
            if earlier.life == self._life and earlier.cloid != order.cloid:
                waited = now - earlier.sent_ms
                kept = order.intent.full_close and waited >= REPEAT_MS
                text = f"exit {order.cloid} of {symbol} went out {waited} ms after {earlier.cloid}"
                self._judge("S03", kept, f"{text}, which is not settled")
        sent = SentExit(order.cloid, now, expires_ms, order.intent.full_close, self._life)
        self._exits_out.setdefault(symbol, []).append(sent)
        self._last_exit_ms[symbol] = now

    def entry_leaves(self, order: Order, engine: Exchange, user: str) -> None:
        """Nothing of an old episode is out (S03), and what the verdict needs was read shortly before (S30)."""
        symbol, now = order.intent.symbol, self._now_ms()
        if now - self._last_exit_ms.get(symbol, -_RECENT_EXIT_MS) < _RECENT_EXIT_MS:
            out = [sent.cloid for sent in self._unsettled(symbol)]
            self._judge("S03", not out, f"an entry in {symbol} went out while its exits {out} may still execute")
        self._judge_evidence(symbol, now)
        set_to = engine.asset_account(user, symbol).leverage
        self._judge("S30", set_to == self._leverage, f"an entry in {symbol} at {set_to}x, not {self._leverage}x")
        self._judge_budget(engine, user, symbol, now)

    def arrived(self, cloids: Sequence[str]) -> None:
        """The venue has these orders, has refused them, or never will have them: an exit never rests, so it is over."""
        for symbol, sent in self._exits_out.items():
            self._exits_out[symbol] = [one for one in sent if one.cloid not in cloids]

    def _unsettled(self, symbol: str) -> list[SentExit]:
        now = self._now_ms()
        left = [one for one in self._exits_out.get(symbol, []) if now <= one.expires_ms + EXPIRY_SLACK_MS]
        self._exits_out[symbol] = left
        return left

    def _judge_evidence(self, symbol: str, now: int) -> None:
        account_ms = now - self._read_ms.get("account", 0)
        allowed = self._risk.max_account_age_ms + _SENDING_MS
        self._judge("S30", account_ms <= allowed, f"an entry in {symbol} on an account read {account_ms} ms before")
        price_ms = now - max(self._read_ms.get(f"book {symbol}", 0), self._read_ms.get("stream", 0))
        allowed = self._risk.max_bbo_age_ms + _SENDING_MS
        self._judge("S30", price_ms <= allowed, f"an entry in {symbol} on a price that came {price_ms} ms before")

    def _judge_budget(self, engine: Exchange, user: str, symbol: str, now: int) -> None:
        """Entries leave the last requests to stops and exits, as soon as it was read how few there are (S18)."""
        left, read_ms = self._requests_left
        held = len(engine.account_state(user).positions)
        least = max(self._execution.min_address_budget, _BUDGET_PER_POSITION * held)
        if left < 2 * least and now - read_ms > _SENDING_MS:
            text = f"an entry in {symbol} at {now}, although {left} requests left were read at {read_ms}"
            self._judge("S18", left >= least, text)

    # --- what the venue has ---

    def stop_placed(self, order: NewOrder, meant: Order) -> None:
        """A stop's limit lies beyond its trigger, and none is wider than one that guarded its episode alone (S22)."""
        trigger = order.trigger
        if trigger is None or trigger.tpsl is not Tpsl.SL:
            return
        sign = -1 if order.is_buy else 1
        told = f"the {order.coin} stop {order.cloid} at {trigger.trigger_px}"
        beyond = (trigger.trigger_px - order.limit_px) * sign > 0
        self._judge("S22", beyond, f"{told} has its limit at {order.limit_px}, which is not beyond it")
        episode, price = meant.intent.episode, trigger.trigger_px * sign
        tightest = self._tightest.get(episode, price)
        self._judge("S22", price >= tightest, f"{told} is wider than {abs(tightest)}, where one of {episode} lay")

    def stop_stands(self, order: OrderView, episode: str) -> None:
        """The only stop over a position: one that was placed beside another and taken back again never stood alone."""
        if order.trigger is not None:
            price = order.trigger.trigger_px * (-1 if order.is_buy else 1)
            self._tightest[episode] = max(self._tightest.get(episode, price), price)

    def entry_filled(self, coin: str, engine: Exchange, user: str) -> None:
        """Right after an approval has become a position, liquidation is far away (S22)."""
        mark = engine.market(coin).mark
        for view in engine.account_state(user).positions:
            if view.coin != coin or view.liquidation_px is None or mark is None:
                continue
            price = Decimal(mark).scaleb(-self._assets[coin].price_decimals)
            distance = float(abs(price - view.liquidation_px * _LIQUIDATION_UNIT) / price)
            text = f"{coin} filled {distance:.4f} of its mark from liquidation"
            self._judge("S22", distance >= _LEAST_DISTANCE, text)

    def within_limits(self, engine: Exchange, user: str, listed: Sequence[OrderView]) -> None:
        """What is held and what may still fill, together, after an entry has arrived (S32)."""
        account = engine.account_state(user)
        equity = account.account_value * _MICRO
        held = {view.coin: view.position_value * _MICRO for view in account.positions}
        flying: dict[str, Decimal] = {}
        for order in listed:
            if not order.reduce_only:
                flying[order.coin] = flying.get(order.coin, Decimal(0)) + self._notional(order)
        coins = {*held, *flying}
        self._judge("S32", len(coins) <= self._risk.max_positions, f"{sorted(coins)} are held or may be")
        limits = [
            ("in flight", sum(flying.values(), Decimal(0)), self._risk.max_order_notional_fraction),
            ("in all", sum([*held.values(), *flying.values()], Decimal(0)), self._risk.max_gross_notional_ratio),
        ]
        limits += [
            (f"in {coin}", held.get(coin, Decimal(0)) + flying.get(coin, Decimal(0)), self._risk.max_position_fraction)
            for coin in sorted(coins)
        ]
        for what, usd, ratio in limits:
            text = f"{usd:.2f} USD {what}, of {equity:.2f} USD no more than {ratio} is allowed"
            self._judge("S32", usd <= ratio * equity * _MOVED, text)

    def _notional(self, order: OrderView) -> Decimal:
        asset = self._assets[order.coin]
        size = Decimal(order.size).scaleb(-asset.size_decimals)
        return size * Decimal(order.limit_px).scaleb(-asset.price_decimals)


class WitnessedWeights(ClientWeights):
    """Counts what all lives of a trader spend and refuses nothing: to keep a minute's weight is their part (S18)."""

    def __init__(self, judge: Judge) -> None:
        super().__init__()
        self._judge = judge

    def allows(self, client: str, weight: int, now_ms: int) -> bool:
        """Always; what has run out is forgotten."""
        super().allows(client, weight, now_ms)
        return True

    def spend(self, client: str, weight: int, now_ms: int) -> None:
        """See ``ClientWeights``."""
        super().spend(client, weight, now_ms)
        spent = self.spent(client)
        if spent > _NOTEWORTHY_WEIGHT:
            text = f"{spent} of weight within {MINUTE_MS} ms until {now_ms}, {IP_WEIGHT_PER_MINUTE} are allowed"
            self._judge("S18", spent <= IP_WEIGHT_PER_MINUTE, text)


class WitnessedBudget(AddressBudget):
    """The venue's count of an address's requests; that it need not refuse one is the trader's part (S18)."""

    def __init__(self, judge: Judge) -> None:
        super().__init__()
        self._judge = judge

    def charge(
        self, user: str, count: int, volume_micro_usd: int, now_ms: int, *, cancels: bool, bought: int = 0
    ) -> str | None:
        """See ``AddressBudget``."""
        refused = super().charge(user, count, volume_micro_usd, now_ms, cancels=cancels, bought=bought)
        if self.used.get(user, 0) > (self.cap(volume_micro_usd) + bought) // 2:
            self._judge("S18", refused is None, f"the address had no request left: {refused}")
        return refused
