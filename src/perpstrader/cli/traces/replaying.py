"""``perpstrader traces replay``: a recorded decision through today's program and settings."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from perpstrader.cli.options import Config, DataDir, Json, settings_from
from perpstrader.cli.output import print_json, show_table, terminal
from perpstrader.cli.traces.comparing import show_differences, wanted
from perpstrader.cli.traces.record import Replay, record_file, with_store
from perpstrader.domain import Approved, Verdict
from perpstrader.trader.rejudging import Rejudged, rejudge


def replay_one(
    trace_id: Annotated[str, typer.Argument(metavar="ID", help="A decision, as `traces list` prints it.")],
    replay: Replay = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Judge a decision again, on its own evidence and at its own time, with today's rules and limits; what differs.

    Nothing is sent and nothing is recorded. Exit code 0 also where the verdict differs: --json says `same_verdict`.
    """
    settings = settings_from(config, data_dir)
    trace = with_store(record_file(data_dir, config, replay), lambda store: wanted(store, trace_id))
    again = rejudge(trace, settings, version("perpstrader"))
    if as_json:
        print_json({
            "id": again.trace_id, "same_verdict": again.same_verdict, "same_settings": again.same_settings,
            "same_version": again.same_version, "then": _word(again.then), "now": _word(again.now),
            "limits": again.limits, "differences": again.differences,
        })  # fmt: skip
    else:
        _show(again)


def _show(again: Rejudged) -> None:
    then, now = _word(again.then), _word(again.now)
    print(f"then: {then}" if then != now else f"then and now: {then}")
    if then != now:
        print(f"now:  {now}")
    if not again.same_settings:
        print("the settings are others than then; the limits of rules that differ follow")
    if not again.same_version:
        print("the program is another version than then")
    rows = [(row.rule, row.then, row.now, row.unit) for row in again.limits]
    if rows or not again.same_settings:
        none = "No limit of a rule that judged this decision differs."
        show_table(terminal(), "Limits that differ", ("rule", "then", "now", "unit"), rows, none)
    show_differences(again.differences, ("then", "now"), "The judgements are the same in every number.")


def _word(verdict: Verdict) -> str:
    """The verdict in a line."""
    if isinstance(verdict, Approved):
        return f"approved, {verdict.size} {verdict.signal.symbol}"
    return "refused, " + "; ".join(refusal.sentence() for refusal in verdict.refusals)
