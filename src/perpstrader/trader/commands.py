"""Commands: what a person or another program may do to a running trader, from the terminal, the control port or a page.

Every command is recorded with actor and reason and answers with what was actually done. What is dangerous (flatten,
resume) is prepared first: the confirmation is bound to the exact action, is good once, and for a minute (S71).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from random import Random
from typing import Any, Final

import msgspec

from perpstrader.breakers import BreakerStatus, ComponentHealth, HealthReport
from perpstrader.domain import (
    Action,
    HaltKind,
    PerpsTraderError,
    Refused,
    Side,
    Signal,
    StateError,
    TraceKind,
    dec,
)
from perpstrader.domain.wording import near_name, plural
from perpstrader.monitor import PerformanceReport, openmetrics
from perpstrader.recovery import action_named
from perpstrader.trader.decisions import OPERATOR, Decision
from perpstrader.trader.recovering import RecoveryReport, report_of
from perpstrader.trader.risking import RiskReport
from perpstrader.trader.risking import report_of as risk_report
from perpstrader.trader.status import Status, status_of
from perpstrader.trader.trader import Trader

CONFIRMATION_MS: Final = 60_000
_REMEMBERED: Final = 256
_PATIENCE_S: Final = 60.0
_NEEDS_CONFIRMATION: Final = ("flatten", "resume")


class CommandError(PerpsTraderError):
    """A command that cannot be carried out as given; nothing was done."""


class Confirmation(msgspec.Struct, frozen=True, kw_only=True):
    """What to send back within a minute to have exactly this done, once."""

    token: str
    action: str
    arguments: dict[str, str]
    consequence: str
    expires_ms: int


class CommandResult(msgspec.Struct, frozen=True, kw_only=True):
    """What was done; ``done`` is False where it was refused or only in part, ``text`` says which."""

    command: str
    done: bool
    text: str
    details: dict[str, Any] = msgspec.field(default_factory=dict)


class HealthView(msgspec.Struct, frozen=True, kw_only=True):
    """The last round of health checks, and the results before it, newest first."""

    report: HealthReport
    history: tuple[ComponentHealth, ...]


class SignalRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A signal from outside; its age counts from its receipt, its strategy is told apart by name."""

    symbol: str
    side: Side
    action: Action = Action.OPEN
    confidence: float = 1.0
    id: str = ""
    strategy: str = "external"
    ttl_ms: int = 60_000
    entry_price: str | None = None
    stop_price: str | None = None
    target_price: str | None = None
    size: str | None = None
    episode: str | None = None
    reason: str = ""


