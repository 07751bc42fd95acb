"""The whole benchmark once, as a person runs it: every component, every answer right. No time is asserted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

WAIT_S = 400


@pytest.fixture(scope="module")
def quick(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Where it ran, and what ``bench --quick --json`` printed."""
    folder = tmp_path_factory.mktemp("bench")
    temporary = folder / "temporary"
    temporary.mkdir()
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PERPSTRADER_", "HYPERLIQUID_"))}
    env |= {"PERPSTRADER_TEST_DATA": str(test_data), "TMPDIR": str(temporary), "HOME": str(folder)}
    line = [sys.executable, "-m", "perpstrader", "bench", "--quick", "--json", "--report", str(folder / "bench.html")]
    done = subprocess.run(
        line, capture_output=True, text=True, timeout=WAIT_S, env=env, cwd=folder, stdin=subprocess.DEVNULL, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, json.loads(done.stdout)


def test_BM09_every_answer_of_every_component_is_right(quick: tuple[Path, dict[str, Any]]) -> None:
    rows = quick[1]["rows"]
    assert {row["component"] for row in rows} == {"traces", "recovery", "breakers", "risk", "client", "monitor"}
    assert [row["row"] for row in rows if row["parity"] is not True] == []
    assert all(row["baseline"] > 0 and row["n"] >= 5 for row in rows)


def test_each_component_stands_beside_its_limit(quick: tuple[Path, dict[str, Any]]) -> None:
    rows = quick[1]["rows"]
    limited = {row["component"] for row in rows if row["row"].startswith("limit-")}
    assert limited == {row["component"] for row in rows}


def test_a_row_without_a_second_build_has_no_ratio(quick: tuple[Path, dict[str, Any]]) -> None:
    for row in quick[1]["rows"]:
        compared = [row[name] is not None for name in ("optimized", "ratio", "ratio_low", "ratio_high")]
        assert len(set(compared)) == 1, row["row"]
        assert (row["met"] is not None) == (compared[0] and row["claim"] is not None), row["row"]


def test_BM02_it_writes_its_report_and_nothing_else(quick: tuple[Path, dict[str, Any]]) -> None:
    folder = quick[0]
    assert sorted(path.name for path in folder.iterdir()) == ["bench.html", "temporary"]
    assert list((folder / "temporary").iterdir()) == []
