"""The agent key's expiry: entries stop 48 hours before it, so that what is open can be managed to its end (S72)."""

from __future__ import annotations

from typing import Final

from perpstrader.domain import Reason, Refusal, VenueError
from perpstrader.domain.wording import moment_text
from perpstrader.execution import Desk
from perpstrader.venue.contract import HyperliquidClient

HOUR_MS: Final = 3_600_000
NO_ENTRIES_MS: Final = 48 * HOUR_MS
"""How long before the expiry entries stop."""

_READ_MS: Final = HOUR_MS
_TOLD_MS: Final = 24 * HOUR_MS


async def agent_expiry_ms(client: HyperliquidClient, signer: str, master: str) -> int | None:
    """When the venue stops taking the signer's orders; ``None`` where it is no agent, or one without a name, of which
    the venue does not tell (API sheet 1.2). Raises ``VenueError``.
    """
    if signer in (client.account_address, master):
        return None
    return (await client.agents(master)).get(signer)


class AgentLease:
    """How long the key may still sign; read at the start and every hour, with everything it says kept until then."""

    def __init__(self, desk: Desk, signer: str, master: str) -> None:
        self._desk = desk
        self._signer = signer
        self._master = master
        self._read_ms: int | None = None
        self._told_ms: int | None = None
        self.expires_ms: int | None = None

    async def look(self) -> None:
        """Read the expiry where that is an hour ago, and tell once a day that it is near; raises nothing."""
        now_ms = self._desk.clock.now_ms()
        if self._read_ms is None or now_ms - self._read_ms >= _READ_MS:
            try:
                expires_ms = await agent_expiry_ms(self._desk.client, self._signer, self._master)
            except VenueError as error:
                self._desk.say("agent-unread", "", f"the expiry of the agent's key cannot be read: {error}")
                return
            self._read_ms = now_ms
            self.expires_ms = expires_ms if expires_ms is not None else self.expires_ms
        refusal = self.refusal()
        if refusal is not None and (self._told_ms is None or now_ms - self._told_ms >= _TOLD_MS):
            self._told_ms = now_ms
            self._desk.say("agent-expires", "", refusal.sentence(), grave=True)

    def refusal(self) -> Refusal | None:
        """What stops entries once the expiry is nearer than 48 hours by the venue's clock; exits never ask."""
        if self.expires_ms is None:
            return None
        left_ms = self.expires_ms - self._desk.venue_clock.now_ms()
        if left_ms >= NO_ENTRIES_MS:
            return None
        return Refusal(
            reason=Reason.AGENT_EXPIRES, value=str(max(0, left_ms // HOUR_MS)), limit=str(NO_ENTRIES_MS // HOUR_MS),
            unit="h until the agent's key expires",
            hint=f"approve a new agent at the venue before {moment_text(self.expires_ms)} UTC and start with its key",
        )  # fmt: skip
