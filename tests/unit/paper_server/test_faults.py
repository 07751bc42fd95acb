"""Faults between client and exchange: what each does to the client, and that chance repeats itself."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from tests.unit.paper_server.desk import USER, Desk, at_the_desk

from perpstrader.domain.errors import PerpsTraderError
from perpstrader.paper.faults import FaultKind, FaultRates, FrameFate, RandomFaults, RequestFate
from perpstrader.paper.server import LatencyModel
from perpstrader.runtime import TransportError
from perpstrader.venue.wire import actions


class Script:
    """Faults in the order in which they were written down; afterwards none."""

    def __init__(self) -> None:
        self.requests: Iterator[RequestFate] = iter(())
        self.frames: Iterator[FrameFate] = iter(())

    def of_request(self, path: str, body: bytes) -> RequestFate:
        return next(self.requests, RequestFate())

    def of_frame(self, frame: bytes) -> FrameFate:
        return next(self.frames, None)


def _buy(desk: Desk, price: str, cloid: str) -> bytes:
    order = actions.OrderWire(0, True, price, "0.01", False, actions.IOC, cloid)
    return desk.signed(actions.Order([order], "na"))


@pytest.mark.parametrize(
    ("kind", "executed"), [(FaultKind.REQUEST_LOST, False), (FaultKind.RESPONSE_LOST, True)]
)
def test_a_lost_message_looks_the_same_from_outside_whether_it_was_executed_or_not(
    kind: FaultKind, executed: bool
) -> None:
    script, cloid = Script(), "0x" + "12" * 16

    async def story(desk: Desk) -> None:
        body = _buy(desk, str(round(await desk.mid() * 1.05)), cloid)
        script.requests = iter([RequestFate(kind)])
        before = desk.clock.now_ms()
        with pytest.raises(TransportError) as failure:
            await desk.transport.post("/exchange", body, timeout_s=4)
        assert failure.value.sent is True
        assert desk.clock.now_ms() - before == 4_000
        assert desk.venue.in_flight == 0
        status = await desk.info("orderStatus", user=USER, oid=cloid)
        assert (status["status"] == "order") is executed

    at_the_desk(story, faults=script)


@pytest.mark.parametrize(
    ("kind", "status", "executed"),
    [(FaultKind.BAD_GATEWAY, 502, False), (FaultKind.BAD_GATEWAY_AFTER, 502, True), (FaultKind.TOO_MANY, 429, False)],
)
def test_a_proxy_answers_in_the_exchanges_place(kind: FaultKind, status: int, executed: bool) -> None:
    script, cloid = Script(), "0x" + "34" * 16

    async def story(desk: Desk) -> None:
        body = _buy(desk, str(round(await desk.mid() * 1.05)), cloid)
        script.requests = iter([RequestFate(kind)])
        answer = await desk.transport.post("/exchange", body, timeout_s=4)
        assert answer.status == status
        assert not answer.body.startswith(b"{")
        record = await desk.info("orderStatus", user=USER, oid=cloid)
        assert (record["status"] == "order") is executed

    at_the_desk(story, faults=script)


def test_a_lagging_read_does_not_know_the_newest_orders_and_fills() -> None:
    script = Script()

    async def story(desk: Desk) -> None:
        status = await desk.order("buy", str(round(await desk.mid() * 1.05)), "0.01", "Ioc")
        oid = status["filled"]["oid"]
        await desk.clock.sleep(1)
        lagging = RequestFate(FaultKind.LAG, lag_ms=3_000)
        script.requests = iter([lagging, lagging])
        assert await desk.info("orderStatus", user=USER, oid=oid) == {"status": "unknownOid"}
        assert await desk.info("userFills", user=USER) == []
        assert (await desk.info("orderStatus", user=USER, oid=oid))["status"] == "order"
        assert len(await desk.info("userFills", user=USER)) >= 1

    at_the_desk(story, faults=script)


def test_frames_come_twice_the_socket_breaks_or_freezes() -> None:
    script = Script()

    async def story(desk: Desk) -> None:
        script.frames = iter([FaultKind.FRAME_TWICE])
        await desk.listen({"type": "allMids"})
        channels = [frame["channel"] for frame in desk.frames[:3]]
        assert channels == ["text", "subscriptionResponse", "subscriptionResponse"]
        await desk.clock.sleep(3)
        script.frames = iter([FaultKind.SOCKET_FROZEN])
        await desk.clock.sleep(3)
        heard = len(desk.frames)
        await desk.clock.sleep(3)
        desk.socket.send(b'{"method":"ping"}')
        assert len(desk.frames) == heard
        assert desk.closed == []
        await desk.socket.close()
        desk.socket = None
        await desk.listen({"type": "allMids"})
        script.frames = iter([FaultKind.SOCKET_DROPPED])
        await desk.clock.sleep(3)
        assert desk.closed == ["connection reset by peer"]
        with pytest.raises(TransportError):
            desk.socket.send(b'{"method":"ping"}')

    at_the_desk(story, faults=script)


def test_a_request_that_its_client_gave_up_on_is_executed_all_the_same() -> None:
    cloid = "0x" + "56" * 16

    async def story(desk: Desk) -> None:
        body = _buy(desk, str(round(await desk.mid() * 1.05)), cloid)
        with pytest.raises(TransportError):
            await desk.transport.post("/exchange", body, timeout_s=0.001)
        await desk.clock.sleep(10)
        assert (await desk.info("orderStatus", user=USER, oid=cloid))["status"] == "order"
        assert desk.venue.in_flight == 0

    at_the_desk(story, latency=LatencyModel())


def test_with_latency_every_message_takes_time_and_keeps_its_order() -> None:
    async def story(desk: Desk) -> None:
        before = desk.clock.now_ms()
        await desk.info("allMids")
        assert desk.clock.now_ms() > before
        await desk.listen({"type": "bbo", "coin": "BTC"})
        await desk.clock.sleep(30)
        times = [frame["time"] for frame in desk.on("bbo")]
        assert len(times) > 20
        assert times == sorted(times)

    at_the_desk(story, latency=LatencyModel())


def test_the_same_seed_meets_the_same_faults_and_counts_them() -> None:
    rates = FaultRates(request_lost=0.1, lag=0.2, frame_twice=0.1, socket_dropped=0.05)

    def run() -> tuple[list[object], dict[FaultKind, int]]:
        faults = RandomFaults(Random(5), rates)
        fates: list[object] = [faults.of_request("/info") for _ in range(200)]
        fates += [faults.of_frame() for _ in range(200)]
        return fates, faults.landed

    assert run() == run()
    fates, landed = run()
    assert sum(landed.values()) == sum(fate not in (None, RequestFate()) for fate in fates)
    assert landed[FaultKind.LAG] > 20
    assert landed[FaultKind.SOCKET_FROZEN] == 0


def test_an_action_never_lags() -> None:
    faults = RandomFaults(Random(5), FaultRates(lag=1.0))
    assert all(faults.of_request("/exchange") == RequestFate() for _ in range(50))


def test_rates_beyond_one_are_refused() -> None:
    with pytest.raises(PerpsTraderError, match="add up to"):
        RandomFaults(Random(5), FaultRates(request_lost=0.7, delay=0.7))
