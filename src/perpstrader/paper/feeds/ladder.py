"""Valid prices and the levels of a made-up book, in integers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from perpstrader.paper.engine.assets import EngineAsset
from perpstrader.paper.engine.market import Level


class Ticks:
    """The price step of one coin, asked of its asset once per decade of the price."""

    __slots__ = ("_asset", "_high", "_low", "_tick")

    def __init__(self, asset: EngineAsset) -> None:
        self._asset = asset
        self._low = self._high = 0
        self._tick = 1

    def at(self, price: int) -> int:
        """The step that is valid at ``price``."""
        if not self._low <= price < self._high:
            self._tick = self._asset.tick(max(price, 1))
            self._low = int(10 ** (len(str(max(price, 1))) - 1))
            self._high = self._low * 10
        return self._tick

    def down(self, price: int) -> int:
        """The highest valid price at or below ``price``, at least one unit."""
        tick = self.at(price)
        return max(price - price % tick, 1)

    def up(self, price: int) -> int:
        """The lowest valid price at or above ``price``, at least one unit."""
        tick = self.at(price)
        return max(-(-price // tick) * tick, 1)

    def near(self, price: float) -> int:
        """The valid price nearest to ``price``, at least one unit; rounding keeps the order of prices."""
        whole = round(price)
        tick = self.at(whole)
        return max((whole + tick // 2) // tick * tick, 1)


def ladder(ticks: Ticks, best: int, step: int, sizes: Iterable[int], *, rising: bool) -> tuple[Level, ...]:
    """Levels from the valid price ``best`` away from the middle, each on a valid tick of its own.

    They lie ``step`` (a multiple of the tick) apart. A level of no size or no positive price is left out.
    """
    lots: Sequence[int] = tuple(sizes)
    tick = ticks.at(best)
    if not rising:
        # A price below has the same tick or a finer one, which the coarser divides.
        return tuple([Level(best - step * n, size) for n, size in enumerate(lots) if size > 0 and best - step * n > 0])
    if ticks.at(best + step * len(lots)) == tick:
        return tuple([Level(best + step * n, size) for n, size in enumerate(lots) if size > 0])
    levels: list[Level] = []
    for n, size in enumerate(lots):
        price = ticks.up(best + step * n)
        if size > 0 and (not levels or price > levels[-1].price):
            levels.append(Level(price, size))
    return tuple(levels)
