"""Closed bars that decisions share: each is stored once in ``candle``, and a decision says which ones it saw.

A decision's payload names them by opening times and by a digest over their content (``StoredBars``), so that the chain
covers them, too. The digest of a bar is the first 8 bytes of SHA-256 over its fields as text, that of a history the
first 16 over the digests of its bars, in hex. A bar that another source told otherwise is stored beside the first as
another *version*; ``trace_bars`` says which versions a decision saw, and keeps what it names from being swept.

Telling bars apart by their content would cost a millisecond a decision; so ``Memo`` knows bars by their identity, which
the trader keeps from bar to bar, and ``Shelf`` knows what lies in the file already.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

import apsw
import msgspec

from perpstrader.domain.market import Candle
from perpstrader.domain.traces import StoredBars, StrategyView, Trace

SWEPT: Final = 500
"""Bars removed in one transaction."""
_WINDOWS: Final = 1_000
_REMEMBERED: Final = 8_192
_HISTORIES: Final = 128
_SHELF: Final = 2_048
_LONGEST_NAME: Final = 40
"""A longer symbol is none: it stays in the trace, where secrets are looked for."""

_FIELDS: Final = "open_ms, version, close_ms, open, high, low, close, volume, trades, digest"
COLUMNS: Final = tuple(_FIELDS.split(", "))
"""A stored bar without its series."""
_RANGE: Final = f"SELECT {_FIELDS} FROM candle WHERE symbol = ? AND interval = ? AND open_ms BETWEEN ? AND ?"
_ADD: Final = f"INSERT INTO candle (symbol, interval, {_FIELDS}) VALUES ({', '.join('?' * 12)})"
NAME: Final = (
    "INSERT INTO trace_bars (seq, symbol, interval, first_ms, last_ms, versions) VALUES (?, ?, ?, ?, ?, ?)"
)
_VERSIONS: Final = "SELECT versions FROM trace_bars JOIN trace ON trace.seq = trace_bars.seq WHERE trace.uid = ?"

Digested = tuple[Candle, bytes, tuple[str, str, int]]


class Bars(msgspec.Struct, frozen=True):
    """A history that is stored apart from its decision: what the decision says of it, the bars, and their digests."""

    ref: StoredBars
    candles: tuple[Candle, ...]
    digests: tuple[bytes, ...]


class Memo:
    """Digests of bars, and of whole histories, by identity; bounded."""

    def __init__(self) -> None:
        self._new: dict[int, Digested] = {}
        self._old: dict[int, Digested] = {}
        self._histories: OrderedDict[int, Bars] = OrderedDict()
        self._held: dict[int, tuple[Candle, ...]] = {}
        self._newest: dict[tuple[str, str, int], Bars] = {}

    def of(self, candle: Candle) -> Digested | None:
        """The bar with its digest and its series; ``None`` for what cannot be stored apart."""
        key = id(candle)
        found = self._new.get(key) or self._old.get(key) or _digested(candle)
        if found is not None:
            if len(self._new) >= _REMEMBERED:
                self._old, self._new = self._new, {}
            self._new[key] = found  # holds the bar, so that its identity is not given to another
        return found

    def history(self, candles: tuple[Candle, ...]) -> Bars | None:
        """As ``share``; a history that was asked for lately is known."""
        found = self._histories.get(id(candles))
        if found is None:
            last = self.of(candles[-1])
            found = (self._next(candles, last) or _shared(candles, self.of)) if last is not None else None
            if found is not None and last is not None:
                if len(self._newest) >= _HISTORIES:
                    self._newest.clear()
                self._newest[last[2]] = found
                self._histories[id(candles)] = found
                self._held[id(candles)] = candles
                if len(self._histories) > _HISTORIES:
                    del self._held[self._histories.popitem(last=False)[0]]
        return found

    def _next(self, candles: tuple[Candle, ...], last: Digested) -> Bars | None:
        """The newest history of a market and one bar more, which is what nearly every decision sees."""
        known = self._newest.get(last[2])
        gone = len(known.candles) + 1 - len(candles) if known is not None else -1
        if known is None or gone not in (0, 1) or len(known.ref.runs) > 1:
            return None
        ref, (first, count) = known.ref, known.ref.runs[0]
        earlier = known.candles[gone:]
        # the same bars are compared by their identity, without looking into them
        if last[0].open_ms != first + count * ref.bar_ms or candles[:-1] != earlier:
            return None
        digests = (*known.digests[gone:], last[1])
        run = (first + gone * ref.bar_ms, len(candles))
        told = msgspec.structs.replace(ref, runs=(run,), digest=_digest_of(digests))
        return Bars(told, (*earlier, last[0]), digests)


class Histories:
    """Histories that were read lately, by what decisions say of them, their digest included; bounded.

    Decisions of the same bar saw the same history, so that reading some of them reads few. Of the reading thread.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[StoredBars, tuple[Candle, ...]] = OrderedDict()

    def get(self, stored: StoredBars) -> tuple[Candle, ...] | None:
        """The bars, if they are kept."""
        return self._kept.get(stored)

    def put(self, stored: StoredBars, history: tuple[Candle, ...]) -> None:
        """Keep them."""
        self._kept[stored] = history
        if len(self._kept) > _HISTORIES:
            self._kept.popitem(last=False)


