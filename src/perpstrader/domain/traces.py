"""The decision record: everything that one decision saw, said and led to, refusals included."""

from __future__ import annotations

import enum
from collections.abc import Mapping

import msgspec

from perpstrader.domain.market import Candle, MarketSnapshot
from perpstrader.domain.money import AssetSpec
from perpstrader.domain.orders import Fill, Order
from perpstrader.domain.portfolio import Portfolio, Position
from perpstrader.domain.risk_state import RiskState
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


class Step(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """One line of what happened, in words, with its time."""

    time_ms: int
    text: str


class PortfolioDigest(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """The account at the moment of the decision, as numbers in text."""

    version: int
    equity_usd: str
    available_usd: str
    gross_notional_usd: str
    positions: int
    as_of_ms: int


class DecisionInputs(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules read besides signal and market, so that a decision can be judged again; built by ``of``.

    ``assets`` are those of the symbol and of everything held or reserved. What of ``account`` has no order is kept
    apart and in order, so that the same decision is the same text.
    """

    account: Portfolio
    state: RiskState
    assets: tuple[AssetSpec, ...]
    exits_in_flight: tuple[str, ...] = ()
    entries_in_flight: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, symbol: str, portfolio: Portfolio, state: RiskState, assets: Mapping[str, AssetSpec]
    ) -> DecisionInputs:
        """The inputs of a judgement of ``symbol``; ``assets`` may be all of the venue's."""
        read = dict.fromkeys([symbol, *portfolio.positions, *(r.symbol for r in portfolio.reservations)])
        return cls(
            account=msgspec.structs.replace(portfolio, exits_in_flight=frozenset(), entries_in_flight=frozenset()),
            state=state, assets=tuple(assets[name] for name in read if name in assets),
            exits_in_flight=tuple(sorted(portfolio.exits_in_flight)),
            entries_in_flight=tuple(sorted(portfolio.entries_in_flight)),
        )  # fmt: skip

    @property
    def portfolio(self) -> Portfolio:
        """The account as the rules saw it."""
        return msgspec.structs.replace(
            self.account, exits_in_flight=frozenset(self.exits_in_flight),
            entries_in_flight=frozenset(self.entries_in_flight),
        )  # fmt: skip


class StoredBars(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """Closed bars of one symbol that lie apart from the record, where decisions share them.

    ``runs`` are pieces without a gap, oldest first: the opening time of the first bar, and how many; a bar takes
    ``bar_ms``. ``digest`` is over the content of all of them (``traces.bars``).
    """

    symbol: str
    interval: str
    bar_ms: int
    runs: tuple[tuple[int, int], ...]
    digest: str

    @property
    def count(self) -> int:
        """How many bars."""
        return sum(count for _, count in self.runs)

    @property
    def opens(self) -> list[int]:
        """The opening time of each, oldest first."""
        step = self.bar_ms
        return [open_ms for first, count in self.runs for open_ms in range(first, first + count * step, step)]


class StrategyView(msgspec.Struct, frozen=True, kw_only=True):
    """What the strategy was shown besides the bar that it answered, so that it can be asked again.

    ``history`` are the closed bars before that one, oldest first. Where they cannot be read, it is empty and
    ``stored`` says which they were.
    """

    time_ms: int
    market: MarketSnapshot
    position: Position | None = None
    history: tuple[Candle, ...] = ()
    stored: StoredBars | None = None


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """One decision with its inputs and their ages, each rule's value and limit, the verdict and what came of it.

    ``id`` is time-ordered and unique in the run. ``sequence`` numbers the decisions of a run. ``accepted_ms`` is when
    it was decided, not when it was stored (TS-10). ``completed`` tells a run without error; profit is another matter
    (TS-22). ``inputs`` are there where the rules judged, ``view`` where a strategy was asked, ``portfolio`` wherever
    the account was read.
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
    inputs: DecisionInputs | None = None
    view: StrategyView | None = None
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
