"""On random accounts, markets and signals: every limit holds, and nothing opens without evidence (S30, S32, S33)."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import event, given
from hypothesis import strategies as st
from tests.unit.risk.risk_samples import (
    ASSETS,
    NOW,
    PRICES,
    D,
    execution,
    limits,
    manager,
    market,
    portfolio,
    position,
    signal,
    state,
)

from perpstrader.domain import (
    ZERO,
    Approved,
    BookLevel,
    MarketSnapshot,
    Portfolio,
    Position,
    Refused,
    Reservation,
    Side,
    Signal,
)
from perpstrader.risk.baseline import RiskManager
from perpstrader.settings.limits import RiskSettings

symbols = st.sampled_from(sorted(ASSETS))


def _mostly(usual: Decimal, low: str, high: str) -> st.SearchStrategy[Decimal]:
    """A generous limit, or one that may bind."""
    return st.sampled_from([True, True, False]).flatmap(
        lambda generous: st.just(usual) if generous else st.decimals(low, high, places=3)
    )


@st.composite
def risk_limits(draw: st.DrawFn) -> RiskSettings:
    """Any limits, of which some bind; they need not suit one another."""
    usd = st.sampled_from([None, None, D(5_000), D(300), D("77.77")])
    return limits(
        risk_per_trade_fraction=draw(st.sampled_from([D("0.005"), D("0.02"), D("0.1")])),
        max_order_notional_fraction=draw(_mostly(D("0.9"), "0.05", "1")), max_order_notional_usd=draw(usd),
        max_position_fraction=draw(_mostly(D("0.9"), "0.05", "1")), max_position_usd=draw(usd),
        max_gross_notional_ratio=draw(_mostly(D(3), "0.3", "4")), max_gross_notional_usd=draw(usd),
        max_net_notional_ratio=draw(_mostly(D(2), "0.3", "4")), max_net_notional_usd=draw(usd),
        max_cluster_notional_ratio=draw(_mostly(D(2), "0.3", "4")),
        max_margin_fraction=draw(_mostly(D("0.9"), "0.1", "1")), max_positions=draw(st.integers(2, 4)),
        max_entries_per_minute=draw(st.integers(2, 6)),
    )  # fmt: skip


@st.composite
def signals(draw: st.DrawFn, number: int = 0) -> Signal:
    """A wish that is mostly sensible."""
    symbol, side = draw(symbols), draw(st.sampled_from(Side))
    price, away = PRICES[symbol], draw(st.decimals("0.006", "0.078", places=4))
    stop = draw(st.booleans())
    return signal(
        symbol, id=f"s{number}", side=side, confidence=draw(st.integers(50, 100)) / 100,
        stop_price=price * (1 - side.sign * away) if stop else None,
        target_price=price * (1 + side.sign * away * 2) if stop else None,
        size_hint=draw(st.sampled_from([None, None, D("0.5"), D(100)])),
    )  # fmt: skip


@st.composite
def markets(draw: st.DrawFn, symbol: str) -> MarketSnapshot:
    """A market with or without a book."""
    plain = market(symbol)
    if draw(st.booleans()):
        return plain
    size = draw(st.decimals("0.01", "1000", places=2))
    assert plain.ask is not None
    assert plain.bid is not None
    book = {"asks": (BookLevel(plain.ask, size),), "bids": (BookLevel(plain.bid, size),)}
    return market(symbol, atr=PRICES[symbol] / 200, **book)


@st.composite
def accounts(draw: st.DrawFn) -> Portfolio:
    """Equity, available margin and up to two positions of others."""
    equity = draw(st.decimals("500", "20000", places=2))
    held = {
        symbol: position(
            symbol, notional=equity * draw(st.decimals("0.01", "0.3", places=2)), side=draw(st.sampled_from(Side)),
            stop=draw(st.none() | st.just(D("0.03"))), leverage=draw(st.sampled_from([0, 3, 10])),
        )
        for symbol in draw(st.sampled_from([(), (), ("ETH",), ("SOL", "BTC")]))
    }  # fmt: skip
    available = equity * draw(st.sampled_from([D(1), D("0.4"), D("0.05")]))
    return portfolio(equity_usd=equity, available_usd=available, positions=held)


def _is_within_every_limit(
    settings: RiskSettings, account: Portfolio, held: Sequence[Reservation], capped: Decimal
) -> None:
    """Computed here again, without a line of the code under test; any subset of what is in flight may fill."""
    own = [(p.symbol, p.side, p.notional_usd, max(1, p.leverage)) for p in account.positions.values()]
    new = [(r.symbol, r.side, r.notional_usd, 3) for r in held]
    base = min(account.equity_usd, capped)

    def cap(fraction: Decimal, usd: Decimal | None = None) -> Decimal:
        return fraction * base if usd is None else min(fraction * base, usd)

    s = settings
    for n in range(2 ** len(new)):
        both = own + [entry for place, entry in enumerate(new) if n >> place & 1]
        net = sum((usd * side.sign for _, side, usd, _ in both), ZERO)
        assert sum((usd for _, _, usd, _ in both), ZERO) <= cap(s.max_gross_notional_ratio, s.max_gross_notional_usd)
        assert abs(net) <= cap(s.max_net_notional_ratio, s.max_net_notional_usd)
        assert abs(net) <= cap(s.max_cluster_notional_ratio)
        assert sum((usd / leverage for *_, usd, leverage in both), ZERO) <= cap(s.max_margin_fraction)
        assert len({symbol for symbol, *_ in both}) <= s.max_positions
    for symbol in {entry[0] for entry in own + new}:
        notional = sum((usd for name, _, usd, _ in own + new if name == symbol), ZERO)
        assert notional <= cap(s.max_position_fraction, s.max_position_usd)
    order = cap(s.max_order_notional_fraction, s.max_order_notional_usd)
    assert all(usd <= order for _, _, usd, _ in new)
    assert sum((usd for _, _, usd, _ in new), ZERO) <= order, "crash exposure: one order"
    assert sum((usd / leverage for *_, usd, leverage in new), ZERO) <= account.available_usd
    assert len(new) <= s.max_entries_per_minute


@given(st.data(), risk_limits(), accounts(), st.booleans())
def test_S32_after_any_set_of_approvals_every_limit_holds(
    data: st.DataObject, settings: RiskSettings, account: Portfolio, batched: bool
) -> None:
    risk = manager(settings)
    capped = account.equity_usd * data.draw(st.sampled_from([D(1), D("0.5")]))
    equity = account.equity_usd
    memory = state(day_start_equity_usd=equity, peak_equity_usd=equity, limits_equity_usd=capped)
    wishes = [data.draw(signals(number)) for number in range(data.draw(st.integers(1, 5)))]
    items = [(wish, data.draw(markets(wish.symbol)), ASSETS[wish.symbol]) for wish in wishes]
    if batched:
        verdicts = list(risk.evaluate_batch(items, account, memory, NOW))
    else:
        verdicts = [risk.approve(wish, account, prices, asset, memory, NOW) for wish, prices, asset in items]
    approvals = [verdict for verdict in verdicts if isinstance(verdict, Approved)]
    assert [approval.reservation for approval in approvals] == [held.number for held in risk.reservations]
    event(f"{len(approvals)} approvals")
    if approvals:
        _is_within_every_limit(settings, account, risk.reservations, capped)
        assert all(check.passed for check in risk.within_limits(account, memory, ASSETS))
        filled = _all_filled(account, approvals)
        fresh = manager(settings).within_limits(filled, memory, ASSETS)
        assert all(check.passed for check in fresh), [check for check in fresh if not check.passed]


def _all_filled(account: Portfolio, approvals: Sequence[Approved]) -> Portfolio:
    """Every approval filled whole, at the price that it was counted at."""
    positions: dict[str, Position] = dict(account.positions)
    for approval in approvals:
        wish = approval.signal
        positions[wish.symbol] = position(
            wish.symbol, notional=approval.notional_usd, side=wish.side, size=approval.size,
            mark_price=approval.notional_usd / approval.size, stop=D("0.001"),
        )  # fmt: skip
    return msgspec.structs.replace(account, positions=positions)


@given(st.data(), risk_limits(), accounts())
def test_S33_an_approved_size_is_on_the_lot_above_the_minimum_and_under_every_bound(
    data: st.DataObject, settings: RiskSettings, account: Portfolio
) -> None:
    wish = data.draw(signals())
    asset, prices = ASSETS[wish.symbol], data.draw(markets(wish.symbol))
    memory = state(day_start_equity_usd=account.equity_usd, peak_equity_usd=account.equity_usd)
    verdict = manager(settings).evaluate(wish, account, prices, asset, memory, NOW)
    event(type(verdict).__name__)
    if isinstance(verdict, Refused):
        assert verdict.refusals
        return
    sign = wish.side.sign
    assert asset.is_size(verdict.size)
    assert all(map(asset.is_price, (verdict.worst_price, verdict.stop_price, verdict.stop_limit_price)))
    assert verdict.size * min(verdict.worst_price, verdict.reference_price) >= settings.min_entry_notional_usd
    assert verdict.size * verdict.stop_limit_price >= 12
    assert wish.size_hint is None or verdict.size <= wish.size_hint
    levels = prices.asks if wish.side is Side.LONG else prices.bids
    assert not levels or verdict.size <= levels[0].size * settings.max_depth_fraction
    # The worst loss: in at the worst price, out 0.3 % behind the stop, two taker fees.
    out = verdict.stop_price * (1 - sign * D("0.003"))
    loss = verdict.size * ((verdict.worst_price - out) * sign + D("0.00045") * (verdict.worst_price + out))
    assert loss <= settings.risk_per_trade_fraction * account.equity_usd * D("1.0001")
    assert (verdict.worst_price - verdict.stop_price) * sign > 0
    assert abs(verdict.worst_price / verdict.reference_price - 1) <= D("0.005")


EVIDENCE: tuple[dict[str, Any], ...] = (
    {"account": {"as_of_ms": 0}}, {"account": {"as_of_ms": NOW - 5_001}}, {"account": {"reconciled": False}},
    {"account": {"leverage": {}}}, {"account": {"equity_usd": D("NaN")}}, {"account": {"available_usd": D("NaN")}},
    {"prices": {"bid": None}}, {"prices": {"ask": None}}, {"prices": {"mark": None}}, {"prices": {"oracle": None}},
    {"prices": {"book_ms": NOW - 2_001}}, {"prices": {"context_ms": NOW - 6_001}}, {"prices": {"bid": D("NaN")}},
    {"prices": {"mark": D(0)}}, {"prices": {"mark": D("Infinity")}}, {"memory": {"day_start_equity_usd": None}},
    {"memory": {"peak_equity_usd": None}}, {"memory": {"day": "2020-01-01"}},
)  # fmt: skip


@given(st.data(), accounts(), st.lists(st.sampled_from(EVIDENCE), min_size=1, max_size=3))
def test_S30_nothing_is_approved_while_any_evidence_is_missing_or_stale(
    data: st.DataObject, account: Portfolio, taken: list[dict[str, Any]]
) -> None:
    wish = data.draw(signals())
    prices = data.draw(markets(wish.symbol))
    memory = state(day_start_equity_usd=account.equity_usd, peak_equity_usd=account.equity_usd)
    for changes in taken:
        account = msgspec.structs.replace(account, **changes.get("account", {}))
        prices = msgspec.structs.replace(prices, **changes.get("prices", {}))
        memory = msgspec.structs.replace(memory, **changes.get("memory", {}))
    verdict = manager(orders=execution()).evaluate(wish, account, prices, ASSETS[wish.symbol], memory, NOW)
    assert isinstance(verdict, Refused)


@given(st.data(), accounts())
def test_judging_changes_nothing_and_gives_the_same_answer_again(data: st.DataObject, account: Portfolio) -> None:
    wish = data.draw(signals())
    prices = data.draw(markets(wish.symbol))
    risk: RiskManager = manager()
    first = risk.evaluate(wish, account, prices, ASSETS[wish.symbol], state(), NOW)
    assert risk.reservations == ()
    assert risk.evaluate(wish, account, prices, ASSETS[wish.symbol], state(), NOW) == first


@given(st.data(), accounts(), st.decimals("1", "4", places=1))
def test_more_equity_never_makes_a_size_smaller(data: st.DataObject, account: Portfolio, factor: Decimal) -> None:
    wish = data.draw(signals())
    prices = market(wish.symbol)

    def size_with(equity: Decimal) -> Decimal:
        rich = msgspec.structs.replace(account, equity_usd=equity, available_usd=equity)
        memory = state(day_start_equity_usd=equity, peak_equity_usd=equity)
        verdict = manager().evaluate(wish, rich, prices, ASSETS[wish.symbol], memory, NOW)
        return verdict.size if isinstance(verdict, Approved) else ZERO

    assert size_with(account.equity_usd) <= size_with(account.equity_usd * factor)
