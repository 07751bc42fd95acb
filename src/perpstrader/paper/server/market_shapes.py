"""The engine's view of a market in the venue's shapes (API sheet 1.1), and the frames of the market channels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from perpstrader.paper.engine import BarClose, BookLevel, EngineAsset, MarketState, fixed_text, usd_text
from perpstrader.venue.wire import market

RATE_DECIMALS: Final = 12
IMPLICIT_TABLES: Final = 50
"""Margin tables below this id are a single tier whose greatest leverage is the id."""


def margin_tables(assets: Sequence[EngineAsset]) -> dict[int, market.MarginTable]:
    """The tables of those assets that have more than one tier, by id; equal tiers share a table."""
    tables: dict[int, market.MarginTable] = {}
    for asset in assets:
        if len(asset.margin_tiers) > 1:
            table = _table(asset)
            if table not in tables.values():
                tables[IMPLICIT_TABLES + 1 + len(tables)] = table
    return tables


def _table(asset: EngineAsset) -> market.MarginTable:
    tiers = [market.MarginTierWire(usd_text(tier.lower_bound), tier.max_leverage) for tier in asset.margin_tiers]
    return market.MarginTable(f"tiered {asset.max_leverage}x", tiers)


def implicit_table(table_id: int) -> market.MarginTable:
    """The single tier that an id below 50 stands for."""
    return market.MarginTable("", [market.MarginTierWire("0.0", table_id)])


def meta(assets: Sequence[EngineAsset]) -> market.Meta:
    """The universe in the order of asset ids."""
    tables = margin_tables(assets)
    universe = []
    for asset in assets:
        table_id = asset.max_leverage
        if len(asset.margin_tiers) > 1:
            table_id = next(key for key, table in tables.items() if table == _table(asset))
        universe.append(
            market.AssetInfo(
                asset.coin, asset.size_decimals, asset.max_leverage, table_id, is_delisted=asset.is_delisted or None,
                only_isolated=asset.is_isolated_only or None, margin_mode=asset.margin_mode,
            )
        )
    return market.Meta(universe, list(tables.items()))


@lru_cache(maxsize=4_096)
def _rare_text(value: int, decimals: int) -> str:
    """``fixed_text`` of what stays the same from one instant to the next: rates, and figures of the day."""
    return fixed_text(value, decimals)


def mid_text(asset: EngineAsset, state: MarketState) -> str | None:
    """The middle of the book, one decimal finer than a price; ``None`` when a side is empty."""
    return None if state.mid_twice is None else fixed_text(state.mid_twice * 5, asset.price_decimals + 1)


def shown_mid(asset: EngineAsset, state: MarketState) -> str | None:
    """As ``allMids`` shows it: with an empty side the last trade, else the mark; ``None`` before any price."""
    mid = mid_text(asset, state)
    price = state.last if state.last is not None else state.mark
    if mid is not None or price is None:
        return mid
    return asset.price_text(price)


def asset_ctx(asset: EngineAsset, state: MarketState, day_lots: int, day_ago_px: int | None) -> market.AssetCtx:
    """The live figures of a coin. Before the first price of a market its mark and oracle are shown as ``0.0``."""
    mark = state.mark or 0
    impact = None
    if state.impact_bid is not None and state.impact_ask is not None:
        impact = (asset.price_text(state.impact_bid), asset.price_text(state.impact_ask))
    return market.AssetCtx(
        funding=_rare_text(state.funding_rate, RATE_DECIMALS),
        open_interest=_rare_text(state.open_interest, asset.size_decimals),
        prev_day_px=_rare_text(mark if day_ago_px is None else day_ago_px, asset.price_decimals),
        day_ntl_vlm=usd_text(day_lots * mark),
        oracle_px=asset.price_text(state.oracle or 0),
        mark_px=asset.price_text(mark),
        premium=None if state.premium is None else _rare_text(state.premium, RATE_DECIMALS),
        mid_px=mid_text(asset, state),
        impact_pxs=impact,
        day_base_vlm=_rare_text(day_lots, asset.size_decimals),
    )


def level(asset: EngineAsset, row: BookLevel) -> market.L2Level:
    """One level of the book."""
    return market.L2Level(asset.price_text(row.px), asset.size_text(row.size), row.orders)


def grouped(rows: Sequence[BookLevel], figures: int, mantissa: int, *, up: bool) -> list[BookLevel]:
    """Levels joined to prices of ``figures`` significant figures in steps of ``mantissa``; asks are rounded up."""
    joined: dict[int, BookLevel] = {}
    for row in rows:
        step = max(10 ** max(len(str(row.px)) - figures, 0) * mantissa, 1)
        price = -(-row.px // step) * step if up else row.px // step * step
        known = joined.get(price)
        if known is None:
            joined[price] = BookLevel(price, row.size, row.orders)
        else:
            joined[price] = BookLevel(price, known.size + row.size, known.orders + row.orders)
    return list(joined.values())


def candle(asset: EngineAsset, bar: BarClose) -> market.CandleWire:
    """One bar."""
    return market.CandleWire(
        bar.open_ms, bar.close_ms, bar.coin, bar.interval, asset.price_text(bar.open), asset.price_text(bar.close),
        asset.price_text(bar.high), asset.price_text(bar.low), asset.size_text(bar.volume), bar.trades,
    )  # fmt: skip
