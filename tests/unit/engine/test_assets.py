"""Prices and sizes as integers: the venue's tick rule and its number texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpstrader.paper.engine import EngineAsset, RejectCode, fixed_text, usd_text


def asset(size_decimals: int) -> EngineAsset:
    return EngineAsset(coin="X", index=1, size_decimals=size_decimals, max_leverage=10)


@pytest.mark.parametrize(
    ("size_decimals", "text", "valid"),
    [
        (1, "1234.5", True),
        (1, "1234.56", False),
        (1, "123456", True),
        (1, "12345.6", False),
        (0, "0.001234", True),
        (0, "0.0012345", False),
        (1, "0.01234", True),
        (1, "0.012345", False),
        (5, "64641", True),
        (5, "64641.5", False),
        (5, "9999.9", True),
        (2, "100.00", True),
    ],
)
def test_a_price_has_five_figures_and_few_decimals_but_integers_always_pass(
    size_decimals: int, text: str, valid: bool
) -> None:
    value = asset(size_decimals).price_from_text(text)
    assert (value is not RejectCode.TICK) == valid
    if valid:
        assert isinstance(value, int)
        assert float(asset(size_decimals).price_text(value)) == float(text)


@pytest.mark.parametrize("text", ["", "-1", "1e3", "nan", "0", "0.0", "1.", ".5", " 1", "\uff11"])
def test_what_is_no_positive_plain_number_is_an_invalid_price(text: str) -> None:
    assert asset(2).price_from_text(text) is RejectCode.INVALID_PRICE


def test_a_size_is_a_whole_number_of_lots() -> None:
    assert asset(2).size_from_text("0.01") == 1
    assert asset(2).size_from_text("3.10") == 310
    assert asset(2).size_from_text("0.001") is RejectCode.INVALID_SIZE
    assert asset(2).size_from_text("x") is RejectCode.INVALID_SIZE
    assert asset(2).size_from_text("0") == 0


@given(price=st.integers(1, 10**12), size_decimals=st.integers(0, 5), up=st.booleans())
def test_rounding_a_price_gives_the_nearest_valid_one_on_the_asked_side(
    price: int, size_decimals: int, up: bool
) -> None:
    rounded = asset(size_decimals).round_price(price, up=up)
    assert asset(size_decimals).is_valid_price(rounded)
    assert rounded >= price if up else rounded <= price
    if asset(size_decimals).is_valid_price(price):
        assert rounded == price


@given(value=st.integers(-(10**15), 10**15), decimals=st.integers(0, 10))
def test_texts_carry_no_exponent_and_lose_nothing(value: int, decimals: int) -> None:
    text = fixed_text(value, decimals)
    assert "e" not in text.lower()
    whole, fraction = text.split(".")
    assert fraction
    assert not fraction.endswith("0") or fraction == "0"
    assert int(whole.replace("-", "") + fraction.ljust(decimals, "0")[: max(decimals, 0)]) == abs(value)
    assert text.startswith("-") == (value < 0)


def test_usd_is_written_as_the_venue_does() -> None:
    assert usd_text(86_549_602) == "86.549602"
    assert usd_text(-130_000) == "-0.13"
    assert usd_text(0) == "0.0"
