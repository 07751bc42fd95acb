"""The health checks of a trader: each looks at one part and changes nothing but what a probe has to write."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from perpstrader.breakers import (
    RISK,
    STATE,
    TRACES,
    VENUE,
    Finding,
    GuardedTransport,
    HealthCheck,
    HealthStatus,
    UnavailableError,
)
from perpstrader.domain import Protection
from perpstrader.domain.wording import plural
from perpstrader.risk import losses
from perpstrader.traces.contract import TraceStore
from perpstrader.traces.records import Counters
from perpstrader.trader.alarms import SKEW_ALARM_MS

if TYPE_CHECKING:
    from perpstrader.trader.trader import Trader

FreeBytes = Callable[[Path], int]

_BACKLOG: Final = 1_000
_PENDING_TRACES: Final = 1_000
_USED_UP: Final = 0.8
_LATE_CHECKS: Final = 4
_LOW_BYTES: Final = 1 << 30
_FULL_BYTES: Final = 100 << 20
_MIB: Final = 1 << 20


def free_bytes(folder: Path) -> int:
    """What is left to write in a folder's file system."""
    return shutil.disk_usage(folder).free


def health_checks(
    trader: Trader, transport: GuardedTransport, traces: TraceStore, *, least_recovery_ms: int = 0,
    free: FreeBytes = free_bytes,
) -> tuple[HealthCheck, ...]:  # fmt: skip
    """One check a component, with the breaker that it counts against when it cannot be made (CB-18).

    ``least_recovery_ms`` is the pace below which recovery never looks, ``free`` what is left on a disk.
    """
    checks = Checks(trader, transport, traces, least_recovery_ms, free)
    return (
        HealthCheck(component="venue", look=checks.venue, breaker=VENUE),
        HealthCheck(component="streams", look=checks.streams),
        HealthCheck(component="state", look=checks.state, breaker=STATE),
        HealthCheck(component="traces", look=checks.traces, breaker=TRACES),
        HealthCheck(component="risk", look=checks.risk, breaker=RISK),
        HealthCheck(component="protection", look=checks.protection),
        HealthCheck(component="recovery", look=checks.recovery),
        HealthCheck(component="loops", look=checks.loops),
        HealthCheck(component="disk", look=checks.disk),
    )


