"""``perpstrader doctor``: is everything ready to trade?"""

from __future__ import annotations

import asyncio
from pathlib import Path

import typer

from perpstrader.cli.control import find
from perpstrader.cli.exits import CliError, ExitCode
from perpstrader.cli.options import Config, DataDir, Json, settings_from
from perpstrader.cli.output import print_json, show_table, terminal
from perpstrader.console.server import open_listener
from perpstrader.domain import PerpsTraderError
from perpstrader.domain.wording import plural
from perpstrader.runtime import SystemClock
from perpstrader.runtime.http import HttpTransport
from perpstrader.settings import Settings, SettingsError
from perpstrader.trader.app import existing_identity
from perpstrader.trader.doctor import (
    Check,
    Found,
    Grade,
    Patient,
    Row,
    examine,
    failed,
    fine,
    local_checks,
    poor,
    skipped,
    venue_checks,
)

app = typer.Typer(add_completion=False)
_COLUMNS = ("grade", "check", "what was found, and what to do")


@app.command()
def doctor(as_json: Json = False, data_dir: DataDir = None, config: Config = None) -> None:
    """Check install, settings, key, account, venue and disk without sending anything; exit code 1 if one fails."""
    rows = asyncio.run(examination(data_dir, config))
    bad = sum(row.grade is Grade.FAIL for row in rows)
    if as_json:
        print_json({"ok": not bad, "checks": rows})
    else:
        shown = [(row.grade.value, row.check, row.text + (f"; {row.remedy}" if row.remedy else "")) for row in rows]
        show_table(terminal(), "Doctor", _COLUMNS, shown, "")
        print(f"{plural(bad, 'check')} failed" if bad else "ready")
    if bad:
        raise typer.Exit(ExitCode.FAILED)


async def examination(data_dir: Path | None, config: Path | None) -> tuple[Row, ...]:
    """Every check in its order; settings that cannot be used are the only row that is not followed by others."""
    try:
        settings = settings_from(config, data_dir)
    except SettingsError as error:
        bad = failed("; ".join(error.problems), "correct them; nothing else was asked")
        return await examine([Check(name="settings", look=lambda: bad)])
    except (PerpsTraderError, OSError) as error:
        bad = failed(str(error), "nothing else was asked")
        return await examine([Check(name="settings", look=lambda: bad)])
    local = [*local_checks(settings), Check(name="trader", look=lambda: running(settings))]
    url = settings.venue.url
    if url is None:
        why = "the paper exchange is inside the trader's process, with this clock and funds of its own"
        return await examine([*local, *venue_checks(None, why)])
    transport = HttpTransport(url, connect_timeout_s=settings.client.connect_timeout_ms / 1000)
    try:
        patient, why = _patient(settings, transport)
        return await examine([*local, *venue_checks(patient, why)])
    finally:
        await transport.close()


def _patient(settings: Settings, transport: HttpTransport) -> tuple[Patient | None, str]:
    """The account to ask about, or why there is none yet."""
    try:
        identity = existing_identity(settings)
        if identity is None:
            return None, "the first start makes the paper account"
        return Patient(settings, transport, SystemClock(), identity), ""
    except (PerpsTraderError, OSError) as error:
        return None, f"the key cannot be used: {error}"


def running(settings: Settings) -> Found:
    """Whether a trader runs with this data directory, and whether it may trade."""
    try:
        control = find(settings.data_dir)
    except CliError as error:
        return poor(str(error), "look again in a moment, or start it with its console")
    if control is None:
        if settings.console.enabled:
            try:
                open_listener(settings.console).close()
            except PerpsTraderError as error:
                return failed(f"none runs, and a start would fail: {error}", "")
        return skipped("none runs with this data directory")
    status = control.get("/api/status", timeout_s=5.0)
    text = f"it runs on {status['network']} with {plural(len(status['positions']), 'position')}"
    if status["may_trade"]:
        return fine(f"{text} and may trade")
    return poor(f"{text} and opens nothing: {status['why_not']}", "see `perpstrader status`")
