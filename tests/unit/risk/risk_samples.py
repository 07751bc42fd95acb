"""An account of $1,000, a quiet market, and a keeper on a clock that stands still: what the tests of risk share."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from perpstrader.domain import (
    Action,
    Approved,
    AssetSpec,
    MarginTier,
    MarketSnapshot,
    Portfolio,
    Position,
    ProtectiveStop,
    Reason,
    Refused,
    RiskState,
    Side,
    Signal,
    Verdict,
)
from perpstrader.risk.baseline import RiskManager
from perpstrader.runtime.executor import InlineExecutor
from perpstrader.settings.limits import RiskSettings
from perpstrader.settings.trading import ExecutionSettings
from perpstrader.state import StateStore, Transaction, utc_day

D = Decimal
NOW = 1_750_000_000_000
DAY_MS = 86_400_000
MIDNIGHT = NOW // DAY_MS * DAY_MS + DAY_MS
ASSETS = {
    "BTC": AssetSpec(name="BTC", index=0, size_decimals=5, max_leverage=40,
                     tiers=(MarginTier(D(0), 40), MarginTier(D(150_000_000), 20))),
    "ETH": AssetSpec(name="ETH", index=1, size_decimals=4, max_leverage=25,
                     tiers=(MarginTier(D(0), 25), MarginTier(D(100_000_000), 15))),
    "SOL": AssetSpec(name="SOL", index=5, size_decimals=2, max_leverage=20,
                     tiers=(MarginTier(D(0), 20), MarginTier(D(70_000_000), 10))),
    "XRP": AssetSpec(name="XRP", index=25, size_decimals=0, max_leverage=20,
                     tiers=(MarginTier(D(0), 20), MarginTier(D(40_000_000), 10))),
}  # fmt: skip
PRICES = {"BTC": D(100_000), "ETH": D(4_000), "SOL": D(200), "XRP": D("2.5")}
LEVERAGE = 3
USUAL, NEAR = D(200), D("0.03")


def limits(**changes: Any) -> RiskSettings:
    """The default limits, with changes."""
    return RiskSettings(**changes)


def execution(**changes: Any) -> ExecutionSettings:
    """The default execution settings, with changes."""
    return ExecutionSettings(**changes)


def manager(
    risk: RiskSettings | None = None,
    orders: ExecutionSettings | None = None,
    *,
    leverage: int = LEVERAGE,
    assets: Mapping[str, AssetSpec] = ASSETS,
) -> RiskManager:
    """A baseline risk manager."""
    return RiskManager(risk or limits(), orders or execution(), leverage, assets)


def market(symbol: str = "BTC", **changes: Any) -> MarketSnapshot:
    """One tick of spread around a round mark, funding at its usual rate."""
    mark = PRICES[symbol]
    tick = ASSETS[symbol].tick(mark)
    given: dict[str, Any] = {
        "symbol": symbol, "version": 1, "bid": mark - tick, "ask": mark + tick, "mark": mark, "oracle": mark,
        "last": mark, "book_ms": NOW, "context_ms": NOW, "funding_rate": D("0.0000125"),
        "day_volume_usd": D(1_000_000_000), **changes,
    }  # fmt: skip
    return MarketSnapshot(**given)


def portfolio(**changes: Any) -> Portfolio:
    """$1,000, flat, reconciled, leverage confirmed."""
    given: dict[str, Any] = {
        "version": 1, "as_of_ms": NOW, "equity_usd": D(1_000), "available_usd": D(1_000),
        "leverage": dict.fromkeys(ASSETS, LEVERAGE), "reconciled": True, "address_budget_left": 10_000, **changes,
    }  # fmt: skip
    return Portfolio(**given)


def state(**changes: Any) -> RiskState:
    """A day without a trade."""
    given: dict[str, Any] = {
        "version": 1, "day": utc_day(NOW), "day_start_equity_usd": D(1_000), "peak_equity_usd": D(1_000),
        "market_move_fraction": D("0.01"), **changes,
    }  # fmt: skip
    return RiskState(**given)


def signal(symbol: str = "BTC", **changes: Any) -> Signal:
    """A wish to go long, without prices."""
    given: dict[str, Any] = {
        "id": "s1", "action": Action.OPEN, "symbol": symbol, "side": Side.LONG, "confidence": 0.8, "strategy": "trend",
        "created_ms": NOW, **changes,
    }  # fmt: skip
    return Signal(**given)


def position(
    symbol: str = "ETH", *, notional: Decimal = USUAL, stop: Decimal | None = NEAR, **changes: Any
) -> Position:
    """A long of another strategy with its stop listed at the venue."""
    mark = changes.get("mark_price", PRICES[symbol])
    side = changes.get("side", Side.LONG)
    listed = None
    if stop is not None:
        trigger = mark * (1 - side.sign * stop)
        listed = ProtectiveStop(
            oid=1, cloid="0x0", trigger_price=trigger, limit_price=trigger, size=notional / mark, confirmed_ms=NOW
        )
    given: dict[str, Any] = {
        "symbol": symbol, "side": side, "size": notional / mark, "entry_price": mark, "mark_price": mark,
        "episode": f"{symbol}-1", "owner": "other", "opened_ms": NOW, "leverage": LEVERAGE, "stop": listed, **changes,
    }  # fmt: skip
    return Position(**given)


def judged(
    wish: Signal | None = None,
    *,
    account: Portfolio | None = None,
    prices: MarketSnapshot | None = None,
    memory: RiskState | None = None,
    by: RiskManager | None = None,
    now_ms: int = NOW,
    **of_limits: Any,
) -> Verdict:
    """The verdict on a signal, everything not named being ordinary."""
    wish = wish or signal()
    judge = by or manager(limits(**of_limits) if of_limits else None)
    prices = prices or market(wish.symbol if wish.symbol in PRICES else "BTC")
    return judge.evaluate(
        wish, account or portfolio(), prices, ASSETS.get(wish.symbol), memory or state(), now_ms
    )


def approved(verdict: Verdict) -> Approved:
    """The verdict, which must be an approval."""
    assert isinstance(verdict, Approved), [refusal.sentence() for refusal in verdict.refusals]
    return verdict


def reasons(verdict: Verdict) -> list[Reason]:
    """Why it was refused, gravest first; empty for an approval."""
    return [refusal.reason for refusal in verdict.refusals] if isinstance(verdict, Refused) else []


class StandingClock:
    """A clock that moves when it is told to."""

    def __init__(self, now_ms: int = NOW) -> None:
        self.ms = now_ms

    def now_ms(self) -> int:
        """What it was set to."""
        return self.ms

    def monotonic_ns(self) -> int:
        """The same in nanoseconds."""
        return self.ms * 1_000_000

    async def sleep(self, seconds: float) -> None:
        """Moves at once."""
        self.ms += int(seconds * 1000)


class Queue:
    """The writes that a keeper queued, for the test to carry out."""

    def __init__(self) -> None:
        self.writes: list[Any] = []

    def __call__(self, write: Any) -> None:
        self.writes.append(write)

    async def flush(self, store: StateStore) -> None:
        """Everything queued is on disk."""
        writes, self.writes = self.writes, []

        def all_of_them(tx: Transaction) -> None:
            for write in writes:
                write(tx)

        await store.transact(all_of_them)


async def open_store(path: Any = None) -> StateStore:
    """A store of its own, in memory unless a path is given."""
    return await StateStore.open(
        path, executor=InlineExecutor(), account="0x" + "aa" * 20, network="paper", new_epoch=lambda: 7
    )
