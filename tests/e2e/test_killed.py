"""``kill -9`` of a trader at random moments while the exchange goes on; each restart is checked from the venue's side.

Between the two is a wire with a delay, so that a kill often finds orders under way; some of them arrive when the next
process already runs.
"""

from __future__ import annotations

import faulthandler
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

from tests.e2e.killing import Disk, Exchange, Life, Round, exchange, tried_in_vain
from tests.e2e.processes import wait_until
from tests.e2e.slow_wire import SlowWire, slow_wire

from perpstrader.cli.exits import CliError

SEED = 20_250_203
LATE_S = 1.0
ORDER_WAIT_S = 1.5


def test_S10_S11_S20_S40_S54_S55_a_killed_trader_goes_on_with_nothing_lost_doubled_or_bare(
    tmp_path: Path, prove: bool, record_property: Callable[[str, object], None]
) -> None:
    rounds, rng = (200 if prove else 20), Random(SEED)
    with exchange(tmp_path / "exchange") as venue, slow_wire(venue.port, Random(SEED + 1)) as wire:
        run = Kills(tmp_path / "trader", venue, wire, rng)
        run.play(rounds)
    times = sorted(run.protected_s)
    record_property("kills", rounds)
    record_property("kills_before_ready", run.unready)
    record_property("start_to_protected_p50_s", round(times[len(times) // 2], 2))
    record_property("start_to_protected_p99_s", round(times[min(len(times) - 1, len(times) * 99 // 100)], 2))
    record_property("longest_seen_without_stop_s", round(run.bare_s, 2))
    record_property("halts_kept", run.latches)
    record_property("recovery_attempts_kept", run.attempts)
    record_property("load_average", round(os.getloadavg()[0], 1))
    record_property("orders", len(venue.oids))
    record_property("fills", len(venue.fills))


class Kills:
    """Lives of one trader's store, each ended by ``kill -9``."""

    def __init__(self, folder: Path, venue: Exchange, wire: SlowWire, rng: Random) -> None:
        self.folder, self.venue, self.wire, self.rng = folder, venue, wire, rng
        self.protected_s: list[float] = []
        self.bare_s = 0.0
        self.unready = 0
        self.account = ""
        self.latches = 0
        self.attempts = 0

    def play(self, rounds: int) -> None:
        """So many kills; the last trader is killed too."""
        faulthandler.cancel_dump_traceback_later()  # at full size this takes longer than any other test may
        self.folder.mkdir()
        life = Life(self.folder, self.wire.port)
        life.until_ready()
        self.account = life.control().get("/api/status")["account"]
        for number in range(rounds):
            self._command(life, number)
            self._watch(life, self.rng.uniform(0.0, 1.0), at_an_order=self.rng.random() < 0.5)
            self._kill(life)
            if self.rng.random() < 0.15:
                self._kill_in_the_start()
            if number % 7 == 5:
                tried_in_vain(self.folder)
            before = Disk.of_dead(self.folder)
            self.attempts += sum(attempts for _, attempts in before.attempts().values()) if number % 7 == 5 else 0
            assert len(before.latched()) == len(before.halts()) == (number % 7 == 3)
            life = Life(self.folder, self.wire.port)
            life.until_ready()
            wait_until(lambda: not self.venue.unprotected(self.account), life.process, look_s=0.01)
            self.protected_s.append(time.monotonic() - life.began)
            Round(self.folder, self.venue, self.account).check(before, life)
        self._kill(life)

    def _kill(self, life: Life) -> None:
        """Now; in every fourth case what is on the wire arrives when the next process may already run."""
        if self.rng.random() < 0.25:
            self.wire.late_s = LATE_S
            time.sleep(self.rng.uniform(0.02, 0.3))
        life.kill()
        self.wire.late_s = 0.0

    def _kill_in_the_start(self) -> None:
        life = Life(self.folder, self.wire.port)
        time.sleep(self.rng.uniform(0.1, 0.8))
        self.unready += 1
        life.kill()

    def _command(self, life: Life, number: int) -> None:
        """An operator's halt and a breaker opened by hand now and then, on disk when they are answered; their release a
        life later.
        """
        reason = {"reason": f"round {number}"}
        if number % 7 == 3:
            self._recover(life, reason)
            assert life.control().post("/api/halt", reason)["done"]
            assert life.control().post("/api/breakers/venue/open", reason)["done"]
            self.latches += 1
        elif number % 7 == 4:
            assert life.control().post("/api/breakers/venue/reset", reason)["done"]
            token = life.control().post("/api/prepare", {"action": "resume", "arguments": reason})["token"]
            assert life.control().post("/api/resume", {**reason, "token": token})["done"]

    def _recover(self, life: Life, reason: dict[str, str]) -> None:
        """Half of a position is taken out by recovery, which counts that; its strategy may be quicker and close it."""
        wait_until(lambda: bool(life.control().get("/api/positions")), life.process, look_s=0.05)
        for row in life.control().get("/api/positions"):
            with suppress(CliError):
                life.control().post(f"/api/positions/{row['symbol']}/recover", {**reason, "action": "reduce"})

    def _watch(self, life: Life, seconds: float, *, at_an_order: bool) -> None:
        """Let it trade, until the venue shows something new where that is wanted; how long a position was seen without
        its stop is a figure.
        """
        end, bare_since, shown = time.monotonic() + seconds, 0.0, None
        while (now := time.monotonic()) < end + at_an_order * ORDER_WAIT_S:
            assert life.process.poll() is None
            bare = self.venue.unprotected(self.account)
            bare_since = (bare_since or now) if bare else 0.0
            if bare_since:
                self.bare_s = max(self.bare_s, now - bare_since)
            if at_an_order and now > end and shown not in (None, [len(part) for part in self.venue.shown]):
                time.sleep(self.rng.uniform(0.0, 0.03))
                return
            shown = [len(part) for part in self.venue.shown]
            time.sleep(0.01)
