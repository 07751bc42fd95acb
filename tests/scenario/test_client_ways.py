"""Which client runs and which way its requests go is a setting each, and a whole trader trades on with any of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from tests.scenario import kit
from tests.scenario.kit import Stage, play
from tests.scenario.market import calm

from perpstrader.domain import Purpose, Side
from perpstrader.paper.server import LatencyModel
from perpstrader.settings import load
from perpstrader.trader.clients import lives_of
from perpstrader.venue import shadow
from perpstrader.venue.posting import PostingTransport
from perpstrader.venue.reads import Kind, Lives, ReadCache

NEAR = LatencyModel(median_s=0.02, p99_s=0.08)
BTC = {"BTC": calm(60_000)}


async def trade(stage: Stage) -> None:
    """A position, with its stop."""
    await stage.bar(1)
    assert (await stage.signal("BTC", Side.LONG)).done
    await stage.seconds(10)
    live = stage.trader.execution.desk.orders.live("BTC", Purpose.STOP)
    assert len(live) == 1


def run(overrides: Mapping[str, object], look: Any, *, latency: LatencyModel | None = NEAR) -> Any:
    async def act(stage: Stage) -> Any:
        await trade(stage)
        return look(stage)

    return play(BTC, {"alpha": {}}, act, latency=latency, overrides=overrides)


def counts(stage: Stage) -> Mapping[str, float]:
    """What ``perpstrader perf`` and the metrics show."""
    return stage.trader.monitor.snapshot().counters


def test_in_shadow_the_baseline_trades_and_nothing_differs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kit, "CLIENT", "shadow")

    def look(stage: Stage) -> None:
        assert isinstance(stage.trader.execution.desk.client, shadow.HyperliquidClient)
        assert counts(stage)["client_divergences"] == 0
        assert counts(stage)["reads_hits"] + counts(stage)["reads_streamed"] > 0

    run({}, look)


def test_a_cache_that_lies_is_traced_in_shadow_and_changes_no_trade(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kit, "CLIENT", "shadow")
    honest = ReadCache.find

    def lying(self: ReadCache, key: Any, oldest_ns: int) -> Any:
        known = honest(self, key, oldest_ns)
        return known and type(known)((), known.as_of_ns) if key[0] is Kind.ORDERS else known

    monkeypatch.setattr(ReadCache, "find", lying)

    async def act(stage: Stage) -> None:
        await trade(stage)
        client = stage.trader.execution.desk.client
        for _ in range(3):
            assert await client.open_orders()
            await stage.seconds(0.2)
        assert counts(stage)["client_divergences"] > 0
        assert [note for note in stage.trader.recorder.recent if note.kind == "client-differs"]

    play(BTC, {"alpha": {}}, act, latency=NEAR)


@pytest.mark.parametrize("way", ["http", "websocket"])
def test_orders_and_reads_go_the_way_that_is_set(way: str) -> None:
    def look(stage: Stage) -> tuple[int, int]:
        route = stage.trader.streams._transport
        return (route.posted if isinstance(route, PostingTransport) else 0), stage.trader.counters.orders

    posted, orders = run({"client.actions_by": way, "client.reads_by": way}, look)
    assert orders == 1
    assert posted == 0 if way == "http" else posted > 10


@pytest.mark.parametrize("follows", [True, False])
def test_reads_are_followed_on_the_streams_unless_that_is_turned_off(follows: bool) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(1)
        client = stage.trader.execution.desk.client
        before = counts(stage)["reads_asked"]
        assert await client.mids(["BTC"], max_age_ms=None) == {"BTC": (await client.mids())["BTC"]}
        book = await client.book("BTC", max_age_ms=None)
        assert book.symbol == "BTC"
        asked = counts(stage)["reads_asked"] - before
        assert asked == (1 if follows else 3)  # the one is asked for by the comparison itself

    play(BTC, {"alpha": {}}, act, overrides={"client.streamed_reads": follows})


def test_the_lives_of_answers_are_those_of_the_settings() -> None:
    values = {"mids": 100, "account": 0, "orders": 300, "book": 400, "meta": 500}
    settings = load(
        None, {}, {"data.dir": "/nonexistent", **{f"client.{kind}_ttl_ms": ms for kind, ms in values.items()}}
    )
    assert lives_of(settings.client) == Lives(mids_ms=100, account_ms=0, orders_ms=300, book_ms=400, meta_ms=500)
    assert lives_of(load(None, {}, {"data.dir": "/nonexistent"}).client) == Lives()
