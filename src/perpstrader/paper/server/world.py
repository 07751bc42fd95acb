"""What the endpoints and streams of one server share: engine, market history, agents, budgets and time."""

from __future__ import annotations

import re
from typing import Final

from perpstrader.paper.engine import EngineAsset, Exchange
from perpstrader.paper.feeds.contract import Feed
from perpstrader.paper.server import market_shapes
from perpstrader.paper.server.agents import Agents
from perpstrader.paper.server.config import VenueConfig
from perpstrader.paper.server.history import Candles, RecentTrades
from perpstrader.paper.server.rate import AddressBudget, ClientWeights
from perpstrader.runtime import Clock
from perpstrader.venue.wire import WireError, market
from perpstrader.venue.wire.nonces import NonceRule

PLAIN_MODE: Final = "disabled"
UNIFIED_MODES: Final = frozenset({"unifiedAccount", "portfolioMargin"})
_ADDRESS: Final = re.compile(r"0x[0-9a-f]{40}")


class World:
    """One venue's state. The time of an answer is the clock's; the engine's own never lies ahead of it."""

    def __init__(self, exchange: Exchange, feed: Feed, clock: Clock, config: VenueConfig) -> None:
        self.exchange = exchange
        self.feed = feed
        self.clock = clock
        self.config = config
        self.assets: dict[str, EngineAsset] = {asset.coin: asset for asset in exchange.assets}
        self.candles = Candles(feed)
        self.trades = RecentTrades()
        self.agents = Agents(config.agent_removal_ms, config.agent_expiry_lag_ms)
        self.nonces: dict[str, NonceRule] = {}
        self.budget = AddressBudget()
        self.modes: dict[str, str] = {}
        """Account modes (``userAbstraction``) of those who chose one."""
        self.weights = ClientWeights()
        self.meta = market_shapes.meta(exchange.assets)

    def now_ms(self) -> int:
        """The venue's time."""
        return self.clock.now_ms()

    def mode(self, user: str) -> str:
        """The account mode of a user; a sub-account has its master's."""
        return self.modes.get(self.exchange.master_of(user) or user, PLAIN_MODE)

    def is_unified(self, user: str) -> bool:
        """Whether the account's collateral is shown among its spot balances."""
        return self.mode(user) in UNIFIED_MODES

    def prune_agents(self, master: str) -> None:
        """Take away all agents of an account, as the venue does with those of an empty one, their nonces with them."""
        for address in self.agents.prune(master):
            self.nonces.pop(address, None)

    def ctx(self, coin: str, now_ms: int) -> market.AssetCtx:
        """The live figures of a coin."""
        day = self.candles.day(coin, now_ms)
        return market_shapes.asset_ctx(self.assets[coin], self.exchange.market(coin), day.lots, day.day_ago_px)

    def ctxs(self) -> list[market.AssetCtx]:
        """The live figures of all coins, in the order of their index."""
        now_ms = self.now_ms()
        return [self.ctx(coin, now_ms) for coin in self.assets]

    def mids(self) -> dict[str, str]:
        """Every coin's mid that has a price."""
        shown = {
            coin: market_shapes.shown_mid(asset, self.exchange.market(coin)) for coin, asset in self.assets.items()
        }
        return {coin: mid for coin, mid in shown.items() if mid is not None}


def address(text: str | None, what: str = "user") -> str:
    """The lower-case address that ``text`` spells; raises ``WireError`` when it is none."""
    lowered = (text or "").lower()
    if _ADDRESS.fullmatch(lowered) is None:
        raise WireError(f"{what} {text!r} is no address: expected 0x and 40 hex digits")
    return lowered
