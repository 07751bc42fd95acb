"""The contract of recovery: what can be wrong with a position, what is done about it, and what became of that."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Final, Protocol

import msgspec

from perpstrader.domain import Candle, PerpsTraderError, Side
from perpstrader.execution import FlattenReport

CRITICAL_BOUND_MS: Final = 2_000
"""From the mark that shows a critical issue to the exit's making (S51); half of it may be the reading of a book."""


class RecoveryError(PerpsTraderError):
    """A recovery that cannot be carried out as asked for; nothing was done."""


class IssueKind(enum.StrEnum):
    """What can be wrong with a position."""

    RISK_LIMIT = "RISK_LIMIT"
    ORPHANED = "ORPHANED"
    EXCESSIVE_LOSS = "EXCESSIVE_LOSS"
    STUCK = "STUCK"
    EXCESSIVE_LEVERAGE = "EXCESSIVE_LEVERAGE"
    STALE = "STALE"
    NEAR_LIQUIDATION = "NEAR_LIQUIDATION"
    UNPROTECTED = "UNPROTECTED"
    FOREIGN = "FOREIGN"
    DESYNC = "DESYNC"
    AGED = "AGED"


class Action(enum.StrEnum):
    """What is done: the whole position out, half of it out, nothing yet, or a person told."""

    CLOSE = "close"
    REDUCE = "reduce"
    WAIT = "wait"
    ALERT = "alert"

    @property
    def trades(self) -> bool:
        """True for what sends an order."""
        return self in (Action.CLOSE, Action.REDUCE)


class Priority(enum.IntEnum):
    """How much haste there is; a critical issue is acted on within ``CRITICAL_BOUND_MS``."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen against what is allowed, as numbers in words, and the same as a sentence."""

    value: str
    limit: str
    unit: str
    sentence: str


class Issue(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong with one position episode. ``is_known`` is False where it could not be judged: then a
    person is told and nothing is traded (S30). ``since_ms`` is when it was first found, 0 in a rule's answer.
    """

    kind: IssueKind
    symbol: str
    side: Side | None
    episode: str
    priority: Priority
    action: Action
    evidence: Evidence
    is_known: bool = True
    since_ms: int = 0

    @property
    def rank(self) -> tuple[int, bool, bool]:
        """The worst is the greatest: first by priority, then by what it calls for."""
        return (self.priority, self.action is Action.CLOSE, self.action is Action.REDUCE)

    def sentence(self) -> str:
        """The issue in one line."""
        return f"{self.kind.value}: {self.evidence.sentence}"


class Disposition(enum.StrEnum):
    """What became of an issue: every one that is found has one (PR-16)."""

    REPORTED = "reported"
    WAITING = "waiting"
    ACTING = "acting"
    CLOSED = "closed"
    REDUCED = "reduced"
    FAILED = "failed"
    OVER = "over"


class Handled(msgspec.Struct, frozen=True, kw_only=True):
    """An issue with what became of it, and when that was said."""

    time_ms: int
    issue: Issue
    disposition: Disposition
    text: str = ""


class Recovered(msgspec.Struct, frozen=True, kw_only=True):
    """What one recovery did: ``done`` only after the venue itself showed it (PR-05); ``issues`` are all that stood.

    ``before`` and ``after`` are signed sizes. ``actor`` is ``recovery``, or who asked for it.
    """

    symbol: str
    episode: str
    action: Action
    actor: str
    reason: str
    done: bool
    text: str
    before: Decimal
    after: Decimal
    attempt: int
    issues: tuple[Issue, ...] = ()


class RecoveryStats(msgspec.Struct, frozen=True, kw_only=True):
    """Recovery so far. ``attempts`` are those of the living episodes, by symbol; ``acting`` the symbols being taken
    out now; ``slowest_critical_ms`` the longest way from a critical mark to the exit's making, 0 before the first.
    """

    last_check_ms: int
    checks: int
    active: tuple[Issue, ...]
    history: tuple[Handled, ...]
    attempts: Mapping[str, int]
    max_attempts: int
    acting: tuple[str, ...]
    submitted: int
    succeeded: int
    failed: int
    exhausted: tuple[str, ...]
    slowest_critical_ms: int


Recorder = Callable[[Recovered], object]
"""Told of each recovery when it has ended; must not raise."""


class RecoveryService(Protocol):
    """Finds positions in trouble and takes them out, through the executor, as exits (S50-S53).

    All rules are evaluated for each position, and the worst that calls for an order decides. There is at most one
    recovery of a position at a time. Attempts belong to the episode, are counted when an order was submitted, and are
    on disk.
    """

    async def restore(self) -> None:
        """Take up the attempts of living episodes; raises ``StateError`` where they cannot be read."""
        ...

    async def run(self, beat: Callable[[], None]) -> None:
        """Check all positions in the set interval, and at once when something critical was seen, for ever."""
        ...

    async def check(self) -> tuple[Issue, ...]:
        """One check of all positions; what it found. One that overlaps another returns that one's findings."""
        ...

    def on_market(self, symbol: str) -> None:
        """A new mark: if it is critical for a position, the next check is now (S51). Never waits."""
        ...

    def on_bar(self, candle: Candle) -> None:
        """A closed bar: what a stuck position is told by."""
        ...

    async def recover(self, symbol: str, action: Action, reason: str, *, actor: str) -> Recovered:
        """Close or halve a position because somebody says so; raises ``RecoveryError`` for any other action."""
        ...

    async def emergency_close_all(self, reason: str, *, actor: str) -> FlattenReport:
        """Halt, then close everything by the flatten road, verified at the venue (S05)."""
        ...

    def reset_attempts(self, symbol: str) -> bool:
        """Count the attempts of the symbol's episode anew; False where it has none."""
        ...

    def stats(self) -> RecoveryStats:
        """Recovery so far."""
        ...

    async def stop(self) -> None:
        """When it returns recovery sends nothing more; an exit that is under way stays with the executor."""
        ...


Halter = Callable[[str, str], Awaitable[object]]
"""Halts entries, with the reason and who asks for it."""


def action_named(word: str) -> Action:
    """The action of a word, in any case; raises ``RecoveryError`` for one that is not carried out here, such as a
    hedge: a position is taken out by an exit, never by another position (PR-19).
    """
    try:
        return Action(word.strip().lower())
    except ValueError:
        known = ", ".join(action.value for action in Action)
        text = f"{word!r} is no action of recovery, and nothing was done: it knows {known}"
        raise RecoveryError(text) from None
