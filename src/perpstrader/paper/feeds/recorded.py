"""Replay of live recordings: the book as it was, trade by trade, with its gaps."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Final

from perpstrader.paper.engine.assets import EngineAsset
from perpstrader.paper.engine.market import BarClose, MarketUpdate, TradePrint
from perpstrader.paper.feeds.bars import DAY_MS, BarBuilder, bars_needed, interval_length, joined, scaled_to_day
from perpstrader.paper.feeds.contract import FeedError, FeedReport, FeedStep, Grade, never_quiet
from perpstrader.paper.feeds.ladder import Ticks
from perpstrader.paper.feeds.mark import MarkModel
from perpstrader.paper.feeds.recordings import Quote, Recording

ORACLE_MS: Final = 3_000
_SPOT_SECONDS: Final = 5.0
_BASIS_SIGMA: Final = 0.0003
_BASIS_SECONDS: Final = 3_600.0


class _Instant:
    """What the recording tells of one coin at one instant."""

    __slots__ = ("blind", "quote", "trades")

    def __init__(self) -> None:
        self.quote: Quote | None = None
        self.trades: list[TradePrint] = []
        self.blind = False


class _Reference:
    """Mark and oracle of one coin, which were not recorded: the oracle lags the mid, with a basis of its own."""

    def __init__(self, asset: EngineAsset, seed: int) -> None:
        self._ticks = Ticks(asset)
        self._rng = Random(f"{seed}:{asset.coin}")
        self._marks = MarkModel()
        self._basis = self._rng.gauss(0.0, _BASIS_SIGMA)
        self._spot = 0.0
        self._at = 0

    def prices(self, time_ms: int, bid: int, ask: int, last: int) -> tuple[int, int] | None:
        """Mark and oracle when they are due, else ``None``."""
        if time_ms - self._at < ORACLE_MS:
            return None
        seconds, self._at = (time_ms - self._at) / 1_000, time_ms
        mid = (bid + ask) / 2
        keep = math.exp(-seconds / _BASIS_SECONDS)
        self._basis = self._basis * keep + self._rng.gauss(0.0, _BASIS_SIGMA * math.sqrt(1.0 - keep * keep))
        self._spot += (mid - self._spot) * -math.expm1(-seconds / _SPOT_SECONDS) if self._spot else mid
        oracle = self._ticks.near(self._spot * (1.0 + self._basis))
        return self._ticks.near(self._marks.update(seconds, bid, ask, last or mid, oracle)), oracle


class RecordedFeed:
    """Replays recordings by the exchange's own times; nothing shows before its instant, and in a gap nothing fills.

    Book or best prices, and trades, are as recorded. Where best prices alone were recorded, the book has one level a
    side. Mark (the venue's formula) and oracle are derived from the mid with a seeded basis. Bars are built from the
    trades, beginning with the first whole one; one that lies in a gap is not published, one that a gap cuts counts as
    halted. More than 30 s without a quote is a gap: the coin is halted from the last quote on until the next. Funding
    was not recorded: the engine's premium samples give it.
    """

    def __init__(self, recordings: Sequence[Recording], interval: str = "1m", seed: int = 0) -> None:
        if not recordings:
            raise FeedError("a replay needs the recording of at least one coin")
        self.interval = interval
        self._length = interval_length(interval)
        self._seed = seed
        self._recordings = {one.asset.coin: one for one in recordings}
        self.assets: tuple[EngineAsset, ...] = tuple(one.asset for one in recordings)
        self.grade: Grade = "book" if all(one.has_book for one in recordings) else "bbo"
        self.start_ms = min(one.quotes[0].time_ms for one in recordings)
        self.end_ms: int | None = max(one.quotes[-1].time_ms for one in recordings)
        self._instants = self._timeline()
        self._bars = {coin: self._build_bars(one) for coin, one in self._recordings.items()}
        self._published = self._halted = self._gaps = 0

    def steps(
        self, position_sign: Callable[[str], int], is_quiet: Callable[[], bool] = never_quiet
    ) -> Iterator[FeedStep]:
        """Every recorded instant and every end of a bar; nobody's position sways it, and no step of it is left out."""
        self._published = self._halted = self._gaps = 0
        ended: dict[int, list[BarClose]] = defaultdict(list)
        for built in self._bars.values():
            for bar in built:
                ended[bar.close_ms + 1].append(bar)
        references = {coin: _Reference(one.asset, self._seed) for coin, one in self._recordings.items()}
        sides: dict[str, Quote] = {}
        last: dict[str, int] = dict.fromkeys(self._recordings, 0)
        for time_ms in sorted(self._instants.keys() | ended.keys()):
            updates = []
            for coin, instant in self._instants.get(time_ms, {}).items():
                self._gaps += instant.blind
                if instant.quote is not None:
                    sides[coin] = instant.quote
                if instant.trades:
                    last[coin] = instant.trades[-1].price
                updates.append(_update(coin, time_ms, instant, sides[coin], last[coin], references[coin]))
            bars = tuple(ended.get(time_ms, ()))
            self._published += len(bars)
            self._halted += sum(self._recordings[bar.coin].blind_ms(bar.open_ms, time_ms) > 0 for bar in bars)
            yield FeedStep(time_ms=time_ms, updates=tuple(updates), bars=bars)

    def history(self, coin: str, interval: str, before_ms: int, limit: int) -> list[BarClose]:
        """At most ``limit`` newest bars that closed before ``before_ms``, within the recording."""
        needed = bars_needed(self.interval, interval, limit)
        self._recording(coin)
        bars = self._bars[coin]
        end = bisect_left(bars, before_ms, key=lambda bar: bar.close_ms)
        return joined(bars[max(end - needed, 0) : end], interval, before_ms, limit)

    def day_volume(self, coin: str, before_ms: int) -> int:
        """Lots traded in the day before ``before_ms``; what was recorded of it is scaled up to a day."""
        recording = self._recording(coin)
        begin_ms = max(before_ms - DAY_MS, recording.quotes[0].time_ms)
        prints = recording.prints
        begin, end = (bisect_left(prints, at, key=lambda row: row.time_ms) for at in (begin_ms, before_ms))
        covered = before_ms - begin_ms - recording.blind_ms(begin_ms, before_ms)
        return scaled_to_day(sum(row.trade.size for row in prints[begin:end]), covered)

    def report(self, ambiguous_bars: int = 0) -> FeedReport:
        """Counts so far; ``halted_bars`` are bars cut by a gap, ``gaps`` those of each coin."""
        return FeedReport(
            grade=self.grade, bars=self._published, ambiguous_bars=ambiguous_bars, halted_bars=self._halted,
            gaps=self._gaps,
        )  # fmt: skip

    def _recording(self, coin: str) -> Recording:
        try:
            return self._recordings[coin]
        except KeyError:
            raise FeedError(f"this market has no coin {coin!r}; it has {', '.join(self._recordings)}") from None

    def _timeline(self) -> dict[int, dict[str, _Instant]]:
        """Time -> coin -> what happens there, the coins of an instant in their order."""
        instants: dict[int, dict[str, _Instant]] = defaultdict(lambda: defaultdict(_Instant))
        for coin, one in self._recordings.items():
            for quote in one.quotes:
                instants[quote.time_ms][coin].quote = quote
            for row in one.prints:
                instants[row.time_ms][coin].trades.append(row.trade)
            for before, _ in one.gaps:
                instants[before + 1][coin].blind = True
        return {time: dict(coins) for time, coins in instants.items()}

    def _build_bars(self, recording: Recording) -> list[BarClose]:
        builder = BarBuilder(recording.asset.coin, self.interval)
        length, prints = self._length, recording.prints
        open_ms = -(-recording.quotes[0].time_ms // length) * length
        # Trades before the first whole bar give it a price, should it have none of its own.
        at = bisect_left(prints, open_ms, key=lambda row: row.time_ms)
        if at:
            builder.add(prints[at - 1].trade.price, 0)
            builder.close(open_ms - length)
        bars: list[BarClose] = []
        while open_ms + length <= recording.quotes[-1].time_ms:
            while at < len(prints) and prints[at].time_ms < open_ms + length:
                builder.add(prints[at].trade.price, prints[at].trade.size)
                at += 1
            bar = builder.close(open_ms)
            if bar is not None and recording.blind_ms(open_ms, open_ms + length) < length:
                bars.append(bar)
            open_ms += length
        return bars


def _update(coin: str, time_ms: int, instant: _Instant, quote: Quote, last: int, reference: _Reference) -> MarketUpdate:
    if instant.blind:
        return MarketUpdate(coin=coin, time_ms=time_ms, halted=True)
    prices = reference.prices(time_ms, quote.bids[0].price, quote.asks[0].price, last)
    mark, oracle = prices or (None, None)
    return MarketUpdate(
        coin=coin, time_ms=time_ms, bids=instant.quote.bids if instant.quote else None,
        asks=instant.quote.asks if instant.quote else None, last=last or None, mark=mark, oracle=oracle,
        trades=tuple(instant.trades),
    )  # fmt: skip