class Shelf:
    """What the file holds of the newest bars, as far as its writer knows; of the writing thread."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, str], dict[int, tuple[bytes, int]]] = {}
        self._placed: OrderedDict[int, tuple[Bars, str]] = OrderedDict()
        self._sweeps = 0

    def begin(self, connection: apsw.Connection) -> None:
        """At the begin of a transaction: bars that were swept are no longer known."""
        sweeps = int(connection.execute("SELECT value FROM meta WHERE key = 'bars_swept'").get or 0)
        if sweeps != self._sweeps:
            self.clear()
            self._sweeps = sweeps

    def clear(self) -> None:
        """Know nothing, such as after a transaction that was rolled back."""
        self._series.clear()
        self._placed.clear()

    def placed(self, bars: Bars) -> str | None:
        """The versions of these very bars, if they were placed lately."""
        found = self._placed.get(id(bars))
        return None if found is None else found[1]

    def note(self, bars: Bars, versions: str) -> None:
        """These bars are in the file; held, so that their identity is not given to others."""
        self._placed[id(bars)] = (bars, versions)
        if len(self._placed) > _HISTORIES:
            self._placed.popitem(last=False)

    def series(self, symbol: str, interval: str) -> dict[int, tuple[bytes, int]]:
        """Digest and version by opening time."""
        found = self._series.setdefault((symbol, interval), {})
        if len(found) > _SHELF:
            found.clear()
        return found


def share(trace: Trace, memo: Memo | None = None) -> tuple[Trace, Bars | None]:
    """The trace as it is stored, and the bars that are stored apart from it; bars of several series stay in it."""
    view = trace.view
    if not isinstance(view, StrategyView) or not view.history or not isinstance(view.history, tuple):
        return trace, None
    bars = memo.history(view.history) if memo is not None else _shared(view.history, _digested)
    if bars is None:
        return trace, None
    told = msgspec.structs.replace(view, history=(), stored=bars.ref)
    return msgspec.structs.replace(trace, view=told), bars


def whole(trace: Trace, bars: Bars | None) -> Trace:
    """The trace with the bars that were taken out of it."""
    if bars is None or trace.view is None:
        return trace
    view = msgspec.structs.replace(trace.view, history=bars.candles, stored=None)
    return msgspec.structs.replace(trace, view=view)


def keep(connection: apsw.Connection, seq: int, bars: Bars, shelf: Shelf | None = None) -> None:
    """Have the bars of a new decision in the file, inside the caller's transaction."""
    connection.execute(NAME, placed(connection, seq, bars, shelf or Shelf()))


