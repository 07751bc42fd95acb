"""The books: each fill, funding payment and cash flow once, our own net profit beside it, totals that always add up.

The identity that the totals serve (S35): change of equity = realised gross - fees + funding + cash flows + change of
unrealised profit. The books are kept whole and are the one part of the store without a prune: they are the record for
the tax office, a few dozen bytes a row.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import apsw
import msgspec

from perpstrader.domain.money import ZERO
from perpstrader.domain.orders import CashFlow, Fill, FundingPayment
from perpstrader.state._codec import Row, add_exact, number, text, utc_day

_FILL_COLUMNS: Final = (
    "symbol, tid, oid, cloid, buy, price, size, time_ms, fee_usd, closed_pnl_usd, start_position, crossed, direction,"
    " fee_token, liquidation"
)
_INSERT_FILL: Final = (
    f"INSERT INTO fills ({_FILL_COLUMNS}, realized_usd, episode)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (symbol, tid) DO NOTHING"
)
_TOTAL_COLUMNS: Final = "day, fills, row_count, realized_usd, fees_usd, closed_pnl_usd, funding_usd, cash_flows_usd"


class BookedFill(msgspec.Struct, frozen=True, kw_only=True):
    """A fill and what we made of it: ``realized_usd`` on our own cost basis, net of its fee; ``episode`` if known."""

    fill: Fill
    realized_usd: Decimal
    episode: str


class LedgerTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over one UTC ``day``, or over everything (``day`` empty), in USD; exact.

    ``realized_usd`` is net of fees and without funding, ``closed_pnl_usd`` the venue's own gross figure, ``rows`` the
    number of entries (each may be off by 1e-6 at the venue, which truncates).
    """

    day: str
    fills: int = 0
    rows: int = 0
    realized_usd: Decimal = ZERO
    fees_usd: Decimal = ZERO
    closed_pnl_usd: Decimal = ZERO
    funding_usd: Decimal = ZERO
    cash_flows_usd: Decimal = ZERO

    @property
    def gross_usd(self) -> Decimal:
        """Realised before fees and funding."""
        return add_exact(self.realized_usd, self.fees_usd)

    @property
    def net_usd(self) -> Decimal:
        """Realised net of fees and funding: what the daily loss counts."""
        return add_exact(self.realized_usd, self.funding_usd)


