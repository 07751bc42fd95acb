"""The decision record: everything that one decision saw, said and led to, refusals included."""

from __future__ import annotations

import enum

import msgspec

from perpstrader.domain.market import Candle, MarketSnapshot
from perpstrader.domain.orders import Fill, Order
from perpstrader.domain.signals import Signal
from perpstrader.domain.verdicts import Approved, Refused


class TraceKind(enum.StrEnum):
    """What the record is about."""

    DECISION = "decision"
    EXIT = "exit"
    PROTECTION = "protection"
    COMMAND = "command"
    HALT = "halt"
    INCIDENT = "incident"


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One line of what happened, in words, with its time."""

    time_ms: int
    text: str


class PortfolioDigest(msgspec.Struct, frozen=True, kw_only=True):
    """The account at the moment of the decision, as numbers in text."""

    version: int
    equity_usd: str
    available_usd: str
    gross_notional_usd: str
    positions: int
    as_of_ms: int


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """One decision with its inputs and their ages, each rule's value and limit, the verdict and what came of it.

    ``id`` is time-ordered and unique in the run. ``sequence`` numbers the decisions of a run. ``accepted_ms`` is when
    it was decided, not when it was stored (TS-10). ``completed`` tells a run without error; profit is another matter
    (TS-22).
    """

    id: str
    sequence: int
    kind: TraceKind
    accepted_ms: int
    symbol: str
    strategy: str
    interval: str
    settings_digest: str
    version: str
    signal: Signal | None = None
    verdict: Approved | Refused | None = None
    candle: Candle | None = None
    market: MarketSnapshot | None = None
    portfolio: PortfolioDigest | None = None
    ages_ms: dict[str, int] = msgspec.field(default_factory=dict)
    regime: str = ""
    indicators: dict[str, float] = msgspec.field(default_factory=dict)
    orders: tuple[Order, ...] = ()
    fills: tuple[Fill, ...] = ()
    steps: tuple[Step, ...] = ()
    errors: tuple[str, ...] = ()
    episode: str = ""
    led_to_order: bool = False
    completed: bool = True
    outcome_usd: str | None = None
    outcome_ms: int | None = None
