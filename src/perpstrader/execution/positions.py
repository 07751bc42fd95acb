"""Positions from fills: what the venue's trades add up to, with our own cost and the episode that each belongs to.

A position is event-sourced, because the venue's snapshots lag its fills by seconds (API sheet section 8, item 5). Cost
is kept as the signed sum of price times size, so that the realised profits of an episode are exactly its cash in minus
its cash out (S35).
"""

from __future__ import annotations

from collections import OrderedDict
from decimal import Decimal
from typing import Final

import msgspec

from perpstrader.domain import ZERO, Fill, Side

_SEEN_CAP: Final = 20_000
FOREIGN: Final = "foreign"
"""The owner of a position that no order of ours opened."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How an episode is protected and left: a trigger against mark, the bound beyond it, an optional target."""

    stop_price: Decimal | None = None
    stop_limit_price: Decimal | None = None
    target_price: Decimal | None = None
    risk_usd: Decimal = ZERO


class StopHistory(msgspec.Struct, frozen=True, kw_only=True):
    """How an episode's stop came where it is; it begins and ends with its episode (RM-13).

    ``best_mark`` is the most favourable mark since the first fill, ``first_stop`` the trigger that the episode began
    with (``None`` while it never moved), ``moved_ms`` when moves of the newest hour were sent, ``why`` what the last
    confirmed one was for.
    """

    best_mark: Decimal | None = None
    first_stop: Decimal | None = None
    moved_ms: tuple[int, ...] = ()
    why: str = ""


class Holding(msgspec.Struct, kw_only=True):
    """One symbol's open episode. ``cost_usd`` has the sign of ``size``; ``unprotected_since_ms`` is venue time of the
    first uncovered fill.
    """

    symbol: str
    episode: str
    owner: str
    opened_ms: int
    size: Decimal = ZERO
    cost_usd: Decimal = ZERO
    realized_usd: Decimal = ZERO
    fees_usd: Decimal = ZERO
    funding_usd: Decimal = ZERO
    peak_size: Decimal = ZERO
    plan: Plan = msgspec.field(default_factory=Plan)
    stops: StopHistory = msgspec.field(default_factory=StopHistory)
    unprotected_since_ms: int | None = None
    updated_ms: int = 0

    @property
    def side(self) -> Side:
        """Long above zero, short below."""
        return Side.LONG if self.size > 0 else Side.SHORT

    @property
    def entry_price(self) -> Decimal:
        """Size-weighted cost of what is still held, in USD."""
        return self.cost_usd / self.size

    @property
    def net_usd(self) -> Decimal:
        """Realised so far, net of fees and funding."""
        return self.realized_usd - self.fees_usd + self.funding_usd

    @property
    def first_stop(self) -> Decimal | None:
        """The trigger that the episode began with."""
        return self.stops.first_stop if self.stops.first_stop is not None else self.plan.stop_price

    def see_mark(self, mark: Decimal) -> None:
        """Remember the mark if it is the most favourable one."""
        best = self.stops.best_mark
        if best is None or (mark - best) * self.side.sign > 0:
            self.stops = msgspec.structs.replace(self.stops, best_mark=mark)

    def follow_stop(self, price: Decimal, limit_price: Decimal) -> bool:
        """The plan follows a confirmed stop that is tighter, and no other (S22); True where it did."""
        planned = self.plan.stop_price
        if planned is not None and (price - planned) * self.side.sign <= 0:
            return False
        self.stops = msgspec.structs.replace(self.stops, first_stop=self.first_stop)
        self.plan = msgspec.structs.replace(self.plan, stop_price=price, stop_limit_price=limit_price)
        return True


class FillEffect(msgspec.Struct, frozen=True, kw_only=True):
    """What one fill did: ``realized_usd`` is gross by our own cost; a flip ends one episode and starts another."""

    fill: Fill
    realized_usd: Decimal
    holding: Holding
    opened: bool
    ended: Holding | None


