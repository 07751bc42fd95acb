"""Upkeep between decisions: what the venue or a person may have changed since the last approval is looked at again."""

from __future__ import annotations

from typing import Final

from perpstrader.domain import VenueError
from perpstrader.execution import Execution

METADATA_MS: Final = 3_600_000
"""The age at which delistings, leverage caps and margin tiers are read again."""


class Upkeep:
    """Keeps the assets' facts fresh (S13); what that does to positions, recovery sees at its next check."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._read_ms = execution.desk.clock.now_ms()

    async def look(self) -> None:
        """After each comparison with the venue; raises nothing for a venue that cannot be read."""
        desk = self._execution.desk
        if desk.clock.now_ms() - self._read_ms < METADATA_MS:
            return
        try:
            fresh = await desk.client.metadata()
        except VenueError as error:
            desk.say("metadata-unread", "", str(error))
            return
        self._read_ms = desk.clock.now_ms()
        desk.assets.update(fresh)
