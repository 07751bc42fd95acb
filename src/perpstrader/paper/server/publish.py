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
    OrderStatus,
    OrderUpdate,
    TradeEvent,
    TwapEvent,
)
from perpstrader.paper.server import account_shapes as shapes
from perpstrader.paper.server import info_market, market_shapes
from perpstrader.paper.server.snapshots import Snapshots
from perpstrader.paper.server.topics import Topic, Topics
from perpstrader.paper.server.world import World
from perpstrader.venue.wire import account, ws

SECOND_MS: Final = 1_000
_ON_CHANGE: Final = (
    "openOrders", "clearinghouseState", "allDexsClearinghouseState", "activeAssetData", "webData2", "webData3",
    "spotState", "twapStates",
)  # fmt: skip
_WITH_MARKS: Final = ("clearinghouseState", "allDexsClearinghouseState", "activeAssetData", "webData2")
_EACH_SECOND: Final = ("allMids", "assetCtxs", "allDexsAssetCtxs")
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
        self._books_due_ms: dict[str, int] = {}
        self.snapshots = Snapshots(world)

    # --- the market ---

    def market(self, update: MarketUpdate, now_ms: int) -> None:
        """A coin's prices or book changed."""
        topics, coin = self._topics, update.coin
        for topic in topics.of("bbo", coin):
            self._bbo(topic, coin, update.time_ms)
        for topic in topics.of("activeAssetCtx", coin):
            topic.send(self.snapshots.ctx(coin, now_ms))
        if books := topics.of("l2Book", coin):
            self._books(coin, books, now_ms)
        if update.trades:
            self._trades(coin, self._world.trades.from_feed(update))

    def _books(self, coin: str, books: Sequence[Topic], now_ms: int) -> None:
        if now_ms < self._books_due_ms.get(coin, 0):
            return
        self._books_due_ms[coin] = now_ms + self._world.config.book_stream_ms
        for topic in books:
            topic.send(self.snapshots.book(topic.subscription))

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
        for kind in _EACH_SECOND:
            for topic in self._topics.of(kind, ""):
                self._send_snapshot(topic)
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
        self._user_rest(user, events)
        if topics := self._topics.of("userEvents", user):
            for event in self._user_events(events):
                _send(topics, ws.encode({"channel": ws.USER_EVENTS.name, "data": event}))

    def _user_rest(self, user: str, events: list[Event]) -> None:
        """Order history, TWAPs and notifications."""
        assets = self._world.assets
        for kind, name, rows in (
            ("userHistoricalOrders", "orderHistory", [
                shapes.order_record(assets, OrderStatus(row.order, row.status, row.status_ms))
                for row in events if isinstance(row, OrderUpdate)
            ]),
            ("userTwapSliceFills", "twapSliceFills", _slice_fills(assets, events)),
            ("userTwapHistory", "history", _twap_history(assets, events)),
        ):  # fmt: skip
            if rows and (topics := self._topics.of(kind, user)):
                _send(topics, ws.encode({"channel": kind, "data": {"user": user, name: rows}}))
        if topics := self._topics.of("notification", user):
            for row in events:
                if isinstance(row, LiquidationEvent):
                    text = f"{len(row.positions)} position(s) liquidated: " + ", ".join(c for c, _ in row.positions)
                    _send(topics, ws.NOTIFICATION.frame(ws.Notification(text)))

    def _user_events(self, events: list[Event]) -> list[object]:
        assets = self._world.assets
        shown: list[object] = []
        fills = [shapes.fill(assets[row.fill.coin], row.fill) for row in events if isinstance(row, FillEvent)]
        if fills:
            shown.append(ws.UserEvent(fills=fills))
        shown.extend(_twap_events(assets, events))
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

    def _send_snapshot(self, topic: Topic) -> None:
        frame = self.snapshots.frame(topic.subscription)
        if frame is not None:
            topic.send(frame)


def _is_venues_cancel(status: str) -> bool:
    return status.endswith(("Canceled", "Cancel")) and status not in _QUIET_CANCELS


def _send(topics: Sequence[Topic], frame: bytes) -> None:
    for topic in topics:
        topic.send(frame)


def _slice_fills(assets: shapes.Assets, events: Sequence[Event]) -> list[object]:
    return [
        shapes.twap_slice_fill(assets[row.fill.coin], row.fill)
        for row in events
        if isinstance(row, FillEvent) and row.fill.twap_id is not None
    ]


def _twap_history(assets: shapes.Assets, events: Sequence[Event]) -> list[object]:
    return [shapes.twap_event(assets[row.twap.coin], row) for row in events if isinstance(row, TwapEvent)]


def _twap_events(assets: shapes.Assets, events: Sequence[Event]) -> list[object]:
    rows = {"twapHistory": _twap_history(assets, events), "twapSliceFills": _slice_fills(assets, events)}
    return [{name: found} for name, found in rows.items() if found]
