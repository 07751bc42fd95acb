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
from typing import Any, ClassVar

import apsw
from tests.e2e.processes import command, environment, free_port, started, wait_until

from perpstrader.cli.control import Control, find
from perpstrader.console import read_run_file
from perpstrader.domain.cloids import read_cloid
from perpstrader.state import utc_day

BUSY = f"{Path(__file__).with_name('busy.py')}:Busy"
BAR = "250ms"
LOOSE = {
    "PERPSTRADER_RISK__MAX_ENTRIES_PER_DAY": "100000", "PERPSTRADER_RISK__MAX_ENTRIES_PER_SYMBOL_DAY": "100000",
    "PERPSTRADER_RISK__MAX_ENTRIES_PER_MINUTE": "1000", "PERPSTRADER_RISK__LOSS_STREAK_LIMIT": "100000",
    "PERPSTRADER_RISK__MIN_STOP_ATR_RATIO": "0.01", "PERPSTRADER_RISK__MAX_ORDER_NOTIONAL_FRACTION": "0.02",
    "PERPSTRADER_RISK__DAILY_LOSS_ENTRY_STOP_FRACTION": "0.8", "PERPSTRADER_RISK__MAX_DAILY_LOSS_FRACTION": "0.9",
    "PERPSTRADER_RISK__DRAWDOWN_HALVE_FRACTION": "0.8", "PERPSTRADER_RISK__MAX_DRAWDOWN_FRACTION": "0.9",
    "PERPSTRADER_RISK__MAX_ENTRIES_PER_SYMBOL_HOUR": "100000", "PERPSTRADER_RISK__MAX_SIGNALS_PER_MINUTE": "100000",
    "PERPSTRADER_RISK__DUPLICATE_ENTRY_WINDOW_MS": "0", "PERPSTRADER_RISK__EXIT_COOLDOWN_MS": "0",
    "PERPSTRADER_RISK__LOSS_COOLDOWN_MS": "0", "PERPSTRADER_RISK__FAILED_ENTRY_COOLDOWN_MS": "0",
    "PERPSTRADER_RISK__MIN_HISTORY_BARS": "1", "PERPSTRADER_RISK__MAX_BAR_AGE_RATIO": "100",
    "PERPSTRADER_RISK__VOLATILITY_STOP_FRACTION": "1", "PERPSTRADER_RISK__VOLATILITY_REDUCE_FRACTION": "1",
    "PERPSTRADER_PAPER__BALANCE_USD": "100000", "PERPSTRADER_EXECUTION__ENTRY_EXPIRY_MS": "2000",
}  # fmt: skip
"""Limits wide enough that a strategy may trade all the time."""


class Exchange:
    """The paper exchange as a process of its own, and what it says of one account."""

    def __init__(self, port: int, process: subprocess.Popen[str]) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.process = process
        self.fills: dict[int, dict[str, Any]] = {}
        self.oids: dict[str, set[int]] = defaultdict(set)
        self.cloids: dict[int, str] = {}
        self.shown: Any = None

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
        self.shown = data["openOrders"], data["clearinghouseState"]["assetPositions"]
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
    with started("paper", "--port", str(port), "--bar", BAR, "--data-dir", folder, **env) as process:
        assert process.stdout is not None
        assert f"http://127.0.0.1:{port}" in process.stdout.readline(), process.communicate()
        try:
            yield Exchange(port, process)
        finally:
            for life in Life.begun:
                life.kill()
            Life.begun.clear()


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

    def was_halted(self, time_ms: int) -> bool:
        """Whether a halt was in force then."""
        return any(
            row["since_ms"] < time_ms and (row["released_ms"] is None or time_ms < row["released_ms"])
            for row in self.rows["halts"]
        )

    def latched(self) -> list[dict[str, Any]]:
        """The breakers that an operator opened."""
        return [row for row in self.rows["breakers"] if row["state"] == "latched"]

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


def tried_in_vain(folder: Path) -> None:
    """A dead trader's store says that recovery has tried its open positions twice, which seldom happens by itself."""
    connection = apsw.Connection(str(folder / "state.db"))
    connection.execute("UPDATE episodes SET recovery_attempts = 2 WHERE ended_ms IS NULL").fetchall()
    connection.close()


