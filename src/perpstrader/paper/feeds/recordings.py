"""Live recordings as they lie on disk (book, best prices, trades in CSV): read, validated, in integers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import msgspec

from perpstrader.paper.engine.assets import EngineAsset
from perpstrader.paper.engine.market import Level, TradePrint
from perpstrader.paper.feeds.contract import FeedError
from perpstrader.paper.feeds.facts import asset_for
from perpstrader.paper.feeds.tables import moment_text, numbers, read_columns, times_ms, to_units

BOOK_DEPTH: Final = 20
GAP_MS: Final = 30_000
_NAME: Final = re.compile(r"(?P<kind>orderbooks|prices|trades)_(?P<coin>[A-Za-z0-9]+)\.csv(?:\.gz)?")
_TIME: Final = ("exchange_timestamp",)

Side = tuple[Level, ...]


class Quote(msgspec.Struct, frozen=True, array_like=True):
    """Both sides of the book at an instant, best first; one level each where only best prices were recorded."""

    time_ms: int
    bids: Side
    asks: Side


class Print(msgspec.Struct, frozen=True, array_like=True):
    """One recorded trade at its instant."""

    time_ms: int
    trade: TradePrint


class Recording(msgspec.Struct, kw_only=True, eq=False):
    """What was recorded of one coin by the exchange's own times, in order.

    ``has_book`` tells a recorded depth from best prices alone. ``gaps`` are (last quote before, first quote after),
    more than 30 s apart. ``prints`` are the trades while quotes were recorded: none from before the first, after the
    last, or inside a gap.
    """

    asset: EngineAsset
    quotes: list[Quote]
    prints: list[Print]
    gaps: list[tuple[int, int]]
    has_book: bool

    def blind_ms(self, begin_ms: int, end_ms: int) -> int:
        """How much of the span lies inside gaps."""
        return sum(max(min(after, end_ms) - max(before, begin_ms), 0) for before, after in self.gaps)


def find_recordings(folder: Path) -> dict[str, dict[str, Path]]:
    """The recorded files in ``folder``: coin -> kind (orderbooks, prices, trades) -> file; may be empty."""
    found: dict[str, dict[str, Path]] = {}
    for file in sorted(folder.iterdir()) if folder.is_dir() else []:
        match = _NAME.fullmatch(file.name)
        if match:
            found.setdefault(match["coin"], {})[match["kind"]] = file
    return found


def load_recordings(folder: Path, symbols: Sequence[str] = ()) -> list[Recording]:
    """The recordings of ``symbols``, else of all coins in ``folder``; raises ``FeedError`` for what is not sound."""
    found = find_recordings(folder)
    if not found:
        expected = "orderbooks_BTC.csv, prices_BTC.csv, trades_BTC.csv.gz"
        raise FeedError(f"no recording in {folder}: expected names like {expected}")
    missing = [symbol for symbol in symbols if symbol not in found]
    if missing:
        raise FeedError(f"no recording of {', '.join(missing)} in {folder}; found {', '.join(found)}")
    return [_load(found[coin], coin, index, folder) for index, coin in enumerate(symbols or found)]


def _load(files: dict[str, Path], coin: str, index: int, folder: Path) -> Recording:
    if "trades" not in files or not ({"orderbooks", "prices"} & set(files)):
        raise FeedError(f"the recording of {coin} in {folder} needs trades_{coin}.csv and a prices or orderbooks file")
    trades = read_columns(files["trades"], (_TIME, ("price",), ("size",), ("side",), ("trade_id",)))
    asset = asset_for(coin, index, numbers(files["trades"], "price", trades["price"][:1])[0])
    books = _books(files["orderbooks"], asset) if "orderbooks" in files else []
    best = _best_prices(files["prices"], asset) if "prices" in files else []
    quotes = _merged(books, best)
    if not quotes:
        raise FeedError(f"the recording of {coin} in {folder} has no instant at which both sides of the book are known")
    gaps = [(a.time_ms, b.time_ms) for a, b in pairwise(quotes) if b.time_ms - a.time_ms > GAP_MS]
    recording = Recording(asset=asset, quotes=quotes, prints=[], gaps=gaps, has_book=bool(books))
    begin, end = quotes[0].time_ms, quotes[-1].time_ms
    recording.prints = [
        row
        for row in _prints(files["trades"], trades, asset)
        if begin <= row.time_ms <= end and not any(before < row.time_ms < after for before, after in gaps)
    ]
    return recording


def _levels(path: Path, asset: EngineAsset, name: str, prices: Sequence[Any], sizes: Sequence[Any]) -> list[Level]:
    """Rows of price and size as levels; raises ``FeedError`` for what is no number or no price."""
    units = to_units(numbers(path, f"price in {name}", prices), asset.price_decimals)
    lots = to_units(numbers(path, f"size in {name}", sizes), asset.size_decimals, floor=True)
    for number, (price, size) in enumerate(zip(units, lots, strict=True), start=1):
        if price <= 0 or size < 0:
            cells = f"price {prices[number - 1]} and size {sizes[number - 1]}"
            raise FeedError(
                f"{path.name}: row {number} has {cells} in {name}; a price must be above 0, a size not below"
            )
    return [Level(price, size) for price, size in zip(units, lots, strict=True)]


def _ordered_times(path: Path, cells: Sequence[Any]) -> list[int]:
    times = times_ms(path, cells)
    for number, (time, following) in enumerate(pairwise(times), start=1):
        if following < time:
            raise FeedError(
                f"{path.name}: row {number} ({moment_text(time)}) is later than the next; rows must rise in time"
            )
    return times


def _books(path: Path, asset: EngineAsset) -> list[Quote]:
    """The recorded depth, 20 levels a side; a level of no size is left out."""
    names = [f"{side}_{kind}_{n}" for side in ("bid", "ask") for n in range(BOOK_DEPTH) for kind in ("price", "size")]
    columns = read_columns(path, (_TIME, *((name,) for name in names)))
    times = _ordered_times(path, columns[_TIME[0]])
    sides: list[list[Side]] = []
    for side in ("bid", "ask"):
        ranks = [
            _levels(path, asset, f"{side} {n}", columns[f"{side}_price_{n}"], columns[f"{side}_size_{n}"])
            for n in range(BOOK_DEPTH)
        ]
        sides.append([tuple([level for level in row if level.size]) for row in zip(*ranks, strict=True)])
    return [Quote(time, bids, asks) for time, bids, asks in zip(times, *sides, strict=True)]


def _best_prices(path: Path, asset: EngineAsset) -> list[Quote]:
    """Best bid and ask, from rows that each tell one side; where they cross, one side is late: left out."""
    columns = read_columns(path, (_TIME, ("price",), ("size",), ("side",)))
    times = _ordered_times(path, columns[_TIME[0]])
    levels = _levels(path, asset, "best prices", columns["price"], columns["size"])
    best: dict[str, Level] = {}
    quotes: list[Quote] = []
    for number, (time, side, level) in enumerate(zip(times, columns["side"], levels, strict=True), start=1):
        if side not in ("bid", "ask"):
            raise FeedError(f"{path.name}: row {number} has side {side!r}; it must be bid or ask")
        best[side] = level
        last_of_instant = number == len(times) or times[number] > time
        if last_of_instant and len(best) == 2 and best["bid"].price < best["ask"].price:
            quotes.append(Quote(time, (best["bid"],), (best["ask"],)))
    return quotes


def _merged(books: list[Quote], best: list[Quote]) -> list[Quote]:
    """Books and best prices in one row of time: between two books the best prices correct the touch of the last one.

    A book older than a gap is forgotten.
    """
    if not books:
        return best
    merged: list[Quote] = []
    depth: Quote | None = None
    # Stable: of the same instant the book comes first.
    for quote in sorted([*books, *best], key=lambda row: row.time_ms):
        if len(quote.bids) > 1 or len(quote.asks) > 1:
            depth = quote
            merged.append(quote)
        elif depth is not None and quote.time_ms - depth.time_ms <= GAP_MS:
            bid, ask = quote.bids[0], quote.asks[0]
            bids = (bid, *[level for level in depth.bids if level.price < bid.price])
            asks = (ask, *[level for level in depth.asks if level.price > ask.price])
            merged.append(Quote(quote.time_ms, bids, asks))
    return merged


def _prints(path: Path, columns: dict[str, list[Any]], asset: EngineAsset) -> list[Print]:
    """The trades in order of time, each once: a new subscription repeats the newest ones."""
    times = times_ms(path, columns[_TIME[0]])
    levels = _levels(path, asset, "trade", columns["price"], columns["size"])
    prints: dict[str, Print] = {}
    for number, (time, level, side, trade_id) in enumerate(
        zip(times, levels, columns["side"], columns["trade_id"], strict=True), start=1
    ):
        if side not in ("buy", "sell"):
            raise FeedError(f"{path.name}: row {number} has side {side!r}; it must be buy or sell")
        prints.setdefault(trade_id, Print(time, TradePrint(level.price, level.size, side == "buy")))
    return sorted(prints.values(), key=lambda row: row.time_ms)
