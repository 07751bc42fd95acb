"""The components around the trading path: records, recovery, breakers, client, console, alerts; which build runs."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Literal

from pydantic import SecretStr

from perpstrader.settings.fields import Fraction, Host, Milliseconds, OptionalMilliseconds, Section, setting

Build = Literal["optimized", "baseline"]
ShadowBuild = Literal["optimized", "baseline", "shadow"]
Way = Literal["http", "websocket"]


class TraceSettings(Section):
    """The record of decisions."""

    batch_size: int = setting(100, "Traces in one batch.", unit="traces", env="TRACE_BATCH_SIZE", ge=1, le=100_000)
    batch_flush_ms: Milliseconds = setting(
        5_000, "Longest wait of a trace for its batch.", unit="ms", env="TRACE_BATCH_FLUSH_MS"
    )
    cache_size: int = setting(
        500, "Traces kept decoded for lookups; 0 keeps none.", unit="traces", env="TRACE_CACHE_SIZE", ge=0, le=1_000_000
    )
    cache_bytes: int = setting(
        33_554_432, "Memory that those may take.", unit="bytes", ge=0, le=2**33, why="a count alone bounds nothing"
    )
    max_pending: int = setting(
        10_000, "Traces that may wait for the disk; then routine ones make room, oldest first, and are counted.",
        unit="traces", ge=10, le=1_000_000, why="memory is bounded whatever the disk does",
    )  # fmt: skip
    max_pending_bytes: int = setting(
        67_108_864, "The same in bytes of JSON.", unit="bytes", ge=1_048_576, le=2**33,
        why="memory is bounded whatever the disk does",
    )  # fmt: skip
    patience_ms: Milliseconds = setting(
        30_000, "How long a full disk, or a locked file, is tried again for a trace.", unit="ms",
        why="a backup or a clean-up is over by then",
    )  # fmt: skip
    bars: int = setting(
        400, "Closed bars before the one that was answered, kept with each decision; 0 keeps none.", unit="bars",
        ge=0, le=10_000, why="all that a strategy is shown; each bar is stored once, whatever decisions saw it",
    )  # fmt: skip
    payload_days: int = setting(
        30, "Days that the details of a routine decision are kept; its summary stays.", unit="days", ge=1, le=36_500,
        why="the original's month",
    )  # fmt: skip
    order_payload_days: int = setting(
        365, "The same for a decision that led to an order, or failed.", unit="days", ge=1, le=36_500,
        why="a tax year, and what one learns from",
    )  # fmt: skip
    keep_days: int = setting(
        730, "Days that a summary is kept; the sums of its day stay for ever.", unit="days", ge=1, le=36_500,
    )  # fmt: skip
    cold_days: int = setting(
        0, "Days after which a whole month goes to a Parquet file in `traces/cold`, from which it can be brought back; "
        "0: none does.", unit="days", ge=0, le=36_500, why="it needs the extra `replay`; below `payload_days` it keeps "
        "details for ever",
    )  # fmt: skip
    max_rows: int = setting(
        5_000_000, "Most decisions in the file; beyond it the oldest go.", unit="traces", ge=1_000, le=10**9,
        why="the disk is bounded whatever happens",
    )  # fmt: skip
    max_bytes: int = setting(
        4_294_967_296, "Largest size of the file; beyond it the oldest go, never those of the newest day.",
        unit="bytes", ge=10_485_760, le=2**45, why="the disk is bounded whatever happens",
    )  # fmt: skip
    ack_deadline_ms: int = setting(
        50, "Longest wait of an entry for its trace; then the order goes and the gap is counted.", unit="ms",
        env="TRACE_ACK_DEADLINE_MS", gt=0, le=10_000, why="records never delay an order",
    )  # fmt: skip
    synchronous: Literal["NORMAL", "FULL"] = setting(
        "NORMAL", "Durability of routine traces; a decision that led to an order is always FULL.",
        env="TRACE_SYNCHRONOUS",
    )  # fmt: skip
    postgres_url: SecretStr | None = setting(
        None, "PostgreSQL database that decisions are shipped to, `postgresql://<user>:<password>@<host>:5432/<name>`; "
        "without one they stay here alone.", secret=True, env="TRACE_POSTGRES_URL",
    )  # fmt: skip
    postgres_batch_rows: int = setting(
        500, "Decisions and revisions that go there in one transaction.", unit="entries", ge=1, le=10_000,
        why="larger ones were measured to win little",
    )  # fmt: skip
    postgres_interval_ms: Milliseconds = setting(
        1_000, "Time between looks for what is not shipped yet.", unit="ms", why="a team reads in seconds"
    )
    postgres_retry_max_ms: Milliseconds = setting(
        60_000, "Longest pause before a server that is away is tried again; a random part of it is waited for.",
        unit="ms", why="many bots do not come back at once",
    )  # fmt: skip
    postgres_timeout_ms: int = setting(
        30_000, "Longest time of one statement there; then the server counts as away.", unit="ms", gt=0, le=600_000,
    )  # fmt: skip


class RecoverySettings(Section):
    """Finding positions in trouble and taking them out."""

    cache_ttl_ms: Milliseconds = setting(
        5_000, "Life of the cached portfolio snapshot; the plain build reads it anew.", unit="ms",
        env="RECOVERY_CACHE_TTL_MS",
    )  # fmt: skip
    alert_cooldown_ms: OptionalMilliseconds = setting(
        300_000, "Repeats of an alert within this time are not sent.", unit="ms", env="RECOVERY_ALERT_COOLDOWN_MS"
    )
    max_attempts: int = setting(
        3, "Attempts a position episode; then a person is told, and what was reduced is closed.", unit="attempts",
        env="MAX_RECOVERY_ATTEMPTS", ge=1, le=100,
    )
    interval_ms: Milliseconds = setting(
        5_000, "Time between checks of all positions.", unit="ms", why="what is critical is found at its mark"
    )
    excessive_loss_fraction: Fraction = setting(
        Decimal("0.10"), "Loss of a position over which it is closed.", unit="of its cost",
        why="beyond the widest stop: the stop has failed",
    )  # fmt: skip
    critical_liquidation_fraction: Fraction = setting(
        Decimal("0.10"), "Distance to liquidation under which a position is closed, no longer halved.",
        unit="of mark price", why="half of the distance that entries keep",
    )  # fmt: skip
    risk_limit_tolerance_fraction: Fraction = setting(
        Decimal("0.25"), "Share by which the market may carry a position past a limit before it is halved.",
        unit="of the limit", why="trimming a winner at each tick pays fees alone",
    )  # fmt: skip
    stuck_window_ms: OptionalMilliseconds = setting(
        43_200_000, "Time in which the price must move more than `stuck_range_fraction`; 0 turns it off.", unit="ms",
        why="half a day",
    )  # fmt: skip
    stuck_range_fraction: Fraction = setting(
        Decimal("0.005"), "Highest less lowest price of that time under which a position is stuck.", unit="of price",
        why="the original's",
    )  # fmt: skip
    stuck_action: Literal["alert", "reduce"] = setting(
        "alert", "What is done about a stuck position: tell, or halve it.", why="a quiet market costs funding alone"
    )
    stale_age_ms: Milliseconds = setting(
        86_400_000, "Age over which a position is reported as stale.", unit="ms", why="the original's 24 h"
    )
    max_hold_ms: OptionalMilliseconds = setting(
        0, "Age over which a position is closed; 0 never closes for age.", unit="ms", why="a strategy knows its horizon"
    )
    orphaned_action: Literal["alert", "close"] = setting(
        "alert", "What is done about a position whose strategy is no longer loaded: tell, or close it.",
        why="it has its stop, and the settings may come back",
    )  # fmt: skip
    max_mark_age_ms: Milliseconds = setting(
        15_000, "Oldest mark that recovery judges by.", unit="ms", why="the oracle ticks each 3 s"
    )
    max_account_age_ms: Milliseconds = setting(
        120_000, "Oldest account that recovery judges by.", unit="ms", why="four comparisons with the venue"
    )


class BreakerSettings(Section):
    """Circuit breakers around each dependency."""

    base_backoff_ms: Milliseconds = setting(
        1_000, "First period of an open breaker, where it is longer than the breaker's own.", unit="ms",
        env="CB_BASE_BACKOFF_MS",
    )  # fmt: skip
    max_backoff_ms: Milliseconds = setting(
        60_000, "What failed probes double a period up to, before its jitter of a fifth.", unit="ms",
        env="CB_MAX_BACKOFF_MS",
    )  # fmt: skip
    alert_cooldown_ms: OptionalMilliseconds = setting(
        300_000, "Repeats of an alert within this time are not sent.", unit="ms", env="CB_ALERT_COOLDOWN_MS"
    )
    max_recovery_attempts: int = setting(
        5, "Failed probes in a row that make an open breaker a critical incident.", unit="probes",
        env="CB_MAX_RECOVERY_ATTEMPTS", ge=1, le=1000,
    )
    failure_rate_fraction: Fraction = setting(
        Decimal("0.5"), "Share of failed calls in a breaker's window from which it trips.", unit="of calls",
        why="a few failures among many answers are weather, half of them are not",
    )  # fmt: skip
    max_probes: int = setting(1, "Calls that a half-open breaker lets through at a time.", unit="calls", ge=1, le=100)
    probes_to_close: int = setting(
        3, "Successful probes in a row that close a breaker.", unit="probes", ge=1, le=100,
        why="one answer of a venue in trouble is no recovery",
    )  # fmt: skip
    call_deadline_ms: int = setting(
        5_000, "Longest time of a probe, a health check, or a call that states none.", unit="ms", gt=0, le=120_000
    )
    health_interval_ms: Milliseconds = setting(30_000, "Time between health checks.", unit="ms")


class ClientSettings(Section):
    """The Hyperliquid client."""

    mids_ttl_ms: OptionalMilliseconds = setting(500, "Life of cached mid prices.", unit="ms")
    account_ttl_ms: OptionalMilliseconds = setting(2_000, "Life of a cached account state.", unit="ms")
    orders_ttl_ms: OptionalMilliseconds = setting(1_000, "Life of cached open orders.", unit="ms")
    book_ttl_ms: OptionalMilliseconds = setting(500, "Life of a cached book.", unit="ms")
    meta_ttl_ms: OptionalMilliseconds = setting(3_600_000, "Life of cached metadata.", unit="ms")
    streamed_reads: bool = setting(
        True, "Whether mids, books, the account and its orders are followed on the streams, to answer reads from them.",
        why="a read that the streams answer costs no request and no wait",
    )  # fmt: skip
    reads_by: Way = setting(
        "http", "How reads are asked for; by WebSocket over the streams' connection, by HTTP while that is down.",
    )  # fmt: skip
    actions_by: Way = setting(
        "http", "How orders and cancels are sent; in the same two ways.",
        why="by WebSocket costs a quarter, but a connection that ends leaves all that was under way on it unknown",
    )  # fmt: skip
    connect_timeout_ms: int = setting(3_000, "Longest time to connect.", unit="ms", gt=0, le=120_000)
    request_timeout_ms: int = setting(10_000, "Longest time of one request.", unit="ms", gt=0, le=120_000)
    coalesce_window_ms: int = setting(
        5, "Time in which ungrouped entries, or cancels, are gathered into one action; 0 sends each alone.", unit="ms",
        le=1_000,
    )  # fmt: skip
    weight_per_minute: int = setting(
        1_200, "Request weight that this trader may use within any 60 s.", unit="weight", stricter="lower", ge=100,
        le=1_200, why="the venue's limit for one IP",
    )  # fmt: skip
    exit_reserve_fraction: Fraction = setting(
        Decimal("0.2"), "Share of that weight kept from histories and lists: half for light reads, half for actions, "
        "of which half again for exits, stops and cancels.", unit="of weight", stricter="higher", le=Decimal("0.9"),
        why="an entry never starves an exit",
    )  # fmt: skip


class RolloutSettings(Section):
    """Which build of each component runs; rolling back is one word here and nothing else."""

    traces: Build = setting("optimized", "The trace store.")
    recovery: ShadowBuild = setting("optimized", "Position recovery; shadow: its analysis.")
    breakers: Build = setting("optimized", "The circuit breakers.")
    risk: ShadowBuild = setting("optimized", "The risk manager.")
    client: ShadowBuild = setting("optimized", "The Hyperliquid client; shadow: its reads.")


class ConsoleSettings(Section):
    """The control port."""

    enabled: bool = setting(True, "Whether the control port is served.")
    host: Host = setting("127.0.0.1", "Address it listens on; beyond loopback it wants TLS.", unit="host")
    port: int = setting(8420, "Port it listens on; 0: a free one.", ge=0, le=65_535)
    tls_cert_file: Path | None = setting(None, "Certificate chain in PEM.", unit="path")
    tls_key_file: Path | None = setting(None, "Its private key in PEM.", unit="path")
    allow_remote_without_tls: bool = setting(
        False, "Listen beyond loopback without TLS.", why="a token on a plain wire can be read by others"
    )


class AlertSettings(Section):
    """Where incidents go."""

    urls: tuple[SecretStr, ...] = setting((), "Apprise addresses (they hold tokens).", unit="URLs", secret=True)
    timeout_ms: int = setting(10_000, "Longest time of one delivery.", unit="ms", gt=0, le=120_000)
