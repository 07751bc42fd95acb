"""The verbs over the whole record: numbers, differences, exports, questions, upkeep."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import apsw
import msgspec
import pytest
from pyarrow import parquet
from tests.contract.traces.samples import executed, trace
from tests.scenario.test_judged_again import decided
from tests.unit.cli.support import run_cli

from perpstrader.cli.traces import replaying
from perpstrader.domain import Approved, Refused, Trace, TraceKind
from perpstrader.traces import TraceStore
from perpstrader.traces.codec import decode

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A record of 600 decisions, every third with an order and an outcome."""

    def one(number: int) -> Trace:
        if number % 3:
            return trace(number)
        return msgspec.structs.replace(executed(number), outcome_usd=str(number % 7 - 3))

    async def main() -> None:
        async with TraceStore.open(tmp_path / "traces.db") as store:
            for number in range(1, 601):
                store.store(one(number), urgent=False)
            await store.flush()

    asyncio.run(main())
    return tmp_path


def content(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.glob("traces.db")))


def test_stats_tell_reasons_outcomes_calibration_and_what_refusals_missed(folder: Path, capsys: Capture) -> None:
    code, out, _ = run_cli(capsys, "traces", "stats", "--json", "--data-dir", folder)
    told = json.loads(out)
    assert (code, told["totals"]["total"], told["by_kind"][0]["ended"]) == (0, 600, 200)
    assert [(row["key"], row["decisions"]) for row in told["by_reason"]] == [({"reason": "SPREAD_TOO_WIDE"}, 400)]
    assert [row["key"]["strategy"] for row in told["by_strategy"]] == ["trend"]
    assert told["calibration"][0]["ended"] == 200
    first = told["refusals_after"][0]
    assert (first["bars"], first["even"] + first["unknown"]) == (1, 400)
    code, out, _ = run_cli(capsys, "traces", "stats", "--days", "1", "--data-dir", folder)
    assert code == 0
    for words in ("profit factor", "SPREAD_TOO_WIDE", "0.6-0.7", "would have won"):
        assert words in out
    assert (
        json.loads(run_cli(capsys, "traces", "stats", "--days", "1", "--json", "--data-dir", folder)[1])["by_kind"][0][
            "decisions"
        ]
        < 600
    )


def test_two_decisions_are_told_apart(folder: Path, capsys: Capture) -> None:
    at = ("--data-dir", folder)
    code, out, _ = run_cli(capsys, "traces", "diff", "t000001", "t000002", "--json", *at)
    assert (code, [row["path"] for row in json.loads(out)["differences"]][:2]) == (0, ["id", "sequence"])
    assert "verdict.type\trefused\tapproved" in run_cli(capsys, "traces", "diff", "t000001", "t000003", *at)[1]
    assert "They are the same" in run_cli(capsys, "traces", "diff", "t000001", "t000001", *at)[1]
    assert run_cli(capsys, "traces", "diff", "t000001", "nobody", *at)[0] == 1


