"""A transport that keeps to the venue's budgets: the weight of an IP, and the actions of an address (S18).

Signed actions are told apart by their bytes: reading them again would cost more than a budget is worth. A 429 makes
reads pause; what it means for an action is decided where its outcome is (S11).
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from perpstrader.domain import INTERVAL_MS
from perpstrader.runtime import Answer, CloseHandler, FrameHandler, Socket, Transport, TransportError
from perpstrader.venue.address_budget import ActionKind, AddressBudget
from perpstrader.venue.budget import Charge, IpBudget, NoRoomError
from perpstrader.venue.wire import WireError, info, limits, weights

_OK: Final = 200
_TOO_MANY: Final = 429
_URGENT: Final = frozenset(
    {"userFillsByTime", "frontendOpenOrders", "meta", "userAbstraction", "userRole", "extraAgents"}
)
"""What a position is found and protected by, and what a start asks before it does that."""

_TYPE: Final = re.compile(rb'"type":"(\w+)"')
_ORDERS: Final = (b'"r":true', b'"r":false')
"""Each order says whether it only reduces; a signature has an ``r`` of its own, which is no truth value."""
_COUNTED: Final = {b"order": _ORDERS, b"batchModify": _ORDERS, b"cancel": (b'"o":',), b"cancelByCloid": (b'"cloid":',)}
_CANCELS: Final = frozenset({b"cancel", b"cancelByCloid"})
_REDUCING: Final = frozenset({b"order", b"batchModify", b"modify"})
_EXHAUSTED: Final = b"Too many cumulative requests"
_ROWS: Final = msgspec.json.Decoder(list[msgspec.Raw])


class BudgetedTransport:
    """What ``inner`` does, within ``ip`` and ``address``; what must not go out raises ``TransportError`` unsent."""

    def __init__(self, inner: Transport, ip: IpBudget, address: AddressBudget) -> None:
        self._inner = inner
        self.ip = ip
        self.address = address

    async def post(self, path: str, body: bytes, *, timeout_s: float) -> Answer:
        """See ``Transport.post``; the time that a read waits for room is not taken from its answer's."""
        if path == "/info":
            return await self._read(path, body, timeout_s)
        if path == "/exchange":
            return await self._act(path, body, timeout_s)
        return await self._inner.post(path, body, timeout_s=timeout_s)

    async def open_socket(self, on_frame: FrameHandler, on_close: CloseHandler) -> Socket:
        """See ``Transport.open_socket``."""
        return await self._inner.open_socket(on_frame, on_close)

    async def close(self) -> None:
        """See ``Transport.close``."""
        await self._inner.close()

    async def _read(self, path: str, body: bytes, timeout_s: float) -> Answer:
        request = info.decode_request(body)
        kind = request.type
        weight = weights.info_weight(kind)
        try:
            if weights.is_light(kind):
                charge = await self.ip.take_light(weight, timeout_s)
            else:
                most = weight + weights.row_weight(kind, most_rows(request))
                charge = await self.ip.take_read(weight, most, timeout_s, patient=kind not in _URGENT)
        except NoRoomError as error:
            raise TransportError(
                f"{kind} was not asked for: {error}; what is left is kept for orders and cancels", sent=False
            ) from error
        answer = await self._send(charge, path, body, timeout_s)
        has_rows = answer.status == _OK and weights.row_weight(kind, 1_000)
        charge.answered(weight + (weights.row_weight(kind, _rows(answer.body)) if has_rows else 0))
        if answer.status == _OK and kind == info.USER_RATE_LIMIT.kind:
            self._observe(answer.body)
        return answer

    async def _act(self, path: str, body: bytes, timeout_s: float) -> Answer:
        kind, count = read_action(body)
        refusal = self.address.refusal(kind)
        if refusal is not None:
            return Answer(_OK, msgspec.json.encode({"status": "err", "response": refusal}))
        weight = weights.exchange_weight(count)
        try:
            charge = self.ip.take_action(weight, entry=kind is ActionKind.OTHER)
        except NoRoomError as error:
            raise TransportError(f"the action was not sent: {error}", sent=False) from error
        self.address.sent(kind, count)
        answer = await self._send(charge, path, body, timeout_s)
        charge.answered(weight)
        if answer.status == _OK and _EXHAUSTED in answer.body[:200]:
            self.address.refused(kind, count)
        return answer

    async def _send(self, charge: Charge, path: str, body: bytes, timeout_s: float) -> Answer:
        """The answer, with the charge still open; however else it ends, the charge ends with it."""
        try:
            answer = await self._inner.post(path, body, timeout_s=timeout_s)
        except TransportError as error:
            if error.sent:
                charge.lost()
            else:
                charge.unsent()
            raise
        except BaseException:
            charge.lost()
            raise
        if answer.status == _TOO_MANY:
            self.ip.refused()
        else:
            self.ip.accepted()
        return answer

    def _observe(self, body: bytes) -> None:
        try:
            rate = info.USER_RATE_LIMIT.decode(body)
        except WireError:
            return  # whoever asked finds out by itself
        self.address.observe(rate.n_requests_used, rate.n_requests_cap, rate.n_requests_surplus)


def most_rows(request: info.InfoRequest) -> int:
    """The most rows that the answer to a read can have (API sheet 1)."""
    if request.req is not None:
        length_ms, end_ms = INTERVAL_MS.get(request.req.interval), request.req.end_time
        if length_ms is None or end_ms is None:
            return limits.CANDLES
        return min(limits.CANDLES, max(0, end_ms - request.req.start_time) // length_ms + 1)
    if request.type in ("userFunding", "userNonFundingLedgerUpdates", "fundingHistory"):
        return limits.RANGE_ROWS
    return limits.HISTORY_ROWS


def read_action(body: bytes) -> tuple[ActionKind, int]:
    """What a signed action is to the budgets, and how many orders or cancels it holds."""
    found = _TYPE.search(body, 0, 64)
    name = found.group(1) if found is not None else b""
    counted = _COUNTED.get(name)
    count = 1 if counted is None else max(1, sum(body.count(mark) for mark in counted))
    if name in _CANCELS:
        return ActionKind.CANCEL, count
    if name == b"twapCancel" or (name in _REDUCING and b'"r":false' not in body):
        return ActionKind.EXIT, count
    return ActionKind.OTHER, count


def _rows(body: bytes) -> int:
    try:
        return len(_ROWS.decode(body))
    except msgspec.DecodeError:
        return 0
