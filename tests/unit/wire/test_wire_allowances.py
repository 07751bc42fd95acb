"""Weights, caps and nonces: the venue's arithmetic of what is allowed."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpstrader.venue.wire import limits, weights
from perpstrader.venue.wire.nonces import NonceRule, next_nonce

NOW = 1_750_000_000_000


@pytest.mark.parametrize(
    ("kind", "weight"),
    [
        ("l2Book", 2), ("allMids", 2), ("clearinghouseState", 2), ("orderStatus", 2), ("spotClearinghouseState", 2),
        ("exchangeStatus", 2), ("userRole", 60), ("openOrders", 20), ("meta", 20), ("userFills", 20),
        ("anythingElse", 20),
    ],
)  # fmt: skip
def test_S18_a_read_costs_what_the_venue_charges(kind: str, weight: int) -> None:
    assert weights.info_weight(kind) == weight


@pytest.mark.parametrize(
    ("kind", "rows", "weight"),
    [
        ("userFills", 19, 0),
        ("userFills", 2000, 100),
        ("candleSnapshot", 5000, 83),
        ("meta", 500, 0),
        ("userFunding", 40, 2),
    ],
)
def test_S18_rows_are_charged_after_the_answer(kind: str, rows: int, weight: int) -> None:
    assert weights.row_weight(kind, rows) == weight


@pytest.mark.parametrize(("orders", "weight"), [(0, 1), (1, 1), (39, 1), (40, 2), (79, 2), (80, 3), (200, 6)])
def test_S18_an_action_costs_one_and_one_more_for_every_forty_orders(orders: int, weight: int) -> None:
    assert weights.exchange_weight(orders) == weight


def test_S18_caps_grow_with_volume_as_recorded() -> None:
    assert limits.request_cap(Decimal("170043721737.450012207")) == 170043731737
    assert limits.request_cap(Decimal(0)) == 10_000
    assert limits.cancel_cap(10_000) == 20_000
    assert limits.cancel_cap(1_000_000) == 1_100_000
    caps = [limits.open_order_cap(Decimal(volume)) for volume in (0, 4_999_999, 5_000_000, 10**12)]
    assert caps == [1_000, 1_000, 1_001, 5_000]


@given(st.integers(0, 2**62), st.lists(st.integers(0, 2**62), min_size=1, max_size=50))
def test_S12_our_nonces_grow_whatever_the_clock_does(last: int, clock: list[int]) -> None:
    for now in clock:
        nonce = next_nonce(last, now)
        assert nonce > last
        assert nonce >= now
        last = nonce


def test_a_nonce_is_used_once() -> None:
    rule = NonceRule()
    assert rule.use(NOW, NOW) is None
    assert rule.use(NOW, NOW) == f"Invalid nonce: duplicate nonce {NOW}"
    assert rule.use(NOW - 1, NOW) is None


def test_the_hundred_highest_nonces_are_kept() -> None:
    rule = NonceRule()
    assert all(rule.use(NOW + i, NOW) is None for i in range(100))
    assert rule.use(NOW - 1, NOW) == f"Invalid nonce: nonce too low {NOW - 1} < {NOW}"
    assert rule.use(NOW + 100, NOW) is None
    assert rule.use(NOW, NOW) == f"Invalid nonce: nonce too low {NOW} < {NOW + 1}"
    assert rule.remembered() == tuple(NOW + i for i in range(1, 101))


@pytest.mark.parametrize("offset", [-2 * 86_400_000, 86_400_000])
def test_a_nonce_far_from_the_venues_time_is_refused(offset: int) -> None:
    rule = NonceRule()
    assert rule.refusal(NOW + offset, NOW) is not None
    inside = offset + (1 if offset < 0 else -1)
    assert rule.refusal(NOW + inside, NOW) is None


@given(st.lists(st.integers(NOW - 400, NOW + 400), max_size=600))
def test_no_nonce_is_ever_accepted_twice(sent: list[int]) -> None:
    rule, accepted = NonceRule(), set[int]()
    for nonce in sent:
        if rule.use(nonce, NOW) is None:
            assert nonce not in accepted
            accepted.add(nonce)
    assert rule.remembered() == tuple(sorted(accepted))[-100:]