class PositionBook:
    """Applies every fill once, in any order of arrival, and knows the position of every symbol."""

    def __init__(self) -> None:
        self.holdings: dict[str, Holding] = {}
        self.version = 0
        self._seen: OrderedDict[tuple[str, int], int] = OrderedDict()
        self._floor_ms = 0

    def restore(self, holdings: list[Holding], seen: list[tuple[str, int, int]]) -> None:
        """Start from what was on disk: open episodes and the newest ``(symbol, tid, time_ms)`` that were applied."""
        self.holdings = {h.symbol: h for h in holdings}
        for symbol, tid, time_ms in seen:
            self._remember((symbol, tid), time_ms)
        self.version += 1

    def start_at(self, floor_ms: int) -> None:
        """Ignore fills older than ``floor_ms``: they belong to a time before this store."""
        self._floor_ms = max(self._floor_ms, floor_ms)

    def is_new(self, fill: Fill) -> bool:
        """True for a fill that has not been applied and is not older than all that is remembered."""
        return fill.time_ms >= self._floor_ms and (fill.symbol, fill.tid) not in self._seen

    def size(self, symbol: str) -> Decimal:
        """Signed position, zero when flat."""
        holding = self.holdings.get(symbol)
        return holding.size if holding is not None else ZERO

    def apply(self, fill: Fill, *, episode: str, owner: str, plan: Plan | None = None) -> FillEffect:
        """Add one new fill; ``episode``, ``owner`` and ``plan`` are used where it opens a position. The caller has
        asked ``is_new``.
        """
        self._remember((fill.symbol, fill.tid), fill.time_ms)
        self.version += 1
        holding = self.holdings.get(fill.symbol)
        delta = fill.signed_size
        if holding is None:
            holding = self._open(fill, delta, episode, owner, plan)
            holding.fees_usd += fill.fee_usd
            return FillEffect(fill=fill, realized_usd=ZERO, holding=holding, opened=True, ended=None)
        holding.fees_usd += fill.fee_usd
        holding.updated_ms = fill.time_ms
        if (holding.size > 0) == (delta > 0):
            holding.size += delta
            holding.cost_usd += delta * fill.price
            holding.peak_size = max(holding.peak_size, abs(holding.size))
            return FillEffect(fill=fill, realized_usd=ZERO, holding=holding, opened=False, ended=None)
        return self._reduce(holding, fill, delta, episode, owner)

    def _open(self, fill: Fill, delta: Decimal, episode: str, owner: str, plan: Plan | None) -> Holding:
        holding = Holding(
            symbol=fill.symbol,
            episode=episode,
            owner=owner,
            opened_ms=fill.time_ms,
            size=delta,
            cost_usd=delta * fill.price,
            peak_size=abs(delta),
            plan=plan or Plan(),
            unprotected_since_ms=fill.time_ms,
            updated_ms=fill.time_ms,
        )
        self.holdings[fill.symbol] = holding
        return holding

    def _reduce(self, holding: Holding, fill: Fill, delta: Decimal, episode: str, owner: str) -> FillEffect:
        closing = min(abs(delta), abs(holding.size))
        sign = 1 if holding.size > 0 else -1
        cost = holding.cost_usd if closing == abs(holding.size) else holding.cost_usd * closing / abs(holding.size)
        realized = closing * fill.price * sign - cost
        holding.realized_usd += realized
        holding.size -= closing * sign
        holding.cost_usd -= cost
        if holding.size != 0:
            return FillEffect(fill=fill, realized_usd=realized, holding=holding, opened=False, ended=None)
        del self.holdings[fill.symbol]
        rest = delta + closing * sign
        if rest == 0:
            return FillEffect(fill=fill, realized_usd=realized, holding=holding, opened=False, ended=holding)
        flipped = self._open(fill, rest, episode, owner, None)
        return FillEffect(fill=fill, realized_usd=realized, holding=flipped, opened=True, ended=holding)

    def overrule(self, symbol: str, size: Decimal, entry_price: Decimal, *, owner: str, now_ms: int) -> None:
        """Take the venue's position for the truth where fills cannot explain it; the old episode ends, a new one
        begins. On the same side it keeps its owner and its plan, so that it stays protected as it was.
        """
        self.version += 1
        before = self.holdings.pop(symbol, None)
        plan = Plan()
        if before is not None and (before.size > 0) is (size > 0):
            owner, plan = before.owner, before.plan
        if size != 0:
            self.holdings[symbol] = Holding(
                symbol=symbol,
                episode=f"{symbol}-{owner}-{now_ms}",
                owner=owner,
                opened_ms=now_ms,
                size=size,
                cost_usd=size * entry_price,
                peak_size=abs(size),
                plan=plan,
                unprotected_since_ms=now_ms,
                updated_ms=now_ms,
            )

    def add_funding(self, symbol: str, usd: Decimal) -> None:
        """Book a funding payment to the open episode, if there is one."""
        holding = self.holdings.get(symbol)
        if holding is not None:
            holding.funding_usd += usd
            self.version += 1

    def _remember(self, key: tuple[str, int], time_ms: int) -> None:
        self._seen[key] = time_ms
        while len(self._seen) > _SEEN_CAP:
            _, oldest_ms = self._seen.popitem(last=False)
            self._floor_ms = max(self._floor_ms, oldest_ms + 1)
