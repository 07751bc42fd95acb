"""What two decisions differ in, path by path: numbers by value, so that 1.0 and 1.00 are the same."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Final

import msgspec

from perpstrader.domain.traces import Trace
from perpstrader.traces.bars import share

_MISSING: Final = "(nothing)"


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One place at which the traces differ; ``path`` is like ``verdict.checks[RISK].value``."""

    path: str
    first: str
    second: str


def diff(first: Trace, second: Trace) -> tuple[Difference, ...]:
    """Every place at which the two differ, in the order of the trace's fields; equal traces give nothing.

    The rules of a verdict are compared by their names, whatever their order; the bars that were seen as a whole.
    """
    one, other = (msgspec.to_builtins(share(trace)[0]) for trace in (first, second))
    return tuple(_differences("", one, other))


def _differences(path: str, one: object, other: object) -> Iterator[Difference]:
    if isinstance(one, dict) and isinstance(other, dict):
        for name in dict.fromkeys([*one, *other]):
            where = f"{path}.{name}" if path else str(name)
            yield from _differences(where, one.get(name, _MISSING), other.get(name, _MISSING))
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple):
        left, right = _named(one), _named(other)
        for name in dict.fromkeys([*left, *right]):
            yield from _differences(f"{path}[{name}]", left.get(name, _MISSING), right.get(name, _MISSING))
    elif not _same(one, other):
        yield Difference(path=path, first=_shown(one), second=_shown(other))


def _named(items: list[object] | tuple[object, ...]) -> dict[str, object]:
    """The items by rule where they are checks (the second of a rule by its number, too), else by position."""
    named: dict[str, object] = {}
    for number, item in enumerate(items):
        rule = item.get("rule") if isinstance(item, dict) else None
        name = str(rule) if rule is not None else str(number)
        while name in named:
            name += "'"
        named[name] = item
    return named


def _same(one: object, other: object) -> bool:
    if one == other or (one != one and other != other):
        return True
    left, right = _number(one), _number(other)
    return left is not None and left == right


def _number(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        return Decimal(str(value))
    except InvalidOperation:
        return None


def _shown(value: object) -> str:
    if value is None:
        return _MISSING
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
