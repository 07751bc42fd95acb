"""The settings: one schema, read once from a file, the environment and the command line, validated, frozen, strict."""

from perpstrader.settings.errors import SettingsError
from perpstrader.settings.fields import StrategySetting
from perpstrader.settings.limits import RiskSettings
from perpstrader.settings.load import load
from perpstrader.settings.schema import Origin, Row, Settings
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

__all__ = [
    "AlertSettings", "BreakerSettings", "ClientSettings", "ConsoleSettings", "DataSettings", "ExecutionSettings",
    "FeedSettings", "Origin", "PaperSettings", "RecoverySettings", "RiskSettings", "RolloutSettings", "Row", "Settings",
    "SettingsError", "StrategySetting", "TraceSettings", "TraderSettings", "VenueSettings", "load",
]  # fmt: skip
