"""Answers of ``POST /exchange``: typed outcomes for the client, builders for the paper exchange (API sheet 2.3).

HTTP 200 says nothing here: a refused order hides in ``statuses``, a refused action in ``status: "err"``. A body that
is neither is a ``WireError``, and then the outcome of the action is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias, TypeVar

import msgspec

from perpstrader.venue.wire.errors import ErrorClass, ErrorCode, classify, error_class
from perpstrader.venue.wire.faults import WireError, excerpt


class RestingWire(msgspec.Struct, frozen=True, omit_defaults=True):
    """The order rests under ``oid``."""

    oid: int
    cloid: str | None = None


class FilledWire(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Something filled at once; an IOC's remainder is gone, a GTC's may rest: fills and open orders tell."""

    total_sz: str
    avg_px: str
    oid: int
    cloid: str | None = None


class RunningWire(msgspec.Struct, frozen=True, rename="camel"):
    """A TWAP was started under ``twap_id``."""

    twap_id: int


class StatusWire(msgspec.Struct, frozen=True, omit_defaults=True):
    """One order's or TWAP's status when it is an object: exactly one field is set."""

    resting: RestingWire | None = None
    filled: FilledWire | None = None
    error: str | None = None
    running: RunningWire | None = None


class Waiting(msgspec.Struct, frozen=True):
    """A child of a group was noted (``waitingForFill``, ``waitingForTrigger``): no oid yet."""

    text: str


class Refused(msgspec.Struct, frozen=True):
    """A definite no to this order or this action."""

    code: ErrorCode
    text: str

    @property
    def kind(self) -> ErrorClass:
        """What it means for who asked."""
        return error_class(self.code)


class Success(msgspec.Struct, frozen=True):
    """A cancel was done."""


OrderOutcome: TypeAlias = RestingWire | FilledWire | Waiting | Refused
CancelOutcome: TypeAlias = Success | Refused
TwapOutcome: TypeAlias = RunningWire | Refused
T = TypeVar("T")


class _Data(msgspec.Struct, frozen=True):
    statuses: list[StatusWire | str] | None = None
    status: StatusWire | str | None = None


class _Body(msgspec.Struct, frozen=True):
    type: str
    data: msgspec.Raw = msgspec.Raw(b"null")


class ExchangeAnswer(msgspec.Struct, frozen=True):
    """A decoded answer: ``refused`` when the whole action was, else its ``kind`` and the statuses it carries."""

    kind: str
    statuses: tuple[StatusWire | str, ...] | None = None
    refused: Refused | None = None


class _Envelope(msgspec.Struct, frozen=True):
    status: str
    response: _Body | str


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_DATA = msgspec.json.Decoder(_Data)
_HAS_STATUSES: Final = frozenset(
    {"order", "cancel", "cancelByCloid", "batchModify", "modify", "twapOrder", "twapCancel"}
)


def refusal(text: str) -> Refused:
    """A ``Refused`` with the code that the table gives to ``text``."""
    return Refused(classify(text), text)


def decode_answer(body: bytes | str | msgspec.Raw) -> ExchangeAnswer:
    """The answer of the venue to one action; raises ``WireError`` when it is not one (the outcome is then unknown)."""
    shown = bytes(body) if isinstance(body, msgspec.Raw) else body
    try:
        envelope = _ENVELOPE.decode(body)
        response = envelope.response
        if envelope.status == "err" and isinstance(response, str):
            return ExchangeAnswer("err", refused=refusal(response))
        if envelope.status == "ok" and not isinstance(response, str):
            return ExchangeAnswer(response.type, _statuses(response))
        if envelope.status == "err" and not isinstance(response, str):
            return _refused_with_body(response)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise WireError(f"the venue's answer {excerpt(shown)} is not understood: {error}") from error
    raise WireError(f"the venue's answer {excerpt(shown)} has neither a result nor an error")


def _statuses(response: _Body) -> tuple[StatusWire | str, ...] | None:
    if response.type not in _HAS_STATUSES or bytes(response.data) == b"null":
        return None
    data = _DATA.decode(response.data)
    statuses = data.statuses if data.status is None else [data.status]
    return None if statuses is None else tuple(statuses)


