"""The limits that stand between a signal and the account's money; their defaults are made for an account of $1,000.

A limit allows its own value: a size, loss or age *equal* to the limit passes, what is beyond it is refused (``<=``;
for a minimum ``>=``). Where a fraction of equity and a USD cap exist, the stricter of both rules. The table is
``docs/settings.md``.
"""

from __future__ import annotations

from decimal import Decimal

from perpstrader.settings.fields import (
    Bps,
    Count,
    EquityFraction,
    Fraction,
    Milliseconds,
    OptionalMilliseconds,
    Ratio,
    Section,
    Symbol,
    Usd,
    setting,
)

D = Decimal
_CAP_WHY = "equity reads can be wrong; mainnet demands it"


class RiskSettings(Section):
    """What may be traded, how large and how often."""

    emergency_stop: bool = setting(
        False, "No entries while true; exits go on. True from any source wins.", env="EMERGENCY_STOP",
        stricter="higher", why="a switch that every source can throw and none can undo",
    )  # fmt: skip
    blocked_symbols: tuple[Symbol, ...] = setting(
        (), "Symbols never entered; the sources' lists are joined.", env="BLOCKED_SYMBOLS", stricter="higher"
    )

    risk_per_trade_fraction: EquityFraction = setting(
        D("0.005"), "Loss of one trade at its stop, with slip and fees.", unit="of equity", stricter="lower",
        why="20 straight losses cost 10 %",
    )  # fmt: skip
    risk_per_trade_usd: Usd | None = setting(None, "The same in USD.", unit="USD", stricter="lower", why=_CAP_WHY)
    max_order_notional_fraction: EquityFraction = setting(
        D("0.3"), "Notional of one entry order.", unit="of equity", stricter="lower",
        why="a gap of 20 % costs at most 6 %",
    )  # fmt: skip
    max_order_notional_usd: Usd | None = setting(None, "The same in USD.", unit="USD", stricter="lower", why=_CAP_WHY)
    max_position_fraction: EquityFraction = setting(
        D("0.5"), "Notional in one symbol, all in flight included.", unit="of equity", env="MAX_POSITION_SIZE",
        stricter="lower", why="a gap of 20 % in one coin costs at most 10 %",
    )  # fmt: skip
    max_position_usd: Usd | None = setting(None, "The same in USD.", unit="USD", stricter="lower", why=_CAP_WHY)
    max_gross_notional_ratio: Ratio = setting(
        D("1.5"), "Sum of all notionals, long and short.", unit="x equity", stricter="lower",
        why="bounds fees, funding and basis risk",
    )  # fmt: skip
    max_gross_notional_usd: Usd | None = setting(None, "The same in USD.", unit="USD", stricter="lower", why=_CAP_WHY)
    max_net_notional_ratio: Ratio = setting(
        D("1.0"), "Longs minus shorts, absolute.", unit="x equity", stricter="lower",
        why="a joint fall of 20 % costs at most 20 %",
    )  # fmt: skip
    max_net_notional_usd: Usd | None = setting(None, "The same in USD.", unit="USD", stricter="lower", why=_CAP_WHY)
    max_cluster_notional_ratio: Ratio = setting(
        D("1.0"), "Net notional of the BTC-beta cluster (every coin counts in full).", unit="x equity",
        stricter="lower", why="alts fall together",
    )  # fmt: skip
    max_positions: Count = setting(
        3, "Open positions, entries in flight included.", unit="positions", stricter="lower", why="alts fall together"
    )
    max_leverage: int = setting(
        3, "Leverage that may be configured for any symbol.", unit="x", env="MAX_LEVERAGE", stricter="lower", ge=1,
        le=50, why="the only cap that a bug in this program cannot pass",
    )  # fmt: skip
    max_margin_fraction: EquityFraction = setting(
        D("0.6"), "Initial margin in use.", unit="of equity", stricter="lower",
        why="room for a loss before the venue steps in",
    )  # fmt: skip
    min_entry_notional_usd: Usd = setting(
        D("20"), "An entry below this is refused, never rounded up.", unit="USD",
        env="HYPERLIQUID_MIN_ENTRY_NOTIONAL_USD", stricter="higher", ge=10,
        why="its stop and one halving stay above the venue's $10",
    )  # fmt: skip
    min_equity_usd: Usd = setting(
        D("100"), "Below this equity no entries.", unit="USD", stricter="higher",
        why="sizes by risk would fall below the minimum entry",
    )  # fmt: skip

    daily_loss_entry_stop_fraction: EquityFraction = setting(
        D("0.03"), "Loss of the UTC day that stops entries.", unit="of equity at 00:00 UTC", stricter="lower",
        why="6 full stops",
    )  # fmt: skip
    daily_loss_entry_stop_usd: Usd | None = setting(None, "The same in USD.", unit="USD", stricter="lower")
    max_daily_loss_fraction: EquityFraction = setting(
        D("0.05"), "Loss of the UTC day that flattens.", unit="of equity at 00:00 UTC", env="MAX_DAILY_LOSS",
        stricter="lower", why="10 full stops",
    )  # fmt: skip
    max_daily_loss_usd: Usd | None = setting(
        None, "The same in USD.", unit="USD", env="SAFETY_DAILY_LOSS_LIMIT", stricter="lower", why=_CAP_WHY
    )
    drawdown_halve_fraction: EquityFraction = setting(
        D("0.06"), "Drawdown from the peak (cash flows adjusted) from which sizes are halved.", unit="of peak equity",
        stricter="lower", why="slower before the halt",
    )  # fmt: skip
    max_drawdown_fraction: EquityFraction = setting(
        D("0.10"), "Drawdown that halts and flattens until an operator resumes.", unit="of peak equity",
        stricter="lower", percent_env="SAFETY_MAX_DRAWDOWN_PERCENT", why="a person looks before more is lost",
    )  # fmt: skip
    loss_streak_limit: Count = setting(
        4, "Losing round trips in a row that start the cooldown.", unit="trades", env="SAFETY_CONSECUTIVE_LOSS_LIMIT",
        stricter="lower", why="a change of regime, not bad luck",
    )  # fmt: skip
    loss_streak_cooldown_ms: Milliseconds = setting(
        43_200_000, "Pause of entries after a loss streak.", unit="ms", stricter="higher",
        why="half a day is longer than most moods of a market",
    )  # fmt: skip
    max_entries_per_day: Count = setting(
        50, "Entries a UTC day (filled or in flight).", unit="entries", env="SAFETY_MAX_TRADES_PER_DAY",
        stricter="lower", why="fees: a $250 round trip costs $0.23 and the spread",
    )  # fmt: skip
    max_entries_per_symbol_day: Count = setting(
        10, "Entries a UTC day in one symbol.", unit="entries", env="SAFETY_MAX_TRADES_PER_SYMBOL", stricter="lower",
        why="churn",
    )  # fmt: skip
    max_entries_per_minute: Count = setting(
        2, "Entries within any 60 s.", unit="entries", stricter="lower", why="a loop gone wild"
    )
    max_entries_per_symbol_hour: Count = setting(
        4, "Entries within any hour in one symbol.", unit="entries", stricter="lower",
        why="a symbol that was left three times within the hour is not understood",
    )  # fmt: skip
    max_signals_per_minute: Count = setting(
        3, "Signals to open within any 60 s, of one strategy in one symbol.", unit="signals", stricter="lower",
        why="the original's: who repeats himself faster has lost his way, not found an edge",
    )  # fmt: skip
    duplicate_entry_window_ms: OptionalMilliseconds = setting(
        300_000, "Time in which the same entry (symbol, side, strategy, price) is sent once; 0: off.", unit="ms",
        stricter="higher", why="the original's, after 64,521 cancelled orders for 1,846 filled",
    )  # fmt: skip
    duplicate_entry_fraction: Fraction = setting(
        D("0.005"), "Prices that are no farther apart than this are the same there.", unit="of price",
        stricter="higher", why="the original's",
    )  # fmt: skip
    exit_cooldown_ms: OptionalMilliseconds = setting(
        60_000, "No entry in a symbol this long after its position has ended; 0: off.", unit="ms", stricter="higher",
        why="an exit and an entry at once pay two spreads for nothing",
    )  # fmt: skip
    loss_cooldown_ms: OptionalMilliseconds = setting(
        300_000, "The same after a position that lost.", unit="ms", stricter="higher",
        why="what was wrong a minute ago is seldom right now",
    )  # fmt: skip
    failed_entry_cooldown_ms: OptionalMilliseconds = setting(
        15_000, "No entry in a symbol this long after one that did not fill, doubled with each in a row; 0: off.",
        unit="ms", stricter="higher", why="the original's; what the venue refused it refuses again",
    )  # fmt: skip
    max_failed_entry_cooldown_ms: Milliseconds = setting(
        180_000, "The longest of those pauses.", unit="ms", stricter="higher", why="the original's"
    )
    min_history_bars: Count = setting(
        20, "Closed bars without a gap that a symbol needs before an entry.", unit="bars", stricter="higher",
        why="what has just begun, or was just interrupted, is not understood",
    )  # fmt: skip
    max_bar_age_ratio: Ratio = setting(
        D("3"), "Oldest newest bar of a symbol to enter on, and 5 s.", unit="x bar length", stricter="lower",
        why="a stream of bars that stopped is noticed",
    )  # fmt: skip
    volatility_reduce_fraction: Fraction = setting(
        D("0.05"), "Move of BTC within one hour above which sizes are halved.", unit="of price", stricter="lower",
        percent_env="SAFETY_VOLATILITY_REDUCE_THRESHOLD", why="books thin out",
    )  # fmt: skip
    volatility_stop_fraction: Fraction = setting(
        D("0.10"), "Move of BTC within one hour above which there are no entries.", unit="of price", stricter="lower",
        percent_env="SAFETY_VOLATILITY_STOP_THRESHOLD", why="a crash is no time to enter",
    )  # fmt: skip

    default_stop_fraction: Fraction = setting(
        D("0.03"), "Stop distance for a signal that names no stop.", unit="of entry price", why="the original's"
    )
    default_target_fraction: Fraction = setting(
        D("0.06"), "Target distance for a signal that names no target.", unit="of entry price", why="twice the stop"
    )
    min_stop_distance_fraction: Fraction = setting(
        D("0.005"), "Nearest stop allowed.", unit="of entry price", stricter="higher", why="tighter is noise"
    )
    max_stop_distance_fraction: Fraction = setting(
        D("0.08"), "Farthest stop allowed.", unit="of entry price", stricter="lower", why="wider is no stop"
    )
    min_stop_atr_ratio: Ratio = setting(
        D("1"), "Nearest stop in average true ranges of one hour, where that is known.", unit="x ATR(1h)",
        stricter="higher", why="tighter is noise",
    )  # fmt: skip
    breakeven_arm_ratio: Decimal = setting(
        D("1"), "Best profit from which the stop goes to the entry price and both fees; 0: off.", unit="x first stop",
        ge=0, le=100, why="half of the default target; a trade that went so well once need not lose",
    )  # fmt: skip
    trailing_arm_ratio: Decimal = setting(
        D("1.5"), "Best profit from which the stop trails it; 0: off.", unit="x first stop", ge=0, le=100,
        why="after the breakeven and before the default target of 2; the original's 2.5 % lay beyond its target",
    )  # fmt: skip
    trailing_giveback_fraction: Fraction = setting(
        D("0.45"), "What a trailing stop gives back.", unit="of the best profit", lt=1, why="the original's"
    )
    trailing_lock_ratio: Ratio = setting(
        D("0.5"), "Least profit that a trailing stop keeps.", unit="x first stop",
        why="the original's 1.2 % of 2.5 %, in stop distances",
    )  # fmt: skip
    time_stop_ms: OptionalMilliseconds = setting(
        7_200_000, "Age from which a losing position's stop goes as near as is allowed; 0: off.", unit="ms",
        why="the original's: an idea that has not worked for so long has not worked",
    )  # fmt: skip
    time_stop_loss_ratio: Ratio = setting(
        D("0.33"), "Loss beyond which such a position is losing.", unit="x first stop",
        why="the original's 1 %, of the default stop of 3 %",
    )  # fmt: skip
    min_reward_risk_ratio: Ratio = setting(
        D("1"), "Target distance over stop distance, where a signal has a target.", unit="x", stricter="higher",
        why="below it fees eat the edge",
    )  # fmt: skip
    min_confidence: Fraction = setting(
        D("0.5"), "A signal below this confidence is refused.", unit="0 to 1", stricter="higher",
        why="the original warned below it",
    )  # fmt: skip
    min_liquidation_distance_fraction: Fraction = setting(
        D("0.20"), "Distance of the mark to the liquidation price, all positions.", unit="of mark price",
        stricter="higher", why="mark jumps",
    )  # fmt: skip
    min_liquidation_stop_ratio: Ratio = setting(
        D("3"), "The same in stop distances; the larger of both rules.", unit="x stop distance", stricter="higher",
        why="mark jumps",
    )  # fmt: skip
    joint_shock_fraction: Fraction = setting(
        D("0.20"), "Joint adverse move of all other coins under which that distance is proved.", unit="of mark price",
        stricter="higher", why="cross margin: positions are liquidated together",
    )  # fmt: skip
    stress_slip_fraction: Fraction = setting(
        D("0.003"), "Least slip at the stop that a trade's risk counts in.", unit="of price", stricter="higher",
        why="stops fill late",
    )  # fmt: skip
    stress_slip_spread_ratio: Ratio = setting(
        D("3"), "The same in spreads; the larger of both rules.", unit="x spread", stricter="higher",
        why="spreads widen when stops fire",
    )  # fmt: skip

    majors: tuple[Symbol, ...] = setting(
        ("BTC", "ETH"), "Symbols that the tighter spread and slip caps are for.", unit="symbols"
    )
    max_spread_majors_bps: Bps = setting(
        D("5"), "Spread at entry, majors.", unit="bps of mid", stricter="lower", why="above it the edge is gone"
    )
    max_spread_others_bps: Bps = setting(
        D("15"), "Spread at entry, others.", unit="bps of mid", stricter="lower", why="above it the edge is gone"
    )
    max_depth_fraction: Fraction = setting(
        D("0.10"), "Share of the book within the slip cap that an entry may take.", unit="of depth", stricter="lower",
        why="exits must fit",
    )  # fmt: skip
    max_market_order_fraction: Fraction = setting(
        D("0.5"), "A position as a share of what one market order may carry.", unit="of the venue's cap",
        stricter="lower", why="one order must be able to close it",
    )  # fmt: skip
    max_price_gap_fraction: Fraction = setting(
        D("0.005"), "Distance of the mid from the oracle, and from the mark.", unit="of price", stricter="lower",
        why="a broken book or feed",
    )  # fmt: skip
    max_adverse_funding_fraction: Fraction = setting(
        D("0.0001"), "Funding an entry would pay.", unit="of notional an hour", stricter="lower",
        why="0.24 % a day eats a 0.5 % edge",
    )  # fmt: skip
    min_symbol_max_leverage: int = setting(
        20, "Only symbols to which the venue grants at least this leverage.", unit="x", stricter="higher", ge=1, le=50,
        why="exits must exist",
    )  # fmt: skip
    min_symbol_volume_usd: Usd = setting(
        D("50000000"), "Only symbols with at least this volume in 24 h, where it is known.", unit="USD",
        stricter="higher", why="exits must exist",
    )  # fmt: skip

    max_signal_age_ms: Milliseconds = setting(
        30_000, "Oldest signal acted on, counted from its making or receipt.", unit="ms", stricter="lower",
        why="an edge decays",
    )  # fmt: skip
    max_bbo_age_ms: Milliseconds = setting(
        2_000, "Oldest best bid and offer to enter on.", unit="ms", stricter="lower",
        why="nothing is entered on stale evidence",
    )  # fmt: skip
    max_mark_age_ms: Milliseconds = setting(
        6_000, "Oldest mark price to enter on.", unit="ms", stricter="lower", why="the oracle ticks each 3 s"
    )
    max_account_age_ms: Milliseconds = setting(
        5_000, "Oldest account state to enter on.", unit="ms", stricter="lower",
        why="nothing is entered on stale evidence",
    )  # fmt: skip

    signal_cache_ttl_ms: Milliseconds = setting(
        1_000, "Life of a cached signal verdict; the plain build keeps none.", unit="ms", env="RISK_CACHE_TTL_MS"
    )
    position_cache_ttl_ms: Milliseconds = setting(
        2_000, "Life of a cached position verdict; the plain build keeps none.", unit="ms"
    )
    portfolio_cache_ttl_ms: Milliseconds = setting(
        5_000, "Life of a cached portfolio verdict; the plain build keeps none.", unit="ms",
        env="PORTFOLIO_RISK_CACHE_TTL_MS",
    )  # fmt: skip
    max_cache_entries: Count = setting(
        1_000, "Verdicts kept in each cache; the plain build keeps none.", unit="entries", env="MAX_RISK_CACHE_ENTRIES"
    )


MAINNET_CAPS = (
    "risk_per_trade_usd",
    "max_order_notional_usd",
    "max_position_usd",
    "max_gross_notional_usd",
    "max_net_notional_usd",
    "max_daily_loss_usd",
)
"""The USD caps that mainnet wants stated in so many words."""