def placed(connection: apsw.Connection, seq: int, bars: Bars, shelf: Shelf) -> tuple[int | str, ...]:
    """As ``keep``, with ``NAME`` left to do: what it takes."""
    ref = bars.ref
    opens = ref.opens
    others = shelf.placed(bars)
    if others is None:
        series = shelf.series(ref.symbol, ref.interval)
        found = [series.get(open_ms) for open_ms in opens]
        new = [n for n, known in enumerate(found) if known is None or known[0] != bars.digests[n]]
        if new:
            _complete(connection, bars, opens, series, range(new[0], new[-1] + 1))
            found = [series[open_ms] for open_ms in opens]
        others = ",".join(f"{place}:{known[1]}" for place, known in enumerate(found) if known is not None and known[1])
        shelf.note(bars, others)
    return seq, ref.symbol, ref.interval, opens[0], opens[-1], others


def are_kept(connection: apsw.Connection, seq: int) -> bool:
    """Whether the file keeps bars for this decision."""
    return connection.execute("SELECT 1 FROM trace_bars WHERE seq = ?", (seq,)).get is not None


def resolved(connection: apsw.Connection, trace: Trace, known: Histories | None = None) -> Trace:
    """The trace with its history, as far as the file holds it; otherwise it still says which bars they were.

    A history of ``known`` is not read again.
    """
    view = trace.view
    if view is None or view.stored is None:
        return trace
    history = known.get(view.stored) if known is not None else None
    if history is None:
        rows = _rows_of(connection, trace.id, view.stored)
        if rows is None:
            return trace
        symbol, interval = view.stored.symbol, view.stored.interval
        history = tuple(_candle(symbol, interval, open_ms, *told) for open_ms, _, *told, _ in rows)
        if known is not None:
            known.put(view.stored, history)
    return msgspec.structs.replace(trace, view=msgspec.structs.replace(view, history=history, stored=None))


def candle_of(row: Mapping[str, Any]) -> Candle:
    """The bar of a row of ``candle``, by its columns."""
    names = ("symbol", "interval", "open_ms", "close_ms", "open", "high", "low", "close", "volume", "trades")
    return _candle(*(row[name] for name in names))


def missing(connection: apsw.Connection, trace: Trace) -> str:
    """What is wrong with the bars that a stored trace names; empty where nothing is."""
    stored = trace.view.stored if trace.view is not None else None
    if stored is None:
        return ""
    if connection.execute(_VERSIONS, (trace.id,)).get is None:
        return "nothing keeps the bars that it saw"
    return "" if _rows_of(connection, trace.id, stored) is not None else "the bars that it saw are missing or changed"


def changed(connection: apsw.Connection) -> str:
    """The first bar whose content does not give its digest, in words; empty where there is none."""
    return first_changed(connection.execute(f"SELECT symbol, interval, {_FIELDS} FROM candle"))


def first_changed(rows: Iterable[Sequence[Any]]) -> str:
    """As ``changed``, of rows of a series and ``COLUMNS``."""
    for symbol, interval, open_ms, version, *told, digest in rows:
        if _digest(symbol, interval, open_ms, *told) != digest:
            return f"the stored bar {symbol} {interval} of {open_ms} (version {version}) was changed"
    return ""


def assembled(trace: Trace, versions: str, rows: Mapping[tuple[int, int], Sequence[Any]]) -> Trace:
    """As ``resolved``, from rows that came another way: ``COLUMNS`` by opening time and version."""
    view = trace.view
    if view is None or view.stored is None:
        return trace
    others = _places(versions)
    found = [rows.get((open_ms, others.get(place, 0))) for place, open_ms in enumerate(view.stored.opens)]
    known = [row for row in found if row is not None]
    if not known or len(known) < len(found) or _digest_of([row[-1] for row in known]) != view.stored.digest:
        return trace
    symbol, interval = view.stored.symbol, view.stored.interval
    history = tuple(_candle(symbol, interval, row[0], *row[2:-1]) for row in known)
    return msgspec.structs.replace(trace, view=msgspec.structs.replace(view, history=history, stored=None))


