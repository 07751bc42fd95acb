"""Replay of recorded candles: each bar is walked open, adverse extreme, favourable extreme, close."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal

import msgspec

from perpstrader.paper.engine.assets import EngineAsset
from perpstrader.paper.engine.market import BarClose, MarketUpdate
from perpstrader.paper.feeds.bars import DAY_MS, HOUR_MS, bars_needed, joined
from perpstrader.paper.feeds.candles import CandleSeries
from perpstrader.paper.feeds.contract import FeedError, FeedReport, FeedStep, Grade, never_quiet
from perpstrader.paper.feeds.lane import POINTS_OF_BAR, Lane
from perpstrader.paper.feeds.tables import moment_text

_Present = list[tuple[Lane, int]]
_Funding = tuple[tuple[str, Decimal], ...]


class CandleFeed:
    """Replays the candles of several coins side by side; nothing of a bar shows before the instant at which it happens.

    A bar opens with a jump from the close before; in the same step, after the update, the bar that ended is
    published, so that what is decided on it meets the next bar. A quarter of a bar apart follow the extreme that is
    adverse to the account (a long: the low; a short: the high; none: drawn by seed), the other one, and the close,
    each reached along the path. The position is asked for 1 ms before the first turn, on a step of its own without
    news, so that orders sent at the open have arrived. Instants that ``is_quiet`` lets go are left out; those that
    remain carry the same values either way.

    A bar without volume on every coin is a halt: no fills until the next. A coin without a bar where others have one,
    or a hole in the whole recording, is a gap and a halt as well. Funding comes at each hour as recorded, else from
    the premium.
    """

    grade: Grade = "candle"

    def __init__(
        self, series: Sequence[CandleSeries], seed: int = 0, *, start_ms: int | None = None, end_ms: int | None = None
    ) -> None:
        if not series or len({one.interval for one in series}) > 1:
            raise FeedError("a replay needs candles of at least one coin, all of one interval")
        self.interval = series[0].interval
        self._length = series[0].interval_ms
        for one in series:
            if (one.times[0] - series[0].times[0]) % self._length:
                pair = f"{series[0].asset.coin} and {one.asset.coin}"
                raise FeedError(f"the {self.interval} candles of {pair} do not begin at the same instants")
        self._lanes = {one.asset.coin: Lane(one, seed) for one in series}
        self.assets: tuple[EngineAsset, ...] = tuple(one.asset for one in series)
        begins = sorted(set().union(*(one.times for one in series)))
        first = begins[0] if start_ms is None else start_ms
        last = begins[-1] + self._length if end_ms is None else end_ms
        self._begins = [begin for begin in begins if first <= begin and begin + self._length <= last]
        if not self._begins:
            held = f"{moment_text(begins[0])} to {moment_text(begins[-1] + self._length)}"
            raise FeedError(
                f"no whole {self.interval} bar from {moment_text(first)} to {moment_text(last)}; recorded is {held}"
            )
        self.start_ms = self._begins[0]
        self.end_ms: int | None = self._begins[-1] + self._length
        self._bars = self._halted = self._gaps = 0

    def steps(
        self, position_sign: Callable[[str], int], is_quiet: Callable[[], bool] = never_quiet
    ) -> Iterator[FeedStep]:
        """The recording from its beginning; ends with the step that publishes the last bars."""
        self._bars = self._halted = self._gaps = 0
        return self._with_funding(self._walk(position_sign, is_quiet))

    def _walk(self, position_sign: Callable[[str], int], is_quiet: Callable[[], bool]) -> Iterator[FeedStep]:
        lanes = tuple(self._lanes.values())
        places = {lane.coin: lane.series.closed_before(self.start_ms + self._length - 1) for lane in lanes}
        ended: _Present = []
        due = self.start_ms
        for begin in self._begins:
            if begin > due:
                self._gaps += 1
                yield FeedStep(time_ms=due, updates=_halt(lanes, places, due), bars=self._close(ended))
                ended = []
            due = begin + self._length
            present, absent = _at(lanes, places, begin)
            halted = not any(lane.series.volumes[index] for lane, index in present)
            if halted:
                self._halted += len(present)
                updates = _halt([lane for lane, _ in present], places, begin)
            else:
                updates = tuple(
                    [lane.update(index, lane.series.opens[index], begin, continuous=False) for lane, index in present]
                )
            if absent:
                self._gaps += len(absent)
                updates += _halt(absent, places, begin)
            yield FeedStep(time_ms=begin, updates=updates, bars=self._close(ended))
            for lane, _ in present:
                places[lane.coin] += 1
            ended = present
            if not halted and not is_quiet():
                yield from self._inside(begin, present, position_sign, is_quiet)
        yield FeedStep(time_ms=due, bars=self._close(ended))

    def _inside(
        self, begin: int, present: _Present, position_sign: Callable[[str], int], is_quiet: Callable[[], bool]
    ) -> Iterator[FeedStep]:
        """The inner points of one bar, as long as they matter to anybody."""
        quarter = self._length // POINTS_OF_BAR
        yield FeedStep(time_ms=begin + quarter - 1, quiet_skippable=True)
        paths = [
            (lane, index, _path(lane, index, lane.low_first(index, position_sign(lane.coin))))
            for lane, index in present
        ]
        for point in range(3):
            if is_quiet():
                return
            time_ms = begin + quarter * (point + 1)
            updates = [lane.update(index, path[point], time_ms, continuous=True) for lane, index, path in paths]
            yield FeedStep(time_ms=time_ms, updates=tuple(updates), quiet_skippable=True)

    def _close(self, ended: _Present) -> tuple[BarClose, ...]:
        self._bars += len(ended)
        return tuple([lane.series.bar(index) for lane, index in ended])

    def _with_funding(self, steps: Iterator[FeedStep]) -> Iterator[FeedStep]:
        """Add each hour's funding to the step of that instant, or as a step of its own where there is none."""
        hour = self.start_ms - self.start_ms % HOUR_MS + HOUR_MS
        for step in steps:
            while hour < step.time_ms:
                yield FeedStep(time_ms=hour, funding=self._funding(hour), quiet_skippable=True)
                hour += HOUR_MS
            if hour == step.time_ms:
                step = msgspec.structs.replace(step, funding=self._funding(hour))
                hour += HOUR_MS
            yield step

    def _funding(self, hour: int) -> _Funding:
        return tuple([(lane.coin, _rate(lane, hour)) for lane in self._lanes.values() if lane.series.times[0] < hour])

    def history(self, coin: str, interval: str, before_ms: int, limit: int) -> list[BarClose]:
        """At most ``limit`` newest bars that closed before ``before_ms``, also from before the replay's beginning."""
        needed = bars_needed(self.interval, interval, limit)
        lane = self._lane(coin)
        end = lane.series.closed_before(before_ms)
        bars = [lane.series.bar(index) for index in range(max(end - needed, 0), end)]
        return joined(bars, interval, before_ms, limit)

    def day_volume(self, coin: str, before_ms: int) -> int:
        """Lots of the bars that closed in the day before ``before_ms``, scaled up when less than a day is recorded."""
        return self._lane(coin).day_volume(before_ms, DAY_MS)

    def report(self, ambiguous_bars: int = 0) -> FeedReport:
        """Counts so far: ``bars`` and ``halted_bars`` count each coin's bar, ``gaps`` each coin's missing one."""
        return FeedReport(
            grade=self.grade, bars=self._bars, ambiguous_bars=ambiguous_bars, halted_bars=self._halted, gaps=self._gaps
        )

    def _lane(self, coin: str) -> Lane:
        try:
            return self._lanes[coin]
        except KeyError:
            raise FeedError(f"this market has no coin {coin!r}; it has {', '.join(self._lanes)}") from None


def _path(lane: Lane, index: int, low_first: bool) -> tuple[int, int, int]:
    series = lane.series
    low, high, close = series.lows[index], series.highs[index], series.closes[index]
    return (low, high, close) if low_first else (high, low, close)


def _at(lanes: Sequence[Lane], places: dict[str, int], begin: int) -> tuple[_Present, list[Lane]]:
    """The lanes with a bar that begins now, each with its index, and those that have begun and lack one."""
    present: _Present = []
    absent: list[Lane] = []
    for lane in lanes:
        index, times = places[lane.coin], lane.series.times
        if index < len(times) and times[index] == begin:
            present.append((lane, index))
        elif index > 0:
            absent.append(lane)
    return present, absent


def _halt(lanes: Sequence[Lane], places: dict[str, int], time_ms: int) -> tuple[MarketUpdate, ...]:
    return tuple(
        [MarketUpdate(coin=lane.coin, time_ms=time_ms, halted=True) for lane in lanes if places[lane.coin] > 0]
    )


def _rate(lane: Lane, hour: int) -> Decimal:
    recorded = (lane.series.funding or {}).get(hour)
    return Decimal(lane.premium_rate(hour)).scaleb(-10) if recorded is None else recorded
