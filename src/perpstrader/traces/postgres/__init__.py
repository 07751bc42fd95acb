"""The shared record in PostgreSQL: many bots ship their decisions to it, a team reads them there.

What a bot decided is durable in its own ``traces.db`` first; the server may be away for as long as it likes. Needs the
extra ``postgres``, whose package is imported when a server is first talked to.
"""

from perpstrader.traces.postgres.address import Address, is_address
from perpstrader.traces.postgres.port import BotName, Delivery, Server, ServerAwayError
from perpstrader.traces.postgres.shipper import Shipper, ShipperLimits, Shipping

__all__ = [
    "Address", "BotName", "Delivery", "Server", "ServerAwayError", "Shipper", "ShipperLimits", "Shipping", "is_address",
]  # fmt: skip
