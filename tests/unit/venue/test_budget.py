"""The minute's weight and the address's actions: no more goes out than the venue grants, and exits find room (S18)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from itertools import pairwise
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perpstrader.runtime import Answer, CloseHandler, FrameHandler, Socket, TransportError, VirtualClock, run_virtual
from perpstrader.venue.address_budget import ActionKind, AddressBudget
from perpstrader.venue.budget import MINUTE_MS, START_WEIGHT, IpBudget
from perpstrader.venue.budgeted import BudgetedTransport, most_rows, read_action
from perpstrader.venue.wire import info, weights
from perpstrader.venue.wire.actions import (
    IOC,
    Cancel,
    CancelByCloid,
    CancelByCloidWire,
    CancelWire,
    Order,
    OrderWire,
)
from perpstrader.venue.wire.errors import ErrorCode, classify
from perpstrader.venue.wire.exchange import PostedRequest, encode_request
from perpstrader.venue.wire.limits import IP_WEIGHT_PER_MINUTE
from perpstrader.venue.wire.responses import decode_answer
from perpstrader.venue.wire.signing import Signature

START = 1_700_000_000_000
FILLS = b'{"type":"userFillsByTime","user":"0x00","startTime":0}'
CANDLES = b'{"type":"candleSnapshot","req":{"coin":"BTC","interval":"1m","startTime":0,"endTime":3540000}}'
ROLE = b'{"type":"userRole","user":"0x00"}'
BOOK = b'{"type":"l2Book","coin":"BTC"}'
RATE = b'{"type":"userRateLimit","user":"0x00"}'
EXIT = b'{"action":{"type":"order","orders":[{"a":0,"b":true,"p":"1","s":"1","r":true}]}}'
ENTRY = EXIT.replace(b'"r":true', b'"r":false')
CANCEL = b'{"action":{"type":"cancelByCloid","cancels":[{"asset":0,"cloid":"0x01"}]}}'
TOO_MANY = b'{"status":"err","response":"Too many cumulative requests sent (10001 > 10000) for cumulative volume"}'
OK = b'{"status":"ok","response":{"type":"default"}}'


class Venue:
    """Answers after ``delay_s``; remembers when it counted what, anywhere between the sending and the answer."""

    def __init__(self, clock: VirtualClock, rows: int = 0, delay_s: Callable[[], float] = lambda: 0.0) -> None:
        self._clock = clock
        self._rows = rows
        self._delay_s = delay_s
        self.counted: list[tuple[int, int]] = []
        self.bodies: list[bytes] = []
        self.status = 200
        self.exchange = OK
        self.lost = False

    async def post(self, path: str, body: bytes, *, timeout_s: float) -> Answer:
        self.bodies.append(body)
        await self._clock.sleep(self._delay_s())
        self.counted.append((self._clock.now_ms(), self._weight(path, body)))
        await self._clock.sleep(self._delay_s())
        if self.lost:
            raise TransportError("nothing came", sent=True)
        if path == "/exchange":
            return Answer(self.status, self.exchange)
        if body == RATE:
            return Answer(200, b'{"cumVlm":"0.0","nRequestsUsed":9990,"nRequestsCap":10000,"nRequestsSurplus":0}')
        return Answer(self.status, b"[" + b",".join([b"{}"] * self._rows) + b"]")

    def _weight(self, path: str, body: bytes) -> int:
        if path == "/exchange":
            return 1
        kind = info.decode_request(body).type
        return weights.info_weight(kind) + weights.row_weight(kind, self._rows)

    async def open_socket(self, on_frame: FrameHandler, on_close: CloseHandler) -> Socket:
        raise AssertionError("nobody opens a socket here")

    async def close(self) -> None: ...

    def most_in_a_minute(self) -> int:
        """The greatest weight in any window of 60 s, both ends included."""
        return max(
            (sum(w for at_ms, w in self.counted if begin <= at_ms <= begin + MINUTE_MS) for begin, _ in self.counted),
            default=0,
        )


def wire_of(
    venue: Venue, clock: VirtualClock, *, limit: int = IP_WEIGHT_PER_MINUTE, reserve: float = 0.2, **more: Any
) -> BudgetedTransport:
    return BudgetedTransport(venue, IpBudget(clock, limit=limit, reserve=reserve, **more), AddressBudget(clock))


def run(main: Callable[[VirtualClock], Coroutine[Any, Any, Any]]) -> Any:
    return run_virtual(main, start_ms=START)


ASKED = st.lists(
    st.tuples(st.sampled_from([FILLS, CANDLES, ROLE, BOOK, EXIT, ENTRY]), st.integers(1, 60), st.integers(0, 20_000)),
    min_size=1, max_size=25,
)  # fmt: skip


@given(asked=ASKED, rows=st.sampled_from([0, 19, 59]), seed=st.integers(0, 2**32), loses=st.booleans())
@settings(max_examples=60)
def test_S18_no_window_of_a_minute_holds_more_than_the_venue_grants(
    asked: list[tuple[bytes, int, int]], rows: int, seed: int, loses: bool
) -> None:
    """Bursts of any kind at any time, counted by the venue at any moment until the answer, rows and losses included."""

    async def main(clock: VirtualClock) -> int:
        rng = Random(seed)
        venue = Venue(clock, rows, delay_s=lambda: rng.choice([0.0, 0.001, 0.3, 4.0]))
        wire = wire_of(venue, clock)

        async def ask(body: bytes) -> None:
            with contextlib.suppress(TransportError):
                venue.lost = loses and rng.random() < 0.3
                await wire.post("/exchange" if body in (EXIT, ENTRY) else "/info", body, timeout_s=10)

        async with asyncio.TaskGroup() as group:
            for body, times, pause_ms in asked:
                for _ in range(times):
                    group.create_task(ask(body))
                await clock.sleep(pause_ms / 1000)
        return venue.most_in_a_minute()

    assert run(main) <= IP_WEIGHT_PER_MINUTE


@given(seed=st.integers(0, 2**32))
@settings(max_examples=25)
def test_S18_rows_that_turn_out_to_be_many_are_within_what_was_reserved(seed: int) -> None:
    async def main(clock: VirtualClock) -> int:
        rng = Random(seed)
        venue = Venue(clock, 2_000, delay_s=lambda: rng.choice([0.0, 0.2, 3.0]))
        wire = wire_of(venue, clock)

        async def ask() -> None:
            with contextlib.suppress(TransportError):
                await wire.post("/info", FILLS, timeout_s=10)

        async with asyncio.TaskGroup() as group:
            for _ in range(60):
                group.create_task(ask())
                await clock.sleep(rng.choice([0.0, 0.1, 5.0]))
        return venue.most_in_a_minute()

    assert run(main) <= IP_WEIGHT_PER_MINUTE


def test_S18_exits_and_cancels_find_room_when_all_else_is_kept_back() -> None:
    async def main(clock: VirtualClock) -> None:
        venue = Venue(clock)
        wire = wire_of(venue, clock)
        for body in [ROLE] * 30 + [BOOK] * 700:
            with contextlib.suppress(TransportError):
                await wire.post("/info", body, timeout_s=0)
        entries = 0
        for _ in range(500):
            with contextlib.suppress(TransportError):
                await wire.post("/exchange", ENTRY, timeout_s=5)
                entries += 1
        assert 0 < entries < 500
        for body in [EXIT, CANCEL] * 30:
            await wire.post("/exchange", body, timeout_s=5)
        assert venue.most_in_a_minute() <= IP_WEIGHT_PER_MINUTE

    run(main)


def test_a_heavy_read_is_not_starved_by_light_ones_that_came_after_it() -> None:
    async def main(clock: VirtualClock) -> int:
        wire = wire_of(Venue(clock, delay_s=lambda: 0.02), clock)
        over = asyncio.Event()

        async def poll() -> None:
            while not over.is_set():
                with contextlib.suppress(TransportError):
                    await wire.post("/info", BOOK, timeout_s=5)
                await clock.sleep(0.05)

        async with asyncio.TaskGroup() as group:
            for _ in range(40):
                group.create_task(poll())
            await clock.sleep(30)
            begun = clock.now_ms()
            await wire.post("/info", CANDLES, timeout_s=90)
            over.set()
        return clock.now_ms() - begun

    assert run(main) <= 61_000


def test_who_came_first_is_served_first_and_the_urgent_before_the_patient() -> None:
    async def main(clock: VirtualClock) -> list[str]:
        ip = IpBudget(clock, limit=400, reserve=0.2)
        held = await ip.take_read(250, 250, 1, patient=True)
        order: list[str] = []

        async def ask(name: str, weight: int, patient: bool) -> None:
            charge = await ip.take_read(weight, weight + 90, 600, patient=patient)
            order.append(name)
            await clock.sleep(1)
            charge.answered(weight)

        async with asyncio.TaskGroup() as group:
            for name, weight, patient in [("p1", 100, True), ("p2", 10, True), ("u1", 80, False), ("u2", 10, False)]:
                group.create_task(ask(name, weight, patient))
                await clock.sleep(0.01)
            held.answered(0)
        return order

    assert run(main) == ["u1", "u2", "p1", "p2"]


def test_a_waiter_that_is_cancelled_lets_the_next_one_through_and_keeps_nothing() -> None:
    async def main(clock: VirtualClock) -> int:
        ip = IpBudget(clock, limit=400, reserve=0.2)
        charge = await ip.take_read(250, 250, 1, patient=True)
        first = asyncio.create_task(ip.take_read(200, 200, 600, patient=True))
        second = asyncio.create_task(ip.take_read(20, 20, 600, patient=True))
        await clock.sleep(1)
        assert not second.done(), "it does not overtake"
        first.cancel()
        charge.answered(100)
        (await second).answered(20)
        return ip.spent

    assert run(main) == 120


def test_an_urgent_read_waits_only_for_answers_that_can_give_enough_back() -> None:
    async def main(clock: VirtualClock) -> None:
        ip = IpBudget(clock, limit=IP_WEIGHT_PER_MINUTE, reserve=0.2)
        open_ones = [await ip.take_read(20, 120, 1, patient=False) for _ in range(8)]
        waiting = asyncio.create_task(ip.take_read(20, 120, 10, patient=False))
        await clock.sleep(0.1)
        assert not waiting.done()
        for charge in open_ones:
            charge.answered(20)
        (await waiting).answered(20)
        for _ in range(35):
            (await ip.take_read(20, 20, 10, patient=False)).answered(20)
        (await ip.take_read(20, 20, 10, patient=False)).answered(70)
        begun = clock.now_ms()
        with pytest.raises(Exception, match="weight a minute are spent"):
            await ip.take_read(20, 120, 10, patient=False)
        assert clock.now_ms() == begun

    run(main)


@pytest.mark.parametrize(("limit", "reserve", "reads"), [(1_200, 0.2, 48), (600, 0.2, 24), (1_200, 0.5, 30)])
def test_the_settings_say_how_much_reads_may_use(limit: int, reserve: float, reads: int) -> None:
    async def main(clock: VirtualClock) -> int:
        venue = Venue(clock)
        wire = wire_of(venue, clock, limit=limit, reserve=reserve)
        for _ in range(100):
            with contextlib.suppress(TransportError):
                await wire.post("/info", b'{"type":"frontendOpenOrders","user":"0x00"}', timeout_s=5)
        return len(venue.bodies)

    assert run(main) == reads


def test_after_429_reads_pause_ever_longer_until_one_is_answered_and_exits_go_on() -> None:
    async def main(clock: VirtualClock) -> tuple[list[int], int]:
        venue = Venue(clock)
        wire = wire_of(venue, clock)
        venue.status = 429
        gaps, last = [], clock.now_ms()
        for _ in range(6):
            await wire.post("/info", BOOK, timeout_s=60)
            gaps.append(clock.now_ms() - last)
            last = clock.now_ms()
            await wire.post("/exchange", EXIT, timeout_s=5)
            assert clock.now_ms() == last, "an exit does not pause"
        with pytest.raises(TransportError, match="429"):
            await wire.post("/info", BOOK, timeout_s=1)
        venue.status = 200
        for _ in range(3):
            await wire.post("/info", BOOK, timeout_s=60)
        venue.status = 429
        await wire.post("/info", BOOK, timeout_s=60)
        begun = clock.now_ms()
        await wire.post("/info", BOOK, timeout_s=60)
        return gaps, clock.now_ms() - begun

    gaps, after = run(main)
    assert gaps == [0, 500, 1_000, 2_000, 4_000, 8_000]
    assert after == 500


# --- over restarts ---


@given(seed=st.integers(0, 2**32), life_ms=st.integers(200, 20_000))
@settings(max_examples=40)
def test_S18_a_loop_of_crashes_does_not_exceed_the_minute(seed: int, life_ms: int) -> None:
    async def main(clock: VirtualClock) -> int:
        rng, saved = Random(seed), [""]
        venue = Venue(clock, 40, delay_s=lambda: rng.choice([0.0, 0.05, 0.4]))

        async def live() -> None:
            wire = wire_of(venue, clock, save=lambda text: saved.__setitem__(0, text))
            wire.ip.load(saved[0] or None)
            saved[0] = wire.ip.begin()
            while True:
                with contextlib.suppress(TransportError):
                    body = rng.choice([FILLS, CANDLES, ROLE, BOOK, EXIT, EXIT])
                    await wire.post("/exchange" if body == EXIT else "/info", body, timeout_s=5)
                await clock.sleep(rng.choice([0.0, 0.01, 0.3]))

        for _ in range(15):
            life = asyncio.create_task(live())
            await clock.sleep(life_ms / 1000 * rng.random())
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)
            await clock.sleep(rng.choice([0.0, 1.0, 5.0]))
        return venue.most_in_a_minute()

    assert run(main) <= IP_WEIGHT_PER_MINUTE


def test_S18_exits_go_at_once_after_a_start_in_a_spent_minute() -> None:
    async def main(clock: VirtualClock) -> None:
        saved: list[str] = []
        venue = Venue(clock)
        old = wire_of(venue, clock, save=saved.append)
        for _ in range(38):
            await old.post("/info", b'{"type":"userFees","user":"0x00"}', timeout_s=0)
        assert old.ip.spent == 760
        new = wire_of(venue, clock)
        new.ip.load(saved[-1])
        assert new.ip.spent >= old.ip.spent
        begun = clock.now_ms()
        for body in (EXIT, CANCEL):
            assert (await new.post("/exchange", body, timeout_s=5)).status == 200
        assert (await new.post("/info", BOOK, timeout_s=5)).status == 200
        assert clock.now_ms() == begun
        await clock.sleep(96)
        assert new.ip.spent == 0

    run(main)


def test_what_a_start_will_read_is_written_down_before_it_reads() -> None:
    async def main(clock: VirtualClock) -> tuple[int, int]:
        ip, heir = (IpBudget(clock, limit=1_200, reserve=0.2) for _ in range(2))
        heir.load(ip.begin())
        return ip.spent, heir.spent

    own, heirs = run(main)
    assert own == 0
    assert heirs >= START_WEIGHT


@pytest.mark.parametrize("starts", [1, 3, 40])
def test_S18_S55_after_any_number_of_starts_the_next_one_waits_at_most_two_minutes_and_then_has_room(
    starts: int,
) -> None:
    """A campaign's find: each start that failed for want of weight wrote down its own reads, and none ever went on."""

    async def main(clock: VirtualClock) -> tuple[float, bool]:
        saved: str | None = None
        for _ in range(starts):
            ip = IpBudget(clock, limit=1_200, reserve=0.2)
            ip.load(saved)
            saved = ip.begin()
            await clock.sleep(0.5)
        ip = IpBudget(clock, limit=1_200, reserve=0.2)
        ip.load(saved)
        wait_s = ip.start_waits_s()
        await clock.sleep(wait_s)
        charge = await ip.take_read(200, 200, 0, patient=False)
        charge.answered(200)
        return wait_s, ip.start_waits_s() >= 0

    wait_s, has_room = run(main)
    assert has_room
    assert (wait_s == 0) is (starts < 7)
    assert wait_s <= 120


