"""A whole paper exchange from plain arguments: it runs, funds once, and goes on from its directory."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from tests.unit.paper_server.desk import START_MS, USER

from perpstrader.paper import PaperPlan, PaperStoreError, open_paper
from perpstrader.paper.feeds import FeedError
from perpstrader.runtime import VirtualClock, run_virtual

PLAN = PaperPlan(symbols=("BTC",), seed=4)


def test_an_account_is_funded_at_its_first_start_only(tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        for _ in range(2):
            async with open_paper(PLAN, tmp_path, clock) as paper:
                paper.ensure_funded(USER, Decimal("1000"))
                answer = await paper.transport().post("/info", b'{"type":"allMids"}', timeout_s=1)
                assert float(msgspec.json.decode(answer.body)["BTC"]) > 0
                assert paper.venue.engine.account_state(USER).account_value == 1_000_000_000
                await clock.sleep(10)

    run_virtual(main, start_ms=START_MS)


def test_without_a_directory_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def main(clock: VirtualClock) -> None:
        async with open_paper(PLAN, None, clock) as paper:
            paper.ensure_funded(USER, Decimal("1000"))

    run_virtual(main, start_ms=START_MS)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_in_use_and_an_unknown_symbol_are_told(tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        async with open_paper(PLAN, tmp_path, clock):
            with pytest.raises(PaperStoreError, match="in use"):
                async with open_paper(PLAN, tmp_path, clock):
                    pass
        with pytest.raises(FeedError, match="cannot have symbols"):
            async with open_paper(PaperPlan(symbols=("NOPE",)), None, clock):
                pass

    run_virtual(main, start_ms=START_MS)


def test_an_error_in_the_block_or_in_the_market_is_met_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    async def in_the_block(clock: VirtualClock) -> None:
        async with open_paper(PLAN, None, clock):
            raise LookupError("ours")

    async def in_the_market(clock: VirtualClock) -> None:
        async with open_paper(PLAN, None, clock) as paper:
            monkeypatch.setattr(paper.venue, "_show", lambda step: 1 / 0)
            await clock.sleep(60)

    with pytest.raises(LookupError, match="ours"):
        run_virtual(in_the_block, start_ms=START_MS)
    with pytest.raises(ZeroDivisionError):
        run_virtual(in_the_market, start_ms=START_MS)
