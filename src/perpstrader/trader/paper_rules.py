"""The paper exchange's rules from the settings: USD and fractions there, micro-USD and millionths in the engine."""

from __future__ import annotations

from decimal import Decimal

from perpstrader.paper.engine import EngineConfig, FeeTier
from perpstrader.paper.server import VenueConfig
from perpstrader.settings.paper_rules import PaperRulesSettings

_MICRO = 10**6
_NANO = 10**9


def engine_config(rules: PaperRulesSettings) -> EngineConfig:
    """How the engine judges; the queue model is the plan's."""
    step = rules.open_interest_step_usd
    return EngineConfig(
        fee_tiers=tuple([_tier(text) for text in rules.fee_tiers]),
        fee_discount=_scaled(rules.fee_discount_fraction),
        default_leverage=rules.default_leverage,
        min_notional=_scaled(rules.min_notional_usd),
        price_band=_scaled(rules.price_band_fraction),
        oracle_band=_scaled(rules.oracle_band_fraction),
        open_interest_caps=tuple([_cap(text) for text in rules.open_interest_caps]),
        open_interest_step=None if step is None else _scaled(step),
        open_order_cap=rules.open_order_cap,
        open_order_cap_max=rules.open_order_cap_max,
        order_history=rules.order_history,
        fill_history=rules.fill_history,
        partial_gtc_rests=rules.partial_gtc_rests,
        arm_children_of_partial_ioc=rules.arm_children_of_partial_ioc,
        orphan_triggers_survive=rules.orphan_triggers_survive,
        reduce_only_trigger_needs_position=rules.reduce_only_trigger_needs_position,
        grouped_fails_whole=rules.grouped_fails_whole,
        format_error_fails_batch=rules.format_error_fails_batch,
        triggers_die_in_post_only=rules.triggers_die_in_post_only,
        one_position_tpsl=rules.one_position_tpsl,
        refuse_open_cloid=rules.refuse_open_cloid,
        restrict_modify=rules.restrict_modify,
        schedule_cancel_min_volume=_scaled(rules.schedule_cancel_min_volume_usd),
        schedule_cancel_fires_per_day=rules.schedule_cancel_fires_per_day,
        partial_liquidation_above=_scaled(rules.partial_liquidation_above_usd),
        liquidation_cooldown_ms=rules.liquidation_cooldown_ms,
        auto_deleverage=rules.auto_deleverage,
        twap_min_minutes=rules.twap_min_minutes,
        twap_max_minutes=rules.twap_max_minutes,
        twap_min_slice=_scaled(rules.twap_min_slice_usd),
        sub_account_min_volume=_scaled(rules.sub_account_min_volume_usd),
        sub_account_cap=rules.sub_account_cap,
    )


def venue_config(rules: PaperRulesSettings) -> VenueConfig:
    """How the server judges; network and limits are the plan's."""
    return VenueConfig(
        idle_close_ms=rules.idle_close_ms or None,
        require_builder_approval=rules.require_builder_approval,
        agents_reserve_weight=rules.agents_reserve_weight,
        agent_removal_ms=rules.agent_removal_ms,
        agent_expiry_lag_ms=rules.agent_expiry_lag_ms,
        websocket_users=rules.websocket_users,
        websocket_connections=rules.websocket_connections,
        book_stream_ms=rules.book_stream_ms,
    )


def _scaled(value: Decimal, scale: int = _MICRO) -> int:
    return int(value * scale)


def _tier(text: str) -> FeeTier:
    volume, taker, maker = (Decimal(part) for part in text.split(":"))
    # The first tier holds from the start on, the others above their volume.
    return FeeTier(_scaled(volume) if volume else -1, _scaled(taker, _NANO), _scaled(maker, _NANO))


def _cap(text: str) -> tuple[str, int]:
    coin, _, usd = text.rpartition("=")
    return coin, _scaled(Decimal(usd))
