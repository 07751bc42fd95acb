"""The books: each entry once, exact, with totals that equal the sum of the entries."""

from __future__ import annotations

from collections import defaultdict
from decimal import Context, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.state.state_samples import amounts, fill, fills, in_memory, names, times

from perpstrader.domain import CashFlow, Fill, FundingPayment, MoneyError, StateError
from perpstrader.state import LedgerTotals, Transaction, utc_day

DAY_MS = 86_400_000
_EXACT = Context(prec=200)
# Sums are exact to 80 digits; the venue's own rows have 6 decimals, and nobody has more than 10**12 USD.
money = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12, places=18)


@given(fills, amounts, st.sampled_from(["", "e1"]))
def test_a_fill_comes_back_exactly_as_it_was_booked(one: Fill, realized_usd: Decimal, episode: str) -> None:
    def work(tx: Transaction) -> None:
        assert tx.ledger.add_fill(one, realized_usd, episode=episode)
        (booked,) = tx.ledger.booked_since(one.time_ms)
        assert repr(booked.fill) == repr(one)
        assert (repr(booked.realized_usd), booked.episode) == (repr(realized_usd), episode)
        assert tx.ledger.fills_since(one.time_ms) == tx.ledger.fills_of_oid(one.oid) == (one,)
        assert tx.ledger.fills_since(one.time_ms + 1) == ()
        assert tx.ledger.newest_fill_ms() == one.time_ms
        if one.cloid is not None:
            assert tx.ledger.fills_of_cloid(one.cloid) == (one,)
        assert tx.ledger.booked_of_episode(episode) == ((booked,) if episode else ())

    in_memory(work)


# Few keys, so that most entries come twice, as a stream and a snapshot deliver them.
_entries = st.lists(
    st.one_of(
        st.tuples(
            st.just("fill"), st.integers(1, 6), names, st.integers(0, 3 * DAY_MS), st.tuples(money, money, money)
        ),
        st.tuples(st.just("funding"), st.integers(0, 3), names, st.just(0), st.tuples(money, money, money)),
        st.tuples(
            st.just("cash"), st.integers(1, 4), names, st.integers(0, 3 * DAY_MS), st.tuples(money, money, money)
        ),
    ),
    max_size=25,
)


@given(_entries)
def test_S35_each_entry_counts_once_and_the_totals_are_the_exact_sums(
    entries: list[tuple[str, int, str, int, tuple[Decimal, ...]]],
) -> None:
    def work(tx: Transaction) -> None:
        seen: set[tuple[str, ...]] = set()
        days: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))

        def count(day: str, **sums: Decimal) -> None:
            for name, amount in sums.items():
                days[day][name] = _EXACT.add(days[day][name], amount)

        for kind, key, symbol, time_ms, (first, second, third) in entries:
            if kind == "fill":
                mark = (kind, symbol, str(key))
                new = tx.ledger.add_fill(
                    fill(key, symbol=symbol, time_ms=time_ms, fee_usd=first, closed_pnl_usd=second), third
                )
                if mark not in seen:
                    count(utc_day(time_ms), fees_usd=first, closed_pnl_usd=second, realized_usd=third)
            elif kind == "funding":
                mark, at_ms = (kind, symbol, str(key)), key * DAY_MS // 2
                new = tx.ledger.add_funding(
                    FundingPayment(symbol=symbol, time_ms=at_ms, usd=first, size=second, rate=third)
                )
                if mark not in seen:
                    count(utc_day(at_ms), funding_usd=first)
            else:
                mark = (kind, str(key))
                new = tx.ledger.add_cash_flow(CashFlow(time_ms=time_ms, kind="deposit", usd=first, key=str(key)))
                if mark not in seen:
                    count(utc_day(time_ms), cash_flows_usd=first)
            assert new == (mark not in seen)
            seen.add(mark)
        fields = ("realized_usd", "fees_usd", "closed_pnl_usd", "funding_usd", "cash_flows_usd")
        for day, sums in days.items():
            assert [getattr(tx.ledger.day(day), name) for name in fields] == [sums[name] for name in fields]
        totals = tx.ledger.totals()
        for name in fields:
            expected = Decimal(0)
            for sums in days.values():
                expected = _EXACT.add(expected, sums[name])
            assert getattr(totals, name) == expected
        assert totals.rows == len(seen)
        assert totals.fills == len([mark for mark in seen if mark[0] == "fill"])
        assert [total.day for total in tx.ledger.days(99)] == sorted(days, reverse=True)

    in_memory(work)


