"""Who may talk to the control port: a token of 256 bits in a private file, compared in constant time (S70).

Reading needs the token too: equity and positions are nobody else's business. Only ``/api/healthz``, which tells no more
than that the process answers, and ``/schema``, which is the same for every copy of the program, are open.
"""

from __future__ import annotations

import hmac
import os
import secrets
import stat
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from perpstrader.domain.errors import PerpsTraderError
from perpstrader.settings.checks import is_loopback

TOKEN_FILE: Final = "token"
_TOKEN_BYTES: Final = 32
_OPEN_PATHS: Final = ("/api/healthz", "/schema")
_LOOPBACK_NAMES: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_ANY_ADDRESS: Final = frozenset({"0.0.0.0", "::"})


def ensure_token(data_dir: Path) -> str:
    """The token of this data directory, made at the first start and kept with mode 0600."""
    path = data_dir / TOKEN_FILE
    data_dir.mkdir(parents=True, exist_ok=True)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return read_token(data_dir)
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    with os.fdopen(fd, "w") as file:
        file.write(token + "\n")
    return token


def read_token(data_dir: Path) -> str:
    """The token in the data directory; raises for one that is missing, too short, or readable by others."""
    path = data_dir / TOKEN_FILE
    try:
        mode, token = stat.S_IMODE(path.stat().st_mode), path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise PerpsTraderError(f"the control port's token {path} cannot be read: {type(error).__name__}") from error
    if mode & 0o077:
        raise PerpsTraderError(f"others can read the token of the control port: chmod 600 {path}")
    if len(token) < _TOKEN_BYTES:
        raise PerpsTraderError(f"{path} is too short for a token; delete it, the next start makes another")
    return token


def names_of(host: str) -> frozenset[str] | None:
    """The names under which a server on ``host`` may be addressed; ``None``: any, as it listens on all addresses."""
    bare = host.strip("[]").lower()
    if bare in _ANY_ADDRESS:
        return None
    return _LOOPBACK_NAMES | {bare} if is_loopback(bare) else frozenset({bare})


class Gate:
    """Stands before the application: a foreign ``Host`` (DNS rebinding) gets 421, a missing or wrong token 401."""

    def __init__(self, app: ASGIApp, token: str, names: frozenset[str] | None) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        headers = {bytes(name).lower(): bytes(value) for name, value in scope["headers"]}
        if self._names is not None and _host_name(headers.get(b"host", b"")) not in self._names:
            await _answer(send, 421, "this address is not served here; use the one in run.json")
        elif _is_open(scope["path"]) or hmac.compare_digest(headers.get(b"authorization", b""), self._expected):
            await self._app(scope, receive, send)
        else:
            text = "a token is needed: send 'Authorization: Bearer …' from the file 'token' in the data directory"
            await _answer(send, 401, text)


def _is_open(path: str) -> bool:
    return any(path == open_path or path.startswith(f"{open_path}/") for open_path in _OPEN_PATHS)


def _host_name(header: bytes) -> str:
    try:
        return (urlsplit(f"//{header.decode('latin-1')}").hostname or "").lower()
    except ValueError:
        return ""


async def _answer(send: Send, status: int, sentence: str) -> None:
    body = msgspec.json.encode({"error": sentence})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
