"""Made-up input of the usual size: an account, markets, signals and traces, the same for every arm and every run."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from perpstrader.domain import (
    Action,
    AssetSpec,
    Candle,
    Check,
    MarginTier,
    MarketSnapshot,
    Portfolio,
    PortfolioDigest,
    Position,
    ProtectiveStop,
    Reason,
    Refusal,
    Refused,
    RiskState,
    Side,
    Signal,
    Step,
    Trace,
    TraceKind,
)
from perpstrader.state import utc_day

NOW_MS: Final = 1_760_000_000_000
"""An instant of October 2025; every sample is as of then."""
LEVERAGE: Final = 3
_BAR_MS: Final = 300_000
_EQUITY: Final = Decimal(1_000_000)
_NEAR: Final = Decimal("0.97")


def symbol(number: int) -> str:
    """The name of the ``number``-th coin; the first is BTC."""
    return "BTC" if number == 0 else f"C{number}"


def assets(count: int) -> dict[str, AssetSpec]:
    """Metadata of ``count`` coins, with two margin tiers each as the venue's large ones have."""
    tiers = (MarginTier(Decimal(0), 20), MarginTier(Decimal(40_000_000), 10))
    return {
        symbol(n): AssetSpec(name=symbol(n), index=n, size_decimals=3, max_leverage=20, tiers=tiers)
        for n in range(count)
    }


def price(number: int) -> Decimal:
    """The mark of the ``number``-th coin, on tick."""
    return Decimal(100 + number % 50)


def market(number: int) -> MarketSnapshot:
    """A quiet, fresh market around a round mark."""
    mark = price(number)
    return MarketSnapshot(
        symbol=symbol(number), version=1, bid=mark - Decimal("0.01"), ask=mark + Decimal("0.01"), mark=mark,
        oracle=mark, last=mark, book_ms=NOW_MS, context_ms=NOW_MS, funding_rate=Decimal("0.0000125"),
        day_volume_usd=Decimal(1_000_000_000),
    )  # fmt: skip


def position(number: int) -> Position:
    """A long of $1,000 with its stop listed 3 % under the mark."""
    mark = price(number)
    size = (Decimal(1_000) / mark).quantize(Decimal("0.001"))
    trigger = mark * _NEAR
    stop = ProtectiveStop(
        oid=number + 1, cloid=f"0x{number:032x}", trigger_price=trigger, limit_price=trigger * Decimal("0.9"),
        size=size, confirmed_ms=NOW_MS,
    )  # fmt: skip
    return Position(
        symbol=symbol(number), side=Side.LONG, size=size, entry_price=mark, mark_price=mark,
        episode=f"{symbol(number)}-1", owner="trend", opened_ms=NOW_MS - 3_600_000, leverage=LEVERAGE, stop=stop,
    )  # fmt: skip


def portfolio(positions: int, coins: int, *, version: int = 1) -> Portfolio:
    """A million dollars, ``positions`` of the ``coins`` held (not BTC), all facts fresh and reconciled."""
    return Portfolio(
        version=version, as_of_ms=NOW_MS, equity_usd=_EQUITY, available_usd=_EQUITY,
        positions={symbol(n): position(n) for n in range(1, positions + 1)},
        leverage=dict.fromkeys(map(symbol, range(coins)), LEVERAGE), reconciled=True, address_budget_left=10_000,
    )  # fmt: skip


def risk_state() -> RiskState:
    """A day without a trade."""
    return RiskState(
        version=1, day=utc_day(NOW_MS), day_start_equity_usd=_EQUITY, peak_equity_usd=_EQUITY,
        market_move_fraction=Decimal("0.01"),
    )  # fmt: skip


def signal(number: int = 0, coin: int = 0) -> Signal:
    """A wish to go long; each number wants a little more or less."""
    return Signal(
        id=f"s{number}", action=Action.OPEN, symbol=symbol(coin), side=Side.LONG,
        confidence=0.6 + (number % 40) / 100, strategy="trend", created_ms=NOW_MS,
    )  # fmt: skip


def trace_id(number: int) -> str:
    """The id of the ``number``-th trace."""
    return f"t{number:09}"


def trace(number: int) -> Trace:
    """A refusal on a closed bar with the evidence that a real one has: about 3 KB as JSON."""
    open_ms = NOW_MS + number * _BAR_MS
    wish = replace(
        signal(number), stop_price=Decimal("97.5"), target_price=Decimal("108"),
        reason="the fast average crossed above the slow one; volume above its mean",
    )  # fmt: skip
    wide = Refusal(reason=Reason.SPREAD_TOO_WIDE, value="7.2", limit="5", unit="bps", hint="wait for a tighter book")
    checks = tuple(Check(rule=rule, passed=True, value="0.6242", limit="0.5") for rule in list(Reason)[:12])
    return Trace(
        id=trace_id(number), sequence=number, kind=TraceKind.DECISION, accepted_ms=open_ms + _BAR_MS + 120,
        symbol="BTC", strategy="trend", interval="5m", settings_digest="5a" * 32, version="0", signal=wish,
        verdict=Refused(signal=wish, refusals=(wide,), checks=checks, decided_ms=open_ms + _BAR_MS + 121),
        candle=Candle(
            symbol="BTC", interval="5m", open_ms=open_ms, close_ms=open_ms + _BAR_MS - 1, open=Decimal("99.8"),
            high=Decimal("100.4"), low=Decimal("99.7"), close=Decimal(100), volume=Decimal("12.5"), trades=431,
        ),
        market=market(0),
        portfolio=PortfolioDigest(
            version=7, equity_usd="1000.5", available_usd="900", gross_notional_usd="0", positions=0, as_of_ms=open_ms
        ),
        ages_ms={"book": 120, "account": 620}, regime="trend",
        indicators={f"indicator_{n}": 99.5 + n / 7 + number / 13 for n in range(12)},
        steps=(Step(time_ms=open_ms + _BAR_MS + 121, text="refused"),),
    )  # fmt: skip