def test_S35_a_fill_that_comes_twice_is_applied_once_even_with_other_numbers() -> None:
    def work(tx: Transaction) -> None:
        assert tx.ledger.add_fill(fill(1), Decimal("-0.045"))
        assert not tx.ledger.add_fill(fill(1, size=Decimal(9)), Decimal(5))
        assert tx.ledger.add_fill(fill(1, symbol="ETH"), Decimal("-0.045"))
        assert tx.ledger.has_fill("BTC", 1)
        assert not tx.ledger.has_fill("BTC", 2)
        assert tx.ledger.totals().realized_usd == Decimal("-0.090")
        assert len(tx.ledger.fills_since(0)) == 2

    in_memory(work)


def test_S35_a_day_is_a_utc_day_and_its_net_takes_fees_and_funding() -> None:
    def work(tx: Transaction) -> None:
        midnight = 20_000 * DAY_MS
        tx.ledger.add_fill(fill(1, time_ms=midnight - 1), Decimal("-0.045"))
        tx.ledger.add_fill(fill(2, time_ms=midnight, fee_usd=Decimal("0.05")), Decimal("9.95"))
        tx.ledger.add_funding(
            FundingPayment(symbol="BTC", time_ms=midnight, usd=Decimal(-1), size=Decimal(1), rate=Decimal("0.0001"))
        )
        first, second = tx.ledger.day("2024-10-03"), tx.ledger.day("2024-10-04")
        assert (first.net_usd, second.gross_usd, second.net_usd) == (
            Decimal("-0.045"),
            Decimal("10.00"),
            Decimal("8.95"),
        )
        assert tx.ledger.day("1999-01-01") == LedgerTotals(day="1999-01-01")

    in_memory(work)


def test_fills_come_in_the_order_of_time_then_of_booking() -> None:
    def work(tx: Transaction) -> None:
        for tid, time_ms in [(9, 5), (3, 5), (7, 4), (1, 6)]:
            tx.ledger.add_fill(fill(tid, time_ms=time_ms), Decimal(0))
        assert [one.tid for one in tx.ledger.fills_since(0)] == [7, 9, 3, 1]
        assert [one.fill.tid for one in tx.ledger.recent_fills(2)] == [1, 3]

    in_memory(work)


@given(times, amounts)
def test_funding_and_cash_flows_come_back_exactly(time_ms: int, amount: Decimal) -> None:
    def work(tx: Transaction) -> None:
        payment = FundingPayment(symbol="BTC", time_ms=time_ms, usd=amount, size=amount, rate=amount)
        flow = CashFlow(time_ms=time_ms, kind="withdraw", usd=amount, key="0xabc")
        assert (tx.ledger.newest_funding_ms(), tx.ledger.newest_cash_flow_ms()) == (None, None)
        tx.ledger.add_funding(payment)
        tx.ledger.add_cash_flow(flow)
        assert repr(tx.ledger.funding_since(time_ms)) == repr((payment,))
        assert repr(tx.ledger.cash_flows_since(time_ms)) == repr((flow,))
        assert (tx.ledger.newest_funding_ms(), tx.ledger.newest_cash_flow_ms()) == (time_ms, time_ms)
        assert tx.ledger.funding_since(time_ms + 1) == tx.ledger.cash_flows_since(time_ms + 1) == ()

    in_memory(work)


def test_sums_stay_exact_past_the_digits_of_the_default_context() -> None:
    def work(tx: Transaction) -> None:
        tiny, huge = Decimal("0.000000000000000001"), Decimal("123456789012345.678901")
        tx.ledger.add_fill(fill(1), huge)
        tx.ledger.add_fill(fill(2), tiny)
        assert str(tx.ledger.totals().realized_usd) == "123456789012345.678901000000000001"

    in_memory(work)


@pytest.mark.parametrize("bad", ["NaN", "Infinity"])
def test_what_is_no_number_is_never_booked(bad: str) -> None:
    def work(tx: Transaction) -> None:
        with pytest.raises(MoneyError, match="not finite"):
            tx.ledger.add_fill(fill(1), Decimal(bad))
        with pytest.raises(MoneyError, match="not finite"):
            tx.ledger.add_cash_flow(CashFlow(time_ms=1, kind="deposit", usd=Decimal(bad), key="k"))
        assert tx.ledger.totals().rows == 0

    in_memory(work)


def test_a_stored_number_that_cannot_be_read_is_an_error() -> None:
    def work(tx: Transaction) -> None:
        tx.ledger.add_fill(fill(1), Decimal(0))
        for bad in ("", "ten", "NaN"):
            tx.ledger._connection.execute("UPDATE ledger_days SET fees_usd = ?", (bad,))
            with pytest.raises(StateError, match="daily total"):
                tx.ledger.totals()

    in_memory(work)
