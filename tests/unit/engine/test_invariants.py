"""Whatever users, feed and time do: money is conserved to the micro-USD, and no order does more than it may."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.engine.box import ALICE, ASSETS, BOB, BTC, CAROL, SOL, usd

from perpstrader.paper.engine import (
    Event,
    Exchange,
    FillEvent,
    FundingEvent,
    Grouping,
    LedgerEvent,
    Level,
    LiquidationEvent,
    MarketUpdate,
    NewOrder,
    OrderUpdate,
    Tif,
    Tpsl,
    TradePrint,
    Trigger,
    account,
    deleveraging,
    leverage,
    lifecycle,
    twap,
)

USERS = (ALICE, BOB, CAROL)
START = {"SOL": 1_000_000, "BTC": 600_000}
CHECKS = (
    "conserved", "reducing", "liquidated", "fills", "market", "backstop", "isolated", "deleveraged", "twap",
)  # fmt: skip
TERMINAL = ("filled", "Canceled", "canceled", "Rejected", "rejected", "scheduledCancel")


@dataclass
class World:
    """Drives an exchange by a seed, and keeps its own books of what it sees."""

    seed: int
    steps: int
    log: list[Event] = field(default_factory=list)
    reduce_only: dict[int, bool] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    positions: dict[tuple[str, str], int] = field(default_factory=dict)
    cash: dict[str, int] = field(default_factory=dict)
    checks: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CHECKS, 0))

    def run(self) -> World:
        chance = random.Random(self.seed)
        self.exchange = Exchange((SOL, BTC))
        self.marks = dict(START)
        self.now = 1_750_000_000_000
        for user in USERS:
            self.exchange.fund(user, usd(chance.choice((200, 1_000, 20_000))), self.now)
        for coin in ASSETS:
            self.market(chance, coin)
        for _ in range(self.steps):
            self.now += chance.choice((0, 1, 400, 3_000, 31_000))
            self.step(chance)
            self.look()
        return self

    def step(self, chance: random.Random) -> None:
        coin, user = chance.choice(("SOL", "BTC")), chance.choice(USERS)
        what = chance.random()
        if chance.random() < 0.2:
            self.exchange.set_post_only(False)
        if what < 0.4:
            self.market(chance, coin)
        elif what < 0.75:
            self.place(chance, user, coin)
        elif what < 0.85:
            live = self.exchange.open_orders(user)
            if live:
                order = chance.choice(live)
                self.exchange.cancel(user, order.coin, order.oid, self.now)
        elif what < 0.9:
            live = self.exchange.open_orders(user)
            if live:
                order = chance.choice(live)
                new = self.new(chance, order.coin)
                self.exchange.modify(user, order.oid, new, self.now, always=chance.random() < 0.5)
        elif what < 0.94:
            self.exchange.premium_sample(self.now)
            self.exchange.funding_tick(self.now)
        elif what < 0.968:
            is_cross = chance.random() < 0.5
            self.exchange.update_leverage(user, coin, chance.choice((1, 3, 10, 20, 40)), is_cross, self.now)
            self.exchange.update_isolated_margin(user, coin, usd(chance.choice((-50, 5, 50))), self.now)
        elif what < 0.974:
            self.exchange.auto_deleverage(coin, chance.choice((-300, 40, 300)), self.now)
        elif what < 0.984:
            self.house(chance, user, coin)
        elif what < 0.992:
            self.exchange.withdraw(user, usd(chance.choice((1, 50, 500))), self.now)
        else:
            self.exchange.set_post_only(True)

    def house(self, chance: random.Random, user: str, coin: str) -> None:
        """What does not come as an order: TWAPs, transfers, bought weight, caps."""
        what = chance.random()
        if what < 0.6:
            is_buy, reduces = chance.random() < 0.5, chance.random() < 0.3
            size, minutes = chance.choice((200, 3_000)), chance.choice((5, 7))
            self.exchange.start_twap(
                user, coin, size, minutes, self.now, is_buy=is_buy, reduce_only=reduces, randomize=chance.random() < 0.5
            )
        elif what < 0.7:
            for one in self.exchange.twaps(user)[:1]:
                self.exchange.cancel_twap(user, one.coin, one.twap_id, self.now)
        elif what < 0.8:
            self.exchange.transfer(user, chance.choice(USERS), usd(chance.choice((1, 40))), self.now)
        elif what < 0.9:
            self.exchange.reserve_weight(user, chance.choice((1, 2_000)), self.now)
        else:
            cap = chance.choice((None, None, usd(1_000)))
            self.exchange.set_open_interest_cap(coin, cap)

    def market(self, chance: random.Random, coin: str) -> None:
        asset, mark = ASSETS[coin], self.marks[coin]
        mark = max(
            START[coin] // 5, min(START[coin] * 5, int(mark * chance.choice((1, 0.999, 1.001, 0.98, 1.02, 0.8, 1.25))))
        )
        self.marks[coin] = mark
        middle, step = asset.round_price(mark, up=False), asset.tick(mark) * 10
        depth = chance.choice((0, 1, 5, 5, 10))
        prints = ()
        if chance.random() < 0.5:
            at = asset.round_price(middle + chance.randint(-3, 3) * step, up=True)
            prints = (TradePrint(at, chance.randint(1, 5_000), chance.random() < 0.5),)
        self.exchange.apply(
            MarketUpdate(
                coin=coin,
                time_ms=self.now,
                bids=tuple(
                    Level(asset.round_price(middle - i * step, up=False), chance.randint(1, 3_000))
                    for i in range(1, depth + 1)
                ),
                asks=tuple(
                    Level(asset.round_price(middle + i * step, up=True), chance.randint(1, 3_000))
                    for i in range(1, depth + 1)
                ),
                mark=mark,
                oracle=int(mark * chance.choice((1, 0.999, 1.001))),
                trades=prints,
                continuous=chance.random() < 0.5,
                halted=chance.random() < 0.05,
            )
        )

    def new(
        self,
        chance: random.Random,
        coin: str,
        *,
        trigger: bool | None = None,
        is_buy: bool | None = None,
        held: int = 0,
    ) -> NewOrder:
        asset, mark = ASSETS[coin], self.marks[coin]
        reduces = chance.random() < (0.5 if held else 0.1)
        if reduces and held and chance.random() < 0.9:
            is_buy = held < 0
        is_buy = chance.random() < 0.5 if is_buy is None else is_buy
        px = asset.round_price(
            int(mark * chance.choice((0.9, 0.98, 0.999, 1, 1.001, 1.02, 1.1))), up=chance.random() < 0.5
        )
        fires = None
        if chance.random() < 0.3 if trigger is None else trigger:
            at = asset.round_price(int(mark * chance.choice((0.9, 0.97, 0.995, 1.005, 1.03, 1.1))), up=True)
            natural = Tpsl.SL if is_buy == (at > mark) else Tpsl.TP
            fires = Trigger(chance.random() < 0.7, at, natural if chance.random() < 0.9 else Tpsl.SL)
            px = asset.round_price(int(at * (1.1 if is_buy else 0.9)), up=True)
        return NewOrder(
            coin=coin,
            is_buy=is_buy,
            limit_px=px,
            size=chance.choice((1, 40, 40, 300, 300, 2_000)),
            reduce_only=fires is not None if trigger else reduces,
            tif=chance.choice((Tif.GTC, Tif.IOC, Tif.ALO, Tif.FRONTEND_MARKET)),
            trigger=fires,
            cloid=chance.choice((None, f"0x{chance.randint(0, 9):032x}")),
        )

    def place(self, chance: random.Random, user: str, coin: str) -> None:
        held = self.positions.get((user, coin), 0)
        grouping = chance.choice((Grouping.NA, Grouping.NA, Grouping.NORMAL_TPSL, Grouping.POSITION_TPSL))
        if grouping is Grouping.NORMAL_TPSL:
            parent = self.new(chance, coin, trigger=False)
            legs = [self.new(chance, coin, trigger=True, is_buy=not parent.is_buy) for _ in range(chance.randint(1, 2))]
            orders = [parent, *[msgspec.structs.replace(leg, size=parent.size) for leg in legs]]
        elif grouping is Grouping.POSITION_TPSL:
            orders = [self.new(chance, coin, trigger=True, held=held)]
        else:
            orders = [self.new(chance, coin, held=held) for _ in range(chance.randint(1, 3))]
        self.exchange.place(user, orders, grouping, self.now)

    def look(self) -> None:
        """Judge what just happened."""
        assert self.exchange.imbalance() == 0
        self.checks["conserved"] += 1
        for event in self.exchange.drain_events():
            self.log.append(event)
            if isinstance(event, OrderUpdate):
                self.reduce_only[event.order.oid] = event.order.reduce_only
                if not event.order.is_position_tpsl:
                    self.sizes[event.order.oid] = event.order.orig_size
            elif isinstance(event, FillEvent):
                self.see_fill(event)
            elif isinstance(event, FundingEvent | LedgerEvent):
                self.cash[event.user] = self.cash.get(event.user, 0) + event.usdc
            elif isinstance(event, LiquidationEvent):
                self.cash[event.user] -= event.taken
                self.checks[event.method if not event.is_isolated else "isolated"] += 1
        for user in USERS:
            view = self.exchange.account_state(user)
            held = {p.coin: p.size for p in view.positions}
            for coin in ASSETS:
                assert held.get(coin, 0) == self.positions.get((user, coin), 0)
                resting = [
                    o
                    for o in self.exchange.open_orders(user)
                    if o.coin == coin and o.reduce_only and not o.held and (o.trigger is None or o.triggered)
                ]
                assert sum(o.size for o in resting) <= abs(held.get(coin, 0))
            worth = sum(p.size * self.exchange.market(p.coin).mark for p in view.positions)  # type: ignore[operator]
            assert view.total_raw_usd == self.cash[user], "cash follows from the events alone"
            assert view.account_value == self.cash[user] + worth
            assert 0 not in held.values()
            own = [p.raw_usd for p in view.positions if p.raw_usd is not None]
            assert view.cross_raw_usd + sum(own) == view.total_raw_usd
        for coin in ASSETS:
            assert self.exchange.open_interest_imbalance(coin) == 0, "for every lot held somebody holds it short"

    def see_fill(self, event: FillEvent) -> None:
        fill, key = event.fill, (event.user, event.fill.coin)
        signed = fill.size if fill.is_buy else -fill.size
        self.cash[event.user] = self.cash.get(event.user, 0) - signed * fill.px - fill.fee
        self.checks["fills"] += 1
        self.checks["twap"] += fill.twap_id is not None
        before = self.positions.get(key, 0)
        assert fill.start_position == before
        after = before + signed
        self.positions[key] = after
        if before * (after - before) >= 0:
            assert fill.closed_pnl == 0
        if fill.dir == "Auto-Deleveraging":
            self.checks["deleveraged"] += 1
            assert abs(after) < abs(before)
        if fill.liquidation is not None:
            self.checks["liquidated"] += 1
        if self.reduce_only.get(fill.oid):
            self.checks["reducing"] += 1
            assert abs(after) < abs(before)
            assert before * after >= 0

    def fills_of(self, oid: int) -> int:
        return sum(e.fill.size for e in self.log if isinstance(e, FillEvent) and e.fill.oid == oid and e.user in USERS)


@given(seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=60)
def test_money_is_conserved_and_reduce_only_never_flips(seed: int) -> None:
    world = World(seed, 120).run()
    for oid, size in world.sizes.items():
        assert world.fills_of(oid) <= size


def test_the_worlds_have_something_at_stake() -> None:
    total: dict[str, int] = {}
    for seed in range(30):
        for name, count in World(seed, 200).run().checks.items():
            total[name] = total.get(name, 0) + count
    assert total["conserved"] > 2_000
    assert total["fills"] > 200
    assert total["reducing"] > 20
    assert total["liquidated"] > 3
    assert total["isolated"] > 3
    assert total["deleveraged"] > 3
    assert total["twap"] > 3


@given(seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=15)
def test_the_same_input_gives_the_same_events_to_the_last_byte(seed: int) -> None:
    first, second = World(seed, 100).run(), World(seed, 100).run()
    assert msgspec.json.encode(first.log) == msgspec.json.encode(second.log)


@given(seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=30)
def test_every_order_reaches_one_end_at_most_and_open_ones_none(seed: int) -> None:
    world = World(seed, 120).run()
    ends: dict[int, int] = {}
    for event in world.log:
        if isinstance(event, OrderUpdate) and event.status.endswith(TERMINAL):
            ends[event.order.oid] = ends.get(event.order.oid, 0) + 1
    assert all(count == 1 for count in ends.values())
    live = {order.oid for user in USERS for order in world.exchange.open_orders(user)}
    assert not live & ends.keys()
    seen = {event.order.oid for event in world.log if isinstance(event, OrderUpdate)}
    assert seen == live | ends.keys()


@given(seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=15)
def test_a_twap_executes_no_more_than_its_size_and_exactly_what_its_fills_say(seed: int) -> None:
    check_twaps(World(seed, 150).run())


def check_twaps(world: World) -> None:
    done: dict[int, int] = {}
    for event in world.log:
        if isinstance(event, FillEvent) and event.fill.twap_id is not None and event.user in USERS:
            done[event.fill.twap_id] = done.get(event.fill.twap_id, 0) + event.fill.size
    for user in USERS:
        for one in [*(e.twap for e in world.exchange.twap_history(user)[::-1]), *world.exchange.twaps(user)]:
            assert one.executed <= one.size
            assert one.executed <= done.get(one.twap_id, 0) <= one.size


def run_worlds(count: int) -> None:
    for seed in range(count):
        World(seed, 200).run()


def test_the_conservation_check_fails_when_a_fee_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = account.Account.trade

    def forgetful(self: account.Account, market: object, lots: int, px: int, fee: int) -> tuple[int, int]:
        return honest(self, market, lots, px, 0)  # type: ignore[arg-type]

    monkeypatch.setattr(account.Account, "trade", forgetful)
    with pytest.raises(AssertionError):
        run_worlds(5)


def test_the_reduce_only_check_fails_when_orders_do_not_follow_the_position(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "follow_position", lambda *_: None)
    with pytest.raises(AssertionError):
        run_worlds(20)


def test_the_conservation_check_fails_when_isolated_margin_is_lost_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(account: account.Account, position: account.Position, micro_usd: int) -> None:
        account.cash -= micro_usd

    monkeypatch.setattr(leverage, "_move", careless)
    with pytest.raises(AssertionError):
        run_worlds(20)


def test_the_checks_fail_when_a_position_is_taken_from_one_and_given_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = deleveraging._take

    def one_sided(*args: Any, **more: Any) -> None:
        if more["crossed"]:
            honest(*args, **more)

    monkeypatch.setattr(deleveraging, "_take", one_sided)
    with pytest.raises(AssertionError):
        run_worlds(20)


def test_the_twap_check_fails_when_slices_do_not_look_at_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twap, "_lots", lambda one, due: 4 * one.size // one.slices)
    with pytest.raises(AssertionError):
        run_twaps(20)


def run_twaps(count: int) -> None:
    for seed in range(count):
        check_twaps(World(seed, 200).run())
