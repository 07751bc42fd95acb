"""A stop by a signal carries out the stated policy within a bound; further signals make nothing worse (S24)."""

from __future__ import annotations

import signal
import time
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest
from tests.e2e.killing import Disk, Exchange, Life, exchange
from tests.e2e.processes import FAST, WAIT_S, program, started, wait_until
from tests.e2e.slow_wire import slow_wire


def positions(venue: Exchange, account: str) -> dict[str, Decimal]:
    """What the venue holds for the account."""
    rows = venue.info(type="clearinghouseState", user=account)["assetPositions"]
    return {row["position"]["coin"]: Decimal(row["position"]["szi"]) for row in rows}


def stops(venue: Exchange, account: str) -> dict[str, tuple[int, str]]:
    """The stops that the venue lists: order id and size by coin."""
    rows = venue.info(type="frontendOpenOrders", user=account)
    return {row["coin"]: (row["oid"], row["sz"]) for row in rows if row["isTrigger"] and "Stop" in row["orderType"]}


def traded(folder: Path, venue: Exchange, port: int, **more: str) -> tuple[Life, str]:
    """A trader that holds something; its account."""
    life = Life(folder, port, **more)
    life.until_ready()
    account = str(life.control().get("/api/status")["account"])
    wait_until(lambda: bool(positions(venue, account)), life.process, look_s=0.02)
    return life, account


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_S24_a_stop_by_a_signal_keeps_positions_and_a_restart_goes_on_with_the_same_stops(
    number: signal.Signals, tmp_path: Path
) -> None:
    with exchange(tmp_path / "exchange") as venue:
        life, account = traded(tmp_path, venue, venue.port)
        life.control().post("/api/halt", {"reason": "nothing new, so that both lives can be compared"})
        life.process.send_signal(number)
        assert life.process.wait(WAIT_S) == 0
        said = life.output()
        assert "stopping: entries are taken back, positions keep their stops (at most 120 s)" in said
        assert "stop by policy keep" in said
        assert said.splitlines()[-1].startswith("stopped: ")
        assert not venue.unprotected(account)
        held, listed = positions(venue, account), stops(venue, account)
        episodes = [row["id"] for row in Disk.of_dead(tmp_path).rows["episodes"] if row["ended_ms"] is None]
        again = Life(tmp_path, venue.port)
        again.until_ready()
        assert (positions(venue, account), stops(venue, account)) == (held, listed)
        now = Disk.of_living(tmp_path)
        assert [row["id"] for row in now.rows["episodes"] if row["ended_ms"] is None] == episodes
        again.kill()


def test_S24_a_stop_by_policy_flatten_leaves_nothing_and_a_second_signal_is_told_so(tmp_path: Path) -> None:
    with exchange(tmp_path / "exchange") as venue, slow_wire(venue.port, Random(3)) as wire:
        life, account = traded(tmp_path, venue, wire.port, PERPSTRADER_TRADER__STOP_POLICY="flatten")
        wire.late_s = 0.3
        life.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "stopping: positions are closed" in life.output(), life.process, look_s=0.02)
        life.process.send_signal(signal.SIGTERM)
        assert life.process.wait(WAIT_S) == 0
        assert "still stopping, for " in life.output()
        assert positions(venue, account) == {}
        assert stops(venue, account) == {}


def test_S24_a_third_signal_ends_the_process_and_the_next_start_finds_everything(tmp_path: Path) -> None:
    with exchange(tmp_path / "exchange") as venue, slow_wire(venue.port, Random(4)) as wire:
        life, account = traded(tmp_path, venue, wire.port, PERPSTRADER_TRADER__STOP_POLICY="flatten")
        wire.late_s = 2.0
        life.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "stopping: " in life.output(), life.process, look_s=0.02)
        life.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "still stopping" in life.output(), life.process, look_s=0.02)
        life.process.send_signal(signal.SIGTERM)
        assert life.process.wait(WAIT_S) == -signal.SIGTERM
        wire.late_s = 0.0
        time.sleep(2.5)  # what was under way has arrived
        again = Life(tmp_path, wire.port)
        again.until_ready()
        wait_until(lambda: not venue.unprotected(account), again.process, look_s=0.02)
        again.kill()


def test_S24_a_stop_that_cannot_carry_out_its_policy_says_what_is_left_and_exits_4(tmp_path: Path) -> None:
    with exchange(tmp_path / "exchange") as venue, slow_wire(venue.port, Random(5)) as wire:
        more = {"PERPSTRADER_TRADER__STOP_POLICY": "flatten", "PERPSTRADER_TRADER__STOP_DEADLINE_MS": "500"}
        life, account = traded(tmp_path, venue, wire.port, **more)
        wire.late_s = 5.0
        life.process.send_signal(signal.SIGTERM)
        assert life.process.wait(WAIT_S) == 4
        last = life.output().splitlines()[-1]
        assert "not everything that the stop is for was done: stop by policy flatten" in last
        assert "0.5 s of trader.stop_deadline_ms" in last
        assert not venue.unprotected(account)


def test_a_stop_while_a_start_waits_for_weight_ends_it_at_once(tmp_path: Path) -> None:
    little = {"PERPSTRADER_CLIENT__WEIGHT_PER_MINUTE": "500"}
    first = program("run", "--duration", "1s", *FAST, "--json", "--data-dir", tmp_path, **little)
    assert first.returncode == 0, first.stderr
    with started("run", *FAST, "--json", "--data-dir", tmp_path, **little) as second:
        assert second.stderr is not None
        assert "earlier starts used up the weight" in second.stderr.readline()
        second.send_signal(signal.SIGTERM)
        asked_s = time.monotonic()
        out, err = second.communicate(timeout=WAIT_S)
    assert time.monotonic() - asked_s < 10
    assert (second.returncode, out) == (1, "")
    assert err.splitlines()[0].startswith("stopping: ")
    assert "stopped before it had started: nothing was sent" in err.splitlines()[-1]
