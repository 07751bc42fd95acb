"""How numbers and counts are worded for a person: one grammar for everything that is compared with a limit."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, InvalidOperation
from difflib import get_close_matches
from typing import Final

from perpstrader.domain.money import plain

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIGURES: Final = Context(prec=5)
_FRACTIONS: Final = ("of ", "move of ", "beyond ")
"""Units that say what a bare fraction is a part of; a person reads those in percent."""


def plural(count: int, noun: str, many: str = "") -> str:
    """``1 position``, ``2 positions``; ``many`` where the plural is not made by an s."""
    return f"{count} {noun if count == 1 else many or f'{noun}s'}"


def near_name(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant, upper and lower case aside; ``None`` where none is near."""
    folded = {candidate.casefold(): candidate for candidate in known}
    close = get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else None


def moment_text(time_ms: int) -> str:
    """Date and time in UTC to the second, such as ``2025-05-12 14:05:00``; the number itself beyond the calendar."""
    try:
        return (_EPOCH + timedelta(milliseconds=time_ms)).strftime("%Y-%m-%d %H:%M:%S")
    except OverflowError:
        return f"time {time_ms}"


def against(value: str, limit: str, unit: str = "") -> str:
    """A value with its unit and the limit with its own, such as ``7.2 bps of mid, limit 5 bps``.

    Numbers are shown with five significant figures, or exactly where those would not tell value and limit apart;
    fractions in percent. Text that is no number is shown as it is; an empty limit is left out.
    """
    seen, allowed = _number(value), _number(limit)
    share = unit.startswith(_FRACTIONS)
    whole, short = (f"% {unit}", "%") if share else (unit, _head(unit))
    shown = _figures([number * 100 if share else number for number in (seen, allowed) if number is not None])
    bound = f"limit {shown[-1]} {short}".rstrip() if allowed is not None else f"must be {limit}" if limit else ""
    text = value if seen is None else f"{shown[0]} {whole}".rstrip()
    return ", ".join(part for part in (text, bound) if part)


def _figures(numbers: list[Decimal]) -> list[str]:
    """Short, unless two different numbers would then look the same."""
    shown = [plain(_FIGURES.plus(number)) for number in numbers]
    if len(set(numbers)) != len(set(shown)):
        return [plain(number) for number in numbers]
    return shown


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _head(unit: str) -> str:
    """The unit without what it is counted over: ``USD in BTC`` is ``USD``."""
    first = unit.split(" ", 1)[0]
    return "base units" if first == "base" else first
