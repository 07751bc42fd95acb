"""What the engine must know of one perpetual, with its prices and sizes as integers, and their texts on the wire."""

from __future__ import annotations

import re
from functools import cached_property, lru_cache
from typing import Final, Literal

import msgspec

from perpstrader.paper.engine.rejects import RejectCode

MICRO: Final = 1_000_000
"""Micro-USD in one USD; all money of the engine is counted in it."""

MAX_PRICE_DECIMALS: Final = 6
SIGNIFICANT_FIGURES: Final = 5
_POWERS: Final = tuple([int(10**n) for n in range(19)])
_NUMBER: Final = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,18}))?")


class MarginTier(msgspec.Struct, frozen=True):
    """From ``lower_bound`` micro-USD of notional on, at most ``max_leverage`` applies (API sheet 7.2)."""

    lower_bound: int
    max_leverage: int


class EngineAsset(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One perpetual. A price is counted in 10^-(6 - size_decimals) USD, a size in lots of 10^-size_decimals, their
    product in micro-USD.

    ``tiers`` are in rising order from 0; none means one tier at ``max_leverage``. ``impact_notional`` (micro-USD) is
    what the impact prices of the premium are taken at: 20,000 USD for BTC and ETH, 6,000 for others (API sheet 7.4).
    ``margin_mode``: isolated margin only, and with ``strictIsolated`` none of it can be taken out.
    """

    coin: str
    index: int
    size_decimals: int
    max_leverage: int
    tiers: tuple[MarginTier, ...] = ()
    impact_notional: int = 6_000 * MICRO
    is_delisted: bool = False
    margin_mode: Literal["noCross", "strictIsolated"] | None = None

    @property
    def is_isolated_only(self) -> bool:
        """Whether cross margin is not offered for it."""
        return self.margin_mode is not None

    @cached_property
    def price_decimals(self) -> int:
        """Decimals of one price unit in USD."""
        return MAX_PRICE_DECIMALS - self.size_decimals

    @cached_property
    def margin_tiers(self) -> tuple[MarginTier, ...]:
        """The tiers, never empty."""
        return self.tiers or (MarginTier(0, self.max_leverage),)

    @cached_property
    def _one_usd(self) -> int:
        return int(10**self.price_decimals)

    def tick(self, price: int) -> int:
        """The price step valid at ``price``: 5 significant figures, but never coarser than 1 USD (API sheet 4)."""
        by_figures = int(10 ** max(len(str(price)) - SIGNIFICANT_FIGURES, 0))
        return min(by_figures, self._one_usd)

    def is_valid_price(self, price: int) -> bool:
        """Whether the venue takes ``price``: positive and on its tick."""
        return price > 0 and price % self.tick(price) == 0

    def round_price(self, price: int, *, up: bool) -> int:
        """The nearest valid price that is not below (``up``) or not above ``price``; at least one unit."""
        if price <= 1:
            return 1
        tick = self.tick(price)
        return -(-price // tick) * tick if up else price // tick * tick

    def price_from_text(self, text: str) -> int | RejectCode:
        """The price in units, or ``TICK`` for too many decimals or figures, ``INVALID_PRICE`` for what is no positive
        number.
        """
        value = _scaled(text, self.price_decimals)
        if value is None:
            return RejectCode.INVALID_PRICE
        if value < 0:
            return RejectCode.TICK
        if value == 0:
            return RejectCode.INVALID_PRICE
        return value if self.is_valid_price(value) else RejectCode.TICK

    def size_from_text(self, text: str) -> int | RejectCode:
        """The size in lots (0 is returned as it is: whole-position orders send it), or ``INVALID_SIZE``."""
        value = _scaled(text, self.size_decimals)
        return RejectCode.INVALID_SIZE if value is None or value < 0 else value

    def price_text(self, price: int) -> str:
        """The price as the venue writes it."""
        return fixed_text(price, self.price_decimals)

    def size_text(self, size: int) -> str:
        """The size as the venue writes it; signed sizes too."""
        return fixed_text(size, self.size_decimals)


def _scaled(text: str, decimals: int) -> int | None:
    """``text`` times 10^decimals; -1 when it has more decimals than fit; ``None`` when it is no plain non-negative
    number.
    """
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    fraction = (match.group(2) or "").rstrip("0")
    if len(fraction) > decimals:
        return -1
    return int(match.group(1) + fraction.ljust(decimals, "0"))


@lru_cache(maxsize=16_384)
def fixed_text(value: int, decimals: int) -> str:
    """``value`` x 10^-decimals as the venue writes numbers: no exponent, no trailing zeros, but at least one decimal
    (``30135.0``). Remembered: one price is shown in several frames, and a bar opens where the last one closed.
    """
    if value < 0:
        return "-" + fixed_text(-value, decimals)
    whole, fraction = divmod(value, _POWERS[decimals])
    return f"{whole}.{str(fraction).zfill(decimals).rstrip('0')}" if fraction else f"{whole}.0"


def usd_text(micro_usd: int) -> str:
    """Micro-USD as the venue writes USD."""
    return fixed_text(micro_usd, 6)
