"""How the paper venue is set up: fees, caps and thresholds, and the venue's undocumented corners, each by default as it
hurts most.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from perpstrader.paper.engine.assets import MICRO

QueueModel = Literal["trades", "book", "share"]
"""What moves a resting order on in its queue: trades at its price alone, or also its level having shrunk below what was
ahead, or also a share of what was taken back there (see ``engine.queue``).
"""


class FeeTier(msgspec.Struct, frozen=True):
    """Above ``volume`` micro-USD traded in 14 days these rates apply, in 1e-9 of the notional."""

    volume: int
    taker: int
    maker: int


FEE_TIERS: Final = (
    FeeTier(-1, 450_000, 150_000),
    FeeTier(5_000_000 * MICRO, 400_000, 120_000),
    FeeTier(25_000_000 * MICRO, 350_000, 80_000),
    FeeTier(100_000_000 * MICRO, 300_000, 40_000),
    FeeTier(500_000_000 * MICRO, 280_000, 0),
    FeeTier(2_000_000_000 * MICRO, 260_000, 0),
    FeeTier(7_000_000_000 * MICRO, 240_000, 0),
)
"""The venue's published schedule (API sheet 7.5); a threshold must be exceeded."""


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one exchange in a box; money in micro-USD, bands in 1e-6, times in milliseconds.

    Undocumented at the venue, and set to the reading that hurts a careless client most: ``partial_gtc_rests`` (a GTC
    that fills in part answers ``resting``, so the fill shows only in the fills), ``arm_children_of_partial_ioc`` (an
    IOC parent that fills in part leaves no stop), ``orphan_triggers_survive`` (a reduce-only trigger outlives its
    position and meets the next one), ``reduce_only_trigger_needs_position``, ``grouped_fails_whole`` (one bad leg
    refuses the group with a single error), ``triggers_die_in_post_only`` (a stop that fires in a post-only window is
    refused and gone), ``oracle_band``, ``format_error_fails_batch`` (one order that cannot be read refuses its whole
    batch with a single error), ``one_position_tpsl`` (a new position stop or target cancels the old one of its kind).
    The same cloid may be used again, and the newest order is found by it; with ``refuse_open_cloid`` not while an order
    of that cloid is open.
    """

    fee_tiers: tuple[FeeTier, ...] = FEE_TIERS
    fee_discount: int = 0
    """Share of every fee that is not charged, in 1e-6 (the venue gives 4 % to the referred)."""
    default_leverage: int = 20
    min_notional: int = 10 * MICRO
    max_market_notional: tuple[tuple[int, int], ...] = (
        (25, 15_000_000 * MICRO),
        (20, 5_000_000 * MICRO),
        (10, 2_000_000 * MICRO),
        (0, 500_000 * MICRO),
    )
    """(from this max leverage on, cap of one market order); limit orders may carry ten times as much (API sheet 4)."""
    price_band: int = 950_000
    oracle_band: int = 800_000
    open_interest_caps: tuple[tuple[str, int], ...] = ()
    """(coin, cap on its notional), of what the accounts here hold; coins that are not named have none."""
    open_interest_step: int | None = None
    """The most by which one order may raise the open interest; ``None`` for no limit."""
    open_order_cap: int = 1_000
    open_order_cap_max: int = 5_000
    open_order_cap_step: int = 5_000_000 * MICRO
    queue_model: QueueModel = "trades"
    order_history: int = 2_000
    fill_history: int = 10_000
    partial_gtc_rests: bool = True
    arm_children_of_partial_ioc: bool = False
    orphan_triggers_survive: bool = True
    reduce_only_trigger_needs_position: bool = True
    grouped_fails_whole: bool = True
    triggers_die_in_post_only: bool = True
    format_error_fails_batch: bool = True
    one_position_tpsl: bool = True
    refuse_open_cloid: bool = False
    restrict_modify: bool = True
    schedule_cancel_min_volume: int = 1_000_000 * MICRO
    schedule_cancel_min_delay_ms: int = 5_000
    schedule_cancel_fires_per_day: int = 10
    sub_account_min_volume: int = 100_000 * MICRO
    sub_account_cap: int = 10
    request_weight_price: int = 500
    """Micro-USD for one more request in an address's budget (API sheet 5.2)."""
    partial_liquidation_above: int = 100_000 * MICRO
    liquidation_cooldown_ms: int = 30_000
    auto_deleverage: bool = True
    """A loss beyond what the account had is taken from the other side's best placed accounts; else it is the
    liquidator's alone.
    """
    funding_cap: int = 40_000_000_000
    """The largest hourly rate either way, in 1e-12: 4 % (API sheet 7.4)."""
    liquidator: str = "0x00000000000000000000000000000000000000f1"
    twap_min_minutes: int = 5
    twap_max_minutes: int = 1_440
    twap_min_slice: int = 10 * MICRO
    """The least notional of one slice; the sources disagree on the longest duration (a day, or a week)."""
    first_twap_id: int = 1_000_000
    first_oid: int = 100_000_000_001
    first_tid: int = 100_000_000_000_001
