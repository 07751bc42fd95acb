"""Public market answers of ``POST /info`` and the market channels (API sheet 1.1, 6.2), for reading and for answering.

Numbers are wire text; ``numbers.parse_decimal`` is where they become numbers. Unknown fields are dropped; what older
or sparser answers lack has a default. Times are milliseconds.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

Num: TypeAlias = str
"""A decimal number as wire text."""


class MarginTierWire(msgspec.Struct, frozen=True, rename="camel"):
    """From ``lower_bound`` USD of notional on, at most ``max_leverage``."""

    lower_bound: Num
    max_leverage: int


class MarginTable(msgspec.Struct, frozen=True, rename="camel"):
    """The leverage tiers that an asset refers to by id; ids below 50 are implicit single tiers."""

    description: str
    margin_tiers: list[MarginTierWire]


class AssetInfo(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One perpetual of the universe; its position there is its asset id, also after delisting."""

    name: str
    sz_decimals: int
    max_leverage: int
    margin_table_id: int | None = None
    only_isolated: bool | None = None
    is_delisted: bool | None = None
    margin_mode: str | None = None


class Meta(msgspec.Struct, frozen=True, rename="camel"):
    """``meta``: the universe in the order of asset ids, and the margin tables by id."""

    universe: list[AssetInfo]
    margin_tables: list[tuple[int, MarginTable]] = []
    collateral_token: int = 0


class AssetCtx(msgspec.Struct, frozen=True, rename="camel"):
    """Live figures of one perpetual; ``funding`` is hourly, ``open_interest`` in base units; without a book three
    are null.
    """

    funding: Num
    open_interest: Num
    prev_day_px: Num
    day_ntl_vlm: Num
    oracle_px: Num
    mark_px: Num
    premium: Num | None = None
    mid_px: Num | None = None
    impact_pxs: tuple[Num, Num] | None = None
    day_base_vlm: Num = "0.0"


MetaAndAssetCtxs: TypeAlias = tuple[Meta, list[AssetCtx]]
AllMids: TypeAlias = dict[str, Num]


class L2Level(msgspec.Struct, frozen=True):
    """Price, size and number of orders of one level."""

    px: Num
    sz: Num
    n: int = 0


class L2Book(msgspec.Struct, frozen=True):
    """Bids and asks, best first, at most 20 a side; always a whole snapshot."""

    coin: str
    levels: tuple[list[L2Level], list[L2Level]]
    time: int = 0
    spread: Num | UnsetType = UNSET


class CandleWire(
    msgspec.Struct,
    frozen=True,
    rename={
        "open_ms": "t", "close_ms": "T", "coin": "s", "interval": "i",
        "open": "o", "close": "c", "high": "h", "low": "l", "volume": "v", "trades": "n",
    },
):  # fmt: skip
    """One bar from ``open_ms`` to ``close_ms`` inclusive; the newest may still be open. Volume in base units."""

    open_ms: int
    close_ms: int
    coin: str
    interval: str
    open: Num
    close: Num
    high: Num
    low: Num
    volume: Num
    trades: int


class Trade(msgspec.Struct, frozen=True):
    """One public trade; ``side`` is the aggressor's, ``users`` are buyer and seller."""

    coin: str
    side: str
    px: Num
    sz: Num
    time: int
    hash: str
    tid: int
    users: tuple[str, ...] = ()


class FundingRate(msgspec.Struct, frozen=True, rename="camel"):
    """One hourly row of ``fundingHistory``."""

    coin: str
    funding_rate: Num
    time: int
    premium: Num | None = None


class PredictedFunding(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The rate that a venue expects next, over its own interval."""

    funding_rate: Num
    next_funding_time: int
    funding_interval_hours: int | None = None


PredictedFundings: TypeAlias = list[tuple[str, list[tuple[str, PredictedFunding | None]]]]


class ExchangeStatus(msgspec.Struct, frozen=True, rename="camel"):
    """The venue's clock."""

    time: int
    special_statuses: object = None


class SpotToken(msgspec.Struct, frozen=True, rename="camel"):
    """One token of the spot universe."""

    name: str
    sz_decimals: int
    wei_decimals: int
    index: int
    token_id: str
    is_canonical: bool


class SpotPair(msgspec.Struct, frozen=True, rename="camel"):
    """One spot pair; its asset id is 10000 plus ``index``."""

    tokens: tuple[int, int]
    name: str
    index: int
    is_canonical: bool


class SpotMeta(msgspec.Struct, frozen=True):
    """``spotMeta``."""

    tokens: list[SpotToken]
    universe: list[SpotPair]
