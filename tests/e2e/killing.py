"""A trader that is killed while the exchange goes on, and what must hold after each restart, read from both sides."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import apsw
from tests.e2e.processes import command, environment, free_port, started, wait_until

from perpstrader.cli.control import Control, find
from perpstrader.console import read_run_file
from perpstrader.domain.cloids import read_cloid

BUSY = f"{Path(__file__).with_name('busy.py')}:Busy"
LOOSE = {
    "PERPSTRADER_RISK__MAX_ENTRIES_PER_DAY": "100000", "PERPSTRADER_RISK__MAX_ENTRIES_PER_SYMBOL_DAY": "100000",
    "PERPSTRADER_RISK__MAX_ENTRIES_PER_MINUTE": "1000", "PERPSTRADER_RISK__LOSS_STREAK_LIMIT": "100000",
    "PERPSTRADER_RISK__MIN_STOP_ATR_RATIO": "0.01", "PERPSTRADER_RISK__MAX_ORDER_NOTIONAL_FRACTION": "0.02",
    "PERPSTRADER_RISK__DAILY_LOSS_ENTRY_STOP_FRACTION": "0.8", "PERPSTRADER_RISK__MAX_DAILY_LOSS_FRACTION": "0.9",
    "PERPSTRADER_RISK__DRAWDOWN_HALVE_FRACTION": "0.8", "PERPSTRADER_RISK__MAX_DRAWDOWN_FRACTION": "0.9",
    "PERPSTRADER_RISK__VOLATILITY_STOP_FRACTION": "1", "PERPSTRADER_RISK__VOLATILITY_REDUCE_FRACTION": "1",
    "PERPSTRADER_PAPER__BALANCE_USD": "100000",
}  # fmt: skip
"""Limits wide enough that a strategy may trade all the time."""


class Exchange:
    """The paper exchange as a process of its own, and what it says of one account."""

    def __init__(self, url: str, process: subprocess.Popen[str]) -> None:
        self.url = url
        self.process = process
        self.fills: dict[int, dict[str, Any]] = {}
        self.oids: dict[str, set[int]] = defaultdict(set)
        self.cloids: dict[int, str] = {}

    def info(self, **question: Any) -> Any:
        """The answer of ``/info``."""
        request = urllib.request.Request(
            f"{self.url}/info", data=json.dumps(question).encode(), headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())

    def look(self, account: str) -> None:
        """Read the account's fills and orders; each cloid's order ids are kept over all looks."""
        for row in self.info(type="historicalOrders", user=account):
            order = row["order"]
            if order["cloid"]:
                self.oids[order["cloid"]].add(order["oid"])
                self.cloids[order["oid"]] = order["cloid"]
        start = max((fill["time"] for fill in self.fills.values()), default=0)
        while True:
            rows = self.info(type="userFillsByTime", user=account, startTime=start)
            new = [row for row in rows if row["tid"] not in self.fills]
            self.fills.update((row["tid"], row) for row in new)
            if not new:
                return
            start = max(row["time"] for row in rows)

    def unprotected(self, account: str) -> list[str]:
        """The coins whose position has no listed reduce-only stop of at least its size; one snapshot of the venue."""
        data = self.info(type="webData2", user=account)
        stops: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        for order in data["openOrders"]:
            if order["isTrigger"] and order["reduceOnly"] and "Stop" in order["orderType"]:
                key = order["coin"], order["side"]
                stops[key] = max(stops[key], Decimal(order["sz"]))
        bare = []
        for row in data["clearinghouseState"]["assetPositions"]:
            size = Decimal(row["position"]["szi"])
            coin, side = row["position"]["coin"], "A" if size > 0 else "B"
            if stops[coin, side] < abs(size):
                bare.append(f"{coin} {size}")
        return bare


@contextmanager
def exchange(folder: Path, **more: str) -> Iterator[Exchange]:
    """A paper exchange that outlives traders."""
    port = free_port()
    env = {"PERPSTRADER_PAPER__ENFORCE_LIMITS": "false", **more}
    with started("paper", "--port", str(port), "--bar", "250ms", "--data-dir", folder, **env) as process:
        assert process.stdout is not None
        assert f"http://127.0.0.1:{port}" in process.stdout.readline(), process.communicate()
        yield Exchange(f"http://127.0.0.1:{port}", process)


class Disk:
    """What ``state.db`` holds: of a dead trader from a copy, so that the next start meets the files as they were left;
    of a living one beside its writer.
    """

    def __init__(self, rows: dict[str, list[dict[str, Any]]]) -> None:
        self.rows = rows

    @classmethod
    def of_dead(cls, folder: Path) -> Disk:
        """The files as a killed process left them."""
        with tempfile.TemporaryDirectory() as copy:
            for name in ("state.db", "state.db-wal"):
                if (folder / name).exists():
                    (Path(copy) / name).write_bytes((folder / name).read_bytes())
            return cls._read(apsw.Connection(str(Path(copy) / "state.db")))

    @classmethod
    def of_living(cls, folder: Path) -> Disk:
        """One consistent moment beside the writer."""
        connection = apsw.Connection(str(folder / "state.db"), flags=apsw.SQLITE_OPEN_READONLY)
        connection.set_busy_timeout(5_000)
        return cls._read(connection)

    @classmethod
    def _read(cls, connection: apsw.Connection) -> Disk:
        try:
            connection.execute("BEGIN")
            names = [str(row[0]) for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            rows: dict[str, list[dict[str, Any]]] = {}
            for name in names:
                columns = [str(row[1]) for row in connection.execute(f"PRAGMA table_info({name})")]
                found = connection.execute(f"SELECT * FROM {name}")
                rows[name] = [dict(zip(columns, row, strict=True)) for row in found]
            return cls(rows)
        finally:
            connection.close()

    def halts(self) -> list[tuple[Any, ...]]:
        """The halts in force."""
        return [
            (row["kind"], row["since_ms"], row["reason"], row["actor"])
            for row in self.rows["halts"] if row["released_ms"] is None
        ]  # fmt: skip

    def day(self) -> tuple[Any, ...]:
        """The day, and what its loss is measured from."""
        (row,) = self.rows["risk_state"]
        body = json.loads(row["body"])
        return row["day"], body.get("day_start_equity_usd"), body.get("loss_streak")

    def attempts(self) -> dict[str, tuple[int, int]]:
        """Exit and recovery attempts of each episode."""
        return {row["id"]: (row["exit_attempts"], row["recovery_attempts"]) for row in self.rows["episodes"]}

    def fills(self) -> dict[int, dict[str, Any]]:
        """The ledger's fills by trade id."""
        return {row["tid"]: row for row in self.rows["fills"]}