class Sweep:
    """One pass over the bars that no decision names any more, a slice of it at a time.

    Decisions go through in the order of their first bar; what lies between the bars of one and of the next is swept.
    Decisions that came since the pass began are looked at again in each slice.
    """

    def __init__(self) -> None:
        self._todo: list[tuple[str, str]] | None = None
        self._newest = 0
        self._after = (-1, -1, -1)
        self._covered_ms = -1
        self._gap: tuple[int, int] | None = None
        self._at_end = False

    def slice(self, connection: apsw.Connection) -> tuple[int, bool]:
        """Inside the caller's transaction: (bars removed, whether more is to be looked at)."""
        if self._todo is None:
            self._todo = list(connection.execute("SELECT DISTINCT symbol, interval FROM candle ORDER BY 1, 2"))
            self._newest = connection.execute("SELECT max(seq) FROM trace_bars").get or 0
        if not self._todo:
            return 0, False
        series = self._todo[0]
        if self._gap is None:
            self._gap = self._next_gap(connection, series)
        removed, is_full = self._remove(connection, series, self._gap) if self._gap is not None else (0, False)
        if not is_full and self._gap is not None:
            self._covered_ms = max(self._covered_ms, self._gap[1])
            self._gap = None
            if self._at_end:
                self._todo.pop(0)
                self._after, self._covered_ms, self._at_end = (-1, -1, -1), -1, False
        if removed:
            connection.execute(
                "INSERT INTO meta (key, value) VALUES ('bars_swept', 1)"
                " ON CONFLICT DO UPDATE SET value = CAST(value AS INTEGER) + 1"
            )
        return removed, bool(self._todo)

    def _next_gap(self, connection: apsw.Connection, series: tuple[str, str]) -> tuple[int, int] | None:
        """The opening times after which, and before which, no decision saw a bar; ``None`` where none was met yet."""
        windows: list[tuple[Any, ...]] = connection.execute(
            "SELECT first_ms, last_ms, seq FROM trace_bars WHERE symbol = ? AND interval = ?"
            " AND (first_ms, last_ms, seq) > (?, ?, ?) ORDER BY first_ms, last_ms, seq LIMIT ?",
            (*series, *self._after, _WINDOWS),
        ).fetchall()
        for first_ms, last_ms, seq in windows:
            self._after = (first_ms, last_ms, seq)
            if first_ms > self._covered_ms + 1:
                gap = (self._covered_ms, first_ms)
                self._covered_ms = last_ms
                return gap
            self._covered_ms = max(self._covered_ms, last_ms)
        if len(windows) == _WINDOWS:
            return None
        self._at_end = True
        return self._covered_ms, 2**62

    def _remove(
        self, connection: apsw.Connection, series: tuple[str, str], gap: tuple[int, int]
    ) -> tuple[int, bool]:
        new_ms = connection.execute(
            "SELECT min(first_ms) FROM trace_bars WHERE seq > ? AND symbol = ? AND interval = ?",
            (self._newest, *series),
        ).get
        before_ms = gap[1] if new_ms is None else min(gap[1], new_ms)
        connection.execute(
            "DELETE FROM candle WHERE symbol = ?1 AND interval = ?2 AND (open_ms, version) IN (SELECT open_ms, version"
            " FROM candle WHERE symbol = ?1 AND interval = ?2 AND open_ms > ?3 AND open_ms < ?4 LIMIT ?5)",
            (*series, gap[0], before_ms, SWEPT),
        )
        return connection.changes(), connection.changes() == SWEPT


def _shared(candles: tuple[Candle, ...], digested: Callable[[Candle], Digested | None]) -> Bars | None:
    found = [digested(candle) for candle in candles]
    known = [each for each in found if each is not None]
    if len(known) < len(found) or len({each[2] for each in known}) != 1:
        return None
    symbol, interval, bar_ms = known[0][2]
    runs = _runs([candle.open_ms for candle in candles], bar_ms)
    if runs is None:
        return None
    digests = tuple(each[1] for each in known)
    ref = StoredBars(symbol=symbol, interval=interval, bar_ms=bar_ms, runs=runs, digest=_digest_of(digests))
    return Bars(ref, candles, digests)


def _runs(opens: list[int], bar_ms: int) -> tuple[tuple[int, int], ...] | None:
    """Pieces without a gap; ``None`` where the times are not in order."""
    if opens == list(range(opens[0], opens[0] + len(opens) * bar_ms, bar_ms)):
        return ((opens[0], len(opens)),)
    runs: list[tuple[int, int]] = []
    for open_ms in opens:
        end_ms = runs[-1][0] + runs[-1][1] * bar_ms if runs else None
        if end_ms is not None and open_ms < end_ms:
            return None
        if open_ms == end_ms:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((open_ms, 1))
    return tuple(runs)


