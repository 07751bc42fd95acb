"""What came of the decisions of the shared record: the sums and bins of ``traces.outcomes``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from perpstrader.traces.errors import TraceError
from perpstrader.traces.outcomes import COLUMNS, Bin, Outcome, bin_of, outcome_of
from perpstrader.traces.postgres.queries import Bots, Where

_DAY_MS: Final = 86_400_000
_FOREVER: Final = 2**62
_USD: Final = "CASE WHEN outcome_usd ~ '^[-+]?[0-9]+([.][0-9]*)?$' THEN outcome_usd::double precision ELSE 0 END"
"""What is no number counts as zero, as in SQLite."""
_MICRO: Final = f"round(({_USD}) * 1000000)::bigint"


async def outcomes(
    connection: Any, bots: Bots, by: Sequence[str], since_ms: int | None, until_ms: int | None
) -> tuple[Outcome, ...]:
    """The outcomes of whole days, grouped; of what is kept."""
    unknown = [name for name in by if name not in COLUMNS]
    if unknown:
        raise TraceError(f"outcomes cannot be told by {unknown[0]!r}; by one of {', '.join(COLUMNS)}")
    where = Where(bots)
    first = (since_ms or 0) // _DAY_MS
    last = (_FOREVER if until_ms is None else until_ms) // _DAY_MS
    where.add("trace.accepted_ms BETWEEN {} AND {}", first * _DAY_MS, min((last + 1) * _DAY_MS - 1, _FOREVER))
    names = ", ".join(f"accepted_ms / {_DAY_MS} AS day" if name == "day" else name for name in by)
    places = ", ".join(str(number) for number in range(8, 8 + len(by)))
    sql = (
        "SELECT count(*), count(*) FILTER (WHERE executed), count(*) FILTER (WHERE error <> ''), count(outcome_usd),"
        f" count(*) FILTER (WHERE {_MICRO} > 0), coalesce(sum({_MICRO}) FILTER (WHERE {_MICRO} > 0), 0)::bigint,"
        f" coalesce(sum({_MICRO}), 0)::bigint{', ' * bool(by)}{names} FROM perpstrader.trace {where}"
        + (f" GROUP BY {places} ORDER BY {places}" if by else "")
    )
    rows = [tuple(row) for row in await connection.fetch(sql, *where.values)]
    return tuple(outcome_of(dict(zip(by, row[7:], strict=True)), *row[:7]) for row in rows if row[0])


async def calibration(
    connection: Any, bots: Bots, since_ms: int | None, until_ms: int | None
) -> tuple[Bin, ...]:
    """The bins that hold anything, lowest first."""
    where = Where(bots)
    where.add("trace.accepted_ms BETWEEN {} AND {}", since_ms or 0, _FOREVER if until_ms is None else until_ms)
    where.add("executed AND outcome_usd IS NOT NULL AND confidence BETWEEN 0 AND 1")
    sql = (
        "SELECT least(9, trunc(round((confidence * 10)::numeric, 9)))::integer AS bin, count(*),"
        f" count(*) FILTER (WHERE {_MICRO} > 0), avg(confidence), sum({_MICRO})::bigint"
        f" FROM perpstrader.trace {where} GROUP BY 1 ORDER BY 1"
    )
    return tuple(bin_of(*row) for row in await connection.fetch(sql, *where.values))
