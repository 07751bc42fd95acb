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
