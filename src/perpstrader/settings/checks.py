"""What no single setting can know: pairs that contradict each other, and the gates before real money."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from perpstrader.domain.market import INTERVAL_MS
from perpstrader.settings.limits import MAINNET_CAPS
from perpstrader.settings.schema import Settings, show
from perpstrader.settings.trading import NETWORK_URLS

ORDERED: tuple[tuple[str, str], ...] = (
    ("venue.leverage", "risk.max_leverage"),
    ("risk.max_gross_notional_ratio", "risk.max_leverage"),
    ("risk.max_net_notional_ratio", "risk.max_gross_notional_ratio"),
    ("risk.max_cluster_notional_ratio", "risk.max_gross_notional_ratio"),
    ("risk.max_position_fraction", "risk.max_gross_notional_ratio"),
    ("risk.max_order_notional_fraction", "risk.max_position_fraction"),
    ("risk.max_net_notional_usd", "risk.max_gross_notional_usd"),
    ("risk.max_position_usd", "risk.max_gross_notional_usd"),
    ("risk.max_order_notional_usd", "risk.max_position_usd"),
    ("risk.daily_loss_entry_stop_fraction", "risk.max_daily_loss_fraction"),
    ("risk.daily_loss_entry_stop_usd", "risk.max_daily_loss_usd"),
    ("risk.risk_per_trade_fraction", "risk.daily_loss_entry_stop_fraction"),
    ("risk.risk_per_trade_usd", "risk.max_daily_loss_usd"),
    ("risk.drawdown_halve_fraction", "risk.max_drawdown_fraction"),
    ("risk.volatility_reduce_fraction", "risk.volatility_stop_fraction"),
    ("risk.max_entries_per_symbol_day", "risk.max_entries_per_day"),
    ("risk.max_entries_per_minute", "risk.max_entries_per_day"),
    ("risk.max_entries_per_symbol_hour", "risk.max_entries_per_symbol_day"),
    ("risk.failed_entry_cooldown_ms", "risk.max_failed_entry_cooldown_ms"),
    ("risk.default_stop_fraction", "risk.max_stop_distance_fraction"),
    ("execution.exit_slip_fraction", "execution.max_exit_slip_fraction"),
    ("breakers.base_backoff_ms", "breakers.max_backoff_ms"),
    ("paper.latency_median_ms", "paper.latency_p99_ms"),
)
"""Pairs of which the first must not exceed the second. A first one left at its default follows the second down."""

APART: tuple[tuple[str, str], ...] = (
    ("risk.min_entry_notional_usd", "risk.max_order_notional_usd"),
    ("risk.min_stop_distance_fraction", "risk.default_stop_fraction"),
)
"""The same, where following down would loosen a limit."""

SHORTEST_CANDLE_MS = 60_000


def find_contradictions(settings: Settings, env: Mapping[str, str]) -> list[str]:
    """One sentence for each pair of settings that cannot both be meant, and for each gate that is not passed."""
    return [
        *_pairs(settings),
        *_venue(settings),
        *_mainnet(settings, env),
        *_trader(settings),
        *_console(settings),
    ]


def _pairs(settings: Settings) -> Iterator[str]:
    values = settings.values()
    for lower, upper in (*ORDERED, *APART):
        low, high = values[lower], values[upper]
        if low is not None and high is not None and low > high:  # type: ignore[operator]  # both numbers, by the table
            yield (
                f"{lower} = {show(low)} ({settings.origin(lower)}) must not exceed "
                f"{upper} = {show(high)} ({settings.origin(upper)})"
            )


def _venue(settings: Settings) -> Iterator[str]:
    venue = settings.venue
    url = venue.base_url
    if url is not None:
        host = (urlsplit(url).hostname or "").lower()
        owner = next((name for name, known in NETWORK_URLS.items() if urlsplit(known).hostname == host), None)
        shown = f"venue.base_url = {url} ({settings.origin('venue.base_url')})"
        if owner is not None and owner != venue.network:
            yield f'{shown} is {owner}; venue.network is "{venue.network}": set both to the same network'
        elif is_loopback(host) and venue.network != "paper":
            yield f'{shown} is this machine; with venue.network = "{venue.network}" it must be that network\'s address'
        elif urlsplit(url).scheme != "https" and not is_loopback(host) and venue.network != "paper":
            yield f"{shown} must be https for {venue.network}"
    if venue.network != "paper":
        if venue.account_address is None:
            yield f"venue.account_address is needed on {venue.network}: set it, or PERPSTRADER_ACCOUNT_ADDRESS"
        if venue.private_key is None and venue.key_file is None:
            yield (
                f"venue.private_key is needed on {venue.network}: set PERPSTRADER_PRIVATE_KEY, "
                "or venue.key_file to a file of mode 0600"
            )


def _mainnet(settings: Settings, env: Mapping[str, str]) -> Iterator[str]:
    venue = settings.venue
    if not venue.is_mainnet:
        return
    if venue.i_accept_real_money is None or venue.i_accept_real_money != venue.account_address:
        yield (
            "mainnet trades real money: set venue.i_accept_real_money to the account's address"
            + (f", {venue.account_address}" if venue.account_address else "")
        )
    for name in MAINNET_CAPS:
        if getattr(settings.risk, name) is None:
            yield f"risk.{name} must be set on mainnet: a cap in USD holds where a reading of the equity is wrong"
    for name in ("HYPERLIQUID_TESTNET", "PAPER_TRADING"):
        if env.get(name, "").strip().lower() in ("true", "1", "yes", "on"):
            yield f'{name} is set in the environment, and venue.network is "mainnet": remove one of them'


def _trader(settings: Settings) -> Iterator[str]:
    trader = settings.trader
    if not trader.symbols:
        yield "trader.symbols must name at least one symbol"
    labels = tuple(strategy.label for strategy in trader.strategies)
    for key, names in (("trader.symbols", trader.symbols), ("trader.strategies", labels)):
        for name in sorted({name for name in names if names.count(name) > 1}):
            hint = "; positions are owned by name, give one another params.name" if key == "trader.strategies" else ""
            yield f"{key} names {name} more than once{hint}"
    for strategy in trader.strategies:
        for symbol in strategy.symbols:
            if symbol not in trader.symbols:
                yield f"trader.strategies: {strategy.label} wants {symbol}, which is not in trader.symbols"
    candles = {ms: name for name, ms in INTERVAL_MS.items() if ms >= SHORTEST_CANDLE_MS}
    bar_ms = trader.bar_ms
    if settings.venue.network != "paper" and bar_ms is not None and bar_ms not in candles:
        place = settings.origin("trader.bar_ms")
        known = ", ".join(candles.values())
        yield f"trader.bar_ms = {bar_ms} ({place}) must be a candle's length at the venue: {known}"
    if settings.feed.source == "replay" and settings.feed.path is None:
        yield 'feed.path is needed where feed.source is "replay": the directory or file of the recorded market'


def _console(settings: Settings) -> Iterator[str]:
    console = settings.console
    has_tls = console.tls_cert_file is not None and console.tls_key_file is not None
    if (console.tls_cert_file is None) != (console.tls_key_file is None):
        yield "console.tls_cert_file and console.tls_key_file belong together; one is missing"
    if console.enabled and not (is_loopback(console.host) or has_tls or console.allow_remote_without_tls):
        yield (
            f"console.host = {console.host} ({settings.origin('console.host')}) can be reached by other machines: set "
            "console.tls_cert_file and console.tls_key_file, or console.allow_remote_without_tls = true"
        )


def is_loopback(host: str) -> bool:
    """True for ``localhost`` and the loopback addresses; a name that would need a resolver is not."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
