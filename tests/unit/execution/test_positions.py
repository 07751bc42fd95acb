"""Positions from fills: the sums are exact in any order of arrival, each fill counts once, flips end an episode."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpstrader.domain import Fill, Side
from perpstrader.execution.positions import FillEffect, Holding, Plan, PositionBook

D = Decimal


def fill(tid: int, size: str | Decimal, price: str | Decimal = "100", **changes: object) -> Fill:
    """A trade of ``size`` (signed) BTC."""
    signed = D(size)
    given_: dict[str, object] = {
        "tid": tid, "oid": tid, "symbol": "BTC", "buy": signed > 0, "price": D(price), "size": abs(signed),
        "time_ms": tid, "fee_usd": D("0.01"), "closed_pnl_usd": D(0), "start_position": D(0), "crossed": True,
        **changes,
    }  # fmt: skip
    return Fill(**given_)  # type: ignore[arg-type]


def run(book: PositionBook, fills: Iterable[Fill]) -> list[FillEffect]:
    """What applying the new ones of them did."""
    plan = Plan(stop_price=D(90))
    return [book.apply(f, episode=f"e{f.tid}", owner="o", plan=plan) for f in fills if book.is_new(f)]


trades = st.lists(
    st.tuples(
        st.integers(-50, 50).filter(bool).map(lambda n: D(n) / 1000),
        st.integers(1, 99_999).map(lambda n: D(n) / 10),
    ),
    min_size=1,
    max_size=30,
)


@given(trades)
def test_S35_what_is_realised_and_still_held_is_exactly_cash_in_minus_cash_out(
    pairs: list[tuple[Decimal, Decimal]],
) -> None:
    book = PositionBook()
    effects = run(book, [fill(n, size, price) for n, (size, price) in enumerate(pairs, 1)])
    cash = -sum((size * price for size, price in pairs), D(0))
    held = book.holdings.get("BTC")
    cost = held.cost_usd if held is not None else D(0)
    assert abs(sum((e.realized_usd for e in effects), D(0)) - (cash + cost)) < D("1e-18")
    assert book.size("BTC") == sum((size for size, _ in pairs), D(0))
    episodes = [e.ended for e in effects if e.ended is not None]
    assert abs(sum((h.realized_usd for h in [*episodes, *([held] if held else [])]), D(0)) - (cash + cost)) < D("1e-18")
    assert all(h.size == 0 and h.cost_usd == 0 for h in episodes)


@given(trades, st.randoms(use_true_random=False))
def test_any_order_of_arrival_ends_at_the_same_position_and_the_same_profit(
    pairs: list[tuple[Decimal, Decimal]], rng: object
) -> None:
    fills = [fill(n, size, price) for n, (size, price) in enumerate(pairs, 1)]
    shuffled = list(fills)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    totals = []
    for order in (fills, shuffled):
        book = PositionBook()
        effects = run(book, order)
        held = book.holdings.get("BTC")
        open_usd = book.size("BTC") * 100 - (held.cost_usd if held is not None else 0)
        totals.append((book.size("BTC"), sum((e.realized_usd for e in effects), D(0)) + open_usd))
    assert totals[0][0] == totals[1][0]
    assert abs(totals[0][1] - totals[1][1]) < D("1e-18")


@given(trades, st.integers(1, 3))
def test_S10_a_fill_that_is_told_again_counts_once(pairs: list[tuple[Decimal, Decimal]], times: int) -> None:
    fills = [fill(n, size, price) for n, (size, price) in enumerate(pairs, 1)]
    once, often = PositionBook(), PositionBook()
    run(once, fills)
    for _ in range(times + 1):
        run(often, fills)
    assert often.holdings == once.holdings


def test_S10_its_test_fails_where_every_fill_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PositionBook, "is_new", lambda self, fill: True)
    with pytest.raises(AssertionError):
        test_S10_a_fill_that_is_told_again_counts_once()


def test_a_flip_ends_one_episode_and_opens_another_on_the_other_side() -> None:
    book = PositionBook()
    effects = run(book, [fill(1, "1", "100"), fill(2, "-3", "110")])
    flip = effects[1]
    assert flip.ended is not None
    assert (flip.ended.episode, flip.ended.realized_usd, flip.ended.fees_usd) == ("e1", D(10), D("0.02"))
    held = book.holdings["BTC"]
    assert (held.episode, held.size, held.entry_price, held.side) == ("e2", D(-2), D(110), Side.SHORT)
    assert held.unprotected_since_ms == 2


def test_a_part_close_keeps_the_cost_of_what_is_left() -> None:
    book = PositionBook()
    run(book, [fill(1, "2", "100"), fill(2, "1", "130"), fill(3, "-1", "120")])
    held = book.holdings["BTC"]
    assert (held.entry_price, held.realized_usd, held.peak_size) == (D(110), D(10), D(3))


def test_a_fill_from_before_the_store_or_older_than_all_that_is_remembered_is_not_new() -> None:
    book = PositionBook()
    book.start_at(10)
    assert not book.is_new(fill(9, "1"))
    assert book.is_new(fill(10, "1"))
    book.restore([], [("BTC", 11, 11)])
    assert not book.is_new(fill(11, "1"))


def test_the_memory_of_fills_is_bounded_and_what_it_forgot_stays_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perpstrader.execution.positions._SEEN_CAP", 5)
    book = PositionBook()
    fills = [fill(n, "1") for n in range(1, 20)]
    run(book, fills)
    run(book, fills)
    assert book.size("BTC") == 19


def test_the_venue_overrules_the_book_and_on_the_same_side_owner_and_plan_stay() -> None:
    book = PositionBook()
    run(book, [fill(1, "2")])
    book.overrule("BTC", D(1), D(100), owner="foreign", now_ms=5)
    held = book.holdings["BTC"]
    assert (held.size, held.owner, held.plan.stop_price, held.unprotected_since_ms) == (D(1), "o", D(90), 5)
    book.overrule("BTC", D(-1), D(100), owner="foreign", now_ms=6)
    assert (book.holdings["BTC"].owner, book.holdings["BTC"].plan) == ("foreign", Plan())
    book.overrule("BTC", D(0), D(0), owner="foreign", now_ms=7)
    assert book.holdings == {}


def test_funding_belongs_to_the_open_episode_alone() -> None:
    book = PositionBook()
    run(book, [fill(1, "1")])
    book.add_funding("BTC", D("-0.5"))
    book.add_funding("ETH", D(1))
    assert book.holdings["BTC"].net_usd == D("-0.51")
    assert isinstance(book.holdings["BTC"], Holding)