def _digested(candle: Candle) -> Digested | None:
    """Only what a row holds exactly, and what reads back equal."""
    if type(candle) is not Candle:
        return None
    names, whole_numbers = (candle.symbol, candle.interval), (candle.open_ms, candle.close_ms, candle.trades)
    numbers = (candle.open, candle.high, candle.low, candle.close, candle.volume)
    bar_ms = candle.close_ms - candle.open_ms + 1 if all(type(n) is int for n in whole_numbers) else 0
    if bar_ms < 1 or not all(0 <= number < 2**53 for number in whole_numbers):
        return None
    if not all(type(number) is Decimal and number.is_finite() for number in numbers):
        return None
    if not all(type(name) is str and len(name) <= _LONGEST_NAME and name.isascii() for name in names):
        return None
    texts = (str(number) for number in numbers)
    digest = _digest(*names, candle.open_ms, candle.close_ms, *texts, candle.trades)
    return candle, digest, (candle.symbol, candle.interval, bar_ms)


def _digest(*fields: object) -> bytes:
    return hashlib.sha256("\0".join(map(str, fields)).encode()).digest()[:8]


def _digest_of(digests: Sequence[bytes]) -> str:
    return hashlib.sha256(b"".join(digests)).hexdigest()[:32]


def _complete(
    connection: apsw.Connection, bars: Bars, opens: list[int], series: dict[int, tuple[bytes, int]], places: range
) -> None:
    """Learn what the file holds of the bars at these places, and add what it does not."""
    there: dict[int, dict[bytes, int]] = {}
    ref = bars.ref
    for row in connection.execute(_RANGE, (ref.symbol, ref.interval, opens[places[0]], opens[places[-1]])):
        there.setdefault(row[0], {})[row[-1]] = row[1]
    for place in places:
        open_ms, digest, bar = opens[place], bars.digests[place], bars.candles[place]
        versions = there.get(open_ms, {})
        version = versions.get(digest)
        if version is None:
            version = max(versions.values()) + 1 if versions else 0
            prices = (str(bar.open), str(bar.high), str(bar.low), str(bar.close), str(bar.volume))
            connection.execute(
                _ADD, (ref.symbol, ref.interval, open_ms, version, bar.close_ms, *prices, bar.trades, digest)
            )
        series[open_ms] = (digest, version)


def _rows_of(connection: apsw.Connection, trace_id: str, ref: StoredBars) -> list[tuple[Any, ...]] | None:
    """The rows of exactly these bars, or ``None``."""
    opens = ref.opens
    if not opens:
        return None
    rows: list[tuple[Any, ...]] = connection.execute(
        f"{_RANGE} ORDER BY open_ms, version", (ref.symbol, ref.interval, opens[0], opens[-1])
    ).fetchall()
    if len(rows) != len(opens) or len(ref.runs) > 1:
        text: str = connection.execute(_VERSIONS, (trace_id,)).get or ""
        versions = _places(text)
        wanted = {(open_ms, versions.get(place, 0)) for place, open_ms in enumerate(opens)}
        rows = [row for row in rows if (row[0], row[1]) in wanted]
    return rows if _digest_of([row[-1] for row in rows]) == ref.digest else None


def _places(versions: str) -> dict[int, int]:
    """Which bars of a history, by their place, are not of the first version."""
    told = (each.split(":") for each in versions.split(",") if each)
    return {int(place): int(version) for place, version in told}


@lru_cache(maxsize=_REMEMBERED)
def _candle(
    symbol: str, interval: str, open_ms: int, close_ms: int, open_: str, high: str, low: str, close: str, volume: str,
    trades: int,
) -> Candle:  # fmt: skip
    """Decisions that saw the same bar share it in memory, too."""
    return Candle(
        symbol=symbol, interval=interval, open_ms=open_ms, close_ms=close_ms, open=Decimal(open_), high=Decimal(high),
        low=Decimal(low), close=Decimal(close), volume=Decimal(volume), trades=trades,
    )  # fmt: skip
