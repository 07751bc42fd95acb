"""Prices and sizes on every recorded perpetual: rounding gives what is valid, no worse than the bound, no larger."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpstrader.domain import AssetSpec, MoneyError, dec

D = Decimal


def is_valid(price: Decimal, size_decimals: int) -> bool:
    """The rule as the API sheet words it (section 4), told by the digits of the number."""
    digits = format(price.normalize(), "f")
    whole, _, part = digits.partition(".")
    significant = len((whole + part).lstrip("0"))
    return not part or (significant <= 5 and len(part) <= 6 - size_decimals)


prices = st.builds(lambda n, e: D(n).scaleb(e), st.integers(1, 10**9), st.integers(-9, 0)).filter(
    lambda p: p >= D("1e-5")
)
sizes = st.builds(lambda n, e: D(n).scaleb(e), st.integers(0, 10**12), st.integers(-9, 2))


@given(price=prices)
def test_S13_a_bound_is_valid_and_never_worse_than_what_was_asked_for_on_every_perpetual(
    universe: list[AssetSpec], price: Decimal
) -> None:
    for asset in {spec.size_decimals: spec for spec in universe}.values():
        if price < asset.tick(price):
            continue
        buy, sell, near = asset.bound(price, buy=True), asset.bound(price, buy=False), asset.price_near(price)
        assert buy <= price <= sell
        assert near in (buy, sell)
        for rounded in (buy, sell, near):
            assert is_valid(rounded, asset.size_decimals)
            assert asset.is_price(rounded)
        assert asset.is_price(price) is is_valid(price, asset.size_decimals)
        assert sell - buy <= asset.tick(price)
        assert (buy == sell) is asset.is_price(price)


@given(size=sizes)
def test_S13_floor_never_increases_a_size_and_ceil_never_decreases_it(universe: list[AssetSpec], size: Decimal) -> None:
    for asset in {spec.size_decimals: spec for spec in universe}.values():
        low, high = asset.floor_size(size), asset.ceil_size(size)
        assert size - asset.lot < low <= size <= high < size + asset.lot
        assert low % asset.lot == high % asset.lot == 0
        assert asset.is_size(low) is (low > 0)


@pytest.mark.parametrize(
    ("price", "decimals", "valid"),
    [
        ("1234.5", 0, True), ("1234.56", 0, False), ("123456", 0, True), ("12345.6", 0, False), ("0.001234", 0, True),
        ("0.0012345", 0, False), ("0.01234", 1, True), ("0.012345", 1, False), ("100000", 5, True),
        ("100000.1", 5, False), ("99999", 5, True), ("9999.9", 5, True), ("9999.95", 4, False), ("1234567", 0, True),
    ],
)  # fmt: skip
def test_S13_the_examples_of_the_api_sheet_hold(price: str, decimals: int, valid: bool) -> None:
    assert AssetSpec(name="X", index=0, size_decimals=decimals, max_leverage=10).is_price(D(price)) is valid


@given(st.integers(1, 10**15), st.integers(0, 6))
def test_S13_integers_are_always_valid_prices(number: int, decimals: int) -> None:
    asset = AssetSpec(name="X", index=0, size_decimals=decimals, max_leverage=10)
    assert asset.is_price(D(number))
    assert asset.price_down(D(number)) == asset.price_up(D(number)) == number


@pytest.mark.parametrize(
    ("price", "decimals", "down", "up"),
    [
        ("9999.96", 4, "9999.9", "10000"), ("99999.4", 0, "99999", "100000"), ("0.999996", 0, "0.99999", "1"),
        ("10000.4", 0, "10000", "10001"), ("1.00004", 0, "1", "1.0001"), ("100000.9", 0, "100000", "100001"),
    ],
)  # fmt: skip
def test_S13_rounding_crosses_a_decade_rightly(price: str, decimals: int, down: str, up: str) -> None:
    asset = AssetSpec(name="X", index=0, size_decimals=decimals, max_leverage=10)
    assert (asset.price_down(D(price)), asset.price_up(D(price))) == (D(down), D(up))
    assert asset.is_price(D(down))
    assert asset.is_price(D(up))


@pytest.mark.parametrize("price", ["0", "-1", "NaN", "Infinity", "-Infinity", "1e-20", "0.0000001"])
def test_S13_what_is_no_price_is_told_and_never_rounded(price: str) -> None:
    asset = AssetSpec(name="X", index=0, size_decimals=0, max_leverage=10)
    assert not asset.is_price(D(price))
    with pytest.raises(MoneyError):
        asset.price_down(D(price))


def test_numbers_of_any_length_are_judged() -> None:
    asset = AssetSpec(name="X", index=0, size_decimals=3, max_leverage=10)
    assert asset.is_price(D("1e60"))
    assert asset.is_size(D("1e60"))
    assert not asset.is_price(D("1e60") + D("0.5")) or D("1e60") + D("0.5") == D("1e60")
    assert not asset.is_size(D("123456789012345678901234567890.0001"))


@pytest.mark.parametrize("size", ["-1", "NaN", "Infinity"])
def test_S13_what_is_no_size_is_refused(size: str) -> None:
    asset = AssetSpec(name="X", index=0, size_decimals=3, max_leverage=10)
    assert not asset.is_size(D(size))
    for rounding in (asset.floor_size, asset.ceil_size):
        with pytest.raises(MoneyError):
            rounding(D(size))


@given(st.floats())
def test_S37_money_is_never_made_of_a_float(value: float) -> None:
    with pytest.raises(MoneyError, match="float"):
        dec(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["NaN", "sNaN", "Infinity", "-Infinity", "", "abc", "1,5", "0x10"])
def test_S37_what_is_no_finite_number_is_refused(text: str) -> None:
    with pytest.raises(MoneyError):
        dec(text)


def test_S13_its_test_fails_where_a_bound_is_rounded_to_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AssetSpec, "bound", lambda self, price, *, buy: self.price_near(price))
    asset = AssetSpec(name="X", index=0, size_decimals=0, max_leverage=10)
    with pytest.raises(AssertionError):
        test_S13_a_bound_is_valid_and_never_worse_than_what_was_asked_for_on_every_perpetual.hypothesis.inner_test(
            [asset], D("123.456")
        )
