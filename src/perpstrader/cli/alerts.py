"""``perpstrader alerts``: whether a person would be reached."""

from __future__ import annotations

import asyncio

import typer

from perpstrader.alerts import Alert, Change, Channel, Incident, Severity, deliver, make_channels
from perpstrader.cli import logs
from perpstrader.cli.exits import CliError
from perpstrader.cli.options import Config, DataDir, Json, settings_from
from perpstrader.cli.output import print_json
from perpstrader.runtime import DetachedExecutor, SystemClock
from perpstrader.trader.alarms import write_log

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Whether a person would be reached.")


@app.callback()
def _alerts() -> None:
    """Whether a person would be reached."""


@app.command("test")
def send_test(as_json: Json = False, data_dir: DataDir = None, config: Config = None) -> None:
    """Send one alert by each channel of the settings, and say what became of it; exit code 1 if one failed."""
    settings = settings_from(config, data_dir)
    log = logs.configure(settings.data_dir)
    channels = make_channels(settings.alerts, write_log, DetachedExecutor)
    errors = asyncio.run(_send(channels, settings.alerts.timeout_ms / 1000))
    if as_json:
        print_json({"channels": [{"name": name, "ok": not error, "error": error} for name, error in errors.items()]})
    else:
        for name, error in errors.items():
            print(f"{name}: {error or 'delivered'}{f' ({log})' if name == 'log' else ''}")
        if not settings.alerts.urls:
            print("no service is configured: set alerts.urls to be reached elsewhere than on this machine")
    failed = [name for name, error in errors.items() if error]
    if failed:
        raise CliError(f"{len(failed)} of {len(errors)} channels did not deliver: {', '.join(failed)}")


async def _send(channels: tuple[Channel, ...], timeout_s: float) -> dict[str, str]:
    """What each channel's try came to, by name; all at the same time."""
    incident = Incident(
        key="test", severity=Severity.INFO, title="a test alert", time_ms=SystemClock().now_ms(),
        text="perpstrader alerts test sent this; nothing is wrong.",
    )  # fmt: skip
    alert = Alert(change=Change.NEW, incident=incident, since_ms=incident.time_ms)
    try:
        errors = await asyncio.gather(*(deliver(channel, alert, timeout_s) for channel in channels))
    finally:
        for channel in channels:
            channel.close()
    return {channel.name: error for channel, error in zip(channels, errors, strict=True)}
