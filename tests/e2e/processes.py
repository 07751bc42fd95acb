"""The program as processes: started, waited for, asked, and its answers; waits are generous and never asserted."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

WAIT_S = 120
FAST = ("--bar", "250ms")


def environment(**more: str) -> dict[str, str]:
    """Ours without settings that the caller's shell may hold; the control port takes a free port."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PERPSTRADER_", "HYPERLIQUID_"))}
    return kept | {"PERPSTRADER_CONSOLE__PORT": "0", "COLUMNS": "200"} | more


def command(*arguments: str | Path) -> list[str]:
    """The command line of the program with these arguments."""
    return [sys.executable, "-m", "perpstrader", *map(str, arguments)]


def program(*arguments: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    """One command line, to its end."""
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=WAIT_S, env=environment(**more),
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


@contextmanager
def started(*arguments: str | Path, **more: str) -> Iterator[subprocess.Popen[str]]:
    """A process that goes on by itself; killed at the end if it is still there."""
    process = subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(**more)
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_until(true: Callable[[], bool], process: subprocess.Popen[str], *, look_s: float = 0.1) -> None:
    """Until it is so; fails when the process ends before, with what it said."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        if true():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(look_s)
    raise AssertionError("it did not come to that in time")


def one_sentence(done: subprocess.CompletedProcess[str]) -> str:
    """Standard error, which is one line and no stack trace; nothing was printed."""
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def free_port() -> int:
    """A port of this machine that nobody listened on a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
