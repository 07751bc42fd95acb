"""Incidents and channels for the tests."""

from __future__ import annotations

from collections.abc import Callable

from perpstrader.alerts import Alert, ChannelError, Incident, Severity
from perpstrader.runtime import Clock

SECRET = "tgram://123:SECRET/chat"


def incident(
    key: str = "a", severity: Severity = Severity.WARNING, time_ms: int = 0, text: str = "it broke"
) -> Incident:
    return Incident(key=key, severity=severity, title=f"{key} is wrong", text=text, time_ms=time_ms)


class Recorded:
    """A channel that remembers what it delivered; ``fails`` says whether this delivery fails, ``takes_s`` how long."""

    def __init__(
        self, name: str = "recorded", *, clock: Clock | None = None, takes_s: float = 0,
        fails: Callable[[Alert], bool] = lambda alert: False, error: Exception | None = None, is_local: bool = False,
    ) -> None:  # fmt: skip
        self.name = name
        self.is_local = is_local
        self.alerts: list[Alert] = []
        self.tries = 0
        self._clock = clock
        self._takes_s = takes_s
        self._fails = fails
        self._error = error or ChannelError("the service is away")

    async def send(self, alert: Alert) -> None:
        self.tries += 1
        if self._clock is not None:
            await self._clock.sleep(self._takes_s)
        if self._fails(alert):
            raise self._error
        self.alerts.append(alert)

    def close(self) -> None: ...

    def told(self) -> list[tuple[str, str]]:
        """Key and change of each delivered alert, without those about channels."""
        return [(a.incident.key, a.change.value) for a in self.alerts if not a.incident.key.startswith("channel:")]