@pytest.mark.parametrize("text", ["", "no json", '{"reads": 7}', '{"reads":[["a",1]]}'])
def test_S74_a_record_that_cannot_be_read_counts_as_a_spent_share_and_starts_nothing_else(text: str) -> None:
    async def main(clock: VirtualClock) -> int:
        ip = IpBudget(clock, limit=1_200, reserve=0.2)
        ip.load(text)
        ip.take_action(1, entry=False)
        return ip.spent

    assert run(main) >= 960


# --- the address ---


def test_actions_are_told_apart_by_their_bytes() -> None:
    assert read_action(EXIT) == (ActionKind.EXIT, 1)
    assert read_action(ENTRY) == (ActionKind.OTHER, 1)
    assert read_action(CANCEL.replace(b"}]", b'},{"asset":1,"cloid":"0x02"}]')) == (ActionKind.CANCEL, 2)
    assert read_action(b'{"action":{"type":"cancel","cancels":[{"a":0,"o":1}]}}') == (ActionKind.CANCEL, 1)
    assert read_action(b'{"action":{"type":"updateLeverage","asset":0}}') == (ActionKind.OTHER, 1)
    assert read_action(b"{}") == (ActionKind.OTHER, 1)


@pytest.mark.parametrize("count", [1, 2, 39])
def test_S18_what_goes_out_signed_counts_as_many_actions_as_it_carries(count: int) -> None:
    signature = Signature(r="0x" + "1" * 64, s="0x" + "2" * 64, v=27)
    wire = OrderWire(0, True, "1", "1", True, IOC, "0x" + "3" * 32)
    orders = Order([wire] * count, "na")
    body = encode_request(PostedRequest(orders, 1, signature))
    assert read_action(body) == (ActionKind.EXIT, count)
    assert weights.exchange_weight(read_action(body)[1]) == 1
    cancels = encode_request(PostedRequest(Cancel([CancelWire(0, 1)] * count), 1, signature))
    assert read_action(cancels) == (ActionKind.CANCEL, count)
    by_cloid = CancelByCloid([CancelByCloidWire(0, "0x" + "3" * 32)] * count)
    assert read_action(encode_request(PostedRequest(by_cloid, 1, signature))) == (ActionKind.CANCEL, count)


