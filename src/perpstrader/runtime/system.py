"""Real time: the system's event loop, ``uvloop`` where the platform has it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run_system(main: Coroutine[Any, Any, T]) -> T:
    """The result of ``main``, run to its end; what it left behind is cancelled before this returns."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(main)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # the platform has none; asyncio's own does the same, a little slower
        return None
    return uvloop.new_event_loop
