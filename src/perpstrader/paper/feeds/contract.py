"""What every feed promises: a market as a sequence of instants, the same for the same files and seed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from typing import Literal, Protocol, runtime_checkable

import msgspec

from perpstrader.domain.errors import PerpsTraderError, UsageError
from perpstrader.paper.engine.assets import EngineAsset
from perpstrader.paper.engine.market import BarClose, MarketUpdate

Grade = Literal["synthetic", "candle", "bbo", "book"]
"""How much of the market was really recorded; a report prints it. Candle grade is no evidence of profit."""


class FeedError(PerpsTraderError):
    """A recorded or generated market that cannot be used; the sentence names the file, the row and the rule."""


class IntervalError(FeedError, UsageError):
    """A length of bars that there is not; the sentence names those that there are."""


class FeedStep(msgspec.Struct, frozen=True, kw_only=True):
    """All that happens at one instant: apply ``updates``, then ``funding``, then publish ``bars``.

    ``funding`` holds (coin, hourly rate as a fraction; positive: longs pay) of an hour that ends here; of a feed that
    never gives any, the engine's own premium samples make the rate. ``quiet_skippable`` says that an account without
    position, order or request in flight cannot tell whether the step was applied at its time, at once, or never.
    """

    time_ms: int
    updates: tuple[MarketUpdate, ...] = ()
    bars: tuple[BarClose, ...] = ()
    funding: tuple[tuple[str, Decimal], ...] = ()
    quiet_skippable: bool = False


class FeedReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a run was made of; ``bars`` are those published, an ambiguous one had stop and target both in reach."""

    grade: Grade
    bars: int
    ambiguous_bars: int
    halted_bars: int
    gaps: int


def never_quiet() -> bool:
    """The answer of a caller that does not know whether its account is quiet: no step is left out."""
    return False


@runtime_checkable
class Arriving(Protocol):
    """A feed that is not made as it is asked for, but arrives."""

    def arriving(self) -> AsyncIterator[FeedStep]:
        """The market from now on; each step belongs to the moment at which it comes."""


class Feed(Protocol):
    """The market of some coins; its steps rise strictly in time and follow from files, settings, seed and callbacks."""

    @property
    def assets(self) -> tuple[EngineAsset, ...]:
        """The coins, in the order of their index."""

    @property
    def interval(self) -> str:
        """Name of the bars that ``steps`` publishes, such as ``5m``."""

    @property
    def start_ms(self) -> int:
        """Time of the first step."""

    @property
    def end_ms(self) -> int | None:
        """Time of the last step; ``None`` for a market without end."""

    @property
    def grade(self) -> Grade:
        """How much of it was recorded."""

    def steps(
        self, position_sign: Callable[[str], int], is_quiet: Callable[[], bool] = never_quiet
    ) -> Iterator[FeedStep]:
        """The market from its beginning, one instant after the other, made as it is asked for.

        ``position_sign(coin)`` is -1, 0 or 1, asked when a recorded bar turns, so that its path can go against the
        account. ``is_quiet()`` is asked when a step may be left out; it may say True only while the account holds
        nothing, nothing rests and nothing is in flight.
        """

    def history(self, coin: str, interval: str, before_ms: int, limit: int) -> list[BarClose]:
        """At most ``limit`` newest bars that closed before ``before_ms``, oldest first; nothing later can show in them.

        ``interval`` is the feed's own or a multiple of it; raises ``FeedError`` for another or for an unknown coin.
        """

    def day_volume(self, coin: str, before_ms: int) -> int:
        """Lots traded in the day before ``before_ms``; what is known of a day only in part is scaled up to a day."""

    def report(self, ambiguous_bars: int = 0) -> FeedReport:
        """What the run was made of so far; the caller hands in the count that it kept with ``bars.ambiguous``."""