class Checks:
    """One method a component; each gives the worst that it finds."""

    def __init__(
        self, trader: Trader, transport: GuardedTransport, traces: TraceStore, least_recovery_ms: int, free: FreeBytes
    ) -> None:
        self._trader = trader
        self._transport = transport
        self._traces = traces
        self._least_recovery_ms = least_recovery_ms
        self._free = free
        self._seen: dict[str, int] = {}
        self._dropped = traces.counters.dropped
        self._waiting = (-1, 0)

    async def venue(self) -> Finding:
        """It answers, and its clock is ours; asked only where nothing was answered since the last look."""
        settings = self._trader.settings
        if not self._has_grown(VENUE, self._transport.answers):
            await self._transport.ask(settings.breakers.call_deadline_ms / 1000)
        skew_ms = abs(self._trader.execution.desk.venue_clock.skew_ms)
        figures = {"clock_skew_ms": float(skew_ms)}
        if skew_ms > settings.execution.max_clock_skew_ms:
            return _bad(HealthStatus.CRITICAL, f"this clock is {skew_ms} ms off the venue's: entries stop", figures)
        if skew_ms > SKEW_ALARM_MS:
            return _bad(HealthStatus.DEGRADED, f"this clock is {skew_ms} ms off the venue's", figures)
        return _well("it answers", figures)

    async def streams(self) -> Finding:
        """Connected, with a price of every symbol that is fresh enough to enter on."""
        trader = self._trader
        if not trader.connected:
            return _bad(HealthStatus.UNHEALTHY, "the stream is down; entries wait, exits go on by request")
        now_ms, limit_ms = trader.execution.desk.venue_clock.now_ms(), trader.settings.risk.max_mark_age_ms
        ages = {symbol: self._age_ms(symbol, now_ms) for symbol in trader.settings.trader.symbols}
        old = [symbol for symbol, age in ages.items() if age is None or age > limit_ms]
        figures = {f"{symbol}_age_ms": float(age) for symbol, age in ages.items() if age is not None}
        if old:
            return _bad(HealthStatus.DEGRADED, f"no fresh price of {', '.join(old)}", figures)
        return _well("connected, with fresh prices", figures)

    async def state(self) -> Finding:
        """A write commits, and the books are not behind."""
        trader = self._trader
        commits = trader.execution.desk.stages.state_commit.succeeded.count
        if not self._has_grown(STATE, commits):
            now_ms = trader.clock.now_ms()
            await trader.store.transact(lambda tx: tx.meta.put_int("state_probe_ms", now_ms))
        journal = trader.execution.desk.journal
        figures = {"pending": float(journal.pending), "refused": float(journal.refused)}
        if journal.refused:
            return _bad(HealthStatus.UNHEALTHY, f"{plural(journal.refused, 'write')} could not be stored", figures)
        if journal.pending > _BACKLOG:
            return _bad(HealthStatus.DEGRADED, f"{journal.pending} writes wait", figures)
        return _well("writes commit", figures)

    async def traces(self) -> Finding:
        """Nothing is lost, and little waits; a store that stores nothing while traces wait has failed."""
        counters = self._traces.counters
        self._raise_if_stuck(counters)
        figures = {name: float(getattr(counters, name)) for name in ("pending", "dead", "dropped")}
        lost, self._dropped = counters.dropped - self._dropped, counters.dropped
        if lost > 0:
            return _bad(HealthStatus.UNHEALTHY, f"{plural(lost, 'trace')} lost since the last look", figures)
        if counters.pending > _PENDING_TRACES:
            return _bad(HealthStatus.DEGRADED, f"{counters.pending} traces wait", figures)
        if counters.dead:
            return _bad(HealthStatus.DEGRADED, f"{plural(counters.dead, 'dead letter')}", figures)
        return _well("every decision is recorded", figures)

    async def risk(self) -> Finding:
        """What is on disk can be read; halts, and how much of the day's loss is used up: a profit uses none (CB-23)."""
        trader = self._trader
        await trader.store.read(lambda tx: (tx.risk.load(), tx.halts.active()))
        state = trader.keeper.state
        loss_usd = losses.day_loss_usd(state, trader.execution.view.equity_usd())
        bounds = losses.day_bounds(trader.settings.risk, state)
        used = float(loss_usd / bounds.entry_stop_usd) if bounds is not None and bounds.entry_stop_usd else 0.0
        figures = {"loss_utilisation": used, "halts": float(len(state.halts))}
        if state.halts:
            kinds = ", ".join(halt.kind.value for halt in state.halts)
            return _bad(HealthStatus.CRITICAL, f"entries are halted: {kinds}", figures)
        if used > _USED_UP:
            return _bad(HealthStatus.DEGRADED, f"{used:.0%} of the loss that stops entries is used up", figures)
        if trader.keeper.inactive:
            return _bad(HealthStatus.DEGRADED, f"without its input: {', '.join(trader.keeper.inactive)}", figures)
        return _well("within the limits", figures)

    async def protection(self) -> Finding:
        """Every position has a stop that the venue was seen to list."""
        execution = self._trader.execution
        limit_ms, now_ms = self._trader.settings.execution.protection_deadline_ms, execution.desk.venue_clock.now_ms()
        bare: dict[str, int] = {}
        for symbol, holding in execution.desk.positions.holdings.items():
            if execution.protector.status(symbol) in (Protection.CONFIRMED, Protection.EXEMPT):
                continue
            since_ms = holding.unprotected_since_ms
            bare[symbol] = now_ms - since_ms if since_ms is not None else 0
        figures = {"positions": float(len(execution.desk.positions.holdings)), "unprotected": float(len(bare))}
        if not bare:
            return _well("every position has its stop", figures)
        late = [symbol for symbol, age_ms in bare.items() if age_ms > limit_ms]
        status = HealthStatus.CRITICAL if late else HealthStatus.DEGRADED
        return _bad(status, f"no confirmed stop under {', '.join(late or bare)}", figures)

    async def recovery(self) -> Finding:
        """It looks at the positions at its pace, and takes out what it must."""
        trader, stats = self._trader, self._trader.recovery.stats()
        age_ms = trader.execution.desk.clock.now_ms() - (stats.last_check_ms or trader.started_ms)
        pace_ms = max(trader.settings.recovery.interval_ms, self._least_recovery_ms)
        figures = {"active": float(len(stats.active)), "attempts": float(sum(stats.attempts.values()))}
        if age_ms > _LATE_CHECKS * pace_ms:
            return _bad(HealthStatus.UNHEALTHY, f"nobody has looked at the positions for {age_ms // 1000} s", figures)
        if stats.exhausted:
            symbols = ", ".join(stats.exhausted)
            return _bad(HealthStatus.CRITICAL, f"{symbols}: the attempts are used up, a person is needed", figures)
        if stats.active:
            return _bad(HealthStatus.DEGRADED, f"{plural(len(stats.active), 'position issue')} at hand", figures)
        return _well("no position is in trouble", figures)

    async def loops(self) -> Finding:
        """No loop is silent for longer than it may be."""
        beats = self._trader.heartbeats()
        late = [beat.name for beat in beats if beat.late]
        figures = {"loops": float(len(beats)), "restarts": float(sum(beat.restarts for beat in beats))}
        if late:
            return _bad(HealthStatus.CRITICAL, f"silent: {', '.join(late)}", figures)
        return _well("all run", figures)

    async def disk(self) -> Finding:
        """There is room for what has to be written."""
        path = self._trader.store.path
        if path is None:
            return _well("the state is in memory")
        free = self._free(path.parent)
        figures = {"free_mib": float(free // _MIB)}
        if free < _FULL_BYTES:
            return _bad(HealthStatus.CRITICAL, f"{free // _MIB} MiB are left in {path.parent}: make room", figures)
        if free < _LOW_BYTES:
            return _bad(HealthStatus.DEGRADED, f"{free // _MIB} MiB are left in {path.parent}", figures)
        return _well("there is room", figures)

    def _has_grown(self, name: str, count: int) -> bool:
        """Trading itself has shown since the last look that it works: evidence that costs nothing."""
        before, self._seen[name] = self._seen.get(name, 0), count
        return count > before

    def _raise_if_stuck(self, counters: Counters) -> None:
        settings, now_ms = self._trader.settings, self._trader.clock.now_ms()
        if not counters.pending or counters.stored != self._waiting[0]:
            self._waiting = (counters.stored, now_ms)
        waited_ms = now_ms - self._waiting[1]
        if waited_ms > settings.traces.batch_flush_ms + settings.breakers.call_deadline_ms:
            waiting = plural(counters.pending, "trace")
            raise UnavailableError(f"{waiting} wait and none was stored for {waited_ms // 1000} s")

    def _age_ms(self, symbol: str, now_ms: int) -> int | None:
        snapshot = self._trader.market.snapshot(symbol)
        return None if snapshot is None else now_ms - snapshot.context_ms


def _well(text: str, figures: dict[str, float] | None = None) -> Finding:
    return Finding(status=HealthStatus.HEALTHY, text=text, figures=figures or {})


def _bad(status: HealthStatus, text: str, figures: dict[str, float] | None = None) -> Finding:
    return Finding(status=status, text=text, figures=figures or {})