def test_the_address_is_counted_on_from_what_the_venue_said() -> None:
    async def main(clock: VirtualClock) -> list[int | None]:
        wire = wire_of(Venue(clock), clock)
        heard: list[int] = []
        wire.address.on_left = heard.append
        left = [wire.address.left]
        await wire.post("/info", RATE, timeout_s=5)
        left.append(wire.address.left)
        await wire.post("/exchange", ENTRY, timeout_s=5)
        left.append(wire.address.left)
        assert heard == [10, 9]
        return left

    assert run(main) == [None, 10, 9]


def test_S18_an_exhausted_address_keeps_its_one_action_in_ten_seconds_for_exits() -> None:
    async def main(clock: VirtualClock) -> None:
        venue = Venue(clock)
        wire = wire_of(venue, clock)
        await wire.post("/info", RATE, timeout_s=5)
        venue.exchange = TOO_MANY
        await wire.post("/exchange", ENTRY, timeout_s=5)
        sent = len(venue.bodies)
        venue.exchange = OK
        for body in (ENTRY, b'{"action":{"type":"updateLeverage","asset":0}}'):
            refused = decode_answer((await wire.post("/exchange", body, timeout_s=5)).body).refused
            assert refused is not None
            assert refused.code is ErrorCode.TOO_MANY_REQUESTS
            assert "kept back" in refused.text
        assert len(venue.bodies) == sent, "neither went out"
        await wire.post("/exchange", CANCEL, timeout_s=5)
        assert len(venue.bodies) == sent + 1, "cancels have a larger cap"
        went = []
        for _ in range(300):
            before = len(venue.bodies)
            await wire.post("/exchange", EXIT, timeout_s=5)
            if len(venue.bodies) > before:
                went.append(clock.now_ms())
            await clock.sleep(0.1)
        assert [b - a for a, b in pairwise(went)] == [10_500, 10_500]
        wire.address.observe(9_000, 10_000, 0)
        await wire.post("/exchange", ENTRY, timeout_s=5)
        assert venue.bodies[-1] == ENTRY

    run(main)


