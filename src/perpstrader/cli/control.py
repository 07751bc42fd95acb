"""Reaching a running trader by its control port, or finding that none runs."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

from perpstrader.cli.exits import CliError, ExitCode
from perpstrader.console import RUN_FILE, read_run_file, read_token
from perpstrader.runtime import lock_holder

LOCK_FILE: Final = "lock"
_READ_S: Final = 15.0
COMMAND_S: Final = 180.0
"""An exit escalates until the venue shows it done, which takes a while at worst."""

_CODES: Final = {400: ExitCode.USAGE, 401: ExitCode.UNREACHABLE, 421: ExitCode.UNREACHABLE}


class Control:
    """The control port of one running trader."""

    def __init__(self, url: str, token: str, *, certificate: Path | None = None) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        context = ssl.create_default_context(cafile=certificate) if url.startswith("https") else None
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if context is not None:
            handlers.append(urllib.request.HTTPSHandler(context=context))
        self._opener = urllib.request.build_opener(*handlers)

    def get(self, path: str, *, timeout_s: float = _READ_S) -> Any:
        """What the trader answers to a question."""
        return self._ask(path, None, timeout_s)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """What the trader answers to a command."""
        return self._ask(path, json.dumps(body).encode(), COMMAND_S)

    def _ask(self, path: str, body: bytes | None, timeout_s: float) -> Any:
        request = urllib.request.Request(self._url + path, data=body, headers=self._headers)
        try:
            with self._opener.open(request, timeout=timeout_s) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise CliError(f"the trader says: {_sentence(error)}", _CODES.get(error.code, ExitCode.FAILED)) from error
        except TimeoutError as error:
            raise CliError(
                f"no answer from the trader at {self._url} within {timeout_s:g} s; it may still carry it out: "
                "look with `perpstrader status`", ExitCode.UNREACHABLE,
            ) from error  # fmt: skip
        except (OSError, http.client.HTTPException, ValueError) as error:
            why = getattr(error, "reason", None) or error
            raise CliError(f"the trader at {self._url} cannot be reached: {why}", ExitCode.UNREACHABLE) from error


def _sentence(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read())["error"])
    except (OSError, ValueError, KeyError, TypeError):
        return f"HTTP {error.code}"


def need_trader(control: Control | None, data_dir: Path, what: str) -> Control:
    """The control port, or the sentence that only a running trader can do this (exit code 3)."""
    if control is not None:
        return control
    raise CliError(
        f"no trader runs with {data_dir}, and only a running one can {what}: start it with `perpstrader run`"
        " (after `perpstrader halt`, so that it opens nothing), or do it at the venue", ExitCode.UNREACHABLE,
    )  # fmt: skip


def find(data_dir: Path) -> Control | None:
    """The trader that runs with this data directory, ``None`` when none does.

    Raises ``CliError`` for one that runs without a control port.
    """
    holder = lock_holder(data_dir / LOCK_FILE)
    if holder is None:
        return None
    run = read_run_file(data_dir)
    if run is None or run.pid != holder:
        raise CliError(
            f"a trader runs with {data_dir} (process {holder}) but there is no {RUN_FILE}: it was started without the "
            "console, or is just starting or stopping", ExitCode.UNREACHABLE,
        )  # fmt: skip
    certificate = None
    if run.url.startswith("https"):
        from perpstrader.cli.options import settings_from

        certificate = settings_from(None, data_dir).console.tls_cert_file
    return Control(run.url, read_token(data_dir), certificate=certificate)
