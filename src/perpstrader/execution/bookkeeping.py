"""Bookkeeping: what fills, funding and cash flows mean for the ledger, the episodes and the risk state; it runs after
protection, never before.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Final, Protocol

import msgspec

from perpstrader.domain import ZERO, CashFlow, Fill, FundingPayment, Order, Purpose
from perpstrader.execution.account import Books
from perpstrader.execution.desk import Desk
from perpstrader.execution.fills import net_usd
from perpstrader.execution.journal import Write
from perpstrader.execution.positions import FillEffect, Holding
from perpstrader.state import Episode, Transaction

_HOLDING: Final = "holding:"
_holdings = msgspec.json.Decoder(Holding)


class RiskEvents(Protocol):
    """What the risk keeper is told; each call changes memory at once and queues its own write."""

    def on_fill(self, net_usd: Decimal, fee_usd: Decimal, time_ms: int) -> None:
        """Realised profit of one fill, net of its fee."""
        ...

    def on_episode_end(self, symbol: str, net_usd: Decimal, time_ms: int) -> None:
        """A position is flat; its whole net profit."""
        ...

    def on_funding(self, usd: Decimal, time_ms: int) -> None:
        """A funding payment, negative when paid."""
        ...

    def on_cash_flow(self, usd: Decimal, time_ms: int) -> None:
        """Money that came (positive) or went."""
        ...

    def on_entry(self, symbol: str, now_ms: int) -> None:
        """An entry's first fill."""
        ...


class Accountant:
    """Books each effect once: ledger row, episode, holding and risk state, all from memory and queued in order."""

    def __init__(self, desk: Desk, books: Books, risk: RiskEvents) -> None:
        self._desk = desk
        self._books = books
        self._risk = risk
        self._funding_seen: dict[tuple[str, int], None] = {}
        self._flows_seen: dict[str, None] = {}
        self.floor_ms = 0
        self.newest_funding_ms = 0
        self.newest_flow_ms = 0
        self.fees_usd = ZERO
        self.funding_usd = ZERO
        self.net_pnl_usd = ZERO
        self.fills = 0

    def restore(self, funding: Iterable[FundingPayment], flows: Iterable[CashFlow], *, floor_ms: int) -> None:
        """Remember what is in the ledger; what is older than ``floor_ms`` belongs to a time before this store."""
        self.floor_ms = self.newest_funding_ms = self.newest_flow_ms = floor_ms
        for payment in funding:
            self._funding_seen[payment.symbol, payment.time_ms] = None
            self.newest_funding_ms = max(self.newest_funding_ms, payment.time_ms)
        for flow in flows:
            self._flows_seen[flow.key] = None
            self.newest_flow_ms = max(self.newest_flow_ms, flow.time_ms)

    def book_fill(self, effect: FillEffect, order: Order | None) -> None:
        """Ledger, books, episode and risk for one fill that memory has already applied."""
        fill = effect.fill
        realized = net_usd(effect)
        self.fills += 1
        self.fees_usd += fill.fee_usd
        self.net_pnl_usd += realized
        self._books.gross_usd += effect.realized_usd
        self._books.fees_usd += fill.fee_usd
        self._books.rows += 2
        self._risk.on_fill(realized, fill.fee_usd, fill.time_ms)
        if effect.opened and order is not None and order.intent.purpose is Purpose.ENTRY:
            self._risk.on_entry(fill.symbol, fill.time_ms)
        if effect.ended is not None:
            self._risk.on_episode_end(fill.symbol, effect.ended.net_usd, fill.time_ms)
        self._desk.journal.later(_write_fill(effect, fill, realized, order))
        self._desk.observer.on_fill(effect, order)

    def book_funding(self, payments: Iterable[FundingPayment]) -> int:
        """Book what is new; returns how many were."""
        new = 0
        for payment in payments:
            key = (payment.symbol, payment.time_ms)
            if key in self._funding_seen or payment.time_ms < self.floor_ms:
                continue
            self._funding_seen[key] = None
            self.newest_funding_ms = max(self.newest_funding_ms, payment.time_ms)
            holding = self._desk.positions.holdings.get(payment.symbol)
            self._desk.positions.add_funding(payment.symbol, payment.usd)
            self._books.funding_usd += payment.usd
            self._books.rows += 1
            self.funding_usd += payment.usd
            self.net_pnl_usd += payment.usd
            self._risk.on_funding(payment.usd, payment.time_ms)
            self._desk.journal.later(_write_funding(payment, _frozen(holding)))
            self._desk.observer.on_funding(payment)
            new += 1
        return new

    def book_flows(self, flows: Iterable[CashFlow]) -> int:
        """Book what is new, before any verdict on loss (S39); returns how many were."""
        new = 0
        for flow in flows:
            if flow.key in self._flows_seen or flow.time_ms < self.floor_ms:
                continue
            self._flows_seen[flow.key] = None
            self.newest_flow_ms = max(self.newest_flow_ms, flow.time_ms)
            self._books.cash_flows_usd += flow.usd
            self._books.rows += 1
            self._risk.on_cash_flow(flow.usd, flow.time_ms)
            self._desk.journal.later(_write_flow(flow))
            self._desk.say("cash-flow", "", f"{flow.kind} of {flow.usd:f} USD")
            new += 1
        return new

    def book_stop(self, holding: Holding) -> None:
        """The open episode's plan, best mark and stop moves are queued for the disk; an ended one has nothing to add.
        """
        if self._desk.positions.holdings.get(holding.symbol) is holding:
            live = _frozen(holding)
            self._desk.journal.later(lambda tx: _store_holding(tx, holding.symbol, live, ended=None, reason=""))

    def book_adopted(self, symbol: str, before: Holding | None, holding: Holding | None) -> None:
        """The book has followed the venue: an episode ended, or began, without fills of ours."""
        ended, live = _frozen(before), _frozen(holding)
        reason = "the venue's position differed"
        self._desk.journal.later(lambda tx: _store_holding(tx, symbol, live, ended=ended, reason=reason))


