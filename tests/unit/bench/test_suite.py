"""A run of the benchmark: which rows it has, that it reaches nothing and leaves nothing, and what it prints."""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from perpstrader.bench import COMPONENTS, BenchPlan, BenchPlanError, run_bench
from perpstrader.bench.desk import MADE_UP_KEY
from perpstrader.bench.guard import NetworkForbiddenError, no_network
from perpstrader.bench.harness import Arm, Case, Subject
from perpstrader.bench.lab import Lab
from perpstrader.cli.program import main

FIELDS = [
    "component", "row", "unit", "baseline", "optimized", "ratio", "ratio_low", "ratio_high", "claim", "met", "parity",
    "n", "note",
]  # fmt: skip
SMALL = "limit-[abe]*"
"""Rows of some components that take no time."""


def wrong(lab: Lab) -> list[Case]:
    """A component whose arms differ."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Subject]:
        yield Subject(Arm(run=lambda: 1, answer=lambda: 1), Arm(run=lambda: 2, answer=lambda: 2))

    return [Case("risk", "signal-repeated", "us/signal", 1, opened, "made to differ", claim=10.0)]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def rows_of(data: Path | None = None) -> dict[str, list[Case]]:
    """Every row there is, by component."""
    from importlib import import_module

    lab = Lab(Path("/nonexistent"), data, quick=True)
    return {name: import_module(f"perpstrader.bench.{name}").cases(lab) for name in COMPONENTS}


def test_every_component_has_rows_its_limits_and_notes() -> None:
    for name, cases in rows_of().items():
        assert any(case.row.startswith("limit-") for case in cases), f"{name} stands beside no limit"
        assert all(case.component == name and case.note for case in cases)
    names = [(case.component, case.row) for cases in rows_of().values() for case in cases]
    assert len(names) == len(set(names))
    assert {
        ("traces", "write-100"), ("traces", "write-100-2k"), ("traces", "write-100-8k"), ("traces", "write-100-30k"),
        ("traces", "write-100-8k-normal"), ("traces", "write-100-8k-rollback"), ("traces", "write-100-8k-serial"),
        ("traces", "store-call"), ("traces", "store-call-p99"), ("traces", "ack"), ("traces", "read-recent"),
        ("traces", "read-recent-cold"), ("traces", "summaries"), ("traces", "by-id"), ("traces", "by-symbol"),
        ("traces", "unanalyzed"), ("traces", "stats"), ("traces", "bytes-on-disk"), ("traces", "win-rate"),
        ("risk", "signal-repeated"), ("risk", "signal-fresh"), ("risk", "portfolio-risk"), ("risk", "position-risk"),
        ("client", "sign-order"), ("client", "encode-order"), ("client", "order-roundtrip"),
        ("client", "parse-account"), ("client", "parse-book"), ("client", "calls"), ("client", "weight"),
        ("client", "latency-p50"), ("client", "latency-p99"), ("client", "order-latency"),
        ("client", "orders-per-second"), ("client", "cpu-per-order"), ("recovery", "analysis"),
        ("recovery", "action-to-order"), ("breakers", "call-closed"), ("breakers", "reject-open"),
        ("breakers", "health-checks"), ("monitor", "measure-overhead"),
    } <= set(names)  # fmt: skip


def test_BMF07_each_of_the_nine_claims_has_its_row() -> None:
    claims = {(c.component, c.row): c.claim for cases in rows_of().values() for c in cases if c.claim is not None}
    assert claims.items() >= {
        ("traces", "write-100"): 5.0, ("traces", "read-recent"): 3.0, ("risk", "signal-repeated"): 10.0,
        ("risk", "portfolio-risk"): 5.0, ("client", "calls"): 10.0, ("client", "latency-p50"): 4.0,
        ("recovery", "analysis"): 6.0, ("recovery", "action-to-order"): 4.0, ("breakers", "health-checks"): 3.0,
    }.items()  # fmt: skip


def test_what_the_trace_store_is_held_to_beyond_the_claims_has_its_rows() -> None:
    from perpstrader.bench import traces

    cases = traces.cases(Lab(Path("/nonexistent"), None, quick=False))
    claims = {case.row: case.claim for case in cases if case.claim is not None}
    assert claims == {
        "write-100": 5.0, "write-100-2k-serial": 0.7, "write-100-8k-serial": 0.7, "write-100-30k-serial": 0.7,
        "read-recent": 3.0, "read-recent-cold": 3.0,
        "bytes-on-disk-of-json": 2.86, "growth-read-recent-cold": 0.5, "growth-by-id-cold": 0.5,
        "growth-by-symbol": 0.5, "growth-unanalyzed": 0.5,
    }  # fmt: skip


def test_a_full_run_measures_growth_to_a_million_traces() -> None:
    from perpstrader.bench import traces

    lab = Lab(Path("/nonexistent"), None, quick=False, full=True)
    growth = [case for case in traces.cases(lab) if case.row.startswith("growth-")]
    assert growth
    assert all("1,000,000 traces of 1KB" in case.note for case in growth)


def test_BM06_a_cache_is_shown_warm_mixed_and_cold() -> None:
    names = {case.row for cases in rows_of().values() for case in cases}
    assert {"signal-repeated", "signal-mixed", "signal-fresh"} <= names
    assert {"by-id", "by-id-cold", "portfolio-risk", "portfolio-risk-changed"} <= names


def test_growth_is_shown_by_rows_of_several_sizes() -> None:
    sized: dict[tuple[str, str], set[int]] = {}
    for cases in rows_of().values():
        for case in cases:
            if case.size is not None:
                curve = case.row.removesuffix(f"-of-{case.size}")
                sized.setdefault((case.component, curve), set()).add(case.size)
    assert {("traces", "stats"), ("risk", "signal-fresh"), ("recovery", "analysis")} <= set(sized)
    assert all(len(sizes) > 1 for sizes in sized.values())


def test_BMF04_only_the_components_and_rows_that_were_asked_for_are_measured() -> None:
    report = run_bench(BenchPlan(components=("risk", "traces"), rows=SMALL, quick=True))
    assert [(r.row.component, r.row.row) for r in report.results] == [
        ("traces", "limit-bare-insert"), ("traces", "limit-bare-batch"), ("traces", "limit-encode-8k"),
        ("risk", "limit-attribute-read"),
    ]  # fmt: skip
    assert not report.failures


def test_what_does_not_exist_cannot_be_measured() -> None:
    with pytest.raises(BenchPlanError, match=r"there is no component 'riks' to measure; there are: traces"):
        run_bench(BenchPlan(components=("riks",)))
    with pytest.raises(BenchPlanError, match=r"a run is either quick or full, not both"):
        run_bench(BenchPlan(components=("risk",), quick=True, full=True))
    with pytest.raises(BenchPlanError, match=r"no row matches 'nothing'; there are: .*measure-overhead"):
        run_bench(BenchPlan(components=("monitor",), rows="nothing"))


def test_BM02_nothing_is_left_of_a_run(temporary: Path) -> None:
    report = run_bench(BenchPlan(components=("traces",), rows="by-id", quick=True))
    assert report.results[0].row.parity is True
    assert list(temporary.iterdir()) == []


def test_BM01_nothing_in_a_run_can_use_the_network() -> None:
    with no_network():
        for forbidden in (
            lambda: socket.create_connection(("127.0.0.1", 9)),
            lambda: socket.getaddrinfo("api.hyperliquid.xyz", 443),
            lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"", ("127.0.0.1", 9)),
            lambda: socket.socket().bind(("127.0.0.1", 0)),
        ):
            with pytest.raises(NetworkForbiddenError):
                forbidden()
    free = socket.socket()
    free.bind(("127.0.0.1", 0))
    free.close()


@pytest.fixture
def heard() -> Iterator[list[str]]:
    """Every socket call of this process that goes anywhere, from now to the end of the test."""
    events: list[str] = []
    listening = [True]

    def hook(event: str, arguments: Any) -> None:
        if listening and event.startswith("socket.") and event not in ("socket.__new__", "socket.gethostname"):
            events.append(event)

    sys.addaudithook(hook)
    yield events
    listening.clear()


def test_BM01_the_client_is_measured_without_a_socket_and_with_a_key_of_nobody(
    heard: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYPERLIQUID_PRIVATE_KEY", "0x" + "11" * 32)
    report = run_bench(BenchPlan(components=("client",), rows="order-roundtrip", quick=True))
    assert report.results[0].row.parity is True
    assert heard == []
    assert os.environ["HYPERLIQUID_PRIVATE_KEY"] != MADE_UP_KEY


def test_BM01_the_guard_stands_while_rows_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Subject]:
        def call_home() -> None:
            socket.create_connection(("127.0.0.1", 9))

        yield Subject(Arm(run=call_home, answer=lambda: 1))

    monkeypatch.setattr("perpstrader.bench.risk.cases", lambda lab: [Case("risk", "row", "us", 1, opened, "note")])
    [row] = run_bench(BenchPlan(components=("risk",), quick=True)).failures
    assert "NetworkForbiddenError" in row.note


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """The exit code and output of ``perpstrader bench``."""
    with pytest.raises(SystemExit) as ended:
        main(["bench", *arguments])
    return int(ended.value.code or 0), capsys.readouterr().out


def test_the_json_has_the_environment_and_rows_of_exactly_these_fields(capsys: pytest.CaptureFixture[str]) -> None:
    code, out = printed(capsys, "monitor", "--quick", "--json", "--rows", "*overhead", "--seed", "5")
    answer = json.loads(out)
    assert code == 0
    assert list(answer) == ["environment", "rows"]
    assert [list(row) for row in answer["rows"]] == [FIELDS]
    [row] = answer["rows"]
    assert row["baseline"] > 0
    assert (row["optimized"], row["ratio"], row["met"], row["parity"]) == (None, None, None, True)
    environment = answer["environment"]
    assert (environment["seed"], environment["quick"]) == (5, True)
    assert {"python", "sqlite", "cpus", "load_1m", "commit", "event_loop", "file_system"} <= set(environment)


def test_the_environment_names_no_path_host_or_user(capsys: pytest.CaptureFixture[str]) -> None:
    _, out = printed(capsys, "monitor", "--quick", "--json", "--rows", "limit*")
    environment = json.dumps(json.loads(out)["environment"])
    assert "/" not in environment.replace(os.environ.get("GITHUB_SHA", "\0"), "")
    assert socket.gethostname() not in environment


def test_BM09_a_wrong_answer_ends_the_run_with_exit_code_1_and_says_which(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perpstrader.bench.risk.cases", wrong)
    code, out = printed(capsys, "risk", "--quick", "--json")
    assert code == 1
    [row] = json.loads(out)["rows"]
    assert (row["parity"], row["baseline"], row["ratio"], row["met"]) == (False, None, None, None)
    code, out = printed(capsys, "risk", "--quick")
    assert code == 1
    assert "wrong: risk signal-repeated: before the first repetition the baseline gave 1" in out


def test_a_mistake_in_the_command_line_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "riks")[0] == 2
    assert printed(capsys, "risk", "--rows", "nothing")[0] == 2


def test_the_report_shows_every_row_with_its_note_and_loads_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "deep" / "report.html"
    code, _ = printed(capsys, "monitor", "client", "--quick", "--rows", "[mes]*-o[vr]*", "--report", str(target))
    page = target.read_text()
    assert code == 0
    assert list(target.parent.iterdir()) == [target]
    for word in ("measure-overhead", "sign-order", "encode-order", "pack, hash and sign one order action"):
        assert word in page
    assert page.count("<svg") == 3, "ratios, and the cost of two components"
    assert "default-src &#x27;none&#x27;" in page
    assert "<script" not in page
    assert "://" not in page


def test_a_wrong_row_and_foreign_text_are_shown_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    from perpstrader.bench.html import render_html

    monkeypatch.setattr("perpstrader.bench.risk.cases", wrong)
    report = run_bench(BenchPlan(components=("risk",), quick=True))
    row = msgspec.structs.replace(report.results[0].row, note="<b>bold</b>")
    page = render_html(msgspec.structs.replace(report, results=(msgspec.structs.replace(report.results[0], row=row),)))
    assert "<b>bold</b>" not in page
    assert "&lt;b&gt;bold" in page
    assert 'role="alert"' in page


def test_growth_is_drawn_for_rows_of_several_sizes() -> None:
    from perpstrader.bench.html import render_html

    report = run_bench(BenchPlan(components=("risk",), rows="position-risk*", quick=True))
    page = render_html(report)
    assert "Growth" in page
    assert page.count("<svg") == 2


def test_progress_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    run_bench(BenchPlan(components=("monitor",), quick=True), seen.append)
    assert seen == sorted(seen)
    assert 0 <= seen[0] < seen[-1] < 1
