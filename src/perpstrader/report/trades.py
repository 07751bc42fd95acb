"""From fills to trades: a trade is one position from flat to flat, with its own cost basis, fees and funding."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

import msgspec

from perpstrader.domain import Fill, FundingPayment, Side
from perpstrader.domain.money import ZERO


class TradeRow(msgspec.Struct, frozen=True, kw_only=True):
    """One position from flat to flat; ``closed_ms`` and ``exit_price`` are ``None`` while it is open.

    ``size`` is the greatest size it had, in base units; prices are size-weighted means in USD. ``net_usd = gross_usd
    - fees_usd + funding_usd``, where ``gross_usd`` of an open trade is what has been realised. ``return_fraction`` is
    net over the entered notional.
    """

    symbol: str
    side: Side
    strategy: str
    opened_ms: int
    closed_ms: int | None
    size: Decimal
    entry_price: Decimal
    exit_price: Decimal | None
    gross_usd: Decimal
    fees_usd: Decimal
    funding_usd: Decimal
    net_usd: Decimal
    return_fraction: float
    exit: str
    fills: int


class _Open:
    """A trade while its fills are being added up."""

    def __init__(self, fill: Fill, side: Side, strategy: str) -> None:
        self.side = side
        self.symbol = fill.symbol
        self.strategy = strategy
        self.opened_ms = fill.time_ms
        self.held = self.largest = ZERO
        self.entered = self.entered_usd = ZERO
        self.left = self.left_usd = ZERO
        self.fees = self.funding = ZERO
        self.fills = 0

    def add(self, fill: Fill, size: Decimal, fee: Decimal) -> None:
        """Apply ``size`` of ``fill``, with its part of the fee."""
        self.fills += 1
        self.fees += fee
        if fill.buy == self.side.opens_with_buy:
            self.held += size
            self.entered += size
            self.entered_usd += size * fill.price
            self.largest = max(self.largest, self.held)
        else:
            self.held -= size
            self.left += size
            self.left_usd += size * fill.price

    def row(self, closed_ms: int | None, exit_reason: str) -> TradeRow:
        """The trade as it stands."""
        basis = self.entered_usd if self.held == 0 else self.left * self.entered_usd / self.entered
        gross = (self.left_usd - basis) * self.side.sign
        net = gross - self.fees + self.funding
        return TradeRow(
            symbol=self.symbol,
            side=self.side,
            strategy=self.strategy,
            opened_ms=self.opened_ms,
            closed_ms=closed_ms,
            size=self.largest,
            entry_price=self.entered_usd / self.entered,
            exit_price=self.left_usd / self.left if closed_ms is not None else None,
            gross_usd=gross,
            fees_usd=self.fees,
            funding_usd=self.funding,
            net_usd=net,
            return_fraction=float(net / self.entered_usd),
            exit=exit_reason,
            fills=self.fills,
        )


def trades_of(
    fills: Iterable[Fill],
    funding: Iterable[FundingPayment] = (),
    *,
    strategy_of: Callable[[Fill], str] = lambda _: "",
    exit_of: Callable[[Fill], str] = lambda _: "",
) -> tuple[TradeRow, ...]:
    """The trades that ``fills`` make up, in the order in which they were opened; all start flat.

    ``strategy_of`` is asked with the fill that opens a trade, ``exit_of`` (such as ``stop``, ``target``, ``exit``)
    with the one that ends it; a forced one says ``liquidation`` by itself. A fill beyond flat ends one trade and
    opens the next, with its fee shared by size. Funding goes to the trade that is open at its time; funding while
    flat belongs to no trade and is left out.
    """
    events: list[tuple[int, int, int, Fill | FundingPayment]] = [
        *((row.time_ms, 0, n, row) for n, row in enumerate(funding)),
        *((fill.time_ms, 1, n, fill) for n, fill in enumerate(fills)),
    ]
    events.sort(key=lambda event: event[:3])
    open_trades: dict[str, _Open] = {}
    rows: list[TradeRow] = []
    for *_, event in events:
        if isinstance(event, FundingPayment):
            if event.symbol in open_trades:
                open_trades[event.symbol].funding += event.usd
            continue
        _apply(event, open_trades, rows, strategy_of, exit_of)
    rows.extend(trade.row(None, "open") for trade in open_trades.values())
    return tuple(sorted(rows, key=lambda row: row.opened_ms))


def _apply(
    fill: Fill,
    open_trades: dict[str, _Open],
    rows: list[TradeRow],
    strategy_of: Callable[[Fill], str],
    exit_of: Callable[[Fill], str],
) -> None:
    rest, fee = fill.size, fill.fee_usd
    trade = open_trades.get(fill.symbol)
    if trade is not None and fill.buy != trade.side.opens_with_buy:
        part = min(rest, trade.held)
        part_fee = fee if part == rest else fee * part / rest
        trade.add(fill, part, part_fee)
        rest, fee = rest - part, fee - part_fee
        if trade.held == 0:
            del open_trades[fill.symbol]
            rows.append(trade.row(fill.time_ms, "liquidation" if fill.liquidation else exit_of(fill)))
            trade = None
    if rest > 0:
        if trade is None:
            trade = open_trades[fill.symbol] = _Open(fill, Side.LONG if fill.buy else Side.SHORT, strategy_of(fill))
        trade.add(fill, rest, fee)
