"""Intents, orders, signals and nonces: each once, found again exactly as it was stored."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.state.state_samples import in_memory, intent, intents, order, orders

from perpstrader.domain import MoneyError, Order, OrderIntent, OrderStatus, Purpose, StateError
from perpstrader.state import Transaction


@given(intents)
def test_an_intent_comes_back_exactly_as_it_was_stored(one: OrderIntent) -> None:
    def work(tx: Transaction) -> OrderIntent | None:
        assert tx.intents.add(one)
        return tx.intents.get(one.number)

    back = in_memory(work)
    assert back == one
    assert repr(back) == repr(one)


@given(orders, orders)
def test_an_order_comes_back_exactly_as_it_was_last_put(first: Order, second: Order) -> None:
    last = Order(
        intent=first.intent, attempt=first.attempt, cloid=first.cloid, status=second.status, sent_ms=second.sent_ms,
        expires_ms=second.expires_ms, oid=second.oid, filled=second.filled, average_price=second.average_price,
        detail=second.detail,
        updated_ms=second.updated_ms,
    )  # fmt: skip

    def work(tx: Transaction) -> None:
        tx.intents.add(first.intent)
        for version in (first, last):
            tx.intents.put_order(version)
            assert repr(tx.intents.order_by_cloid(first.cloid)) == repr(version)
            assert tx.intents.live_orders() == ((version,) if version.is_live else ())
            assert tx.intents.orders_of(first.intent.number) == (version,)
            assert tx.intents.recent_orders(5) == (version,)
            if version.oid is not None:
                assert tx.intents.order_by_oid(version.oid) == version
        assert tx.intents.attempts(first.intent.number) == 1

    in_memory(work)


def test_S10_a_signal_leads_to_one_entry_and_to_any_number_of_exits() -> None:
    def work(tx: Transaction) -> None:
        assert tx.intents.add(intent(1, signal_id="a"))
        assert not tx.intents.add(intent(2, signal_id="a"))
        assert tx.intents.get(2) is None
        assert tx.intents.of_signal("trend", "a") == intent(1, signal_id="a")
        assert tx.intents.add(intent(3, signal_id="a", strategy="carry"))
        assert tx.intents.add(intent(4, signal_id="a", purpose=Purpose.STOP))
        assert tx.intents.add(intent(5, signal_id="a", purpose=Purpose.STOP))
        assert tx.intents.add(intent(6))
        assert tx.intents.add(intent(7))
        assert tx.intents.of_signal("trend", "") is None

    in_memory(work)


def test_S12_numbers_grow_and_are_not_given_again_after_pruning() -> None:
    def work(tx: Transaction) -> None:
        one = intent(tx.intents.next_number())
        tx.intents.add(one)
        tx.intents.put_order(order(one, status=OrderStatus.FILLED, updated_ms=1_500))
        assert tx.intents.prune(2_000) == 1
        assert tx.intents.next_number() == 2

    in_memory(work)


def test_S12_a_reserved_block_overlaps_no_other_number() -> None:
    def work(tx: Transaction) -> None:
        assert [tx.intents.next_number(), tx.intents.reserve_numbers(100), tx.intents.next_number()] == [1, 2, 102]
        with pytest.raises(ValueError, match="at least 1"):
            tx.intents.reserve_numbers(0)

    in_memory(work)


def test_S12_the_last_number_that_fits_a_cloid_is_the_last_one_given() -> None:
    def work(tx: Transaction) -> None:
        tx.intents._connection.execute("UPDATE intent_counter SET number = ?", (2**32 - 2,))
        assert tx.intents.next_number() == 2**32 - 1
        with pytest.raises(StateError, match="do not fit a cloid"):
            tx.intents.next_number()

    in_memory(work)


def test_a_number_that_is_taken_and_an_order_without_its_intent_are_refused() -> None:
    def work(tx: Transaction) -> None:
        tx.intents.add(intent(1))
        with pytest.raises(StateError, match="number 1 is taken"):
            tx.intents.add(intent(1))
        with pytest.raises(StateError, match="no stored intent"):
            tx.intents.put_order(order(intent(2)))

    in_memory(work)


def test_a_cloid_never_moves_to_another_intent_or_attempt() -> None:
    def work(tx: Transaction) -> None:
        for number in (1, 2):
            tx.intents.add(intent(number))
        first = order(intent(1))
        tx.intents.put_order(first)
        stolen = Order(intent=intent(2), attempt=0, cloid=first.cloid, status=OrderStatus.FILLED, sent_ms=1)
        with pytest.raises(StateError, match="belongs to another intent"):
            tx.intents.put_order(stolen)
        again = Order(intent=intent(1), attempt=0, cloid="0x" + "1" * 32, status=OrderStatus.PENDING, sent_ms=1)
        with pytest.raises(StateError, match="another cloid"):
            tx.intents.put_order(again)
        assert tx.intents.order_by_cloid(first.cloid) == first

    in_memory(work)


def test_the_orders_of_an_episode_are_found_whatever_their_purpose() -> None:
    def work(tx: Transaction) -> None:
        mine = [
            intent(1, episode="e1"),
            intent(2, episode="e1", purpose=Purpose.STOP),
            intent(3, episode="e2"),
            intent(4),
        ]
        for one in mine:
            tx.intents.add(one)
            tx.intents.put_order(order(one))
        assert [found.intent.number for found in tx.intents.orders_of_episode("e1")] == [1, 2]
        assert tx.intents.orders_of_episode("") == ()
        assert [found.intent.number for found in tx.intents.recent_orders(2)] == [4, 3]
        assert tx.intents.recent_orders(-1) == ()

    in_memory(work)


def test_pruning_keeps_what_is_live_or_recent_and_goes_in_slices() -> None:
    def work(tx: Transaction) -> None:
        for number, status, updated_ms in [
            (1, OrderStatus.FILLED, 1_500), (2, OrderStatus.RESTING, 1_500), (3, OrderStatus.CANCELED, 9_000),
            (4, OrderStatus.FILLED, 1_500),
        ]:  # fmt: skip
            tx.intents.add(intent(number))
            tx.intents.put_order(order(intent(number), status=status, updated_ms=updated_ms))
        assert tx.intents.prune(2_000, limit=1) == 1
        assert tx.intents.prune(2_000, limit=1) == 1
        assert tx.intents.prune(2_000) == 0
        assert [found.intent.number for found in tx.intents.recent_orders(9)] == [3, 2]

    in_memory(work)


@pytest.mark.parametrize("bad", ["NaN", "Infinity", "-Infinity", "sNaN"])
def test_what_is_no_number_never_reaches_the_disk(bad: str) -> None:
    def work(tx: Transaction) -> None:
        for changes in ({"size": Decimal(bad)}, {"limit_price": Decimal(bad)}):
            with pytest.raises(MoneyError):
                tx.intents.add(intent(1, **changes))
        tx.intents.add(intent(1))
        with pytest.raises(MoneyError):
            tx.intents.put_order(order(intent(1), filled=Decimal(bad)))

    in_memory(work)


def test_an_intent_or_status_that_cannot_be_read_is_an_error_and_no_guess() -> None:
    def work(tx: Transaction) -> None:
        tx.intents.add(intent(1))
        tx.intents.put_order(order(intent(1)))
        tx.intents._connection.execute("UPDATE orders SET status = 'dreaming'")
        with pytest.raises(StateError, match="order status"):
            tx.intents.live_orders()
        tx.intents._connection.execute('UPDATE intents SET body = \'{"number": "one"}\'')
        with pytest.raises(StateError, match="unreadable intent"):
            tx.intents.get(1)

    in_memory(work)


def test_S36_a_signal_is_new_exactly_once() -> None:
    def work(tx: Transaction) -> None:
        assert tx.signals.seen_ms("trend", "a") is None
        assert tx.signals.first_seen("trend", "a", 10)
        assert not tx.signals.first_seen("trend", "a", 20)
        assert tx.signals.first_seen("carry", "a", 30)
        assert tx.signals.seen_ms("trend", "a") == 10
        assert tx.signals.prune(30) == 1
        assert not tx.signals.first_seen("carry", "a", 40)

    in_memory(work)


@given(st.lists(st.integers(0, 2**53), max_size=20))
def test_S12_the_nonce_mark_of_a_signer_never_sinks(nonces: list[int]) -> None:
    def work(tx: Transaction) -> None:
        high = 0
        for nonce in nonces:
            tx.meta.raise_nonce("0xAbC", nonce)
            high = max(high, nonce)
            assert tx.meta.nonce_high_water("0xabc") == high
        assert tx.meta.nonce_high_water("0xother") == 0

    in_memory(work)


def test_small_values_cursors_and_the_binding_are_kept_apart() -> None:
    def work(tx: Transaction) -> None:
        tx.meta.put_text("account", "mine")
        tx.meta.put_int("count", 3)
        assert (tx.meta.get_text("account"), tx.meta.get_int("count"), tx.meta.get_int("none")) == ("mine", 3, None)
        assert tx.meta.account().endswith("aa")
        with pytest.raises(StateError, match="no integer"):
            tx.meta.get_int("account")
        tx.meta.forget("account")
        assert tx.meta.get_text("account") is None
        assert tx.meta.last_fill_ms() == 0
        for time_ms in (5, 9, 7):
            tx.meta.advance_last_fill_ms(time_ms)
        assert tx.meta.last_fill_ms() == 9

    in_memory(work)
