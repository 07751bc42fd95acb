"""The whole state of the exchange in one place, with the counters that number orders, trades and actions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from perpstrader.paper.engine.account import Account
from perpstrader.paper.engine.assets import EngineAsset
from perpstrader.paper.engine.book import Market
from perpstrader.paper.engine.config import EngineConfig
from perpstrader.paper.engine.events import Event
from perpstrader.paper.engine.views import FundingRate

if TYPE_CHECKING:
    from perpstrader.paper.engine.twap import Twap


class EngineState:
    """Markets, accounts, events not yet handed out, and who else holds money: the house (fees, funding, backstops'
    remains) and the outside.

    For any marks: sum of all accounts' values + liquidator's value + outside (cash and positions) + ``house_cash`` =
    ``deposited``, exactly.
    """

    def __init__(self, assets: Sequence[EngineAsset], config: EngineConfig) -> None:
        self.config = config
        self.markets: dict[str, Market] = {asset.coin: Market(asset) for asset in assets}
        self.accounts: dict[str, Account] = {}
        self.liquidator = Account(config.liquidator, config, is_liquidator=True)
        self.events: list[Event] = []
        self.funding_rates: dict[str, list[FundingRate]] = {asset.coin: [] for asset in assets}
        self.house_cash = 0
        self.deposited = 0
        self.now_ms = 0
        self.action = 0
        self.post_only = False
        self.due: list[Market] = []
        self.open_count = 0
        self.timers: dict[str, int] = {}
        self._oid = config.first_oid
        self._tid = config.first_tid
        self._seq = 0
        self._lid = 0
        self.open_interest_caps = dict(config.open_interest_caps)
        self.twaps: dict[int, Twap] = {}
        self._twap_id = config.first_twap_id

    def next_oid(self) -> int:
        """A new order id."""
        self._oid += 1
        return self._oid

    def next_tid(self) -> int:
        """A new trade id, shared by both sides of the trade."""
        self._tid += 1
        return self._tid

    def next_seq(self) -> int:
        """A place in time for a new order."""
        self._seq += 1
        return self._seq

    def next_lid(self) -> int:
        """A new liquidation id."""
        self._lid += 1
        return self._lid

    def next_twap_id(self) -> int:
        """A new TWAP id."""
        self._twap_id += 1
        return self._twap_id

    def account(self, user: str) -> Account:
        """The account of ``user``, the liquidator included; ``KeyError`` if there is none."""
        return self.liquidator if user == self.config.liquidator else self.accounts[user]
