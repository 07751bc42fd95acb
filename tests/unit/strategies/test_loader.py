"""What the settings name becomes a strategy, or one clear sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from perpstrader.strategies import (
    BaseStrategy,
    StrategyEntry,
    StrategyError,
    TrendStrategy,
    load_strategies,
    load_strategy,
)

USER_FILE = """
from perpstrader.strategies import BaseStrategy

class Quiet(BaseStrategy):
    def __init__(self, name: str = "quiet", every: int = 5) -> None:
        if every < 1:
            raise ValueError("every must be at least 1")
        self.name, self.every = name, every

    def on_market(self, view):
        return None

class Bare:
    name = "bare"

limit = 3
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(USER_FILE)
    (tmp_path / "broken.py").write_text("def broken(:\n")
    (tmp_path / "raises.py").write_text("raise RuntimeError('no data')\n")
    return tmp_path


@pytest.mark.parametrize("name", ["trend", "reversion", "funding"])
def test_what_comes_with_the_program_is_known_by_name(name: str) -> None:
    strategy = load_strategy(name)
    assert strategy.name == name
    assert strategy.warmup_bars > 0


def test_parameters_are_taken() -> None:
    strategy = load_strategy("trend", {"fast": 5, "slow": 10, "name": "quick"})
    assert isinstance(strategy, TrendStrategy)
    assert (strategy.name, strategy.params.fast, strategy.params.slow) == ("quick", 5, 10)


def test_a_class_of_an_installed_module_is_found() -> None:
    assert isinstance(load_strategy("perpstrader.strategies.trend:TrendStrategy"), TrendStrategy)


def test_a_class_of_a_file_is_found(folder: Path) -> None:
    strategy = load_strategy("mine.py:Quiet", {"every": 7}, folder=folder)
    assert isinstance(strategy, BaseStrategy)
    assert (strategy.name, vars(strategy)["every"]) == ("quiet", 7)
    assert load_strategy(f"{folder / 'mine.py'}:Quiet").name == "quiet"


@pytest.mark.parametrize(
    ("use", "params", "says"),
    [
        ("trnd", {}, "strategy 'trnd' is not known (did you mean 'trend'?); allowed are trend, reversion, funding"),
        ("nowhere.at_all:Mine", {}, "there is no module nowhere"),
        (
            "perpstrader.strategies.trend:Trend",
            {},
            "has no class Trend; it offers TrendStrategy",
        ),
        ("mine.py:Quite", {}, "(did you mean 'Quiet'?); it offers Quiet"),
        ("mine.py:limit", {}, "limit is of type int, and a class is needed"),
        ("missing.py:Mine", {}, "there is no file"),
        ("broken.py:Mine", {}, "SyntaxError"),
        ("raises.py:Mine", {}, "RuntimeError: no data"),
        ("mine.py:Bare", {}, "has no symbols, intervals, warmup_bars, on_market; derive it from"),
        ("mine.py:Quiet", {"evry": 3}, "no parameter 'evry' (did you mean 'every'?); allowed are name, every"),
        ("mine.py:Quiet", {"every": 0}, "ValueError: every must be at least 1"),
        ("mine.py:Quiet", {"name": ""}, "must be a text that is not empty"),
        ("trend", {"fsat": 3}, "no parameter 'fsat' (did you mean 'fast'?); allowed are name, fast, slow"),
        ("trend", {"fast": 0}, "bad parameter: fast: Expected `int` >= 2"),
        ("trend", {"fast": "ten"}, "bad parameter: fast: Expected `int`, got `str`"),
        ("trend", {"fast": 60}, "fast (60) must be smaller than slow (50)"),
    ],
)
def test_what_cannot_be_built_is_said_in_one_sentence(
    folder: Path, use: str, params: dict[str, object], says: str
) -> None:
    with pytest.raises(StrategyError) as caught:
        load_strategy(use, params, folder=folder)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_module_that_lacks_a_module_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needs_more.py").write_text("import absent_library\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(StrategyError, match="needs_more needs the module absent_library, which is not installed"):
        load_strategy("needs_more:Mine")


def test_entries_narrow_what_a_strategy_is_shown_and_keep_their_order() -> None:
    entries = [StrategyEntry(use="funding", symbols=("BTC",), intervals=("1h",)), StrategyEntry(use="trend")]
    first, second = load_strategies(entries)
    assert (first.name, first.symbols, first.intervals) == ("funding", ("BTC",), ("1h",))
    assert (second.name, second.symbols, second.intervals) == ("trend", (), ())


def test_two_strategies_of_one_name_are_refused_because_positions_are_owned_by_name() -> None:
    with pytest.raises(StrategyError, match="two strategies are named 'trend'"):
        load_strategies([StrategyEntry(use="trend"), StrategyEntry(use="trend", params={"fast": 5})])
    both = load_strategies([StrategyEntry(use="trend"), StrategyEntry(use="trend", params={"name": "trend-2"})])
    assert [strategy.name for strategy in both] == ["trend", "trend-2"]
