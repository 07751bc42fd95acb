"""A row is timed only where the answers are right, both arms in turn; what is wrong gives no figure."""

from __future__ import annotations

import gc
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest

from perpstrader.bench.harness import MIN_ROUNDS, Arm, Case, Effort, Skipped, Subject, builds, measure
from perpstrader.bench.rows import Result

EFFORT = Effort(rounds=12, seconds=60.0, warm_ups=2)


def case(make: Callable[[], Subject], **changes: Any) -> Case:
    """A row of a made-up component."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Subject]:
        yield make()

    given: dict[str, Any] = {
        "component": "made-up", "row": "row", "unit": "us/call", "operations": 1, "open": opened, "note": "a note",
    }  # fmt: skip
    return Case(**(given | changes))


def arm(answer: object = 1, run: Callable[[], Any] = lambda: None, **more: Any) -> Arm:
    """An arm that gives ``answer``."""
    return Arm(run=run, answer=lambda: answer, **more)


def measured(make: Callable[[], Subject], effort: Effort = EFFORT, seed: int = 1, **changes: Any) -> Result:
    """The row of such a case."""
    return measure(case(make, **changes), effort, Random(seed))


def test_two_arms_that_agree_are_timed_and_compared() -> None:
    row = measured(lambda: Subject(arm(), arm())).row
    assert (row.parity, row.n, row.note) == (True, 12, "a note")
    assert row.baseline is not None
    assert row.optimized is not None
    assert row.ratio is not None
    assert row.ratio_low is not None
    assert row.ratio_high is not None
    assert row.ratio_low <= row.ratio <= row.ratio_high


def test_one_arm_alone_gets_no_invented_figures_and_its_spread_in_the_note() -> None:
    row = measured(lambda: Subject(arm()), claim=5.0).row
    assert row.baseline is not None
    assert (row.optimized, row.ratio, row.ratio_low, row.ratio_high, row.met) == (None,) * 5
    assert (row.claim, row.parity) == (5.0, True)
    assert row.note.startswith("a note; middle half of the repetitions: ")


def test_BM03_arms_that_differ_are_not_timed() -> None:
    row = measured(lambda: Subject(arm("right"), arm("wrong"))).row
    assert (row.parity, row.baseline, row.optimized, row.ratio, row.n) == (False, None, None, None, 0)
    assert row.note == "before the first repetition the baseline gave 'right' and the optimized build 'wrong'"


def test_BM03_one_arm_that_gives_a_wrong_answer_is_not_timed() -> None:
    row = measured(lambda: Subject(arm(41), expected=42)).row
    assert (row.parity, row.baseline) == (False, None)
    assert "gave 41 where 42 is right" in row.note


def test_BM03_an_arm_that_goes_wrong_while_it_is_timed_loses_its_figures() -> None:
    state = {"sum": 0}

    def forget() -> None:
        state["sum"] = -1

    row = measured(lambda: Subject(arm(0), Arm(run=forget, answer=lambda: state["sum"]))).row
    assert (row.parity, row.ratio) == (False, None)
    assert row.note.startswith("after the last repetition")


def test_an_arm_that_raises_is_a_failed_row_and_no_failed_run() -> None:
    def broken() -> None:
        raise ValueError("no such trace")

    row = measured(lambda: Subject(arm(run=broken))).row
    assert (row.parity, row.note) == (False, "it raised ValueError: no such trace")


def test_a_row_without_its_input_is_skipped_and_says_what_it_needs() -> None:
    def none() -> Subject:
        raise Skipped("it needs recorded answers")

    row = measured(none).row
    assert (row.parity, row.baseline, row.n, row.note) == (None, None, 0, "skipped: it needs recorded answers")


def order_of_arms(seed: int) -> str:
    """Which arm ran when, after the warm-up."""
    ran: list[str] = []
    measured(lambda: Subject(arm(run=lambda: ran.append("A")), arm(run=lambda: ran.append("B"))), seed=seed)
    return "".join(ran)


def test_BM07_both_arms_warm_up_and_then_run_in_turn_in_an_order_drawn_from_the_seed() -> None:
    order = order_of_arms(1)
    assert order[:4] == "ABAB"
    rounds = [order[place : place + 2] for place in range(4, len(order), 2)]
    assert len(rounds) == 12
    assert set(rounds) == {"AB", "BA"}
    assert order_of_arms(1) == order
    assert order_of_arms(2) != order


def test_BM07_time_that_is_up_still_gives_the_least_number_of_rounds() -> None:
    assert measured(lambda: Subject(arm()), Effort(rounds=100, seconds=0.0, warm_ups=0)).row.n == MIN_ROUNDS


def test_BM06_nothing_is_logged_in_either_arm_and_logging_is_back_afterwards(caplog: pytest.LogCaptureFixture) -> None:
    speak = lambda: logging.getLogger("perpstrader").critical("heard")  # noqa: E731
    measured(lambda: Subject(arm(run=speak), arm(run=speak)))
    assert not caplog.records
    speak()
    assert len(caplog.records) == 1


def test_BM06_each_repetition_of_either_arm_begins_without_garbage_and_with_the_collector_on() -> None:
    seen: list[tuple[bool, bool]] = []

    def look() -> None:
        seen.append((gc.isenabled(), gc.get_count()[0] < 200))
        rubbish: list[Any] = []
        rubbish.append(rubbish)

    measured(lambda: Subject(arm(run=look), arm(run=look)))
    assert set(seen) == {(True, True)}
    assert gc.get_freeze_count() == 0


def test_preparing_is_done_before_each_repetition() -> None:
    happened: list[str] = []
    subject = Subject(arm(run=lambda: happened.append("run"), prepare=lambda: happened.append("prepare")))
    measured(lambda: subject)
    assert happened == ["prepare", "run"] * 14


def test_a_count_is_what_the_arm_counted_by_the_operation() -> None:
    row = measured(lambda: Subject(arm(run=lambda: 60), arm(run=lambda: 6)), counted=True, operations=3, claim=5.0).row
    assert (row.baseline, row.optimized, row.ratio, row.met) == (20.0, 2.0, 10.0, True)


def test_BMF07_a_claim_is_met_only_where_the_whole_interval_reaches_it() -> None:
    counts = iter([60, 60, 60, 60, 20, 60, 60, 60, 20, 60, 60, 20])
    noisy = Subject(arm(run=lambda: next(counts)), arm(run=lambda: 10))
    effort = Effort(rounds=12, seconds=60.0, warm_ups=0)
    row = measured(lambda: noisy, effort, counted=True, claim=6.0).row
    assert row.ratio == 6.0
    assert row.met is False
    steady = measured(lambda: Subject(arm(run=lambda: 60), arm(run=lambda: 10)), counted=True, claim=6.0).row
    assert (steady.ratio, steady.met) == (6.0, True)


def test_asynchronous_work_is_awaited_also_in_virtual_time() -> None:
    import asyncio

    done: list[int] = []

    async def work() -> None:
        await asyncio.sleep(3_600)
        done.append(1)

    row = measured(lambda: Subject(arm(run=work)), virtual=True).row
    assert row.parity is True
    assert len(done) == 14


def test_a_component_with_one_build_has_one_arm() -> None:
    assert builds(int, int) == [int]
    assert builds(int, float) == [int, float]
