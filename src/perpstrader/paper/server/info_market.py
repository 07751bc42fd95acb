"""Answers of ``POST /info`` about the market (API sheet 1.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from perpstrader.paper.engine import TradeEvent, fixed_text, usd_text
from perpstrader.paper.server import market_shapes as shapes
from perpstrader.paper.server.account_shapes import ZERO_HASH, side
from perpstrader.paper.server.agents import NOBODY
from perpstrader.paper.server.history import HOUR_MS
from perpstrader.paper.server.market_shapes import RATE_DECIMALS
from perpstrader.paper.server.world import World
from perpstrader.venue.wire import WireError, market
from perpstrader.venue.wire.info import InfoRequest
from perpstrader.venue.wire.limits import BOOK_LEVELS, RANGE_ROWS

Handler = Callable[[World, InfoRequest], object]
_WHOLE_BOOK: Final = 1_000


def meta(world: World, _: InfoRequest) -> object:
    """``meta``."""
    return world.meta


def meta_and_asset_ctxs(world: World, _: InfoRequest) -> object:
    """``metaAndAssetCtxs``."""
    now_ms = world.now_ms()
    return [world.meta, [world.ctx(coin, now_ms) for coin in world.assets]]


def all_mids(world: World, _: InfoRequest) -> object:
    """``allMids``."""
    return world.mids()


def l2_book(world: World, request: InfoRequest) -> object:
    """``l2Book``: null for an unknown coin."""
    if request.coin not in world.assets:
        return None
    return book(world, request.coin, request.n_sig_figs, request.mantissa)


def book(
    world: World, coin: str, figures: int | None, mantissa: int | None, count: int = BOOK_LEVELS
) -> market.L2Book:
    """The shown book, ``count`` levels a side, grouped by ``figures`` (2 to 5; a mantissa of 2 or 5 with 5)."""
    if figures is not None and not 2 <= figures <= 5:
        raise WireError(f"nSigFigs {figures} is not offered: 2 to 5, or null")
    if mantissa is not None and (figures != 5 or mantissa not in (1, 2, 5)):
        raise WireError(f"mantissa {mantissa} is not offered: 1, 2 or 5, and only with nSigFigs 5")
    asset = world.assets[coin]
    view = world.exchange.book(coin, count if figures is None else _WHOLE_BOOK)
    bids, asks = list(view.bids), list(view.asks)
    if figures is not None:
        bids = shapes.grouped(bids, figures, mantissa or 1, up=False)[:count]
        asks = shapes.grouped(asks, figures, mantissa or 1, up=True)[:count]
    levels = ([shapes.level(asset, row) for row in bids], [shapes.level(asset, row) for row in asks])
    return market.L2Book(coin, levels, max(view.time_ms, world.now_ms()))


def candle_snapshot(world: World, request: InfoRequest) -> object:
    """``candleSnapshot``: the newest 5000 bars at most."""
    wanted = request.req
    if wanted is None or wanted.coin not in world.assets:
        raise WireError(f"candleSnapshot has no coin {None if wanted is None else wanted.coin!r}")
    if not world.candles.offers(wanted.interval):
        raise WireError(f"interval {wanted.interval!r} is not offered: this market has {world.candles.base} bars")
    now_ms = world.now_ms()
    end_ms = now_ms if wanted.end_time is None else wanted.end_time
    bars = world.candles.snapshot(wanted.coin, wanted.interval, wanted.start_time, end_ms, now_ms)
    return [shapes.candle(world.assets[wanted.coin], bar) for bar in bars]


def trade(world: World, row: TradeEvent) -> market.Trade:
    """One public trade; the outside market is the address of zeros."""
    asset = world.assets[row.coin]
    users = (row.buyer or NOBODY, row.seller or NOBODY)
    return market.Trade(
        row.coin, side(row.is_buy), asset.price_text(row.px), asset.size_text(row.size), row.time_ms, ZERO_HASH,
        row.tid, users,
    )  # fmt: skip


def recent_trades(world: World, request: InfoRequest) -> object:
    """``recentTrades``, newest first."""
    return [trade(world, row) for row in world.trades.newest(request.coin or "")]


def funding_history(world: World, request: InfoRequest) -> object:
    """``fundingHistory``: at most 500 rows, oldest first."""
    if request.coin not in world.assets:
        raise WireError(f"fundingHistory has no coin {request.coin!r}")
    start, end = request.start_time or 0, request.end_time
    rows = [
        market.FundingRate(
            row.coin, fixed_text(row.rate, RATE_DECIMALS), row.time_ms, fixed_text(row.premium, RATE_DECIMALS)
        )
        for row in world.exchange.funding_history(request.coin)
        if start <= row.time_ms and (end is None or row.time_ms <= end)
    ]
    return rows[:RANGE_ROWS]


def predicted_fundings(world: World, _: InfoRequest) -> object:
    """``predictedFundings``: this venue's own only."""
    due = world.now_ms() // HOUR_MS * HOUR_MS + HOUR_MS
    answer: market.PredictedFundings = []
    for coin in world.assets:
        rate = fixed_text(world.exchange.market(coin).funding_rate, RATE_DECIMALS)
        answer.append((coin, [("HlPerp", market.PredictedFunding(rate, due, 1))]))
    return answer


def max_market_order_ntls(world: World, _: InfoRequest) -> object:
    """``maxMarketOrderNtls``: from which leverage on which cap holds."""
    return [[max(least, 1), usd_text(cap)] for least, cap in world.exchange.config.max_market_notional]


def exchange_status(world: World, _: InfoRequest) -> object:
    """``exchangeStatus``: the venue's clock."""
    return market.ExchangeStatus(world.now_ms())


def margin_table(world: World, request: InfoRequest) -> object:
    """``marginTable``."""
    table_id = request.id
    if table_id is not None and 0 < table_id < shapes.IMPLICIT_TABLES:
        return shapes.implicit_table(table_id)
    known = dict(world.meta.margin_tables)
    if table_id not in known:
        raise WireError(f"there is no margin table {table_id}")
    return known[table_id]


def spot_meta(_: World, __: InfoRequest) -> object:
    """``spotMeta``: there is no spot market here."""
    return market.SpotMeta([], [])


def spot_meta_and_asset_ctxs(_: World, __: InfoRequest) -> object:
    """``spotMetaAndAssetCtxs``."""
    return [market.SpotMeta([], []), []]


def perp_dexs(_: World, __: InfoRequest) -> object:
    """``perpDexs``: the main one only."""
    return [None]


def all_perp_metas(world: World, _: InfoRequest) -> object:
    """``allPerpMetas``."""
    return [world.meta]


def perps_at_open_interest_cap(world: World, _: InfoRequest) -> object:
    """``perpsAtOpenInterestCap``."""
    return list(world.exchange.at_open_interest_cap())


HANDLERS: Final[dict[str, Handler]] = {
    "meta": meta, "metaAndAssetCtxs": meta_and_asset_ctxs, "allMids": all_mids, "l2Book": l2_book,
    "candleSnapshot": candle_snapshot, "recentTrades": recent_trades, "fundingHistory": funding_history,
    "predictedFundings": predicted_fundings, "maxMarketOrderNtls": max_market_order_ntls,
    "perpsAtOpenInterestCap": perps_at_open_interest_cap, "exchangeStatus": exchange_status,
    "marginTable": margin_table, "spotMeta": spot_meta, "spotMetaAndAssetCtxs": spot_meta_and_asset_ctxs,
    "perpDexs": perp_dexs, "allPerpMetas": all_perp_metas,
}  # fmt: skip
