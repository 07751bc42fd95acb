"""What this machine shows: the install, the place of the data, who may read what, the strategies, the alerts."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from perpstrader.domain.wording import plural
from perpstrader.settings import Settings
from perpstrader.state import owner_of
from perpstrader.strategies import StrategyEntry, load_strategies
from perpstrader.trader.doctor.checkup import Check, Found, failed, fine, poor, skipped

_MIB: Final = 1 << 20
_PLENTY: Final = 4
"""Times the least free space, below which one is warned."""

_EXTRAS: Final = {"pyarrow": "recorded markets in Feather and Parquet", "apprise": "alerts to other services"}
_SECRET: Final = ("token", "paper-key")
_RECORDS: Final = ("state.db", "traces.db", "run.json", "perpstrader.log")
FreeBytes = Callable[[Path], int]


def free_bytes(folder: Path) -> int:
    """What is left to write where ``folder`` is, or will be."""
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    return shutil.disk_usage(existing).free


def local_checks(settings: Settings, free: FreeBytes = free_bytes) -> tuple[Check, ...]:
    """The checks that ask nobody but this machine."""
    return (
        Check(name="install", look=lambda: install(settings)),
        Check(name="settings", look=lambda: given(settings)),
        Check(name="network", look=lambda: network(settings)),
        Check(name="disk", look=lambda: disk(settings, free)),
        Check(name="files", look=lambda: files(settings)),
        Check(name="state", look=lambda: state(settings)),
        Check(name="strategies", look=lambda: strategies(settings)),
        Check(name="alerts", look=lambda: alerts(settings)),
    )


def install(settings: Settings) -> Found:
    """Versions, and the optional parts that the settings ask for."""
    versions = f"perpstrader {importlib.metadata.version('perpstrader')} on Python {platform.python_version()}"
    missing = {name: use for name, use in _EXTRAS.items() if importlib.util.find_spec(name) is None}
    if settings.rollout.client == "baseline" and importlib.util.find_spec("hyperliquid") is None:
        text = f"{versions}; rollout.client is baseline, and hyperliquid-python-sdk is not installed"
        return failed(text, 'pip install hyperliquid-python-sdk, or set rollout.client = "optimized"')
    without = "; ".join(f"without {name} ({use})" for name, use in missing.items())
    return fine(f"{versions}; {without or 'every optional part is there'}")


def given(settings: Settings) -> Found:
    """Where the settings came from; those that contradict each other never come so far."""
    count = sum(settings.origin(key).source != "default" for key in settings.values())
    given_text = f"{plural(count, 'setting')} given, the others at their defaults"
    return fine(f"file {settings.config_file or 'none'}; {given_text}")


def network(settings: Settings) -> Found:
    """Which exchange, and whether it is real money."""
    venue = settings.venue
    where = venue.url or "the paper exchange inside the trader's process"
    if venue.is_mainnet:
        return poor(f"mainnet, REAL MONEY, at {where}", "both settings for it are given; be sure that you mean it")
    return fine(f"{venue.network}, no real money, at {where}")


def disk(settings: Settings, free: FreeBytes) -> Found:
    """Whether the data directory can be written, and how much room there is."""
    folder = settings.data_dir
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return failed(f"{folder} cannot be written (see {existing})", "name another --data-dir, or change the rights")
    left, least = free(folder), settings.data.min_free_bytes
    text = f"{folder}: {left / _MIB:,.0f} MiB left"
    if left < least:
        return failed(f"{text}, and a start asks for {least / _MIB:,.0f} MiB", "free space")
    return poor(text, "free space before it runs out") if left < _PLENTY * least else fine(text)


def files(settings: Settings) -> Found:
    """Whether others can read what is nobody else's business."""
    folder, more = settings.data_dir, (settings.venue.key_file, settings.console.tls_key_file)
    secret = " ".join(_open_ones([*(folder / name for name in _SECRET), *(path for path in more if path is not None)]))
    records = " ".join(_open_ones([folder / name for name in _RECORDS]))
    if secret:
        return failed(f"others can read {secret}", f"chmod 600 {secret}; better, replace what they may have read")
    if records:
        return poor(f"others can read {records}", f"chmod 600 {records}")
    return fine("nobody else can read the key, the token and the record")


def _open_ones(paths: list[Path]) -> list[str]:
    return [str(path) for path in paths if path.exists() and _is_open(path)]


def _is_open(path: Path) -> bool:
    return bool(stat.S_IMODE(path.stat().st_mode) & 0o077)


def state(settings: Settings) -> Found:
    """Whether what a trader left can be gone on with."""
    path = settings.data_dir / "state.db"
    if not path.exists():
        return fine("no trader ran here yet; the first start makes its files")
    account, kept_for = owner_of(path)
    if kept_for != settings.venue.network:
        text = f"{path} is of {kept_for}, the settings are for {settings.venue.network}"
        return failed(text, "name another --data-dir for each network")
    return fine(f"{path} is of account {account} on {kept_for}")


def strategies(settings: Settings) -> Found:
    """Whether the strategies of the settings can be made."""
    entries = [
        StrategyEntry(use=s.use, params=dict(s.params), symbols=s.symbols, intervals=s.intervals, isolated=s.isolated)
        for s in settings.trader.strategies
    ]
    if not entries:
        return poor("none is named: only signals from outside are traded", "see trader.strategies")
    names = ", ".join(strategy.name for strategy in load_strategies(entries))
    return fine(f"{names} on {', '.join(settings.trader.symbols)}, {settings.bar_ms / 1000:g} s bars")


def alerts(settings: Settings) -> Found:
    """Whether a person would be reached."""
    if not settings.alerts.urls:
        return skipped("incidents go to the log and the console alone; alerts.urls names other services")
    if importlib.util.find_spec("apprise") is None:
        return failed("alerts.urls is set, and apprise is not installed", "pip install 'perpstrader[alerts]'")
    return fine(f"{plural(len(settings.alerts.urls), 'service')} besides the log; `perpstrader alerts test` tries them")
