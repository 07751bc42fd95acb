"""Running the command line inside the test, and a control port with recorded commands behind it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.unit.console.support import FakeCommands

from perpstrader.cli import main
from perpstrader.console import Console
from perpstrader.runtime import AccountLock, SystemClock
from perpstrader.settings import ConsoleSettings
from perpstrader.traces import TraceStore


def run_cli(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, standard output, standard error of one command line."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


@contextmanager
def trader_at(folder: Path) -> Iterator[FakeCommands]:
    """A control port as a running trader has it, in a thread of its own, with the account's lock held."""
    commands, ready, over = FakeCommands(), threading.Event(), threading.Event()
    defaults: dict[str, Any] = {name: field.default for name, field in ConsoleSettings.model_fields.items()}

    async def serve() -> None:
        async with TraceStore.open(folder / "traces.db") as traces:
            settings = ConsoleSettings.model_construct(**(defaults | {"port": 0}))
            console = Console(commands, traces, settings, folder, SystemClock())
            await console.start()
            ready.set()
            await asyncio.get_running_loop().run_in_executor(None, over.wait)
            await console.stop()

    with AccountLock(folder / "lock", "0xabc"):
        thread = threading.Thread(target=lambda: asyncio.run(serve()))
        thread.start()
        try:
            assert ready.wait(60), "the control port did not start"
            yield commands
        finally:
            over.set()
            thread.join(60)
