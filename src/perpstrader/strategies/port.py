"""The port of strategies: a market view in, a signal or nothing out; no I/O, no clock, no account."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Mapping
from decimal import Decimal
from typing import Protocol, runtime_checkable

from perpstrader.domain import Action, MarketView, Side, Signal

DEFAULT_TTL_MS = 60_000


@runtime_checkable
class Strategy(Protocol):
    """Looks at a market on each closed bar of a symbol and may wish for something; others decide whether it happens.

    ``name`` is unique in a trader: it owns the positions that its signals opened. ``symbols`` and ``intervals`` limit
    what it is shown; empty means all. ``warmup_bars`` is how many earlier bars ``view.history`` should offer on the
    first call.

    A strategy keeps its own state, apart for each symbol, and does nothing else: no files, no network, no time but
    ``view.time_ms``. That makes replays repeatable. It leaves a position that it owns (``view.position.owner ==
    name``) by a ``close`` signal that names the position's episode; an exit that a symbol still needs is asked for
    again on each bar, because a refusal or an outage may have eaten the last one. Whether a stop or a target has been
    hit is not its business: those rest at the venue.
    """

    name: str
    symbols: tuple[str, ...]
    intervals: tuple[str, ...]
    warmup_bars: int

    def on_market(self, view: MarketView) -> Signal | Awaitable[Signal | None] | None:
        """The wish that this bar gives rise to, or ``None``; called once for each closed bar, in the order of time."""
        ...


class BaseStrategy(ABC):
    """The port with its usual defaults, and signals whose ids are the same in each run:
    ``name:symbol:close_ms:action``.

    The id makes a signal that is computed twice (after a restart, in a replay) one signal, and it is acted on once.
    """

    name: str
    symbols: tuple[str, ...] = ()
    intervals: tuple[str, ...] = ()
    warmup_bars: int = 0

    @abstractmethod
    def on_market(self, view: MarketView) -> Signal | Awaitable[Signal | None] | None:
        """The wish that this bar gives rise to, or ``None``."""

    def indicators(self, symbol: str) -> Mapping[str, float]:
        """The newest values behind this strategy's decisions on ``symbol``, for the decision record; empty when it
        has none."""
        return {}

    def explain(self, symbol: str) -> str:
        """In plain words, why there was or was not a signal on the newest bar of ``symbol``; empty when it cannot
        tell."""
        return ""

    def owns(self, view: MarketView) -> bool:
        """True when the symbol's position was opened by this strategy."""
        return view.position is not None and view.position.owner == self.name

    def open(
        self,
        view: MarketView,
        side: Side,
        *,
        confidence: float,
        reason: str,
        stop_price: Decimal | None = None,
        target_price: Decimal | None = None,
        entry_price: Decimal | None = None,
        size_hint: Decimal | None = None,
        ttl_ms: int = DEFAULT_TTL_MS,
    ) -> Signal:
        """A signal to open ``side``; prices in USD, ``confidence`` in 0..1."""
        return Signal(
            id=self.signal_id(view, Action.OPEN),
            action=Action.OPEN,
            symbol=view.symbol,
            side=side,
            confidence=confidence,
            strategy=self.name,
            created_ms=view.time_ms,
            ttl_ms=ttl_ms,
            entry_price=entry_price,
            stop_price=stop_price,
            target_price=target_price,
            size_hint=size_hint,
            reason=reason,
        )

    def close(self, view: MarketView, *, reason: str, ttl_ms: int = DEFAULT_TTL_MS) -> Signal:
        """A signal to close the position in ``view``, bound to its episode; ``ValueError`` when there is none."""
        position = view.position
        if position is None:
            raise ValueError(f"{self.name} wants to close {view.symbol}, where there is no position")
        return Signal(
            id=self.signal_id(view, Action.CLOSE),
            action=Action.CLOSE,
            symbol=view.symbol,
            side=position.side,
            confidence=1.0,
            strategy=self.name,
            created_ms=view.time_ms,
            ttl_ms=ttl_ms,
            episode=position.episode,
            reason=reason,
        )

    def signal_id(self, view: MarketView, action: Action) -> str:
        """The id of this bar's signal."""
        return f"{self.name}:{view.symbol}:{view.candle.close_ms}:{action}"


def price_level(value: float) -> Decimal:
    """A price that a statistic asks for, as money: 10 significant digits, which is finer than any tick of the venue.

    This is the one place where a strategy's float becomes a Decimal; the level bounds nothing until the risk manager
    has rounded it to the tick. Raises ``ValueError`` for what is no price: zero, negative, not finite.
    """
    if not math.isfinite(value) or value <= 0:
        raise ValueError(f"{value!r} is no price: it must be finite and positive")
    return Decimal(f"{value:.10g}")
