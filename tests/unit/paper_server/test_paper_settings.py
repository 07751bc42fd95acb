"""The settings of the paper exchange reach it, and each changes what it does."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest
from tests.unit.paper_server.desk import START_MS

from perpstrader.domain.errors import UsageError
from perpstrader.paper import open_paper
from perpstrader.paper.faults import FaultKind
from perpstrader.paper.server import LatencyModel
from perpstrader.runtime import SystemClock, TransportError, VirtualClock, run_virtual
from perpstrader.settings import Settings, load
from perpstrader.trader.app import latency_of, paper_plan

META = b'{"type":"meta"}'


def settings(**overrides: Any) -> Settings:
    return load(None, {"HOME": "/nowhere"}, {key.replace("__", "."): value for key, value in overrides.items()})


def opened(story: Any, **overrides: Any) -> None:
    async def main(clock: VirtualClock) -> None:
        async with open_paper(paper_plan(settings(**overrides)), None, clock) as paper:
            await story(paper, clock)

    run_virtual(main, start_ms=START_MS)


def test_faults_of_the_settings_meet_every_client_and_are_seeded_with_the_market() -> None:
    async def story(paper: Any, clock: VirtualClock) -> None:
        transport = paper.transport()
        for _ in range(20):
            answer = await transport.post("/info", META, timeout_s=1)
            seen.append(answer.status)
        assert paper.venue.faults.landed[FaultKind.TOO_MANY] == seen[-20:].count(429)

    seen: list[int] = []
    for seed in (5, 5, 6):
        opened(story, paper__faults=["too_many:info=0.5"], feed__seed=seed)
    assert seen[:20] == seen[20:40] != seen[40:]
    assert set(seen) == {200, 429}


def test_without_faults_there_is_nothing_in_the_way() -> None:
    async def story(paper: Any, clock: VirtualClock) -> None:
        assert paper.venue.mischief is None
        assert (await paper.transport().post("/info", META, timeout_s=1)).status == 200

    opened(story)


def test_fault_control_alone_opens_the_way_for_later_ones() -> None:
    async def story(paper: Any, clock: VirtualClock) -> None:
        assert paper.venue.faults.rules == ()

    opened(story, paper__fault_control=True)


def test_a_fault_that_cannot_be_stops_the_start() -> None:
    with pytest.raises(UsageError, match="there is no fault 'nonsense'"):
        opened(None, paper__faults=["nonsense=0.5"])


def test_the_queue_model_is_the_engines() -> None:
    async def story(paper: Any, clock: VirtualClock) -> None:
        assert paper.venue.engine.config.queue_model == "share"

    opened(story, paper__queue_model="share")


def test_the_share_of_the_way_there_decides_when_a_request_is_executed() -> None:
    def both(share: str) -> tuple[float, float]:
        chosen = settings(paper__latency="lognormal", paper__latency_entry_fraction=share)
        model = latency_of(chosen.paper)
        return model.entry_s(Random(1)), model.response_s(Random(1))

    entry, response = both("0.75")
    assert entry == pytest.approx(3 * response)
    entry, response = both("0.5")
    assert entry == response == LatencyModel().entry_s(Random(1))


def test_a_live_market_that_cannot_be_reached_is_one_sentence() -> None:
    plan = paper_plan(settings(feed__source="live", feed__live_url="http://127.0.0.1:9", feed__live_stale_ms=7_000))
    assert plan.live is not None
    assert (plan.live.stale_ms, plan.symbols) == (7_000, ("BTC", "ETH", "SOL"))

    async def main() -> None:
        with pytest.raises(TransportError, match=r"cannot reach http://127\.0\.0\.1:9"):
            async with open_paper(plan, None, SystemClock()):
                pass

    asyncio.run(main())


def test_a_live_market_closes_its_bars_as_the_venue_does() -> None:
    assert settings(feed__source="live").bar_ms == 300_000
    assert settings().bar_ms == 1_000
