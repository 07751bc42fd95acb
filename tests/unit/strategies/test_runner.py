"""A strategy that raises, hangs or talks nonsense costs its own cycle and nothing more."""

from __future__ import annotations

import asyncio
import itertools
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from tests.unit.strategies.strategy_samples import bar, position, view

from perpstrader.domain import Action, MarketView, Side, Signal
from perpstrader.runtime import InlineExecutor, SystemClock, VirtualClock, run_virtual
from perpstrader.runtime.detached import DetachedExecutor
from perpstrader.strategies import BaseStrategy, Outcome, StrategyRunner
from perpstrader.strategies.runner import BACKOFF_AFTER, MAX_SKIPPED_CYCLES

VIEW = view(bar(1, 100.0), held=position("mine", Side.LONG))


class StillClock:
    """A clock that moves only when it is told to."""

    def __init__(self) -> None:
        self.ns = 0

    def now_ms(self) -> int:
        return self.ns // 1_000_000

    def monotonic_ns(self) -> int:
        return self.ns

    async def sleep(self, seconds: float) -> None:
        self.ns += int(seconds * 1e9)


class Mine(BaseStrategy):
    """A strategy that does what the test says."""

    name = "mine"

    def __init__(self, act: Callable[[MarketView], Any]) -> None:
        self.act = act

    def on_market(self, view: MarketView) -> Signal | Awaitable[Signal | None] | None:
        answer: Signal | Awaitable[Signal | None] | None = self.act(view)
        return answer


def entry(**changes: object) -> Signal:
    """A signal that is in order, but for ``changes``."""
    signal = Mine(lambda _: None).open(VIEW, Side.LONG, confidence=0.7, reason="test")
    return msgspec.structs.replace(signal, **changes)


def leave() -> Signal:
    return Mine(lambda _: None).close(VIEW, reason="test")


def fail(error: BaseException) -> Any:
    raise error


def once(act: Callable[[MarketView], Any], **options: Any) -> Outcome:
    return asyncio.run(StrategyRunner(Mine(act), StillClock(), 50, **options).on_market(VIEW))


def test_a_quiet_bar_and_a_signal_come_through() -> None:
    assert once(lambda _: None) == Outcome()
    assert once(lambda _: entry()) == Outcome(entry())


def test_an_error_is_a_sentence_with_its_place() -> None:
    outcome = once(lambda _: fail(KeyError("BTC")))
    assert outcome.signal is None
    assert outcome.error is not None
    assert outcome.error.startswith("KeyError: 'BTC' (test_runner.py:")


def test_a_strategy_cannot_end_the_program_or_cancel_the_trader() -> None:
    assert once(lambda _: sys.exit(3)).error is not None
    assert once(lambda _: fail(asyncio.CancelledError())).error == "it cancelled itself"


def test_the_traders_own_cancellation_still_goes_through() -> None:
    async def main() -> None:
        async def forever(_: MarketView) -> None:
            await asyncio.Event().wait()

        runner = StrategyRunner(Mine(forever), StillClock(), 60_000)
        task = asyncio.get_running_loop().create_task(runner.on_market(VIEW))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("buy", "returned str"),
        (entry(strategy="trend"), "only 'mine' may speak here"),
        (entry(symbol="ETH"), "asked about 'BTC'"),
        (entry(stop_price=99.5), "stop_price 99.5"),
        (entry(target_price=Decimal("NaN")), "must be finite"),
        (entry(side="long"), "must be a Side"),
        (entry(action="open"), "must be an Action"),
        (entry(confidence="high"), "must be a number"),
        (entry(confidence=True), "must be a number"),
        (entry(created_ms=1.5), "whole milliseconds"),
        (entry(id=""), "has no id"),
    ],
)
def test_an_answer_that_is_no_proper_signal_is_an_error(answer: object, says: str) -> None:
    outcome = once(lambda _: answer)
    assert outcome.signal is None
    assert outcome.error is not None
    assert says in outcome.error


def test_asynchronous_strategies_are_awaited_and_cancelled_at_their_deadline() -> None:
    async def answer(_: MarketView) -> Signal:
        return entry()

    assert once(answer).signal == entry()
    ended: list[str] = []

    async def main(clock: VirtualClock) -> tuple[Outcome, int]:
        async def hang(_: MarketView) -> None:
            try:
                await clock.sleep(3600)
            finally:
                ended.append("cancelled")

        started = clock.now_ms()
        return await StrategyRunner(Mine(hang), clock, 50).on_market(VIEW), clock.now_ms() - started

    outcome, waited_ms = run_virtual(main)
    assert outcome.error == "it did not come back within its deadline of 50 ms"
    assert ended == ["cancelled"]
    assert waited_ms == 50


def test_a_timeout_of_the_strategys_own_is_named_as_such() -> None:
    async def raises(_: MarketView) -> None:
        raise TimeoutError("the oracle was silent")

    assert once(raises).error == "the oracle was silent"


