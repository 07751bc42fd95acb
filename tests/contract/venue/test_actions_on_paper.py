"""Every action and the rarer reads on the paper exchange, through both clients: done, or refused in words we know."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from tests.contract.venue.test_against_paper import ACCOUNT, Trade, play, worst
from tests.contract.venue.test_client_contract import BUILDS
from tests.unit.venue.scripted import order

from perpstrader.domain import TimeInForce, Trigger
from perpstrader.venue import contract as c
from perpstrader.venue.wire import actions
from perpstrader.venue.wire.errors import ErrorCode


@pytest.fixture(params=sorted(BUILDS))
def build(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def cloid(n: int) -> str:
    return f"0x{n:032x}"


async def far(trade: Trade, share: str = "0.9") -> str:
    return str(
        (await trade.client.metadata())["BTC"].bound((await trade.client.mids())["BTC"] * Decimal(share), buy=True)
    )


def test_orders_are_replaced_one_by_one_and_together(build: str) -> None:
    async def story(trade: Trade) -> None:
        client, price, lower = trade.client, await far(trade), await far(trade, "0.8")
        gtc = TimeInForce.GTC
        placed = await client.place([order(cloid(n), price=price, tif=gtc) for n in (1, 2)])
        assert [type(ack) for ack in placed] == [c.Resting, c.Resting]
        changed = await client.modify(cloid(1), order(cloid(1), price=lower, tif=gtc))
        assert isinstance(changed, c.Resting)
        both = await client.modify_all(
            [(changed.oid, order(cloid(1), price=price, tif=gtc)), (cloid(2), order(cloid(2), price=lower, tif=gtc))],
            always=True,
        )
        assert [type(ack) for ack in both] == [c.Resting, c.Resting]
        assert len(await client.open_orders()) == 2
        gone = await client.cancel([("BTC", cloid(1))], fast=True)
        assert gone == [c.Canceled()]
        [last] = await client.open_orders()
        assert await client.cancel_oids([("BTC", last.oid)]) == [c.Canceled()]

    play(build, story)


def test_an_isolated_position_gets_margin_and_gives_it_back(build: str) -> None:
    async def story(trade: Trade) -> None:
        client = trade.client
        assert await client.set_leverage("BTC", 5, cross=False) == c.LeverageSet(5)
        [filled] = await client.place([order(cloid(1), price=await worst(trade, True))])
        assert isinstance(filled, c.Filled)
        before = (await client.account()).positions["BTC"]
        assert not before.is_cross
        assert await client.change_isolated_margin("BTC", Decimal("25.5")) == c.Done()
        after = (await client.account()).positions["BTC"]
        assert Decimal(20) < after.margin_used_usd - before.margin_used_usd < Decimal(30)
        refused = await client.change_isolated_margin("ETH", Decimal(1))
        assert isinstance(refused, c.Rejected)
        assert refused.code is not ErrorCode.UNKNOWN

    play(build, story)


def test_a_stop_of_the_whole_position_is_placed(build: str) -> None:
    async def story(trade: Trade) -> None:
        client = trade.client
        [filled] = await client.place([order(cloid(1), price=await worst(trade, True))])
        assert isinstance(filled, c.Filled)
        low = Decimal(await far(trade))
        stop = Trigger(price=low, is_stop=True)
        request = order(cloid(2), buy=False, size=str(filled.size), price=str(low), reduce_only=True, trigger=stop)
        [armed] = await client.place([request], grouping=c.Grouping.POSITION)
        assert isinstance(armed, c.Resting | c.Waiting)
        assert [listed.is_stop for listed in await client.open_orders()] == [True]

    play(build, story)


def test_a_twap_runs_is_told_of_and_is_stopped(build: str) -> None:
    async def story(trade: Trade) -> None:
        client = trade.client
        twap = c.TwapRequest(
            symbol="BTC", buy=True, size=Decimal("0.5"), reduce_only=False, minutes=10, randomize=False
        )
        running = await client.place_twap(twap)
        assert isinstance(running, c.TwapRunning)
        await trade.clock.sleep(70)
        slices = await client.queries.twap_fills()
        assert slices
        assert {row.twap_id for row in slices} == {running.twap_id}
        assert await client.cancel_twap("BTC", running.twap_id) == c.Canceled()
        assert await client.cancel_twap("BTC", running.twap_id) == c.AlreadyGone()
        assert [row.state.coin for row in await client.queries.twap_history()][:1] == ["BTC"]
        short = c.TwapRequest(symbol="BTC", buy=True, size=Decimal("0.5"), reduce_only=False, minutes=1)
        refused = await client.place_twap(short)
        assert isinstance(refused, c.Rejected)
        assert refused.code == ErrorCode.TWAP_DURATION

    play(build, story)


def test_what_changes_nothing_or_is_gated_is_answered_in_words_we_know(build: str) -> None:
    async def story(trade: Trade) -> None:
        client = trade.client
        assert await client.noop() == c.Done()
        assert isinstance(await client.action(actions.Noop()), c.Answered)
        gated = await client.schedule_cancel(client.venue_clock.now_ms() + 60_000)
        assert isinstance(gated, c.Rejected)
        assert gated.code == ErrorCode.SCHEDULE_VOLUME
        before = await client.rate_limit()
        assert await client.reserve_request_weight(100) == c.Done()
        after = await client.rate_limit()
        assert after.left > before.left

    play(build, story)


READS: list[tuple[str, Any]] = [
    ("trades", lambda q: q.trades("BTC")),
    ("funding_rates", lambda q: q.funding_rates("BTC", 0)),
    ("predicted_fundings", lambda q: q.predicted_fundings()),
    ("dexs", lambda q: q.dexs()),
    ("spot_meta", lambda q: q.spot_meta()),
    ("plain_open_orders", lambda q: q.plain_open_orders()),
    ("order_history", lambda q: q.order_history()),
    ("latest_fills", lambda q: q.latest_fills()),
    ("spot_balances", lambda q: q.spot_balances()),
    ("limits_of", lambda q: q.limits_of("BTC")),
    ("fees", lambda q: q.fees()),
    ("sub_accounts", lambda q: q.sub_accounts()),
    ("portfolio", lambda q: q.portfolio()),
    ("at_open_interest_cap", lambda q: q.at_open_interest_cap()),
    ("max_market_orders", lambda q: q.max_market_orders()),
    ("all_metas", lambda q: q.all_metas()),
]


def test_the_rarer_reads_are_understood(build: str) -> None:
    async def story(trade: Trade) -> None:
        await trade.client.place([order(cloid(1), price=await worst(trade, True))])
        for name, read in READS:
            assert await read(trade.client.queries) is not None, name
        raw = await trade.client.info({"type": "userRole", "user": ACCOUNT})
        assert raw == {"role": "user"}

    play(build, story)
