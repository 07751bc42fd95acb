"""Bars and views for the tests of strategies."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

from perpstrader.domain import Candle, MarketSnapshot, MarketView, Position, Side, Signal
from perpstrader.strategies import BaseStrategy

BAR_MS = 60_000


def bar(
    number: int, close: float, *, high: float | None = None, low: float | None = None, symbol: str = "BTC"
) -> Candle:
    """Bar ``number`` of a one-minute series."""
    price = Decimal(str(close))
    return Candle(
        symbol=symbol,
        interval="1m",
        open_ms=number * BAR_MS,
        close_ms=(number + 1) * BAR_MS - 1,
        open=price,
        high=price if high is None else Decimal(str(high)),
        low=price if low is None else Decimal(str(low)),
        close=price,
        volume=Decimal(1),
    )


def bars(closes: Iterable[float], *, spread: float = 0.5, symbol: str = "BTC") -> list[Candle]:
    """A series with these closes, each bar reaching ``spread`` to both sides."""
    return [bar(n, x, high=x + spread, low=x - spread, symbol=symbol) for n, x in enumerate(closes)]


def position(owner: str, side: Side, *, symbol: str = "BTC") -> Position:
    """A position of one unit."""
    price = Decimal(100)
    return Position(
        symbol=symbol, side=side, size=Decimal(1), entry_price=price, mark_price=price, episode=f"{symbol}-1",
        owner=owner, opened_ms=0, leverage=3,
    )  # fmt: skip


def view(
    candle: Candle, *, history: Sequence[Candle] = (), held: Position | None = None, funding: str | None = None
) -> MarketView:
    """What a strategy is shown when ``candle`` has closed."""
    snapshot = MarketSnapshot(
        symbol=candle.symbol, version=1, funding_rate=None if funding is None else Decimal(funding)
    )
    return MarketView(
        symbol=candle.symbol,
        time_ms=candle.close_ms + 1,
        candle=candle,
        history=history,
        market=snapshot,
        position=held,
    )


def play(
    strategy: BaseStrategy, candles: Iterable[Candle], *, funding: Iterable[str | None] | None = None
) -> Iterator[tuple[int, Signal]]:
    """The signals of a run in which the account does at once whatever it is asked; with the number of the bar."""
    held: Position | None = None
    for number, (candle, rate) in enumerate(zip(candles, funding or itertools.repeat(None), strict=False)):
        signal = strategy.on_market(view(candle, held=held, funding=rate))
        assert signal is None or isinstance(signal, Signal)
        if signal is not None:
            held = None if signal.is_exit else position(strategy.name, signal.side)
            yield number, signal
