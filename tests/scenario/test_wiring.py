"""What is built is also called: every part that keeps a position safe has a caller while the trader runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from tests.scenario.kit import Stage, go, play
from tests.scenario.market import calm

from perpstrader.breakers import CircuitBreakers, GuardedTransport, HealthChecks
from perpstrader.domain import Side
from perpstrader.execution import AccountWatch, Journal
from perpstrader.execution.bookkeeping import Accountant
from perpstrader.execution.execution import Execution
from perpstrader.execution.protection import Protector
from perpstrader.execution.reconcile import Reconciler
from perpstrader.execution.unstreamed import UnstreamedLook
from perpstrader.recovery import RecoveryService
from perpstrader.risk.keeper import RiskKeeper
from perpstrader.runtime import Supervisor
from perpstrader.trader.cycle import Cycle
from perpstrader.trader.decisions import Decider
from perpstrader.trader.guard import Guard
from perpstrader.trader.recorder import Recorder
from perpstrader.trader.trader import Trader

LOOPS = {"journal", "guard", "recovery", "streams", "cycles", "protection", "reconcile", "records"}
CALLED: dict[str, tuple[type, str]] = {
    "bars of the stream": (Trader, "on_bar"),
    "prices of the stream": (Trader, "on_market"),
    "fills of the stream": (Trader, "on_fills"),
    "orders of the stream": (Trader, "on_order_record"),
    "funding of the stream": (Trader, "on_funding"),
    "cash flows of the stream": (Trader, "on_cash_flows"),
    "a cycle for each bar": (Cycle, "take"),
    "decisions": (Decider, "decide"),
    "protection of each fill": (Protector, "ensure"),
    "the watch over protection": (Execution, "watch_protection"),
    "the comparison with the venue": (Reconciler, "run"),
    "the look without a stream": (UnstreamedLook, "look"),
    "the account's reading": (AccountWatch, "refresh"),
    "the account's mode": (AccountWatch, "check_mode"),
    "the look at equity": (RiskKeeper, "on_equity"),
    "the loss limits on fills": (RiskKeeper, "on_fill"),
    "the loss limits on funding": (RiskKeeper, "on_funding"),
    "the loss streak": (RiskKeeper, "on_episode_end"),
    "the limits on cash flows": (RiskKeeper, "on_cash_flow"),
    "the frequency limits": (RiskKeeper, "on_entry"),
    "the books": (Accountant, "book_fill"),
    "the journal": (Journal, "flush"),
    "the record of decisions": (Recorder, "store"),
    "the record of silences": (Recorder, "flush"),
    "the health checks": (HealthChecks, "check"),
    "the probes of open breakers": (CircuitBreakers, "probe"),
    "the venue's breaker": (GuardedTransport, "post"),
    "the breakers' gate": (Guard, "refusal"),
    "recovery's checks": (RecoveryService, "check"),
    "recovery's critical marks": (RecoveryService, "on_market"),
    "recovery's bars": (RecoveryService, "on_bar"),
}


def _walk(monkeypatch: pytest.MonkeyPatch, without_loop: str = "") -> tuple[Counter[str], set[str]]:
    """What was called, after the start, in six minutes with an entry, funding, a deposit and a close; and the loops."""
    called: Counter[str] = Counter()
    for what, (owner, name) in CALLED.items():
        monkeypatch.setattr(owner, name, _counting(getattr(owner, name), what, called))
    start = Supervisor.start

    def without(self: Supervisor, name: str, body: Any, *, deadline_ms: int) -> None:
        if name != without_loop:
            start(self, name, body, deadline_ms=deadline_ms)

    monkeypatch.setattr(Supervisor, "start", without)

    async def act(stage: Stage) -> tuple[Counter[str], set[str]]:
        called.clear()
        await stage.bar(2)
        stage.engine.fund(stage.user, 1_000_000, stage.clock.now_ms())
        await stage.seconds(330)
        await stage.commands.close("BTC", "the end", actor="tester")
        return Counter(called), {beat.name for beat in stage.trader.heartbeats()}

    # The hour is over four minutes into the walk.
    return play(
        {"BTC": calm(60_000)}, {"alpha": {("BTC", 1): go(Side.LONG, 58_800)}}, act, sound=False,
        start_ms=1_700_053_200_000 - 240_000,
    )  # fmt: skip


def _counting(method: Callable[..., Any], what: str, called: Counter[str]) -> Callable[..., Any]:
    def counted(*args: Any, **kwargs: Any) -> Any:
        called[what] += 1
        return method(*args, **kwargs)

    return counted


def _missing(called: Counter[str]) -> list[str]:
    return [what for what in CALLED if not called[what]]


def test_S20_S41_S54_every_guard_has_a_caller_on_the_running_path(monkeypatch: pytest.MonkeyPatch) -> None:
    called, loops = _walk(monkeypatch)
    assert loops == LOOPS
    assert _missing(called) == []


@pytest.mark.parametrize("loop", ["streams", "cycles", "protection", "reconcile", "records", "guard", "recovery"])
def test_the_walk_finds_each_loop_that_nobody_starts(monkeypatch: pytest.MonkeyPatch, loop: str) -> None:
    called, loops = _walk(monkeypatch, without_loop=loop)
    assert loop not in loops
    assert _missing(called)


def test_nothing_is_flushed_where_nobody_runs_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    with_it, _ = _walk(monkeypatch)
    monkeypatch.undo()
    without_it, loops = _walk(monkeypatch, without_loop="journal")
    assert "journal" not in loops
    assert without_it["the journal"] < with_it["the journal"]
