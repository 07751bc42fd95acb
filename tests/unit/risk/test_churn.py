"""The rules against churn, at and beyond their edges, and the memory that they read."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from tests.unit.risk.keeper_desk import Desk, with_desk
from tests.unit.risk.risk_samples import NOW, D, approved, judged, limits, market, reasons, signal, state

from perpstrader.domain import (
    ZERO,
    Conduct,
    Order,
    OrderIntent,
    OrderStatus,
    PastEntry,
    PastExit,
    PastSignal,
    Purpose,
    Reason,
    Side,
    TimeInForce,
    Verdict,
    make_cloid,
)
from perpstrader.risk.conduct import ConductMemory

WORST = D(100_200)
"""The worst price of an ordinary entry in these tests."""


def _entry(ago_ms: int = 600_000, **changes: Any) -> PastEntry:
    given: dict[str, Any] = {
        "time_ms": NOW - ago_ms, "symbol": "BTC", "side": Side.LONG, "strategy": "trend", "price": WORST, **changes,
    }  # fmt: skip
    return PastEntry(**given)


def _after(*past: PastEntry | PastExit | PastSignal, **of_limits: Any) -> Verdict:
    """The verdict on an ordinary signal after what was tried."""
    tried = Conduct(
        entries=tuple(p for p in past if isinstance(p, PastEntry)),
        exits=tuple(p for p in past if isinstance(p, PastExit)),
        signals=tuple(p for p in past if isinstance(p, PastSignal)),
    )
    return judged(memory=state(conduct=tried), **of_limits)


def _exit(ago_ms: int, net: int, symbol: str = "BTC") -> PastExit:
    return PastExit(time_ms=NOW - ago_ms, symbol=symbol, net_usd=D(net))


def test_the_same_entry_is_sent_once_in_five_minutes() -> None:
    assert reasons(_after(_entry(299_999))) == [Reason.DUPLICATE_ENTRY]
    approved(_after(_entry(300_000)))
    approved(_after(_entry(1_000), duplicate_entry_window_ms=0))
    approved(_after(_entry(60_000), duplicate_entry_window_ms=60_000))


@pytest.mark.parametrize(
    "other",
    [{"symbol": "ETH"}, {"side": Side.SHORT}, {"strategy": "reversion"}, {"failed_ms": NOW - 250_000}],
    ids=["symbol", "side", "strategy", "it did not fill"],
)
def test_another_symbol_side_or_strategy_is_another_entry(other: dict[str, Any]) -> None:
    approved(_after(_entry(299_999, **other)))


def test_a_price_half_a_percent_away_is_still_the_same_and_one_beyond_is_not() -> None:
    at_edge = WORST * D("1.005")
    assert reasons(_after(_entry(1_000, price=at_edge))) == [Reason.DUPLICATE_ENTRY]
    approved(_after(_entry(1_000, price=at_edge + 1)))
    approved(_after(_entry(1_000, price=at_edge), duplicate_entry_fraction=D("0.004")))


def test_a_strategy_may_signal_three_times_a_minute_in_one_symbol() -> None:
    heard = [PastSignal(time_ms=NOW - ago, symbol="BTC", strategy="trend") for ago in (59_999, 20_000, 0)]
    approved(_after(*heard))
    once_more = PastSignal(time_ms=NOW - 59_999, symbol="BTC", strategy="trend")
    assert reasons(_after(once_more, *heard)) == [Reason.SIGNALS_PER_MINUTE]
    approved(_after(once_more, *heard, max_signals_per_minute=4))
    approved(_after(PastSignal(time_ms=NOW - 60_000, symbol="BTC", strategy="trend"), *heard))
    approved(_after(PastSignal(time_ms=NOW, symbol="ETH", strategy="trend"), *heard))
    approved(_after(PastSignal(time_ms=NOW, symbol="BTC", strategy="reversion"), *heard))


def test_a_symbol_is_entered_four_times_an_hour() -> None:
    three = [_entry(ago, price=D(90_000)) for ago in (3_599_999, 2_000_000, 900_000)]
    approved(_after(*three))
    assert reasons(_after(_entry(3_599_999), *three)) == [Reason.ENTRIES_PER_SYMBOL_HOUR]
    approved(_after(_entry(3_600_000), *three))
    approved(_after(_entry(3_599_999), *three, max_entries_per_symbol_hour=5))
    approved(_after(_entry(3_599_999, symbol="ETH"), *three))
    approved(_after(_entry(3_599_999, failed_ms=NOW - 3_000_000), *three))


@pytest.mark.parametrize(("net", "pause_ms"), [(1, 60_000), (0, 60_000), (-1, 300_000)])
def test_a_symbol_rests_after_an_exit_and_longer_after_a_loss(net: int, pause_ms: int) -> None:
    assert reasons(_after(_exit(pause_ms - 1, net))) == [Reason.COOLDOWN]
    approved(_after(_exit(pause_ms, net)))
    approved(_after(_exit(0, net, "ETH")))
    approved(_after(_exit(0, net), exit_cooldown_ms=0, loss_cooldown_ms=0))


def test_the_last_exit_decides_how_long() -> None:
    approved(_after(_exit(100_000, -5), _exit(60_000, 5)))


def test_a_refusal_by_a_pause_says_until_when() -> None:
    verdict = _after(_exit(100_000, -5))
    [refusal] = verdict.refusals  # type: ignore[union-attr]
    assert "until 2025-06-15 15:10:00 UTC" in refusal.sentence(), refusal.sentence()


@pytest.mark.parametrize(
    ("failures", "pause_ms"), [(1, 15_000), (2, 30_000), (4, 120_000), (5, 180_000), (60, 180_000)]
)
def test_the_pause_after_entries_that_did_not_fill_doubles_up_to_its_longest(failures: int, pause_ms: int) -> None:
    row = [_entry(600_000, failed_ms=NOW - pause_ms + 1)] * failures
    assert reasons(_after(*row)) == [Reason.COOLDOWN]
    over = [_entry(600_000, failed_ms=NOW - pause_ms)] * failures
    approved(_after(*over))
    approved(_after(*row, failed_entry_cooldown_ms=0))
    if pause_ms == 180_000:
        approved(_after(*row, max_failed_entry_cooldown_ms=100_000))


def test_an_entry_that_filled_ends_the_row_of_failures() -> None:
    approved(_after(_entry(500_000, failed_ms=NOW - 10), _entry(400_000)))


# --- the memory ---


def _order(number: int, status: OrderStatus, *, filled: Decimal = ZERO, at_ms: int = NOW) -> Order:
    intent = OrderIntent(
        number=number, purpose=Purpose.ENTRY, symbol="BTC", side=Side.LONG, buy=True, size=D("0.01"), limit_price=WORST,
        tif=TimeInForce.IOC, reduce_only=False, strategy="trend", created_ms=at_ms, signal_id=f"s{number}",
        episode=f"BTC-{number}", group=number,
    )  # fmt: skip
    return Order(
        intent=intent, attempt=1, cloid=make_cloid(7, number, 1), status=status, sent_ms=at_ms, filled=filled,
        updated_ms=at_ms + 5,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("status", "filled", "failed"),
    [
        (OrderStatus.REJECTED, D(0), True), (OrderStatus.CANCELED, D(0), True), (OrderStatus.EXPIRED, D(0), True),
        (OrderStatus.CANCELED, D("0.001"), False), (OrderStatus.PARTIAL, D("0.001"), False),
        (OrderStatus.FILLED, D("0.01"), False), (OrderStatus.UNKNOWN, D(0), False),
    ],
)  # fmt: skip
def test_an_entry_has_failed_when_it_ended_without_a_fill(status: OrderStatus, filled: Decimal, failed: bool) -> None:
    memory = ConductMemory(limits())
    memory.on_order(_order(1, OrderStatus.PENDING))
    memory.on_order(_order(1, status, filled=filled))
    [entry] = memory.now(NOW).entries
    assert (entry.failed_ms is not None) is failed


def test_what_no_rule_asks_for_any_more_is_forgotten() -> None:
    memory = ConductMemory(limits())
    memory.on_order(_order(1, OrderStatus.FILLED, filled=D("0.01")))
    memory.on_exit("BTC", D(1), NOW)
    memory.on_signal(signal(), NOW)
    assert [len(part) for part in _parts(memory.now(NOW))] == [1, 1, 1]
    assert [len(part) for part in _parts(memory.now(NOW + 60_000))] == [1, 1, 0]
    assert [len(part) for part in _parts(memory.now(NOW + 3_600_001))] == [0, 0, 0]


def test_a_wider_window_is_remembered_for_longer() -> None:
    memory = ConductMemory(limits(loss_cooldown_ms=7_200_000))
    memory.on_exit("BTC", D(-1), NOW)
    assert memory.now(NOW + 7_200_000).exits


def _parts(conduct: Conduct) -> tuple[tuple[object, ...], ...]:
    return conduct.entries, conduct.exits, conduct.signals


def test_entries_and_exits_outlive_a_restart_because_they_are_read_from_the_intents_and_the_episodes() -> None:
    async def work(desk: Desk) -> None:
        order = _order(1, OrderStatus.REJECTED)
        await desk.store.transact(lambda tx: (tx.intents.add(order.intent), tx.intents.put_order(order)))
        after = await desk.restarted()
        [entry] = after.keeper.judged_state.conduct.entries
        assert (entry.symbol, entry.price, entry.failed_ms) == ("BTC", WORST, NOW + 5)
        await after.keeper.load()
        assert len(after.keeper.judged_state.conduct.entries) == 1

    with_desk(work)


def test_a_library_user_without_a_memory_is_judged_as_one_who_tried_nothing() -> None:
    approved(judged(memory=state(), prices=market()))
