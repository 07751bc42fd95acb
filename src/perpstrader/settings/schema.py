"""The settings of one run as a frozen value: a section for each room, the origin of each value, a digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from pydantic import SecretStr

from perpstrader.domain.money import plain
from perpstrader.settings.fields import SECRET_NAME, Section
from perpstrader.settings.limits import RiskSettings
from perpstrader.settings.paper_rules import PaperRulesSettings
from perpstrader.settings.services import (
    AlertSettings,
    BreakerSettings,
    ClientSettings,
    ConsoleSettings,
    RecoverySettings,
    RolloutSettings,
    TraceSettings,
)
from perpstrader.settings.trading import (
    DataSettings,
    ExecutionSettings,
    FeedSettings,
    PaperSettings,
    TraderSettings,
    VenueSettings,
)

SECTIONS: Mapping[str, type[Section]] = MappingProxyType(
    {
        "venue": VenueSettings,
        "paper": PaperSettings,
        "paper_rules": PaperRulesSettings,
        "data": DataSettings,
        "feed": FeedSettings,
        "trader": TraderSettings,
        "risk": RiskSettings,
        "execution": ExecutionSettings,
        "traces": TraceSettings,
        "recovery": RecoverySettings,
        "breakers": BreakerSettings,
        "client": ClientSettings,
        "rollout": RolloutSettings,
        "console": ConsoleSettings,
        "alerts": AlertSettings,
    }
)
"""The tables of ``perpstrader.toml``, in the order in which they are shown."""

VENUE_BAR_MS = 300_000


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from, with the place (``perpstrader.toml:12``, ``env MAX_LEVERAGE``) and a remark."""

    source: Literal["default", "file", "environment", "command line"]
    place: str = ""
    note: str = ""

    def __str__(self) -> str:
        text = self.place or self.source
        return f"{text} ({self.note})" if self.note else text


DEFAULT = Origin("default")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of ``config show``; a secret's ``value`` is its presence alone."""

    key: str
    value: str
    unit: str
    origin: str
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of one run, validated and frozen; ``Settings()`` is paper trading with every default.

    Attribute access costs what any attribute costs: the sections are read on the hot path.
    """

    venue: VenueSettings = field(default_factory=VenueSettings)
    paper: PaperSettings = field(default_factory=PaperSettings)
    paper_rules: PaperRulesSettings = field(default_factory=PaperRulesSettings)
    data: DataSettings = field(default_factory=DataSettings)
    feed: FeedSettings = field(default_factory=FeedSettings)
    trader: TraderSettings = field(default_factory=TraderSettings)
    risk: RiskSettings = field(default_factory=RiskSettings)
    execution: ExecutionSettings = field(default_factory=ExecutionSettings)
    traces: TraceSettings = field(default_factory=TraceSettings)
    recovery: RecoverySettings = field(default_factory=RecoverySettings)
    breakers: BreakerSettings = field(default_factory=BreakerSettings)
    client: ClientSettings = field(default_factory=ClientSettings)
    rollout: RolloutSettings = field(default_factory=RolloutSettings)
    console: ConsoleSettings = field(default_factory=ConsoleSettings)
    alerts: AlertSettings = field(default_factory=AlertSettings)
    origins: Mapping[str, Origin] = field(default_factory=dict, compare=False, repr=False)
    config_file: Path | None = field(default=None, compare=False)

    @property
    def data_dir(self) -> Path:
        """Directory of this run's files: the one set, else ``~/.perpstrader/<network>``."""
        return self.data.dir or Path.home() / ".perpstrader" / self.venue.network

    @property
    def bar_ms(self) -> int:
        """Length of the bars that close a cycle, in ms."""
        if self.trader.bar_ms is not None:
            return self.trader.bar_ms
        is_made = self.venue.network == "paper" and self.feed.source != "live"
        return self.feed.bar_ms if is_made else VENUE_BAR_MS

    def values(self) -> dict[str, object]:
        """Every key (``section.name``) with its value, in the order of the schema; secrets stay ``SecretStr``."""
        return {
            f"{section}.{name}": getattr(getattr(self, section), name)
            for section, model in SECTIONS.items()
            for name in model.model_fields
        }

    def origin(self, key: str) -> Origin:
        """Where the value of ``key`` came from."""
        return self.origins.get(key, DEFAULT)

    def redacted(self) -> dict[str, dict[str, object]]:
        """The settings as plain JSON values by section, each secret as ``"set"`` or ``null``."""
        result: dict[str, dict[str, object]] = {}
        for key, value in self.values().items():
            section, name = key.split(".", 1)
            result.setdefault(section, {})[name] = jsonable(value)
        return result

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over all values but secrets and directories: equal decisions have equal digests of settings."""
        kept = {key: jsonable(value) for key, value in self.values().items() if key not in _NOT_IN_DIGEST}
        return hashlib.sha256(json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


_NOT_IN_DIGEST = frozenset(
    {
        "venue.private_key",
        "venue.key_file",
        "alerts.urls",
        "traces.postgres_url",
        "data.dir",
        "console.tls_key_file",
        "console.tls_cert_file",
    }
)


def jsonable(value: object) -> object:
    """``value`` as JSON knows it: decimals as plain text, paths as text, a secret as ``"set"``."""
    if isinstance(value, SecretStr):
        return "set"
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Section):
        return {name: jsonable(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, Mapping):
        return {str(name): "set" if SECRET_NAME.search(str(name)) else jsonable(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [jsonable(item) for item in value]
    return value


def show(value: object) -> str:
    """``value`` in one short text for a person: ``-`` for nothing, names joined by commas."""
    plain_value = jsonable(value)
    if plain_value is None or plain_value == []:
        return "-"
    if isinstance(plain_value, bool):
        return "true" if plain_value else "false"
    if isinstance(plain_value, list):
        return ", ".join(str(item["use"]) if isinstance(item, dict) else str(item) for item in plain_value)
    return str(plain_value)
