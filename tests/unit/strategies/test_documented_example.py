"""The strategy in docs/strategies.md works as it stands there, through the whole replay as a user runs it."""

from __future__ import annotations

import re
from pathlib import Path

from perpstrader.settings import load
from perpstrader.simulate.replay import replay
from perpstrader.strategies import BUILT_IN

PAGE = Path(__file__).parents[3] / "docs" / "strategies.md"
HOUR_MS = 3_600_000
START_MS = 1_743_465_600_000
"""2025-04-01 00:00 UTC."""


def _recording(folder: Path) -> Path:
    """Four days of one coin that lies still, breaks out upwards, and falls back below where it began."""
    path = folder / "recorded"
    path.mkdir()
    rows, price = ["timestamp,open,high,low,close,volume"], 60_000.0
    for hour in range(96):
        before = price
        if 40 <= hour < 60:
            price *= 1.004
        elif 60 <= hour < 80:
            price *= 0.994
        else:
            price = before + (20 if hour % 2 else -20)
        high, low = max(before, price) + 15, min(before, price) - 15
        rows.append(f"{START_MS + hour * HOUR_MS},{before:.1f},{high:.1f},{low:.1f},{price:.1f},2000")
    (path / "BTC-1h.csv").write_text("\n".join(rows) + "\n")
    return path


def test_the_example_opens_breakouts_and_leaves_them_in_a_replay(tmp_path: Path) -> None:
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    (tmp_path / "breakout.py").write_text(found.group(1))
    settings = load(None, {}, {"data.dir": tmp_path, "trader.strategies": f"{tmp_path / 'breakout.py'}:Breakout"})
    report = replay(settings, _recording(tmp_path), interval="1h").report
    [decisions] = [row.decisions for row in report.by_strategy if row.name == "breakout"]
    assert decisions is not None
    assert decisions.signals >= 2, "a breakout and the way out of it"
    assert decisions.approved >= 1
    assert report.safety.strategy_errors == 0
    assert report.trades
    assert {trade.strategy for trade in report.trades} == {"breakout"}


def test_the_page_names_each_strategy_that_comes_with_the_program() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in page for name in BUILT_IN)
