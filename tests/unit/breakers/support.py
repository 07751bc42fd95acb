"""A clock that a test turns, and breakers that keep what they would write."""

from __future__ import annotations

from random import Random
from typing import Any

from perpstrader.breakers import BreakerSpec, CircuitBreakers
from perpstrader.domain.breakers import BreakerRow
from perpstrader.domain.errors import StateError
from perpstrader.settings import load
from perpstrader.settings.services import BreakerSettings

NAME = "dep"
SPEC = BreakerSpec(name=NAME, threshold=5, period_ms=60_000, window_ms=60_000, guards="it answers")


class Hands:
    """A clock whose time passes when it is told to."""

    def __init__(self) -> None:
        self.ns = 5_000_000_000
        self.wall_ms = 1_700_000_000_000

    def now_ms(self) -> int:
        return self.wall_ms + self.ns // 1_000_000

    def monotonic_ns(self) -> int:
        return self.ns

    async def sleep(self, seconds: float) -> None:
        self.ns += int(seconds * 1e9)

    def pass_ms(self, ms: float) -> None:
        self.ns += int(ms * 1_000_000)


class Draws(Random):
    """Chance that counts how often it is asked, and answers always the same."""

    def __init__(self, value: float = 0.0) -> None:
        super().__init__(0)
        self.value = value
        self.count = 0

    def random(self) -> float:
        self.count += 1
        return self.value


def settings(**changes: Any) -> BreakerSettings:
    """The shipped settings but for ``changes``."""
    return load(None, {}, {f"breakers.{key}": value for key, value in changes.items()}).breakers


class Kept:
    """Breakers of one dependency, with what they queued and committed for the disk."""

    def __init__(
        self, *specs: BreakerSpec, clock: Hands | None = None, rng: Random | None = None, build: Any = CircuitBreakers,
        **changes: Any,
    ) -> None:  # fmt: skip
        self.clock = clock or Hands()
        self.rng = rng or Draws()
        self.queued: list[BreakerRow] = []
        self.committed: list[BreakerRow] = []
        self.disk_works = True
        self.failures: list[tuple[str, Exception]] = []
        self.breakers = build(
            specs or (SPEC,), settings(**changes), self.clock, self.rng, persist=self.queued.append,
            commit=self._commit, on_failure=lambda name, error: self.failures.append((name, error)),
        )  # fmt: skip

    async def _commit(self, row: BreakerRow) -> None:
        if not self.disk_works:
            raise StateError("the disk is full")
        self.committed.append(row)

    def fail(self, count: int = 1, name: str = NAME, error: BaseException | None = None) -> None:
        """So many observed calls fail."""
        for _ in range(count):
            self.breakers.watch(name)()(error or TimeoutError())

    def succeed(self, count: int = 1, name: str = NAME) -> None:
        """So many observed calls succeed."""
        for _ in range(count):
            self.breakers.watch(name)()(None)

    @property
    def state(self) -> str:
        """The state's word."""
        return str(self.breakers.status(NAME).state.value)


async def well() -> str:
    """A dependency that answers."""
    return "well"


async def away() -> str:
    """A dependency that is away."""
    raise ConnectionResetError("connection reset")
