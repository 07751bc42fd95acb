"""Recorded candles as they lie on disk: found by name, validated row by row, held as integer columns."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal

import msgspec

from perpstrader.paper.engine.assets import EngineAsset
from perpstrader.paper.engine.market import BarClose
from perpstrader.paper.feeds.bars import HOUR_MS, interval_length
from perpstrader.paper.feeds.contract import FeedError
from perpstrader.paper.feeds.facts import asset_for
from perpstrader.paper.feeds.ladder import Ticks
from perpstrader.paper.feeds.tables import SUFFIXES, moment_text, numbers, read_columns, times_ms, to_units

VolumeUnit = Literal["base", "quote"]

_TIME: Final = ("date", "timestamp", "time", "open_time")
_SUFFIX: Final = r"(?:\.feather|\.parquet|\.csv|\.csv\.gz)"
_CANDLE_NAMES: Final = (
    # BTC_USDC_USDC-5m-futures.feather, BTC-5m.csv
    re.compile(rf"(?P<coin>[A-Za-z0-9]+)(?:_\w+)?-(?P<interval>\d+(?:ms|[smhd]))(?:-futures)?{_SUFFIX}"),
    # btc-perp-20211231-20220201_1m.csv.gz, BTC_5m.parquet
    re.compile(rf"(?P<coin>[A-Za-z0-9]+)(?:-perp[\w-]*)?_(?P<interval>\d+(?:ms|[smhd])){_SUFFIX}"),
)
_FUNDING_NAME: Final = re.compile(rf"(?P<coin>[A-Za-z0-9]+)(?:_\w+)?-1h-funding_rate{_SUFFIX}")


class CandleSeries(msgspec.Struct, kw_only=True, eq=False):
    """The candles of one coin in columns: open times rise strictly, prices are on valid ticks, volumes in lots.

    ``funding`` maps the hour (ms UTC) to the recorded hourly rate; ``None`` when no funding was recorded.
    """

    asset: EngineAsset
    interval: str
    times: list[int]
    opens: list[int]
    highs: list[int]
    lows: list[int]
    closes: list[int]
    volumes: list[int]
    funding: dict[int, Decimal] | None = None

    @property
    def interval_ms(self) -> int:
        """Length of a bar."""
        return interval_length(self.interval)

    def bar(self, index: int) -> BarClose:
        """One candle as the venue publishes it when it is closed; the number of its trades is not recorded."""
        open_ms = self.times[index]
        return BarClose(
            coin=self.asset.coin, interval=self.interval, open_ms=open_ms, close_ms=open_ms + self.interval_ms - 1,
            open=self.opens[index], high=self.highs[index], low=self.lows[index], close=self.closes[index],
            volume=self.volumes[index], trades=0,
        )  # fmt: skip

    def closed_before(self, before_ms: int) -> int:
        """How many candles closed before ``before_ms``."""
        return bisect_left(self.times, before_ms - self.interval_ms + 1)


def find_candles(path: Path) -> dict[str, dict[str, Path]]:
    """The candle files under ``path`` (folder or file): interval -> coin -> file; raises ``FeedError`` for none."""
    if not path.exists():
        raise FeedError(f"there is no file or folder {path}")
    found: dict[str, dict[str, Path]] = {}
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        match = next((match for name in _CANDLE_NAMES if (match := name.fullmatch(file.name))), None)
        if match is None:
            continue
        coins = found.setdefault(match["interval"], {})
        coin = _coin_name(match["coin"])
        if coin in coins:
            raise FeedError(
                f"both {coins[coin].name} and {file.name} hold {match['interval']} candles of {coin}; keep one"
            )
        coins[coin] = file
    if not found:
        suffixes = ", ".join(SUFFIXES)
        raise FeedError(
            f"no candles in {path}: expected names like BTC_USDC_USDC-5m-futures.feather or BTC-5m.csv ({suffixes})"
        )
    return found


def load_candles(
    path: Path, interval: str, *, symbols: Sequence[str] = (), volume: VolumeUnit = "base"
) -> list[CandleSeries]:
    """The validated candles of the coins found under ``path``, in the order of ``symbols``, else by name.

    ``volume`` says what the volume column counts: coins, or quote currency. Prices that the venue could not quote
    (another venue's finer ticks) are rounded to its nearest valid price. Raises ``FeedError`` with one sentence for
    anything that is not sound.
    """
    interval_length(interval)
    found = find_candles(path)
    files = found.get(interval)
    if not files:
        raise FeedError(f"no {interval} candles in {path}; found {', '.join(sorted(found, key=interval_length))}")
    missing = [symbol for symbol in symbols if symbol not in files]
    if missing:
        raise FeedError(f"no {interval} candles of {', '.join(missing)} in {path}; found {', '.join(files)}")
    folder = path if path.is_dir() else path.parent
    rates = _funding_files(folder)
    series = []
    for index, coin in enumerate(symbols or files):
        one = load_series(files[coin], coin, interval, index=index, volume=volume)
        if coin in rates:
            one.funding = load_funding(rates[coin])
        series.append(one)
    return series


def load_series(path: Path, coin: str, interval: str, *, index: int = 0, volume: VolumeUnit = "base") -> CandleSeries:
    """The candles of one file; raises ``FeedError`` naming the file, the row and what is wrong with it."""
    columns = read_columns(path, (_TIME, ("open",), ("high",), ("low",), ("close",), ("volume",)))
    times = times_ms(path, columns["date"])
    _check_order(path, times)
    _check_grid(path, times, interval)
    prices = [numbers(path, name, columns[name]) for name in ("open", "high", "low", "close")]
    amounts = numbers(path, "volume", columns["volume"])
    _check_prices(path, times, prices, amounts)
    asset = asset_for(coin, index, prices[0][0])
    ticks = Ticks(asset)
    opens, highs, lows, closes = [
        [ticks.near(price) for price in to_units(cells, asset.price_decimals)] for cells in prices
    ]
    if volume == "quote":
        amounts = [amount / close for amount, close in zip(amounts, prices[3], strict=True)]
    return CandleSeries(
        asset=asset, interval=interval, times=times, opens=opens, highs=highs, lows=lows, closes=closes,
        volumes=to_units(amounts, asset.size_decimals, floor=True),
    )  # fmt: skip


def load_funding(path: Path) -> dict[int, Decimal]:
    """Hour (ms UTC) -> hourly rate, which is in column ``open``; rows are stamped a moment after their hour."""
    columns = read_columns(path, (_TIME, ("open", "fundingRate", "funding_rate")))
    times = times_ms(path, columns["date"])
    _check_order(path, times)
    rates = numbers(path, "open", columns["open"])
    return {time - time % HOUR_MS: Decimal(repr(rate)) for time, rate in zip(times, rates, strict=True)}


def _funding_files(folder: Path) -> dict[str, Path]:
    files = {}
    for file in sorted(folder.iterdir()):
        match = _FUNDING_NAME.fullmatch(file.name)
        if match:
            files[_coin_name(match["coin"])] = file
    return files


def _coin_name(text: str) -> str:
    """Coins are case-sensitive at the venue (kPEPE); a name all in small letters is a habit of file names."""
    return text.upper() if text.islower() else text


def _check_order(path: Path, times: Sequence[int]) -> None:
    for number, (time, following) in enumerate(pairwise(times), start=1):
        if following == time:
            raise FeedError(f"{path.name}: row {number} and the next have the same time {moment_text(time)}")
        if following < time:
            raise FeedError(
                f"{path.name}: row {number} ({moment_text(time)}) is later than the next; rows must rise in time"
            )


def _check_grid(path: Path, times: Sequence[int], interval: str) -> None:
    length = interval_length(interval)
    for number, time in enumerate(times, start=1):
        if (time - times[0]) % length:
            raise FeedError(f"{path.name}: row {number} begins at {moment_text(time)}, between two bars of {interval}")


def _check_prices(
    path: Path, times: Sequence[int], prices: Sequence[Sequence[float]], volumes: Sequence[float]
) -> None:
    for number, (first, high, low, last, volume) in enumerate(zip(*prices, volumes, strict=True)):
        if 0 < low <= first <= high and low <= last <= high and volume >= 0:
            continue
        if min(first, high, low, last) <= 0:
            fault = f"has a price of {min(first, high, low, last)}; a price must be above 0"
        elif high < low:
            fault = f"has high {high} below low {low}"
        elif volume < 0:
            fault = f"has volume {volume}; it must be 0 or more"
        else:
            fault = f"has open {first} or close {last} outside low {low} to high {high}"
        raise FeedError(f"{path.name}: row {number + 1} ({moment_text(times[number])}) {fault}")
