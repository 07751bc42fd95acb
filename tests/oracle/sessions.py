"""Sessions of clients that nobody here wrote, each a program of its own, against a ``perpstrader paper`` process."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.e2e.processes import WAIT_S, free_port, started, wait_until

HERE = Path(__file__).parent


@contextmanager
def paper_exchange(data_dir: Path, settings: Mapping[str, str]) -> Iterator[str]:
    """The URL of ``perpstrader paper``; the venue's limits are off, so that nobody waits."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    quick = {"PERPSTRADER_PAPER__ENFORCE_LIMITS": "false", **settings}
    with started("paper", "--port", str(port), "--data-dir", str(data_dir), **quick) as process:
        wait_until(lambda: _answers(url), process)
        yield url


def answers_of(program: str, factory: pytest.TempPathFactory, worker: str, **settings: str) -> dict[str, Any]:
    """What that program of this folder was answered; it runs once for all workers of a test run together.

    ``settings`` are variables of the exchange's environment, ``worker`` is pytest-xdist's ``worker_id``.
    """
    base = factory.getbasetemp()
    kept = (base if worker == "master" else base.parent) / f"session-{program}.json"
    with kept.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            with paper_exchange(factory.mktemp("paper"), settings) as url:
                kept.write_text(_output(program, url))
    said: dict[str, Any] = json.loads(kept.read_text())
    return said


def _output(program: str, url: str) -> str:
    client = subprocess.run(
        [sys.executable, str(HERE / program), url], capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert client.returncode == 0, client.stderr
    return client.stdout


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/paper/status", timeout=5).ok
    except requests.RequestException:
        return False
