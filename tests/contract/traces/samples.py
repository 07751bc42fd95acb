"""Traces for tests: whole ones with every part filled, and quick ones in rows."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from perpstrader.domain import (
    Action,
    Approved,
    Candle,
    Check,
    Fill,
    MarketSnapshot,
    Order,
    OrderIntent,
    OrderStatus,
    PortfolioDigest,
    Purpose,
    Reason,
    Refusal,
    Refused,
    Side,
    Signal,
    Step,
    TimeInForce,
    Trace,
    TraceKind,
    Trigger,
    make_cloid,
)

START_MS = 1_747_058_400_000  # 2025-05-12 14:00:00 UTC
BAR_MS = 300_000
DIGEST = "5a" * 32


def signal(number: int = 1, symbol: str = "BTC", **changes: Any) -> Signal:
    """A wish to go long, with a stop."""
    made = Signal(
        id=f"trend-{number}",
        action=Action.OPEN,
        symbol=symbol,
        side=Side.LONG,
        confidence=0.62,
        strategy="trend",
        created_ms=START_MS,
        stop_price=Decimal("101000"),
        target_price=Decimal("108000"),
        reason="fast average crossed above slow",
    )
    return msgspec.structs.replace(made, **changes)


def refused(number: int = 1, symbol: str = "BTC", reason: Reason = Reason.SPREAD_TOO_WIDE) -> Refused:
    """A refusal with its number and limit."""
    return Refused(
        signal=signal(number, symbol),
        refusals=(Refusal(reason=reason, value="7.2", limit="5", unit="bps", hint="wait for a tighter book"),),
        checks=(
            Check(rule=Reason.CONFIDENCE_TOO_LOW, passed=True, value="0.62", limit="0.5"),
            Check(rule=reason, passed=False, value="7.2", limit="5", unit="bps"),
        ),
        decided_ms=START_MS,
    )


def approved(number: int = 1) -> Approved:
    """An approval with its size and prices."""
    return Approved(
        signal=signal(number),
        size=Decimal("0.0123"),
        reference_price=Decimal("103900"),
        worst_price=Decimal("104400"),
        stop_price=Decimal("101000"),
        stop_limit_price=Decimal("90900"),
        target_price=Decimal("108000"),
        notional_usd=Decimal("1277.97"),
        risk_usd=Decimal("37.51"),
        leverage=3,
        risk_score=0.31,
        size_bound="ORDER_NOTIONAL",
        portfolio_version=7,
        decided_ms=START_MS,
        checks=(Check(rule=Reason.SPREAD_TOO_WIDE, passed=True, value="1.2", limit="5", unit="bps"),),
        warnings=("funding is against the position",),
    )


def trace(number: int = 1, **changes: Any) -> Trace:
    """A refusal on a closed bar, accepted 120 ms after its close; ``number`` sets id, bar and time."""
    open_ms = START_MS + (number - 1) * BAR_MS
    made = Trace(
        id=f"t{number:06}",
        sequence=number,
        kind=TraceKind.DECISION,
        accepted_ms=open_ms + BAR_MS + 120,
        symbol="BTC",
        strategy="trend",
        interval="5m",
        settings_digest=DIGEST,
        version="0.1.0",
        signal=signal(number),
        verdict=refused(number),
        candle=candle(open_ms),
        market=MarketSnapshot(
            symbol="BTC",
            version=11,
            bid=Decimal("103900"),
            ask=Decimal("103910"),
            book_ms=open_ms + BAR_MS,
            mark=Decimal("103905.5"),
            oracle=Decimal("103901"),
            funding_rate=Decimal("0.0000125"),
        ),
        portfolio=PortfolioDigest(
            version=7,
            equity_usd="1000.5",
            available_usd="900",
            gross_notional_usd="0",
            positions=0,
            as_of_ms=open_ms + BAR_MS - 500,
        ),
        ages_ms={"book": 120, "account": 620},
        regime="trend",
        indicators={"fast": 103_912.25, "slow": 103_800.125},
    )
    return msgspec.structs.replace(made, **changes)


def candle(open_ms: int, symbol: str = "BTC") -> Candle:
    """A closed bar of five minutes."""
    return Candle(
        symbol=symbol,
        interval="5m",
        open_ms=open_ms,
        close_ms=open_ms + BAR_MS - 1,
        open=Decimal("103800"),
        high=Decimal("103950"),
        low=Decimal("103750"),
        close=Decimal("103905"),
        volume=Decimal("12.5"),
        trades=431,
    )


def executed(number: int = 1) -> Trace:
    """An approved decision whose entry filled and whose stop rests."""
    entry = order(number, Purpose.ENTRY)
    stop = order(number, Purpose.STOP)
    fill = Fill(
        tid=9_000 + number,
        oid=77,
        symbol="BTC",
        buy=True,
        price=Decimal("103910"),
        size=Decimal("0.0123"),
        time_ms=entry.sent_ms + 40,
        fee_usd=Decimal("0.575"),
        closed_pnl_usd=Decimal(0),
        start_position=Decimal(0),
        crossed=True,
        cloid=entry.cloid,
    )
    base = trace(number, verdict=approved(number), led_to_order=True, episode=f"BTC-{number}")
    step = Step(time_ms=base.accepted_ms + 60, text="stop of the right size is listed")
    return msgspec.structs.replace(base, orders=(entry, stop), fills=(fill,), steps=(step,))


def order(number: int, purpose: Purpose) -> Order:
    """An entry that filled, or a stop that rests."""
    is_entry = purpose is Purpose.ENTRY
    sent_ms = START_MS + number * BAR_MS + 150
    return Order(
        intent=OrderIntent(
            number=number,
            purpose=purpose,
            symbol="BTC",
            side=Side.LONG,
            buy=is_entry,
            size=Decimal("0.0123"),
            limit_price=Decimal("104400") if is_entry else Decimal("90900"),
            tif=TimeInForce.IOC if is_entry else TimeInForce.GTC,
            reduce_only=not is_entry,
            strategy="trend",
            created_ms=sent_ms,
            trigger=None if is_entry else Trigger(price=Decimal("101000"), is_stop=True),
        ),
        attempt=1,
        cloid=make_cloid(0x1234, number, 1 if is_entry else 2),
        status=OrderStatus.FILLED if is_entry else OrderStatus.RESTING,
        sent_ms=sent_ms,
        oid=77 if is_entry else 78,
        filled=Decimal("0.0123") if is_entry else Decimal(0),
        average_price=Decimal("103910") if is_entry else None,
    )
