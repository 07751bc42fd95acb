"""Which exceptions say that a dependency is in trouble: one table, and nothing outside it counts (S44, CB-08)."""

from __future__ import annotations

import asyncio
import enum
from typing import Final

from perpstrader.breakers.contract import BreakerOpenError, UnavailableError
from perpstrader.domain import PerpsTraderError
from perpstrader.domain.errors import AccountLockedError, MoneyError, StateError, VenueError
from perpstrader.runtime import Answer, TransportError

_OK: Final = 200
_TOO_MANY: Final = 429
_SERVER: Final = 500
_JSON_BEGINS: Final = frozenset(b'{["-0123456789tfn \t\r\n')


class Outcome(enum.Enum):
    """What one call means to the breaker of its dependency."""

    SUCCEEDED = "succeeded"
    """It answered; a refusal, a missing order or too little margin are answers."""
    FAILED = "failed"
    """It is in trouble."""
    IGNORED = "ignored"
    """Says nothing of it: cancelled, never sent, or a mistake of the caller's."""


Rows = tuple[tuple[type[BaseException], Outcome], ...]

FAILURES: Final[Rows] = (
    (asyncio.CancelledError, Outcome.IGNORED),
    (BreakerOpenError, Outcome.IGNORED),
    (UnavailableError, Outcome.FAILED),
    (TransportError, Outcome.FAILED),
    (AccountLockedError, Outcome.SUCCEEDED),
    (StateError, Outcome.FAILED),
    (TimeoutError, Outcome.FAILED),
    (OSError, Outcome.FAILED),
    (VenueError, Outcome.SUCCEEDED),
    (MoneyError, Outcome.IGNORED),
    (PerpsTraderError, Outcome.SUCCEEDED),
    (BaseException, Outcome.IGNORED),
)
"""The first row whose type an exception has decides. Programming errors are the last row: they trip nothing."""


def outcome_of(error: BaseException | None, rows: Rows = FAILURES) -> Outcome:
    """What a call that ended so means; ``rows`` end with ``BaseException``."""
    if error is None:
        return Outcome.SUCCEEDED
    return next(outcome for kind, outcome in rows if isinstance(error, kind))


def trouble_in(answer: Answer) -> UnavailableError | None:
    """Why an HTTP answer is none: a server's error, too many requests, or a page where JSON should be.

    Every other status is the venue's own word, even where it is a no.
    """
    if answer.status == _TOO_MANY or answer.status >= _SERVER:
        return UnavailableError(f"the venue answered {answer.status}")
    if answer.status == _OK and answer.body[:1] and answer.body[0] not in _JSON_BEGINS:
        return UnavailableError("the venue answered something unreadable")
    return None
