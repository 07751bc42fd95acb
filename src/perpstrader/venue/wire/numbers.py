"""Numbers as the venue writes them: decimal text without exponent, at most 8 decimals (API sheet 3.2).

Outgoing requests carry the shortest text (``100``); the venue's own answers keep one decimal (``100.0``), and the
paper exchange answers alike. Rounding is not done here: a number that does not fit is an error.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from perpstrader.domain.money import plain
from perpstrader.venue.wire.faults import WireError, excerpt

MAX_DECIMALS: Final = 8
MAX_LENGTH: Final = 64
_DECIMAL = re.compile(r"-?[0-9]+(?:\.[0-9]+)?", re.ASCII)


def format_decimal(value: Decimal) -> str:
    """The shortest wire text of ``value``: no exponent, no trailing zeros, ``-0`` as ``0``.

    Raises ``WireError`` when it is not finite or needs more than 8 decimals.
    """
    if not value.is_finite():
        raise WireError(f"{value} cannot be sent: a number on the wire is finite")
    text = plain(value)
    point = text.find(".")
    if point >= 0 and len(text) - point - 1 > MAX_DECIMALS:
        places = len(text) - point - 1
        raise WireError(f"{text} cannot be sent: it has {places} decimals, the wire has at most {MAX_DECIMALS}")
    return text


def format_scaled(value: int, decimals: int) -> str:
    """The shortest wire text of ``value * 10**-decimals``; exact, never through a float or a Decimal."""
    if decimals == 0:
        return str(value)
    digits = str(abs(value)).rjust(decimals + 1, "0")
    fraction = digits[-decimals:].rstrip("0")
    text = f"{digits[:-decimals]}.{fraction}" if fraction else digits[:-decimals]
    return "-" + text if value < 0 else text


def format_answer(value: int, decimals: int) -> str:
    """As ``format_scaled`` but with at least one decimal, as the venue writes its answers: ``30135.0``, ``0.0``."""
    text = format_scaled(value, decimals)
    return text if "." in text else text + ".0"


def parse_decimal(text: str, what: str = "number") -> Decimal:
    """The finite Decimal that ``text`` spells; ``what`` names the field in the error.

    Raises ``WireError`` for anything but plain decimal text of at most 64 characters (no exponent, NaN, Infinity,
    blanks).
    """
    if len(text) > MAX_LENGTH or _DECIMAL.fullmatch(text) is None:
        raise WireError(f"{what} {excerpt(text, 40)} is not a plain decimal number of at most {MAX_LENGTH} characters")
    return Decimal(text)


def check_decimals(*texts: str) -> None:
    """Nothing, when every text is what ``parse_decimal`` takes, else its ``WireError``: for text that is read later, if
    at all.
    """
    for text in texts:
        if len(text) > MAX_LENGTH or _DECIMAL.fullmatch(text) is None:
            parse_decimal(text)


def parse_optional(text: str | None, what: str = "number") -> Decimal | None:
    """As ``parse_decimal``, and ``None`` for ``None``."""
    return None if text is None else parse_decimal(text, what)


def parse_scaled(text: str, decimals: int, what: str = "number") -> int | None:
    """``text * 10**decimals`` as an exact integer, or ``None`` when the number is finer than that unit.

    Raises ``WireError`` for text that is no number.
    """
    parse_decimal(text, what)
    whole, _, fraction = text.partition(".")
    fraction = fraction.rstrip("0")
    if len(fraction) > decimals:
        return None
    return int(whole + fraction.ljust(decimals, "0"))


def normalize(text: str, what: str = "number") -> str:
    """The shortest wire text of the number that ``text`` spells: ``100.0`` as ``100``; what the venue hashes."""
    if "." not in text and text[:1] not in "-0":
        parse_decimal(text, what)
        return text
    return plain(parse_decimal(text, what))


def micro_usd(value: Decimal, what: str = "amount") -> int:
    """USD as the integer fields of actions want it (``ntli``, ``usd``): times 10**6, exact, else ``WireError``."""
    scaled = value.scaleb(6) if value.is_finite() else value
    if not value.is_finite() or scaled != scaled.to_integral_value():
        raise WireError(f"{what} {value} USD cannot be sent: it must be a whole number of millionths")
    return int(scaled)
