"""What the shipper needs of a server, so that it can be tested against one that is away for a day in a second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from perpstrader.traces.errors import TraceError
from perpstrader.traces.outbox import Origin, Parcel


class ServerAwayError(TraceError):
    """The server cannot be reached or takes nothing now; the same may succeed later."""


class BotName(msgspec.Struct, frozen=True, kw_only=True):
    """Whose record it is: the account, the venue's network, and the epoch of its state (renewed on a restore)."""

    account: str
    network: str
    epoch: int

    def of_file(self, file: str) -> str:
        """The name of the bot that writes one file; another file, or a restored one, is another bot."""
        return f"{self.account}:{self.network}:{self.epoch:016x}:{file}"


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a parcel: ``stored`` entries, and ``dead``, those that the server refused with its reason."""

    stored: int
    dead: int = 0
    reason: str = ""


class Server(Protocol):
    """Takes parcels of one bot. Every method raises ``ServerAwayError`` when it may succeed later."""

    async def connect(self, bot: BotName, origin: Origin, now_ms: int) -> int:
        """Ready to take parcels, from after the entry that it gives: the last one that it holds of this bot.

        A bot that it does not know goes on where the file was shipped last for another one, and otherwise begins.
        """
        ...

    async def digest(self, entry: int) -> bytes | None:
        """The digest of an entry of this bot; ``None`` where it is not held."""
        ...

    async def learn(self, dictionaries: Mapping[int, bytes]) -> None:
        """Hold the dictionaries that parcels were packed with; those that it has are left as they are."""
        ...

    async def take(self, parcel: Parcel, now_ms: int) -> Delivery:
        """Have the parcel durable, in the order of its entries; what is there already is left as it is.

        What can never be stored lies in the dead letter afterwards, with the reason, and stops nothing else.
        """
        ...

    async def close(self) -> None:
        """Release the connection; a second call does nothing."""
        ...
