"""What goes out on the streams when something changed: encoded once a channel, and only for channels with listeners."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from perpstrader.paper.engine import (
    BarClose,
    Event,
    FillEvent,
    FundingEvent,
    LedgerEvent,
    LiquidationEvent,
    MarketUpdate,
    OrderUpdate,
    TradeEvent,
)
from perpstrader.paper.server import account_shapes as shapes
from perpstrader.paper.server import info_account, info_market, market_shapes
from perpstrader.paper.server.topics import Topic, Topics
from perpstrader.paper.server.world import World
from perpstrader.venue.wire import account, ws

SECOND_MS: Final = 1_000
_ON_CHANGE: Final = ("openOrders", "clearinghouseState", "activeAssetData", "webData2", "userHistoricalOrders")
_WITH_MARKS: Final = ("clearinghouseState", "activeAssetData", "webData2")
_QUIET_CANCELS: Final = frozenset({"canceled", "reduceOnlyCanceled"})
"""Cancels that ``userEvents`` does not report as the venue's own (API sheet 6.2)."""


class Publisher:
    """Turns changes into frames. ``openOrders`` goes out on each change of the account, ``clearinghouseState`` too and,
    while there is a position, once a second with the new marks.
    """

    def __init__(self, world: World, topics: Topics) -> None:
        self._world = world
        self._topics = topics
        self._due_ms = 0

    # --- the market ---

    def market(self, update: MarketUpdate, now_ms: int) -> None:
        """A coin's prices or book changed."""
        topics, coin = self._topics, update.coin
        for topic in topics.of("bbo", coin):
            self._bbo(topic, coin, update.time_ms)
        for topic in topics.of("activeAssetCtx", coin):
            topic.send(self._ctx_frame(coin, now_ms))
        for topic in topics.of("l2Book", coin):
            topic.send(self._book_frame(topic.subscription))
        if update.trades:
            self._trades(coin, self._world.trades.from_feed(update))

    def _bbo(self, topic: Topic, coin: str, time_ms: int) -> None:
        bid, ask = self._world.exchange.top(coin)
        if topic.shown == (bid, ask):
            return
        topic.shown = (bid, ask)
        asset = self._world.assets[coin]
        best = (
            None if bid is None else market_shapes.level(asset, bid),
            None if ask is None else market_shapes.level(asset, ask),
        )
        topic.send(ws.BBO.frame(ws.Bbo(coin, time_ms, best)))

    def _ctx_frame(self, coin: str, now_ms: int) -> bytes:
        return ws.ACTIVE_ASSET_CTX.frame(ws.ActiveAssetCtx(coin, self._world.ctx(coin, now_ms)))

    def _book_frame(self, wanted: ws.Subscription) -> bytes:
        return ws.L2_BOOK.frame(info_market.book(self._world, wanted.coin or "", wanted.n_sig_figs, wanted.mantissa))

    def _trades(self, coin: str, rows: list[TradeEvent]) -> None:
        for topic in self._topics.of("trades", coin):
            topic.send(ws.TRADES.frame([info_market.trade(self._world, row) for row in rows]))

    def bar(self, bar: BarClose) -> None:
        """A bar of the feed closed; longer bars that it is part of are sent as they now are."""
        asset = self._world.assets[bar.coin]
        for topic in self._topics.of("candle", bar.coin):
            interval = topic.subscription.interval or ""
            shown = bar if interval == bar.interval else self._world.candles.extend(bar, interval)
            topic.send(ws.CANDLE.frame(market_shapes.candle(asset, shown)))

    def tick(self, now_ms: int) -> None:
        """What is sent at most once a second: mids, and accounts at their new marks."""
        if now_ms < self._due_ms:
            return
        self._due_ms = now_ms + SECOND_MS
        for topic in self._topics.of("allMids", ""):
            topic.send(ws.ALL_MIDS.frame(ws.AllMidsData(self._world.mids())))
        for kind in _WITH_MARKS:
            for topic in self._topics.of_kind(kind):
                if self._world.exchange.account_state(topic.subscription.user or "").positions:
                    self._send_snapshot(topic)

    # --- accounts ---

    def events(self, events: Sequence[Event]) -> None:
        """What happened to accounts, in the order of happening; one frame a channel and user for all of it."""
        rows: dict[str, list[Event]] = {}
        trades: dict[str, list[TradeEvent]] = {}
        for event in events:
            if isinstance(event, TradeEvent):
                trades.setdefault(event.coin, []).append(event)
            else:
                rows.setdefault(event.user, []).append(event)
        for coin, done in trades.items():
            self._world.trades.keep(done)
            self._trades(coin, done)
        for user, mine in rows.items():
            self._user(user, mine)
        for user in rows:
            self.account_changed(user)

    def account_changed(self, user: str) -> None:
        """Whole snapshots for who follows the account by them."""
        for kind in _ON_CHANGE:
            for topic in self._topics.of(kind, user):
                self._send_snapshot(topic)

    def _user(self, user: str, events: list[Event]) -> None:
        assets = self._world.assets
        if topics := self._topics.of("orderUpdates", user):
            updates = [
                account.OrderUpdate(shapes.open_order(assets[row.order.coin], row.order), row.status, row.status_ms)
                for row in events
                if isinstance(row, OrderUpdate)
            ]
            if updates:
                _send(topics, ws.ORDER_UPDATES.frame(updates))
        fills = [row.fill for row in events if isinstance(row, FillEvent)]
        if fills:
            for topic in self._topics.of("userFills", user):
                shown = shapes.aggregated(fills) if topic.subscription.aggregate_by_time else fills
                rows = [shapes.fill(assets[row.coin], row) for row in shown]
                topic.send(ws.USER_FILLS.frame(ws.UserFills(user, rows)))
        if topics := self._topics.of("userFundings", user):
            fundings = [shapes.funding_event(assets[row.coin], row) for row in events if isinstance(row, FundingEvent)]
            if fundings:
                _send(topics, ws.USER_FUNDINGS.frame(ws.UserFundings(user, fundings)))
        if topics := self._topics.of("userNonFundingLedgerUpdates", user):
            ledger = [shapes.ledger_update(assets, row) for row in events if isinstance(row, LedgerEvent)]
            if ledger:
                _send(topics, ws.USER_LEDGER.frame(ws.UserLedgerUpdates(user, ledger)))
        if topics := self._topics.of("userEvents", user):
            for event in self._user_events(events):
                _send(topics, ws.USER_EVENTS.frame(event))

    def _user_events(self, events: list[Event]) -> list[ws.UserEvent]:
        assets = self._world.assets
        shown: list[ws.UserEvent] = []
        fills = [shapes.fill(assets[row.fill.coin], row.fill) for row in events if isinstance(row, FillEvent)]
        if fills:
            shown.append(ws.UserEvent(fills=fills))
        cancels = [
            ws.NonUserCancel(row.order.coin, row.order.oid)
            for row in events
            if isinstance(row, OrderUpdate) and _is_venues_cancel(row.status)
        ]
        if cancels:
            shown.append(ws.UserEvent(non_user_cancel=cancels))
        for row in events:
            if isinstance(row, FundingEvent):
                shown.append(ws.UserEvent(funding=shapes.funding_event(assets[row.coin], row)))
            elif isinstance(row, LiquidationEvent):
                shown.append(ws.UserEvent(liquidation=shapes.liquidation_event(row)))
        return shown

    # --- what a new subscriber gets at once ---

    def _send_snapshot(self, topic: Topic) -> None:
        frame = self.snapshot(topic.subscription)
        if frame is not None:
            topic.send(frame)

    def snapshot(self, wanted: ws.Subscription) -> bytes | None:
        """The first frame of a stream, or ``None`` for one that begins with the next change."""
        return self._market_snapshot(wanted) if wanted.user is None else self._user_snapshot(wanted, wanted.user)

    def _market_snapshot(self, wanted: ws.Subscription) -> bytes | None:
        world, coin = self._world, wanted.coin or ""
        match wanted.type:
            case "allMids":
                return ws.ALL_MIDS.frame(ws.AllMidsData(world.mids()))
            case "l2Book":
                return self._book_frame(wanted)
            case "bbo":
                asset, rows = world.assets[coin], world.exchange.top(coin)
                best = [None if row is None else market_shapes.level(asset, row) for row in rows]
                return ws.BBO.frame(ws.Bbo(coin, world.now_ms(), (best[0], best[1])))
            case "trades":
                return ws.TRADES.frame([info_market.trade(world, row) for row in world.trades.newest(coin)])
            case "activeAssetCtx" if world.exchange.market(coin).mark is not None:
                return self._ctx_frame(coin, world.now_ms())
            case _:
                return None

    def _user_snapshot(self, wanted: ws.Subscription, user: str) -> bytes | None:
        world = self._world
        now_ms = world.now_ms()
        match wanted.type:
            case "userFills":
                rows = info_account.newest_fills(world, user, now_ms, aggregate=bool(wanted.aggregate_by_time))
                return ws.USER_FILLS.frame(ws.UserFills(user, rows, is_snapshot=True))
            case "userFundings":
                paid = [shapes.funding_event(world.assets[row.coin], row) for row in world.exchange.funding(user)]
                return ws.USER_FUNDINGS.frame(ws.UserFundings(user, paid, is_snapshot=True))
            case "userNonFundingLedgerUpdates":
                moved = [shapes.ledger_update(world.assets, row) for row in world.exchange.ledger(user)]
                return ws.USER_LEDGER.frame(ws.UserLedgerUpdates(user, moved, is_snapshot=True))
            case "userHistoricalOrders":
                history = [shapes.order_record(world.assets, row) for row in world.exchange.historical_orders(user)]
                return ws.encode(
                    {"channel": wanted.type, "data": {"user": user, "orderHistory": history, "isSnapshot": True}}
                )
            case "openOrders":
                orders = shapes.frontend_orders(world.assets, world.exchange.open_orders(user))
                return ws.OPEN_ORDERS.frame(ws.OpenOrdersData("", user, orders))
            case "clearinghouseState":
                state = info_account.account_state(world, user)
                return ws.CLEARINGHOUSE_STATE.frame(ws.ClearinghouseData("", user, state))
            case "activeAssetData":
                coin = wanted.coin or ""
                view = world.exchange.asset_account(user, coin)
                return ws.ACTIVE_ASSET_DATA.frame(shapes.active_asset_data(world.assets[coin], view, user))
            case "webData2":
                return ws.encode({"channel": wanted.type, "data": info_account.web_data(world, user)})
            case _:
                return None


def _is_venues_cancel(status: str) -> bool:
    return status.endswith(("Canceled", "Cancel")) and status not in _QUIET_CANCELS


def _send(topics: Sequence[Topic], frame: bytes) -> None:
    for topic in topics:
        topic.send(frame)
