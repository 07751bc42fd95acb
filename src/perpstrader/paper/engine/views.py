"""What the exchange shows when asked: frozen values in micro-USD, price units and lots."""

from __future__ import annotations

import msgspec


class PositionView(msgspec.Struct, frozen=True, kw_only=True):
    """One open position as ``clearinghouseState`` shows it (API sheet 1.2, 7.1).

    ``raw_usd`` is the cash of an isolated position, ``None`` for a cross one. ``entry_px`` is truncated to a price
    unit. ``return_on_equity`` and ``liquidation_px`` (USD; ``None``: no price liquidates) are in 1e-10. The funding
    sums are a cost: positive was paid.
    """

    coin: str
    size: int
    leverage: int
    entry_px: int
    position_value: int
    unrealized_pnl: int
    return_on_equity: int
    liquidation_px: int | None
    margin_used: int
    max_leverage: int
    funding_all_time: int
    funding_since_open: int
    funding_since_change: int
    raw_usd: int | None = None


class AccountView(msgspec.Struct, frozen=True, kw_only=True):
    """An account as ``clearinghouseState`` shows it: all of it, and what of it is cross.

    ``version`` grows with each change of the account itself (not of marks).
    """

    user: str
    time_ms: int
    version: int
    account_value: int
    total_notional: int
    total_raw_usd: int
    total_margin_used: int
    cross_value: int
    cross_notional: int
    cross_raw_usd: int
    cross_margin_used: int
    maintenance_margin: int
    withdrawable: int
    positions: tuple[PositionView, ...]


class AssetAccountView(msgspec.Struct, frozen=True, kw_only=True):
    """``activeAssetData``: the leverage set for a coin and what could be traded now, [buy, sell]; sizes in lots, money
    in micro-USD.
    """

    coin: str
    leverage: int
    is_isolated: bool
    max_trade_sizes: tuple[int, int]
    available_to_trade: tuple[int, int]
    mark: int | None


class MarketState(msgspec.Struct, frozen=True, kw_only=True):
    """The prices of a coin. ``mid_twice`` is bid + ask (the middle may lie between units); rates and premium in 1e-12,
    hourly rate.

    ``open_interest`` counts lots of the accounts here, not of the outside market.
    """

    coin: str
    time_ms: int
    mark: int | None
    oracle: int | None
    last: int | None
    mid_twice: int | None
    impact_bid: int | None
    impact_ask: int | None
    premium: int | None
    funding_rate: int
    open_interest: int
    halted: bool


class BookLevel(msgspec.Struct, frozen=True):
    """One price of the shown book; ``orders`` counts the outside level as one."""

    px: int
    size: int
    orders: int


class BookView(msgspec.Struct, frozen=True):
    """The outside liquidity that is left and the accounts' resting orders, merged, best first."""

    coin: str
    time_ms: int
    bids: tuple[BookLevel, ...]
    asks: tuple[BookLevel, ...]


class FundingRate(msgspec.Struct, frozen=True):
    """One row of ``fundingHistory``; rate and premium in 1e-12."""

    coin: str
    time_ms: int
    rate: int
    premium: int
