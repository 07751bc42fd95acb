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

    def __init__(self, removal_ms: int = 1_500, expiry_lag_ms: int = 0) -> None:
        self._by_address: dict[str, Agent] = {}
        self._removal_ms = removal_ms
        self._expiry_lag_ms = expiry_lag_ms
        self._removed_ms: dict[str, int] = {}

    def master_of(self, address: str, now_ms: int) -> str | None:
        """The account that ``address`` may sign for now."""
        agent = self._by_address.get(address)
        if agent is None or now_ms >= agent.valid_until_ms + self._expiry_lag_ms:
            return None
        return agent.master

    def named(self, master: str, now_ms: int) -> list[Agent]:
        """The named agents of ``master`` that are valid, in the order of their approval."""
        return [agent for agent in self._of(master) if agent.name and now_ms < agent.valid_until_ms]

    def unnamed(self, master: str, now_ms: int) -> Agent | None:
        """The agent without a name, while it is valid."""
        return next((a for a in self._of(master) if not a.name and now_ms < a.valid_until_ms), None)

    def approve(self, master: str, address: str, full_name: str, now_ms: int, *, more: int = 0) -> str | None:
        """Approve ``address``, in place of the agent of the same name; the venue's refusal, or ``None`` when done.

        ``full_name`` may end in `` valid_until <ms>``. The address of all zeros takes the name's agent away. ``more``
        named ones than three are allowed: two for each sub-account.
        """
        removed_ms = self._removed_ms.get(master)
        if removed_ms is not None and now_ms < removed_ms + self._removal_ms:
            return error_text(ErrorCode.AGENT_PENDING_REMOVAL)
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
            if name and old is None and len(self.named(master, now_ms)) >= MAX_NAMED + more:
                return error_text(ErrorCode.TOO_MANY_AGENTS, maximum=MAX_NAMED + more)
        if old is not None:
            del self._by_address[old.address]
            if old.address != address:
                self._removed_ms[master] = now_ms
        if address != NOBODY:
            self._by_address[address] = Agent(address, master, name, valid_until)
        return None

    def prune(self, master: str) -> list[str]:
        """Take away every agent of ``master``: their addresses."""
        gone = [agent.address for agent in self._of(master)]
        for address in gone:
            del self._by_address[address]
        return gone

    def all(self) -> list[Agent]:
        """Every agent, for a store that outlives the process."""
        return list(self._by_address.values())

    def restore(self, agents: list[Agent]) -> None:
        """Take over what ``all`` gave."""
        self._by_address = {agent.address: agent for agent in agents}

    def _of(self, master: str) -> list[Agent]:
        return [agent for agent in self._by_address.values() if agent.master == master]
