"""A seeded run with trades, refusals and a curve, for the tests of reports."""

from __future__ import annotations

import math
import random
from decimal import Decimal

from perpstrader.domain import Fill, FundingPayment
from perpstrader.report import (
    Decisions,
    HaltSpan,
    MarkDrawdown,
    Money,
    Recording,
    ReplayReport,
    Safety,
    Speed,
    TradeRow,
    replay_report,
    trades_of,
)

BAR_MS = 300_000
START_MS = 1_741_946_400_000
SYMBOLS = {"BTC": 84_000.0, "ETH": 1_900.0, "kPEPE": 0.0071}
REASONS = {
    "POSITION_EXISTS": 812,
    "STOP_TOO_CLOSE": 341,
    "ENTRIES_PER_SYMBOL_DAY": 207,
    "COOLDOWN": 96,
    "SPREAD_TOO_WIDE": 41,
    "DAILY_LOSS": 12,
    "ADVERSE_FUNDING": 3,
}
DECISIONS = {
    "trend": Decisions(signals=1_702, approved=190, refused=1_512, refused_by_reason=REASONS),
    "reversion": Decisions(signals=502, approved=110, refused=392, refused_by_reason={"STOP_TOO_CLOSE": 392}),
    "funding": Decisions(signals=17, approved=9, refused=8, refused_by_reason={"MARGIN_RATIO": 8}),
}


def fill(
    tid: int, *, buy: bool, price: str, size: str, time_ms: int = 0, fee: str = "0", symbol: str = "BTC", **more: bool
) -> Fill:
    """One fill; what reports do not read is filled in."""
    return Fill(
        tid=tid,
        oid=tid,
        symbol=symbol,
        buy=buy,
        price=Decimal(price),
        size=Decimal(size),
        time_ms=time_ms,
        fee_usd=Decimal(fee),
        closed_pnl_usd=Decimal(0),
        start_position=Decimal(0),
        crossed=True,
        liquidation=more.get("liquidation", False),
    )


def funding(usd: str, time_ms: int, symbol: str = "BTC") -> FundingPayment:
    """One funding row."""
    return FundingPayment(symbol=symbol, time_ms=time_ms, usd=Decimal(usd), size=Decimal(1), rate=Decimal("0.0000125"))


def sample_trades(bars: int, seed: int = 1) -> tuple[TradeRow, ...]:
    """Trades of a market that wanders."""
    chance = random.Random(seed)
    fills: list[Fill] = []
    for symbol, start in SYMBOLS.items():
        bar, price = 20, start
        while bar < bars - 80:
            buy, size = chance.random() < 0.55, f"{300 / price:.5f}"
            for side, move in ((buy, 0.0), (not buy, chance.gauss(0.0015 if buy else -0.0015, 0.009))):
                price *= math.exp(move)
                fee, time_ms = f"{price * float(size) * 0.00045:.6f}", START_MS + bar * BAR_MS
                fills.append(
                    fill(
                        len(fills),
                        buy=side,
                        price=f"{price:.6g}",
                        size=size,
                        symbol=symbol,
                        fee=fee,
                        time_ms=time_ms,
                    )
                )
                bar += chance.randint(4, 90)
    names = ("trend", "reversion", "funding")
    ends = ("stop", "target", "exit")
    return trades_of(fills, strategy_of=lambda f: names[f.tid % 3], exit_of=lambda f: ends[f.tid % 3])


def sample_report(bars: int = 9_000, seed: int = 1, title: str = "BTC, ETH, kPEPE in spring 2025") -> ReplayReport:
    """A whole report whose curve follows from its trades."""
    trades = sample_trades(bars, seed)
    start = Decimal(1_000)
    ends = sorted((t.closed_ms or 0, t.net_usd) for t in trades)
    curve: list[tuple[int, Decimal]] = []
    equity, chance = start, random.Random(seed)
    for bar in range(bars):
        time_ms = START_MS + bar * BAR_MS
        while ends and ends[0][0] <= time_ms:
            equity += ends.pop(0)[1]
        curve.append((time_ms, equity + Decimal(f"{chance.gauss(0, 0.6):.6f}")))
    curve.append((START_MS + bars * BAR_MS, equity))
    net = equity - start
    return replay_report(
        title=title,
        version="0.1.0",
        seed=seed,
        fingerprint="9f2c4be0" * 8,
        recording=Recording(
            source="hl_candles_2025_BTC_ETH_SOL",
            grade="candle",
            symbols=tuple(SYMBOLS),
            interval="5m",
            interval_ms=BAR_MS,
            start_ms=START_MS,
            end_ms=START_MS + bars * BAR_MS,
            bars=3 * bars,
            ambiguous_bars=bars // 40,
            halted_bars=3,
        ),
        decisions_by_strategy=DECISIONS,
        orders=640,
        fills=2 * len(trades),
        money=Money(
            start_equity_usd=start,
            end_equity_usd=equity,
            net_pnl_usd=net,
            fees_usd=sum((t.fees_usd for t in trades), Decimal(0)),
            funding_usd=Decimal("-1.284"),
            slippage_usd=Decimal("9.41"),
            identity_error_usd=Decimal(0),
        ),
        safety=Safety(max_unprotected_ms=412, liquidations=0),
        halts=(
            HaltSpan(
                kind="loss_streak", reason="4 losing round trips in a row, limit 4", actor="risk limits",
                since_ms=START_MS + 100 * BAR_MS, until_ms=START_MS + 148 * BAR_MS,
                ended_by="risk limits: its time is over", refused=12,
            ),
            HaltSpan(
                kind="drawdown", reason="equity 900 USD is 0.1001 under its peak of 1000 USD, limit 0.1",
                actor="risk limits", since_ms=START_MS + (bars - 300) * BAR_MS, refused=207,
            ),
        ),
        seen=MarkDrawdown(fraction=0.1001, usd=Decimal("100.1")),
        speed=Speed(
            wall_seconds=5.41,
            bars_per_second=21_367.2,
            decisions_per_second=3_181.0,
            breakdown=(
                ("exchange", 2.1),
                ("trader", 1.4),
                ("strategies", 0.6),
                ("risk", 0.5),
                ("traces", 0.4),
                ("other", 0.41),
            ),
        ),
        curve=curve,
        trades=trades,
    )
