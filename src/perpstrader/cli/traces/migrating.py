"""``perpstrader traces migrate``: the record as another version of the program knows it."""

from __future__ import annotations

from typing import Annotated

import typer

from perpstrader.cli.answers import confirm
from perpstrader.cli.control import LOCK_FILE
from perpstrader.cli.exits import CliError, ExitCode
from perpstrader.cli.options import Config, DataDir, Json, Yes
from perpstrader.cli.output import print_json
from perpstrader.cli.traces.record import Replay, record_file
from perpstrader.runtime.lock import lock_holder
from perpstrader.traces import schema
from perpstrader.traces.migrations import LOSES, migrate, version_of


def migrate_file(
    to: Annotated[
        int, typer.Option("--to", min=1, help="The schema version that the other program knows; it says so itself.")
    ] = schema.VERSION,
    replay: Replay = None,
    yes: Yes = False,
    as_json: Json = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Bring the record to a schema version, down for an older program or up again; a copy is made beside it first.

    No trader may run on it. Every decision is kept. Opening the record with this program brings it up by itself.
    """
    path = record_file(data_dir, config, replay)
    holder = lock_holder(path.parent / LOCK_FILE)
    if holder is not None:
        raise CliError(f"process {holder} trades with {path.parent}; stop it first", ExitCode.FAILED)
    before = version_of(path)
    lost = [LOSES[step] for step in range(before, to, -1) if step in LOSES]
    if lost:
        confirm("migrate", f"drops what version {to} cannot keep ({'; '.join(lost)})", yes=yes)
    done = migrate(path, to)
    if as_json:
        print_json(done)
    elif done.copy is None:
        print(f"{path} has version {to} already")
    else:
        print(f"{path} has version {done.after} now, it had {done.before}; as it was it lies in {done.copy}")
