"""The stream is kept up: subscribed, pinged, watched, and connected again; every frame reaches who lives on it."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from tests.unit.venue import frames
from tests.unit.venue.frames import MINUTE, START
from tests.unit.venue.scripted import ACCOUNT, CLOID, ScriptedSocket, ScriptedTransport

from perpstrader.runtime import Supervisor, VirtualClock, run_virtual
from perpstrader.venue.bars import GRACE_MS
from perpstrader.venue.market_data import MarketData
from perpstrader.venue.skew import VenueClock
from perpstrader.venue.streams import PING_INTERVAL_S, PONG_TIMEOUT_S, RECONNECT_BASE_S, RECONNECT_CAP_S, Streams


class Recorder:
    """A handler that writes down what it is told; ``fails`` makes one method raise."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.told: list[tuple[str, Any]] = []
        self.at_ms: list[int] = []
        self.fails: set[str] = set()

    def _write(self, name: str, value: Any) -> None:
        if name in self.fails:
            raise RuntimeError(f"{name} has a bug")
        self.told.append((name, value))
        self.at_ms.append(self.clock.now_ms())

    def on_bar(self, candle: Any) -> None:
        self._write("bar", candle)

    def on_fills(self, fills: Any) -> None:
        self._write("fills", fills)

    def on_order_record(self, cloid: str, record: Any) -> None:
        self._write("order", (cloid, record))

    def on_funding(self, payments: Any) -> None:
        self._write("funding", payments)

    def on_cash_flows(self, flows: Any) -> None:
        self._write("flows", flows)

    def on_market(self, symbol: str) -> None:
        self._write("market", symbol)

    def on_connected(self, reconnected: bool) -> None:
        self._write("connected", reconnected)

    def on_disconnected(self, reason: str) -> None:
        self._write("disconnected", reason)

    def of(self, *names: str) -> list[Any]:
        return [value for name, value in self.told if name in names]


class Bench:
    """Streams on a scripted transport under virtual time."""

    def __init__(self, clock: VirtualClock, seed: int, **options: Any) -> None:
        self.clock = clock
        self.transport = ScriptedTransport()
        self.handler = Recorder(clock)
        self.market = MarketData()
        self.notes: list[tuple[str, str]] = []
        self.gaps: list[Any] = []
        self.failures: list[tuple[str, Exception]] = []
        self.supervisor = Supervisor(clock, lambda name, error: self.failures.append((name, error)))
        self.streams = Streams(
            self.transport, clock, VenueClock(clock), self.market, self.handler, account=ACCOUNT,
            symbols=["BTC", "ETH"], interval="1m", rng=random.Random(seed),
            note=lambda kind, text: self.notes.append((kind, text)), on_gap=self.gaps.append, **options,
        )  # fmt: skip

    @property
    def socket(self) -> ScriptedSocket:
        return self.transport.sockets[-1]

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.notes]


def play(scene: Callable[[Bench], Awaitable[None]], seed: int = 1, **options: Any) -> Bench:
    """Run a scene against running streams; they are stopped at its end, and no loop may have failed."""

    async def main(clock: VirtualClock) -> Bench:
        bench = Bench(clock, seed, **options)
        bench.supervisor.start("streams", bench.streams.run, deadline_ms=60_000)
        await clock.sleep(0)
        await clock.sleep(0)
        await scene(bench)
        for beat in bench.supervisor.heartbeats():
            assert not beat.late
        await bench.supervisor.stop()
        assert bench.failures == []
        assert all(socket.closed for socket in bench.transport.sockets)
        return bench

    return run_virtual(main, start_ms=START)


