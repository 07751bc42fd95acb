"""A trader whose decisions are shipped trades as one whose are not, whatever the shared database does (S62)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.scenario.kit import NOON_MS, Script, Stage, go, leave, play
from tests.scenario.market import calm
from tests.unit.traces.test_shipper import StandIn

from perpstrader.alerts import RingChannel
from perpstrader.cli.screen import summary
from perpstrader.domain import Side, Trace, TraceKind
from perpstrader.simulate import world
from perpstrader.trader.build import Deps
from perpstrader.trader.status import status_of

BUSY: Script = {
    ("BTC", 1): go(Side.LONG, 57_000, 66_000), ("BTC", 4): leave, ("BTC", 8): go(Side.SHORT, 63_000, 54_000),
}  # fmt: skip
FOR_EVER = ((0, 2**60),)


class Place:
    """The stand-in of the trader that a stage builds, and the alerts of that trader."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, outages: tuple[tuple[int, int], ...] = ()) -> None:
        self.server: StandIn
        self.ring = RingChannel()

        def make(**given: Any) -> Deps:
            self.server = StandIn(given["clock"], outages)
            return Deps(**given, trace_server=self.server, channels=(self.ring,))

        monkeypatch.setattr(world, "Deps", make)

    def told(self) -> list[tuple[str, str]]:
        return [
            (alert.incident.key, alert.change.value) for alert in self.ring.alerts
            if alert.incident.key.startswith("shared")
        ]  # fmt: skip


def on_stage(act: Callable[[Stage], Awaitable[Any]], **more: Any) -> Any:
    return play({"BTC": calm(60_000)}, {"alpha": BUSY}, act, **more)


async def lived(stage: Stage) -> tuple[list[Any], list[Trace]]:
    """What was traded and what was recorded, after a minute."""
    await stage.bar(12)
    await stage.seconds(10)
    await stage.trader.recorder.drain()
    fills = [repr(fill) for fill in stage.engine.fills(stage.user)]
    return fills, await stage.trader.recorder._store.between(0, 2**60)


def without_epoch(traces: list[Trace]) -> list[tuple[Any, ...]]:
    return [(t.sequence, t.kind, t.accepted_ms, t.symbol, len(t.orders), len(t.fills)) for t in traces]


@pytest.mark.parametrize("outages", [(), FOR_EVER], ids=["there", "away"])
def test_S62_orders_and_records_are_those_of_a_trader_that_ships_nothing(
    monkeypatch: pytest.MonkeyPatch, outages: tuple[tuple[int, int], ...]
) -> None:
    alone = on_stage(lived)
    place = Place(monkeypatch, outages)
    fills, traces = on_stage(lived)
    assert fills == alone[0]
    assert len(fills) >= 3
    assert without_epoch(traces) == without_epoch(alone[1])
    assert bool(place.server.entries) == (not outages)


def test_everything_that_was_recorded_has_arrived_when_the_trader_has_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(monkeypatch)
    recorded: list[Trace] = []

    async def act(stage: Stage) -> None:
        _, traces = await lived(stage)
        assert place.server.newest()[traces[0].id] == traces[0], "within a second or so, while it trades"
        await stage.trader.stop()
        recorded.extend(await stage.trader.recorder._store.between(0, 2**60))

    on_stage(act, sound=False)
    shipped = place.server.newest()
    assert recorded == [shipped[item.id] for item in recorded]
    assert recorded[-1].kind is TraceKind.COMMAND, "the stop itself"
    assert place.server.closed > 0
    assert place.server.notes


def test_S45_a_database_that_stays_away_is_told_once_and_so_is_its_return(monkeypatch: pytest.MonkeyPatch) -> None:
    back_ms = NOON_MS + 900_000
    place = Place(monkeypatch, ((NOON_MS + 30_000, back_ms),))

    async def act(stage: Stage) -> None:
        await stage.seconds(300)
        assert place.told() == [], "a restart of the database wakes nobody"
        await stage.seconds(300)
        assert place.told() == [("shared-record", "new")]
        assert stage.notes("shared-record-away")
        told = [part.plain for part in summary(status_of(stage.trader), {}) if "shared record" in part.plain]
        assert "it takes nothing now: the stand-in is away" in told[0]
        await stage.seconds(600)
        assert place.told()[-1] == ("shared-record", "over")
        assert stage.notes("shared-record-back")
        shipping = status_of(stage.trader).shared_record
        assert shipping is not None
        assert (shipping.waiting, shipping.away_ms) == (0, None)
        assert not [beat for beat in stage.trader.heartbeats() if beat.late]

    on_stage(act)


def test_what_the_database_refuses_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(monkeypatch)

    async def act(stage: Stage) -> None:
        shipper = stage.trader.shipper
        assert shipper is not None
        shipper.on_dead("1 rows of the record were refused")
        await stage.seconds(3)
        assert place.told() == [("shared-record-refused:", "new")]

    on_stage(act)
