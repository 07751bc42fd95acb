"""A made-up decision of a chosen size, for tests and benchmarks: the same seed gives the same trace."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from random import Random
from typing import Final

from perpstrader.domain.market import Candle, MarketSnapshot
from perpstrader.domain.money import AssetSpec, MarginTier
from perpstrader.domain.portfolio import Portfolio, Position, ProtectiveStop
from perpstrader.domain.risk_state import RiskState
from perpstrader.domain.signals import Action, Side, Signal
from perpstrader.domain.traces import DecisionInputs, PortfolioDigest, Step, StrategyView, Trace, TraceKind
from perpstrader.domain.verdicts import Check, Reason, Refusal, Refused
from perpstrader.state import utc_day

START_MS: Final = 1_760_000_000_000
STEP_MS: Final = 8_000
"""Traces with consecutive seeds follow each other so quickly: about ten symbols by four strategies on 5-minute bars."""
BAR_MS: Final = 300_000
_SYMBOLS: Final = ("BTC", "ETH", "SOL", "HYPE", "XRP", "DOGE", "kPEPE", "AVAX", "LINK", "SUI")
_REGIMES: Final = ("trend", "range", "volatile", "quiet")
_STRATEGIES: Final = ("trend", "breakout", "reversion")
_BAR_BYTES: Final = 166
_POSITION_BYTES: Final = 780
_VIEW_BYTES: Final = 4_000
_LEAST_BYTES: Final = 2_600
_MOST_BARS: Final = 100


def sample_trace(seed: int = 0, *, json_bytes: int = 3_300) -> Trace:
    """A refusal on a closed bar with about ``json_bytes`` of JSON, numbered ``seed`` and accepted in its order.

    From 1,000 bytes; below 2,600 it has no evidence but the candle, above 4,000 the bars that the strategy was shown,
    up to 100, and beyond those the account that the rules read, with as many positions as it takes. Equal arguments
    give equal traces; nothing of it ever happened.
    """
    rng = Random(seed)
    open_ms = (START_MS + seed * STEP_MS) // BAR_MS * BAR_MS
    now_ms = START_MS + seed * STEP_MS + BAR_MS + 120
    symbol, strategy = _SYMBOLS[seed % len(_SYMBOLS)], _STRATEGIES[seed % len(_STRATEGIES)]
    price = _price(rng)
    signal = Signal(
        id=f"s{seed}", action=Action.OPEN, symbol=symbol, side=Side.LONG, confidence=round(rng.uniform(0.5, 1), 4),
        strategy=strategy, created_ms=now_ms, stop_price=price * Decimal("0.975"), target_price=price * Decimal("1.08"),
        reason="the fast average crossed above the slow one; volume above its mean",
    )  # fmt: skip
    bars = max(0, min(_MOST_BARS, (json_bytes - _VIEW_BYTES) // _BAR_BYTES))
    held = max(0, round((json_bytes - _VIEW_BYTES - bars * _BAR_BYTES) / _POSITION_BYTES)) if bars else 0
    full = json_bytes >= _LEAST_BYTES
    return Trace(
        id=f"t{seed:09}", sequence=seed, kind=TraceKind.DECISION, accepted_ms=now_ms, symbol=symbol,
        strategy=strategy, interval="5m", settings_digest="5a" * 32, version="0",
        signal=signal if json_bytes >= 1_500 else None,
        verdict=_refused(rng, signal, now_ms, rules=12 if full else 3) if json_bytes >= 1_500 else None,
        candle=_candle(rng, symbol, open_ms, price), market=_market(symbol, price, now_ms) if full else None,
        portfolio=_digest(rng, held, now_ms), inputs=_inputs(rng, symbol, held, now_ms) if held else None,
        view=_view(symbol, price, now_ms, bars) if bars else None,
        ages_ms={"book": 120, "account": 620}, regime=_REGIMES[rng.randrange(len(_REGIMES))],
        indicators={f"indicator_{n}": rng.uniform(10, 1_000) for n in range(12 if full else 6)},
        steps=(Step(time_ms=now_ms + 1, text="refused"),),
    )  # fmt: skip


@lru_cache(maxsize=256)
def sample_history(symbol: str, now_ms: int, count: int) -> tuple[Candle, ...]:
    """The ``count`` 5-minute bars of a made-up market that closed last before the bar of ``now_ms`` began.

    Windows share their bars, as those of a running trader do.
    """
    last_ms = now_ms // BAR_MS * BAR_MS
    return tuple(_bar(symbol, open_ms) for open_ms in range(last_ms - count * BAR_MS, last_ms, BAR_MS))


@lru_cache(maxsize=100_000)
def _bar(symbol: str, open_ms: int) -> Candle:
    rng = Random(f"{symbol} {open_ms}")
    return _candle(rng, symbol, open_ms, _price(rng))


def _view(symbol: str, price: Decimal, now_ms: int, count: int) -> StrategyView:
    opened_ms = now_ms // BAR_MS * BAR_MS
    return StrategyView(
        time_ms=now_ms, market=_market(symbol, price, now_ms), history=sample_history(symbol, opened_ms, count)
    )


def _price(rng: Random) -> Decimal:
    return Decimal(rng.randrange(1_000, 999_999)) / 100


def _refused(rng: Random, signal: Signal, now_ms: int, *, rules: int) -> Refused:
    wide = Refusal(
        reason=Reason.SPREAD_TOO_WIDE, value=f"{rng.uniform(5, 9):.4f}", limit="5", unit="bps",
        hint="wait for a tighter book",
    )  # fmt: skip
    checks = tuple(
        Check(rule=rule, passed=True, value=f"{rng.random():.4f}", limit="0.5") for rule in list(Reason)[:rules]
    )
    return Refused(signal=signal, refusals=(wide,), checks=checks, decided_ms=now_ms + 1)


def _candle(rng: Random, symbol: str, open_ms: int, price: Decimal) -> Candle:
    return Candle(
        symbol=symbol, interval="5m", open_ms=open_ms, close_ms=open_ms + BAR_MS - 1, open=price,
        high=price * Decimal("1.006"), low=price * Decimal("0.993"), close=price,
        volume=Decimal(rng.randrange(10**6)) / 1_000, trades=rng.randrange(2_000),
    )  # fmt: skip


def _market(symbol: str, price: Decimal, now_ms: int) -> MarketSnapshot:
    return MarketSnapshot(
        symbol=symbol, version=1, bid=price, ask=price + Decimal("0.01"), mark=price, oracle=price, last=price,
        book_ms=now_ms, context_ms=now_ms, funding_rate=Decimal("0.0000125"), day_volume_usd=Decimal(1_000_000_000),
    )  # fmt: skip


def _digest(rng: Random, held: int, now_ms: int) -> PortfolioDigest:
    return PortfolioDigest(
        version=7, equity_usd=f"{_price(rng)}", available_usd=f"{_price(rng)}", gross_notional_usd=f"{_price(rng)}",
        positions=held, as_of_ms=now_ms,
    )  # fmt: skip


def _inputs(rng: Random, symbol: str, held: int, now_ms: int) -> DecisionInputs:
    names = [symbol, *(f"C{number}" for number in range(held - 1))]
    tiers = (MarginTier(Decimal(0), 20), MarginTier(Decimal(40_000_000), 10))
    assets = {
        name: AssetSpec(name=name, index=index, size_decimals=3, max_leverage=20, tiers=tiers)
        for index, name in enumerate(names)
    }
    account = Portfolio(
        version=1, as_of_ms=now_ms, equity_usd=_price(rng), available_usd=_price(rng),
        positions={name: _position(rng, name, now_ms) for name in names}, leverage=dict.fromkeys(names, 3),
        reconciled=True, address_budget_left=10_000,
    )  # fmt: skip
    state = RiskState(
        version=1, day=utc_day(now_ms), day_start_equity_usd=_price(rng), peak_equity_usd=_price(rng),
        market_move_fraction=Decimal("0.01"),
    )  # fmt: skip
    return DecisionInputs.of(symbol, account, state, assets)


def _position(rng: Random, symbol: str, now_ms: int) -> Position:
    entry, size = _price(rng), Decimal(rng.randrange(1, 10**6)) / 1_000
    stop = ProtectiveStop(
        oid=rng.randrange(10**10), cloid=f"0x{rng.getrandbits(128):032x}", trigger_price=entry * Decimal("0.97"),
        limit_price=entry * Decimal("0.87"), size=size, confirmed_ms=now_ms,
    )  # fmt: skip
    return Position(
        symbol=symbol, side=Side.LONG, size=size, entry_price=entry, mark_price=_price(rng),
        episode=f"{symbol}-{now_ms}", owner="trend", opened_ms=now_ms - 3_600_000, leverage=3, stop=stop,
    )  # fmt: skip