def test_every_stream_is_asked_for_and_acknowledged_by_an_echo_that_says_more() -> None:
    async def scene(bench: Bench) -> None:
        kinds = [(s["type"], s.get("coin"), s.get("interval"), s.get("user")) for s in bench.socket.subscriptions]
        for user_stream in ("userFills", "orderUpdates", "userFundings", "userNonFundingLedgerUpdates"):
            assert (user_stream, None, None, ACCOUNT) in kinds
        for coin in ("BTC", "ETH"):
            assert ("bbo", coin, None, None) in kinds
            assert ("activeAssetCtx", coin, None, None) in kinds
            assert ("candle", coin, "1m", None) in kinds
        assert len(kinds) == 10
        status = bench.streams.status
        assert status.connected
        assert status.unacknowledged == ()
        assert bench.handler.told == [("connected", False)]

    play(scene)


def test_trades_come_only_when_asked_for() -> None:
    async def scene(bench: Bench) -> None:
        assert [s["coin"] for s in bench.socket.subscriptions if s["type"] == "trades"] == ["BTC", "ETH"]
        trade = {"coin": "BTC", "side": "B", "px": "64002.0", "sz": "1.0", "time": START, "hash": "0x", "tid": 5}
        bench.socket.say("trades", [trade])
        snapshot = bench.market.snapshot("BTC")
        assert snapshot is not None
        assert snapshot.last == Decimal("64002.0")

    play(scene, trades=True)


def test_a_stream_that_is_never_acknowledged_is_noted_once_a_connection() -> None:
    async def main(clock: VirtualClock) -> Bench:
        bench = Bench(clock, 1)
        bench.transport.on_open = lambda socket: setattr(socket, "acknowledges", False)
        bench.supervisor.start("streams", bench.streams.run, deadline_ms=60_000)
        await clock.sleep(3 * PING_INTERVAL_S - 1)
        await bench.supervisor.stop()
        return bench

    bench = run_virtual(main, start_ms=START)
    assert bench.kinds() == ["stream-unacknowledged"]
    assert "userFills" in bench.notes[0][1]


def test_market_frames_reach_the_market_and_the_handler_within_the_callback() -> None:
    async def scene(bench: Bench) -> None:
        bench.socket.say("bbo", frames.bbo(START))
        bench.socket.say("activeAssetCtx", frames.context())
        bench.socket.say("candle", frames.candle(START - MINUTE))
        assert [name for name, _ in bench.handler.told] == ["connected", "market", "market", "bar"]
        snapshot = bench.market.snapshot("BTC")
        assert snapshot is not None
        assert (snapshot.bid, snapshot.mark, snapshot.context_ms) == (Decimal("64000.0"), Decimal("64000.5"), START)

    play(scene)


def test_account_frames_reach_the_handler_snapshots_like_others() -> None:
    async def scene(bench: Bench) -> None:
        say = bench.socket.say
        say("userFills", frames.fills(1, 2, snapshot=True))
        say("userFills", frames.fills(2))
        say("orderUpdates", [frames.order_update(), frames.order_update("filled"), frames.order_update(cloid=None)])
        say("userFundings", {"user": ACCOUNT, "fundings": [frames.funding()], "isSnapshot": True})
        rows = [frames.ledger(type="deposit", usdc="100.0"), frames.ledger(type="liquidation")]
        say("userNonFundingLedgerUpdates", {"user": ACCOUNT, "nonFundingLedgerUpdates": rows})
        assert [[f.tid for f in batch] for batch in bench.handler.of("fills")] == [[1, 2], [2]]
        assert [(cloid, record.status) for cloid, record in bench.handler.of("order")] == [
            (CLOID, "open"), (CLOID, "filled"),
        ]  # fmt: skip
        assert bench.handler.of("funding")[0][0].usd == Decimal("-1.25")
        assert [flow.usd for flow in bench.handler.of("flows")[0]] == [Decimal(100)]

    play(scene)


