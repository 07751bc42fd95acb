"""A strategy that trades on nearly every bar: entries both ways, partial exits and closes, the same at each restart."""

from __future__ import annotations

import zlib
from decimal import Decimal

import msgspec

from perpstrader.domain import Action, MarketView, Side, Signal
from perpstrader.strategies import BaseStrategy


class Busy(BaseStrategy):
    """What it wants follows from the bar alone."""

    name = "busy"

    def on_market(self, view: MarketView) -> Signal | None:
        """Open where nothing is held; else stay, take half off, or leave."""
        dice = zlib.crc32(f"{view.symbol}:{view.candle.close_ms}".encode())
        price = view.candle.close
        if view.position is None:
            side = Side.LONG if dice % 2 else Side.SHORT
            sign = 1 if side is Side.LONG else -1
            return self.open(
                view, side, confidence=0.9, reason="the dice say so",
                stop_price=price * (1 - sign * Decimal("0.008")), target_price=price * (1 + sign * Decimal("0.012")),
            )  # fmt: skip
        if not self.owns(view) or dice % 4 < 2:
            return None
        leave = self.close(view, reason="the dice say so")
        if dice % 4 == 2:
            return leave
        half = abs(view.position.size) / 2
        return msgspec.structs.replace(leave, action=Action.REDUCE, size_hint=half, id=f"{leave.id}:half")
