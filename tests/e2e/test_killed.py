"""``kill -9`` of a trader at random moments while the exchange goes on; each restart is checked from the venue's side."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from tests.e2e.killing import Disk, Exchange, Life, Round, exchange, pause

SEED = 20_250_203


def test_S10_S11_S20_S40_S54_S55_a_killed_trader_goes_on_with_nothing_lost_doubled_or_bare(
    tmp_path: Path, prove: bool, record_property: Callable[[str, object], None]
) -> None:
    rounds, rng = (200 if prove else 20), Random(SEED)
    with exchange(tmp_path / "exchange") as venue:
        figures = _rounds(tmp_path / "trader", venue, rounds, rng)
    times = sorted(figures)
    print(f"{rounds} kills, start to protected: p50 {times[len(times) // 2]:.2f} s, worst {times[-1]:.2f} s")
    record_property("rounds", rounds)


def _rounds(folder: Path, venue: Exchange, rounds: int, rng: Random) -> list[float]:
    folder.mkdir()
    times: list[float] = []
    life = Life(folder, venue)
    life.until_ready()
    account = life.control().get("/api/status")["account"]
    for number in range(rounds):
        time.sleep(pause(rng))
        life.kill()
        before = Disk.of_dead(folder)
        life = Life(folder, venue)
        life.until_ready()
        times.append(Round(folder, venue, account).check(before, life))
    life.kill()
    print(len(venue.fills), "fills", len(venue.oids), "orders")
    return times
