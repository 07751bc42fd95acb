"""Who waits for a flatten is told what is still open, sees each position's fate, and may ask again for the answer."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.unit.cli.support import run_cli, trader_at
from tests.unit.console.support import FakeCommands

from perpstrader.cli import control, waiting
from perpstrader.trader.commands import CommandResult
from perpstrader.trader.status import Status

Capture = pytest.CaptureFixture[str]
FLATTEN = ("flatten", "--reason", "storm", "--yes", "--data-dir")
ROW = {
    "symbol": "BTC", "episode": "BTC-1", "flat": True, "closed": "0.01", "left": "0", "attempts": 1,
    "average_price": "94000.123456789", "text": "flat, as the venue shows",
}  # fmt: skip
LEFT = ROW | {"symbol": "ETH", "flat": False, "left": "-0.5", "attempts": 9, "average_price": None, "text": "no book"}
PARTLY = CommandResult(
    command="flatten", done=False, text="not flat: ETH",
    details={"positions": [ROW, LEFT], "entries_canceled": 2, "failed": ["ETH: not closed within 60 s"]},
)  # fmt: skip


def slow(monkeypatch: pytest.MonkeyPatch, looks: int) -> None:
    """A flatten that answers when the positions have been asked for so often."""
    asked, enough = 0, asyncio.Event()
    if looks == 0:
        enough.set()
    now = FakeCommands.status

    def status(self: FakeCommands) -> Status:
        nonlocal asked
        asked += 1
        if asked == looks:
            enough.set()
        return now(self)

    async def flatten(self: FakeCommands, reason: str, **more: str) -> CommandResult:
        await enough.wait()
        self.calls.append(("flatten", more["key"]))
        return PARTLY

    monkeypatch.setattr(FakeCommands, "status", status)
    monkeypatch.setattr(FakeCommands, "flatten", flatten)
    monkeypatch.setattr(waiting, "TOLD_EVERY_S", 0.2)


def test_S05_a_slow_flatten_tells_what_is_open_and_ends_with_each_positions_fate(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow(monkeypatch, looks=2)
    with trader_at(tmp_path):
        code, out, err = run_cli(capsys, *FLATTEN, tmp_path)
    assert code == 1
    assert err.splitlines()[0].startswith("flatten: 1 position still open: BTC (")
    assert out.splitlines() == [
        "not flat: ETH",
        "symbol\tclosed\tleft\tat\twhat happened",
        "BTC\t0.01\tflat\t94000.12\tflat, as the venue shows (1 attempt)",
        "ETH\t0.01\t-0.5\t-\tno book (9 attempts)",
        "entries cancelled: 2",
        "! ETH: not closed within 60 s",
    ]


def test_S71_an_answer_that_does_not_come_can_be_asked_for_again_by_its_key(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow(monkeypatch, looks=10**9)
    monkeypatch.setattr(control, "COMMAND_S", 0.5)
    with trader_at(tmp_path) as commands:
        code, _, err = run_cli(capsys, *FLATTEN, tmp_path, "--key", "k1")
        last = err.splitlines()[-1]
        assert (code, "it may still carry it out" in last) == (3, True)
        assert last.endswith("ask again for its answer with `perpstrader flatten --key k1 --reason storm --yes`")
        slow(monkeypatch, looks=0)
        assert run_cli(capsys, *FLATTEN, tmp_path, "--key", "k1")[0] == 1
        assert ("flatten", "k1") in commands.calls
