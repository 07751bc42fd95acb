"""What all tests share: recorded data, the size of a run, hypothesis' profiles, and the record of a full-size run."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]
PROVE = os.environ.get("PERPSTRADER_PROVE", "") not in ("", "0")
IN_CI = os.environ.get("CI", "").lower() in ("1", "true", "yes")

# The same examples on every machine: a failure in CI is a failure at home. No time limits: they would measure the load.
settings.register_profile(
    "sample", derandomize=True, deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "prove", deadline=None, max_examples=2_000, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("prove" if PROVE else "sample")


@pytest.fixture(scope="session")
def prove() -> bool:
    """Whether this run is at full size (``make prove``); otherwise long proofs run as a sample."""
    return PROVE


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of recorded markets and venue answers: ``PERPSTRADER_TEST_DATA``, else ``../shared/data``."""
    folder = Path(os.environ.get("PERPSTRADER_TEST_DATA") or ROOT.parent / "shared" / "data").resolve()
    if not folder.is_dir():
        sentence = f"no recorded data at {folder}: set PERPSTRADER_TEST_DATA to the folder that holds it"
        if IN_CI:
            pytest.fail(sentence)
        pytest.skip(sentence)
    return folder


class ProofRecord:
    """What ran, how it ended, its time and its figures: said at the end of a run, and of a run at full size written to
    ``build/prove.json``.

    A test adds figures with pytest's ``record_property(name, value)``.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.tests: dict[str, dict[str, Any]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the worst outcome of a test's three phases, and the sum of their times."""
        entry = self.tests.setdefault(report.nodeid, {"outcome": "passed", "seconds": 0.0, "figures": {}})
        entry["seconds"] = round(entry["seconds"] + report.duration, 3)
        if report.outcome != "passed" and entry["outcome"] != "failed":
            entry["outcome"] = report.outcome
        entry["figures"].update(report.user_properties)

    def proofs(self) -> dict[str, dict[str, Any]]:
        """The tests that have figures."""
        return {name: entry for name, entry in sorted(self.tests.items()) if entry["figures"]}

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """The figures, a line a proof."""
        proofs = self.proofs()
        if proofs:
            terminalreporter.section("figures at full size" if PROVE else "figures of a sample; `make prove` has more")
        for name, entry in proofs.items():
            figures = ", ".join(f"{key} {value}" for key, value in entry["figures"].items())
            terminalreporter.write_line(f"{name.split('::')[-1]} ({entry['seconds']:.0f} s): {figures}")
        if PROVE:
            terminalreporter.write_line(f"all of it: {self.target}")

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Write the record of a run at full size, whatever its outcome."""
        if not PROVE:
            return
        record = {
            "commit": _git("rev-parse", "HEAD") or None,
            "clean": not _git("status", "--porcelain", "--untracked-files=no"),
            "python": platform.python_version(),
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
            "exit_status": int(exitstatus),
            "seconds": round(sum(entry["seconds"] for entry in self.tests.values()), 1),
            "outcomes": dict(sorted(Counter(entry["outcome"] for entry in self.tests.values()).items())),
            "proofs": self.proofs(),
            "tests": dict(sorted(self.tests.items())),
        }
        self.target.parent.mkdir(parents=True, exist_ok=True)
        self.target.write_text(json.dumps(record, indent=1, default=str) + "\n")


def _git(*arguments: str) -> str:
    """What git says; nothing where this is no clone."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def pytest_configure(config: pytest.Config) -> None:
    """Record a run; with several workers their controller sees every report.

    A shell has what it starts with ``&`` ignore SIGINT, and so would the programs that a test starts and asks to stop.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(ProofRecord(ROOT / "build" / "prove.json"))
