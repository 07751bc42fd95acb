"""The strategy in docs/strategies.md works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

from tests.unit.strategies.strategy_samples import bars, position, view

from perpstrader.domain import Action, Candle, Side
from perpstrader.strategies import BUILT_IN, load_strategy

PAGE = Path(__file__).parents[3] / "docs" / "strategies.md"


def test_the_example_opens_a_breakout_and_leaves_it(tmp_path: Path) -> None:
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    (tmp_path / "breakout.py").write_text(found.group(1))
    strategy = load_strategy("breakout.py:Breakout", {"leave": 5}, folder=tmp_path)

    def answer(candles: list[Candle], *, held: bool) -> tuple[Action, Side] | None:
        shown = view(candles[-1], history=candles[:-1], held=position("breakout", Side.LONG) if held else None)
        signal = strategy.on_market(shown)
        return None if signal is None else (signal.action, signal.side)  # type: ignore[union-attr]  # it is synchronous

    flat = [100.0] * 30
    assert answer(bars(flat), held=False) is None
    assert answer(bars([*flat, 103.0]), held=False) == (Action.OPEN, Side.LONG)
    assert answer(bars([*flat, 103.0]), held=True) is None
    assert answer(bars([*flat, 97.0]), held=True) == (Action.CLOSE, Side.LONG)


def test_the_page_names_each_strategy_that_comes_with_the_program() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in page for name in BUILT_IN)
