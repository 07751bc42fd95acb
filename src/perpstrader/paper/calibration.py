"""How near the exchange in a box comes to a recorded market: takers repriced, passive orders replayed, delays measured.

What takers paid, the recording tells. Of a passive order that nobody placed it tells bounds alone: an order at the back
of its price's queue was filled for certain if the market traded through its price, and hardly if no trade would have
reached it even if all that was seen taken back had stood ahead. ``PassiveFit`` has both beside what the engine says;
the truth lies between them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

import msgspec

from perpstrader.paper.engine import EngineConfig, Exchange, Grouping, MarketUpdate, NewOrder, Tif
from perpstrader.paper.engine.assets import MICRO, EngineAsset
from perpstrader.paper.engine.config import QueueModel
from perpstrader.paper.engine.market import TradePrint
from perpstrader.paper.feeds.recordings import Print, Quote, Recording, load_recordings
from perpstrader.paper.feeds.tables import numbers, read_columns

MODELS: Final[tuple[QueueModel, ...]] = ("trades", "book", "share")
HORIZON_MS: Final = 30_000
EVERY_MS: Final = 4_000
_USER: Final = "0x" + "ca" * 20
_FUNDS: Final = 10**9 * MICRO


class TakerFit(msgspec.Struct, frozen=True, kw_only=True):
    """Recorded takers of one coin at the engine's prices; ``unfilled`` found too thin a book, ``small`` were below the
    venue's minimum. Errors in basis points of the recorded average price.
    """

    coin: str
    orders: int
    unfilled: int
    small: int
    median_bps: float
    p95_bps: float


class PassiveFit(msgspec.Struct, frozen=True, kw_only=True):
    """Orders that joined the best price of one coin: which share filled within ``HORIZON_MS`` by ``model``;
    ``certain``: by trades through their price, ``possible``: also where trades at it reached the back of its queue, had
    all that was seen taken back stood ahead.
    """

    coin: str
    model: QueueModel
    orders: int
    rate: float
    certain: float
    possible: float

    @property
    def distance(self) -> float:
        """From the middle of what can be."""
        return abs(self.rate - (self.certain + self.possible) / 2)


class DelayFit(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds from the venue's own time of a message to its arrival, over ``rows`` of them; the two clocks are
    different ones, so that a constant may be in it.
    """

    rows: int
    median_ms: int
    p99_ms: int


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """All that one recording tells."""

    takers: tuple[TakerFit, ...]
    passive: tuple[PassiveFit, ...]
    delay: DelayFit | None

    @property
    def best(self) -> QueueModel:
        """The queue model nearest to the middle of what can be, over all coins."""
        return min(MODELS, key=lambda model: sum(row.distance for row in self.passive if row.model == model))


def calibrate(folder: Path, symbols: Sequence[str] = ()) -> Calibration:
    """The figures of a folder of live recordings (``feeds.load_recordings``); raises ``FeedError`` for what is none."""
    recordings = load_recordings(folder, symbols)
    return Calibration(
        takers=tuple([reprice_takers(one) for one in recordings]),
        passive=tuple([passive_rate(one, model) for one in recordings for model in MODELS]),
        delay=delays(sorted(folder.glob("prices_*.csv*")) + sorted(folder.glob("orderbooks_*.csv*"))),
    )


def reprice_takers(recording: Recording) -> TakerFit:
    """Every recorded taker (the trades of one instant and side) against the last quote before it."""
    asset = recording.asset
    times = [quote.time_ms for quote in recording.quotes]
    errors: list[float] = []
    unfilled = small = 0
    for (time_ms, is_buy), rows in groupby(recording.prints, key=_taker):
        prints = [row.trade for row in rows]
        size = sum(trade.size for trade in prints)
        paid = sum(trade.size * trade.price for trade in prints)
        place = bisect_left(times, time_ms) - 1
        if place < 0:
            continue
        if paid < EngineConfig().min_notional:
            small += 1
            continue
        fills = _take(asset, recording.quotes[place], is_buy, size)
        filled = sum(quantity for _, quantity in fills)
        if filled < size:
            unfilled += 1
            continue
        ours = sum(price * quantity for price, quantity in fills) / filled
        errors.append(abs(ours / (paid / size) - 1) * 10_000)
    errors.sort()
    return TakerFit(
        coin=asset.coin, orders=len(errors), unfilled=unfilled, small=small,
        median_bps=quantile(errors, 0.5), p95_bps=quantile(errors, 0.95),
    )  # fmt: skip


def _taker(row: Print) -> tuple[int, bool]:
    return row.time_ms, row.trade.buy


