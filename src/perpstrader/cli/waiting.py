"""A command that may take a while: somebody who waits is told every two seconds, and may ask again for its answer."""

from __future__ import annotations

import secrets
import sys
import threading
import time
from typing import Any, Final

from perpstrader.cli.control import Control
from perpstrader.cli.exits import CliError, ExitCode
from perpstrader.domain.wording import plural

TOLD_EVERY_S: Final = 2.0
_KEY_BYTES: Final = 4


def new_key() -> str:
    """A name for one command, under which its answer can be asked for again."""
    return secrets.token_hex(_KEY_BYTES)


def carry_out(control: Control, path: str, body: dict[str, Any], *, what: str, again: str = "") -> Any:
    """The trader's answer to a command; while it works, a line on stderr every two seconds says what is still open.

    ``again`` is the command line that asks once more for the answer of the same command, where there is one.
    """
    found: dict[str, Any] = {}

    def ask() -> None:
        try:
            found["answer"] = control.post(path, body)
        except Exception as error:
            found["error"] = error

    worker = threading.Thread(target=ask, name=what, daemon=True)
    started = time.monotonic()
    worker.start()
    while worker.is_alive():
        worker.join(TOLD_EVERY_S)
        if worker.is_alive():
            waited = round(time.monotonic() - started)
            print(f"{what}: {_open_positions(control)} ({waited} s)", file=sys.stderr, flush=True)
    error = found.get("error")
    if isinstance(error, CliError) and error.code == ExitCode.UNREACHABLE and again:
        raise CliError(f"{error}; ask again for its answer with `{again}`", ExitCode.UNREACHABLE) from error
    if error is not None:
        raise error
    return found["answer"]


def _open_positions(control: Control) -> str:
    """What the trader still holds, or that it does not say."""
    try:
        rows = control.get("/api/positions", timeout_s=TOLD_EVERY_S)
    except CliError:
        return "the trader does not answer just now; it goes on"
    names = ", ".join(str(row["symbol"]) for row in rows)
    return f"{plural(len(rows), 'position')} still open: {names}" if rows else "no position is open; verifying"