def test_a_ledger_row_that_is_not_known_is_noted_and_the_others_are_booked() -> None:
    async def scene(bench: Bench) -> None:
        rows = [frames.ledger(type="borrowLend", usdc="5.0"), frames.ledger(type="withdraw", usdc="10.0", fee="1.0")]
        bench.socket.say("userNonFundingLedgerUpdates", {"user": ACCOUNT, "nonFundingLedgerUpdates": rows})
        assert [flow.usd for flow in bench.handler.of("flows")[0]] == [Decimal(-11)]
        assert bench.kinds() == ["cash-flow-unknown"]

    play(scene)


def test_fills_of_another_account_are_not_booked() -> None:
    async def scene(bench: Bench) -> None:
        bench.socket.say("userFills", frames.fills(1, user="0x" + "cd" * 20))
        assert bench.handler.of("fills") == []
        assert bench.streams.status.undecodable == 1

    play(scene)


BROKEN = [
    b"{", b'{"channel":5}', b'{"channel":"bbo"}', b'{"channel":"bbo","data":{"coin":"BTC"}}', b'{"channel":"bbo",\xff}',
    b'{"channel":"userFills","data":{"user":"0x","fills":5}}', b'{"channel":"orderUpdates","data":null}',
    b'{"channel":"candle","data":[]}', b'{"channel":"subscriptionResponse","data":7}',
]  # fmt: skip


def test_frames_that_are_not_understood_are_counted_noted_seldom_and_harm_nobody() -> None:
    async def scene(bench: Bench) -> None:
        for raw in BROKEN:
            bench.socket.on_frame(raw)
        bench.socket.on_frame(b"Websocket connection established.")
        bench.socket.on_frame(b"")
        bench.socket.on_frame(b'{"channel":"somethingNew","data":{}}')
        bench.socket.say("bbo", frames.bbo(START))
        assert bench.handler.of("market") == ["BTC"]
        assert bench.streams.status.undecodable >= len(BROKEN) - 1
        assert bench.kinds().count("stream-undecodable") <= 2
        assert bench.streams.status.connected

    play(scene)


def test_an_error_frame_is_noted() -> None:
    async def scene(bench: Bench) -> None:
        bench.socket.say("error", "Already subscribed: {}")
        assert bench.notes == [("stream-error", "the venue's stream says: Already subscribed: {}")]

    play(scene)


@pytest.mark.parametrize("method", ["bar", "market", "fills"])
def test_a_handler_with_a_bug_loses_its_frame_and_nothing_else(method: str) -> None:
    async def scene(bench: Bench) -> None:
        bench.handler.fails = {method}
        bench.socket.say("bbo", frames.bbo(START))
        bench.socket.say("candle", frames.candle(START - MINUTE))
        bench.socket.say("userFills", frames.fills(1))
        assert bench.streams.status.handler_failures == 1
        assert bench.kinds() == ["stream-handler-failed"]
        bench.handler.fails = set()
        bench.socket.say("candle", frames.candle(START - MINUTE + MINUTE))
        await bench.clock.sleep(90)
        assert bench.handler.of("bar")

    play(scene)


def test_a_dropped_connection_is_opened_again_subscribed_again_and_said_to_be_a_reconnect() -> None:
    async def scene(bench: Bench) -> None:
        first = bench.socket
        first.on_close("closed by the venue")
        await bench.clock.sleep(RECONNECT_BASE_S + 0.001)
        assert len(bench.transport.sockets) == 2
        assert bench.socket.subscriptions == first.subscriptions
        assert [t for t in bench.handler.told if t[0] != "market"] == [
            ("connected", False), ("disconnected", "closed by the venue"), ("connected", True),
        ]  # fmt: skip
        first.say("bbo", frames.bbo(START))
        assert bench.handler.of("market") == []
        assert bench.streams.status.reconnects == 1

    play(scene)


def test_a_frozen_connection_is_given_up_when_no_pong_comes() -> None:
    async def scene(bench: Bench) -> None:
        await bench.clock.sleep(1)
        bench.socket.answers_pings = False
        await bench.clock.sleep(PING_INTERVAL_S + PONG_TIMEOUT_S - 1.1)
        assert bench.handler.of("disconnected") == []
        await bench.clock.sleep(0.2)
        assert bench.handler.of("disconnected") == ["no pong within 10 s"]
        await bench.clock.sleep(RECONNECT_BASE_S)
        assert bench.streams.status.connected

    play(scene)


