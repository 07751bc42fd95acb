"""While no trader runs: what is on disk is shown, a halt is durable, and what needs a trader says so."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path

import pytest
from tests.unit.cli.support import run_cli

from perpstrader.domain import HaltKind, TraceKind
from perpstrader.domain.traces import Step, Trace
from perpstrader.execution import bookkeeping
from perpstrader.execution.positions import Holding, Plan
from perpstrader.runtime import InlineExecutor
from perpstrader.state import StateStore, owner_of
from perpstrader.traces import TraceStore

Capture = pytest.CaptureFixture[str]
ACCOUNT = "0x" + "ab" * 20


async def open_store(folder: Path) -> StateStore:
    return await StateStore.open(
        folder / "state.db", executor=InlineExecutor(), account=ACCOUNT, network="paper", new_epoch=lambda: 7
    )


def prepared(folder: Path) -> None:
    """A store with one open position of 0.02 ETH."""

    holding = Holding(
        symbol="ETH", episode="ETH-1", owner="trend", opened_ms=5, size=Decimal("0.02"), cost_usd=Decimal(40),
        plan=Plan(stop_price=Decimal(1800)),
    )  # fmt: skip

    async def main() -> None:
        async with await open_store(folder) as store:
            await store.transact(lambda tx: bookkeeping._store_holding(tx, "ETH", holding, ended=None, reason=""))

    asyncio.run(main())


def halts(folder: Path) -> list[tuple[HaltKind, str, str]]:
    async def main() -> list[tuple[HaltKind, str, str]]:
        async with await open_store(folder) as store:
            return [(h.kind, h.reason, h.actor) for h in await store.read(lambda tx: tx.halts.active())]

    return asyncio.run(main())


def test_the_owner_of_a_store_is_read_without_knowing_it(tmp_path: Path) -> None:
    prepared(tmp_path)
    assert owner_of(tmp_path / "state.db") == (ACCOUNT, "paper")


def test_positions_and_status_show_what_the_fills_on_disk_add_up_to(tmp_path: Path, capsys: Capture) -> None:
    prepared(tmp_path)
    code, out, _ = run_cli(capsys, "positions", "--data-dir", tmp_path)
    assert code == 0
    assert out.startswith("No trader runs")
    assert out.splitlines()[-1].split("\t")[:4] == ["ETH", "long", "0.02", "2000"]
    _, out, _ = run_cli(capsys, "positions", "--data-dir", tmp_path, "--json")
    shown = json.loads(out)
    assert (shown["running"], shown["positions"][0]["owner"]) == (False, "trend")
    code, out, _ = run_cli(capsys, "status", "--data-dir", tmp_path)
    assert (code, "  1 position, 0 orders" in out, "no halt is in force" in out) == (0, True, True)
    code, out, _ = run_cli(capsys, "orders", "--data-dir", tmp_path, "--json")
    assert (code, json.loads(out)) == (0, {"running": False, "orders": []})


def test_S40_a_halt_without_a_trader_is_on_disk_and_a_resume_releases_it(tmp_path: Path, capsys: Capture) -> None:
    prepared(tmp_path)
    code, out, _ = run_cli(capsys, "halt", "--reason", "holiday", "--data-dir", tmp_path)
    assert (code, "from the next start on" in out) == (0, True)
    ((kind, reason, actor),) = halts(tmp_path)
    assert (kind, reason, actor.startswith("terminal:")) == (HaltKind.OPERATOR, "holiday", True)
    assert "holiday" in run_cli(capsys, "status", "--data-dir", tmp_path)[1]
    code, _, err = run_cli(capsys, "resume", "--reason", "back", "--data-dir", tmp_path)
    assert (code, "releases the halts on disk (operator)" in err) == (2, True)
    assert halts(tmp_path)
    code, out, _ = run_cli(capsys, "resume", "--reason", "back", "--yes", "--data-dir", tmp_path)
    assert (code, "released operator" in out) == (0, True)
    assert not halts(tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        ("flatten", "--reason", "storm", "--yes"), ("signal", "BTC", "long"), ("status",), ("positions",),
        ("halt", "--reason", "x"),
    ],
)  # fmt: skip
def test_what_needs_a_trader_or_its_files_says_so_and_exits_with_3(
    line: tuple[str, ...], tmp_path: Path, capsys: Capture
) -> None:
    code, out, err = run_cli(capsys, *line, "--data-dir", tmp_path)
    assert (code, out) == (3, "")
    assert "no trader runs with" in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def trace(number: int, symbol: str) -> Trace:
    return Trace(
        id=f"t-{number}", sequence=number, kind=TraceKind.HALT, accepted_ms=1_747_058_700_000 + number, symbol=symbol,
        strategy="trend", interval="5m", settings_digest="", version="1",
        steps=(Step(time_ms=1_747_058_700_000, text=f"step of {symbol}"),),
    )  # fmt: skip


def recorded(folder: Path, *traces: Trace) -> None:
    async def main() -> None:
        async with TraceStore.open(folder / "traces.db") as store:
            for one in traces:
                await store.store(one)

    asyncio.run(main())


def test_traces_are_listed_shown_and_explained(tmp_path: Path, capsys: Capture) -> None:
    recorded(tmp_path, trace(1, "BTC"), trace(2, "ETH"))
    at = ("--data-dir", tmp_path)
    code, out, _ = run_cli(capsys, "traces", "list", *at)
    assert (code, [line.split("\t")[1] for line in out.splitlines()[1:]]) == (0, ["t-2", "t-1"])
    _, out, _ = run_cli(capsys, "traces", "list", "--symbol", "BTC", "--json", *at)
    assert [row["id"] for row in json.loads(out)["traces"]] == ["t-1"]
    _, out, _ = run_cli(capsys, "traces", "show", "t-1", *at)
    assert json.loads(out)["symbol"] == "BTC"
    _, out, _ = run_cli(capsys, "traces", "explain", "t-2", *at)
    assert "step of ETH" in out
    _, out, _ = run_cli(capsys, "traces", "explain", "--at", "2025-05-12T14:05", "--symbol", "BTC", *at)
    assert "step of BTC" in out
    for words in (("show", "none"), ("explain", "none")):
        assert run_cli(capsys, "traces", *words, *at)[0] == 1
    for words in (("explain",), ("explain", "--at", "noon", "--symbol", "BTC"), ("explain", "--at", "2025-05-12")):
        assert run_cli(capsys, "traces", *words, *at)[0] == 2


def test_the_record_of_a_replay_is_found_by_latest_and_by_the_beginning_of_its_fingerprint(
    tmp_path: Path, capsys: Capture
) -> None:
    first, second = tmp_path / "replays" / ("ab" * 32), tmp_path / "replays" / ("cd" * 32)
    for folder, symbol in ((first, "BTC"), (second, "ETH")):
        folder.mkdir(parents=True)
        recorded(folder, trace(1, symbol))
    (tmp_path / "replays" / "latest").symlink_to(second.name)
    at = ("--data-dir", tmp_path)
    assert "step of ETH" in run_cli(capsys, "traces", "explain", "t-1", "--replay", "latest", *at)[1]
    assert "step of BTC" in run_cli(capsys, "traces", "explain", "t-1", "--replay", "abab", *at)[1]
    code, _, err = run_cli(capsys, "traces", "list", "--replay", "ffff", *at)
    assert (code, "names 0 replays" in err) == (1, True)
    code, _, err = run_cli(capsys, "traces", "list", *at)
    assert (code, "nothing is recorded at" in err) == (1, True)
