"""Accounts outlive the process: whatever was answered is there after a kill, and nothing else is made up."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from random import Random

import apsw
import pytest
from tests.unit.paper_server.desk import KEY, START_MS, USER, Desk

from perpstrader.paper import PaperStore, PaperStoreError, build_venue, synthetic_feed
from perpstrader.paper.engine import EngineConfig, Exchange
from perpstrader.paper.server import InProcessTransport, PaperVenue
from perpstrader.runtime import VirtualClock, run_virtual
from perpstrader.venue.wire import actions

SYMBOLS = ("BTC", "ETH")


class StoredDesk(Desk):
    """A desk whose venue keeps its accounts in a file."""

    def __init__(self, clock: VirtualClock, store: PaperStore) -> None:
        super().__init__(clock, None, None, None)
        feed = synthetic_feed(clock, seed=3, symbols=SYMBOLS, store=store)
        self.venue = build_venue(feed, clock, store=store, funds_usd={USER: 10_000})
        self.transport = InProcessTransport(self.venue, Random(1))


def _killed_copy(folder: Path, target: Path) -> Path:
    """What a killed process leaves: the files as they are, without a goodbye."""
    shutil.copytree(folder, target)
    return target


def _same(one: Exchange, other: Exchange) -> None:
    assert other.users() == one.users()
    assert other.imbalance() == one.imbalance() == 0
    for user in one.users():
        ours, theirs = one.account_state(user), other.account_state(user)
        assert theirs.positions == ours.positions
        assert theirs == ours
        assert other.open_orders(user) == one.open_orders(user)
        assert other.fills(user) == one.fills(user)
        assert other.funding(user) == one.funding(user)
        assert other.ledger(user) == one.ledger(user)
        assert other.historical_orders(user) == one.historical_orders(user)
        for row in one.historical_orders(user):
            assert other.order_by_oid(user, row.order.oid) == one.order_by_oid(user, row.order.oid)


async def _trade(desk: Desk) -> None:
    """A position with a bracket that waits, a stop that is armed, and an order that rests."""
    mid = await desk.mid()
    await desk.act(actions.UpdateLeverage(0, True, 7))
    await desk.order("buy", str(round(mid * 1.05)), "0.02", "Ioc", cloid="0x" + "aa" * 16)
    stop = actions.OrderType(trigger=actions.TriggerType(True, str(round(mid * 0.8)), "sl"))
    await desk.order("sell", str(round(mid * 0.7)), "0.02", reduce_only=True, type=stop)
    parent = actions.OrderWire(0, True, str(round(mid * 0.9)), "0.01", False, actions.GTC)
    child = actions.OrderWire(0, False, str(round(mid * 0.6)), "0.01", True, stop)
    await desk.act(actions.Order([parent, child], "normalTpsl"))
    await desk.order("buy", str(round(mid * 0.5)), "0.00001")


def test_a_killed_exchange_goes_on_with_all_that_it_answered(tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        store = PaperStore(tmp_path / "one")
        desk = StoredDesk(clock, store)
        async with asyncio.TaskGroup() as group:
            market = group.create_task(desk.venue.run())
            await clock.sleep(1)
            await _trade(desk)
            await clock.sleep(3_700)
            engine = desk.venue.engine
            assert engine.funding(USER)
            await desk.order("sell", str(round(await desk.mid() * 0.95)), "0.005", "Ioc")
            copy = PaperStore(_killed_copy(tmp_path / "one", tmp_path / "two"))
            other = Exchange(engine.assets)
            copy.recall(other, PaperVenue(other, desk.venue.feed, clock).world)
            _same(engine, other)
            market.cancel()
            copy.close()
        store.close()

    run_virtual(main, start_ms=START_MS)


def test_a_restarted_exchange_trades_on_near_its_last_prices_and_refuses_an_old_nonce(tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        store = PaperStore(tmp_path)
        first = StoredDesk(clock, store)
        async with asyncio.TaskGroup() as group:
            market = group.create_task(first.venue.run())
            await clock.sleep(1)
            await _trade(first)
            await clock.sleep(100)
            mid = await first.mid()
            market.cancel()
        used = first.nonce
        first.venue.stop()
        store.close()
        store = PaperStore(tmp_path)
        second = StoredDesk(clock, store)
        second.nonce = used
        assert second.venue.engine.account_state(USER).positions[0].size == 2_000
        async with asyncio.TaskGroup() as group:
            market = group.create_task(second.venue.run())
            await clock.sleep(1)
            assert await second.mid() == pytest.approx(mid, rel=0.05)
            refused = await second.act(actions.Noop(), KEY, nonce=used)
            assert refused["response"] == f"Invalid nonce: duplicate nonce {used}"
            closing = await second.order("sell", str(round(await second.mid() * 0.9)), "0.02", "Ioc", reduce_only=True)
            assert closing["filled"]["totalSz"] == "0.02"
            assert second.venue.engine.imbalance() == 0
            market.cancel()
        store.close()

    run_virtual(main, start_ms=START_MS)


def test_the_children_of_a_bracket_are_still_siblings_after_a_restart(tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        store = PaperStore(tmp_path / "one")
        desk = StoredDesk(clock, store)
        async with asyncio.TaskGroup() as group:
            market = group.create_task(desk.venue.run())
            await clock.sleep(1)
            mid = await desk.mid()
            parent = actions.OrderWire(0, True, str(round(mid * 1.02)), "0.01", False, actions.IOC)
            legs = [
                actions.OrderWire(
                    0, False, str(round(mid * limit)), "0.01", True,
                    actions.OrderType(trigger=actions.TriggerType(True, str(round(mid * at)), kind)),  # type: ignore[arg-type]
                )
                for kind, at, limit in (("tp", 1.2, 1.0), ("sl", 0.8, 0.7))
            ]  # fmt: skip
            await desk.act(actions.Order([parent, *legs], "normalTpsl"))
            market.cancel()
        copy = PaperStore(_killed_copy(tmp_path / "one", tmp_path / "two"))
        other = Exchange(desk.venue.engine.assets, EngineConfig())
        copy.recall(other, PaperVenue(other, desk.venue.feed, clock).world)
        target, stop = other.open_orders(USER)
        assert (target.parent_oid, stop.parent_oid) == (parent_oid := target.parent_oid, parent_oid)
        assert parent_oid is not None
        copy.close()
        store.close()

    run_virtual(main, start_ms=START_MS)


def test_a_second_exchange_on_the_same_file_is_told_so(tmp_path: Path) -> None:
    store = PaperStore(tmp_path)
    with pytest.raises(PaperStoreError, match="in use by another paper exchange"):
        PaperStore(tmp_path)
    store.close()


def test_a_file_that_is_none_or_newer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "paper.db").write_bytes(b"no database at all, but long enough to be read as one" * 40)
    with pytest.raises(PaperStoreError, match="cannot be used"):
        PaperStore(tmp_path)
    newer = tmp_path / "newer"
    newer.mkdir()
    apsw.Connection(str(newer / "paper.db")).execute("PRAGMA user_version=99")
    with pytest.raises(PaperStoreError, match="newer version"):
        PaperStore(newer)


def test_a_market_without_a_coin_in_which_accounts_are_is_refused(tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        store = PaperStore(tmp_path)
        desk = StoredDesk(clock, store)
        async with asyncio.TaskGroup() as group:
            market = group.create_task(desk.venue.run())
            await clock.sleep(1)
            await _trade(desk)
            market.cancel()
        feed = synthetic_feed(clock, seed=3, symbols=("ETH",), store=store)
        with pytest.raises(PaperStoreError, match="BTC"):
            build_venue(feed, clock, store=store)
        store.close()

    run_virtual(main, start_ms=START_MS)


def test_isolated_margin_sub_accounts_twaps_and_approvals_survive_a_kill(tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        store = PaperStore(tmp_path / "one")
        desk = StoredDesk(clock, store)
        desk.venue.engine._state.config = EngineConfig(sub_account_min_volume=0)
        async with asyncio.TaskGroup() as group:
            market = group.create_task(desk.venue.run())
            await clock.sleep(1)
            await desk.act(actions.UpdateLeverage(0, False, 7))
            await desk.order("buy", str(round(await desk.mid() * 1.05)), "0.02", "Ioc")
            await desk.act(actions.UpdateIsolatedMargin(0, True, 33_000_000))
            engine = desk.venue.engine
            user = engine.create_sub_account(USER, "one", clock.now_ms())
            assert isinstance(user, str)
            engine.sub_account_transfer(USER, user, 500_000_000, clock.now_ms(), deposit=True)
            await desk.act(actions.ReserveRequestWeight(700))
            builder = "0x" + "65" * 20
            await desk.user_signed({"type": "approveBuilderFee", "maxFeeRate": "0.05%", "builder": builder})
            await desk.act(actions.TwapOrder(actions.TwapWire(1, True, "0.5", False, 5, True)))
            await clock.sleep(45)
            await desk.act(actions.Noop())
            copy = PaperStore(_killed_copy(tmp_path / "one", tmp_path / "two"))
            other = Exchange(engine.assets)
            copy.recall(other, PaperVenue(other, desk.venue.feed, clock).world)
            _same(engine, other)
            assert other.account_state(USER).positions[0].raw_usd is not None
            assert other.asset_account(USER, "BTC").is_isolated
            assert other.sub_accounts(USER) == engine.sub_accounts(USER) == ((user, "one"),)
            assert other.master_of(user) == USER
            assert other.reserved_weight(USER) == 700
            assert other.builder_fees(USER) == {builder: 50}
            assert other.twaps(USER) == engine.twaps(USER) != ()
            assert other.twap_history(USER) == engine.twap_history(USER)
            market.cancel()
            copy.close()
        store.close()

    run_virtual(main, start_ms=START_MS)
