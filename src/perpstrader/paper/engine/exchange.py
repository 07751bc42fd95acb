"""The exchange in a box, seen from outside: orders in, market updates in, events and views out. Pure: no I/O and no
clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from perpstrader.paper.engine import (
    deleveraging,
    family,
    funding,
    interest,
    ledger,
    leverage,
    liquidation,
    matching,
    memory,
    placing,
    queries,
    queue,
    timers,
    triggers,
    twap,
)
from perpstrader.paper.engine.assets import EngineAsset
from perpstrader.paper.engine.config import EngineConfig
from perpstrader.paper.engine.events import Event, Fill, FundingEvent, LedgerEvent, TwapEvent
from perpstrader.paper.engine.market import MarketUpdate
from perpstrader.paper.engine.memory import AccountMemory, AccountRows, VenueMemory
from perpstrader.paper.engine.orders import (
    Answer,
    Builder,
    Grouping,
    NewOrder,
    OrderStatus,
    OrderView,
    PlaceResult,
    Rejected,
    TwapView,
)
from perpstrader.paper.engine.rejects import Reject
from perpstrader.paper.engine.state import EngineState
from perpstrader.paper.engine.views import AccountView, AssetAccountView, BookLevel, BookView, FundingRate, MarketState


class Exchange:
    """The same calls with the same arguments give the same events, to the last byte.

    Users are lower-case addresses; a user exists from the first :meth:`fund` on. Times are milliseconds UTC and never
    go back (an earlier one counts as the latest seen). Units: API sheet 7.1 and :class:`EngineAsset`.
    """

    def __init__(self, assets: Sequence[EngineAsset], config: EngineConfig | None = None) -> None:
        self.assets = tuple(assets)
        self.config = config or EngineConfig()
        self._state = EngineState(self.assets, self.config)

    # --- money ---

    def fund(self, user: str, micro_usd: int, now_ms: int) -> None:
        """Give ``user`` cash, opening the account if there is none."""
        self._advance(now_ms)
        ledger.fund(self._state, user, micro_usd)

    def withdraw(self, user: str, micro_usd: int, now_ms: int) -> Answer:
        """Take cash out, at most what is withdrawable."""
        self._advance(now_ms)
        return ledger.withdraw(self._state, user, micro_usd)

    def transfer(self, user: str, receiver: str, micro_usd: int, now_ms: int) -> Answer:
        """Send cash to another account, at most what is withdrawable; the receiver is opened if it is new."""
        self._begin(now_ms)
        return ledger.transfer(self._state, user, receiver, micro_usd, "internalTransfer")

    def reserve_weight(self, user: str, weight: int, now_ms: int) -> Answer:
        """Buy request weight from cash."""
        self._begin(now_ms)
        return ledger.reserve_weight(self._state, user, weight)

    def reserved_weight(self, user: str) -> int:
        """The request weight that the account ever bought."""
        account = self._state.accounts.get(user)
        return 0 if account is None else account.reserved_weight

    def approve_builder(self, user: str, builder: str, tenths_of_bp: int, now_ms: int) -> None:
        """Allow a builder to ask for a fee up to this."""
        self._begin(now_ms)
        self._state.accounts[user].builder_fees[builder] = tenths_of_bp

    def builder_fees(self, user: str) -> dict[str, int]:
        """The approved builders and the most that each may ask for; those of a sub-account are its master's."""
        account = self._state.accounts.get(user)
        return {} if account is None else dict((account.master or account).builder_fees)

    # --- sub-accounts ---

    def create_sub_account(self, master: str, name: str, now_ms: int) -> str | Rejected:
        """Open a sub-account: its address. It needs volume, a free name, and a place."""
        self._begin(now_ms)
        return family.create(self._state, master, name)

    def rename_sub_account(self, master: str, user: str, name: str, now_ms: int) -> Answer:
        """Give a sub-account another name."""
        self._begin(now_ms)
        return family.rename(self._state, master, user, name)

    def sub_account_transfer(self, master: str, user: str, micro_usd: int, now_ms: int, *, deposit: bool) -> Answer:
        """Move cash into a sub-account of the master's, or back."""
        self._begin(now_ms)
        return family.transfer(self._state, master, user, micro_usd, deposit=deposit)

    def sub_accounts(self, master: str) -> tuple[tuple[str, str], ...]:
        """(address, name) of each sub-account, the oldest first."""
        return tuple([(account.user, account.name) for account in family.of(self._state, master)])

    def master_of(self, user: str) -> str | None:
        """Whose sub-account it is."""
        return family.master_of(self._state, user)

    # --- the market moves ---

    def apply(self, update: MarketUpdate) -> None:
        """Take over the outside market of one coin: resting fills, then triggers, then liquidations; none while halted.

        Raises ``KeyError`` for a coin that is not traded here.
        """
        state = self._state
        if update.time_ms > state.now_ms:
            self._advance(update.time_ms)
        market = state.markets[update.coin]
        market.time_ms = update.time_ms
        busy = market.is_busy()
        continuous = update.continuous and busy and not (market.halted or update.halted)  # a halt ends in a jump
        market.halted = update.halted
        before = (market.feed_bids, market.feed_asks)
        if update.bids is not None:
            market.feed_bids = update.bids
            market.taken_bids.clear()
        if update.asks is not None:
            market.feed_asks = update.asks
            market.taken_asks.clear()
        if update.last is not None:
            market.last = update.last
        if update.oracle is not None:
            market.oracle = update.oracle
        old_mark = market.mark_or_zero
        mark = old_mark if update.mark is None else update.mark
        if update.mark is not None:
            market.previous_mark = market.mark
            if not continuous:
                market.set_mark(mark)
        if update.halted or not busy:
            return
        matching.fill_resting(state, market, update.trades)
        if self.config.queue_model != "trades":
            queue.follow(market, update, before, self.config.queue_model)
        triggers.move_mark(state, market, old_mark, mark)
        liquidation.check(state, market)
        triggers.settle(state)

    def advance(self, now_ms: int) -> None:
        """Let time pass: dead man's switches fire. Every other call that takes a time does it too."""
        self._advance(now_ms)

    def premium_sample(self, now_ms: int) -> None:
        """Sample the premium of every coin; due every 5 s (API sheet 7.4)."""
        self._advance(now_ms)
        funding.sample(self._state)

    def set_funding_rate(self, coin: str, rate: int) -> None:
        """The hourly rate, in 1e-12, that the next tick charges ``coin``, instead of one from the samples."""
        self._state.markets[coin].handed_rate = rate

    def funding_tick(self, now_ms: int) -> None:
        """Charge the hour's funding on oracle prices; due on the hour. Call it before anything else of that instant."""
        self._advance(now_ms)
        funding.tick(self._state)

    def auto_deleverage(self, coin: str, lots: int, now_ms: int) -> int:
        """A trader of the outside market who held ``lots`` (signed) is bankrupt: accounts on the other side are closed
        against him at the mark before the last move, the best placed first. Returns the lots that were.
        """
        self._begin(now_ms)
        return deleveraging.for_outsider(self._state, self._state.markets[coin], lots)

    # --- orders ---

    def place(
        self,
        user: str,
        orders: Sequence[NewOrder | Reject],
        grouping: Grouping,
        now_ms: int,
        builder: Builder | None = None,
    ) -> list[PlaceResult]:
        """Place orders in their sequence: one result an order, or a single ``Rejected`` for all where a grouping is
        refused as a whole.

        A ``Reject`` in the place of an order (a text that made no integer) is answered in its place, or refuses its
        group.
        """
        self._begin(now_ms)
        results = placing.place(self._state, user, orders, grouping, builder)
        triggers.settle(self._state)
        return results

    def cancel(self, user: str, coin: str, oid: int, now_ms: int) -> Answer:
        """Cancel an open order, its waiting children with it; ``MISSING_ORDER`` if it is not open."""
        self._begin(now_ms)
        return placing.cancel(self._state, user, coin, oid)

    def cancel_by_cloid(self, user: str, coin: str, cloid: str, now_ms: int) -> Answer:
        """Cancel the newest order of that cloid."""
        self._begin(now_ms)
        oid = placing.oid_of(self._state, user, cloid)
        return placing.cancel(self._state, user, coin, oid)

    def modify(
        self, user: str, oid: int | str, order: NewOrder | Reject, now_ms: int, *, always: bool = False
    ) -> PlaceResult:
        """Cancel an open order (by oid or cloid) and place another in full size under a new oid; ``always`` is the
        wire's ``a``.

        Without ``always`` the new one must be a GTC or ALO that rests. If the new one is refused, the old one is gone
        all the same.
        """
        self._begin(now_ms)
        result = placing.modify(self._state, user, oid, order, always=always)
        triggers.settle(self._state)
        return result

    def update_leverage(self, user: str, coin: str, times: int, is_cross: bool, now_ms: int) -> Answer:
        """Set leverage and margin mode of a coin; refused if the margin would not suffice, and a change of mode while
        there is a position.
        """
        self._begin(now_ms)
        return leverage.update_leverage(self._state, user, coin, times, is_cross=is_cross)

    def update_isolated_margin(self, user: str, coin: str, micro_usd: int, now_ms: int) -> Answer:
        """Move margin into (or, negative, out of) an isolated position."""
        self._begin(now_ms)
        return leverage.update_isolated_margin(self._state, user, coin, micro_usd)

    def top_up_isolated(self, user: str, coin: str, leverage_milli: int, now_ms: int) -> Answer:
        """Add margin to an isolated position until it has that leverage, in thousandths."""
        self._begin(now_ms)
        return leverage.top_up(self._state, user, coin, leverage_milli)

    def schedule_cancel(self, user: str, time_ms: int | None, now_ms: int) -> Answer:
        """Set or clear the dead man's switch of an account (API sheet 2.4): when it fires, all open orders go, stops
        included.
        """
        self._begin(now_ms)
        return timers.schedule_cancel(self._state, user, time_ms)

    def start_twap(
        self,
        user: str,
        coin: str,
        size: int,
        minutes: int,
        now_ms: int,
        *,
        is_buy: bool,
        reduce_only: bool = False,
        randomize: bool = False,
    ) -> int | Rejected:
        """Start a TWAP of ``size`` lots over ``minutes``: its id. Its first slice goes at once."""
        self._begin(now_ms)
        started = twap.start(
            self._state, user, coin, size, minutes, is_buy=is_buy, reduce_only=reduce_only, randomize=randomize
        )
        triggers.settle(self._state)
        return started

    def cancel_twap(self, user: str, coin: str, twap_id: int, now_ms: int) -> Answer:
        """Stop a running TWAP; what it did stays."""
        self._begin(now_ms)
        return twap.cancel(self._state, user, coin, twap_id)

    def twaps(self, user: str) -> tuple[TwapView, ...]:
        """The running TWAPs of a user, oldest first."""
        return tuple([one.view() for one in self._state.twaps.values() if one.user == user])

    def twap_history(self, user: str) -> tuple[TwapEvent, ...]:
        """Changes of status of TWAPs, oldest first."""
        account = self._state.accounts.get(user)
        return () if account is None else tuple(account.twap_history)

    def set_open_interest_cap(self, coin: str, micro_usd: int | None) -> None:
        """Cap the open interest of a coin, or take its cap away."""
        if micro_usd is None:
            self._state.open_interest_caps.pop(coin, None)
        else:
            self._state.open_interest_caps[coin] = micro_usd

    def at_open_interest_cap(self) -> tuple[str, ...]:
        """The coins that take no more open interest now."""
        return tuple([coin for coin, market in self._state.markets.items() if interest.at_cap(self._state, market)])

    def set_post_only(self, active: bool) -> None:
        """Open or close a post-only window, as after a network upgrade: only ALO orders and cancels pass."""
        self._state.post_only = active

    # --- what happened, and what is ---

    def drain_events(self) -> list[Event]:
        """The events since the last call, in the order of happening; each is handed out once."""
        events, self._state.events = self._state.events, []
        return events

    def has_account(self, user: str) -> bool:
        """Whether ``user`` was ever funded."""
        return user in self._state.accounts

    def is_empty(self, user: str) -> bool:
        """Whether the account and its sub-accounts hold no money and no position."""
        return queries.is_empty(self._state, user)

    def users(self) -> tuple[str, ...]:
        """All accounts in the order of their first funding."""
        return tuple(self._state.accounts)

    def account_state(self, user: str) -> AccountView:
        """The account at mark; an unknown user has an empty one."""
        return queries.account_state(self._state, user)

    def asset_account(self, user: str, coin: str) -> AssetAccountView:
        """Leverage set and what could be traded now."""
        return queries.asset_account(self._state, user, coin)

    def state_version(self, user: str) -> int:
        """Grows with each change of the account (orders, fills, cash, leverage), not with marks; 0 for a stranger."""
        account = self._state.accounts.get(user)
        return 0 if account is None else account.version

    def open_orders(self, user: str) -> tuple[OrderView, ...]:
        """All live orders as they are now, oldest first: resting, triggers, and children that wait (``held``)."""
        return queries.open_orders(self._state, user)

    def order_by_oid(self, user: str, oid: int) -> OrderStatus | None:
        """The record of an order of this user; ``None`` if there is none or it was evicted (2000 newest done orders are
        kept).
        """
        return queries.order_by_oid(self._state, user, oid)

    def order_by_cloid(self, user: str, cloid: str) -> OrderStatus | None:
        """The record of the newest order of that cloid."""
        return queries.order_by_oid(self._state, user, placing.oid_of(self._state, user, cloid))

    def historical_orders(self, user: str) -> tuple[OrderStatus, ...]:
        """The 2000 newest changes of status, newest first; an oid may be there more than once."""
        return queries.historical_orders(self._state, user)

    def fills(self, user: str) -> tuple[Fill, ...]:
        """The 10,000 newest fills, oldest first."""
        return queries.fills(self._state, user)

    def funding(self, user: str) -> tuple[FundingEvent, ...]:
        """The newest funding payments, oldest first."""
        return queries.funding(self._state, user)

    def ledger(self, user: str) -> tuple[LedgerEvent, ...]:
        """Deposits, withdrawals, liquidations, oldest first."""
        return queries.ledger(self._state, user)

    def funding_history(self, coin: str) -> tuple[FundingRate, ...]:
        """The rates charged so far, oldest first."""
        return tuple(self._state.funding_rates[coin])

    def user_volume(self, user: str) -> int:
        """Notional ever traded, in micro-USD (``cumVlm``)."""
        account = self._state.accounts.get(user)
        return 0 if account is None else account.volume

    def daily_volume(self, user: str) -> dict[int, tuple[int, int]]:
        """Notional (taken, made) of a user and its sub-accounts by UTC day since 1970, as far as fees look back."""
        account = self._state.accounts.get(user)
        return {} if account is None else account.daily_volume()

    def volume_of_day(self, day: int) -> int:
        """Notional that all accounts traded on that day."""
        mains = [account for account in self._state.accounts.values() if account.master is None]
        return sum([sum(account.daily_volume().get(day, (0, 0))) for account in mains])

    def fee_rates(self, user: str) -> tuple[int, int]:
        """Today's (taker, maker) rates of the user in 1e-9 of the notional."""
        return queries.fee_rates(self._state, user)

    def book(self, coin: str, depth: int = 20) -> BookView:
        """The shown book, outside liquidity and accounts' orders merged."""
        return queries.book(self._state, coin, depth)

    def top(self, coin: str) -> tuple[BookLevel | None, BookLevel | None]:
        """The best bid and ask of the shown book."""
        return queries.top(self._state, coin)

    def market(self, coin: str) -> MarketState:
        """Mark, oracle, last, mid, impact prices, premium and funding of a coin."""
        return queries.market(self._state, coin)

    def net_position_sign(self, coin: str) -> int:
        """1, 0 or -1: the sign of what all accounts together hold."""
        return queries.net_position_sign(self._state, coin)

    def is_quiet(self) -> bool:
        """Whether no account has a position or a live order, so that only the newest prices matter."""
        state = self._state
        if state.open_count or state.twaps:
            return False
        return not any(market.holders for market in state.markets.values())

    def net_deposit(self) -> int:
        """Micro-USD that all accounts paid in and did not take out."""
        return self._state.deposited

    def imbalance(self) -> int:
        """Micro-USD that appeared or vanished since the start: always 0 (the conservation law of ``EngineState``)."""
        return queries.imbalance(self._state)

    def open_interest_imbalance(self, coin: str) -> int:
        """Lots held without a counterparty, the liquidator's and the outside market's included: always 0."""
        return queries.open_interest_imbalance(self._state, coin)

    # --- outliving the process ---

    def remember(self, user: str) -> AccountMemory:
        """An account without its history, for :meth:`recall`; raises ``KeyError`` for an unknown user."""
        return memory.account_memory(self._state, user)

    def remember_venue(self) -> VenueMemory:
        """All else, for :meth:`recall`."""
        return memory.venue_memory(self._state)

    def recall(self, venue: VenueMemory, accounts: Iterable[tuple[AccountMemory, AccountRows]]) -> None:
        """Go on where another exchange ended; only before anything happened here. See ``memory.recall``."""
        memory.recall(self._state, venue, accounts)

    def _advance(self, now_ms: int) -> None:
        if now_ms > self._state.now_ms:
            self._state.now_ms = now_ms
            timers.fire_due(self._state)
            triggers.settle(self._state)

    def _begin(self, now_ms: int) -> None:
        self._advance(now_ms)
        self._state.action += 1
