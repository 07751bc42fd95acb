"""Where the trader trades, what on, and how orders are executed and protected."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Literal

from pydantic import SecretStr

from perpstrader.settings.fields import (
    Address,
    Bps,
    Count,
    Fault,
    Fraction,
    Host,
    Milliseconds,
    Port,
    Ratio,
    Section,
    StrategySetting,
    Symbol,
    Url,
    Usd,
    setting,
)

D = Decimal
NETWORK_URLS = {"testnet": "https://api.hyperliquid-testnet.xyz", "mainnet": "https://api.hyperliquid.xyz"}


class VenueSettings(Section):
    """Which exchange, which account, and the consent that real money takes."""

    network: Literal["paper", "testnet", "mainnet"] = setting(
        "paper", "The paper exchange, Hyperliquid's testnet, or real money.", why="mainnet is never a default"
    )
    base_url: Url | None = setting(
        None, "Address of the exchange; empty: the network's own, and for paper an exchange inside this process.",
        env="HYPERLIQUID_BASE_URL", unit="URL",
    )  # fmt: skip
    account_address: Address | None = setting(
        None, "The account that trades (not the agent's address).", unit="address",
        env=("PERPSTRADER_ACCOUNT_ADDRESS", "HYPERLIQUID_MAIN_ADDRESS"),
    )  # fmt: skip
    vault_address: Address | None = setting(None, "Sub-account or vault that orders are for.", unit="address")
    private_key: SecretStr | None = setting(
        None, "Key of the agent wallet: from the environment, or a file of mode 0600.", unit="0x and 64 hex digits",
        secret=True, env=("PERPSTRADER_PRIVATE_KEY", "HYPERLIQUID_PRIVATE_KEY", "HYPERLIQUID_API_SECRET"),
    )  # fmt: skip
    key_file: Path | None = setting(None, "File of mode 0600 that holds the key.", unit="path")
    i_accept_real_money: Address | None = setting(
        None, "On mainnet: the account's address, typed again.", unit="address",
        why="two explicit settings for real money",
    )  # fmt: skip
    leverage: int = setting(
        3, "Leverage that is set at the venue for each traded symbol.", unit="x", stricter="lower", ge=1, le=50,
        why="the only cap that a bug in this program cannot pass",
    )  # fmt: skip
    margin_mode: Literal["cross"] = setting(
        "cross", "Margin mode that is set at the venue.", why="isolated margin is not traded"
    )

    @property
    def url(self) -> str | None:
        """Address of the exchange without a trailing slash; ``None``: the paper exchange inside this process."""
        return self.base_url or NETWORK_URLS.get(self.network)

    @property
    def is_mainnet(self) -> bool:
        """True where orders cost real money."""
        return self.network == "mainnet"


class PaperSettings(Section):
    """The exchange in a box."""

    balance_usd: Usd = setting(
        D("1000"), "Funds of the trader's account at its first start.", unit="USD", env="PAPER_BALANCE",
        why="the size that the default limits are made for",
    )  # fmt: skip
    host: Host = setting("127.0.0.1", "Address that `perpstrader paper` listens on.", unit="host")
    port: Port = setting(3001, "Port that `perpstrader paper` listens on.")
    signature_network: Literal["any", "testnet", "mainnet"] = setting(
        "any", "Network letter that a signature must bear; any: the known account decides.",
        why="the official SDK signs as testnet for any address but mainnet's",
    )  # fmt: skip
    latency: Literal["off", "lognormal"] = setting("off", "Delay between an order's sending and its matching.")
    latency_median_ms: Milliseconds = setting(
        200, "Median of the lognormal delay.", unit="ms", why="measured at the venue"
    )
    latency_p99_ms: Milliseconds = setting(
        900, "99th percentile of the lognormal delay.", unit="ms", why="measured at the venue"
    )
    latency_entry_fraction: Fraction = setting(
        D("0.5"), "Share of that delay on the way to the exchange; the rest is on the way back.", unit="of delay"
    )
    queue_model: Literal["trades", "book", "share"] = setting(
        "trades", "What moves a resting order on in its queue: trades alone, also a level that shrank below what was "
        "ahead, or also a share of what was taken back.", why="the reading that hurts: nobody ahead gives up",
    )  # fmt: skip
    faults: tuple[Fault, ...] = setting(
        (), "What goes wrong on purpose, as KIND[:CLASS]=RATE[@AMOUNT]; docs/paper.md has the kinds.", unit="faults"
    )
    fault_control: bool = setting(
        False, "Whether `perpstrader paper faults` may change them while the exchange runs.",
        why="a door for those who test, on this machine alone",
    )  # fmt: skip
    enforce_limits: bool = setting(True, "Request weights and address budgets are enforced as the venue does.")


class DataSettings(Section):
    """Where files lie."""

    dir: Path | None = setting(
        None, "Directory of state.db, traces.db and run files; empty: `~/.perpstrader/<network>`.", unit="path",
        env="PERPSTRADER_DATA_DIR",
    )  # fmt: skip
    min_free_bytes: int = setting(
        104_857_600, "Free space on their disk below which no run starts.", unit="bytes", stricter="higher",
        ge=1_048_576, le=2**50, why="what cannot be written cannot be remembered",
    )  # fmt: skip


class FeedSettings(Section):
    """The market that the paper exchange trades against."""

    source: Literal["synthetic", "replay", "live"] = setting(
        "synthetic", "A generated market, a recorded one, or the real venue's as it is now."
    )
    live_url: Url = setting(
        "https://api.hyperliquid.xyz", "Whose public books and trades a live market mirrors.", unit="URL"
    )
    live_stale_ms: Milliseconds = setting(
        15_000, "Silence of that venue after which its market is halted here and it is connected anew.", unit="ms",
        why="thrice the slowest cadence of its books",
    )  # fmt: skip
    path: Path | None = setting(None, "Directory or file of the recorded market.", unit="path")
    seed: int = setting(1, "Seed of the generated market and of all chance in the paper exchange.", ge=0, le=2**63 - 1)
    bar_ms: Milliseconds = setting(1_000, "Length of a generated bar.", unit="ms")
    speed: Decimal = setting(
        D("60"), "Market time that passes in one second of a generated market.", unit="x", gt=0, le=3600,
        why="a 1 s bar moves as a 1-minute bar does",
    )  # fmt: skip


class TraderSettings(Section):
    """What is traded, by which strategies, in what rhythm."""

    symbols: tuple[Symbol, ...] = setting(("BTC", "ETH", "SOL"), "Symbols that strategies look at.", unit="symbols")
    strategies: tuple[StrategySetting, ...] = setting(
        (
            StrategySetting(use="trend"),
            StrategySetting(use="reversion"),
            StrategySetting(use="funding"),
        ),
        "Strategies in order of precedence: a shipped name, `module:Class` or `file.py:Class`.",
        unit="names, or tables with use, symbols, intervals, isolated, moves_stops, params",
    )
    bar_ms: Milliseconds | None = setting(
        None, "Length of the bars that close a cycle; empty: the feed's on paper, 5 minutes elsewhere.", unit="ms",
        allowed="a length the venue has candles for, except on paper",
    )  # fmt: skip
    strategy_timeout_ms: Milliseconds = setting(
        1_000, "Longest time a strategy may take for one bar.", unit="ms",
        why="a hanging strategy costs its own cycle only",
    )  # fmt: skip
    stop_policy: Literal["keep", "flatten"] = setting(
        "keep", "At a stop of the program: keep positions with their stops at the venue, or close them.",
        why="a restart is no exit",
    )  # fmt: skip
    stop_deadline_ms: Milliseconds = setting(
        120_000, "Longest time that a stop of the program spends on its policy; then it ends with what is not done.",
        unit="ms", why="whoever stops a program waits for it, and stops at the venue stand without it",
    )  # fmt: skip


class ExecutionSettings(Section):
    """From an approved signal to a filled and protected position."""

    protection_deadline_ms: Milliseconds = setting(
        5_000, "From the first fill to a listed stop, in time the venue could be reached.", unit="ms", stricter="lower",
        why="an unprotected position is the gravest state",
    )  # fmt: skip
    entry_expiry_ms: int = setting(
        10_000, "Life of an entry order's request.", unit="ms", stricter="lower", gt=0, le=60_000, why="short UNKNOWN"
    )
    exit_expiry_ms: int = setting(
        5_000, "Life of an exit order's request.", unit="ms", gt=0, le=60_000, why="short UNKNOWN"
    )
    guard_answer_ms: int = setting(
        3_000, "Longest wait for the answer to an exit or a stop; then its outcome is unknown and is looked up.",
        unit="ms", stricter="lower", gt=0, le=60_000, why="an answer that was lost must not hold the next attempt up",
    )  # fmt: skip
    entry_slip_majors_bps: Bps = setting(
        D("20"), "Worst entry price from the mid, majors.", unit="bps", stricter="lower",
        why="above it the edge is gone",
    )  # fmt: skip
    entry_slip_others_bps: Bps = setting(
        D("50"), "Worst entry price from the mid, others.", unit="bps", stricter="lower",
        why="above it the edge is gone",
    )  # fmt: skip
    exit_slip_fraction: Fraction = setting(
        D("0.01"), "Worst price of the first exit attempt.", unit="of price", why="most exits fill well inside"
    )
    max_exit_slip_fraction: Fraction = setting(
        D("0.10"), "Worst price of the last exit attempt.", unit="of price", why="being out beats the price"
    )
    stop_limit_beyond_fraction: Fraction = setting(
        D("0.10"), "Limit of a stop beyond its trigger, on the executing side.", unit="of trigger price", le=D("0.5"),
        why="a fill beats the price",
    )  # fmt: skip
    max_crash_exposure_usd: Usd | None = setting(
        None, "Unprotected notional that may still arise if the trader dies now; empty: one order.", unit="USD",
        stricter="lower", why="a dead trader places no stop",
    )  # fmt: skip
    max_open_orders: int = setting(
        800, "Open orders of the account, foreign ones included, at which entries stop.", unit="orders",
        stricter="lower", ge=1, le=1000, why="at 1,000 the venue refuses stops and exits",
    )  # fmt: skip
    min_address_budget: int = setting(
        1_000, "Requests left to the address below which entries stop (or 50 a position, if more).", unit="requests",
        stricter="higher", ge=100, le=10_000_000, why="a stop and an exit always pass",
    )  # fmt: skip
    reconcile_interval_ms: Milliseconds = setting(
        30_000, "Time between comparisons with the venue's records.", unit="ms", stricter="lower",
        why="each costs request weight",
    )  # fmt: skip
    account_mode_interval_ms: Milliseconds = setting(
        300_000, "Time between readings of the account's mode.", unit="ms", stricter="lower",
        why="the mode says where the equity is",
    )  # fmt: skip
    state_deadline_ms: Milliseconds = setting(
        100, "Longest wait of an exit for state.db.", unit="ms", why="an exit waits for no bookkeeping"
    )
    max_clock_skew_ms: Milliseconds = setting(
        2_000, "Difference from the venue's clock at which entries stop.", unit="ms", stricter="lower",
        why="orders would arrive expired",
    )  # fmt: skip
    outage_pause_ms: Milliseconds = setting(
        300_000, "No entries after the venue was halted or took post-only orders alone.", unit="ms", stricter="higher",
        why="books are thin then",
    )  # fmt: skip
    foreign_policy: Literal["adopt", "ignore", "flatten"] = setting(
        "adopt", "A position or order that is not ours: protect it, leave it, or close it.",
        why="never closed because a lookup failed",
    )  # fmt: skip
    trailing_step_atr_ratio: Ratio = setting(
        D("0.25"), "Least move of a position's stop, where the ATR is known.", unit="x ATR(1h)", stricter="higher",
        why="each move costs requests",
    )  # fmt: skip
    trailing_step_fraction: Fraction = setting(
        D("0.002"), "The same where it is not, and never less.", unit="of mark price", stricter="higher",
        why="each move costs requests",
    )  # fmt: skip
    max_trailing_moves_per_hour: Count = setting(
        12, "Moves of one position's stop within any hour.", unit="moves", stricter="lower",
        why="each move costs requests",
    )  # fmt: skip