def test_a_refused_exit_tries_again_within_seconds_since_a_refusal_costs_nothing() -> None:
    async def main(clock: VirtualClock) -> list[int]:
        venue = Venue(clock)
        wire = wire_of(venue, clock)
        venue.exchange = TOO_MANY
        went = []
        for _ in range(80):
            before = len(venue.bodies)
            await wire.post("/exchange", EXIT, timeout_s=5)
            if len(venue.bodies) > before:
                went.append(clock.now_ms() - START)
            await clock.sleep(0.1)
        return went

    assert run(main) == [0, 2_000, 4_000, 6_000]


def test_the_words_of_a_refusal_kept_here_are_the_venues() -> None:
    async def main(clock: VirtualClock) -> str | None:
        address = AddressBudget(clock)
        address.observe(10_000, 10_000, 0)
        return address.refusal(ActionKind.OTHER)

    assert classify(str(run(main))) is ErrorCode.TOO_MANY_REQUESTS


def test_rows_are_reserved_by_what_was_asked_for() -> None:
    assert most_rows(info.decode_request(CANDLES)) == 60
    assert most_rows(info.decode_request(CANDLES.replace(b"1m", b"1M"))) == 5_000
    assert most_rows(info.decode_request(FILLS)) == 2_000
    assert most_rows(info.decode_request(b'{"type":"userFunding","user":"0x00","startTime":0}')) == 500
    assert msgspec.json.decode(FILLS)["type"] == "userFillsByTime"