@contextmanager
def _hearing_hangups() -> Iterator[None]:
    """Whoever runs the tests may be deaf to them, as under ``nohup``, and a child would inherit that."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


class Life:
    """One process of the trader, from its start until it is killed; at the latest when the exchange ends.

    The exchange keeps no limits, and so the trader knows of none: a minute's weight is enough for a few starts only,
    and the next one would wait for the minute to end.
    """

    begun: ClassVar[list[Life]] = []

    def __init__(self, folder: Path, port: int, **more: str) -> None:
        url = f"http://127.0.0.1:{port}"
        env = environment(
            **LOOSE, PERPSTRADER_PAPER__ENFORCE_LIMITS="false", HYPERLIQUID_BASE_URL=url, HOME=str(folder),
            PERPSTRADER_TRADER__STRATEGIES=BUSY, **more,
        )  # fmt: skip
        self.folder = folder
        self.began = time.monotonic()
        self._output = (folder / "output").open("w+")
        with _hearing_hangups():
            self.process = subprocess.Popen(
                command("run", "--bar", BAR, "--data-dir", folder), stdout=self._output, stderr=subprocess.STDOUT,
                text=True, env=env, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        self.begun.append(self)

    def until_ready(self) -> None:
        """The trader says that it runs, which it does when it has compared and protected."""
        try:
            wait_until(self._is_ready, self.process, look_s=0.01)
        except AssertionError:
            raise AssertionError(f"the trader did not start: {self.output()[-2_000:]}") from None

    def _is_ready(self) -> bool:
        run = read_run_file(self.folder)
        return run is not None and run.pid == self.process.pid

    def control(self) -> Control:
        """Its control port."""
        control = find(self.folder)
        assert control is not None
        return control

    def output(self) -> str:
        """What it has printed so far."""
        return (self.folder / "output").read_text()

    def kill(self) -> None:
        """As a power cut of the process alone: no signal handler, no goodbye."""
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._output.close()


class Round:
    """What one kill and its restart showed."""

    def __init__(self, folder: Path, venue: Exchange, account: str) -> None:
        self.folder, self.venue, self.account = folder, venue, account

    def check(self, before: Disk, life: Life) -> None:
        """Everything that must hold after a restart whose positions are protected again."""
        now, shown, seen = self.read(life)
        assert now.halts() == before.halts()
        assert now.day()[:2] == before.day()[:2]
        self._attempts(before, now)
        assert now.latched() == before.latched()
        assert {row["name"] for row in before.rows["breakers"]} <= {row["name"] for row in now.rows["breakers"]}
        self.compare_fills(now)
        self._orders(now, shown, seen)

    def read(self, life: Life) -> tuple[Disk, list[str], set[int]]:
        """The store when it has all fills that the venue showed; the cloids and trade ids shown before."""
        self.venue.look(self.account)
        seen, shown = set(self.venue.fills), list(self.venue.oids)
        wait_until(lambda: seen <= set(Disk.of_living(self.folder).fills()), life.process)
        now = Disk.of_living(self.folder)
        self.venue.look(self.account)
        return now, shown, seen

    def _attempts(self, before: Disk, now: Disk) -> None:
        after = now.attempts()
        for episode, (exits, recoveries) in before.attempts().items():
            assert after[episode][0] >= exits, f"{episode}: {exits} exit attempts before, {after[episode][0]} after"
            assert after[episode][1] >= recoveries, f"{episode}: recovery attempts are forgotten"

    def compare_fills(self, now: Disk) -> None:
        """No fill is lost, none is invented, none is changed, and the days add up to them."""
        days: dict[str, Decimal] = defaultdict(Decimal)
        for tid, row in now.fills().items():
            theirs = self.venue.fills[tid]
            assert (Decimal(row["price"]), Decimal(row["size"])) == (Decimal(theirs["px"]), Decimal(theirs["sz"]))
            assert Decimal(row["closed_pnl_usd"]) == Decimal(theirs["closedPnl"])
            assert Decimal(row["fee_usd"]) == Decimal(theirs["fee"])
            days[utc_day(theirs["time"])] += Decimal(theirs["closedPnl"]) - Decimal(theirs["fee"])
        for row in now.rows["ledger_days"]:
            assert Decimal(row["closed_pnl_usd"]) - Decimal(row["fees_usd"]) == days[row["day"]]

    def _orders(self, now: Disk, shown: list[str], seen: set[int]) -> None:
        """Each cloid is one order at the venue; each that it showed before the disk was read is ours, and none was an
        entry under a halt; no intent was filled for more than its size.
        """
        double = {cloid: oids for cloid, oids in self.venue.oids.items() if len(oids) > 1}
        assert not double, f"sent twice: {double}"
        intents = {row["number"]: row for row in now.rows["intents"]}
        for cloid in shown:
            parts = read_cloid(cloid)
            assert parts is not None
            if parts.recorded:
                assert parts.number in intents, f"{cloid} is at the venue, and its intent was never on disk"
                row = intents[parts.number]
                made_ms = row["created_ms"]
                assert row["purpose"] != "entry" or not now.was_halted(made_ms), f"{cloid} was an entry under a halt"
        filled: dict[int, Decimal] = defaultdict(Decimal)
        for tid in seen:
            fill = self.venue.fills[tid]
            parts = read_cloid(self.venue.cloids.get(fill["oid"]))
            if parts is not None and parts.recorded:
                filled[parts.number] += Decimal(fill["sz"])
        sizes = {number: Decimal(json.loads(intents[number]["body"])["size"]) for number in filled}
        over = {number: (size, sizes[number]) for number, size in filled.items() if size > sizes[number]}
        assert not over, f"filled beyond the intent: {over}"