def _refused_with_body(response: _Body) -> ExchangeAnswer:
    """An error whose body is an object, as a refused modify was recorded: its first error stands for the action."""
    for status in _statuses(response) or ():
        if isinstance(status, StatusWire) and status.error is not None:
            return ExchangeAnswer(response.type, refused=refusal(status.error))
    raise ValueError("an error without a text")


def order_outcomes(answer: ExchangeAnswer, count: int) -> tuple[OrderOutcome, ...]:
    """One outcome for each of ``count`` orders, in their order; a single error for several orders applies to all of
    them.

    Raises ``WireError`` when the statuses are missing or are not as many, because then none of them can be told.
    """
    return _spread(answer, count, _order_outcome)


def cancel_outcomes(answer: ExchangeAnswer, count: int) -> tuple[CancelOutcome, ...]:
    """One outcome for each of ``count`` cancels; the same rules as ``order_outcomes``."""
    return _spread(answer, count, _cancel_outcome)


def twap_outcome(answer: ExchangeAnswer) -> TwapOutcome:
    """Under which id the TWAP runs, or why it does not; raises ``WireError`` where neither is said."""
    if answer.refused is not None:
        return answer.refused
    for status in answer.statuses or ():
        if isinstance(status, StatusWire) and status.error is not None:
            return refusal(status.error)
        if isinstance(status, StatusWire) and status.running is not None:
            return status.running
    raise WireError(f"the venue's answer to a TWAP ({answer.kind}) has neither running nor error")


def done_or_refused(answer: ExchangeAnswer) -> Refused | None:
    """``None`` when an action without statuses (leverage, noop, …) was done, else the refusal."""
    if answer.refused is not None:
        return answer.refused
    errors = [s.error for s in answer.statuses or () if isinstance(s, StatusWire) and s.error is not None]
    return refusal(errors[0]) if errors else None


def _spread(answer: ExchangeAnswer, count: int, read: Callable[[StatusWire | str], T]) -> tuple[T | Refused, ...]:
    if answer.refused is not None:
        return (answer.refused,) * count
    statuses = answer.statuses
    if statuses is not None and len(statuses) == count:
        return tuple(read(status) for status in statuses)
    if statuses is not None and len(statuses) == 1:
        only = statuses[0]
        if isinstance(only, StatusWire) and only.error is not None:
            return (refusal(only.error),) * count
    got = "no statuses" if statuses is None else f"{len(statuses)} statuses"
    raise WireError(f"the venue answered {count} orders with {got} ({answer.kind}): whose they are is unknown")


def _order_outcome(status: StatusWire | str) -> OrderOutcome:
    if isinstance(status, str):
        if status in ("waitingForFill", "waitingForTrigger"):
            return Waiting(status)
        raise WireError(f"the venue's order status {excerpt(status)} is not understood")
    if status.error is not None:
        return refusal(status.error)
    outcome = status.resting or status.filled
    if outcome is None:
        raise WireError("the venue's order status has neither resting, filled nor error")
    return outcome


def _cancel_outcome(status: StatusWire | str) -> CancelOutcome:
    if status == "success":
        return Success()
    if isinstance(status, StatusWire) and status.error is not None:
        return refusal(status.error)
    raise WireError(f"the venue's cancel status {excerpt(str(status))} is not understood")


DEFAULT: Final[dict[str, object]] = {"status": "ok", "response": {"type": "default"}}
"""What the exchange says to a modify, leverage, margin, schedule or noop that it did."""


def ok(kind: str, statuses: Sequence[StatusWire | str]) -> dict[str, object]:
    """The exchange's answer with one status for each order or cancel (``kind`` is ``order`` or ``cancel``)."""
    return {"status": "ok", "response": {"type": kind, "data": {"statuses": list(statuses)}}}


def err(text: str) -> dict[str, object]:
    """The exchange's answer when it refuses a whole action."""
    return {"status": "err", "response": text}
