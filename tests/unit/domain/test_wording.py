"""Refusals read the same everywhere: what, value with unit, limit with unit, what to do."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpstrader.domain import Reason, Refusal
from perpstrader.domain.wording import against, moment_text, plural


@pytest.mark.parametrize(
    ("value", "limit", "unit", "said"),
    [
        ("7.2", "5", "bps of mid", "7.2 bps of mid, limit 5 bps"),
        ("3", "2", "entries with this one in 60 s", "3 entries with this one in 60 s, limit 2 entries"),
        ("0.1234567", "0.1", "of peak equity", "12.346 % of peak equity, limit 10 %"),
        ("1200.123456789", "1000", "USD in BTC", "1200.1 USD in BTC, limit 1000 USD"),
        ("5.00000001", "5", "USD", "5.00000001 USD, limit 5 USD"),
        ("long of trend", "flat", "", "long of trend, must be flat"),
        ("99", "below entry 90 and mark 91", "USD", "99 USD, must be below entry 90 and mark 91"),
        ("unknown", "20", "x", "unknown, limit 20 x"),
        ("5 losses in a row", "", "", "5 losses in a row"),
        ("", "", "", ""),
    ],
)
def test_a_value_and_its_limit_are_said_in_one_way(value: str, limit: str, unit: str, said: str) -> None:
    assert against(value, limit, unit) == said


@given(st.decimals("0.000001", "1000000", places=9), st.decimals("0.000001", "1000000", places=9))
def test_two_numbers_that_differ_never_look_the_same(value: Decimal, limit: Decimal) -> None:
    shown = against(f"{value:f}", f"{limit:f}", "USD").split(", limit ")
    assert (shown[0] == shown[1]) == (value == limit)


def test_a_refusal_names_itself_once_and_ends_with_what_to_do() -> None:
    refusal = Refusal(reason=Reason.LOSS_STREAK, value="5 losses in a row", hint="wait for the cooldown")
    assert refusal.sentence() == "LOSS_STREAK: 5 losses in a row (wait for the cooldown)"
    assert Refusal(reason=Reason.NO_PRICE).sentence() == "NO_PRICE"


def test_counts_and_instants_are_words_for_a_person() -> None:
    assert [plural(n, "position") for n in (0, 1, 2)] == ["0 positions", "1 position", "2 positions"]
    assert plural(2, "entry", "entries") == "2 entries"
    assert moment_text(0) == "1970-01-01 00:00:00"
    assert moment_text(10**18) == "time 1000000000000000000"
