"""A command that may take a while: who waits is told soon and then on, and may ask again for its answer."""

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
_OFTEN: Final = 5
"""Lines so often at first, then one in the time of as many."""

_KEY_BYTES: Final = 4


def new_key() -> str:
    """A name for one command, under which its answer can be asked for again."""
    return secrets.token_hex(_KEY_BYTES)


def carry_out(control: Control, path: str, body: dict[str, Any], *, what: str, again: str = "") -> Any:
    """The trader's answer to a command; while it works, lines on stderr say what is still open.

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
        waited = time.monotonic() - started
        worker.join(TOLD_EVERY_S if waited < _OFTEN * TOLD_EVERY_S else _OFTEN * TOLD_EVERY_S)
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
        status = control.get("/api/status", timeout_s=TOLD_EVERY_S)
    except CliError:
        return "the trader does not answer just now; it goes on"
    rows = status["positions"]
    names = ", ".join(str(row["symbol"]) for row in rows)
    text = f"{plural(len(rows), 'position')} still open: {names}" if rows else "no position is open; verifying"
    return text if status.get("unreachable_since_ms") is None else f"{text}; the venue does not answer"
