"""What is worth waking a person for: grave notes and standing conditions of the trader, as incidents with stable keys.

A standing condition (a halt, a position without a stop, a stream that is down, ...) is an incident until the look that
finds it gone. A note tells of a moment: its incident ends, and that is told, when nothing of its kind has come again
for a while; one that reports what was done (a fill of others, a liquidation) only ceases to be open.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import msgspec

from perpstrader.alerts import Alert, AlertDesk, Change, Incident, Severity
from perpstrader.breakers import BreakerState, HealthStatus
from perpstrader.domain import HaltKind, OrderStatus, Protection
from perpstrader.domain.wording import plural
from perpstrader.execution import Note
from perpstrader.recovery import Issue, Priority
from perpstrader.traces.redaction import redact_text

if TYPE_CHECKING:
    from perpstrader.trader.trader import Trader

_LOG: Final = logging.getLogger("perpstrader.alerts")
LOOK_S: Final = 1.0
_UNKNOWN_MS: Final = 10_000
_UNPROTECTED_MS: Final = 2_000
_UNJUDGED_MS: Final = 15_000
_STREAM_DOWN_MS: Final = 30_000
_SHARED_AWAY_MS: Final = 300_000
SKEW_ALARM_MS: Final = 500
_BUDGET_PERCENT: Final = 30
_QUIET_MS: Final = 300_000
_REMIND_MS: Final = 60_000
_STRATEGY_LONG_MS: Final = 900_000
_STRATEGY_CALM_MS: Final = 60_000
"""A strategy that fails is grave after a quarter of an hour, and well again after a minute without an error."""
_FINISH_S: Final = 5.0
_TEXT: Final = 600

_STANDING: Final = frozenset({"stream-down", "clock-skew", "strategy-failed", "breaker"})
"""Notes of what is looked at as a standing condition, which also says when it is over."""
_DONE: Final = {
    "liquidation": (Severity.CRITICAL, "a position was liquidated"),
    "agent-expires": (Severity.CRITICAL, "the agent's key expires"),
    "foreign-fill": (Severity.WARNING, "somebody else trades this account"),
    "foreign-position": (Severity.WARNING, "a position that is not ours"),
    "flatten": (Severity.CRITICAL, "everything is being closed"),
    "recovery-acts": (Severity.WARNING, "recovery takes a position out"),
    "orphan-orders": (Severity.WARNING, "orders of ours that nothing needed"),
    "order-taken-in": (Severity.WARNING, "an order of ours was found at the venue"),
}
"""Grave notes that report what was done: they have no end."""
_FAILING: Final = {
    "stop-impossible": (Severity.CRITICAL, "no stop can be made"),
    "protection-exhausted": (Severity.CRITICAL, "protection does not settle"),
    "exit-not-filling": (Severity.CRITICAL, "an exit does not fill"),
    "exit-impossible": (Severity.CRITICAL, "an exit is impossible"),
    "trace-gap": (Severity.WARNING, "decisions are not recorded"),
    "traces-wait": (Severity.WARNING, "the record of decisions waits for its disk"),
    "records": (Severity.WARNING, "not everything was written"),
    "shared-record-refused": (Severity.WARNING, "the shared database refused decisions"),
    "failure": (Severity.WARNING, "a part of the trader failed"),
    "venue-halted": (Severity.WARNING, "the venue takes no orders"),
    "differs": (Severity.WARNING, "our books are not the venue's"),
    "recovery-exhausted": (Severity.CRITICAL, "recovery does not settle a position"),
    "recovery-failed": (Severity.WARNING, "a recovery did not do what it was for"),
    "recovery-late": (Severity.WARNING, "recovery acted late"),
    "recovery-unjudged": (Severity.CRITICAL, "a position cannot be judged"),
}
_TITLES: Final = {
    "account-unreadable": (Severity.WARNING, "the account cannot be read"),
    "clock-unmeasured": (Severity.WARNING, "the venue's clock cannot be read"),
}
_TOLD_ELSEWHERE: Final = frozenset({"streams", "risk", "protection", "loops"})
"""Health checks whose findings are conditions here already: streams, halts, positions without a stop, silent loops;
of the venue only the clock's.
"""
_HALT_WARNINGS: Final = frozenset({HaltKind.LOSS_STREAK, HaltKind.OPERATOR})


class _Moment(msgspec.Struct):
    """When a note's incident was last reported, of what, and whether its end is told."""

    kind: str
    symbol: str
    last_ms: int
    kept_ms: int
    is_told: bool


