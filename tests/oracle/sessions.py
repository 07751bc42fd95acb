"""Sessions of clients that nobody here wrote, each a program of its own, on the paper exchange: another process, or a
port of this one where a test sets the rules.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.e2e.processes import WAIT_S, free_port, started, wait_until

from perpstrader.paper.engine import EngineConfig, Exchange
from perpstrader.paper.feeds import SyntheticFeed
from perpstrader.paper.server import PaperVenue
from perpstrader.paper.server.http import serve
from perpstrader.runtime import SystemClock

HERE = Path(__file__).parent


@contextmanager
def paper_exchange(data_dir: Path) -> Iterator[str]:
    """The URL of ``perpstrader paper``; the venue's limits are off, so that nobody waits."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    quick = {"PERPSTRADER_PAPER__ENFORCE_LIMITS": "false"}
    with started("paper", "--port", str(port), "--data-dir", str(data_dir), **quick) as process:
        wait_until(lambda: _answers(url), process)
        yield url


def answers_of(program: str, factory: pytest.TempPathFactory, worker: str) -> dict[str, Any]:
    """What that program of this folder was answered by ``perpstrader paper``; ``worker`` is pytest-xdist's."""

    def session() -> str:
        with paper_exchange(factory.mktemp("paper")) as url:
            return asyncio.run(_output(program, url))

    return _once(program, factory, worker, session)


def answers_under(config: EngineConfig, program: str, factory: pytest.TempPathFactory, worker: str) -> dict[str, Any]:
    """The same on an exchange with that configuration."""
    return _once(program, factory, worker, lambda: asyncio.run(_served(config, program)))


def _once(program: str, factory: pytest.TempPathFactory, worker: str, session: Callable[[], str]) -> dict[str, Any]:
    """Run it for all workers of a test run together."""
    base = factory.getbasetemp()
    kept = (base if worker == "master" else base.parent) / f"session-{program}.json"
    with kept.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            kept.write_text(session())
    said: dict[str, Any] = json.loads(kept.read_text())
    return said


async def _served(config: EngineConfig, program: str) -> str:
    feed = SyntheticFeed(3, time.time_ns() // 1_000_000, symbols=("BTC", "ETH"))
    venue = PaperVenue(Exchange(feed.assets, config), feed, SystemClock())
    server = await serve(venue, port=0)
    try:
        async with asyncio.TaskGroup() as group:
            market = group.create_task(venue.run())
            try:
                return await _output(program, server.url)
            finally:
                market.cancel()
    finally:
        await server.close()


async def _output(program: str, url: str) -> str:
    client = await asyncio.create_subprocess_exec(
        sys.executable, str(HERE / program), url, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        async with asyncio.timeout(WAIT_S):
            output, errors = await client.communicate()
    finally:
        if client.returncode is None:
            client.kill()
    assert client.returncode == 0, errors.decode()
    return output.decode()


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/paper/status", timeout=5).ok
    except requests.RequestException:
        return False
