"""``perpstrader config``: the settings in force, and whether they can be used."""

from __future__ import annotations

import dataclasses

import typer

from perpstrader.cli.options import Config, DataDir, Json, settings_from
from perpstrader.cli.output import print_json, show_table, terminal
from perpstrader.settings.catalog import table

app = typer.Typer(add_completion=False, no_args_is_help=True, help="The settings in force, and where each came from.")


@app.command()
def show(as_json: Json = False, data_dir: DataDir = None, config: Config = None) -> None:
    """Every setting with its value, where it came from, and what it means; a secret shows only that it is set."""
    settings = settings_from(config, data_dir)
    rows = table(settings)
    if as_json:
        print_json({row.key: dataclasses.asdict(row) for row in rows})
        return
    console = terminal()
    console.print(f"settings file: {settings.config_file or 'none'}; data directory: {settings.data_dir}")
    cells = [(row.key, f"{row.value} {row.unit}".strip(), row.origin, row.meaning) for row in rows]
    show_table(console, "Settings", ("setting", "value", "from", "meaning"), cells, "")


@app.command()
def check(as_json: Json = False, data_dir: DataDir = None, config: Config = None) -> None:
    """Whether the settings can be used: exit code 0, or 2 with a sentence for each that cannot."""
    settings = settings_from(config, data_dir)
    given = sum(settings.origin(key).source != "default" for key in settings.values())
    if as_json:
        print_json({"ok": True, "file": str(settings.config_file or ""), "given": given, "digest": settings.digest})
    else:
        print(
            f"the settings can be used: {given} given, the others at their defaults ({settings.venue.network} trading)"
        )
