"""Recovery in the trader: built here, recorded here, and how a person is shown what it found and did."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import msgspec

from perpstrader.breakers import Watch
from perpstrader.domain import HaltKind, TraceKind, plain
from perpstrader.recovery import Handled, Issue, Limits, Priority, Recovered, RecoveryService
from perpstrader.risk.contract import RiskManager

if TYPE_CHECKING:
    from perpstrader.trader.recorder import Recorder
    from perpstrader.trader.trader import Trader


class IssueRow(msgspec.Struct, frozen=True, kw_only=True):
    """One issue in a line; ``outcome`` is what became of it, empty for one that stands."""

    time_ms: int
    symbol: str
    kind: str
    priority: str
    action: str
    text: str
    outcome: str = ""
    episode: str = ""


class RecoveryReport(msgspec.Struct, frozen=True, kw_only=True):
    """Recovery now: what stands, what became of the rest (newest last), and the attempts of the living positions."""

    last_check_ms: int
    checks: int
    interval_ms: int
    issues: tuple[IssueRow, ...]
    history: tuple[IssueRow, ...]
    attempts: dict[str, int]
    max_attempts: int
    acting: tuple[str, ...]
    submitted: int
    succeeded: int
    failed: int
    exhausted: tuple[str, ...]
    slowest_critical_ms: int


def build_recovery(
    trader: Trader, risk: RiskManager, strategies: Iterable[str], watch: Watch, *, least_interval_s: float
) -> RecoveryService:
    """The one recovery of a trader; it never looks more often than ``least_interval_s`` unless something critical is
    seen.
    """
    settings = trader.settings

    async def halt(reason: str, actor: str) -> None:
        await trader.halt_in_time(HaltKind.OPERATOR, f"flatten: {reason}", actor)

    limits = Limits(settings.recovery, settings.risk, settings.execution, settings.client.request_timeout_ms)
    return RecoveryService(
        trader.execution, risk, trader.store, limits,
        risk_state=lambda: trader.keeper.judged_state, strategies=frozenset(strategies), halt=halt,
        record=_recording(trader.recorder, trader), timer=trader.execution.desk.stages.recovery, watch=watch,
        interval_s=max(settings.recovery.interval_ms / 1000, least_interval_s),
    )  # fmt: skip


def report_of(trader: Trader) -> RecoveryReport:
    """Recovery now; reads only."""
    stats = trader.recovery.stats()
    return RecoveryReport(
        last_check_ms=stats.last_check_ms, checks=stats.checks, interval_ms=trader.settings.recovery.interval_ms,
        issues=tuple(_row(issue) for issue in stats.active), history=tuple(_handled(h) for h in stats.history),
        attempts=dict(stats.attempts), max_attempts=stats.max_attempts, acting=stats.acting,
        submitted=stats.submitted, succeeded=stats.succeeded, failed=stats.failed, exhausted=stats.exhausted,
        slowest_critical_ms=stats.slowest_critical_ms,
    )  # fmt: skip


def _row(issue: Issue) -> IssueRow:
    return IssueRow(
        time_ms=issue.since_ms, symbol=issue.symbol, kind=issue.kind.value, priority=_word(issue.priority),
        action=issue.action.value, text=issue.evidence.sentence, episode=issue.episode,
    )  # fmt: skip


def _handled(handled: Handled) -> IssueRow:
    outcome = f"{handled.disposition.value}: {handled.text}" if handled.text else handled.disposition.value
    return msgspec.structs.replace(_row(handled.issue), time_ms=handled.time_ms, outcome=outcome)


def _word(priority: Priority) -> str:
    return priority.name.lower()


def _recording(recorder: Recorder, trader: Trader) -> Callable[[Recovered], None]:
    """Each recovery leaves a trace of its own: every issue that stood, what was done, and what the venue showed."""

    def record(done: Recovered) -> None:
        trader.counters.exits += 1
        sizes = f"from {plain(done.before)} to {plain(done.after)}"
        attempt = f", attempt {done.attempt}" if done.attempt else ""
        steps = (
            f"{done.action.value} by {done.actor}: {done.reason}",
            *(f"{_word(issue.priority)}: {issue.sentence()}" for issue in done.issues),
            f"{'done' if done.done else 'not done'}: {done.text} ({sizes}{attempt})",
        )
        recorder.store(
            recorder.make(
                TraceKind.EXIT, done.symbol, done.actor, steps=steps, episode=done.episode, led_to_order=True,
                market=trader.market.snapshot(done.symbol), portfolio=trader.execution.view.build(),
            )
        )  # fmt: skip

    return record
