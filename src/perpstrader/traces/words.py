"""Instants, amounts and ages in the words of the explanations."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation

from perpstrader.domain.money import plain

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(time_ms: int) -> str:
    """The instant in UTC, such as ``2025-05-12 14:05:00.120 UTC``; milliseconds only where there are any."""
    try:
        at = _EPOCH + timedelta(milliseconds=time_ms)
    except OverflowError:
        return f"time {time_ms}"
    text = at.strftime("%Y-%m-%d %H:%M:%S")
    return f"{text}.{time_ms % 1000:03d} UTC" if time_ms % 1000 else f"{text} UTC"


def number(value: Decimal) -> str:
    """All its digits, without an exponent."""
    return plain(value) if value.is_finite() else str(value)


def usd(value: Decimal | str) -> str:
    """An amount with separators and cents, such as ``-$1,250.00``; text that is no number is shown as it is."""
    try:
        amount = Decimal(value)
        return f"{'-' if amount < 0 else ''}${abs(amount):,.2f}"
    except (InvalidOperation, ValueError):
        return f"${value}"


def age(age_ms: int) -> str:
    """How long ago, in the unit that suits it."""
    if abs(age_ms) < 1_000:
        return f"{age_ms} ms"
    seconds = age_ms / 1_000
    return (
        f"{seconds:.1f} s"
        if abs(seconds) < 120
        else f"{seconds / 60:.0f} min"
        if abs(seconds) < 7_200
        else f"{seconds / 3_600:.1f} h"
    )


def full_stop(text: str) -> str:
    """The full stop that a sentence still needs."""
    return "" if text.endswith((".", "!", "?")) else "."
