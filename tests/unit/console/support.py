"""Commands that remember what they were told, in place of a trader's."""

from __future__ import annotations

from typing import Any

from tests.unit.breakers.support import Kept

from perpstrader.breakers import BreakerStatus, ComponentHealth, HealthReport, HealthStatus
from perpstrader.monitor import PerformanceMonitor, PerformanceReport, Stages, openmetrics
from perpstrader.recovery import action_named
from perpstrader.runtime import SystemClock
from perpstrader.trader.commands import CommandError, CommandResult, Confirmation, HealthView, SignalRequest
from perpstrader.trader.recovering import IssueRow, RecoveryReport
from perpstrader.trader.status import DecisionRow, HaltRow, OrderRow, PositionRow, Status

POSITION = PositionRow(
    symbol="BTC", side="long", size="0.01", entry_price="100000", mark_price="101000", notional_usd="1010",
    unrealized_usd="10", stop_price="98000", protection="confirmed", stop_distance_pct="2.97", target_price="",
    liquidation_price="60000", liquidation_distance_pct="40.59", leverage=3, owner="trend", episode="BTC-1",
    opened_ms=1,
)  # fmt: skip
ORDER = OrderRow(
    symbol="BTC", purpose="stop", side="sell", size="0.01", filled="0", limit_price="88200", trigger_price="98000",
    status="open", oid=7, cloid="0x01", episode="BTC-1", sent_ms=1_700_000_000_000,
)  # fmt: skip
DECISION = DecisionRow(
    id="t-1", time_ms=1_700_000_000_000, kind="decision", symbol="ETH", strategy="trend", wanted="open long",
    verdict="refused", why="SPREAD_TOO_WIDE: 7.2 bps, limit 5 bps",
)  # fmt: skip
HALT = HaltRow(kind="operator", since_ms=1_700_000_000_000, until_ms=None, reason="lunch", actor="ann")


def status(**changes: Any) -> Status:
    """A trader with one position, one order, one refusal."""
    values: dict[str, Any] = {
        "network": "paper", "account": "0xabc", "time_ms": 1_700_000_060_000, "started_ms": 1_700_000_000_000,
        "equity_usd": "1000", "available_usd": "600", "day_realized_usd": "-1.2", "net_pnl_usd": "8.8",
        "fees_usd": "1.2", "funding_usd": "0", "drawdown_pct": "0.1", "may_trade": True, "why_not": "", "halts": (),
        "positions": (POSITION,),
        "orders": (ORDER,), "decisions": (DECISION,), "incidents": (), "connected": True, "reconciled": True,
        "journal_pending": 0, "bars": 9, "cycles": 9, "signals": 3, "approved": 1, "refused": 2, "orders_sent": 1,
        "fills": 1, "refused_by_reason": {"SPREAD_TOO_WIDE": 2}, "max_unprotected_ms": 40, "heartbeats_late": (),
    }  # fmt: skip
    return Status(**(values | changes))


class FakeCommands:
    """What the console calls, recorded."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.fail_with: Exception | None = None
        self.now = status()
        self.kept = Kept()
        self.monitor = PerformanceMonitor(SystemClock())
        Stages.of(self.monitor).submit.record(120_000_000)
        self.monitor.counter("bars").add(9)

    def status(self) -> Status:
        if self.fail_with is not None:
            raise self.fail_with
        return self.now

    def performance(self) -> PerformanceReport:
        return self.monitor.report()

    def metrics(self) -> str:
        return openmetrics(self.monitor)

    def breakers(self) -> tuple[BreakerStatus, ...]:
        return self.kept.breakers.statuses()

    def health(self, component: str | None = None, limit: int = 100) -> HealthView:
        self.calls.append(("health", component or "", str(limit)))
        row = ComponentHealth(
            component="venue", status=HealthStatus.HEALTHY, text="it answers", checked_ms=1, took_ms=2, breaker="venue"
        )
        report = HealthReport(
            status=HealthStatus.HEALTHY, text="all is well", checked_ms=1, components=(row,), open_breakers=()
        )
        return HealthView(report=report, history=(row,))

    async def open_breaker(self, name: str, reason: str, *, actor: str, key: str = "") -> CommandResult:
        self.calls.append(("open", name, reason, actor, key))
        return CommandResult(command="breaker open", done=True, text=f"{name} is latched")

    async def reset_breaker(self, name: str, reason: str, *, actor: str, key: str = "") -> CommandResult:
        self.calls.append(("reset", name, reason, actor, key))
        if name not in self.kept.breakers.names:
            raise CommandError(f"there is no breaker {name!r}")
        return CommandResult(command="breaker reset", done=True, text=f"{name} is closed")

    async def signal(self, request: SignalRequest, *, actor: str) -> CommandResult:
        self.calls.append(("signal", request.symbol, request.side.value, request.size or "", actor))
        return CommandResult(command="signal", done=True, text="filled", details={"trace": "t-1"})

    async def halt(self, reason: str, *, actor: str, key: str = "") -> CommandResult:
        self.calls.append(("halt", reason, actor, key))
        return CommandResult(command="halt", done=True, text="entries are halted")

    def prepare(self, action: str, arguments: dict[str, str]) -> Confirmation:
        if action not in ("flatten", "resume"):
            raise CommandError(f"{action!r} needs no confirmation")
        self.calls.append(("prepare", action))
        return Confirmation(
            token="t0k3n", action=action, arguments=dict(arguments), consequence="closes 1 position", expires_ms=1
        )

    async def flatten(self, reason: str, *, actor: str, token: str, key: str = "") -> CommandResult:
        self.calls.append(("flatten", reason, actor, token))
        return CommandResult(command="flatten", done=True, text="all positions are closed")

    async def resume(self, reason: str, *, actor: str, token: str, key: str = "") -> CommandResult:
        self.calls.append(("resume", reason, actor, token))
        return CommandResult(command="resume", done=False, text="released operator; still halted (daily_loss): -50")

    async def close(self, symbol: str, reason: str, *, actor: str) -> CommandResult:
        self.calls.append(("close", symbol, reason, actor))
        return CommandResult(command="signal", done=True, text="closed")

    def recovery(self) -> RecoveryReport:
        row = IssueRow(
            time_ms=1, symbol="BTC", kind="STALE", priority="low", action="wait", text="open for 25.0 h", episode="B-1"
        )  # fmt: skip
        return RecoveryReport(
            last_check_ms=1, checks=3, interval_ms=5_000, issues=(row,), history=(row,), attempts={"BTC": 1},
            max_attempts=3, acting=(), submitted=1, succeeded=1, failed=0, exhausted=(), slowest_critical_ms=0,
        )  # fmt: skip

    async def recover(self, symbol: str, action: str, reason: str, *, actor: str, key: str = "") -> CommandResult:
        self.calls.append(("recover", symbol, action, reason, actor))
        if action not in ("close", "reduce", "reset"):
            action_named(action)
        return CommandResult(command="recover", done=action != "reduce", text=f"{symbol}: {action}")
