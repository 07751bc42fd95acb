"""How much the paper exchange takes on its port, and that its memory does not grow with it."""

from __future__ import annotations

import faulthandler
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.blast import USER, asked
from tests.e2e.processes import environment, free_port, started, wait_until

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = 50_000
WHOLE = 1_000_000
CHUNK = 10_000
GROWTH_BYTES = 48_000_000
"""What may still be added once every bounded history is full: allocators keep what they were lent."""

DISK_BYTES = 60_000_000
"""Whatever was sent: the file keeps what the exchange remembers of its one account, and a log that is reused."""


def _rss(pid: int) -> int:
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _answers(url: str) -> bool:
    try:
        asked(url, "/info", {"type": "exchangeStatus"})
    except OSError:
        return False
    return True


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads a process's memory from /proc (Linux)")
def test_the_exchange_takes_signed_actions_by_the_thousand_and_its_memory_stays_flat(
    tmp_path: Path, prove: bool, record_property: Callable[[str, object], None]
) -> None:
    faulthandler.cancel_dump_traceback_later()  # a million takes longer than any other test may
    total, port = WHOLE if prove else SAMPLE, free_port()
    url = f"http://127.0.0.1:{port}"
    limits_off = {"PERPSTRADER_PAPER__ENFORCE_LIMITS": "false", "PERPSTRADER_FEED__SPEED": "1"}
    with started("paper", "--port", str(port), "--data-dir", tmp_path, **limits_off) as server:
        wait_until(lambda: _answers(url), server)
        client = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.blast", url, str(total), str(CHUNK)], cwd=ROOT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(),
        )  # fmt: skip
        assert client.stdout is not None
        assert client.stderr is not None
        chunks: list[dict[str, Any]] = []
        sizes: list[int] = []
        begun_s = _cpu_s(server.pid)
        for line in client.stdout:
            chunks.append(json.loads(line))
            sizes.append(_rss(server.pid))
        assert client.wait() == 0, client.stderr.read()
        spent_s = _cpu_s(server.pid) - begun_s
        fills = asked(url, "/info", {"type": "userFills", "user": USER})
    on_disk = sum(path.stat().st_size for path in tmp_path.glob("paper.db*"))
    assert on_disk < DISK_BYTES, on_disk
    assert chunks[-1]["done"] == total
    assert sum(chunk["refused"] for chunk in chunks) == 0
    assert isinstance(fills, list)
    assert len(fills) == 2_000
    # Histories are full within 15,000 actions (10,000 fills, 2,000 orders).
    full = sizes[1]
    assert max(sizes) - full < GROWTH_BYTES, [size // 1_000_000 for size in sizes]
    rates = sorted(CHUNK / chunk["seconds"] for chunk in chunks)
    record_property("actions", total)
    record_property("actions a second", f"{total / sum(chunk['seconds'] for chunk in chunks):.0f}")
    record_property("slowest and fastest 10,000", f"{rates[0]:.0f} to {rates[-1]:.0f}")
    record_property("actions a second of the server's CPU", f"{total / spent_s:.0f}")
    record_property("its file, MB", f"{on_disk / 1e6:.0f}")
    record_property("memory of the server, MB", f"{full / 1e6:.0f} full, {sizes[-1] / 1e6:.0f} at the end")
