"""The venue's weight per IP and minute, kept to on our side: reads give way, orders and cancels never wait (S18).

What is asked for is counted as the venue counts it (API sheet 5.1), rows after the answer. Each kind of read has a
ceiling below the venue's: histories and settings wait for room, because nobody is in a hurry for them; fills and open
orders fail at once beyond theirs, as the venue would refuse them, and so do the light reads at last. The rest of the
minute belongs to signed actions, so that a stop, an exit or a cancel is never the request that is refused.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from perpstrader.runtime import Answer, Clock, CloseHandler, FrameHandler, Socket, Transport, TransportError
from perpstrader.venue.wire import exchange, info, weights

MINUTE_MS: Final = 60_000
_PATIENT_FRACTION: Final = 0.8
"""Of what reads may use, the share up to which those do that nobody is in a hurry for."""

_LIGHT_WEIGHT: Final = 2
_URGENT: Final = frozenset({"userFillsByTime", "frontendOpenOrders"})
_FEW_BYTES: Final = 4_000
"""A signed action this short holds fewer than 40 orders or cancels, and weighs 1."""

_NS_PER_MS: Final = 1_000_000
_ROWS: Final = msgspec.json.Decoder(list[msgspec.Raw])


class MinuteWeight:
    """What was spent in the last 60 s, exactly: what was spent 60 s ago is free again."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._spent: deque[tuple[int, int]] = deque()
        self._sum = 0

    @property
    def spent(self) -> int:
        """The weight in the window now."""
        begin_ms = self._clock.monotonic_ns() // _NS_PER_MS - MINUTE_MS
        while self._spent and self._spent[0][0] < begin_ms:
            self._sum -= self._spent.popleft()[1]
        return self._sum

    def spend(self, weight: int) -> None:
        """Count it from now on."""
        if weight:
            self._spent.append((self._clock.monotonic_ns() // _NS_PER_MS, weight))
            self._sum += weight

    @property
    def more_room_in_s(self) -> float:
        """How long until the oldest part of it is free again; 0 where nothing is spent."""
        if not self._spent:
            return 0.0
        free_ms = self._spent[0][0] + MINUTE_MS + 1
        return max(0.001, free_ms / 1000 - self._clock.monotonic_ns() / 1e9)


class WeighedTransport:
    """What ``inner`` does, within ``limit`` of weight a minute; a read without room raises ``TransportError`` unsent.

    ``reserve`` is the fraction kept for signed actions; the light reads that these need may use half of it.
    """

    def __init__(self, inner: Transport, clock: Clock, *, limit: int, reserve: float) -> None:
        self._inner = inner
        self._clock = clock
        self._limit = limit
        self._light = int(limit * (1 - reserve / 2))
        self._urgent = int(limit * (1 - reserve))
        self._patient = int(self._urgent * _PATIENT_FRACTION)
        self.minute = MinuteWeight(clock)
        self.kept_back = 0
        """Reads that were not sent for want of room."""

    async def post(self, path: str, body: bytes, *, timeout_s: float) -> Answer:
        """See ``Transport.post``; a patient read waits for room as long as it would wait for its answer."""
        if path == "/info":
            return await self._read(path, body, timeout_s)
        if path == "/exchange":
            self.minute.spend(_action_weight(body))
        return await self._inner.post(path, body, timeout_s=timeout_s)

    async def open_socket(self, on_frame: FrameHandler, on_close: CloseHandler) -> Socket:
        """See ``Transport.open_socket``."""
        return await self._inner.open_socket(on_frame, on_close)

    async def close(self) -> None:
        """See ``Transport.close``."""
        await self._inner.close()

    async def _read(self, path: str, body: bytes, timeout_s: float) -> Answer:
        kind = info.decode_request(body).type
        weight = weights.info_weight(kind)
        await self._make_room(kind, weight, timeout_s)
        self.minute.spend(weight)
        answer = await self._inner.post(path, body, timeout_s=timeout_s)
        if answer.status == 200 and weights.row_weight(kind, 1_000):
            self.minute.spend(weights.row_weight(kind, _rows(answer.body)))
        return answer

    async def _make_room(self, kind: str, weight: int, timeout_s: float) -> None:
        ceiling = self._light if weight <= _LIGHT_WEIGHT else self._urgent if kind in _URGENT else self._patient
        left_s = timeout_s if ceiling == self._patient else 0.0
        while self.minute.spent + weight > ceiling:
            pause_s = min(left_s, self.minute.more_room_in_s)
            if pause_s <= 0:
                self.kept_back += 1
                raise TransportError(
                    f"{kind} was not asked for: {self.minute.spent} of {self._limit} of weight a minute are "
                    "spent, and what is left is kept for orders and cancels; it is asked again",
                    sent=False,
                )
            left_s -= pause_s
            await self._clock.sleep(pause_s)


def _action_weight(body: bytes) -> int:
    if len(body) < _FEW_BYTES:
        return 1
    return weights.exchange_weight(weights.batch_size(exchange.decode_request(body).action))


def _rows(body: bytes) -> int:
    try:
        return len(_ROWS.decode(body))
    except msgspec.DecodeError:
        return 0
