"""The door for those who serve: an address to listen on, bound before anything else starts."""

from __future__ import annotations

import errno
import socket
from typing import Final

from perpstrader.domain.errors import PerpsTraderError

_BACKLOG: Final = 128

Listener = socket.socket


class ListenError(PerpsTraderError):
    """An address that cannot be listened on; nothing was started."""


def listen(host: str, port: int, *, what: str, remedy: str) -> socket.socket:
    """A TCP socket that listens on ``host`` and ``port`` (0: a free one), closed by the caller.

    ``what`` names the server and ``remedy`` the way out, for the sentence of the ``ListenError``.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host.strip("[]"), port), family=family, backlog=_BACKLOG)
    except OSError as error:
        why = "is in use by another program" if error.errno == errno.EADDRINUSE else _reason(error)
        raise ListenError(f"{what} cannot listen: port {port} on {host} {why}; {remedy}") from error
    listener.setblocking(False)
    return listener


def _reason(error: OSError) -> str:
    return f"cannot be used ({(error.strerror or str(error)).lower()})"


def address_of(listener: socket.socket) -> tuple[str, int]:
    """Host and port that it listens on; an IPv6 host in brackets, ready for a URL."""
    host, port = listener.getsockname()[:2]
    return (f"[{host}]" if ":" in host else str(host)), int(port)
