"""WebSocket sessions: subscriptions, pings, and requests by ``post`` (API sheet 6)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from perpstrader.domain.errors import PerpsTraderError
from perpstrader.paper.faults.contract import NO_FAULT, FaultKind, Faults, RequestFate
from perpstrader.paper.server.gate import Line, Serves, arrive
from perpstrader.paper.server.publish import Publisher
from perpstrader.paper.server.topics import Send, Topics
from perpstrader.paper.server.world import World, address
from perpstrader.venue.wire import WireError, limits, ws

MINUTE_MS: Final = 60_000
BROKEN: Final = "connection reset by peer"
"""Why a session ends whose connection a fault breaks."""
_COIN: Final = frozenset({"l2Book", "bbo", "trades", "candle", "activeAssetCtx", "activeAssetData"})
_USER: Final = frozenset(
    {
        "activeAssetData", "orderUpdates", "userEvents", "userFills", "userFundings", "userNonFundingLedgerUpdates",
        "userHistoricalOrders", "openOrders", "clearinghouseState", "notification", "webData2",
        "userTwapSliceFills", "userTwapHistory", "twapStates", "allDexsClearinghouseState", "spotState", "webData3",
    }
)  # fmt: skip
"""Streams of one user."""
_PLAIN: Final = frozenset({"allMids", "assetCtxs", "allDexsAssetCtxs"})


class TooManyConnections(PerpsTraderError):
    """A client has more WebSockets, or opens them faster, than the venue allows."""


class Session:
    """One open WebSocket: ``send`` takes a frame, ``hang_up`` is called once if the server ends it, with the reason."""

    def __init__(self, streams: Streams, client: str, send: Send, hang_up: Callable[[str], None]) -> None:
        self.client = client
        self.subscriptions: dict[ws.Subscription, None] = {}
        self.last_sent_ms = 0
        self._streams = streams
        self._keeps_time = streams.closes_idle
        self._send = send
        self._hang_up = hang_up
        self.line: Line | None = None
        self.is_open = True

    def befall(self, faults: Faults) -> None:
        """Let every frame from now on, and every request by ``post``, meet its fate."""
        inner = self._send
        self.line = Line(faults, lambda frame: inner(frame) if self.is_open else None, self.break_off)
        self._send = self.line.send

    def break_off(self) -> None:
        """The connection breaks."""
        self.hang_up(BROKEN)

    def send(self, frame: bytes) -> None:
        """Send one frame, as long as the session is open."""
        if self.is_open:
            if self._keeps_time:
                self.last_sent_ms = self._streams.now_ms()
            self._send(frame)

    def receive(self, raw: bytes) -> None:
        """Take one frame of the client; whatever it is, the answer is a frame."""
        if not self.is_open or (self.line is not None and self.line.is_frozen):
            return
        try:
            self._streams.take(self, raw)
        except WireError as error:
            self.send(ws.ERROR.frame(str(error)))

    def close(self) -> None:
        """The client has gone."""
        if self.is_open:
            self.is_open = False
            self._streams.forget(self)

    def hang_up(self, reason: str) -> None:
        """End it from the server's side."""
        if self.is_open:
            self.close()
            self._hang_up(reason)


