"""``perpstrader paper faults``: what goes wrong at a running paper exchange, and changing it."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from typing import Annotated, Any, Final

import typer

from perpstrader.cli.exits import CliError, ExitCode
from perpstrader.cli.options import Config, Json, settings_from
from perpstrader.cli.output import print_json

Action = Annotated[str, typer.Argument(metavar="list|set|clear|now", help="What to do (list).")]
Faults = Annotated[list[str] | None, typer.Argument(metavar="FAULT...", help="KIND:CLASS=RATE@AMOUNT.")]
Url = Annotated[str | None, typer.Option("--url", metavar="URL", help="The exchange (this machine, paper.port).")]
_TIMEOUT_S: Final = 15.0
_USAGE: Final = "write `perpstrader paper faults`, `… faults set FAULT...`, `… faults clear` or `… faults now FAULT`"


def faults(
    action: Action = "list", chosen: Faults = None, url: Url = None, as_json: Json = False, config: Config = None
) -> None:
    """What goes wrong at a running paper exchange, how often it did, and changing it (--fault-control opens the door).

    `set` replaces all faults, `clear` ends them, `now` lets one that befalls the venue itself happen at once
    (stop_canceled, agent_pruned, post_only, clock_skew, deleveraged).
    """
    given = chosen or []
    if (action, bool(given)) not in (("list", False), ("set", True), ("clear", False), ("now", True)):
        raise CliError(_USAGE, ExitCode.USAGE)
    if action == "now" and len(given) > 1:
        raise CliError("one fault at a time happens now", ExitCode.USAGE)
    base = url or f"http://127.0.0.1:{settings_from(config, None).paper.port}"
    orders: dict[str, dict[str, Any] | None] = {
        "list": None, "set": {"rules": given}, "clear": {"rules": []}, "now": {"now": "".join(given)},
    }  # fmt: skip
    answer = _ask(f"{base.rstrip('/')}/paper/faults", orders[action])
    if as_json:
        print_json(answer)
        return
    print("\n".join(answer["rules"]) or "Nothing goes wrong on purpose.")
    if answer["landed"]:
        print("so far: " + ", ".join(f"{kind} {count}" for kind, count in answer["landed"].items()))
    if "happened" in answer:
        print("it happened" if answer["happened"] else "there was nothing that it could happen to")


def _ask(url: str, order: dict[str, Any] | None) -> Any:
    body = None if order is None else json.dumps(order).encode()
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_TIMEOUT_S) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        code = ExitCode.USAGE if error.code == http.client.UNPROCESSABLE_ENTITY else ExitCode.FAILED
        raise CliError(f"the paper exchange says: {_sentence(error)}", code) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = getattr(error, "reason", None) or error
        raise CliError(f"the paper exchange at {url} cannot be reached: {why}", ExitCode.UNREACHABLE) from error


def _sentence(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read())["error"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {error.code}"
