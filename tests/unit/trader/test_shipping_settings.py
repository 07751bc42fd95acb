"""Each setting of shipping changes what is shipped, when, or whether."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
from tests.contract.traces.samples import START_MS, trace
from tests.unit.traces.test_shipper import BOT, StandIn

from perpstrader.runtime.loop import VirtualClock, run_virtual
from perpstrader.settings import Settings, load
from perpstrader.traces import TraceError, TraceStore, outbox
from perpstrader.traces.postgres import Shipper
from perpstrader.trader.shipping import deadline_ms, make_shipper, server_of


class Silent:
    """A recorder that keeps its notes."""

    def __init__(self) -> None:
        self.notes: list[Any] = []

    def take(self, note: Any) -> None:
        self.notes.append(note)


def settings(**changes: object) -> Settings:
    return load(None, {}, {f"traces.{name}": value for name, value in changes.items()})


async def shipper_with(store: TraceStore, server: StandIn | None, clock: VirtualClock, **changes: object) -> Any:
    recorder: Any = Silent()
    return await make_shipper(settings(**changes), store, server, BOT, clock, Random(1), recorder)


@pytest.mark.parametrize(("rows", "parcels"), [(10, 3), (500, 1)])
def test_batch_rows_bounds_a_transaction(tmp_path: Path, rows: int, parcels: int) -> None:
    async def main(clock: VirtualClock) -> None:
        async with TraceStore.open(tmp_path / "traces.db") as store:
            for number in range(1, 31):
                await store.store(trace(number))
            server = StandIn(clock)
            await (await shipper_with(store, server, clock, postgres_batch_rows=rows)).finish()
            assert (server.takes, len(server.arrived)) == (parcels, 30)

    run_virtual(main, start_ms=START_MS)


@pytest.mark.parametrize("interval_ms", [250, 7_000])
def test_the_interval_is_the_time_between_looks(tmp_path: Path, interval_ms: int) -> None:
    async def main(clock: VirtualClock) -> None:
        async with TraceStore.open(tmp_path / "traces.db") as store:
            shipper: Shipper = await shipper_with(store, StandIn(clock), clock, postgres_interval_ms=interval_ms)
            assert await shipper.step() == interval_ms / 1000

    run_virtual(main, start_ms=START_MS)


@pytest.mark.parametrize("longest_ms", [2_000, 60_000])
def test_the_longest_pause_bounds_the_pauses(tmp_path: Path, longest_ms: int) -> None:
    async def main(clock: VirtualClock) -> None:
        async with TraceStore.open(tmp_path / "traces.db") as store:
            away = StandIn(clock, ((0, 2**60),))
            shipper: Shipper = await shipper_with(store, away, clock, postgres_retry_max_ms=longest_ms)
            pauses = [await shipper.step() for _ in range(200)]
            assert longest_ms / 1000 * 0.8 < max(pauses) <= longest_ms / 1000
            assert deadline_ms(settings(postgres_retry_max_ms=longest_ms)) > longest_ms

    run_virtual(main, start_ms=START_MS)


def test_without_an_address_nothing_is_shipped_and_nothing_held_back(tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        async with TraceStore.open(tmp_path / "traces.db") as store:
            await store.begin_shipping("00ff")
            assert await shipper_with(store, None, clock) is None
            assert await store._read(outbox.is_on) is False

    assert server_of(settings()) is None
    run_virtual(main, start_ms=START_MS)


def test_the_timeout_is_the_servers_and_the_address_is_checked_before_a_start() -> None:
    address = "postgresql://somebody@127.0.0.1:1/record"
    server = server_of(settings(postgres_url=address, postgres_timeout_ms=1_500))
    assert server is not None
    assert server.timeout_s == 1.5
    with pytest.raises(TraceError, match="an address such as postgresql://user@host"):
        server_of(settings(postgres_url="mysql://somebody@127.0.0.1/record"))


def test_the_address_is_no_part_of_what_decisions_depend_on() -> None:
    assert settings().digest == settings(postgres_url="postgresql://a@b/c").digest
