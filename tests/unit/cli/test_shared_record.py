"""The verbs over a record that bots share: the same answers, another place, and never a password."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.traces.samples import executed, trace
from tests.contract.traces.shared import ship
from tests.scenario.test_judged_again import decided
from tests.shared_server import PASSWORD, SharedServer, shared_server
from tests.unit.cli.support import run_cli

from perpstrader.cli.exits import ExitCode
from perpstrader.cli.traces import replaying
from perpstrader.traces.store import TraceStore

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def server() -> Iterator[SharedServer]:
    with shared_server() as running:
        yield running


@pytest.fixture
def place(server: SharedServer, tmp_path: Path) -> tuple[Path, str]:
    """A data directory with a record, and the address that it was shipped to."""
    url = server.new_database()

    async def main() -> None:
        async with TraceStore.open(tmp_path / "traces.db") as store:
            for number in range(1, 31):
                await store.store(executed(number) if number % 5 == 0 else trace(number))
            await ship(store, url)

    asyncio.run(main())
    return tmp_path, url


VERBS = (
    ("list", "--limit", "7"), ("list", "--verdict", "approved"), ("show", "t000003"), ("explain", "t000005"),
    ("explain", "--at", "2025-05-12T14:05", "--symbol", "BTC"), ("diff", "t000003", "t000005"), ("stats",),
    ("sql", "SELECT count(*) AS n, min(id) AS first FROM traces"), ("verify",),
)  # fmt: skip


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_a_verb_answers_from_the_shared_record_as_from_the_file(
    place: tuple[Path, str], capsys: Capture, verb: tuple[str, ...]
) -> None:
    folder, url = place
    local = run_cli(capsys, "traces", *verb, "--json", "--data-dir", folder)
    shared = run_cli(capsys, "traces", *verb, "--json", "--store", url)
    assert local[0] == shared[0] == 0
    one, other = json.loads(local[1]), json.loads(shared[1])
    if "totals" in one:  # counters are of the process that asks
        del one["totals"]["counters"], other["totals"]["counters"]
    assert one == other
    assert "very-secret" not in shared[1] + shared[2]


def test_a_decision_of_the_shared_record_is_asked_and_judged_again_on_its_bars(
    server: SharedServer, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    traces, settings = decided()
    url = server.new_database()

    async def main() -> None:
        async with TraceStore.open(tmp_path / "traces.db") as store:
            for made in traces:
                await store.store(made)
            await ship(store, url)

    asyncio.run(main())
    monkeypatch.setattr(replaying, "settings_from", lambda config, data_dir: settings)
    for made in traces:
        local = run_cli(capsys, "traces", "replay", made.id, "--json", "--data-dir", tmp_path)
        assert run_cli(capsys, "traces", "replay", made.id, "--json", "--store", url)[:2] == local[:2]
        assert local[0] == 0


def test_the_settings_name_the_shared_record(
    place: tuple[Path, str], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, url = place
    code, _, err = run_cli(capsys, "traces", "list", "--store", "shared", "--data-dir", folder)
    assert code == ExitCode.FAILED
    assert "TRACE_POSTGRES_URL" in err
    monkeypatch.setenv("TRACE_POSTGRES_URL", url)
    code, out, _ = run_cli(capsys, "traces", "list", "--store", "shared", "--json", "--data-dir", folder)
    assert (code, len(json.loads(out)["traces"])) == (0, 20)
    code, out, _ = run_cli(capsys, "traces", "bots", "--json", "--data-dir", folder)
    (bot,) = json.loads(out)["bots"]
    assert (bot["account"], bot["entry"]) == ("0xabc", 30)
    code, out, _ = run_cli(capsys, "config", "show", "--data-dir", folder)
    assert code == 0
    assert "very-secret" not in out


def test_export_and_analysis_of_the_shared_record(place: tuple[Path, str], capsys: Capture, tmp_path: Path) -> None:
    folder, url = place
    for name, where in (("local", ("--data-dir", folder)), ("shared", ("--store", url))):
        assert run_cli(capsys, "traces", "export", "--jsonl", tmp_path / name, *where)[0] == 0
    assert (tmp_path / "shared").read_bytes() == (tmp_path / "local").read_bytes()
    code, out, _ = run_cli(capsys, "traces", "analyze", "--json", "--store", url, "--data-dir", folder)
    assert (code, json.loads(out)["traces"]) == (0, 30)
    assert list((folder / "analysis-shared").glob("2025-05-12.md"))
    assert not (folder / "analysis").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--store", "elsewhere"), ExitCode.USAGE, "--store is `shared`"),
        (("--bot", "0xabc"), ExitCode.USAGE, "give --store, too"),
        (("--store", f"postgresql://u:{PASSWORD}@127.0.0.1:1/x"), ExitCode.FAILED, "cannot be reached"),
        (("--store", f"postgresql://u:{PASSWORD}@127.0.0.1:x/x"), ExitCode.FAILED, "must be a number"),
        (("--store", "postgresql://x/y", "--replay", "latest"), ExitCode.USAGE, "two records"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence_without_the_password(
    capsys: Capture, tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    got, out, err = run_cli(capsys, "traces", "list", *arguments, "--data-dir", tmp_path)
    assert got == code
    assert words in err
    assert "very-secret" not in out + err


def test_whole_months_are_pruned_after_a_question(place: tuple[Path, str], capsys: Capture) -> None:
    _, url = place
    code, out, err = run_cli(capsys, "traces", "prune", "--before", "2025-05-01", "--store", url, "--yes")
    assert (code, out.split()[0]) == (0, "0")
    code, _, err = run_cli(capsys, "traces", "prune", "--before", "2026-05-01", "--store", url, "--yes")
    assert code == ExitCode.FAILED
    assert "less than a day" in err