def restored_holdings(tx: Transaction, symbols: Iterable[str]) -> list[Holding]:
    """The open episodes as they were last booked."""
    found = (tx.meta.get_text(_HOLDING + symbol) for symbol in symbols)
    return [_holdings.decode(text) for text in found if text]


def _frozen(holding: Holding | None) -> Holding | None:
    """A copy, because the write runs later than the next fill."""
    return None if holding is None else msgspec.structs.replace(holding)


def _write_fill(effect: FillEffect, fill: Fill, realized: Decimal, order: Order | None) -> Write:
    ended, holding = _frozen(effect.ended), _frozen(effect.holding)
    live = holding if holding is not None and holding.size != 0 else None
    episode = ended.episode if ended is not None else effect.holding.episode
    reason = "closed elsewhere" if order is None else order.intent.reason or order.intent.purpose.value
    reason = fill.forced or reason

    def write(tx: Transaction) -> None:
        if not tx.ledger.add_fill(fill, realized, episode=episode):
            return
        _store_holding(tx, fill.symbol, live, ended=ended, reason=reason)

    return write


def _write_funding(payment: FundingPayment, holding: Holding | None) -> Write:
    def write(tx: Transaction) -> None:
        if (
            tx.ledger.add_funding(payment, episode=holding.episode if holding is not None else "")
            and holding is not None
        ):
            _store_holding(tx, payment.symbol, holding, ended=None, reason="")

    return write


def _write_flow(flow: CashFlow) -> Write:
    return lambda tx: tx.ledger.add_cash_flow(flow)


def _store_holding(tx: Transaction, symbol: str, live: Holding | None, *, ended: Holding | None, reason: str) -> None:
    if ended is not None and tx.episodes.get(ended.episode) is not None:
        tx.episodes.update(_episode(tx, ended))
        tx.episodes.end(ended.episode, ended.updated_ms, reason)
    if live is None:
        tx.meta.forget(_HOLDING + symbol)
        return
    tx.meta.put_text(_HOLDING + symbol, msgspec.json.encode(live).decode())
    if tx.episodes.get(live.episode) is not None:
        tx.episodes.update(_episode(tx, live))
        return
    before = tx.episodes.active_of(symbol)
    if before is not None:
        tx.episodes.end(before.id, live.opened_ms, "the venue's position differed")
    tx.episodes.open(_episode(tx, live))


def _episode(tx: Transaction, holding: Holding) -> Episode:
    known = tx.episodes.get(holding.episode)
    entry = holding.entry_price if holding.size != 0 else (known.entry_price if known is not None else None)
    return Episode(
        id=holding.episode,
        symbol=holding.symbol,
        side=known.side if known is not None else holding.side,
        owner=holding.owner,
        opened_ms=holding.opened_ms,
        entry_price=entry,
        exit_price=known.exit_price if known is not None else None,
        peak_size=holding.peak_size,
        peak_price=holding.stops.best_mark,
        stop_price=holding.plan.stop_price,
        target_price=holding.plan.target_price,
        realized_usd=holding.realized_usd - holding.fees_usd,
        fees_usd=holding.fees_usd,
        funding_usd=holding.funding_usd,
    )
