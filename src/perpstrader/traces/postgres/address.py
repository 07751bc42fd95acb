"""Where a PostgreSQL server is, without ever showing the password that the address may hold (S72)."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from perpstrader.traces.errors import TraceError

_SCHEMES: Final = ("postgresql://", "postgres://")
_HIDDEN: Final = "***"


def is_address(text: str) -> bool:
    """Whether a text means a PostgreSQL server and not a file."""
    return text.startswith(_SCHEMES)


class Address:
    """A server's address; its text is fit to be shown, ``url`` is not. Raises ``TraceError`` for what is none."""

    def __init__(self, url: str) -> None:
        if not is_address(url):
            raise TraceError("the shared record needs an address such as postgresql://user@host:5432/database")
        self.url = url
        try:
            parts = urlsplit(url)
            port = parts.port
            asked = dict(parse_qsl(parts.query))
        except ValueError:
            raise TraceError("the address of the shared record cannot be read; its port must be a number") from None
        secrets = (parts.password, asked.get("password"), asked.get("sslpassword"))
        self._secrets = [text for secret in secrets if secret for text in dict.fromkeys((secret, unquote(secret)))]
        host = parts.hostname or asked.get("host") or "localhost"
        user = f"{parts.username}@" if parts.username else ""
        self._shown = f"postgresql://{user}{host}{'' if port is None else f':{port}'}{parts.path}"

    def __str__(self) -> str:
        return self._shown

    def __repr__(self) -> str:
        return f"Address({self._shown!r})"

    def hide(self, text: str) -> str:
        """The text without the address and its password, whoever wrote it."""
        text = text.replace(self.url, self._shown)
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        return text
