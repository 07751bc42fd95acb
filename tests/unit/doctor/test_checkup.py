"""The examination cannot crash: whatever a check raises, returns or waits for, it is one row, and all are made."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpstrader.domain import PerpsTraderError, StateError
from perpstrader.runtime import InlineExecutor, VirtualClock, run_virtual
from perpstrader.trader.doctor import Check, Found, Grade, Row, examine, failed, fine, poor, skipped


class MuteError(Exception):
    """An error that has no words, not even when asked."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


ERRORS: list[BaseException] = [
    ValueError("x"), KeyError("k"), OSError(28, "No space left on device"), RecursionError(), MemoryError(),
    UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"), StateError("the file is damaged"), TimeoutError(), MuteError(),
    ExceptionGroup("several", [ValueError("a"), StateError("b")]), SystemExit(3), StopIteration(), AssertionError("x"),
    PerpsTraderError("a sentence\nover two lines"),
]  # fmt: skip
SECRET = "0x" + "ab" * 32


def raising(error: BaseException, *, waits: bool) -> Any:
    def look() -> Found:
        raise error

    async def ask() -> Found:
        await asyncio.sleep(0.5)
        raise error

    return ask if waits else look


def returning(value: object, *, waits: bool) -> Any:
    async def ask() -> object:
        return value

    return ask if waits else lambda: value


answers = st.sampled_from([None, 3, "ok", fine("x"), poor("y", "z"), skipped("w")])
looks = st.one_of(
    st.builds(raising, st.sampled_from(ERRORS), waits=st.booleans()),
    st.builds(raising, st.builds(ValueError, st.text(max_size=2_000)), waits=st.booleans()),
    st.builds(returning, answers, waits=st.booleans()),
)


def examined(*made: Any, deadline_s: float = 15.0) -> tuple[Row, ...]:
    async def main(clock: VirtualClock) -> tuple[Row, ...]:
        checks = [Check(name=f"c{number}", look=look) for number, look in enumerate(made)]
        return await examine(checks, deadline_s=deadline_s, threads=lambda name: InlineExecutor())

    return run_virtual(main)


@given(st.lists(looks, max_size=6))
def test_whatever_the_checks_do_there_is_one_short_row_for_each_in_their_order(made: list[Any]) -> None:
    rows = examined(*made)
    assert [row.check for row in rows] == [f"c{number}" for number in range(len(made))]
    for row in rows:
        assert isinstance(row.grade, Grade)
        assert len(row.text) <= 400
        assert "\n" not in row.text


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_check_that_raises_failed_and_the_next_one_is_made(error: BaseException, waits: bool) -> None:
    first, second = examined(raising(error, waits=waits), returning(fine("well"), waits=waits))
    assert (first.grade, second.grade, second.text) == (Grade.FAIL, Grade.OK, "well")


def test_a_check_that_hangs_ends_at_its_deadline() -> None:
    async def forever() -> Found:
        await asyncio.Event().wait()
        return fine("never")

    (row,) = examined(forever, deadline_s=7)
    assert (row.grade, row.text) == (Grade.FAIL, "no answer within 7 s")


def test_a_check_that_blocks_is_left_behind() -> None:
    over = threading.Event()

    def block() -> Found:
        over.wait(60)
        return fine("late")

    (row,) = asyncio.run(examine([Check(name="slow", look=block)], deadline_s=0.05))
    over.set()
    assert (row.grade, row.text) == (Grade.FAIL, "no answer within 0.05 s")


def test_S72_no_row_shows_a_key() -> None:
    told = failed(f"key {SECRET}", f"use {SECRET}")
    rows = examined(raising(ValueError(f"bad key {SECRET}"), waits=False), lambda: told)
    assert SECRET[2:] not in str(rows)
