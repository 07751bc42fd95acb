"""``perpstrader traces archive|restore``: old months to files of their own, and back."""

from __future__ import annotations

from typing import Annotated

import typer

from perpstrader.cli.exits import CliError, ExitCode
from perpstrader.cli.options import Config, DataDir, Json, settings_from
from perpstrader.cli.output import print_json
from perpstrader.cli.progress import progress_bar
from perpstrader.cli.traces.record import DAY_MS, record_file, with_file
from perpstrader.domain.wording import plural


def archive(
    days: Annotated[
        int | None, typer.Option(min=1, help="Months that ended so long before the newest decision; else the setting.")
    ] = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Move whole old months to Parquet files in traces/cold, also those that were brought back; a trader may run.

    Each file is read back before anything leaves the record.
    """
    path = record_file(data_dir, config, None)
    age_days = days or settings_from(config, data_dir).traces.cold_days
    if not age_days:
        raise CliError("how old is a month to be? give --days, or set traces.cold_days", ExitCode.USAGE)
    with progress_bar("archiving", quiet=as_json) as told:
        moved = with_file(
            path, lambda store: store.archive(age_days * DAY_MS, thawed=True, progress=told), read_only=False
        )
    if as_json:
        print_json({"archived": moved, "folder": str(path.parent / "traces" / "cold")})
    elif moved:
        print(f"{', '.join(moved)}: moved to {path.parent / 'traces' / 'cold'}")
    else:
        print(f"no whole month ended {plural(age_days, 'day')} or more before the newest decision")


def restore_month(
    month: Annotated[str, typer.Argument(metavar="MONTH", help="Such as 2025-03; `traces list` names them.")],
    as_json: Json = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Bring an archived month back into the record, and those after it, which the chain needs; a trader may run.

    They stay for seven days of the record, or until `traces archive`.
    """
    path = record_file(data_dir, config, None)
    with progress_bar("bringing back", quiet=as_json) as told:
        back = with_file(path, lambda store: store.restore_month(month, progress=told), read_only=False)
    if as_json:
        print_json({"restored": back})
    else:
        print(f"{', '.join(back)}: in the record again")