class Life:
    """One process of the trader, from its start until it is killed."""

    def __init__(self, folder: Path, venue: Exchange, **more: str) -> None:
        env = environment(
            **LOOSE, HYPERLIQUID_BASE_URL=venue.url, HOME=str(folder), PERPSTRADER_TRADER__STRATEGIES=BUSY, **more
        )
        self.folder = folder
        self.began = time.monotonic()
        self._output = (folder / "output").open("w+")
        self.process = subprocess.Popen(
            command("run", "--bar", "250ms", "--data-dir", folder), stdout=self._output, stderr=subprocess.STDOUT,
            text=True, env=env, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def until_ready(self) -> None:
        """The trader says that it runs, which it does when it has compared and protected."""
        wait_until(self._is_ready, self.process, look_s=0.01)

    def _is_ready(self) -> bool:
        run = read_run_file(self.folder)
        return run is not None and run.pid == self.process.pid

    def control(self) -> Control:
        """Its control port."""
        control = find(self.folder)
        assert control is not None
        return control

    def kill(self) -> None:
        """As a power cut of the process alone: no signal handler, no goodbye."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._output.close()


class Round:
    """What one kill and its restart showed."""

    def __init__(self, folder: Path, venue: Exchange, account: str) -> None:
        self.folder, self.venue, self.account = folder, venue, account

    def check(self, before: Disk, life: Life) -> float:
        """Everything that must hold after a restart; seconds from the start of the process to all protected."""
        wait_until(lambda: not self.venue.unprotected(self.account), life.process, look_s=0.01)
        protected_s = time.monotonic() - life.began
        self.venue.look(self.account)
        seen = set(self.venue.fills)
        wait_until(lambda: seen <= set(Disk.of_living(self.folder).fills()), life.process)
        now = Disk.of_living(self.folder)
        self.venue.look(self.account)
        assert now.halts() == before.halts()
        assert now.day()[:2] == before.day()[:2]
        self._attempts(before, now)
        self._breakers(before, now)
        self._fills(now)
        self._orders(now)
        return protected_s

    def _attempts(self, before: Disk, now: Disk) -> None:
        after = now.attempts()
        for episode, counts in before.attempts().items():
            assert after[episode] >= counts, f"{episode}: attempts {counts} before, {after[episode]} after"

    def _breakers(self, before: Disk, now: Disk) -> None:
        """Whatever breakers were remembered before are remembered still."""
        for table in (name for name in before.rows if name.startswith("breaker")):
            names = {row["name"] for row in before.rows[table]}
            assert names <= {row["name"] for row in now.rows[table]}

    def _fills(self, now: Disk) -> None:
        """No fill is lost, none is invented, none is changed."""
        for tid, row in now.fills().items():
            theirs = self.venue.fills[tid]
            assert (Decimal(row["price"]), Decimal(row["size"])) == (Decimal(theirs["px"]), Decimal(theirs["sz"]))
            assert Decimal(row["closed_pnl_usd"]) == Decimal(theirs["closedPnl"])
            assert Decimal(row["fee_usd"]) == Decimal(theirs["fee"])

    def _orders(self, now: Disk) -> None:
        """Each cloid is one order at the venue, each is ours, and no intent was filled for more than its size."""
        double = {cloid: oids for cloid, oids in self.venue.oids.items() if len(oids) > 1}
        assert not double, f"sent twice: {double}"
        sizes = {row["number"]: Decimal(json.loads(row["body"])["size"]) for row in now.rows["intents"]}
        filled: dict[int, Decimal] = defaultdict(Decimal)
        for fill in self.venue.fills.values():
            cloid = self.venue.cloids.get(fill["oid"])
            parts = read_cloid(cloid)
            if parts is not None and parts.recorded:
                assert parts.number in sizes, f"the venue filled {cloid}, whose intent was never on disk"
                filled[parts.number] += Decimal(fill["sz"])
        over = {number: (size, sizes[number]) for number, size in filled.items() if size > sizes[number]}
        assert not over, f"filled beyond the intent: {over}"


def pause(rng: Random) -> float:
    """Seconds that a trader lives on; now and then none."""
    return rng.choice((0.0, rng.uniform(0.0, 0.3), rng.uniform(0.3, 1.2)))
