"""One fault as a line of text: what goes wrong, for which messages, how often, how badly."""

from __future__ import annotations

import math
import re
from typing import Final

import msgspec

from perpstrader.domain.errors import UsageError
from perpstrader.paper.faults.contract import FaultKind

ON_REQUEST: Final = (
    FaultKind.REFUSED, FaultKind.REQUEST_LOST, FaultKind.RESPONSE_LOST, FaultKind.BAD_GATEWAY,
    FaultKind.BAD_GATEWAY_AFTER, FaultKind.TOO_MANY, FaultKind.DELAY, FaultKind.LAG, FaultKind.SERVER_ERROR,
    FaultKind.REQUEST_TWICE, FaultKind.RECORD_EVICTED,
)  # fmt: skip
"""In the order in which one draw meets them; a kind that is added goes to the end, or seeds mean something else."""
ON_FRAME: Final = (
    FaultKind.FRAME_TWICE, FaultKind.SOCKET_DROPPED, FaultKind.SOCKET_FROZEN, FaultKind.FRAME_LOST,
    FaultKind.FRAME_LATE, FaultKind.FRAME_SWAPPED,
)  # fmt: skip
ON_VENUE: Final = (
    FaultKind.STOP_CANCELED, FaultKind.AGENT_PRUNED, FaultKind.POST_ONLY, FaultKind.CLOCK_SKEW, FaultKind.DELEVERAGED,
)  # fmt: skip
"""What befalls the venue by itself; their rates are per hour."""
READS_ONLY: Final = frozenset({FaultKind.LAG, FaultKind.RECORD_EVICTED})

_SECONDS: Final = {
    FaultKind.DELAY: 5.0, FaultKind.LAG: 5.0, FaultKind.FRAME_LATE: 5.0, FaultKind.POST_ONLY: 60.0,
    FaultKind.CLOCK_SKEW: 3.0,
}  # fmt: skip
"""Kinds whose amount is a time, and how long it is if nothing is said."""
_BURSTS: Final = frozenset({FaultKind.TOO_MANY, FaultKind.BAD_GATEWAY, FaultKind.SERVER_ERROR, FaultKind.REFUSED})
"""Kinds whose amount is a number of requests in a row."""
_MOST_PER_HOUR: Final = 3_600.0
_RULE: Final = re.compile(r"([a-z_]+)(?::([A-Za-z0-9.]+))?=([0-9.]+)(?:@(-?[0-9.]+)(ms|s)?)?")
_CLASS: Final = re.compile(r"any|actions|orders|cancels|info(\.[A-Za-z0-9]+)?|ws(\.[A-Za-z0-9]+)?")
_ORDERS: Final = frozenset({"order", "modify", "batchModify", "twapOrder"})
_CANCELS: Final = frozenset({"cancel", "cancelByCloid", "scheduleCancel", "twapCancel"})


class FaultRuleError(UsageError):
    """A fault that cannot be; the sentence says what can."""


class FaultRule(msgspec.Struct, frozen=True):
    """``kind`` befalls each message of class ``where`` with probability ``rate`` (of a venue's own fault: so often an
    hour). ``amount``: seconds of a time (drawn evenly up to it), or requests in a row of a burst.

    Classes: ``any``; ``actions``, of them ``orders`` and ``cancels``; ``info`` or ``info.userFills``; ``ws`` (frames)
    or ``ws.userFills``.
    """

    kind: FaultKind
    rate: float
    where: str = "any"
    amount: float = 0.0

    def text(self) -> str:
        """The line that ``parse`` reads."""
        where = "" if self.where == "any" else f":{self.where}"
        unit = "s" if self.kind in _SECONDS else ""
        amount = f"@{self.amount:g}{unit}" if self.amount else ""
        return f"{self.kind}{where}={self.rate:g}{amount}"

    def concerns(self, classes: tuple[str, ...]) -> bool:
        """Whether a message of these classes can meet it."""
        return self.where == "any" or self.where in classes


