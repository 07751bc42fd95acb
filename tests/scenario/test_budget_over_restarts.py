"""A trader that crashes again and again keeps the venue's minute all the same, and its position its stop (S18)."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from tests.scenario.kit import Script, Stage, go, play
from tests.scenario.market import calm

from perpstrader.domain import PerpsTraderError, Side
from perpstrader.simulate.conduct import WitnessedWeights
from perpstrader.venue.budget import IpBudget

LONG: Script = {("BTC", 1): go(Side.LONG, 57_000, 66_000)}
CRASHES = 6


def crash_often(path: Path) -> list[tuple[bool, str]]:
    """What was judged of the venue's minute over several crashes, seconds apart."""
    judged: list[tuple[bool, str]] = []

    async def act(stage: Stage) -> None:
        venue = stage.world.venue
        venue.config = msgspec.structs.replace(venue.config, enforce_ip_limits=True)
        venue.world.weights = WitnessedWeights(lambda invariant, kept, text: judged.append((kept, text)))
        await stage.bar(2)
        stop = stage.stop_of("BTC")
        for _ in range(CRASHES):
            await stage.crash()
            await stage.seconds(1)
            await _start_by_and_by(stage)
            await stage.seconds(1)
        await stage.seconds(30)
        assert stage.stop_of("BTC").oid == stop.oid
        assert stage.halts() == []

    play({"BTC": calm(60_000)}, {"alpha": LONG}, act, state_path=path / "state.db")
    return judged


async def _start_by_and_by(stage: Stage) -> None:
    """As a supervisor would: a start that finds no room in the minute is made again."""
    for _ in range(60):
        try:
            await stage.start_again()
            return
        except PerpsTraderError:
            await stage.crash()
            await stage.seconds(2)
    raise AssertionError("the trader did not start")


def test_S18_a_loop_of_crashes_stays_within_the_minute_of_the_venue(tmp_path: Path) -> None:
    judged = crash_often(tmp_path)
    assert judged, "a good part of the minute was used"
    assert [text for kept, text in judged if not kept] == []


def test_S18_the_proof_fails_where_a_start_does_not_count_what_its_predecessor_spent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(IpBudget, "load", lambda self, text: None)
    assert [text for kept, text in crash_often(tmp_path) if not kept]
