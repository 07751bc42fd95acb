"""Numbers as a person reads them: grouped, signed with a real minus, with their unit; a dash where there is none."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal

from perpstrader.domain.money import CENT, plain

NOTHING = "\u2013"


def usd_text(value: Decimal | None, *, signed: bool = False) -> str:
    """Dollars to the cent, such as ``$1,234.50``; with ``signed`` a gain bears a plus."""
    if value is None:
        return NOTHING
    cents = value.quantize(CENT, rounding=ROUND_HALF_EVEN)
    return f"{_sign(cents, signed)}${abs(cents):,.2f}"


def percent_text(fraction: float | None, *, signed: bool = False, digits: int = 2) -> str:
    """A fraction as a percentage, such as ``12.34 %``."""
    if fraction is None:
        return NOTHING
    rounded = round(100 * fraction, digits)
    return f"{_sign(rounded, signed)}{abs(rounded):,.{digits}f} %"


def ratio_text(value: float | None) -> str:
    """A ratio with two digits."""
    return NOTHING if value is None else f"{_sign(round(value, 2), False)}{abs(value):,.2f}"


def count_text(value: float) -> str:
    """A count with its thousands grouped."""
    return f"{value:,.0f}"


def price_text(value: Decimal | None) -> str:
    """A price with at most 6 significant digits, as the venue's have 5; whole dollars are never cut."""
    if value is None:
        return NOTHING
    exponent = min(0, value.adjusted() - 5) if value else 0
    return plain(value.quantize(Decimal(1).scaleb(exponent), rounding=ROUND_HALF_EVEN))


def time_text(time_ms: int) -> str:
    """UTC to the minute."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def duration_text(duration_ms: int | None) -> str:
    """The two largest units, such as ``3 d 4 h`` or ``850 ms``."""
    if duration_ms is None:
        return NOTHING
    if duration_ms < 1_000:
        return f"{duration_ms} ms"
    seconds = duration_ms // 1_000
    for size, unit, smaller_size, smaller in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            rest = seconds % size // smaller_size
            return f"{seconds // size} {unit} {rest} {smaller}" if rest else f"{seconds // size} {unit}"
    return f"{duration_ms / 1_000:.1f} s"


def _sign(value: Decimal | float, signed: bool) -> str:
    if value < 0:
        return "\u2212"
    return "+" if signed and value > 0 else ""