def _take(asset: EngineAsset, quote: Quote, is_buy: bool, size: int) -> list[tuple[int, int]]:
    """(price, lots) of an order that takes whatever there is."""
    exchange = _exchange(asset, quote, "trades")
    best = (quote.asks if is_buy else quote.bids)[0].price
    limit = asset.round_price(best * (11 if is_buy else 9) // 10, up=is_buy)
    order = NewOrder(coin=asset.coin, is_buy=is_buy, limit_px=limit, size=size, reduce_only=False, tif=Tif.IOC)
    exchange.place(_USER, [order], Grouping.NA, quote.time_ms)
    return [(fill.px, fill.size) for fill in exchange.fills(_USER)]


def _exchange(asset: EngineAsset, quote: Quote, model: QueueModel) -> Exchange:
    """A fresh exchange with that book, and one rich account."""
    exchange = Exchange([asset], EngineConfig(queue_model=model))
    mid = (quote.bids[0].price + quote.asks[0].price) // 2
    exchange.fund(_USER, _FUNDS, quote.time_ms)
    exchange.apply(
        MarketUpdate(
            coin=asset.coin, time_ms=quote.time_ms, bids=quote.bids, asks=quote.asks, mark=mid, oracle=mid, last=mid
        )
    )
    return exchange


def passive_rate(
    recording: Recording, model: QueueModel, *, horizon_ms: int = HORIZON_MS, every_ms: int = EVERY_MS
) -> PassiveFit:
    """Small orders at the best bid and the best ask, one after the other, each replayed until its horizon."""
    updates = _updates(recording)
    times = [update.time_ms for update in updates]
    counts = [0, 0, 0, 0]
    due_ms = 0
    for quote in recording.quotes:
        end_ms = quote.time_ms + horizon_ms
        is_cut = any(begin < end_ms and quote.time_ms < end for begin, end in recording.gaps)
        if quote.time_ms < due_ms or is_cut or end_ms > times[-1]:
            continue
        due_ms = quote.time_ms + every_ms
        following = updates[bisect_right(times, quote.time_ms) : bisect_right(times, end_ms)]
        for is_buy in (True, False):
            price = (quote.bids if is_buy else quote.asks)[0].price
            through, reached = _bounds(quote, following, price, is_buy)
            filled = _rests_and_fills(recording.asset, quote, following, price, is_buy, model)
            for place, hit in enumerate((True, filled, through, reached)):
                counts[place] += hit
    total = max(counts[0], 1)
    return PassiveFit(
        coin=recording.asset.coin, model=model, orders=counts[0], rate=counts[1] / total,
        certain=counts[2] / total, possible=counts[3] / total,
    )  # fmt: skip


def _bounds(quote: Quote, following: Sequence[MarketUpdate], price: int, is_buy: bool) -> tuple[bool, bool]:
    """Whether the market went through ``price``; whether trades reached the back of its queue, had all that was seen
    taken back there stood ahead.
    """
    sign = 1 if is_buy else -1
    shown = ahead = (quote.bids if is_buy else quote.asks)[0].size
    through = reached = False
    for update in following:
        for trade in update.trades:
            beyond = (price - trade.price) * sign
            through = through or beyond > 0
            if beyond == 0 and trade.buy is not is_buy:
                reached = reached or trade.size > ahead
                ahead, shown = max(ahead - trade.size, 0), max(shown - trade.size, 0)
        own, other = (update.bids, update.asks) if is_buy else (update.asks, update.bids)
        if other and (price - other[0].price) * sign >= 0:
            through = True
        if own is not None:
            left = sum(level.size for level in own if level.price == price)
            ahead, shown = max(ahead - max(shown - left, 0), 0), left
    return through, through or reached


def _rests_and_fills(
    asset: EngineAsset, quote: Quote, following: Sequence[MarketUpdate], price: int, is_buy: bool, model: QueueModel
) -> bool:
    exchange = _exchange(asset, quote, model)
    size = -(-2 * exchange.config.min_notional // price)
    order = NewOrder(coin=asset.coin, is_buy=is_buy, limit_px=price, size=size, reduce_only=False, tif=Tif.ALO)
    exchange.place(_USER, [order], Grouping.NA, quote.time_ms)
    for update in following:
        exchange.apply(update)
        if exchange.fills(_USER):
            return True
    return False


def _updates(recording: Recording) -> list[MarketUpdate]:
    """The recording as updates, one an instant."""
    quotes: dict[int, Quote] = {quote.time_ms: quote for quote in recording.quotes}
    prints: dict[int, list[TradePrint]] = {}
    for row in recording.prints:
        prints.setdefault(row.time_ms, []).append(row.trade)
    updates = []
    for time_ms in sorted(quotes.keys() | prints.keys()):
        quote = quotes.get(time_ms)
        updates.append(
            MarketUpdate(
                coin=recording.asset.coin, time_ms=time_ms, bids=None if quote is None else quote.bids,
                asks=None if quote is None else quote.asks, trades=tuple(prints.get(time_ms, ())),
            )
        )  # fmt: skip
    return updates


def delays(files: Sequence[Path]) -> DelayFit | None:
    """How long after the venue's own time rows arrived; ``None`` where neither is recorded."""
    found: list[int] = []
    for path in files:
        columns = read_columns(path, (("timestamp",), ("exchange_timestamp",)))
        arrived = numbers(path, "timestamp", columns["timestamp"])
        sent = numbers(path, "exchange_timestamp", columns["exchange_timestamp"])
        found += [round(there * 1000 - here) for there, here in zip(arrived, sent, strict=True) if there * 1000 >= here]
    if not found:
        return None
    found.sort()
    return DelayFit(rows=len(found), median_ms=round(quantile(found, 0.5)), p99_ms=round(quantile(found, 0.99)))


def quantile(ordered: Sequence[float], fraction: float) -> float:
    """The value below which that share of an ordered row lies; 0 for an empty one."""
    return float(ordered[min(int(len(ordered) * fraction), len(ordered) - 1)]) if ordered else 0.0
