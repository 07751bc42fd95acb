"""What happened in the exchange, in the order of happening; and the rows that accounts keep of it."""

from __future__ import annotations

import msgspec

from perpstrader.paper.engine.orders import OrderView, TwapView


class FillLiquidation(msgspec.Struct, frozen=True):
    """That a fill belongs to a liquidation; ``method`` is ``market`` or ``backstop``."""

    liquidated_user: str
    mark_px: int
    method: str


class Fill(msgspec.Struct, frozen=True, kw_only=True):
    """One side of one trade, as ``userFills`` shows it. ``tid`` is shared by both sides; money in micro-USD.

    ``closed_pnl`` is gross of fees and counted from the truncated entry price (API sheet 7.1); ``fee`` includes
    ``builder_fee`` and is negative for a rebate. ``action`` numbers the action that caused the fill (the wire's
    ``hash``); 0 for the venue's own.
    """

    coin: str
    px: int
    size: int
    is_buy: bool
    time_ms: int
    start_position: int
    dir: str
    closed_pnl: int
    oid: int
    cloid: str | None
    crossed: bool
    fee: int
    builder_fee: int
    tid: int
    action: int
    liquidation: FillLiquidation | None
    twap_id: int | None = None


class OrderUpdate(msgspec.Struct, frozen=True, tag=True):
    """An order took ``status`` (the venue's string, API sheet 1.2) at ``status_ms``."""

    user: str
    order: OrderView
    status: str
    status_ms: int


class FillEvent(msgspec.Struct, frozen=True, tag=True):
    """An account traded."""

    user: str
    fill: Fill


class TradeEvent(msgspec.Struct, frozen=True, tag=True):
    """A trade in which an account took part, as the public sees it; ``None`` is the outside market. ``is_buy``: the
    aggressor's side.
    """

    coin: str
    px: int
    size: int
    is_buy: bool
    time_ms: int
    tid: int
    buyer: str | None
    seller: str | None


class FundingEvent(msgspec.Struct, frozen=True, tag=True):
    """An account paid (negative ``usdc``) or received funding on ``szi`` lots at ``rate`` (hourly, in 1e-12)."""

    user: str
    time_ms: int
    coin: str
    usdc: int
    szi: int
    rate: int
    samples: int | None


class LiquidationEvent(msgspec.Struct, frozen=True, tag=True):
    """An account fell below its maintenance margin; notional and value as they were then. A negative value is shown as
    it is.

    ``method`` ``backstop``: the liquidator took all positions and all that was left, a deficit included. ``taken`` is
    the money that went to it (negative: the deficit that it bears).
    """

    user: str
    time_ms: int
    lid: int
    liquidator: str
    notional: int
    account_value: int
    positions: tuple[tuple[str, int], ...]
    method: str
    is_isolated: bool = False
    taken: int = 0


class AccountEvent(msgspec.Struct, frozen=True, tag=True):
    """Leverage, margin mode or margin of the account changed, and nothing else did."""

    user: str


class TwapEvent(msgspec.Struct, frozen=True, tag=True):
    """A TWAP took ``status``: ``activated``, ``finished`` or ``terminated``."""

    user: str
    time_ms: int
    status: str
    twap: TwapView


class LedgerEvent(msgspec.Struct, frozen=True, tag=True):
    """A cash flow or liquidation: ``kind`` is the wire's. A transfer names the account on its other end, a liquidation
    has its details.
    """

    user: str
    time_ms: int
    kind: str
    usdc: int
    liquidation: LiquidationEvent | None = None
    counterparty: str | None = None


Event = OrderUpdate | FillEvent | TradeEvent | FundingEvent | LiquidationEvent | LedgerEvent | AccountEvent | TwapEvent