def test_the_record_is_exported_whole_in_each_format_and_nothing_is_overwritten(folder: Path, capsys: Capture) -> None:
    at = ("--data-dir", folder)
    lines, table, spans = folder / "a.jsonl", folder / "a.parquet", folder / "a.otlp"
    for name, path in (("--jsonl", lines), ("--parquet", table), ("--otlp", spans)):
        code, out, _ = run_cli(capsys, "traces", "export", name, path, "--json", *at)
        assert (code, json.loads(out)["decisions"], path.stat().st_mode & 0o077) == (0, 600, 0)
        assert run_cli(capsys, "traces", "export", name, path, *at)[0] == 1
    decoded = [decode(0, 0, line) for line in lines.read_bytes().splitlines()]
    assert decoded[2] == msgspec.structs.replace(executed(3), outcome_usd="0")
    read = parquet.read_table(table)
    assert read.num_rows == len(decoded) == 600
    assert decode(0, 0, read.column("trace")[599].as_py().encode()) == decoded[599]
    assert read.column("verdict")[0].as_py() == "refused"
    told = [json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"] for line in spans.read_text().splitlines()]
    found = [span for page in told for span in page]
    assert (len(found), len({span["spanId"] for span in found}), len(found[0]["traceId"])) == (600, 600, 32)
    assert found[2]["events"][0]["name"] == "stop of the right size is listed"
    assert int(found[2]["endTimeUnixNano"]) >= int(found[2]["startTimeUnixNano"])
    assert not list(folder.glob(".*.part"))


def test_an_export_of_the_newest_days_leaves_out_the_others_and_one_file_is_named(
    folder: Path, capsys: Capture
) -> None:
    at = ("--data-dir", folder)
    _, out, _ = run_cli(capsys, "traces", "export", "--jsonl", folder / "b", "--days", "1", "--json", *at)
    assert 0 < json.loads(out)["decisions"] < 600
    assert run_cli(capsys, "traces", "export", *at)[0] == 2
    assert run_cli(capsys, "traces", "export", "--jsonl", folder / "c", "--otlp", folder / "d", *at)[0] == 2
    assert run_cli(capsys, "traces", "export", "--jsonl", folder / "nowhere" / "c", *at)[0] == 1


def test_sql_answers_over_decisions_and_days(folder: Path, capsys: Capture) -> None:
    at = ("--data-dir", folder)
    question = "SELECT verdict, count(*) AS n, sum(outcome_usd) AS usd FROM traces GROUP BY 1 ORDER BY 1"
    code, out, _ = run_cli(capsys, "traces", "sql", question, "--json", *at)
    usd = sum(number % 7 - 3 for number in range(3, 601, 3))
    assert (code, json.loads(out)) == (
        0,
        {"columns": ["verdict", "n", "usd"], "rows": [["approved", 200, str(usd)], ["refused", 400, None]]},
    )
    assert "600" in run_cli(capsys, "traces", "sql", "SELECT sum(decisions) FROM days", *at)[1]
    code, _, err = run_cli(capsys, "traces", "sql", "SELEC 1", *at)
    assert (code, "DuckDB says" in err) == (1, True)


def test_sql_never_writes_and_reaches_no_file(folder: Path, capsys: Capture) -> None:
    before = content(folder)
    for question in (
        f"COPY traces TO '{folder}/stolen.csv'",
        f"ATTACH '{folder}/other.db'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SET enable_external_access = true",
        "INSTALL httpfs",
    ):
        assert run_cli(capsys, "traces", "sql", question, "--data-dir", folder)[0] == 1
    assert run_cli(capsys, "traces", "sql", "DROP TABLE traces", "--data-dir", folder)[0] == 0
    assert content(folder) == before
    assert not (folder / "stolen.csv").exists()
    assert not (folder / "other.db").exists()


def test_verify_says_which_entry_was_changed(folder: Path, capsys: Capture) -> None:
    at = ("--data-dir", folder)
    code, out, _ = run_cli(capsys, "traces", "verify", "--json", *at)
    assert (code, json.loads(out)["checked"]) == (0, 600)
    connection = apsw.Connection(str(folder / "traces.db"))
    connection.execute("UPDATE payload SET data = x'00' WHERE entry = 17")
    connection.close()
    code, out, _ = run_cli(capsys, "traces", "verify", *at)
    assert (code, "entry 17 (t000017)" in out) == (4, True)


def test_prune_removes_old_days_after_a_question_and_retrain_keeps_all_readable(folder: Path, capsys: Capture) -> None:
    at = ("--data-dir", folder)
    assert run_cli(capsys, "traces", "retrain", *at)[0] == 0
    assert run_cli(capsys, "traces", "prune", "--before", "yesterday", *at)[0] == 2
    code, _, err = run_cli(capsys, "traces", "prune", "--before", "2025-05-13", *at)
    assert (code, "add --yes to do it unasked; nothing was done" in err) == (2, True), "nobody is there to say yes"
    code, out, _ = run_cli(capsys, "traces", "prune", "--before", "2025-05-13", "--yes", "--json", *at)
    assert (code, json.loads(out)["removed"]) == (0, 119)
    told = json.loads(run_cli(capsys, "traces", "stats", "--json", *at)[1])
    assert (told["totals"]["total"], told["by_kind"][0]["decisions"]) == (481, 600)
    assert run_cli(capsys, "traces", "verify", *at)[0] == 0
    assert run_cli(capsys, "traces", "prune", "--before", "2025-05-16", "--yes", *at)[0] == 1


def test_analyze_writes_a_page_a_day_and_says_where(folder: Path, capsys: Capture) -> None:
    at = ("--data-dir", folder)
    code, out, _ = run_cli(capsys, "traces", "analyze", "--json", *at)
    told = json.loads(out)
    assert (code, told["traces"], told["days"], told["held"]) == (0, 600, ["2025-05-12", "2025-05-13", "2025-05-14"], 0)
    assert (folder / "analysis" / "2025-05-13.md").read_text().startswith("# 2025-05-13")
    code, out, _ = run_cli(capsys, "traces", "analyze", *at)
    assert (code, out.startswith("analysed: 0 decisions")) == (0, True)


def test_replay_says_the_same_today_and_names_the_rule_whose_limit_was_changed(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    traces, settings = decided()
    refused_one = next(t for t in traces if isinstance(t.verdict, Refused))
    approved_one = next(t for t in traces if isinstance(t.verdict, Approved))

    async def main() -> None:
        async with TraceStore.open(tmp_path / "traces.db") as store:
            for item in (refused_one, approved_one, trace(1, kind=TraceKind.EXIT, verdict=None)):
                await store.store(item)

    asyncio.run(main())
    at = ("--data-dir", tmp_path)
    monkeypatch.setattr(replaying, "settings_from", lambda config, data_dir: settings)
    for item in (refused_one, approved_one):
        code, out, _ = run_cli(capsys, "traces", "replay", item.id, *at)
        assert (code, "then and now" in out, "the same in every number" in out) == (0, True, True)
    stricter = replace(settings, risk=settings.risk.model_copy(update={"min_confidence": Decimal("1.5")}))
    monkeypatch.setattr(replaying, "settings_from", lambda config, data_dir: stricter)
    code, out, _ = run_cli(capsys, "traces", "replay", approved_one.id, "--json", *at)
    told = json.loads(out)
    assert (code, told["same_verdict"], told["same_settings"]) == (0, False, False)
    assert [(row["rule"], row["now"]) for row in told["limits"]] == [("CONFIDENCE_TOO_LOW", "1.5")]
    out = run_cli(capsys, "traces", "replay", approved_one.id, *at)[1]
    assert "now:  refused, CONFIDENCE_TOO_LOW" in out
    code, _, err = run_cli(capsys, "traces", "replay", "t000001", *at)
    assert (code, "cannot be judged again" in err) == (1, True)
    assert run_cli(capsys, "traces", "replay", "nobody", *at)[0] == 1


def test_tail_tells_what_is_there_and_what_another_program_records_meanwhile(folder: Path) -> None:
    verb = ("traces", "tail", "--last", "1", "--json", "--data-dir", str(folder))
    command = [sys.executable, "-m", "perpstrader", *verb]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert json.loads(process.stdout.readline())["id"] == "t000600"

            async def record() -> None:
                async with TraceStore.open(folder / "traces.db") as store:
                    await store.store(trace(601))

            asyncio.run(record())
            assert json.loads(process.stdout.readline())["id"] == "t000601"
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)
