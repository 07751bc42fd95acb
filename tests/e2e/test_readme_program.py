"""The README's program runs as it stands there, and says what became of its signal."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def program() -> str:
    """The first Python block of the README."""
    found = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert found is not None
    return found.group(1)


def test_the_ten_line_program_of_the_readme_runs_and_explains_its_signal(tmp_path: Path) -> None:
    statements = [line for line in program().splitlines() if line.strip()]
    assert len(statements) <= 10
    done = subprocess.run(
        [sys.executable, "-c", program()], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "filled" in done.stdout or "refused" in done.stdout
    assert "Rules:" in done.stdout
    if "filled" in done.stdout:
        assert "Entry sent" in done.stdout, "what the signal led to is in the record when the answer names it"
    assert (tmp_path / "demo-data" / "traces.db").exists()


def test_the_plain_client_and_the_natural_name_offer_the_same_calls() -> None:
    from perpstrader.venue import HyperliquidClient
    from perpstrader.venue.baseline import HyperliquidClient as Baseline
    from perpstrader.venue.contract import HyperliquidClient as Contract

    promised = {name for name in vars(Contract) if not name.startswith("_")}
    assert HyperliquidClient is not Baseline
    for build in (HyperliquidClient, Baseline):
        assert promised <= {name for name in dir(build) if not name.startswith("_")}
