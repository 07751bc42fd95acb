"""PerpsTrader: the execution and safety core of an automated perpetual-futures trader on Hyperliquid.

The names below are all that a short program needs; each is loaded when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perpstrader.domain import Action, Approved, Refused, Side, Signal, Trace
    from perpstrader.risk import RiskManager
    from perpstrader.settings import Settings, load
    from perpstrader.simulate.replay import replay
    from perpstrader.strategies import BaseStrategy, Strategy
    from perpstrader.traces import TraceStore, explain
    from perpstrader.trader.app import Running, run, running
    from perpstrader.trader.commands import SignalRequest
    from perpstrader.venue import HyperliquidClient, Signer

__version__ = "0.1.0"

_HOMES = {
    "Action": "domain", "Approved": "domain", "Refused": "domain", "Side": "domain", "Signal": "domain",
    "Trace": "domain",
    "RiskManager": "risk", "Settings": "settings", "load": "settings", "replay": "simulate.replay",
    "BaseStrategy": "strategies", "Strategy": "strategies", "TraceStore": "traces", "explain": "traces",
    "Running": "trader.app", "run": "trader.app", "running": "trader.app", "SignalRequest": "trader.commands",
    "HyperliquidClient": "venue", "Signer": "venue",
}  # fmt: skip

__all__ = [
    "Action", "Approved", "BaseStrategy", "HyperliquidClient", "Refused", "RiskManager", "Running", "Settings", "Side",
    "Signal", "SignalRequest", "Signer", "Strategy", "Trace", "TraceStore", "__version__", "explain", "load", "replay",
    "run", "running",
]  # fmt: skip


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value
