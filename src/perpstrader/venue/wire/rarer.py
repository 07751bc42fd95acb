"""Answers of ``POST /info`` that trading itself does not need (API sheet 1), and their calls.

Numbers are wire text. What the venue leaves open stays as it came; unknown fields are dropped.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from perpstrader.venue.wire.account import ClearinghouseState, FillWire, SpotClearinghouseState
from perpstrader.venue.wire.info import InfoCall
from perpstrader.venue.wire.market import MarginTable, Meta, Num, SpotMeta


class PerpDex(msgspec.Struct, frozen=True, rename="camel"):
    """A dex that somebody deployed; the main one is ``None`` in the venue's list."""

    name: str
    full_name: str = ""
    deployer: str = ""
    oracle_updater: str | None = None
    fee_recipient: str | None = None
    asset_to_streaming_oi_cap: list[tuple[str, Num]] = []


class SpotAssetCtx(msgspec.Struct, frozen=True, rename="camel"):
    """Live figures of one spot pair."""

    coin: str
    mark_px: Num
    day_ntl_vlm: Num
    prev_day_px: Num
    mid_px: Num | None = None
    circulating_supply: Num | None = None


class SubAccount(msgspec.Struct, frozen=True, rename="camel"):
    """One sub-account of a master, with its state."""

    name: str
    sub_account_user: str
    master: str
    clearinghouse_state: ClearinghouseState
    spot_state: SpotClearinghouseState | None = None


class PortfolioPeriod(msgspec.Struct, frozen=True, rename="camel"):
    """What an account was worth and earned over a period: ``(ms, USD)`` rows, and the volume traded."""

    account_value_history: list[tuple[int, Num]]
    pnl_history: list[tuple[int, Num]]
    vlm: Num


class TwapState(msgspec.Struct, frozen=True, rename="camel"):
    """What a TWAP was asked to do, and how far it has come."""

    coin: str
    side: str
    sz: Num
    executed_sz: Num
    executed_ntl: Num
    minutes: int
    reduce_only: bool
    randomize: bool
    timestamp: int
    user: str = ""


class TwapStatus(msgspec.Struct, frozen=True):
    """``activated``, ``finished``, ``terminated`` or ``error`` with its ``description``."""

    status: str
    description: str = ""


class TwapRecord(msgspec.Struct, frozen=True, rename="camel"):
    """A row of ``twapHistory``; ``time`` is in seconds here, as the venue has it."""

    time: int
    state: TwapState
    status: TwapStatus
    twap_id: int | None = None


class TwapSliceFill(msgspec.Struct, frozen=True, rename="camel"):
    """A fill of one slice of a TWAP."""

    fill: FillWire
    twap_id: int


SpotMetaAndAssetCtxs: TypeAlias = tuple[SpotMeta, list[SpotAssetCtx]]
Portfolio: TypeAlias = list[tuple[str, PortfolioPeriod]]

AT_OPEN_INTEREST_CAP: Final[InfoCall[list[str]]] = InfoCall("perpsAtOpenInterestCap", list[str])
MARGIN_TABLE: Final[InfoCall[MarginTable]] = InfoCall("marginTable", MarginTable, "id")
MAX_MARKET_ORDERS: Final[InfoCall[list[tuple[int, Num]]]] = InfoCall("maxMarketOrderNtls", list[tuple[int, Num]])
DEXS: Final[InfoCall[list[PerpDex | None]]] = InfoCall("perpDexs", list[PerpDex | None])
ALL_METAS: Final[InfoCall[list[Meta]]] = InfoCall("allPerpMetas", list[Meta])
DEX_LIMITS: Final[InfoCall[dict[str, object] | None]] = InfoCall("perpDexLimits", dict[str, object] | None, "dex")
DEX_STATUS: Final[InfoCall[dict[str, object] | None]] = InfoCall("perpDexStatus", dict[str, object] | None, "dex")
SPOT_CONTEXTS: Final[InfoCall[SpotMetaAndAssetCtxs]] = InfoCall("spotMetaAndAssetCtxs", SpotMetaAndAssetCtxs)
PORTFOLIO: Final[InfoCall[Portfolio]] = InfoCall("portfolio", Portfolio, "user")
SUB_ACCOUNTS: Final[InfoCall[list[SubAccount] | None]] = InfoCall("subAccounts", list[SubAccount] | None, "user")
TWAP_HISTORY: Final[InfoCall[list[TwapRecord]]] = InfoCall("twapHistory", list[TwapRecord], "user")
TWAP_FILLS: Final[InfoCall[list[TwapSliceFill]]] = InfoCall("userTwapSliceFills", list[TwapSliceFill], "user")
