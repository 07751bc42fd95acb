"""PerpsTrader: the execution and safety core of an automated perpetual-futures trader on Hyperliquid."""

__all__ = ["__version__"]

__version__ = "0.1.0"