def parse(text: str) -> FaultRule:
    """``KIND[:CLASS]=RATE[@AMOUNT]``, such as ``response_lost:orders=0.05``, ``delay:info=0.2@3s``,
    ``too_many=0.01@20``, ``stop_canceled=6``; raises ``FaultRuleError``.
    """
    match = _RULE.fullmatch(text.strip())
    if match is None:
        raise FaultRuleError(f"{text!r} is no fault: write KIND[:CLASS]=RATE[@AMOUNT], such as delay:orders=0.1@3s")
    name, where, rate_text, amount_text, unit = match.groups()
    kind = next((one for one in FaultKind if one == name), None)
    if kind is None:
        raise FaultRuleError(f"there is no fault {name!r}; there are {', '.join(FaultKind)}")
    try:
        rate, amount = float(rate_text), float(amount_text or 0)
    except ValueError:
        raise FaultRuleError(f"{text!r} has a number that is none") from None
    if kind in _SECONDS:
        amount = _SECONDS[kind] if amount_text is None else amount / 1000 if unit == "ms" else amount
    elif kind in _BURSTS and unit is None and amount == int(amount) and amount >= 0:
        amount = float(int(amount))
    elif amount_text is not None:
        raise FaultRuleError(f"{text!r}: {kind} takes {'a number of requests' if kind in _BURSTS else 'no amount'}")
    rule = FaultRule(kind, rate, where or "any", amount)
    _check(rule)
    return rule


def _check(rule: FaultRule) -> None:
    most = _MOST_PER_HOUR if rule.kind in ON_VENUE else 1.0
    if not (math.isfinite(rule.rate) and 0.0 <= rule.rate <= most):
        raise FaultRuleError(f"the rate {rule.rate:g} of {rule.kind} must be from 0 to {most:g}")
    lowest = -86_400.0 if rule.kind is FaultKind.CLOCK_SKEW else 0.0
    if not (math.isfinite(rule.amount) and lowest <= rule.amount <= 86_400.0):
        raise FaultRuleError(f"the amount {rule.amount:g} of {rule.kind} must be from {lowest:g} to 86400")
    if _CLASS.fullmatch(rule.where) is None:
        raise FaultRuleError(
            f"there is no class {rule.where!r}; "
            "there are any, actions, orders, cancels, info, info.TYPE, ws, ws.CHANNEL"
        )
    fits = {
        "any": True, "info": rule.kind in ON_REQUEST, "ws": rule.kind in ON_FRAME,
    }.get(rule.where.partition(".")[0], rule.kind in ON_REQUEST and rule.kind not in READS_ONLY)  # fmt: skip
    if not fits or (rule.kind in ON_VENUE and rule.where != "any"):
        raise FaultRuleError(f"{rule.kind} cannot befall {rule.where}")


def check_together(rules: tuple[FaultRule, ...]) -> None:
    """Raises ``FaultRuleError`` where the faults that one message may meet are more probable than 1 together."""
    for kinds in (ON_REQUEST, ON_FRAME):
        mine = [rule for rule in rules if rule.kind in kinds]
        for where in dict.fromkeys([rule.where for rule in mine]):
            classes = _classes_within(where)
            total = sum(rule.rate for rule in mine if rule.concerns(classes))
            if total > 1.0 + 1e-9 or any(rule.rate < 0.0 for rule in mine):
                met = ", ".join(dict.fromkeys([rule.kind.value for rule in mine if rule.concerns(classes)]))
                raise FaultRuleError(
                    f"fault rates {met} of {where} add up to {total:g}; each must be 0 or more, all at most 1"
                )


def _classes_within(where: str) -> tuple[str, ...]:
    if where in ("orders", "cancels"):
        return (where, "actions")
    return (where, where.partition(".")[0])


class _Typed(msgspec.Struct):
    type: str = ""


class _Signed(msgspec.Struct):
    action: _Typed


_INFO: Final = msgspec.json.Decoder(_Typed)
_ACTION: Final = msgspec.json.Decoder(_Signed)


def classes_of(path: str, body: bytes) -> tuple[str, ...]:
    """The classes of a request; of one that cannot be read, those of its path."""
    if path != "/info":
        name = _type_of(_ACTION, body)
        narrow = "orders" if name in _ORDERS else "cancels" if name in _CANCELS else ""
        return ("actions", narrow) if narrow else ("actions",)
    name = _type_of(_INFO, body)
    return ("info", f"info.{name}") if name else ("info",)


def _type_of(decoder: msgspec.json.Decoder[_Typed] | msgspec.json.Decoder[_Signed], body: bytes) -> str:
    try:
        found = decoder.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return ""
    return found.action.type if isinstance(found, _Signed) else found.type


_CHANNEL: Final = b'{"channel":"'


def classes_of_frame(frame: bytes) -> tuple[str, ...]:
    """The classes of a frame to a client; its channel comes first in it, as this server writes frames."""
    if not frame.startswith(_CHANNEL):
        return ("ws",)
    end = frame.find(b'"', len(_CHANNEL))
    return ("ws", f"ws.{frame[len(_CHANNEL):end].decode('ascii', 'replace')}")
