"""Account answers of ``POST /info`` and the user channels (API sheet 1.2, 6.2), for reading and for answering.

Numbers are wire text (``numbers.parse_decimal``). A field that the venue leaves out is ``UNSET``, which is false:
``fill.cloid or None``. Unknown fields are dropped; what older answers lack has a default. Times are milliseconds.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from perpstrader.venue.wire.market import Num

Side: TypeAlias = Literal["B", "A"]
"""Buy (bid) or sell (ask)."""


class MarginSummary(msgspec.Struct, frozen=True, rename="camel"):
    """Equity, notional, cash and margin of an account in USD; ``total_raw_usd`` may be negative."""

    account_value: Num
    total_ntl_pos: Num
    total_raw_usd: Num
    total_margin_used: Num


class LeverageWire(msgspec.Struct, frozen=True, rename="camel"):
    """The configured leverage; ``raw_usd`` is present for isolated positions only."""

    type: Literal["cross", "isolated"]
    value: int
    raw_usd: Num | UnsetType = UNSET


class CumFunding(msgspec.Struct, frozen=True, rename="camel"):
    """Funding as a cost: positive was paid by the user."""

    all_time: Num
    since_open: Num
    since_change: Num


class PositionWire(msgspec.Struct, frozen=True, rename="camel"):
    """One net position; ``szi`` signed, ``liquidation_px`` null where there is none."""

    coin: str
    szi: Num
    leverage: LeverageWire
    position_value: Num
    unrealized_pnl: Num
    margin_used: Num
    return_on_equity: Num = "0.0"
    entry_px: Num | None = None
    liquidation_px: Num | None = None
    max_leverage: int | UnsetType = UNSET
    cum_funding: CumFunding | UnsetType = UNSET


class AssetPosition(msgspec.Struct, frozen=True):
    """A position and its mode, which is always one-way."""

    position: PositionWire
    type: str = "oneWay"


class ClearinghouseState(msgspec.Struct, frozen=True, rename="camel"):
    """The perpetuals account; a flat coin is absent from ``asset_positions``."""

    asset_positions: list[AssetPosition]
    cross_margin_summary: MarginSummary
    withdrawable: Num
    margin_summary: MarginSummary | UnsetType = UNSET
    cross_maintenance_margin_used: Num = "0.0"
    time: int = 0


class ActiveAssetData(msgspec.Struct, frozen=True, rename="camel"):
    """The configured leverage of a coin, position or not, and what may be traded, as ``[buy, sell]``."""

    user: str
    coin: str
    leverage: LeverageWire
    max_trade_szs: tuple[Num, Num]
    available_to_trade: tuple[Num, Num]
    mark_px: Num | UnsetType = UNSET


class OpenOrder(msgspec.Struct, frozen=True, rename="camel"):
    """An order as ``openOrders`` and ``orderUpdates`` show it: ``sz`` remains, triggers look like limits here."""

    coin: str
    side: Side
    limit_px: Num
    sz: Num
    oid: int
    timestamp: int
    orig_sz: Num | UnsetType = UNSET
    cloid: str | UnsetType | None = UNSET
    reduce_only: bool | UnsetType = UNSET


class FrontendOrder(msgspec.Struct, frozen=True, rename="camel"):
    """An order with all that the venue tells of it; ``sz`` is as of its last change of status, not what is left."""

    coin: str
    side: Side
    limit_px: Num
    sz: Num
    oid: int
    timestamp: int
    orig_sz: Num
    order_type: str
    trigger_condition: str = "N/A"
    is_trigger: bool = False
    trigger_px: Num = "0.0"
    children: list[FrontendOrder] = []
    is_position_tpsl: bool = False
    reduce_only: bool = False
    tif: str | None = None
    cloid: str | None = None


class OrderRecord(msgspec.Struct, frozen=True, rename="camel"):
    """An order, its status string (``errors.lifecycle`` groups them) and since when."""

    order: FrontendOrder
    status: str
    status_timestamp: int


class OrderStatusAnswer(msgspec.Struct, frozen=True):
    """``status`` is ``order`` with a record, or ``unknownOid``, which does not prove that there never was one."""

    status: str
    order: OrderRecord | UnsetType = UNSET


class OrderUpdate(msgspec.Struct, frozen=True, rename="camel"):
    """One entry of the ``orderUpdates`` channel, which names no user and replays nothing."""

    order: OpenOrder
    status: str
    status_timestamp: int


class Liquidation(msgspec.Struct, frozen=True, rename="camel"):
    """Marks a fill that the venue forced; ``method`` is ``market`` or ``backstop``."""

    mark_px: Num
    method: str
    liquidated_user: str | UnsetType | None = UNSET


class FillWire(msgspec.Struct, frozen=True, rename="camel"):
    """One trade of the user, unique by ``(coin, tid)``; ``closed_pnl`` gross, ``fee`` negative for a rebate, ``dir``
    an open set.
    """

    coin: str
    px: Num
    sz: Num
    side: Side
    time: int
    start_position: Num
    dir: str
    closed_pnl: Num
    hash: str
    oid: int
    crossed: bool
    fee: Num
    tid: int = 0
    fee_token: str = "USDC"
    twap_id: int | None = None
    cloid: str | UnsetType | None = UNSET
    builder_fee: Num | UnsetType | None = UNSET
    liquidation: Liquidation | UnsetType | None = UNSET


class FundingDelta(msgspec.Struct, frozen=True, rename="camel"):
    """One payment; ``usdc`` is negative when the user paid, ``szi`` is the position that paid."""

    coin: str
    usdc: Num
    szi: Num
    funding_rate: Num
    n_samples: int | None = None
    type: str = "funding"


class UserFunding(msgspec.Struct, frozen=True):
    """A row of ``userFunding``."""

    time: int
    hash: str
    delta: FundingDelta


class LedgerUpdate(msgspec.Struct, frozen=True):
    """A row of ``userNonFundingLedgerUpdates``; ``delta["type"]`` is an open set, so the delta stays as it came."""

    time: int
    hash: str
    delta: dict[str, object]


class UserRateLimit(msgspec.Struct, frozen=True, rename="camel"):
    """The address's budget of actions: 10000 plus one per USD of volume, and what was bought."""

    cum_vlm: Num
    n_requests_used: int
    n_requests_cap: int
    n_requests_surplus: int = 0


class UserFees(msgspec.Struct, frozen=True, rename="camel"):
    """The user's rates as fractions of notional: ``cross`` is taker, ``add`` is maker."""

    user_cross_rate: Num
    user_add_rate: Num
    fee_schedule: dict[str, object] = {}
    active_referral_discount: Num = "0.0"
    daily_user_vlm: list[dict[str, object]] = []


class RoleData(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whose agent (``user``) or sub-account (``master``) it is."""

    user: str | None = None
    master: str | None = None


class UserRole(msgspec.Struct, frozen=True, omit_defaults=True):
    """``missing``, ``user``, ``agent``, ``vault`` or ``subAccount``."""

    role: str
    data: RoleData | None = None


class ExtraAgent(msgspec.Struct, frozen=True, rename="camel"):
    """A named agent and when it expires."""

    name: str
    address: str
    valid_until: int


class SpotBalance(msgspec.Struct, frozen=True, rename="camel"):
    """One token balance."""

    coin: str
    token: int
    total: Num
    hold: Num
    entry_ntl: Num = "0.0"


class SpotClearinghouseState(msgspec.Struct, frozen=True):
    """Spot balances; in unified modes the collateral is here."""

    balances: list[SpotBalance]