@pytest.mark.parametrize(("pause_s", "after_s"), [(0.2, 3.1), (0.9, 3.1), (5.0, 15.1)])
def test_S20_a_silence_that_the_market_does_not_explain_shows_long_before_the_ping(
    pause_s: float, after_s: float
) -> None:
    async def scene(bench: Bench) -> None:
        for _ in range(12):
            await bench.clock.sleep(pause_s)
            bench.socket.say("bbo", frames.bbo(bench.clock.now_ms()))
            assert not bench.streams.is_quiet
        await bench.clock.sleep(after_s - 0.2)
        assert not bench.streams.is_quiet
        await bench.clock.sleep(0.2)
        assert bench.streams.is_quiet
        bench.socket.say("bbo", frames.bbo(bench.clock.now_ms()))
        assert not bench.streams.is_quiet
        bench.socket.on_close("closed by the venue")
        await bench.clock.sleep(0)
        assert not bench.streams.is_quiet, "one that is down says so otherwise"

    play(scene, ping_interval_s=50.0)


def test_a_venue_that_answers_pings_but_sends_no_market_data_is_connected_anew() -> None:
    async def scene(bench: Bench) -> None:
        for _ in range(20):
            await bench.clock.sleep(10)
            bench.socket.say("bbo", frames.bbo(bench.clock.now_ms()))
        assert bench.handler.of("disconnected") == []
        await bench.clock.sleep(3 * 60 + 2 * PING_INTERVAL_S)
        assert "no market data for 180 s" in bench.handler.of("disconnected")[0]

    play(scene)


def test_a_coin_that_is_silent_while_others_speak_is_shown_and_asked_for_again_once_in_that_time() -> None:
    async def scene(bench: Bench) -> None:
        asked = len(bench.socket.subscriptions)
        stuck: list[tuple[str, ...]] = []
        for _ in range(90):  # seven and a half minutes: three of silence, and three more
            await bench.clock.sleep(5)
            bench.socket.say("bbo", frames.bbo(bench.clock.now_ms()))
            stuck.append(bench.streams.status.stuck)
        assert (stuck[0], stuck[-1]) == ((), ("ETH",))
        again = [s for s in bench.socket.subscriptions[asked:] if s["type"] != "ping"]
        assert {s["coin"] for s in again} == {"ETH"}
        assert {s["type"] for s in again} == {"bbo", "activeAssetCtx", "candle"}
        assert bench.kinds().count("stream-stuck") == len(again) / 3
        ended = [m["subscription"]["coin"] for m in bench.socket.sent if m["method"] == "unsubscribe"]
        assert ended == ["ETH"] * len(again)
        assert len(bench.transport.sockets) == 1
        bench.socket.say("bbo", frames.bbo(bench.clock.now_ms(), coin="ETH"))
        await bench.clock.sleep(25)
        assert bench.streams.status.stuck == ()

    play(scene)


def test_pings_go_out_every_20_seconds() -> None:
    async def scene(bench: Bench) -> None:
        await bench.clock.sleep(101)
        pings = [message for message in bench.socket.sent if message["method"] == "ping"]
        assert len(pings) == 6

    play(scene)


def attempts(seed: int, count: int) -> list[float]:
    """The seconds between connection attempts while the venue refuses all of them."""

    async def main(clock: VirtualClock) -> list[float]:
        bench = Bench(clock, seed)
        bench.transport.refusals = 10**6
        times: list[int] = []
        bench.transport.on_attempt = lambda: times.append(clock.monotonic_ns())
        bench.supervisor.start("streams", bench.streams.run, deadline_ms=60_000)
        while len(times) <= count:
            await clock.sleep(1)
            assert not any(beat.late for beat in bench.supervisor.heartbeats())
        await bench.supervisor.stop()
        assert bench.handler.of("disconnected") == ["cannot open the socket: Connection refused"]
        return [(after - before) / 1e9 for before, after in pairwise(times)]

    return run_virtual(main, start_ms=START)


