"""One row measured honestly: right answers first, then repetitions of both arms in turn, then right answers again.

Both arms do the same work on the same input under the same conditions: log lines are off, the garbage collector stays
on and starts each repetition with nothing to do, and which arm goes first is drawn for each round.
"""

from __future__ import annotations

import gc
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from random import Random
from time import perf_counter_ns
from typing import Any, Final

from msgspec.structs import replace

from perpstrader.bench.rows import Result, Row
from perpstrader.bench.samples import NOW_MS
from perpstrader.bench.statistics import ratio, sample
from perpstrader.runtime import run_virtual
from perpstrader.runtime.system import run_system

MIN_ROUNDS: Final = 5
_NS_PER_US: Final = 1_000


@dataclass(frozen=True, slots=True)
class Arm:
    """One implementation at work. ``run`` does the row's operations once and is what is timed.

    ``answer`` does them on the row's fixed input and gives everything that came of it, comparable by ``==``: results
    and state afterwards. ``prepare`` runs before each repetition, untimed.
    """

    run: Callable[[], Any]
    answer: Callable[[], Any]
    prepare: Callable[[], Any] | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """What a row compares; ``optimized`` is ``None`` while there is no other build than the plain one.

    ``expected`` is the right answer where it is known from elsewhere; with one arm alone it is what parity means.
    """

    baseline: Arm
    optimized: Arm | None = None
    expected: object = None

    @classmethod
    def of(cls, arms: Sequence[Arm], expected: object = None) -> Subject:
        """The comparison of one arm or two, the plain one first."""
        return cls(arms[0], arms[1] if len(arms) > 1 else None, expected)


def builds(plain: Any, other: Any) -> list[Any]:
    """The plain class and the one under the package's natural name; one alone while they are the same."""
    return [plain] if other is plain else [plain, other]


class Skipped(Exception):
    """A row has nothing to work on here; the text says what it would need."""


@dataclass(frozen=True, slots=True)
class Case:
    """A row to be measured: ``operations`` of them a repetition, in µs each, or counted where ``run`` gives a count.

    ``size`` is how many positions or traces it is about, where rows of several sizes make a curve. ``virtual`` runs it
    under virtual time: what is timed is then the work alone, because waiting takes no time. ``compares_builds`` is
    false where the two arms are something else than the two builds, as the note then says.
    """

    component: str
    row: str
    unit: str
    operations: int
    open: Callable[[], AbstractAsyncContextManager[Subject]]
    note: str
    claim: float | None = None
    counted: bool = False
    virtual: bool = False
    size: int | None = None
    compares_builds: bool = True


@dataclass(frozen=True, slots=True)
class Effort:
    """How long a row may take: at most ``rounds`` and about ``seconds``, and never less than ``MIN_ROUNDS``."""

    rounds: int
    seconds: float
    warm_ups: int


FULL: Final = Effort(rounds=60, seconds=6.0, warm_ups=3)
QUICK: Final = Effort(rounds=15, seconds=0.25, warm_ups=1)


class Disagreement(Exception):
    """The arms do not give the same, or not the right, answer; an arm that sees that its own is wrong raises it."""


def measure(case: Case, effort: Effort, rng: Random) -> Result:
    """The row of ``case``, measured on an event loop of its own; see ``measure_here``."""
    if case.virtual:
        return run_virtual(lambda clock: measure_here(case, effort, rng), start_ms=NOW_MS)
    return run_system(measure_here(case, effort, rng))


async def measure_here(case: Case, effort: Effort, rng: Random) -> Result:
    """The row of ``case``. Wrong answers and errors give a row without figures that says so, never an exception."""
    try:
        with _same_conditions():
            async with case.open() as subject:
                await _check(subject, "before the first repetition")
                slow, fast = await _repeat(case, subject, effort, rng)
                await _check(subject, "after the last repetition")
    except Skipped as skipped:
        return Result(row=_blank(case, None, f"skipped: {skipped}"))
    except Disagreement as wrong:
        return Result(row=_blank(case, False, str(wrong)))
    except Exception as error:
        return Result(row=_blank(case, False, f"it raised {type(error).__name__}: {error}"))
    return _result(case, slow, fast, rng)


@contextmanager
def _same_conditions() -> Iterator[None]:
    """Nothing is logged, and what the program itself holds is left alone by the collector."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        logging.disable(disabled)


async def _check(subject: Subject, when: str) -> None:
    answer = await _of(subject.baseline.answer)
    if subject.expected is not None and answer != subject.expected:
        raise Disagreement(f"{when} the baseline gave {_shown(answer)} where {_shown(subject.expected)} is right")
    if subject.optimized is None:
        return
    other = await _of(subject.optimized.answer)
    if other != answer:
        raise Disagreement(f"{when} the baseline gave {_shown(answer)} and the optimized build {_shown(other)}")


async def _repeat(case: Case, subject: Subject, effort: Effort, rng: Random) -> tuple[list[float], list[float]]:
    """Figures of the baseline and of the optimized build, one a round; the second list is empty without one."""
    arms = [subject.baseline] if subject.optimized is None else [subject.baseline, subject.optimized]
    figures: list[list[float]] = [[], []]
    for _ in range(effort.warm_ups):
        for arm in arms:
            await _once(case, arm)
    ends_ns = perf_counter_ns() + int(effort.seconds * 1e9)
    for round_ in range(effort.rounds):
        if round_ >= MIN_ROUNDS and perf_counter_ns() >= ends_ns:
            break
        order = list(range(len(arms)))
        rng.shuffle(order)
        for index in order:
            figures[index].append(await _once(case, arms[index]))
    return figures[0], figures[1]


async def _once(case: Case, arm: Arm) -> float:
    """One repetition: µs an operation, or the count an operation that ``run`` gave."""
    if arm.prepare is not None:
        await _of(arm.prepare)
    gc.collect()
    started_ns = perf_counter_ns()
    given = arm.run()
    if inspect.isawaitable(given):
        given = await given
    took_ns = perf_counter_ns() - started_ns
    return (float(given) if case.counted else took_ns / _NS_PER_US) / case.operations


async def _of(call: Callable[[], Any]) -> Any:
    given = call()
    return await given if isinstance(given, Awaitable) else given


def _result(case: Case, slow: list[float], fast: list[float], rng: Random) -> Result:
    baseline = sample(slow)
    row = replace(_blank(case, True, case.note), baseline=baseline.median, n=baseline.n)
    if not fast:
        # without a ratio to carry the spread, the note does
        spread = "" if case.counted else f"; middle half of the repetitions: {baseline.low:.4g} to {baseline.high:.4g}"
        return Result(row=replace(row, note=case.note + spread), size=case.size, baseline=baseline)
    optimized, compared = sample(fast), ratio(slow, fast, rng)
    row = replace(
        row, optimized=optimized.median, ratio=compared.value, ratio_low=compared.low, ratio_high=compared.high,
        met=None if case.claim is None else compared.low >= case.claim,
    )  # fmt: skip
    return Result(
        row=row, size=case.size, baseline=baseline, optimized=optimized, compares_builds=case.compares_builds
    )


def _blank(case: Case, parity: bool | None, note: str) -> Row:
    return Row(
        component=case.component, row=case.row, unit=case.unit, baseline=None, optimized=None, ratio=None,
        ratio_low=None, ratio_high=None, claim=case.claim, met=None, parity=parity, n=0, note=note,
    )  # fmt: skip


def _shown(answer: object) -> str:
    text = repr(answer)
    return text if len(text) <= 160 else f"{text[:160]}…"
