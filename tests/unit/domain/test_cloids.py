"""Client order ids: what is put in comes out, two attempts never share one, and what is not ours is not read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpstrader.domain import make_cloid, make_unrecorded_exit_cloid, read_cloid

epochs, numbers, attempts = st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(0, 255)


@given(epochs, numbers, attempts)
def test_S12_a_cloid_tells_its_epoch_number_and_attempt(epoch: int, number: int, attempt: int) -> None:
    cloid = make_cloid(epoch, number, attempt)
    parts = read_cloid(cloid)
    assert len(cloid) == 34
    assert parts is not None
    assert (parts.epoch, parts.recorded, parts.number, parts.attempt) == (epoch, True, number, attempt)


@given(st.tuples(epochs, numbers, attempts), st.tuples(epochs, numbers, attempts))
def test_S12_two_attempts_never_share_a_cloid(one: tuple[int, int, int], other: tuple[int, int, int]) -> None:
    assert (make_cloid(*one) == make_cloid(*other)) is (one == other)


@given(epochs, st.text(max_size=20), attempts)
def test_an_unrecorded_exit_is_known_as_ours_and_as_unrecorded(epoch: int, episode: str, attempt: int) -> None:
    parts = read_cloid(make_unrecorded_exit_cloid(epoch, episode, attempt))
    assert parts is not None
    assert (parts.epoch, parts.recorded, parts.attempt) == (epoch, False, attempt)


@given(st.none() | st.text(max_size=40) | st.integers(0, 2**128 - 1).map(lambda n: f"0x{n:032x}"))
def test_what_is_not_ours_is_not_read_and_nothing_is_raised(cloid: str | None) -> None:
    parts = read_cloid(cloid)
    assert parts is None or (cloid is not None and cloid.lower().startswith("0x5054"))


@pytest.mark.parametrize("parts", [(-1, 0, 0), (2**64, 0, 0), (0, 2**32, 0), (0, 0, 256), (0, -1, 0)])
def test_what_does_not_fit_is_refused(parts: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="out of range"):
        make_cloid(*parts)