class Commands:
    """The commands of one trader; the console and the terminal are skins over them."""

    def __init__(self, trader: Trader, rng: Random) -> None:
        self._trader = trader
        self._rng = rng
        self._prepared: OrderedDict[str, Confirmation] = OrderedDict()
        self._done: OrderedDict[tuple[str, str], CommandResult] = OrderedDict()
        self._flattens: dict[str, asyncio.Task[CommandResult]] = {}
        self._signals = 0

    def status(self) -> Status:
        """The trader now."""
        return status_of(self._trader)

    def performance(self) -> PerformanceReport:
        """How long each stage takes and how often it fails, since the start."""
        return self._trader.monitor.report()

    def recovery(self) -> RecoveryReport:
        """What recovery finds wrong with positions, what became of it, and the attempts (S50-S52)."""
        return report_of(self._trader)

    def risk(self) -> RiskReport:
        """The day, the positions, the limits and the halts."""
        return risk_report(self._trader)

    def metrics(self) -> str:
        """The same with the histograms, as OpenMetrics text."""
        return openmetrics(self._trader.monitor)

    def breakers(self) -> tuple[BreakerStatus, ...]:
        """Every circuit breaker now."""
        return self._trader.guard.breakers.statuses()

    def health(self, component: str | None = None, limit: int = 100) -> HealthView:
        """The last round of health checks and what they found before; checks nothing (S46)."""
        health = self._trader.guard.health
        return HealthView(report=health.report(), history=health.history(component, limit))

    async def open_breaker(self, name: str, reason: str, *, actor: str, key: str = "") -> CommandResult:
        """Open a breaker until an operator resets it, restarts included (S43)."""
        return await self._set_breaker("open", name, reason, actor, key)

    async def reset_breaker(self, name: str, reason: str, *, actor: str, key: str = "") -> CommandResult:
        """Close a breaker, whatever opened it."""
        return await self._set_breaker("reset", name, reason, actor, key)

    async def signal(self, request: SignalRequest, *, actor: str) -> CommandResult:
        """Judge and carry out a signal from outside, on the same road as a strategy's."""
        now = self._trader.clock.now_ms()
        self._signals += 1
        signal = Signal(
            id=request.id or f"{actor}-{now}-{self._signals}",
            action=Action(request.action),
            symbol=request.symbol,
            side=Side(request.side),
            confidence=request.confidence,
            strategy=request.strategy,
            created_ms=now,
            ttl_ms=request.ttl_ms,
            entry_price=_money(request.entry_price),
            stop_price=_money(request.stop_price),
            target_price=_money(request.target_price),
            size_hint=_money(request.size),
            episode=request.episode,
            reason=request.reason or f"from {actor}",
        )
        result = self._told(await self._trader.decider.decide(signal))
        self._audit("signal", _named(signal), actor, signal.reason, result.text)
        await self._trader.recorder.settle()
        return result

    async def halt(self, reason: str, *, actor: str, key: str = "") -> CommandResult:
        """No entries from now on; exits and protection go on."""
        self._require(reason, "halt")
        if (known := self._done.get(("halt", key))) is not None:
            return known
        await self._trader.halt(HaltKind.OPERATOR, reason, actor)
        text = "entries are halted; positions keep their stops, exits go on"
        return await self._record("halt", {}, actor, reason, True, text, key=key)

    def prepare(self, action: str, arguments: Mapping[str, str]) -> Confirmation:
        """What would happen, and the token that makes it happen."""
        if action not in _NEEDS_CONFIRMATION:
            raise CommandError(f"{action!r} needs no confirmation; those that do: {', '.join(_NEEDS_CONFIRMATION)}")
        holdings = self._trader.execution.desk.positions.holdings
        if action == "flatten":
            held = plural(len(holdings), "position")
            text = f"halts entries and closes {held} at market: {', '.join(holdings) or 'none'}"
        else:
            kinds = [halt.kind.value for halt in self._trader.keeper.state.halts]
            text = f"releases the halts {', '.join(kinds) or '(none)'}; entries begin again at once"
        now = self._trader.clock.now_ms()
        confirmation = Confirmation(
            token=f"{self._rng.getrandbits(128):032x}",
            action=action,
            arguments=dict(arguments),
            consequence=text,
            expires_ms=now + CONFIRMATION_MS,
        )
        self._prepared[confirmation.token] = confirmation
        while len(self._prepared) > _REMEMBERED:
            self._prepared.popitem(last=False)
        return confirmation

    async def flatten(self, reason: str, *, actor: str, token: str, key: str = "") -> CommandResult:
        """Halt, cancel entries, close everything, verify; answers with what happened to each position (S05).

        Whoever asks goes away: it goes on. Who asks again with its ``key`` waits for the same one's answer.
        """
        if (known := self._done.get(("flatten", key))) is not None:
            return known
        task = self._flattens.get(key) if key else None
        if task is None:
            self._require(reason, "flatten")
            self._confirm("flatten", token, reason)
            pool = self._trader.execution.desk.pool
            task = pool.spawn(f"flatten-{key or 'now'}", self._flatten(reason, actor, key))
            if task is None:
                raise CommandError("the trader is stopping; its policy decides what becomes of the positions")
            self._flattens[key] = task
            task.add_done_callback(lambda done: self._flattens.pop(key, None))
        return await asyncio.shield(task)

    async def _flatten(self, reason: str, actor: str, key: str) -> CommandResult:
        report = await self._trader.recovery.emergency_close_all(reason, actor=actor)
        text = (
            "all positions are closed, as the venue shows"
            if report.verified_flat
            else f"not flat: {', '.join(report.remaining) or '; '.join(report.failed)}"
        )
        details = msgspec.to_builtins(report)
        return await self._record("flatten", {}, actor, reason, report.verified_flat, text, details=details, key=key)

    async def resume(self, reason: str, *, actor: str, token: str, key: str = "") -> CommandResult:
        """Release every halt that an operator may release; recorded with the reason (S40)."""
        if (known := self._done.get(("resume", key))) is not None:
            return known
        self._require(reason, "resume")
        self._confirm("resume", token, reason)
        released = [halt.kind.value for halt in self._trader.keeper.state.halts]
        await self._trader.keeper.resume(actor, reason)
        self._trader.execution.view.frozen.clear()
        left = self._trader.halted()
        text = f"released {', '.join(released) or 'nothing'}" + (f"; still {left}" if left else "; entries begin again")
        return await self._record("resume", {}, actor, reason, left is None, text, key=key)

    async def close(self, symbol: str, reason: str, *, actor: str) -> CommandResult:
        """Close one position, as the operator; answers within a minute, and says where the exit is not through yet."""
        now = self._trader.clock.now_ms()
        holdings = self._trader.execution.desk.positions.holdings
        holding = holdings.get(symbol)
        if holding is None:
            return CommandResult(command="close", done=False, text=_no_position(symbol, holdings))
        signal = Signal(
            id=f"{actor}-close-{symbol}-{now}",
            action=Action.CLOSE,
            symbol=symbol,
            side=holding.side,
            confidence=1.0,
            strategy=OPERATOR,
            created_ms=now,
            episode=holding.episode,
            reason=reason,
        )
        task = self._trader.execution.desk.pool.spawn(f"close-{symbol}", self._trader.decider.decide(signal))
        if task is None:
            raise CommandError("the trader is stopping; its policy decides what becomes of the position")
        result = await self._closed(symbol, task)
        self._audit("close", _named(signal), actor, reason, result.text)
        await self._trader.recorder.settle()
        return result

    async def _set_breaker(self, verb: str, name: str, reason: str, actor: str, key: str) -> CommandResult:
        command, breakers = f"breaker {verb}", self._trader.guard.breakers
        if (known := self._done.get((command, key))) is not None:
            return known
        self._require(reason, command)
        if name not in breakers.names:
            raise CommandError(f"there is no breaker {name!r}; there are {', '.join(breakers.names)}")
        before = breakers.status(name).state
        change = breakers.open if verb == "open" else breakers.reset
        done, doubt = True, ""
        try:
            await change(name, actor=actor, reason=reason)
        except StateError as error:
            done, doubt = False, f", but state.db did not take it: {error}"
        status = breakers.status(name)
        effect = "entries wait for it, exits go on" if status.stops_entries else "trading goes on without it"
        now = f"{name} is {status.state.value}" + (f" until it is reset; {effect}" if verb == "open" else "")
        text = f"{now} (it was {before.value}){doubt}"
        return await self._record(command, {"name": name}, actor, reason, done, text, key=key)

    async def recover(self, symbol: str, action: str, reason: str, *, actor: str, key: str = "") -> CommandResult:
        """Close or halve a position, or count its recovery attempts anew (``reset``); done once the venue shows it."""
        if (known := self._done.get(("recover", key))) is not None:
            return known
        self._require(reason, "recover")
        arguments = {"symbol": symbol, "action": action}
        self._require_position(symbol)
        if action == "reset":
            reset = self._trader.recovery.reset_attempts(symbol)
            text = f"recovery counts its attempts at {symbol} anew" if reset else f"{symbol} has no attempts to forget"
            return await self._record("recover", arguments, actor, reason, reset, text, key=key)
        done = await self._trader.recovery.recover(symbol, action_named(action), reason, actor=actor)
        details = {"recovered": msgspec.to_builtins(done)}
        text = f"{symbol}: {done.text}"
        return await self._record("recover", arguments, actor, reason, done.done, text, details=details, key=key)

    def _require_position(self, symbol: str) -> None:
        held = self._trader.execution.desk.positions.holdings
        if symbol not in held:
            near = near_name(symbol, held)
            hint = f"did you mean {near}?" if near else f"open: {', '.join(held) or 'none'}"
            raise CommandError(f"there is no position in {symbol}; {hint}")

    async def _closed(self, symbol: str, task: asyncio.Task[Decision]) -> CommandResult:
        """What became of it within a minute; an exit that is not through by then goes on."""
        await asyncio.wait([task], timeout=_PATIENCE_S)
        if not task.done():
            text = f"{symbol} is not closed within {_PATIENCE_S:.0f} s; the exit goes on until it is"
            return CommandResult(command="close", done=False, text=text)
        decision = task.result()
        told = self._told(decision)
        done = decision.exit.flat if decision.exit is not None else told.done
        return msgspec.structs.replace(told, command="close", done=done)

    def _told(self, decision: Decision) -> CommandResult:
        verdict, entry, report = decision.verdict, decision.entry, decision.exit
        details: dict[str, Any] = {"trace": decision.trace_id}
        if isinstance(verdict, Refused):
            details["refusals"] = [refusal.sentence() for refusal in verdict.refusals]
            return CommandResult(
                command="signal", done=False, text=f"refused: {details['refusals'][0]}", details=details
            )
        if entry is not None and entry.refusal is not None:
            return CommandResult(
                command="signal", done=False, text=f"not sent: {entry.refusal.sentence()}", details=details
            )
        if entry is not None and entry.order is not None:
            details |= {"order": msgspec.to_builtins(entry.order, str_keys=True), "episode": entry.episode}
            order = entry.order
            text = f"{order.status.value}: {order.filled} of {order.intent.size} {order.intent.symbol}"
            return CommandResult(command="signal", done=True, text=text, details=details)
        if report is not None:
            details["exit"] = msgspec.to_builtins(report)
            return CommandResult(
                command="signal", done=report.flat or report.closed > 0, text=report.text, details=details
            )
        return CommandResult(command="signal", done=False, text="nothing was done", details=details)

    def _confirm(self, action: str, token: str, reason: str) -> None:
        confirmation = self._prepared.pop(token, None)
        if confirmation is None or confirmation.action != action:
            raise CommandError(
                f"{action} needs its own confirmation: prepare it first; a token is good once and for one action"
            )
        if confirmation.arguments.get("reason", reason) != reason:
            raise CommandError(f"{action} was prepared with another reason; prepare it again")
        if self._trader.clock.now_ms() > confirmation.expires_ms:
            raise CommandError(
                f"the confirmation of {action} is older than {CONFIRMATION_MS // 1000} s; prepare it again"
            )

    @staticmethod
    def _require(reason: str, command: str) -> None:
        if not reason.strip():
            raise CommandError(f"{command} needs a reason; it is recorded")

    def _audit(self, command: str, arguments: dict[str, str], actor: str, reason: str, text: str) -> None:
        """Who did what and why, and what came of it, in the state file."""
        now = self._trader.clock.now_ms()
        self._trader.execution.desk.journal.later(
            lambda tx: tx.audit.add(
                time_ms=now, actor=actor, command=command, arguments=arguments, result=text, reason=reason
            )
        )

    async def _record(
        self, command: str, arguments: dict[str, str], actor: str, reason: str, done: bool, text: str, *,
        details: dict[str, Any] | None = None, key: str = "",
    ) -> CommandResult:  # fmt: skip
        result = CommandResult(command=command, done=done, text=text, details=details or {})
        self._audit(command, arguments, actor, reason, text)
        trace = self._trader.recorder.make(TraceKind.COMMAND, "", actor, steps=(f"{command}: {reason}", text))
        self._trader.recorder.store(trace)
        if key:
            self._done[command, key] = result
            while len(self._done) > _REMEMBERED:
                self._done.popitem(last=False)
        return result


def _no_position(symbol: str, held: Mapping[str, object]) -> str:
    """What is wrong, and what was probably meant."""
    near = near_name(symbol, held)
    hint = f"; did you mean {near}?" if near else f"; open are {', '.join(held)}" if held else ""
    return f"there is no position in {symbol}{hint}"


def _money(text: str | None) -> Any:
    return None if text is None else dec(text)


def _named(signal: Signal) -> dict[str, str]:
    """What a signal's audit row says of it; its trace has the rest."""
    return {"id": signal.id, "action": signal.action.value, "symbol": signal.symbol, "side": signal.side.value}
