"""Signals to a running verb: the first asks for a graceful stop, the second hears what goes on, the third ends it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Final

_ASKING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def say_on_stderr(text: str) -> None:
    """One line for whoever stops the program."""
    print(text, file=sys.stderr, flush=True)


def watch_signals(
    stop: asyncio.Event,
    what: str,
    *,
    say: Callable[[str], None] = say_on_stderr,
    leave: Callable[[], None] = lambda: None,
) -> None:
    """Ctrl-C, SIGTERM and a closed terminal set ``stop``; ``what`` is said to go on until the program has ended.

    A third signal ends the process at once, after ``leave``, as if nobody had watched it. A SIGHUP that was ignored at
    the start (``nohup``) stays so.
    """
    loop = asyncio.get_running_loop()
    asked_s: list[float] = []

    def ask(number: signal.Signals) -> None:
        asked_s.append(loop.time())
        stop.set()
        if len(asked_s) == 1:
            say(f"stopping: {what}")
        elif len(asked_s) == 2:
            since = asked_s[1] - asked_s[0]
            say(f"still stopping, for {since:.1f} s now: {what}; a third signal ends it at once and leaves that undone")
        else:
            leave()
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    for number in _ASKING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, ask, number)