class LedgerRepository:
    """The books of the account; use it only inside ``StateStore.transact`` or ``StateStore.read``."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def add_fill(self, fill: Fill, realized_usd: Decimal, *, episode: str = "") -> bool:
        """True when the fill is new and booked; False, and nothing changed, when (symbol, tid) is in the books.

        ``realized_usd`` is our own profit by this fill, net of its fee (an opening fill: minus the fee).
        """
        row = (
            fill.symbol, fill.tid, fill.oid, fill.cloid, int(fill.buy), text(fill.price), text(fill.size), fill.time_ms,
            text(fill.fee_usd), text(fill.closed_pnl_usd), text(fill.start_position), int(fill.crossed), fill.direction,
            fill.fee_token, int(fill.liquidation), text(realized_usd), episode,
        )  # fmt: skip
        self._connection.execute(_INSERT_FILL, row)
        if self._connection.changes() != 1:
            return False
        self._book(
            LedgerTotals(
                day=utc_day(fill.time_ms), fills=1, rows=1, realized_usd=realized_usd, fees_usd=fill.fee_usd,
                closed_pnl_usd=fill.closed_pnl_usd,
            )
        )  # fmt: skip
        return True

    def add_funding(self, payment: FundingPayment, *, episode: str = "") -> bool:
        """True when new and booked; the key is (symbol, time)."""
        row = (payment.symbol, payment.time_ms, text(payment.usd), text(payment.size), text(payment.rate), episode)
        self._connection.execute("INSERT INTO funding VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", row)
        if self._connection.changes() != 1:
            return False
        self._book(LedgerTotals(day=utc_day(payment.time_ms), rows=1, funding_usd=payment.usd))
        return True

    def add_cash_flow(self, flow: CashFlow) -> bool:
        """True when new and booked; the key is the flow's own."""
        row = (flow.key, flow.time_ms, flow.kind, text(flow.usd))
        self._connection.execute("INSERT INTO cash_flows VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", row)
        if self._connection.changes() != 1:
            return False
        self._book(LedgerTotals(day=utc_day(flow.time_ms), rows=1, cash_flows_usd=flow.usd))
        return True

    def has_fill(self, symbol: str, tid: int) -> bool:
        """True when this trade is in the books."""
        return (
            self._connection.execute("SELECT 1 FROM fills WHERE symbol = ? AND tid = ?", (symbol, tid)).get is not None
        )

    def fills_since(self, time_ms: int) -> tuple[Fill, ...]:
        """The fills at or after a venue time, in the order of time, then of booking."""
        return tuple(booked.fill for booked in self.booked_since(time_ms))

    def booked_since(self, time_ms: int) -> tuple[BookedFill, ...]:
        """As ``fills_since``, with our own profit and the episode."""
        return self._booked("WHERE time_ms >= ? ORDER BY time_ms, seq", (time_ms,))

    def recent_fills(self, limit: int) -> tuple[BookedFill, ...]:
        """The newest fills, newest first, at most ``limit``."""
        return self._booked("ORDER BY time_ms DESC, seq DESC LIMIT ?", (max(limit, 0),))

    def booked_of_episode(self, episode: str) -> tuple[BookedFill, ...]:
        """The fills of one episode, in the order of time, then of booking."""
        return self._booked("WHERE episode = ? AND episode <> '' ORDER BY time_ms, seq", (episode,))

    def fills_of_cloid(self, cloid: str) -> tuple[Fill, ...]:
        """The fills of one of our orders, in the order of booking."""
        return tuple(booked.fill for booked in self._booked("WHERE cloid = ? ORDER BY seq", (cloid,)))

    def fills_of_oid(self, oid: int) -> tuple[Fill, ...]:
        """The fills of one order of the venue, in the order of booking."""
        return tuple(booked.fill for booked in self._booked("WHERE oid = ? ORDER BY seq", (oid,)))

    def funding_since(self, time_ms: int) -> tuple[FundingPayment, ...]:
        """The funding payments at or after a venue time, by time and symbol."""
        sql = "SELECT symbol, time_ms, usd, size, rate FROM funding WHERE time_ms >= ? ORDER BY time_ms, symbol"
        return tuple(
            FundingPayment(
                symbol=row[0],
                time_ms=row[1],
                usd=number(row[2], "funding"),
                size=number(row[3], "size"),
                rate=number(row[4], "rate"),
            )
            for row in self._rows(sql, time_ms)
        )

    def cash_flows_since(self, time_ms: int) -> tuple[CashFlow, ...]:
        """The cash flows at or after a venue time, by time and key."""
        sql = "SELECT time_ms, kind, usd, key FROM cash_flows WHERE time_ms >= ? ORDER BY time_ms, key"
        return tuple(
            CashFlow(time_ms=row[0], kind=row[1], usd=number(row[2], "cash flow"), key=row[3])
            for row in self._rows(sql, time_ms)
        )

    def newest_fill_ms(self) -> int | None:
        """The venue time of the newest fill in the books."""
        return self._newest("SELECT max(time_ms) FROM fills")

    def newest_funding_ms(self) -> int | None:
        """The venue time of the newest funding payment in the books."""
        return self._newest("SELECT max(time_ms) FROM funding")

    def newest_cash_flow_ms(self) -> int | None:
        """The venue time of the newest cash flow in the books."""
        return self._newest("SELECT max(time_ms) FROM cash_flows")

    def day(self, day: str) -> LedgerTotals:
        """The totals of one UTC day (``YYYY-MM-DD``), zeros when nothing happened."""
        rows = self._rows(f"SELECT {_TOTAL_COLUMNS} FROM ledger_days WHERE day = ?", day)
        return _totals(rows[0]) if rows else LedgerTotals(day=day)

    def days(self, limit: int) -> tuple[LedgerTotals, ...]:
        """The totals of the newest days on which something happened, newest first, at most ``limit``."""
        return tuple(
            _totals(row)
            for row in self._rows(f"SELECT {_TOTAL_COLUMNS} FROM ledger_days ORDER BY day DESC LIMIT ?", max(limit, 0))
        )

    def totals(self) -> LedgerTotals:
        """The totals over everything in the books."""
        total = LedgerTotals(day="")
        for row in self._connection.execute(f"SELECT {_TOTAL_COLUMNS} FROM ledger_days ORDER BY day").fetchall():
            total = _sum(total, _totals(row))
        return total

    def _book(self, entry: LedgerTotals) -> None:
        total = _sum(self.day(entry.day), entry)
        amounts = (total.realized_usd, total.fees_usd, total.closed_pnl_usd, total.funding_usd, total.cash_flows_usd)
        row = (total.day, total.fills, total.rows, *(text(amount) for amount in amounts))
        self._connection.execute("INSERT OR REPLACE INTO ledger_days VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

    def _booked(self, where: str, bindings: tuple[str | int, ...]) -> tuple[BookedFill, ...]:
        sql = f"SELECT {_FILL_COLUMNS}, realized_usd, episode FROM fills {where}"
        return tuple(_booked_fill(row) for row in self._connection.execute(sql, bindings).fetchall())

    def _rows(self, sql: str, binding: str | int) -> list[Row]:
        return self._connection.execute(sql, (binding,)).fetchall()

    def _newest(self, sql: str) -> int | None:
        newest = self._connection.execute(sql).get
        return None if newest is None else int(newest)


def _sum(left: LedgerTotals, right: LedgerTotals) -> LedgerTotals:
    return LedgerTotals(
        day=left.day,
        fills=left.fills + right.fills,
        rows=left.rows + right.rows,
        realized_usd=add_exact(left.realized_usd, right.realized_usd),
        fees_usd=add_exact(left.fees_usd, right.fees_usd),
        closed_pnl_usd=add_exact(left.closed_pnl_usd, right.closed_pnl_usd),
        funding_usd=add_exact(left.funding_usd, right.funding_usd),
        cash_flows_usd=add_exact(left.cash_flows_usd, right.cash_flows_usd),
    )


def _totals(row: Row) -> LedgerTotals:
    day, fills, rows, realized, fees, closed, funding, flows = row
    return LedgerTotals(
        day=day, fills=fills, rows=rows, realized_usd=number(realized, "daily total"),
        fees_usd=number(fees, "daily total"), closed_pnl_usd=number(closed, "daily total"),
        funding_usd=number(funding, "daily total"), cash_flows_usd=number(flows, "daily total"),
    )  # fmt: skip


def _booked_fill(row: Row) -> BookedFill:
    (
        symbol, tid, oid, cloid, buy, price, size, time_ms, fee, closed, start, crossed, direction, token, liquidation,
        realized, episode,
    ) = row  # fmt: skip
    fill = Fill(
        tid=tid, oid=oid, symbol=symbol, buy=bool(buy), price=number(price, "fill price"),
        size=number(size, "fill size"), time_ms=time_ms, fee_usd=number(fee, "fee"),
        closed_pnl_usd=number(closed, "closed profit"), start_position=number(start, "start position"),
        crossed=bool(crossed), cloid=cloid, direction=direction, fee_token=token, liquidation=bool(liquidation),
    )  # fmt: skip
    return BookedFill(fill=fill, realized_usd=number(realized, "realised profit"), episode=episode)
