"""Another process holds the record's lock for seconds while a trader trades: orders flow on, and it says so."""

from __future__ import annotations

import json
import signal
import sqlite3
import statistics
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.e2e.killing import BUSY, LOOSE
from tests.e2e.processes import FAST, WAIT_S, program, started, wait_until
from tests.unit.traces.test_failures import held

_SENT = (
    "SELECT intents.signal_id, orders.sent_ms FROM orders JOIN intents USING (number)"
    " WHERE intents.purpose = 'entry' ORDER BY orders.seq"
)


def sent(folder: Path) -> list[int]:
    """Of the entries that went out so far, the milliseconds from the close of the bar that they answer."""
    if not (folder / "state.db").exists():
        return []
    with closing(sqlite3.connect(folder / "state.db", timeout=10)) as connection:
        try:
            rows = connection.execute(_SENT).fetchall()
            return [sent_ms - int(signal_id.split(":")[2]) - 1 for signal_id, sent_ms in rows]
        except sqlite3.OperationalError:
            return []


@pytest.mark.parametrize("build", ["baseline", "optimized"])
def test_S62_a_lock_of_seconds_on_the_record_holds_no_order_up(
    build: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    settings = LOOSE | {"PERPSTRADER_TRADER__STRATEGIES": BUSY, "PERPSTRADER_ROLLOUT__TRACES": build}
    with started("run", *FAST, "--data-dir", tmp_path, **settings) as trader:
        wait_until(lambda: len(sent(tmp_path)) >= 12, trader)
        before = len(sent(tmp_path))
        with held(tmp_path / "traces.db") as other:
            wait_until(lambda: len(sent(tmp_path)) >= before + 12, trader)
            during = len(sent(tmp_path))
            assert other.stdin is not None
            other.stdin.write("go\n")
            other.stdin.flush()
        wait_until(lambda: len(sent(tmp_path)) >= during + 6, trader)
        trader.send_signal(signal.SIGTERM)
        out, err = trader.communicate(timeout=WAIT_S)
    assert (trader.returncode, err) == (0, "")
    assert "locked by another process" in out
    delays = sent(tmp_path)
    quiet, locked = delays[:before] + delays[during:], delays[before:during]
    for name, some in (("quiet", quiet), ("locked", locked)):
        record_property(f"{name}_orders", len(some))
        record_property(f"{name}_bar_to_order_ms_p50", statistics.median(some))
        record_property(f"{name}_bar_to_order_ms_max", max(some))
    assert json.loads(program("traces", "verify", "--json", "--data-dir", tmp_path).stdout)["ok"]
    if build == "optimized":  # what waited for the lock is there: each order of that time has its decision
        rows = json.loads(program("traces", "list", "--limit", "9999", "--json", "--data-dir", tmp_path).stdout)
        executed = [row for row in rows["traces"] if row["executed"] and row["kind"] == "decision"]
        assert len(executed) >= during
