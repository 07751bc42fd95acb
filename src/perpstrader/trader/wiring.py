"""The wires between parts that need each other: each part is given a wire when it is built, and the other end is tied
last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perpstrader.domain import HaltKind, Refusal
from perpstrader.execution import Note
from perpstrader.runtime import Clock
from perpstrader.trader.counters import RunCounters

if TYPE_CHECKING:
    from perpstrader.trader.recorder import Recorder
    from perpstrader.trader.trader import Trader


class Wiring:
    """Calls the recorder and the trader that are tied in while a trader is built; ``trader.build`` ties both."""

    recorder: Recorder
    trader: Trader

    def __init__(self, clock: Clock, counters: RunCounters) -> None:
        self._clock = clock
        self._counters = counters

    def failed(self, name: str, error: Exception) -> None:
        """A loop or task failed."""
        self._tell("failure", f"{name}: {type(error).__name__}: {error}", grave=True)

    def gap(self, text: str) -> None:
        """Something could not be recorded."""
        self._counters.trace_gaps += 1
        self._tell("trace-gap", text, grave=True)

    def note(self, kind: str, text: str) -> None:
        """Something that an operator should know."""
        self._tell(kind, text, grave=False)

    def gate(self, symbol: str) -> Refusal | None:
        """See ``Trader.gate``."""
        return self.trader.gate(symbol)

    async def halt(self, kind: HaltKind, reason: str) -> None:
        """See ``Trader.halt_in_time``."""
        await self.trader.halt_in_time(kind, reason)

    def implausible(self, symbol: str, text: str) -> None:
        """See ``Trader.on_implausible``."""
        self.trader.on_implausible(symbol, text)

    def halted(self) -> str | None:
        """See ``Trader.halted``."""
        return self.trader.halted()

    def _tell(self, kind: str, text: str, *, grave: bool) -> None:
        self.recorder.take(Note(time_ms=self._clock.now_ms(), kind=kind, symbol="", text=text, grave=grave))
