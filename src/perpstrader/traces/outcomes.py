"""What came of decisions: win rate, expectancy, profit factor from the sums of the days; confidence against outcome."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

import apsw
import msgspec

from perpstrader.traces.errors import TraceError

COLUMNS: Final = ("day", "symbol", "strategy", "regime", "kind", "verdict", "reason")
"""By what outcomes can be asked for."""

_DAY_MS: Final = 86_400_000
_MICRO: Final = Decimal(1_000_000)
_CENTS: Final = Decimal("0.000001")
_FOREVER: Final = 2**62


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of ``decisions`` that share ``key`` (a ``day`` is days since 1970-01-01 UTC); money in USD, net.

    ``ended`` have an outcome, ``wins`` of them are above zero. ``win_rate`` = wins / ended, ``expectancy_usd`` = net /
    ended, ``profit_factor`` = won / lost; ``None`` where they would be divided by nothing.
    """

    key: dict[str, str | int]
    decisions: int
    executed: int
    failed: int
    ended: int
    wins: int
    won_usd: Decimal
    lost_usd: Decimal
    net_usd: Decimal
    win_rate: float | None
    expectancy_usd: Decimal | None
    profit_factor: float | None


class Bin(msgspec.Struct, frozen=True, kw_only=True):
    """The decisions with a confidence from ``low`` to below ``high`` (1.0 is in the last bin) that ended.

    Well calibrated is who wins as often as ``mean_confidence`` says.
    """

    low: float
    high: float
    ended: int
    wins: int
    mean_confidence: float
    win_rate: float
    net_usd: Decimal


def outcomes(
    connection: apsw.Connection, by: Sequence[str], since_ms: int | None, until_ms: int | None
) -> tuple[Outcome, ...]:
    """The outcomes of whole days, grouped; reads sums alone, whose number does not grow with the traces.

    Without a span the sums of all days together are read, whose number does not grow with the days either.
    """
    unknown = [name for name in by if name not in COLUMNS]
    if unknown:
        raise TraceError(f"outcomes cannot be told by {unknown[0]!r}; by one of {', '.join(COLUMNS)}")
    names = ", ".join(by)
    group = f" GROUP BY {names} ORDER BY {names}" if by else ""
    first, last = (since_ms or 0) // _DAY_MS, (_FOREVER if until_ms is None else until_ms) // _DAY_MS
    all_days = since_ms is None and until_ms is None and "day" not in by
    source, days = ("overall", ()) if all_days else ("daily WHERE day BETWEEN ? AND ?", (first, last))
    sql = (
        f"SELECT sum(n), sum(executed), sum(failed), sum(ended), sum(wins), sum(won_micro_usd), sum(net_micro_usd)"
        f"{', ' * bool(by)}{names} FROM {source}{group}"
    )
    rows: list[tuple[Any, ...]] = connection.execute(sql, days).fetchall()
    return tuple(outcome_of(dict(zip(by, row[7:], strict=True)), *row[:7]) for row in rows if row[0])


def calibration(connection: apsw.Connection, since_ms: int | None, until_ms: int | None) -> tuple[Bin, ...]:
    """The bins that hold anything, lowest first."""
    # an ended decision was executed, which has an index
    sql = (
        "SELECT min(9, CAST(round(confidence * 10, 9) AS INTEGER)) AS bin, count(*),"
        " sum(CAST(outcome_usd AS REAL) > 0), avg(confidence), sum(CAST(round(CAST(outcome_usd AS REAL) * 1000000)"
        " AS INTEGER)) FROM trace WHERE executed = 1 AND accepted_ms BETWEEN ? AND ?"
        " AND outcome_usd IS NOT NULL AND confidence BETWEEN 0 AND 1 GROUP BY bin ORDER BY bin"
    )
    rows = connection.execute(sql, (since_ms or 0, _FOREVER if until_ms is None else until_ms))
    return tuple(bin_of(*row) for row in rows)


def bin_of(number: int, ended: int, wins: int, mean: float, micro: int) -> Bin:
    """The bin with its sums; ``micro`` is the net in millionths of a USD."""
    return Bin(
        low=number / 10, high=(number + 1) / 10, ended=ended, wins=wins, mean_confidence=round(mean, 6),
        win_rate=wins / ended, net_usd=_usd(micro),
    )  # fmt: skip


def outcome_of(
    key: dict[str, str | int], decisions: int, executed: int, failed: int, ended: int, wins: int, won: int, net: int
) -> Outcome:
    """The group with its sums; money in millionths of a USD."""
    lost = won - net
    return Outcome(
        key=key, decisions=decisions, executed=executed, failed=failed, ended=ended, wins=wins,
        won_usd=_usd(won), lost_usd=_usd(lost), net_usd=_usd(net),
        win_rate=wins / ended if ended else None,
        expectancy_usd=(_usd(net) / ended).quantize(_CENTS) if ended else None,
        profit_factor=won / lost if lost else None,
    )  # fmt: skip


def _usd(micro: int) -> Decimal:
    return Decimal(micro) / _MICRO
