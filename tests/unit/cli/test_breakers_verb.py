"""``perpstrader breakers``: what it prints, what it sends, what it says where no trader runs."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from tests.unit.cli.support import run_cli, trader_at

from perpstrader.domain.breakers import BreakerRow, BreakerState
from perpstrader.runtime import InlineExecutor
from perpstrader.state import StateStore

Capture = pytest.CaptureFixture[str]


def test_breakers_and_health_are_lines_for_a_pipe_and_json_for_a_program(tmp_path: Path, capsys: Capture) -> None:
    with trader_at(tmp_path) as commands:
        commands.kept.fail(5)
        code, out, _ = run_cli(capsys, "breakers", "--data-dir", tmp_path)
        rows = [line.split("\t") for line in out.splitlines()]
        assert code == 0
        assert rows[1][:5] == ["dep", "open", "it answers", "5 of 5 in 60 s", "5"]
        assert "tried again from" in rows[1][6]
        assert ["venue", "healthy", "it answers"] in rows
        code, out, _ = run_cli(capsys, "breakers", "--json", "--data-dir", tmp_path)
        shown = json.loads(out)
        assert (code, shown["running"], shown["breakers"][0]["state"]) == (0, True, "open")
        assert shown["health"]["status"] == "healthy"


def test_S43_opening_and_resetting_need_a_reason_and_carry_who_and_why(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER", "ann")
    with trader_at(tmp_path) as commands:
        for verb in ("open", "reset"):
            code, _, err = run_cli(capsys, "breakers", verb, "dep", "--data-dir", tmp_path)
            assert (code, f"breakers {verb} needs a reason" in err) == (2, True)
            code, out, _ = run_cli(capsys, "breakers", verb, "dep", "--reason", "night", "--data-dir", tmp_path)
            assert (code, out.startswith("dep is ")) == (0, True)
        sent = [call for call in commands.calls if call[0] in ("open", "reset")]
        assert sent == [("open", "dep", "night", "terminal:ann", ""), ("reset", "dep", "night", "terminal:ann", "")]
        for wrong in (("ajar", "dep"), ("open",)):
            code, _, err = run_cli(capsys, "breakers", *wrong, "--reason", "x", "--data-dir", tmp_path)
            assert (code, "breakers open or reset NAME" in err) == (2, True)
        code, _, err = run_cli(capsys, "breakers", "reset", "a/b", "--reason", "x", "--data-dir", tmp_path)
        assert code == 1
        assert "a/b" in err or "Not Found" in err


def test_without_a_trader_what_the_last_one_left_is_shown_and_nothing_is_changed(
    tmp_path: Path, capsys: Capture
) -> None:
    async def leave() -> None:
        async with await StateStore.open(
            tmp_path / "state.db", executor=InlineExecutor(), account="0x" + "ab" * 20, network="paper",
            new_epoch=lambda: 7,
        ) as store:  # fmt: skip
            row = BreakerRow(
                name="venue", state=BreakerState.LATCHED, since_ms=1_700_000_000_000, until_ms=None, failed_probes=0,
                failure="", actor="ann", reason="night",
            )  # fmt: skip
            await store.transact(lambda tx: tx.breakers.put(row))

    asyncio.run(leave())
    code, out, _ = run_cli(capsys, "breakers", "--data-dir", tmp_path)
    assert code == 0
    assert "venue\tlatched\t2023-11-14 22:13:20 UTC\tann: night" in out
    code, out, _ = run_cli(capsys, "breakers", "--json", "--data-dir", tmp_path)
    assert json.loads(out)["breakers"][0]["name"] == "venue"
    code, _, err = run_cli(capsys, "breakers", "open", "venue", "--reason", "x", "--data-dir", tmp_path)
    assert (code, "perpstrader halt" in err) == (3, True)