class Streams:
    """All sessions of one server."""

    def __init__(self, world: World, topics: Topics, publisher: Publisher, venue: Serves) -> None:
        self._world = world
        self._topics = topics
        self._publisher = publisher
        self._venue = venue
        self.closes_idle = world.config.idle_close_ms is not None
        self._sessions: list[Session] = []
        self._opened: dict[str, deque[int]] = {}
        self._messages: dict[str, deque[int]] = {}

    def now_ms(self) -> int:
        """The venue's time."""
        return self._world.now_ms()

    def open(
        self, client: str, send: Send, hang_up: Callable[[str], None], faults: Faults | None = None
    ) -> Session:
        """A new session, greeted in plain text as the venue does; raises ``TooManyConnections``.

        All but the greeting meets ``faults``: it comes before the client has the socket.
        """
        if self._world.config.enforce_ip_limits:
            mine = sum(session.client == client for session in self._sessions)
            if mine >= self._world.config.websocket_connections:
                raise TooManyConnections(f"{client} has {mine} WebSockets open; the venue allows no more")
            if not self._within_minute(self._opened, client, limits.WS_NEW_CONNECTIONS_PER_MINUTE):
                raise TooManyConnections(f"{client} opens more than {limits.WS_NEW_CONNECTIONS_PER_MINUTE} a minute")
        session = Session(self, client, send, hang_up)
        self._sessions.append(session)
        session.send(ws.GREETING.encode())
        if faults is not None:
            session.befall(faults)
        return session

    def forget(self, session: Session) -> None:
        """Drop a closed session and its subscriptions."""
        self._sessions.remove(session)
        for subscription in session.subscriptions:
            self._topics.drop(subscription, session.send)
        session.subscriptions.clear()

    def hang_up_all(self, reason: str) -> None:
        """End every session."""
        for session in tuple(self._sessions):
            session.hang_up(reason)

    def close_idle(self, now_ms: int) -> None:
        """End sessions on which nothing was sent for the configured time."""
        idle = self._world.config.idle_close_ms
        if idle is None:
            return
        for session in tuple(self._sessions):
            if now_ms - session.last_sent_ms >= idle:
                session.hang_up(f"nothing was sent for {idle // 1000} s")

    def take(self, session: Session, raw: bytes) -> None:
        """Serve one frame of a client; raises ``WireError`` with the text of its error frame."""
        if self._world.config.enforce_ip_limits and not self._within_minute(
            self._messages, session.client, limits.WS_MESSAGES_PER_MINUTE
        ):
            raise WireError(f"Too many messages: at most {limits.WS_MESSAGES_PER_MINUTE} per minute.")
        request = ws.decode_request(raw)
        match request:
            case ws.Subscribe():
                self._subscribe(session, request.subscription)
            case ws.Unsubscribe():
                self._unsubscribe(session, request.subscription)
            case ws.Ping():
                session.send(ws.PONG)
            case ws.Post():
                self._post(session, request)

    def _within_minute(self, counts: dict[str, deque[int]], client: str, most: int) -> bool:
        now_ms, times = self.now_ms(), counts.setdefault(client, deque())
        while times and times[0] <= now_ms - MINUTE_MS:
            times.popleft()
        if len(times) >= most:
            return False
        times.append(now_ms)
        return True

    def _subscribe(self, session: Session, wanted: ws.Subscription) -> None:
        key = self._checked(wanted)
        if key in session.subscriptions:
            raise WireError(f"Already subscribed: {_text(key)}")
        if self._world.config.enforce_ip_limits:
            self._check_limits(session, key)
        session.subscriptions[key] = None
        self._topics.add(key, session.send)
        session.send(_ack("subscribe", key))
        first = self._publisher.snapshots.frame(key)
        if first is not None:
            session.send(first)

    def _unsubscribe(self, session: Session, wanted: ws.Subscription) -> None:
        key = wanted.key()
        if key not in session.subscriptions:
            raise WireError(f"Already unsubscribed: {_text(key)}")
        del session.subscriptions[key]
        self._topics.drop(key, session.send)
        session.send(_ack("unsubscribe", key))

    def _checked(self, wanted: ws.Subscription) -> ws.Subscription:
        """The key form of a subscription that this server serves."""
        invalid = WireError(f"Invalid subscription {_text(wanted)}")
        kind = wanted.type
        if kind not in _COIN and kind not in _USER and kind not in _PLAIN:
            raise invalid
        if wanted.dex or (kind in _COIN and wanted.coin not in self._world.assets):
            raise invalid
        if kind in _USER:
            try:
                address(wanted.user)
            except WireError:
                raise invalid from None
        if kind == "candle" and not self._world.candles.offers(wanted.interval or ""):
            raise invalid
        if kind == "l2Book" and not _is_grouping(wanted.n_sig_figs, wanted.mantissa):
            raise invalid
        key = wanted.key()
        return msgspec.structs.replace(
            key, coin=key.coin if kind in _COIN else None, user=key.user if kind in _USER else None
        )

    def _check_limits(self, session: Session, key: ws.Subscription) -> None:
        mine = [one for one in self._sessions if one.client == session.client]
        if sum(len(one.subscriptions) for one in mine) >= limits.WS_SUBSCRIPTIONS:
            raise WireError(f"Cannot have more than {limits.WS_SUBSCRIPTIONS} subscriptions.")
        users = {subscription.user for one in mine for subscription in one.subscriptions if subscription.user}
        if key.user and key.user not in users and len(users) >= self._world.config.websocket_users:
            raise WireError(f"Cannot track more than {self._world.config.websocket_users} total users.")

    def _post(self, session: Session, request: ws.Post) -> None:
        kind = request.request.type
        if kind not in ("info", "action"):
            raise WireError(f"Error parsing JSON into valid websocket request: post of type {kind}")
        body = bytes(request.request.payload)
        path = "/info" if kind == "info" else "/exchange"
        fate = NO_FAULT if session.line is None else session.line.faults.of_request(path, body)
        if fate.kind is FaultKind.REFUSED:
            session.break_off()
        elif fate.delay_s:
            late = partial(self._answer_post, session, request.id, path, body, fate)
            asyncio.get_running_loop().call_later(fate.delay_s, late)
        else:
            self._answer_post(session, request.id, path, body, fate)

    def _answer_post(self, session: Session, request_id: int, path: str, body: bytes, fate: RequestFate) -> None:
        answer = arrive(self._venue, path, body, session.client, fate)
        if answer is None:
            return
        payload: object = msgspec.Raw(answer.body)
        if answer.status != 200:
            kind, payload = "error", f"{answer.status} {answer.body.decode('utf-8', 'replace')}".strip()
        elif path == "/info":
            kind, payload = "info", {"type": msgspec.json.decode(body)["type"], "data": payload}
        else:
            kind = "action"
        data = {"id": request_id, "response": {"type": kind, "payload": payload}}
        session.send(ws.encode({"channel": "post", "data": data}))


def _is_grouping(figures: int | None, mantissa: int | None) -> bool:
    if figures is None:
        return mantissa is None
    return 2 <= figures <= 5 and (mantissa is None or (figures == 5 and mantissa in (1, 2, 5)))


def _text(subscription: ws.Subscription) -> str:
    return ws.encode(subscription).decode()


def _ack(method: str, key: ws.Subscription) -> bytes:
    echo = msgspec.to_builtins(key)
    if key.type == "l2Book":
        echo = {"nSigFigs": None, "mantissa": None} | echo
    return ws.encode({"channel": "subscriptionResponse", "data": {"method": method, "subscription": echo}})
