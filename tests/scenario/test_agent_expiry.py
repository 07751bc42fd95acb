"""The key that signs is an agent's, which ends: entries stop 48 hours before, exits and stops never do (S72)."""

from __future__ import annotations

from random import Random

import pytest
from tests.scenario.kit import SEED, Stage, play
from tests.scenario.market import calm

from perpstrader.domain import Reason, Side, UnsafeError
from perpstrader.simulate.watch import Watch
from perpstrader.simulate.world import simulated_identity
from perpstrader.trader.account import Identity
from perpstrader.trader.agent import NO_ENTRIES_MS, AgentLease
from perpstrader.trader.build import Deps, build_trader
from perpstrader.trader.trader import REAL_TIME
from perpstrader.venue.signer import Signer

KEY = "0x" + "5a" * 32
AGENT = Signer(KEY, mainnet=False).address


async def with_agent(stage: Stage, name: str) -> None:
    """The stage's account goes on under an agent's key, approved as ``name``."""
    agents = stage.world.venue.world.agents
    assert agents.approve(stage.user, AGENT, name, stage.clock.now_ms()) is None
    old = stage.trader
    await old._supervisor.stop()
    await old._pool.stop()
    deps = Deps(
        clock=stage.clock, rng=Random(SEED), transport=stage.world.transport, store=old.store,
        traces=old.recorder._store, identity=Identity(private_key=KEY, account=simulated_identity(SEED).account),
        is_virtual=True, pace=REAL_TIME, observer=Watch(),
    )  # fmt: skip
    stage.trader, stage.commands = await build_trader(stage.world.settings, deps)
    await stage.trader.start()


def _entries_stop() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(1)
        ends_ms = stage.clock.now_ms() + NO_ENTRIES_MS + 20_000
        await with_agent(stage, f"bot valid_until {ends_ms}")
        assert stage.trader.agent.expires_ms == ends_ms
        first = await stage.signal("BTC", Side.LONG)
        assert first.done, first.text
        assert stage.position("BTC") > 0
        await stage.seconds(40)
        refused = await stage.signal("ETH", Side.LONG)
        assert not refused.done
        said = "AGENT_EXPIRES: 47 h until the agent's key expires, limit 48 h (approve a new agent"
        assert said in refused.text
        assert stage.position("ETH") == 0
        assert "AGENT_EXPIRES" in stage.commands.status().why_not
        [note] = stage.notes("agent-expires")
        assert note.grave
        assert stage.stop_of("BTC")
        assert (await stage.commands.close("BTC", "before it ends", actor="tester")).done
        assert stage.position("BTC") == 0

    play({"BTC": calm(60_000), "ETH": calm(3_000)}, {}, act, overrides={"risk.min_history_bars": 1})


def test_S72_entries_stop_48_hours_before_the_agents_key_expires_and_exits_go_on() -> None:
    _entries_stop()


def test_S72_the_proof_fails_where_the_gate_does_not_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AgentLease, "refusal", lambda self: None)
    with pytest.raises(AssertionError):
        _entries_stop()


def test_S72_an_agent_without_a_name_is_taken_though_the_venue_does_not_tell_its_end() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(1)
        await with_agent(stage, "")
        assert stage.trader.agent.expires_ms is None
        assert (await stage.signal("BTC", Side.LONG)).done
        refusal = stage.trader.execution.refusal("BTC")
        assert refusal is None or refusal.reason is not Reason.AGENT_EXPIRES

    play({"BTC": calm(60_000)}, {}, act)


def test_S72_a_key_that_is_nobodys_agent_does_not_start() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(1)
        agents = stage.world.venue.world.agents
        agents.approve(stage.user, AGENT, "bot", stage.clock.now_ms())
        agents.restore([])
        deps = Deps(
            clock=stage.clock, rng=Random(SEED), transport=stage.world.transport, store=stage.trader.store,
            traces=stage.trader.recorder._store, identity=Identity(private_key=KEY, account=stage.user),
            is_virtual=True, pace=REAL_TIME, observer=Watch(),
        )  # fmt: skip
        with pytest.raises(UnsafeError, match="no agent of"):
            await build_trader(stage.world.settings, deps)

    play({"BTC": calm(60_000)}, {}, act)
