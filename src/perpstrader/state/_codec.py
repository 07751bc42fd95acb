"""Exact text for what goes to disk and typed values for what comes back; anything unreadable is a ``StateError``."""

from __future__ import annotations

import enum
from datetime import date
from decimal import Context, Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final, TypeVar

import msgspec

from perpstrader.domain.errors import MoneyError, StateError

Row = tuple[Any, ...]
"""A row as apsw hands it out; the column types are those of the STRICT table that it was read from."""

_EnumT = TypeVar("_EnumT", bound=enum.StrEnum)
_StructT = TypeVar("_StructT", bound=msgspec.Struct)

_DAY_MS: Final = 86_400_000
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
_WIDE: Final = Context(prec=80)
_encoder = msgspec.json.Encoder()


def utc_day(time_ms: int) -> str:
    """The UTC date of a time in milliseconds, as ``YYYY-MM-DD``; a day is a UTC day everywhere (DESIGN section 7)."""
    return _date_text(time_ms // _DAY_MS)


@lru_cache(maxsize=64)
def _date_text(days: int) -> str:
    return date.fromordinal(_EPOCH_ORDINAL + days).isoformat()


def add_exact(left: Decimal, right: Decimal) -> Decimal:
    """The sum without the 28-digit rounding of the default context, so that books add up for ever."""
    return _WIDE.add(left, right)


def text(value: Decimal) -> str:
    """The number as exact text; raises ``MoneyError`` when it is not finite: no disk may remember NaN as money."""
    if not value.is_finite():
        raise MoneyError(f"{value} is not finite and cannot be stored as money")
    return str(value)


def text_or_none(value: Decimal | None) -> str | None:
    """As ``text``, with ``None`` for what is not known."""
    return None if value is None else text(value)


def number(stored: str, what: str) -> Decimal:
    """The exact number that was stored; raises ``StateError`` for anything else."""
    try:
        value = Decimal(stored)
    except InvalidOperation as error:
        raise StateError(unreadable(what, stored)) from error
    if not value.is_finite():
        raise StateError(unreadable(what, stored))
    return value


def number_or_none(stored: str | None, what: str) -> Decimal | None:
    """As ``number``, with ``None`` for NULL."""
    return None if stored is None else number(stored, what)


def member(kind: type[_EnumT], stored: str, what: str) -> _EnumT:
    """The member of an enum that was stored; an unknown one is a ``StateError``, never a guess."""
    try:
        return kind(stored)
    except ValueError as error:
        raise StateError(unreadable(what, stored)) from error


def encode(value: Any) -> str:
    """JSON in which each Decimal is its exact text."""
    return _encoder.encode(value).decode()


def decode(decoder: msgspec.json.Decoder[_StructT], body: str, what: str) -> _StructT:
    """The typed value of a JSON body; raises ``StateError`` when it does not fit its type."""
    try:
        return decoder.decode(body)
    except msgspec.DecodeError as error:
        raise StateError(f"{unreadable(what, body[:80])}: {error}") from error


def unreadable(what: str, stored: object) -> str:
    """The sentence for a stored value that cannot be understood."""
    return f"the state file holds an unreadable {what} ({stored!r}); restore a backup, or start with a new state file"
