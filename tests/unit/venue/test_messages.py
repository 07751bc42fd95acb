"""The venue's WebSocket messages of a minute: never more than it takes, and no longer wait than that needs (S18)."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.venue.scripted import ScriptedTransport
from tests.unit.venue.test_streams import START, Bench, Recorder, play

from perpstrader.domain.errors import UsageError
from perpstrader.runtime import VirtualClock
from perpstrader.runtime.loop import run_virtual
from perpstrader.venue.market_data import MarketData
from perpstrader.venue.messages import MessageBudget
from perpstrader.venue.skew import VenueClock
from perpstrader.venue.streams import Streams
from perpstrader.venue.wire.limits import WS_SUBSCRIPTIONS

LIMIT = 120


@given(st.lists(st.tuples(st.integers(1, 150), st.floats(0, 40)), max_size=30))
def test_S18_no_minute_has_more_than_the_venue_takes_and_no_wait_is_longer_than_needed(
    asked: list[tuple[int, float]],
) -> None:
    async def main(clock: VirtualClock) -> None:
        budget, sent = MessageBudget(clock, limit=LIMIT), []
        for count, pause_s in asked:
            await clock.sleep(pause_s)
            before_s, wait_s = clock.now_ms() / 1000, budget.wait_s(count)
            assert (wait_s > 0) == (count > budget.left and budget.left < LIMIT - 20)
            assert wait_s <= 61
            await clock.sleep(wait_s)
            assert budget.left >= min(count, LIMIT - 20)
            if wait_s > 1:
                held = sum(n for at_s, n in sent if at_s > before_s + wait_s - 1 - 61)
                assert held + count > LIMIT - 20 or count > LIMIT - 20, "it could have gone a second earlier"
            budget.note(count)
            sent.append((clock.now_ms() / 1000, count))
            if max(n for _, n in sent) <= LIMIT - 20:
                assert sum(n for at_s, n in sent if at_s > sent[-1][0] - 60) <= LIMIT

    run_virtual(main, start_ms=0)


def test_S18_a_connection_that_breaks_all_the_time_waits_for_room_to_subscribe() -> None:
    async def scene(bench: Bench) -> None:
        bench.streams._messages = MessageBudget(bench.clock, limit=20 + 25)  # two connections of ten subscriptions
        opened_s: list[float] = []
        while bench.clock.now_ms() < START + 400_000:
            if bench.streams.status.connected:
                opened_s.append(bench.clock.now_ms() / 1000)
                bench.socket.on_close("broken")
            await bench.clock.sleep(0.5)
        assert all(third - first > 60 for first, third in zip(opened_s[1:], opened_s[3:], strict=False))
        assert len(opened_s) >= 8, "it connects as often as it may"
        assert "stream-waits" in bench.kinds()

    play(scene)


def test_S18_more_symbols_than_the_venue_lets_one_subscribe_to_are_refused_with_a_sentence() -> None:
    async def main(clock: VirtualClock) -> None:
        for count, is_fine in ((WS_SUBSCRIPTIONS // 3 - 2, True), (WS_SUBSCRIPTIONS // 3, False)):
            symbols = [f"C{number}" for number in range(count)]

            def made(symbols: list[str] = symbols) -> Streams:
                return Streams(
                    ScriptedTransport(), clock, VenueClock(clock), MarketData(), Recorder(clock),
                    account="0x" + "1" * 40, symbols=symbols, interval="1m", rng=random.Random(1),
                    note=lambda kind, text: None,
                )  # fmt: skip

            if is_fine:
                made()
            else:
                with pytest.raises(UsageError, match="names 333 symbols, which takes 1003 subscriptions"):
                    made()

    run_virtual(main, start_ms=0)
