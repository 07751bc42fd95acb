"""The alert desk: takes reports without ever waiting, and has what is due delivered by every channel (S45)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from perpstrader.alerts.channels import Channel, RingChannel
from perpstrader.alerts.incidents import Alert, Incident, IncidentBook, Severity
from perpstrader.alerts.lane import ChannelState, Lane
from perpstrader.runtime import Clock

_PULSE_S: Final = 10.0
_WINDOW_MS: Final = 300_000


class AlertDesk:
    """One a trader. ``report`` and ``recovered`` return at once and never raise; ``run`` is a loop of the supervisor.

    A channel that fails is an incident itself, told to the other local channels alone: channels that fail in turn must
    not keep each other busy.
    """

    def __init__(self, channels: Sequence[Channel], clock: Clock, *, timeout_ms: int) -> None:
        self.book = IncidentBook()
        self._clock = clock
        self._lanes = [Lane(channel, clock, self._on_health, timeout_s=timeout_ms / 1000) for channel in channels]

    def report(self, incident: Incident, *, window_ms: int = _WINDOW_MS) -> None:
        """Take note; an alert is queued where one is due."""
        self._tell(self.book.report(incident, window_ms), self._lanes)

    def recovered(self, key: str, text: str) -> None:
        """The incident is over; an alert is queued if it was open."""
        self._tell(self.book.recover(key, text, self._clock.now_ms()), self._lanes)

    def channels(self) -> tuple[ChannelState, ...]:
        """How each channel does."""
        return tuple(lane.state() for lane in self._lanes)

    def shown(self) -> tuple[Alert, ...]:
        """The newest alerts that the console's channel holds, the oldest first."""
        rings = [lane.channel for lane in self._lanes if isinstance(lane.channel, RingChannel)]
        return tuple(alert for ring in rings for alert in ring.alerts)

    async def run(self, beat: Callable[[], None]) -> None:
        """Deliver until cancelled, each channel in a task of its own."""
        async with asyncio.TaskGroup() as group:
            for lane in self._lanes:
                group.create_task(lane.run(), name=f"alerts-{lane.channel.name}")
            while True:
                beat()
                await self._clock.sleep(_PULSE_S)

    async def finish(self, timeout_s: float) -> None:
        """Wait until everything queued has gone out, but for no longer than ``timeout_s``; ``run`` must be running."""
        try:
            async with asyncio.timeout(timeout_s):
                for lane in self._lanes:
                    await lane.idle()
        except TimeoutError:
            return

    def _tell(self, alert: Alert | None, lanes: Sequence[Lane]) -> None:
        if alert is not None:
            for lane in lanes:
                lane.put(alert)

    def _on_health(self, channel: str, error: str) -> None:
        key, now_ms = f"channel:{channel}", self._clock.now_ms()
        others = [lane for lane in self._lanes if lane.channel.is_local and lane.channel.name != channel]
        if not error:
            self._tell(self.book.recover(key, f"the channel {channel} delivers again", now_ms), others)
            return
        incident = Incident(
            key=key, severity=Severity.WARNING, title="alerts do not go out", text=f"{channel}: {error}", time_ms=now_ms
        )
        self._tell(self.book.report(incident, _WINDOW_MS), others)
