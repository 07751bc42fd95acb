"""``perpstrader traces``: the decision record, read beside a running trader or without one."""

from __future__ import annotations

import typer

from perpstrader.cli.traces import (
    analyzing,
    archiving,
    bots,
    comparing,
    exporting,
    keeping,
    looking,
    migrating,
    numbers,
    replaying,
)

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="The decision record: every trade and every refusal."
)
app.command("list")(looking.list_newest)
app.command("show")(looking.show)
app.command("explain")(looking.explain_one)
app.command("stats")(numbers.stats)
app.command("diff")(comparing.diff_two)
app.command("replay")(replaying.replay_one)
app.command("tail")(comparing.tail_record)
app.command("bots")(bots.list_bots)
app.command("analyze")(analyzing.analyze)
app.command("export")(exporting.export)
app.command("sql")(exporting.sql)
app.command("verify")(keeping.verify)
app.command("prune")(keeping.prune)
app.command("retrain")(keeping.retrain)
app.command("archive")(archiving.archive)
app.command("restore")(archiving.restore_month)
app.command("migrate")(migrating.migrate_file)
