"""What is encoded reads back, old and new codecs alike."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.traces.samples import executed, trace

from perpstrader.domain import Step
from perpstrader.traces.codec import MAX_DEAD_LETTER_BYTES, PLAIN, decode, encode, salvage
from perpstrader.traces.errors import TraceFileError


@given(
    indicators=st.dictionaries(st.text(max_size=8), st.floats(), max_size=5),
    text=st.text(alphabet=st.characters(exclude_categories=[]), max_size=40),
    number=st.integers(),
)
def test_every_content_reads_back_the_same(indicators: dict[str, float], text: str, number: int) -> None:
    made = trace(1, indicators=indicators, sequence=number, steps=(Step(time_ms=number, text=text),))
    encoded = encode(made)
    back = decode(PLAIN, len(encoded.json), encoded.json)
    assert back.sequence == number
    assert [math.isnan(value) for value in back.indicators.values()] == [math.isnan(v) for v in indicators.values()]
    if not any("\ud800" <= char <= "\udfff" for key in (text, *indicators) for char in key):
        assert back.steps == made.steps
        assert all(back.indicators[key] == value for key, value in indicators.items() if not math.isnan(value))
    assert encode(back).json == encoded.json


def test_decimals_are_text_exact_to_the_last_digit() -> None:
    encoded = encode(executed(1))
    assert b'"size":"0.0123"' in encoded.json
    assert encoded.trace == executed(1)


def test_an_indicator_that_is_named_like_the_tag_is_an_indicator() -> None:
    made = trace(1, indicators={"$float": 1.5})
    assert encode(made).trace == made
    odd = trace(1, indicators={"$float": math.nan})
    assert math.isnan(encode(odd).trace.indicators["$float"])


def test_an_unknown_codec_and_damaged_bytes_are_named() -> None:
    data = encode(trace(1)).json
    with pytest.raises(TraceFileError, match="codec 9"):
        decode(9, len(data), data)
    with pytest.raises(TraceFileError, match="cannot be read"):
        decode(PLAIN, len(data), data[:-5])


def test_a_dead_letter_is_bounded_and_never_fails() -> None:
    class Awkward:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    assert len(salvage(trace(1, regime="x" * 1_000_000))) == MAX_DEAD_LETTER_BYTES
    assert salvage(Awkward())
    assert encode(trace(1, regime=Awkward())).trace.regime == "<Awkward>"


def test_a_wrong_container_is_set_right_when_nothing_is_lost() -> None:
    made = msgspec.structs.replace(executed(1), orders=list(executed(1).orders))
    assert encode(made).trace == executed(1)