def test_a_late_entry_is_dropped_and_a_late_exit_is_kept() -> None:
    clock = StillClock()

    def slow(signal: Signal) -> Callable[[MarketView], Signal]:
        def act(_: MarketView) -> Signal:
            clock.ns += 80_000_000
            return signal

        return act

    late_entry = asyncio.run(StrategyRunner(Mine(slow(entry())), clock, 50).on_market(VIEW))
    assert late_entry.signal is None
    assert late_entry.error == "it took 80 ms, more than its deadline of 50 ms"
    late_exit = asyncio.run(StrategyRunner(Mine(slow(leave())), clock, 50).on_market(VIEW))
    assert late_exit.signal == leave()
    assert late_exit.error is not None


def test_repeated_errors_back_off_and_the_first_success_ends_it() -> None:
    broken = True
    runner = StrategyRunner(Mine(lambda _: fail(ValueError("no")) if broken else None), StillClock(), 50)

    async def cycles(count: int) -> list[Outcome]:
        return [await runner.on_market(VIEW) for _ in range(count)]

    outcomes = asyncio.run(cycles(400))
    asked = [n for n, outcome in enumerate(outcomes) if outcome.skipped is None]
    gaps = [b - a - 1 for a, b in itertools.pairwise(asked)]
    assert gaps[: BACKOFF_AFTER + 3] == [0] * (BACKOFF_AFTER - 1) + [1, 2, 4, 8]
    assert max(gaps) == MAX_SKIPPED_CYCLES
    assert runner.errors == len(asked)
    assert runner.skipped_cycles == 400 - len(asked)
    assert "failed" in next(outcome.skipped for outcome in outcomes if outcome.skipped)

    broken = False
    assert not any(outcome.skipped for outcome in asyncio.run(cycles(MAX_SKIPPED_CYCLES + 10))[-10:])
    assert runner.errors_in_a_row == 0


def test_a_hanging_isolated_strategy_costs_its_own_cycles_only_and_recovers() -> None:
    release, asked = threading.Event(), []

    def hang_once(_: MarketView) -> Signal | None:
        asked.append(1)
        if len(asked) == 1:
            release.wait(30)
            return entry()
        return None

    async def main() -> None:
        executor = DetachedExecutor("strategy-mine")
        runner = StrategyRunner(Mine(hang_once), SystemClock(), 100, executor=executor)
        other = StrategyRunner(Mine(lambda _: entry()), SystemClock(), 10_000)
        first = await runner.on_market(VIEW)
        assert first.error == "it did not come back within its deadline of 100 ms"
        assert (await other.on_market(VIEW)).signal == entry()
        assert (await runner.on_market(VIEW)).skipped == "its last call has not come back yet"
        assert len(asked) == 1
        release.set()
        outcome = await runner.on_market(VIEW)
        while outcome.skipped:
            await asyncio.sleep(0)
            outcome = await runner.on_market(VIEW)
        assert outcome.signal is None
        assert outcome.error is None
        executor.close()

    asyncio.run(main())


def test_an_isolated_strategy_answers_and_raises_as_any_other() -> None:
    for executor in (InlineExecutor(), DetachedExecutor("strategy-mine")):
        assert once(lambda _: entry(), executor=executor).signal == entry()
        assert once(lambda _: fail(ValueError("no")), executor=executor).error is not None
        assert once(lambda _: fail(TimeoutError("its own")), executor=executor).error == "its own"
        assert once(lambda _: sys.exit(1), executor=executor).error is not None
        executor.close()


def test_a_hung_thread_does_not_hold_up_a_stop() -> None:
    release = threading.Event()

    async def main() -> None:
        executor = DetachedExecutor("strategy-hung")
        with pytest.raises(TimeoutError):
            await executor.run(lambda: release.wait(60), timeout_s=0.05)
        executor.close()

    started = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - started < 30
    release.set()


def test_a_runner_shows_a_strategy_only_what_it_asked_for() -> None:
    strategy = Mine(lambda _: None)
    runner = StrategyRunner(strategy, StillClock())
    assert runner.wants("BTC", "1m")
    strategy.symbols, strategy.intervals = ("ETH",), ("5m",)
    assert runner.wants("ETH", "5m")
    assert not runner.wants("BTC", "5m")
    assert not runner.wants("ETH", "1m")


def test_what_a_strategy_says_about_itself_cannot_do_harm() -> None:
    class Talker(Mine):
        def indicators(self, symbol: str) -> dict[str, float]:
            return {"good": 1.5, "bad": float("nan")} if symbol == "BTC" else fail(KeyError(symbol))

        def explain(self, symbol: str) -> str:
            return "waiting for a cross" if symbol == "BTC" else fail(KeyError(symbol))

    runner = StrategyRunner(Talker(lambda _: fail(ValueError("no"))), StillClock())
    assert (runner.indicators("BTC"), runner.indicators("ETH")) == ({"good": 1.5}, {})
    assert runner.explain("BTC") == "waiting for a cross"
    assert runner.explain("ETH").startswith("mine could not explain itself: KeyError: 'ETH'")
    asyncio.run(runner.on_market(VIEW))
    assert runner.explain("BTC").startswith("mine failed 1 times in a row: ValueError: no")


def test_exits_are_bound_to_the_episode() -> None:
    signal = leave()
    assert (signal.action, signal.side, signal.episode) == (Action.CLOSE, Side.LONG, "BTC-1")
    with pytest.raises(ValueError, match="there is no position"):
        Mine(lambda _: None).close(view(bar(1, 100.0)), reason="nothing to close")
