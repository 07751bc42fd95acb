"""What a run has made is told apart: booked, still open, and the change of equity, which is the sum of the two."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from tests.scenario.kit import Script, Stage, go, play
from tests.scenario.market import Bar, calm

from perpstrader.domain import Side
from perpstrader.trader.earnings import earnings_of

LONG: Script = {("BTC", 1): go(Side.LONG, 57_000, 66_000)}
RISING = [*calm(60_000, 3), *(Bar(path=(str(price),)) for price in (60_300, 60_600)), *calm(60_600)]
_CENT = Decimal("0.01")


def test_S35_realised_and_open_profit_add_up_to_the_change_of_equity() -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(5)
        made = earnings_of(stage.trader)
        realized, still_open = Decimal(made.realized_usd), Decimal(made.open_usd)
        assert realized < 0 < still_open
        assert abs(Decimal(made.equity_change_usd) - realized - still_open) <= _CENT
        assert stage.commands.status().earnings == made

    play({"BTC": RISING}, {"alpha": LONG}, act)


def test_S35_a_position_that_was_found_open_counts_from_the_start_on_only(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        await stage.bar(5)
        await stage.stop()
        await stage.start_again()
        made = earnings_of(stage.trader)
        assert (made.realized_usd, made.equity_change_usd) == ("0", "0")
        assert Decimal(made.open_usd) > 0
        assert (await stage.commands.close("BTC", "enough", actor="tester")).done
        after = earnings_of(stage.trader)
        assert Decimal(after.realized_usd) > 0 > Decimal(after.equity_change_usd)
        assert after.open_usd == "0"

    play({"BTC": RISING}, {"alpha": LONG}, act, state_path=tmp_path / "state.db")
