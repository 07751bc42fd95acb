"""While the venue is away the status says so: nothing is shown as current, nothing claims to be tradable.

When it is back, everything that was reported as wrong is over.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from tests.scenario.kit import Stage, go, leave, play
from tests.scenario.market import calm

from perpstrader.alerts import RingChannel
from perpstrader.cli.output import position_cells
from perpstrader.cli.screen import summary
from perpstrader.domain import Reason, Side
from perpstrader.execution.reconcile import Reconciler
from perpstrader.runtime import TransportError
from perpstrader.runtime.transport import Answer
from perpstrader.simulate import world
from perpstrader.trader.alarms import Alarms
from perpstrader.trader.build import Deps
from perpstrader.trader.status import Status
from perpstrader.trader.trader import Trader

MARKET = {"BTC": calm(60_000), "ETH": calm(3_000)}
LONG = {"alpha": {("BTC", 1): go(Side.LONG, 58_800)}}


@pytest.fixture(autouse=True)
def heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every trader that a stage builds has a channel for its alerts."""
    monkeypatch.setattr(world, "Deps", partial(Deps, channels=(RingChannel(),)))


class Outage:
    """Between the trader and the venue: while it is on, requests meet a gateway's error, and no stream stays up."""

    def __init__(self, stage: Stage, patch: pytest.MonkeyPatch, *, requests: bool = True) -> None:
        self._transport, self._patch, self._requests = stage.world.transport, patch, requests

    async def begin(self) -> None:
        """From now on."""

        async def post(path: str, body: bytes, *, timeout_s: float) -> Answer:
            return Answer(502, b"<html>502 Bad Gateway</html>")

        async def no_socket(*args: Any) -> Any:
            raise TransportError("connection refused", sent=False)

        if self._requests:
            self._patch.setattr(self._transport, "post", post)
        self._patch.setattr(self._transport, "open_socket", no_socket)
        for socket in tuple(self._transport._sockets):
            socket._hung_up("the venue is away")

    def end(self) -> None:
        """All is well again."""
        self._patch.undo()


def _screen(status: Status) -> str:
    return "\n".join(line.plain for line in summary(status, {}))


def _an_outage_is_shown() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(3)
        before = stage.commands.status()
        assert before.may_trade
        assert before.reconciled
        assert (before.why_not, before.unreachable_since_ms) == ("", None)
        assert "ago" not in "".join(position_cells(before.positions[0]))
        with pytest.MonkeyPatch.context() as patch:
            outage = Outage(stage, patch)
            await outage.begin()
            began_ms = stage.clock.now_ms()
            await stage.seconds(90)
            _check_that_it_is_said(stage, began_ms)
            outage.end()
        await stage.seconds(45)
        alarms = stage.trader.alarms
        assert alarms is not None
        keys = [(alert.incident.key, alert.change.value) for alert in alarms.desk.shown()]
        assert ("stream-down", "over") in keys
        assert ("clock-unmeasured:", "over") in keys
        assert stage.commands.status().reconciled
        await stage.seconds(300)  # the breaker of the venue waits its own time before it closes
        after = stage.commands.status()
        assert (after.may_trade, after.why_not, after.reconciled) == (True, "", True)
        assert after.unreachable_since_ms is None
        assert after.open_incidents == (), "everything that was wrong is told to be over"
        assert "ago" not in "".join(position_cells(after.positions[0]))

    play(MARKET, LONG, act)


def _check_that_it_is_said(stage: Stage, began_ms: int) -> None:
    status = stage.commands.status()
    assert not status.may_trade
    assert not status.reconciled, "nothing is compared while nothing is heard"
    assert set(status.no_entries) == {"BTC", "ETH"}
    assert "VENUE_UNREACHABLE" in status.why_not
    for symbol in ("BTC", "ETH"):
        refusal = stage.trader.execution.refusal(symbol)
        assert refusal is not None
        assert refusal.sentence() == status.no_entries[symbol], "one source: the gate in front of every entry"
        assert refusal.reason is Reason.VENUE_UNREACHABLE
    assert status.unreachable_since_ms is not None
    assert status.unreachable_since_ms >= began_ms - 1_000
    assert min(status.mark_ages_ms.values()) > 80_000
    assert (status.account_age_ms or 0) > 80_000
    assert (status.stream_age_ms or 0) > 80_000
    assert (status.compared_age_ms or 0) > 80_000
    [position] = status.positions
    assert (position.mark_age_ms or 0) > 80_000
    assert (position.protection_age_ms or 0) > 80_000
    assert "confirmed (9" in position_cells(position)[-2]
    text = _screen(status)
    assert "no entries: VENUE_UNREACHABLE" in text
    assert "the venue has not answered since" in text
    assert "by request" not in text, "requests do not go on either"
    assert "as of: marks 9" in text


def test_S30_an_outage_is_shown_as_one_and_is_over_when_it_is_over() -> None:
    _an_outage_is_shown()


@pytest.mark.parametrize(
    ("owner", "name", "instead"),
    [
        (Trader, "_unreachable", lambda self: None),
        (Reconciler, "lost_touch", lambda self: None),
        (Alarms, "_works_again", lambda self, moment: ""),
        (Alarms, "_connection", lambda self, now_ms: iter(())),
    ],
)
def test_S30_the_proof_fails_where_an_outage_is_not_noticed(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str, instead: Any
) -> None:
    monkeypatch.setattr(owner, name, instead)
    with pytest.raises(AssertionError):
        _an_outage_is_shown()


def test_S54_nothing_is_compared_while_the_stream_is_down_though_requests_are_answered() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(3)
        with pytest.MonkeyPatch.context() as patch:
            outage = Outage(stage, patch, requests=False)
            await outage.begin()
            await stage.seconds(45)
            status = stage.commands.status()
            assert not status.reconciled
            assert (status.compared_age_ms or 0) < 40_000, "it was read all the same"
            assert "exits and protection go on by request" in _screen(status)
            result = await stage.signal("ETH", Side.LONG)
            assert not result.done
            assert stage.refusals("external")
            [position] = status.positions
            assert (position.protection_age_ms or 0) < 40_000, "known by request"
            result = await stage.commands.close("BTC", "a person wants out", actor="tester")
            assert result.done
            assert stage.position("BTC") == 0
            outage.end()
        await stage.seconds(40)
        assert stage.commands.status().reconciled
        assert (await stage.signal("ETH", Side.LONG)).done

    play(MARKET, LONG, act)


def test_the_status_names_a_symbol_that_alone_may_not_be_entered() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(3)
        stage.trader.execution.exits._plans["BTC"] = None  # type: ignore[assignment]  # as while an exit runs
        status = stage.commands.status()
        del stage.trader.execution.exits._plans["BTC"]
        assert status.may_trade
        assert list(status.no_entries) == ["BTC"]
        assert status.why_not.startswith("BTC: EXIT_IN_PROGRESS")
        await stage.bar(6)

    play(MARKET, {"alpha": {("BTC", 1): go(Side.LONG, 58_800), ("BTC", 4): leave}}, act)
