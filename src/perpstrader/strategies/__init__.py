"""The Strategy port, a few honest examples, and what builds and contains strategies."""

from perpstrader.strategies.bars import BarState, BarStrategy, StrategyParams
from perpstrader.strategies.funding import FundingParams, FundingStrategy
from perpstrader.strategies.loader import BUILT_IN, StrategyEntry, StrategyError, load_strategies, load_strategy
from perpstrader.strategies.port import BaseStrategy, Strategy, price_level
from perpstrader.strategies.reversion import ReversionParams, ReversionStrategy
from perpstrader.strategies.runner import Outcome, StrategyRunner
from perpstrader.strategies.trend import TrendParams, TrendStrategy

__all__ = [
    "BUILT_IN", "BarState", "BarStrategy", "BaseStrategy", "FundingParams", "FundingStrategy", "Outcome",
    "ReversionParams", "ReversionStrategy", "Strategy", "StrategyEntry", "StrategyError", "StrategyParams",
    "StrategyRunner", "TrendParams", "TrendStrategy", "load_strategies", "load_strategy", "price_level",
]  # fmt: skip