class Alarms:
    """Watches one trader. ``on_note`` and ``look`` neither wait nor change anything of it."""

    def __init__(self, desk: AlertDesk, trader: Trader) -> None:
        self.desk = desk
        self._trader = trader
        self._standing: dict[str, tuple[Incident, int]] = {}
        self._moments: dict[str, _Moment] = {}
        self._down_since_ms: int | None = None

    async def run(self, beat: Callable[[], None]) -> None:
        """Look at the trader every second."""
        clock = self._trader.clock
        while True:
            beat()
            self.look()
            await clock.sleep(LOOK_S)

    async def finish(self) -> None:
        """A last look, then whatever waits goes out, within a few seconds; never keeps the trader from its stop."""
        try:
            self.look()
        except Exception as error:
            failed = f"the last look at the trader failed: {type(error).__name__}"
            self.desk.report(self._incident("failure:alarms", Severity.WARNING, "a part of the trader failed", failed))
        await self.desk.finish(_FINISH_S)

    def on_note(self, note: Note) -> None:
        """A grave note is an incident of its kind, symbol and episode; a failure, of the part that failed."""
        if not note.grave or note.kind in _STANDING:
            return
        known = _DONE.get(note.kind) or _FAILING.get(note.kind) or _TITLES.get(note.kind)
        severity, title = known or (Severity.WARNING, note.kind)
        incident = self._incident(_key(note), severity, title, note.text, symbol=note.symbol, episode=note.episode)
        window_ms = self._window_ms(note.symbol)
        self.desk.report(incident, window_ms=window_ms)
        told = note.kind not in _DONE
        kept_ms = max(window_ms, _QUIET_MS)
        self._moments[incident.key] = _Moment(
            kind=note.kind, symbol=note.symbol, last_ms=incident.time_ms, kept_ms=kept_ms, is_told=told
        )

    def look(self) -> None:
        """Report what stands and was not so, or is worse, or has stood for another minute; tell what is over."""
        now_ms = self._trader.clock.now_ms()
        found = {incident.key: incident for incident in self._conditions(now_ms)}
        for key in [key for key in self._standing if key not in found]:
            del self._standing[key]
            self.desk.recovered(key, "this is over")
        for key, incident in found.items():
            before = self._standing.get(key)
            if before is None or before[0].severity != incident.severity or now_ms - before[1] >= _REMIND_MS:
                self._standing[key] = (incident, now_ms)
                self.desk.report(incident, window_ms=self._window_ms(incident.symbol))
        for key, moment in list(self._moments.items()):
            self._end(key, moment, now_ms)

    def _end(self, key: str, moment: _Moment, now_ms: int) -> None:
        """Close a note's incident: at once where what failed is seen to work again, else after a while of quiet."""
        text = self._works_again(moment)
        if not text and now_ms - moment.last_ms >= moment.kept_ms:
            text = f"this has not come again for {moment.kept_ms // 1000} s"
        if text:
            del self._moments[key]
            if moment.is_told:
                self.desk.recovered(key, text)
            else:
                self.desk.book.forget(key)

    def _works_again(self, moment: _Moment) -> str:
        """What shows that a thing that failed works again; empty while nothing does, or nothing could."""
        execution = self._trader.execution
        match moment.kind:
            case "clock-unmeasured" if execution.desk.venue_clock.measured_ms > moment.last_ms:
                return "the venue's clock was read again"
            case "account-unreadable" if execution.account.read_ms > moment.last_ms:
                return "the account was read again"
            case "venue-halted" if not execution.entries_paused():
                return "the venue takes orders again"
            case "differs" if execution.reconciler.agreed_ms > moment.last_ms:
                return "our books are the venue's again"
            case "stop-impossible" | "protection-exhausted" if self._is_safe(moment.symbol):
                return f"{moment.symbol} is flat, or has its stop"
            case _:
                return ""

    def _is_safe(self, symbol: str) -> bool:
        execution = self._trader.execution
        held = symbol in execution.desk.positions.holdings
        return not held or execution.protector.status(symbol) is Protection.CONFIRMED

    # --- the conditions ---

    def _conditions(self, now_ms: int) -> Iterator[Incident]:
        yield from self._halts()
        yield from self._positions()
        yield from self._recovery(now_ms)
        yield from self._unknown_orders()
        yield from self._connection(now_ms)
        yield from self._loops()
        yield from self._breakers()
        yield from self._health()
        yield from self._strategies(now_ms)
        yield from self._shared_record(now_ms)

    def _halts(self) -> Iterator[Incident]:
        for halt in self._trader.keeper.state.halts:
            mild = halt.kind in _HALT_WARNINGS or (halt.kind is HaltKind.DAILY_LOSS and not halt.flatten)
            severity = Severity.WARNING if mild else Severity.CRITICAL
            text = f"{halt.reason} (by {halt.actor}); exits and protection go on"
            yield self._incident(f"halt:{halt.kind.value}", severity, f"entries are halted: {halt.kind.value}", text)

    def _positions(self) -> Iterator[Incident]:
        execution = self._trader.execution
        now_ms = execution.desk.venue_clock.now_ms()
        for symbol, holding in execution.desk.positions.holdings.items():
            since_ms = holding.unprotected_since_ms
            if since_ms is None or now_ms - since_ms <= _UNPROTECTED_MS:
                continue
            if execution.protector.status(symbol) in (Protection.CONFIRMED, Protection.EXEMPT):
                continue
            yield self._incident(
                f"unprotected:{symbol}", Severity.CRITICAL, f"{symbol} has no stop at the venue",
                f"{holding.size:f} {symbol} for {now_ms - since_ms} ms without a confirmed stop; "
                "one is being placed, or the position closed",
                symbol=symbol, episode=holding.episode,
            )  # fmt: skip

    def _recovery(self, now_ms: int) -> Iterator[Incident]:
        """One incident a position, with everything that recovery finds wrong with it; what cannot be judged may wait
        for a mark.
        """
        of_symbol: dict[str, list[Issue]] = {}
        for issue in self._trader.recovery.stats().active:
            if issue.priority >= Priority.HIGH and (issue.is_known or now_ms - issue.since_ms > _UNJUDGED_MS):
                of_symbol.setdefault(issue.symbol, []).append(issue)
        for symbol, issues in of_symbol.items():
            severity = Severity.CRITICAL if issues[0].priority is Priority.CRITICAL else Severity.WARNING
            yield self._incident(
                f"recovery:{symbol}", severity, f"{symbol} is in trouble: {issues[0].kind.value}",
                "; ".join(issue.sentence() for issue in issues), symbol=symbol, episode=issues[0].episode,
            )  # fmt: skip

    def _unknown_orders(self) -> Iterator[Incident]:
        desk = self._trader.execution.desk
        now_ms = desk.venue_clock.now_ms()
        of_symbol: dict[str, list[str]] = {}
        for order in desk.orders.live():
            if order.status is OrderStatus.UNKNOWN and now_ms - order.sent_ms > _UNKNOWN_MS:
                of_symbol.setdefault(order.intent.symbol, []).append(order.cloid)
        for symbol, cloids in of_symbol.items():
            yield self._incident(
                f"unknown:{symbol}", Severity.WARNING,
                f"{symbol}: the outcome of {plural(len(cloids), 'order')} is unknown",
                f"no record shows for {_UNKNOWN_MS // 1000} s what became of {', '.join(cloids[:3])}",
                symbol=symbol,
            )  # fmt: skip

    def _connection(self, now_ms: int) -> Iterator[Incident]:
        trader = self._trader
        since_ms = now_ms if self._down_since_ms is None else self._down_since_ms
        self._down_since_ms = None if trader.connected else since_ms
        if not trader.connected and now_ms - since_ms > _STREAM_DOWN_MS:
            out = trader.execution.desk.reach.is_out
            rest = "requests are not answered either" if out else "exits and protection go on by request"
            yield self._incident(
                "stream-down", Severity.WARNING, "the venue's stream is down",
                f"no stream for {(now_ms - since_ms) // 1000} s; entries wait, {rest}",
            )  # fmt: skip
        skew_ms, limit_ms = abs(trader.execution.desk.venue_clock.skew_ms), trader.settings.execution.max_clock_skew_ms
        if skew_ms > min(SKEW_ALARM_MS, limit_ms):
            yield self._incident(
                "clock-skew", Severity.CRITICAL if skew_ms > limit_ms else Severity.WARNING, "this clock is wrong",
                f"it differs from the venue's by {skew_ms} ms; entries stop above {limit_ms} ms: set this clock",
            )  # fmt: skip
        budget = trader.address_budget
        if budget is not None and budget.left * 100 < _BUDGET_PERCENT * (budget.cap + budget.surplus):
            yield self._incident(
                "address-budget", Severity.WARNING, "few requests are left to this address",
                f"{budget.left} of {budget.cap + budget.surplus} actions are left; trading volume earns more",
            )  # fmt: skip

    def _loops(self) -> Iterator[Incident]:
        for beat in self._trader.heartbeats():
            if beat.late:
                yield self._incident(
                    f"late:{beat.name}", Severity.CRITICAL, f"the loop {beat.name} is silent",
                    f"no sign of it for {beat.beat_age_ms // 1000} s, allowed {beat.deadline_ms // 1000} s",
                )  # fmt: skip

    def _strategies(self, now_ms: int) -> Iterator[Incident]:
        for runner in self._trader.cycle.runners:
            if runner.last_error_ms is None:
                continue
            since_ms = runner.failing_since_ms
            if since_ms is None and now_ms - runner.last_error_ms < _STRATEGY_CALM_MS:
                since_ms = runner.last_error_ms
            if since_ms is None:
                continue
            long = now_ms - since_ms >= _STRATEGY_LONG_MS
            yield self._incident(
                f"strategy:{runner.name}", Severity.CRITICAL if long else Severity.WARNING,
                f"the strategy {runner.name} fails",
                f"{runner.errors} error(s) and {runner.skipped_cycles} bar(s) skipped so far, the last: "
                f"{runner.last_error}; its positions keep their stops, the other strategies go on",
            )  # fmt: skip

    def _shared_record(self, now_ms: int) -> Iterator[Incident]:
        """A shared database that is away for longer than a restart of it takes; nothing is lost, a team reads less."""
        shipping = self._trader.shipper.state if self._trader.shipper is not None else None
        if shipping is not None and shipping.away_ms is not None and now_ms - shipping.away_ms > _SHARED_AWAY_MS:
            yield self._incident(
                "shared-record", Severity.WARNING, "decisions do not reach the shared database",
                f"for {(now_ms - shipping.away_ms) // 1000} s, {shipping.waiting} wait here, {shipping.lost} were lost"
                f" to it for the bounds of the file: {shipping.error}",
            )  # fmt: skip

    def _breakers(self) -> Iterator[Incident]:
        """Every breaker that is not closed; worse when its probes keep failing (CB-16, CBF-13)."""
        for status in self._trader.guard.breakers.statuses():
            if status.state is BreakerState.CLOSED:
                continue
            latched = status.state is BreakerState.LATCHED
            by = f"{status.actor} opened it: {status.reason}" if latched else status.last_failure
            effect = "entries wait, exits and protection go on" if status.stops_entries else "trading goes on"
            until = "until an operator resets it" if latched else "it is tried again by itself"
            tried = f", {plural(status.failed_probes, 'probe')} failed" if status.failed_probes else ""
            yield self._incident(
                f"breaker:{status.name}", Severity.CRITICAL if status.needs_a_person else Severity.WARNING,
                f"the breaker {status.name} is open", f"{by}{tried}; {effect}; {until}",
            )  # fmt: skip

    def _health(self) -> Iterator[Incident]:
        """Components that are unhealthy and have no incident of their own, nor their breaker's."""
        report = self._trader.guard.health.report()
        for component in report.components:
            told = component.breaker in report.open_breakers or (component.known and component.component == "venue")
            if told or component.component in _TOLD_ELSEWHERE or component.status.rank < HealthStatus.UNHEALTHY.rank:
                continue
            severity = Severity.CRITICAL if component.status is HealthStatus.CRITICAL else Severity.WARNING
            yield self._incident(
                f"health:{component.component}", severity, f"{component.component} is {component.status.value}",
                component.text,
            )  # fmt: skip

    def _incident(
        self, key: str, severity: Severity, title: str, text: str, *, symbol: str = "", episode: str = ""
    ) -> Incident:
        return Incident(
            key=key, severity=severity, title=redact_text(title), text=redact_text(text)[:_TEXT],
            time_ms=self._trader.clock.now_ms(), symbol=symbol, episode=episode,
        )  # fmt: skip

    def _window_ms(self, symbol: str) -> int:
        """Positions have the window of recovery, everything else that of the breakers."""
        settings = self._trader.settings
        return settings.recovery.alert_cooldown_ms if symbol else settings.breakers.alert_cooldown_ms


def _key(note: Note) -> str:
    """Another episode of a symbol is another incident. Parts are named like ``close-BTC``: the first word is the part.
    """
    if note.kind == "failure":
        return f"failure:{note.text.partition(':')[0].partition('-')[0]}"
    return f"{note.kind}:{note.symbol}" + (f":{note.episode}" if note.episode else "")


def write_log(alert: Alert) -> None:
    """One line in the log: an error for what is critical, a note for what is over."""
    level = {Severity.INFO: logging.INFO, Severity.WARNING: logging.WARNING, Severity.CRITICAL: logging.ERROR}
    over = alert.change is Change.OVER
    words = " ".join(alert.body.splitlines())
    _LOG.log(logging.INFO if over else level[alert.incident.severity], "%s: %s", alert.subject, words)
