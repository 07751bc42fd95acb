"""API wallets: who may sign for whom, until when (API sheet 3.4)."""

from __future__ import annotations

from typing import Final

import msgspec

from perpstrader.venue.wire.errors import ErrorCode, error_text

DAY_MS: Final = 86_400_000
DEFAULT_LIFE_MS: Final = 90 * DAY_MS
MAX_LIFE_MS: Final = 180 * DAY_MS
MAX_NAMED: Final = 3
MAX_NAME_LENGTH: Final = 16
NOBODY: Final = "0x" + "0" * 40
_EXPIRY: Final = " valid_until "


class Agent(msgspec.Struct, frozen=True):
    """An approved API wallet; the unnamed one has the name ``""``."""

    address: str
    master: str
    name: str
    valid_until_ms: int


class Agents:
    """The agents of all accounts; an address serves one master, a name is one agent's."""

    def __init__(self) -> None:
        self._by_address: dict[str, Agent] = {}

    def master_of(self, address: str, now_ms: int) -> str | None:
        """The account that ``address`` may sign for now."""
        agent = self._by_address.get(address)
        return agent.master if agent is not None and now_ms < agent.valid_until_ms else None

    def named(self, master: str, now_ms: int) -> list[Agent]:
        """The named agents of ``master`` that are valid, in the order of their approval."""
        return [agent for agent in self._of(master) if agent.name and now_ms < agent.valid_until_ms]

    def approve(self, master: str, address: str, full_name: str, now_ms: int) -> str | None:
        """Approve ``address``, in place of the agent of the same name; the venue's refusal, or ``None`` when done.

        ``full_name`` may end in `` valid_until <ms>``. The address of all zeros takes the name's agent away.
        """
        name, _, expiry = full_name.partition(_EXPIRY)
        if expiry and not (expiry.isascii() and expiry.isdigit()):
            return error_text(ErrorCode.AGENT_EXPIRED)
        valid_until = int(expiry[:18]) if expiry else now_ms + DEFAULT_LIFE_MS
        if not now_ms < valid_until <= now_ms + MAX_LIFE_MS:
            return error_text(ErrorCode.AGENT_EXPIRED)
        if len(name) > MAX_NAME_LENGTH:
            return f"Agent name too long. Max is {MAX_NAME_LENGTH} characters."
        old = next((agent for agent in self._of(master) if agent.name == name), None)
        if address != NOBODY:
            known = self._by_address.get(address)
            if address == master or (known is not None and known.master != master):
                return error_text(ErrorCode.AGENT_USED)
            if name and old is None and len(self.named(master, now_ms)) >= MAX_NAMED:
                return error_text(ErrorCode.TOO_MANY_AGENTS, maximum=MAX_NAMED)
        if old is not None:
            del self._by_address[old.address]
        if address != NOBODY:
            self._by_address[address] = Agent(address, master, name, valid_until)
        return None

    def all(self) -> list[Agent]:
        """Every agent, for a store that outlives the process."""
        return list(self._by_address.values())

    def restore(self, agents: list[Agent]) -> None:
        """Take over what ``all`` gave."""
        self._by_address = {agent.address: agent for agent in agents}

    def _of(self, master: str) -> list[Agent]:
        return [agent for agent in self._by_address.values() if agent.master == master]