def test_attempts_are_spread_by_full_jitter_up_to_the_cap_and_repeat_with_the_seed() -> None:
    pauses = attempts(7, 60)
    for number, pause in enumerate(pauses):
        assert 0 <= pause <= min(RECONNECT_CAP_S, RECONNECT_BASE_S * 2**number)
    late = pauses[8:]
    assert max(late) > 0.8 * RECONNECT_CAP_S
    assert min(late) < 0.2 * RECONNECT_CAP_S
    assert attempts(7, 20) == pauses[: len(attempts(7, 20))]
    assert attempts(8, 20) != pauses[: len(attempts(8, 20))]


def test_a_connection_that_flaps_is_tried_ever_more_slowly_and_a_lasting_one_starts_over() -> None:
    async def scene(bench: Bench) -> None:
        start = bench.clock.now_ms()
        for _ in range(30):
            while bench.socket.closed:
                await bench.clock.sleep(0.01)
            bench.socket.on_close("flap")
            await bench.clock.sleep(0.01)
        assert bench.clock.now_ms() - start > 60_000
        while bench.socket.closed:
            await bench.clock.sleep(0.01)
        await bench.clock.sleep(RECONNECT_CAP_S + 1)
        bench.socket.on_close("once")
        before = len(bench.transport.sockets)
        await bench.clock.sleep(RECONNECT_BASE_S + 0.01)
        assert len(bench.transport.sockets) == before + 1

    play(scene)


def test_a_quiet_bar_closes_by_the_venues_clock_without_another_frame() -> None:
    async def scene(bench: Bench) -> None:
        bench.socket.say("candle", frames.candle(START))
        assert bench.handler.of("bar") == []
        await bench.clock.sleep(MINUTE / 1000 + GRACE_MS / 1000 + 0.01)
        assert [bar.open_ms for bar in bench.handler.of("bar")] == [START]
        when = bench.handler.at_ms[[name for name, _ in bench.handler.told].index("bar")]
        assert when == START + MINUTE + GRACE_MS

    play(scene)


def test_bars_that_an_outage_swallowed_are_reported_as_a_gap() -> None:
    async def scene(bench: Bench) -> None:
        bench.socket.say("candle", frames.candle(START - MINUTE))
        bench.socket.say("candle", frames.candle(START))
        bench.socket.on_close("reset")
        await bench.clock.sleep(125)
        bench.socket.say("candle", frames.candle(START + MINUTE))
        assert [bar.open_ms for bar in bench.handler.of("bar")] == [START - MINUTE, START + MINUTE]
        assert [(gap.symbol, gap.start_ms, gap.end_ms) for gap in bench.gaps] == [("BTC", START, START + MINUTE - 1)]
        assert bench.kinds() == ["bar-gap"]

    play(scene)


def test_ages_tell_how_long_each_channel_has_been_silent() -> None:
    async def scene(bench: Bench) -> None:
        bench.socket.say("bbo", frames.bbo(START))
        await bench.clock.sleep(7)
        bench.socket.say("activeAssetCtx", frames.context())
        ages = bench.streams.staleness_ms()
        assert ages["bbo"] == 7_000
        assert ages["activeAssetCtx"] == 0
        assert "candle" not in ages

    play(scene)


def test_nothing_happens_after_stop() -> None:
    async def scene(bench: Bench) -> None:
        await bench.clock.sleep(1)

    bench = play(scene)
    sent = len(bench.socket.sent)
    bench.socket.say("bbo", frames.bbo(START))
    assert bench.handler.of("market") == []
    assert bench.handler.of("disconnected") == ["stopped"]
    assert len(bench.socket.sent) == sent
