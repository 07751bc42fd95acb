"""The forms a rule can take; each says its number and its limit, and allows the limit itself (S33)."""

from __future__ import annotations

from decimal import Context, Decimal
from typing import Final

from perpstrader.domain import Check, Reason, plain
from perpstrader.domain.verdicts import UNKNOWN

_SHOWN: Final = Context(prec=10)


def show(number: Decimal | int) -> str:
    """The number with at most ten significant figures; judgements use the exact one."""
    return str(number) if isinstance(number, int) else plain(_SHOWN.plus(number))


def at_most(rule: Reason, value: Decimal | int, limit: Decimal | int, unit: str = "") -> Check:
    """Passes where ``value <= limit``."""
    return Check(rule=rule, passed=value <= limit, value=show(value), limit=show(limit), unit=unit)


def at_least(rule: Reason, value: Decimal | int, limit: Decimal | int, unit: str = "") -> Check:
    """Passes where ``value >= limit``."""
    return Check(rule=rule, passed=value >= limit, value=show(value), limit=show(limit), unit=unit)


def holds(rule: Reason, passed: bool, value: str, limit: str = "", unit: str = "") -> Check:
    """A rule that is no comparison of numbers."""
    return Check(rule=rule, passed=passed, value=value, limit=limit, unit=unit)


def missing(rule: Reason, limit: Decimal | int, unit: str = "") -> Check:
    """The rule's input is not known, and what is not known never opens (S30)."""
    return Check(rule=rule, passed=False, value=UNKNOWN, limit=show(limit), unit=unit)


def unjudged(rule: Reason, limit: Decimal | int, unit: str = "") -> Check:
    """The rule judges only what is known, by its setting's own words; the record says that it was not."""
    return Check(rule=rule, passed=True, value=UNKNOWN, limit=show(limit), unit=unit)
