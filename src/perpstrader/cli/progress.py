"""Progress of long work, on standard error: a bar where somebody looks at a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

LINE_EVERY_S: Final = 10.0


@contextmanager
def progress_bar(title: str, *, quiet: bool) -> Iterator[Callable[[float], None] | None]:
    """A function that is told the done fraction (0 to 1), or ``None`` where nothing is to be shown."""
    if quiet:
        yield None
    elif not sys.stderr.isatty():
        yield _lines(title)
    else:
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(title, total=1.0)
            yield lambda fraction: bar.update(task, completed=fraction)


def _lines(title: str, now: Callable[[], float] = time.monotonic) -> Callable[[float], None]:
    """Says how far it is every ``LINE_EVERY_S``, and about how long it will take yet."""
    started = told = now()

    def tell(fraction: float) -> None:
        nonlocal told
        if (at := now()) - told >= LINE_EVERY_S:
            told = at
            left = f", about {(at - started) * (1 - fraction) / fraction:.0f} s left" if 0 < fraction < 1 else ""
            print(f"{title}: {fraction:.0%} after {at - started:.0f} s{left}", file=sys.stderr, flush=True)

    return tell
