"""``state.db`` cannot be written: no entry goes out, and nothing that makes a position smaller waits for that."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from tests.scenario.kit import Script, Stage, go, leave, play, reduce_by
from tests.scenario.market import Bar, calm

from perpstrader.domain import HaltKind, Side, StateError
from perpstrader.trader.decisions import Decider
from perpstrader.trader.trader import Trader

LONG: Script = {("BTC", 1): go(Side.LONG, 57_000, 66_000)}
TIGHT = {"risk.daily_loss_entry_stop_fraction": "0.005", "risk.max_daily_loss_fraction": "0.0075"}


def _fill_the_disk(stage: Stage) -> None:
    def full(*args: object) -> Any:
        raise StateError("the disk is full")

    stage.trader.store._write = full  # type: ignore[method-assign]


async def _free_the_disk(stage: Stage) -> None:
    del stage.trader.store._write
    await stage.seconds(2)
    stage.trader.recorder.recent.clear()  # the failures that were told of are what this is about


def _flattened() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        assert stage.position("BTC") > 0
        _fill_the_disk(stage)
        token = stage.commands.prepare("flatten", {"reason": "enough"}).token
        result = await stage.commands.flatten("enough", actor="tester", token=token)
        assert result.done
        assert stage.position("BTC") == 0
        assert stage.halts() == ["operator"]
        await _free_the_disk(stage)
        on_disk = await stage.trader.store.read(lambda tx: tx.halts.active())
        assert [halt.kind for halt in on_disk] == [HaltKind.OPERATOR]

    play({"BTC": calm(60_000)}, {"alpha": LONG}, act)


def test_S05_S40_flatten_works_and_its_halt_is_on_disk_as_soon_as_that_can_be_written() -> None:
    _flattened()


def test_S05_the_proof_fails_where_flatten_waits_for_its_halt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trader, "halt_in_time", Trader.halt)
    with pytest.raises(StateError):
        _flattened()


def test_S41_a_loss_beyond_the_second_limit_still_flattens() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        assert stage.position("BTC") > 0
        _fill_the_disk(stage)
        await stage.bar(6)
        assert (stage.position("BTC"), stage.position("ETH")) == (0, 0)
        assert stage.halts() == ["daily_loss"]
        await _free_the_disk(stage)
        on_disk = await stage.trader.store.read(lambda tx: tx.halts.active())
        assert [(halt.kind, halt.flatten) for halt in on_disk] == [(HaltKind.DAILY_LOSS, True)]

    parts = [Decimal(part) for part in ("0.965", "0.96", "0.955")]
    coins = {
        coin: [*calm(price, 3), *(Bar(path=(str(price * part),)) for part in parts)]
        for coin, price in (("BTC", 60_000), ("ETH", 3_000))
    }
    play(coins, {"alpha": {**LONG, ("ETH", 1): go(Side.LONG, 2_850, 3_300)}}, act, overrides=TIGHT)


def _closed() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        held = stage.position("BTC")
        _fill_the_disk(stage)
        await stage.bar(3)
        assert stage.position("BTC") == held - Decimal("0.0005")
        await stage.bar(4)
        assert stage.position("BTC") == 0
        await stage.bar(6)
        assert not stage.sent("ETH", "plain")
        await _free_the_disk(stage)

    script: Script = {
        **LONG, ("BTC", 3): reduce_by("0.0005"), ("BTC", 4): leave, ("ETH", 5): go(Side.LONG, 2_850, 3_300),
    }  # fmt: skip
    play({"BTC": calm(60_000), "ETH": calm(3_000)}, {"alpha": script}, act)


def test_S01_an_owner_reduces_and_closes_and_no_entry_goes_out() -> None:
    _closed()


def test_S01_the_proof_fails_where_an_exit_must_be_on_disk_first(monkeypatch: pytest.MonkeyPatch) -> None:
    async def strict(self: Decider, signal: Any) -> bool:
        """Mutant: no deadline, no way around the disk."""
        return await self._store.transact(lambda tx: tx.signals.first_seen(signal.strategy, signal.id, 0))

    monkeypatch.setattr(Decider, "_is_first", strict)
    with pytest.raises(AssertionError):
        _closed()


def test_S36_an_exit_that_could_not_be_recorded_is_acted_on_once() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        held = stage.position("BTC")
        episode = stage.trader.execution.desk.positions.holdings["BTC"].episode
        _fill_the_disk(stage)
        for _ in range(2):
            await stage.signal(
                "BTC", Side.LONG, action="reduce", size="0.0005", strategy="alpha", episode=episode, id="once"
            )
        assert stage.position("BTC") == held - Decimal("0.0005")
        await _free_the_disk(stage)
        answer = await stage.signal(
            "BTC", Side.LONG, action="reduce", size="0.0005", strategy="alpha", episode=episode, id="once"
        )
        assert "DUPLICATE_SIGNAL" in answer.text

    play({"BTC": calm(60_000)}, {"alpha": LONG}, act)


def test_S71_a_key_belongs_to_one_command_and_a_confirmation_to_its_reason() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(2)
        await stage.commands.halt("look", actor="tester", key="one")
        token = stage.commands.prepare("flatten", {"reason": "enough"}).token
        with pytest.raises(Exception, match="another reason"):
            await stage.commands.flatten("something else", actor="tester", token=token, key="one")
        token = stage.commands.prepare("flatten", {"reason": "enough"}).token
        result = await stage.commands.flatten("enough", actor="tester", token=token, key="one")
        assert (result.command, stage.position("BTC")) == ("flatten", 0)
        assert await stage.commands.flatten("enough", actor="tester", token="used", key="one") == result

    play({"BTC": calm(60_000)}, {"alpha": LONG}, act)
