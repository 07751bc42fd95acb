"""Numbers on the wire: shortest text out, nothing but plain decimals in."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpstrader.venue.wire import WireError, numbers

FITTING = st.decimals(min_value=-(10**12), max_value=10**12, places=8, allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("100.0", "100"), ("1E+3", "1000"), ("1e-8", "0.00000001"), ("-0.000", "0"), ("0.10", "0.1"),
        ("1670.1", "1670.1"), ("-12.50", "-12.5"), ("123456", "123456"),
    ],
)  # fmt: skip
def test_a_decimal_is_sent_in_its_shortest_form(value: str, text: str) -> None:
    assert numbers.format_decimal(Decimal(value)) == text


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "sNaN", "0.000000001"])
def test_S13_what_the_wire_cannot_carry_is_refused_before_it_is_sent(value: str) -> None:
    with pytest.raises(WireError, match="cannot be sent"):
        numbers.format_decimal(Decimal(value))


@pytest.mark.parametrize(
    "text", ["", " 1", "1 ", "NaN", "inf", "1e5", ".5", "5.", "1_000", "0x10", "--1", "+1", "१", "1\n", "9" * 65]
)
def test_S74_text_that_is_no_plain_decimal_is_one_clear_error(text: str) -> None:
    with pytest.raises(WireError, match=r"price .* is not a plain decimal number"):
        numbers.parse_decimal(text, "price")


@given(FITTING)
def test_a_number_survives_the_wire_and_its_text_is_canonical(value: Decimal) -> None:
    text = numbers.format_decimal(value)
    assert numbers.parse_decimal(text) == value
    assert "e" not in text.lower()
    assert text != "-0"
    assert not ("." in text and text[-1] in "0.")
    assert numbers.normalize(text) == text
    assert numbers.normalize(format(value, ".8f")) == text


@given(st.integers(-(10**18), 10**18), st.integers(0, 8))
def test_a_scaled_integer_is_written_as_its_decimal_and_read_back(value: int, decimals: int) -> None:
    text = numbers.format_scaled(value, decimals)
    assert text == numbers.format_decimal(Decimal(value).scaleb(-decimals))
    assert numbers.parse_scaled(text, decimals) == value
    answer = numbers.format_answer(value, decimals)
    assert "." in answer
    assert numbers.parse_scaled(answer, decimals) == value


def test_a_number_finer_than_its_unit_has_no_scaled_integer() -> None:
    assert numbers.parse_scaled("0.015", 2) is None
    assert numbers.parse_scaled("0.010", 2) == 1
    assert numbers.parse_scaled("-3", 2) == -300


def test_integer_usd_is_exact_or_refused() -> None:
    assert numbers.micro_usd(Decimal("12.5")) == 12_500_000
    assert numbers.micro_usd(Decimal("-0.000001")) == -1
    for bad in ("0.0000001", "NaN"):
        with pytest.raises(WireError):
            numbers.micro_usd(Decimal(bad))


def test_an_absent_number_stays_absent() -> None:
    assert numbers.parse_optional(None) is None
    assert numbers.parse_optional("1.5") == Decimal("1.5")
