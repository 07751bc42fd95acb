"""What the venue's metadata says of well-known coins (March 2026), and the rule for any other coin."""

from __future__ import annotations

from typing import Final

from perpstrader.paper.engine.assets import MICRO, EngineAsset, MarginTier

_MILLION: Final = 1_000_000 * MICRO

# coin: (size decimals, greatest leverage, (notional in millions of USD from which half of it applies, that leverage))
_FACTS: Final[dict[str, tuple[int, int, tuple[int, int] | None]]] = {
    "BTC": (5, 40, (150, 20)),
    "ETH": (4, 25, (100, 15)),
    "SOL": (2, 20, (70, 10)),
    "XRP": (0, 20, (40, 10)),
    "HYPE": (2, 10, (20, 5)),
    "BNB": (3, 10, (3, 5)),
    "DOGE": (0, 10, (20, 5)),
    "AVAX": (2, 10, (20, 5)),
    "kPEPE": (0, 10, (20, 5)),
    "SUI": (1, 10, (20, 5)),
    "LINK": (1, 10, (20, 5)),
    "ADA": (0, 10, (20, 5)),
    "LTC": (2, 10, (20, 5)),
    "BCH": (3, 10, (20, 5)),
    "AAVE": (2, 10, (20, 5)),
    "NEAR": (1, 10, (20, 5)),
    "ENA": (0, 10, (20, 5)),
    "CRV": (1, 10, (20, 5)),
    "ZEC": (2, 10, (20, 5)),
    "DOT": (1, 10, (3, 5)),
    "ARB": (1, 10, (3, 5)),
    "TAO": (3, 5, None),
}
_UNKNOWN_LEVERAGE: Final = 3


def size_decimals_for(price: float) -> int:
    """Size decimals of a coin of unknown metadata: one more than the power of ten of its price in USD, within 0 to 5.

    That is how the venue's own coins lie: 5 above 10,000 USD, 1 from 1 USD on, 0 below.
    """
    decimals = 0
    while decimals < 5 and price >= 10**decimals:
        decimals += 1
    return decimals


def asset_for(coin: str, index: int, price: float) -> EngineAsset:
    """The facts of ``coin``; an unknown one's follow from ``price`` (USD), with the venue's lowest leverage, 3."""
    known = _FACTS.get(coin)
    decimals, leverage, step = known or (size_decimals_for(price), _UNKNOWN_LEVERAGE, None)
    tiers = (MarginTier(0, leverage), MarginTier(step[0] * _MILLION, step[1])) if step else ()
    return EngineAsset(
        coin=coin, index=index, size_decimals=decimals, max_leverage=leverage, tiers=tiers,
        impact_notional=(20_000 if coin in ("BTC", "ETH") else 6_000) * MICRO,
    )  # fmt: skip
