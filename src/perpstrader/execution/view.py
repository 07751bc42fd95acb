"""The portfolio as decisions see it, built from fills, the newest marks and the venue's account; its version grows with
each change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

import msgspec

from perpstrader.domain import ZERO, Portfolio, Position, Purpose, Reservation
from perpstrader.execution.account import AccountWatch
from perpstrader.execution.desk import Desk
from perpstrader.execution.positions import Holding
from perpstrader.execution.protection import Protector

LiquidationPrices = Callable[[Mapping[str, Position], Decimal], Mapping[str, Decimal | None]]


class PortfolioView:
    """Builds frozen portfolios. Equity is the ledger's cash basis plus open profit at mark: fills count at once, marks
    too.
    """

    def __init__(self, desk: Desk, account: AccountWatch, protector: Protector, liquidation: LiquidationPrices) -> None:
        self._desk = desk
        self._account = account
        self._protector = protector
        self._liquidation = liquidation
        self._version = 0
        self.leverage: dict[str, int] = {}
        self.frozen: dict[str, str] = {}
        self.address_budget_left: int | None = None
        self.reconciled = False
        self.in_touch = True
        self.foreign_open_orders = 0
        self.exits_in_progress: Callable[[str], bool] = lambda symbol: False
        self.reservations: Callable[[], tuple[Reservation, ...]] = tuple

    def equity_usd(self) -> Decimal:
        """Cash basis by our ledger plus open profit at the newest marks."""
        total = self._account.books.expected_usd
        for holding in self._desk.positions.holdings.values():
            total += self._mark(holding) * holding.size - holding.cost_usd
        return total

    def position(self, symbol: str) -> Position | None:
        """The open position of a symbol, without its liquidation price."""
        holding = self._desk.positions.holdings.get(symbol)
        return None if holding is None else self._position(holding)

    def build(self) -> Portfolio:
        """The account now."""
        self._version += 1
        positions = {h.symbol: self._position(h) for h in self._desk.positions.holdings.values()}
        equity = self.equity_usd()
        prices = self._liquidation(positions, equity)
        positions = {symbol: _with_liquidation(position, prices.get(symbol)) for symbol, position in positions.items()}
        symbols = list(self._desk.assets)
        state, account = self._account.state, self._account
        return Portfolio(
            version=self._version, as_of_ms=account.read_ms if state is not None else 0, equity_usd=equity,
            available_usd=state.available_usd if state is not None else ZERO,
            maintenance_margin_usd=state.maintenance_margin_usd if state is not None else ZERO,
            positions=positions, reservations=self.reservations(), leverage=dict(self.leverage),
            open_orders=len(self._desk.orders.live()) + self.foreign_open_orders,
            exits_in_flight=frozenset(s for s in symbols if self.exits_in_progress(s)),
            entries_in_flight=frozenset(o.intent.symbol for o in self._desk.orders.live(purpose=Purpose.ENTRY)),
            frozen_symbols=dict(self.frozen), address_budget_left=self.address_budget_left, reconciled=self.reconciled,
        )  # fmt: skip

    def _mark(self, holding: Holding) -> Decimal:
        """The newest mark; before the first one, the one that the venue's account was valued at: counting a position at
        its cost would begin a day with an equity that never was.
        """
        mark = self._desk.prices.mark(holding.symbol)
        if mark is not None:
            return mark
        stated = self._account.state.positions.get(holding.symbol) if self._account.state is not None else None
        if stated is not None and stated.size != 0:
            return stated.notional_usd / abs(stated.size)
        return holding.entry_price

    def _position(self, holding: Holding) -> Position:
        return Position(
            symbol=holding.symbol,
            side=holding.side,
            size=abs(holding.size),
            entry_price=holding.entry_price,
            mark_price=self._mark(holding),
            episode=holding.episode,
            owner=holding.owner,
            opened_ms=holding.opened_ms,
            leverage=self.leverage.get(holding.symbol, 0),
            fees_usd=holding.fees_usd,
            funding_usd=holding.funding_usd,
            realized_usd=holding.realized_usd,
            protection=self._protector.status(holding.symbol),
            stop=self._protector.stop_of(holding.symbol),
            target_price=holding.plan.target_price,
            unprotected_since_ms=holding.unprotected_since_ms,
        )


def _with_liquidation(position: Position, price: Decimal | None) -> Position:
    return msgspec.structs.replace(position, liquidation_price=price)
