"""The doctor asks the venue itself, over the wire: clock, key, mode, funds, limits, symbols; nothing is sent."""

from __future__ import annotations

from typing import Any

from tests.scenario.kit import SEED, Stage, play
from tests.scenario.market import calm

from perpstrader.runtime import Answer, InlineExecutor
from perpstrader.settings import Settings, load
from perpstrader.simulate.world import simulated_identity
from perpstrader.trader.account import Identity
from perpstrader.trader.agent import HOUR_MS
from perpstrader.trader.doctor import Grade, Patient, Row, examine, venue_checks
from perpstrader.trader.doctor.venue import planned_weight
from perpstrader.venue.signer import Signer

KEY = "0x" + "5a" * 32
AGENT = Signer(KEY, mainnet=False).address


async def looked_at(stage: Stage, settings: Settings | None = None, **changes: Any) -> dict[str, Row]:
    identity = changes.pop("identity", None) or simulated_identity(SEED)
    transport = changes.pop("transport", None) or stage.world.transport
    patient = Patient(settings or stage.world.settings, transport, changes.pop("clock", stage.clock), identity)
    rows = await examine(venue_checks(patient), threads=lambda name: InlineExecutor())
    return {row.check: row for row in rows}


def on_stage(act: Any) -> None:
    play({"BTC": calm(60_000), "ETH": calm(3_000)}, {}, act)


def test_an_account_that_is_ready_is_fine_in_every_row_and_nothing_was_sent() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(1)
        sent = len(stage.engine.historical_orders(stage.user))
        rows = await looked_at(stage)
        assert {row.grade for row in rows.values()} == {Grade.OK}, rows
        assert rows["funds"].text.startswith("equity 1000 USD, 0 positions open")
        assert "the account's own key signs" in rows["key"].text
        assert len(stage.engine.historical_orders(stage.user)) == sent

    on_stage(act)


def test_S72_an_agents_key_is_judged_by_how_long_it_may_still_sign() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(1)
        agents, now_ms = stage.world.venue.world.agents, stage.clock.now_ms()
        identity = Identity(private_key=KEY, account=stage.user)
        stranger = (await looked_at(stage, identity=identity))["key"]
        assert (stranger.grade, "no agent of" in stranger.text) == (Grade.FAIL, True)
        for hours, grade in ((30, Grade.FAIL), (100, Grade.WARN), (1_000, Grade.OK)):
            assert agents.approve(stage.user, AGENT, f"bot valid_until {now_ms + hours * HOUR_MS}", now_ms) is None
            row = (await looked_at(stage, identity=identity))["key"]
            assert row.grade is grade, row
        agents.restore([])
        assert agents.approve(stage.user, AGENT, "", now_ms) is None
        nameless = (await looked_at(stage, identity=identity))["key"]
        assert (nameless.grade, "without a name" in nameless.text) == (Grade.WARN, True)

    on_stage(act)


def test_an_account_that_cannot_hold_anything_on_this_network_is_told_and_why() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(1)
        agents, now_ms = stage.world.venue.world.agents, stage.clock.now_ms()
        empty = Identity(private_key=KEY, account=AGENT)
        row = (await looked_at(stage, identity=empty))["account"]
        assert (row.grade, "'missing' on paper: nobody has ever paid in" in row.text) == (Grade.FAIL, True)
        assert agents.approve(stage.user, AGENT, f"bot valid_until {now_ms + 1_000 * HOUR_MS}", now_ms) is None
        row = (await looked_at(stage, identity=empty))["account"]
        assert (row.grade, f"of {stage.user}: an agent holds nothing" in row.text) == (Grade.FAIL, True)

    on_stage(act)


def test_S39_of_a_unified_account_it_is_told_where_the_equity_is() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(1)
        row = (await looked_at(stage, transport=Unified(stage.world.transport)))["account mode"]
        assert row.grade is Grade.FAIL
        assert "mode unifiedAccount" in row.text
        assert "1234.5 USDC are in the spot account" in row.text

    on_stage(act)


def test_a_plan_that_takes_most_of_the_share_of_reads_is_warned_about() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(1)
        values = {"data.dir": "/nonexistent", "trader.symbols": ["BTC"], "client.weight_per_minute": 300}
        row = (await looked_at(stage, load(None, {}, values)))["limits"]
        assert (row.grade, "of 300 a minute, of which 240 are for reads" in row.text) == (Grade.WARN, True)

    on_stage(act)


class Unified:
    """The venue, with an account whose collateral is in its spot balances."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def post(self, path: str, body: bytes, *, timeout_s: float) -> Answer:
        if b"userAbstraction" in body:
            return Answer(200, b'"unifiedAccount"')
        if b"spotClearinghouseState" in body:
            usdc = b'{"coin":"USDC","token":0,"total":"1234.5","hold":"0.0","entryNtl":"0.0"}'
            return Answer(200, b'{"balances":[' + usdc + b"]}")
        answer: Answer = await self._inner.post(path, body, timeout_s=timeout_s)
        return answer


class Proxy:
    """A proxy that answers everything with its own page."""

    async def post(self, path: str, body: bytes, *, timeout_s: float) -> Answer:
        return Answer(502, b"<html><head><title>502 Bad Gateway</title></head></html>")


def test_a_venue_that_does_not_answer_fails_once_and_the_rest_is_not_asked() -> None:
    async def act(stage: Stage) -> None:
        rows = await looked_at(stage, transport=Proxy())
        assert rows["clock"].grade is Grade.FAIL
        assert "the venue answered 502: a web page in place of an answer (502 Bad Gateway)" in rows["clock"].text
        assert {row.grade for name, row in rows.items() if name != "clock"} == {Grade.SKIPPED}

    on_stage(act)


def test_what_is_wrong_with_clock_funds_symbols_and_limits_is_said_with_the_limit() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(1)
        values = {"data.dir": "/nonexistent", "trader.symbols": ["BTC", "ETHH"], "risk.min_equity_usd": "5000"}
        rows = await looked_at(stage, load(None, {}, values))
        assert (rows["symbols"].grade, rows["symbols"].remedy) == (Grade.FAIL, "did you mean ETH?")
        assert rows["funds"].text == "equity 1000 USD, 0 positions open, limit 5000 USD"
        assert rows["funds"].grade is Grade.FAIL

        class Ahead:
            def now_ms(self) -> int:
                return stage.clock.now_ms() + 60_000

        wrong = (await looked_at(stage, clock=Ahead()))["clock"]
        assert (wrong.grade, wrong.text.startswith("-60000 ms from the venue's")) == (Grade.FAIL, True)

    on_stage(act)


def test_the_plan_of_requests_grows_with_the_pace_of_the_comparisons() -> None:
    slow, fast = (load(None, {}, {"execution.reconcile_interval_ms": ms}) for ms in (30_000, 5_000))
    assert planned_weight(slow) < planned_weight(fast)
    assert 0 < planned_weight(slow) < 600
