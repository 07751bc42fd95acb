"""The same seed gives the same run to the last byte, in this process and in another; another seed does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import ROOT
from tests.scenario import replayed
from tests.scenario.kit import Stage, go, leave, play
from tests.scenario.market import Bar, calm

from perpstrader.domain import Side
from perpstrader.paper.server import LatencyModel
from perpstrader.simulate.watch import Watch


def test_the_same_seed_gives_the_same_run_and_another_one_with_latency_another(test_data: Path) -> None:
    first, fills = replayed.fingerprint(test_data, days=1, seed=1, latency=True)
    assert fills >= 4
    assert replayed.fingerprint(test_data, days=1, seed=1, latency=True) == (first, fills)
    assert replayed.fingerprint(test_data, days=1, seed=2, latency=True)[0] != first
    assert replayed.fingerprint(test_data, days=1, seed=1, latency=False)[0] != first


def test_it_does_not_depend_on_how_a_process_hashes(test_data: Path) -> None:
    assert _elsewhere(test_data, hash_seed="0") == _elsewhere(test_data, hash_seed="1")


def _elsewhere(test_data: Path, *, hash_seed: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.scenario.replayed", str(test_data)], cwd=ROOT, check=True, capture_output=True,
        text=True, env={**os.environ, "PYTHONHASHSEED": hash_seed},
    )  # fmt: skip
    digest, fills = done.stdout.split()
    assert len(digest) == 64
    assert int(fills) >= 10
    return digest


def _scripted() -> str:
    async def act(stage: Stage) -> str:
        await stage.bar(8)
        return stage.world.watch.fingerprint

    script = {("BTC", 1): go(Side.LONG, 58_800, 63_000), ("BTC", 5): leave}
    bars = [*calm(60_000, 3), Bar(path=(60_100, 60_300, 60_200)), *calm(60_200)]
    return play({"BTC": bars}, {"alpha": script}, act, latency=LatencyModel())


def test_a_scenario_too_is_the_same_again() -> None:
    assert _scripted() == _scripted()


def test_the_proof_fails_where_memory_addresses_get_into_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    add = Watch._add

    def with_address(self: Watch, kind: str, value: object) -> None:
        """Mutant: what differs from run to run is part of the record."""
        add(self, kind, [id(self), str(kind)])

    monkeypatch.setattr(Watch, "_add", with_address)
    kept = [_scripted()]
    with pytest.raises(AssertionError):
        assert kept[0] == _scripted()
