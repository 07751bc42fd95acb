"""The server of the control port: it lives in the trader's own loop, begins after it and ends with it."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import uvicorn

from perpstrader.console.access import Gate, ensure_token, names_of
from perpstrader.console.api import build_app
from perpstrader.console.runfile import RunFile, remove_run_file, write_run_file
from perpstrader.domain.errors import PerpsTraderError
from perpstrader.runtime import Clock
from perpstrader.runtime.listen import Listener, address_of, listen
from perpstrader.runtime.pool import TaskPool
from perpstrader.settings import ConsoleSettings
from perpstrader.settings.checks import is_loopback
from perpstrader.traces.contract import TraceStore
from perpstrader.trader.commands import Commands

_LOG = logging.getLogger(__name__)
_START_POLL_S: Final = 0.01
_STARTS_WITHIN_POLLS: Final = 1_000
_GRACE_S: Final = 2


class ConsoleError(PerpsTraderError):
    """The control port cannot be served as it is set up."""


class _Server(uvicorn.Server):
    """Signals stay the program's own: it stops the trader first, and the trader's end stops this."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take none."""
        yield


def open_listener(settings: ConsoleSettings) -> Listener:
    """The port, bound; refuses an address beyond loopback without TLS or the explicit setting (S70)."""
    has_tls = settings.tls_cert_file is not None and settings.tls_key_file is not None
    if not (is_loopback(settings.host) or has_tls or settings.allow_remote_without_tls):
        raise ConsoleError(
            f"console.host = {settings.host} can be reached by other machines: set console.tls_cert_file and "
            "console.tls_key_file, or console.allow_remote_without_tls = true"
        )
    remedy = "stop it, set PERPSTRADER_CONSOLE__PORT to another port (0: a free one), or run with --no-console"
    return listen(settings.host, settings.port, what="the control port", remedy=remedy)


class Console:
    """The control port of one trader. ``listener`` is a port that was bound before; without it ``start`` binds one."""

    def __init__(
        self, commands: Commands, traces: TraceStore, settings: ConsoleSettings, data_dir: Path, clock: Clock, *,
        listener: Listener | None = None,
    ) -> None:  # fmt: skip
        self._commands = commands
        self._traces = traces
        self._settings = settings
        self._data_dir = data_dir
        self._clock = clock
        self._listener = listener
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None
        self._pool = TaskPool(lambda name, error: _LOG.error("the %s ended", name, exc_info=error))

    async def start(self) -> str:
        """Serve; the URL, which ``run.json`` names too. Raises for a port in use and a token that others can read."""
        listener = self._listener if self._listener is not None else open_listener(self._settings)
        try:
            token = ensure_token(self._data_dir)
            self._server = _Server(self._config(token))
            self._task = self._pool.spawn("control port", self._server.serve(sockets=[listener]))
            for _ in range(_STARTS_WITHIN_POLLS):
                if self._server.started or self._task is None or self._task.done():
                    break
                await self._clock.sleep(_START_POLL_S)
            if not self._server.started:
                raise ConsoleError("the control port did not start; the log says why")
        except BaseException:
            await self.stop()
            listener.close()
            raise
        host, port = address_of(listener)
        url = f"{'https' if self._settings.tls_cert_file is not None else 'http'}://{host}:{port}"
        status = self._commands.status()
        run = RunFile(
            pid=os.getpid(), url=url, started_ms=self._clock.now_ms(), account=status.account, network=status.network
        )
        write_run_file(self._data_dir, run)
        return url

    async def stop(self) -> None:
        """Nothing is served any more and ``run.json`` is gone; a second call does nothing."""
        remove_run_file(self._data_dir, os.getpid())
        if self._server is not None:
            self._server.should_exit = True
        if self._task is not None:
            await asyncio.wait([self._task], timeout=2 * _GRACE_S)
        await self._pool.stop()

    def _config(self, token: str) -> uvicorn.Config:
        settings = self._settings
        return uvicorn.Config(
            Gate(build_app(self._commands, self._traces), token, names_of(settings.host)),
            lifespan="off", ws="none", log_config=None, access_log=False, server_header=False, proxy_headers=False,
            limit_concurrency=64, timeout_keep_alive=5, timeout_graceful_shutdown=_GRACE_S,
            ssl_certfile=settings.tls_cert_file,
            ssl_keyfile=str(settings.tls_key_file) if settings.tls_key_file is not None else None,
        )  # fmt: skip
