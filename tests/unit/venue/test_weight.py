"""The minute's weight: no more is granted in any 60 s than the venue grants, and actions always pass (S18)."""

from __future__ import annotations

import contextlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpstrader.runtime import Answer, CloseHandler, FrameHandler, Socket, TransportError, VirtualClock, run_virtual
from perpstrader.venue.weight import MINUTE_MS, WeighedTransport
from perpstrader.venue.wire import weights
from perpstrader.venue.wire.limits import IP_WEIGHT_PER_MINUTE

FILLS = b'{"type":"userFillsByTime","user":"0x00","startTime":0}'
CANDLES = b'{"type":"candleSnapshot","req":{"coin":"BTC","interval":"1m","startTime":0,"endTime":1}}'
BOOK = b'{"type":"l2Book","coin":"BTC"}'
ACTION = b'{"action":{"type":"order","orders":[]}}'
KIND = {FILLS: "userFillsByTime", CANDLES: "candleSnapshot", BOOK: "l2Book"}


class Venue:
    """Answers everything, and remembers when what came; ``rows`` in each list."""

    def __init__(self, clock: VirtualClock, rows: int = 0) -> None:
        self._clock = clock
        self._body = b"[" + b",".join([b"{}"] * rows) + b"]"
        self._rows = rows
        self.came: list[tuple[int, int]] = []

    async def post(self, path: str, body: bytes, *, timeout_s: float) -> Answer:
        weight = 1
        if path == "/info":
            weight = weights.info_weight(KIND[body]) + weights.row_weight(KIND[body], self._rows)
        self.came.append((self._clock.now_ms(), weight))
        return Answer(200, self._body)

    async def open_socket(self, on_frame: FrameHandler, on_close: CloseHandler) -> Socket:
        raise AssertionError("nobody opens a socket here")

    async def close(self) -> None: ...

    def most_in_a_minute(self) -> int:
        """The greatest weight in any window of 60 s."""
        return max(
            sum(weight for time_ms, weight in self.came if begin <= time_ms < begin + MINUTE_MS)
            for begin, _ in self.came
        )  # fmt: skip


Asked = list[tuple[bytes, int]]


@given(st.lists(st.tuples(st.sampled_from([FILLS, CANDLES, BOOK]), st.integers(0, 3_000)), min_size=1, max_size=400))
def test_S18_reads_alone_never_exceed_the_minute(asked: Asked) -> None:
    async def main(clock: VirtualClock) -> int:
        venue = Venue(clock, rows=60)
        wire = WeighedTransport(venue, clock, limit=IP_WEIGHT_PER_MINUTE, reserve=0.2)
        for body, pause_ms in asked:
            with contextlib.suppress(TransportError):
                await wire.post("/info", body, timeout_s=5)
            await clock.sleep(pause_ms / 1000)
        return venue.most_in_a_minute()

    assert run_virtual(main, start_ms=1_700_000_000_000) <= IP_WEIGHT_PER_MINUTE


def test_S18_actions_pass_when_reads_are_kept_back() -> None:
    async def main(clock: VirtualClock) -> None:
        venue = Venue(clock)
        wire = WeighedTransport(venue, clock, limit=IP_WEIGHT_PER_MINUTE, reserve=0.2)
        refused = 0
        for body in [FILLS] * 60 + [BOOK] * 200:
            try:
                await wire.post("/info", body, timeout_s=5)
            except TransportError:
                refused += 1
        assert refused == wire.kept_back > 0
        for _ in range(100):
            await wire.post("/exchange", ACTION, timeout_s=5)
        assert venue.most_in_a_minute() <= IP_WEIGHT_PER_MINUTE

    run_virtual(main, start_ms=1_700_000_000_000)


def test_a_patient_read_waits_for_room_and_an_urgent_one_is_told_at_once() -> None:
    async def main(clock: VirtualClock) -> None:
        wire = WeighedTransport(Venue(clock), clock, limit=IP_WEIGHT_PER_MINUTE, reserve=0.2)
        for _ in range(38):
            await wire.post("/info", CANDLES, timeout_s=5)
            await clock.sleep(1)
        begun = clock.now_ms()
        await wire.post("/info", CANDLES, timeout_s=30)
        assert 15_000 <= clock.now_ms() - begun <= 25_000, "the oldest is free again a minute after it"
        for _ in range(10):
            await wire.post("/info", FILLS, timeout_s=5)
        begun = clock.now_ms()
        with pytest.raises(TransportError, match="kept for orders and cancels") as caught:
            await wire.post("/info", FILLS, timeout_s=5)
        assert not caught.value.sent
        assert clock.now_ms() == begun

    run_virtual(main, start_ms=1_700_000_000_000)


def test_a_minute_later_all_of_it_is_free() -> None:
    async def main(clock: VirtualClock) -> list[int]:
        wire = WeighedTransport(Venue(clock), clock, limit=IP_WEIGHT_PER_MINUTE, reserve=0.2)
        spent = []
        for _ in range(4):
            await wire.post("/info", FILLS, timeout_s=5)
            spent.append(wire.minute.spent)
            await clock.sleep(25)
        return spent

    spent = run_virtual(main, start_ms=1_700_000_000_000)
    assert spent == [20, 40, 60, 60]
    assert all(after >= before for before, after in pairwise(spent))


@pytest.mark.parametrize(("limit", "reserve", "reads"), [(1_200, 0.2, 48), (600, 0.2, 24), (1_200, 0.5, 30)])
def test_the_settings_say_how_much_reads_may_use(limit: int, reserve: float, reads: int) -> None:
    async def main(clock: VirtualClock) -> int:
        venue = Venue(clock)
        wire = WeighedTransport(venue, clock, limit=limit, reserve=reserve)
        for _ in range(100):
            with contextlib.suppress(TransportError):
                await wire.post("/info", FILLS, timeout_s=5)
        return len(venue.came)

    assert run_virtual(main, start_ms=1_700_000_000_000) == reads
