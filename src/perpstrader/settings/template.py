"""A settings file to begin with: what a person changes first, each with its meaning and default, all commented out."""

from __future__ import annotations

from typing import Final

import msgspec

from perpstrader.settings.catalog import CATALOG, Spec
from perpstrader.settings.schema import SECTIONS, jsonable

FIRST: Final = (
    "venue.network", "venue.account_address", "venue.key_file", "venue.leverage", "venue.i_accept_real_money",
    "trader.symbols", "trader.strategies", "trader.bar_ms", "trader.stop_policy",
    "risk.risk_per_trade_fraction", "risk.max_order_notional_fraction", "risk.max_order_notional_usd",
    "risk.max_position_fraction", "risk.max_position_usd", "risk.max_gross_notional_ratio",
    "risk.max_gross_notional_usd", "risk.max_positions", "risk.max_leverage", "risk.daily_loss_entry_stop_fraction",
    "risk.max_daily_loss_fraction", "risk.max_daily_loss_usd", "risk.max_drawdown_fraction",
    "risk.max_entries_per_day", "risk.min_confidence", "risk.blocked_symbols",
    "alerts.urls", "console.port", "paper.balance_usd",
)  # fmt: skip
"""The settings of the file, in its order."""

_EXAMPLES: Final = {
    "venue.account_address": "0x…", "venue.key_file": "agent.key", "venue.i_accept_real_money": "0x…",
    "trader.bar_ms": 60_000, "alerts.urls": ["ntfy://my-topic"],
}  # fmt: skip
"""What a setting without a default may look like."""

_HEAD: Final = """\
# PerpsTrader: the settings that are changed first. Every line is optional, and what is commented out is at the value
# that it shows, or not set where that is said. Those in force and all others: `perpstrader config show`.
# Of a limit that several sources give, the strictest wins. Keep keys out of this file: venue.key_file, mode 0600.
"""


def template() -> str:
    """The file: valid TOML that changes nothing until a line is uncommented."""
    lines = [_HEAD]
    for section in dict.fromkeys(key.split(".")[0] for key in FIRST):
        lines += [f"[{section}]", f"# {(SECTIONS[section].__doc__ or '').strip().splitlines()[0]}", ""]
        for key in FIRST:
            if CATALOG[key].section == section:
                lines += [*_comment(CATALOG[key]), ""]
    return "\n".join(lines)


def _comment(spec: Spec) -> list[str]:
    """Its meaning, unit and choices, and the line itself."""
    facts = [fact for fact in (spec.meta.unit, " | ".join(spec.choices)) if fact]
    is_set = spec.default not in (None, ())
    value = jsonable(spec.default) if is_set else _EXAMPLES.get(spec.key, 1_000 if spec.kind == "decimal" else [])
    if spec.kind in ("list", "strategies") and isinstance(value, list):
        value = [item["use"] if isinstance(item, dict) else item for item in value]
    shown = value if spec.kind == "decimal" and is_set else msgspec.json.encode(value).decode().replace('","', '", "')
    unset = "" if is_set else "   # not set"
    told = f" ({', '.join(facts)})" if facts else ""
    return [f"# {spec.meaning}{told}", f"# {spec.name} = {shown}{unset}"]
