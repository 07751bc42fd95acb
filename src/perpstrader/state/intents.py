"""Intents and the orders they led to: on disk before the first byte goes out, found again by cloid."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import apsw
import msgspec

from perpstrader.domain.errors import StateError
from perpstrader.domain.orders import Order, OrderIntent, OrderStatus
from perpstrader.state._codec import Row, decode, encode, member, number, number_or_none, text, text_or_none

_intents = msgspec.json.Decoder(OrderIntent)

_INSERT_INTENT: Final = (
    "INSERT INTO intents VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (strategy, signal_id) WHERE purpose = 'entry' AND signal_id <> '' DO NOTHING"
)
_PUT_ORDER: Final = (
    "INSERT INTO orders"
    " (cloid, number, attempt, status, live, sent_ms, expires_ms, oid, filled, average_price, detail, updated_ms)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (cloid) DO UPDATE SET status = excluded.status, live = excluded.live, sent_ms = excluded.sent_ms,"
    " expires_ms = excluded.expires_ms, oid = excluded.oid, filled = excluded.filled,"
    " average_price = excluded.average_price, detail = excluded.detail, updated_ms = excluded.updated_ms"
    " WHERE orders.number = excluded.number AND orders.attempt = excluded.attempt"
)
_ORDERS: Final = (
    "SELECT i.body, o.attempt, o.cloid, o.status, o.sent_ms, o.expires_ms, o.oid, o.filled, o.average_price, o.detail,"
    " o.updated_ms"
    " FROM orders o JOIN intents i ON i.number = o.number "
)
_SETTLED_BEFORE: Final = (
    "SELECT i.number FROM intents i WHERE i.created_ms < ?1"
    " AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.number = i.number AND (o.live = 1 OR o.updated_ms >= ?1))"
    " ORDER BY i.number LIMIT ?2"
)


class IntentsRepository:
    """Each intent once, each order under its cloid; use it only inside ``StateStore.transact`` or ``read``."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def next_number(self) -> int:
        """A number, from 1, that was never given before; ``StateError`` when a cloid's 32 bits are used up."""
        return self.reserve_numbers(1)

    def reserve_numbers(self, count: int) -> int:
        """The first of ``count`` (at least 1) numbers in a row that are never given again: naming outruns the disk."""
        if count < 1:
            raise ValueError(f"{count} numbers cannot be reserved; ask for at least 1")
        sql = "UPDATE intent_counter SET number = number + ? RETURNING number"
        last = int(self._connection.execute(sql, (count,)).get)
        if last >= 2**32:
            raise StateError(f"intent numbers up to {last} do not fit a cloid; start with a new state file")
        return last - count + 1

    def add(self, intent: OrderIntent) -> bool:
        """True when stored; False, and nothing stored, when this (strategy, signal id) has an entry already (S10).

        Raises ``StateError`` for a number that is taken and ``MoneyError`` for a size or price that is not finite.
        """
        text(intent.size)
        text(intent.limit_price)
        text_or_none(intent.trigger.price if intent.trigger else None)
        row = (
            intent.number,
            intent.purpose.value,
            intent.symbol,
            intent.strategy,
            intent.signal_id,
            intent.episode,
            intent.created_ms,
        )
        try:
            self._connection.execute(_INSERT_INTENT, (*row, encode(intent)))
        except apsw.ConstraintError as error:
            raise StateError(f"intent number {intent.number} is taken; take a new one with next_number") from error
        return self._connection.changes() == 1

    def get(self, number: int) -> OrderIntent | None:
        """The intent with this number."""
        body = self._connection.execute("SELECT body FROM intents WHERE number = ?", (number,)).get
        return None if body is None else decode(_intents, body, "intent")

    def of_signal(self, strategy: str, signal_id: str) -> OrderIntent | None:
        """The entry that this signal led to."""
        sql = "SELECT body FROM intents WHERE strategy = ? AND signal_id = ? AND purpose = 'entry' AND signal_id <> ''"
        body = self._connection.execute(sql, (strategy, signal_id)).get
        return None if body is None else decode(_intents, body, "intent")

    def put_order(self, order: Order) -> None:
        """The order as it stands, by cloid; its intent must have been added, its number and attempt never change."""
        row = (
            order.cloid, order.intent.number, order.attempt, order.status.value, int(order.is_live), order.sent_ms,
            order.expires_ms, order.oid, text(order.filled), text_or_none(order.average_price), order.detail,
            order.updated_ms,
        )  # fmt: skip
        try:
            self._connection.execute(_PUT_ORDER, row)
        except apsw.ConstraintError as error:
            what = f"order {order.cloid} (intent {order.intent.number}, attempt {order.attempt})"
            raise StateError(
                f"{what} has no stored intent, or that attempt has another cloid; add the intent first"
            ) from error
        if self._connection.changes() != 1:
            raise StateError(
                f"cloid {order.cloid} belongs to another intent or attempt than {order.intent.number}/{order.attempt}"
            )

    def order_by_cloid(self, cloid: str) -> Order | None:
        """The order with this cloid."""
        return self._first("WHERE o.cloid = ?", (cloid,))

    def order_by_oid(self, oid: int) -> Order | None:
        """The newest order that the venue knows under this oid."""
        return self._first("WHERE o.oid = ? ORDER BY o.seq DESC LIMIT 1", (oid,))

    def live_orders(self) -> tuple[Order, ...]:
        """All orders that the venue may still execute, oldest first."""
        return self._orders("WHERE o.live = 1 ORDER BY o.seq", ())

    def entries_since(self, since_ms: int) -> tuple[Order, ...]:
        """The attempts of entries that were made at or after a time, oldest first."""
        return self._orders("WHERE i.purpose = 'entry' AND i.created_ms >= ? ORDER BY o.seq", (since_ms,))

    def orders_of(self, number: int) -> tuple[Order, ...]:
        """The attempts of one intent, in order."""
        return self._orders("WHERE o.number = ? ORDER BY o.attempt", (number,))

    def orders_of_episode(self, episode: str) -> tuple[Order, ...]:
        """The orders whose intents name this episode, oldest first."""
        return self._orders("WHERE i.episode = ? AND i.episode <> '' ORDER BY o.seq", (episode,))

    def attempts(self, number: int) -> int:
        """How many attempts of this intent are on disk."""
        return int(self._connection.execute("SELECT count(*) FROM orders WHERE number = ?", (number,)).get)

    def recent_orders(self, limit: int) -> tuple[Order, ...]:
        """The newest orders, newest first, at most ``limit``."""
        return self._orders("ORDER BY o.seq DESC LIMIT ?", (max(limit, 0),))

    def prune(self, before_ms: int, limit: int = 500) -> int:
        """Forget at most ``limit`` intents and their orders, made and settled before a time; how many went.

        A live order keeps its intent. Signals stay refused through ``SignalsRepository``, numbers are never given
        again.
        """
        numbers = [(row[0],) for row in self._connection.execute(_SETTLED_BEFORE, (before_ms, limit)).fetchall()]
        if numbers:
            self._connection.executemany("DELETE FROM orders WHERE number = ?", numbers)
            self._connection.executemany("DELETE FROM intents WHERE number = ?", numbers)
        return len(numbers)

    def _first(self, where: str, bindings: tuple[str | int, ...]) -> Order | None:
        found = self._orders(where, bindings)
        return found[0] if found else None

    def _orders(self, where: str, bindings: tuple[str | int, ...]) -> tuple[Order, ...]:
        rows: Iterable[Row] = self._connection.execute(_ORDERS + where, bindings).fetchall()
        return tuple(_order(row) for row in rows)


def _order(row: Row) -> Order:
    body, attempt, cloid, status, sent_ms, expires_ms, oid, filled, average_price, detail, updated_ms = row
    return Order(
        intent=decode(_intents, body, "intent"), attempt=attempt, cloid=cloid,
        status=member(OrderStatus, status, "order status"), sent_ms=sent_ms, expires_ms=expires_ms, oid=oid,
        filled=number(filled, "filled size"), average_price=number_or_none(average_price, "average price"),
        detail=detail, updated_ms=updated_ms,
    )  # fmt: skip
