"""The period rule and the table of failures, case by case."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpstrader.breakers import (
    SPECS,
    BreakerOpenError,
    Outcome,
    UnavailableError,
    open_period_ms,
    outcome_of,
    trouble_in,
)
from perpstrader.domain.errors import (
    AccountLockedError,
    MoneyError,
    PerpsTraderError,
    StateError,
    UnsafeError,
    VenueError,
)
from perpstrader.runtime import Answer, TransportError
from perpstrader.traces.errors import TraceError, TraceRejectedError, UnknownTraceError
from perpstrader.trader.guard import TRADER_FAILURES

FAILED, ANSWERED, IGNORED = Outcome.FAILED, Outcome.SUCCEEDED, Outcome.IGNORED


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, ANSWERED),
        (TransportError("reset", sent=True), FAILED),
        (TransportError("refused", sent=False), FAILED),
        (TimeoutError(), FAILED),
        (ConnectionResetError(), FAILED),
        (OSError(28, "No space left on device"), FAILED),
        (StateError("the disk is full"), FAILED),
        (UnavailableError("502"), FAILED),
        (TraceError("the store could not"), FAILED),
        (TraceRejectedError("one bad trace"), ANSWERED),
        (UnknownTraceError("no such trace"), ANSWERED),
        (AccountLockedError("a second trader"), ANSWERED),
        (VenueError("not enough margin"), ANSWERED),
        (UnsafeError("no"), ANSWERED),
        (PerpsTraderError("below the minimum"), ANSWERED),
        (MoneyError("no money"), IGNORED),
        (BreakerOpenError("open", name="x", until_ms=None), IGNORED),
        (asyncio.CancelledError(), IGNORED),
        (ValueError("a mistake"), IGNORED),
        (AttributeError("a mistake"), IGNORED),
        (KeyboardInterrupt(), IGNORED),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, Outcome) else value.value,
)
def test_S44_CB_08_each_exception_has_its_outcome(error: BaseException | None, outcome: Outcome) -> None:
    assert outcome_of(error, TRADER_FAILURES) is outcome


@pytest.mark.parametrize(
    ("answer", "is_trouble"),
    [
        (Answer(200, b'{"status":"ok"}'), False),
        (Answer(200, b"null"), False),
        (Answer(200, b"-1.5"), False),
        (Answer(200, b""), False),
        (Answer(200, b"<html>maintenance</html>"), True),
        (Answer(400, b"bad request"), False),
        (Answer(401, b""), False),
        (Answer(422, b"Failed to deserialize"), False),
        (Answer(429, b""), True),
        (Answer(500, b""), True),
        (Answer(502, b"<html>502 Bad Gateway</html>"), True),
        (Answer(503, b""), True),
    ],
)
def test_S44_CB_08_each_answer_is_an_answer_or_trouble(answer: Answer, is_trouble: bool) -> None:
    assert (trouble_in(answer) is not None) == is_trouble


@given(
    period=st.integers(1, 10**7), failed=st.integers(0, 5_000), base=st.integers(1, 10**7), cap=st.integers(1, 10**7),
    draw=st.floats(0, 1, exclude_max=True),
)  # fmt: skip
def test_S42_a_period_is_never_below_the_registered_one_nor_shrinks_and_stays_under_its_cap(
    period: int, failed: int, base: int, cap: int, draw: float
) -> None:
    first = max(period, base)
    found = open_period_ms(period, failed, base_ms=base, cap_ms=cap, draw=draw)
    assert first <= found <= round(max(first, cap) * 1.2)
    steps = [open_period_ms(period, n, base_ms=base, cap_ms=cap, draw=0.0) for n in range(12)]
    assert steps == sorted(steps)
    assert all(after in (2 * before, max(first, cap)) for before, after in itertools.pairwise(steps))


def test_CBF_01_the_originals_thresholds_and_periods_that_have_a_counterpart_here() -> None:
    assert {spec.name: (spec.threshold, spec.period_ms) for spec in SPECS} == {
        "execution": (5, 60_000), "risk": (3, 30_000), "venue": (10, 120_000), "state": (5, 30_000),
        "recovery": (5, 60_000), "traces": (5, 30_000),
    }  # fmt: skip
    assert [spec.name for spec in SPECS if spec.stops_entries] == ["execution", "risk", "venue", "state"]
