"""The paper exchange's rules: what the venue publishes, and its undocumented corners, each by default as it hurts most.

Section 11 of the venue's open questions is answered here; ``docs/paper.md`` tells what each answer means for a client.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from perpstrader.settings.fields import Milliseconds, OptionalMilliseconds, Section, Usd, setting

D = Decimal
_TIER = re.compile(r"\d+(\.\d+)?:0(\.\d+)?:-?0(\.\d+)?")
_CAP = re.compile(r"[A-Za-z0-9:@/_-]{1,32}=\d+(\.\d+)?")


def _tier(value: str) -> str:
    if _TIER.fullmatch(value):
        return value
    raise PydanticCustomError("tier", "must be fee tiers as VOLUME_USD:TAKER:MAKER, such as 5000000:0.0004:0.00012")


def _cap(value: str) -> str:
    if _CAP.fullmatch(value):
        return value
    raise PydanticCustomError("cap", "must be caps as COIN=USD, such as BTC=1000000")


FeeTierText = Annotated[str, AfterValidator(_tier)]
CapText = Annotated[str, AfterValidator(_cap)]


class PaperRulesSettings(Section):
    """The rules of the exchange in a box."""

    fee_tiers: tuple[FeeTierText, ...] = setting(
        (
            "0:0.00045:0.00015", "5000000:0.0004:0.00012", "25000000:0.00035:0.00008", "100000000:0.0003:0.00004",
            "500000000:0.00028:0", "2000000000:0.00026:0", "7000000000:0.00024:0",
        ),
        "Taker and maker rate from each volume of 14 days on.", unit="USD:fraction:fraction",
        why="the venue's published schedule",
    )  # fmt: skip
    fee_discount_fraction: Decimal = setting(
        D(0), "Share of every fee that is not charged.", unit="of the fee", ge=0, lt=1, allowed=">= 0 and < 1",
        why="the venue gives 0.04 to the referred",
    )  # fmt: skip
    default_leverage: int = setting(20, "Leverage of a coin that was never set.", unit="x", ge=1, le=1_000)
    min_notional_usd: Usd = setting(D(10), "Least size times price of an order that does not close all.", unit="USD")
    price_band_fraction: Decimal = setting(
        D("0.95"), "Distance from mark beyond which no price is taken.", unit="of mark", gt=0, le=10
    )
    oracle_band_fraction: Decimal = setting(
        D("0.8"), "Distance from the oracle price beyond which no limit is taken.", unit="of oracle", gt=0, le=10,
        why="its width is not published; spot reportedly has 80 %",
    )  # fmt: skip
    open_interest_caps: tuple[CapText, ...] = setting(
        (), "Notional of each coin at which its open interest, that of the accounts here, grows no more.", unit="USD"
    )
    open_interest_step_usd: Decimal | None = setting(
        None, "Most by which one order may raise the open interest; empty: no limit.", unit="USD", gt=0, le=10**12
    )
    open_order_cap: int = setting(1_000, "Open orders of an account that never traded.", ge=1, le=100_000)
    open_order_cap_max: int = setting(5_000, "Open orders that volume may bring an account to.", ge=1, le=100_000)
    order_history: int = setting(
        2_000, "Done orders that an account's records keep.", ge=1, le=1_000_000, why="the venue's own number"
    )
    fill_history: int = setting(10_000, "Fills that an account's records keep.", ge=1, le=1_000_000)
    partial_gtc_rests: bool = setting(
        True, "A GTC that fills in part is answered as resting, so its fill shows in the fills alone."
    )
    arm_children_of_partial_ioc: bool = setting(False, "An IOC parent that fills in part arms its stop all the same.")
    orphan_triggers_survive: bool = setting(True, "A reduce-only trigger outlives its position and meets the next one.")
    reduce_only_trigger_needs_position: bool = setting(True, "A reduce-only trigger is refused without a position.")
    grouped_fails_whole: bool = setting(True, "One bad leg refuses its whole group with a single error.")
    format_error_fails_batch: bool = setting(
        True, "One order that cannot be read refuses its whole batch with a single error."
    )
    triggers_die_in_post_only: bool = setting(True, "A stop that fires in a post-only window is refused and gone.")
    one_position_tpsl: bool = setting(True, "A new stop or target of the whole position cancels the old one.")
    refuse_open_cloid: bool = setting(False, "A cloid is refused while an order of it is open.")
    restrict_modify: bool = setting(True, "A modify may only rest, unless its sender asks for more by `a`.")
    schedule_cancel_min_volume_usd: Decimal = setting(
        D(1_000_000), "Volume ever traded before which no dead man's switch is set.", unit="USD", ge=0, le=10**12
    )
    schedule_cancel_fires_per_day: int = setting(10, "Firings of a dead man's switch in a UTC day.", ge=0, le=10_000)
    partial_liquidation_above_usd: Decimal = setting(
        D(100_000), "Notional above which a liquidation takes a fifth first.", unit="USD", ge=0, le=10**12,
        why="mainnet's; testnet has 10,000",
    )  # fmt: skip
    liquidation_cooldown_ms: Milliseconds = setting(30_000, "Time before it takes the rest.", unit="ms")
    auto_deleverage: bool = setting(
        True, "A loss beyond what an account had is taken from the other side's best placed accounts."
    )
    twap_min_minutes: int = setting(5, "Shortest TWAP.", unit="minutes", ge=1, le=10_080)
    twap_max_minutes: int = setting(
        1_440, "Longest TWAP.", unit="minutes", ge=1, le=10_080, why="the sources disagree: a day, or a week"
    )
    twap_min_slice_usd: Decimal = setting(D(10), "Least notional of one slice of a TWAP.", unit="USD", ge=0, le=10**9)
    sub_account_min_volume_usd: Decimal = setting(
        D(100_000), "Volume ever traded before which no sub-account is made.", unit="USD", ge=0, le=10**12
    )
    sub_account_cap: int = setting(10, "Sub-accounts of one account.", ge=0, le=1_000)
    require_builder_approval: bool = setting(True, "An order with a builder's fee needs the account's approval of it.")
    agents_reserve_weight: bool = setting(
        False, "An agent may buy request weight.", why="refused in the one probe that was published"
    )
    agent_removal_ms: OptionalMilliseconds = setting(
        1_500, "Time after an agent was replaced in which no other is approved.", unit="ms"
    )
    agent_expiry_lag_ms: OptionalMilliseconds = setting(
        0, "Time for which an expired agent is still taken.", unit="ms",
        why="at once hurts most; one experiment saw a quarter of an hour",
    )  # fmt: skip
    idle_close_ms: OptionalMilliseconds = setting(
        60_000, "Silence after which the exchange closes a WebSocket; 0: never.", unit="ms"
    )
    websocket_users: int = setting(
        10, "Users that one client's subscriptions may be about.", ge=1, le=10_000, why="documented; an error said 15"
    )
    websocket_connections: int = setting(
        10, "WebSockets of one client.", ge=1, le=10_000, why="the docs of 2026; older ones said 100"
    )
    book_stream_ms: OptionalMilliseconds = setting(
        0, "Least time between two frames of a book's stream; 0: each change.", unit="ms",
        why="the sources say half a second, or five",
    )  # fmt: skip
