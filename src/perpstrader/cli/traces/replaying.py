"""``perpstrader traces replay``: a recorded decision through today's program and settings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated, Any, TypeVar

import typer

from perpstrader.cli.options import Config, DataDir, Json, settings_from
from perpstrader.cli.output import print_json, show_table, terminal
from perpstrader.cli.traces.comparing import show_differences, wanted
from perpstrader.cli.traces.record import Bot, Replay, StoreAt, record_of, with_store
from perpstrader.domain import Approved, PerpsTraderError, Signal, Verdict
from perpstrader.runtime import SystemClock
from perpstrader.trader.reasking import Reasked, ask_again
from perpstrader.trader.rejudging import Rejudged, rejudge

T = TypeVar("T")


def replay_one(
    trace_id: Annotated[str, typer.Argument(metavar="ID", help="A decision, as `traces list` prints it.")],
    replay: Replay = None,
    store_at: StoreAt = None,
    bot: Bot = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Ask the strategy again, and judge again, on the recorded evidence and at its time, with today's code and limits.

    Nothing is sent and nothing is recorded. Exit code 0 also where the answers differ: --json says `same_verdict` and
    `same_wish`.
    """
    settings = settings_from(config, data_dir)
    trace = with_store(
        record_of(data_dir, config, replay, store_at, bot), lambda store: wanted(store, trace_id)
    )
    asked = _unless_impossible(lambda: asyncio.run(ask_again(trace, settings, SystemClock())))
    again = _unless_impossible(lambda: rejudge(trace, settings, version("perpstrader")))
    if isinstance(again, PerpsTraderError) and isinstance(asked, PerpsTraderError):
        raise again
    if as_json:
        print_json({"id": trace.id, "strategy": _asked_json(asked), **_judged_json(again)})
        return
    if isinstance(asked, PerpsTraderError):
        print(f"the strategy is not asked again: {asked}")
    else:
        _show_asked(asked)
    if isinstance(again, PerpsTraderError):
        print(f"it is not judged again: {again}")
    else:
        _show(again)


def _unless_impossible(work: Callable[[], T]) -> T | PerpsTraderError:
    try:
        return work()
    except PerpsTraderError as error:
        return error


def _asked_json(asked: Reasked | PerpsTraderError) -> dict[str, Any]:
    if isinstance(asked, PerpsTraderError):
        return {"asked": False, "why_not": str(asked)}
    return {
        "asked": True, "name": asked.strategy, "bars": asked.bars, "same_wish": asked.same_wish, "error": asked.error,
        "then": _wish(asked.then), "now": _wish(asked.now), "differences": asked.differences,
    }  # fmt: skip


def _judged_json(again: Rejudged | PerpsTraderError) -> dict[str, Any]:
    if isinstance(again, PerpsTraderError):
        return {"judged": False, "why_not": str(again)}
    return {
        "judged": True, "same_verdict": again.same_verdict, "same_settings": again.same_settings,
        "same_version": again.same_version, "then": _word(again.then), "now": _word(again.now),
        "limits": again.limits, "differences": again.differences,
    }  # fmt: skip


def _show_asked(asked: Reasked) -> None:
    seen = f"{asked.strategy}, shown the same bar and the {asked.bars} before it"
    if asked.error:
        print(f"{seen}, gives no answer now: {asked.error}")
    elif asked.same_wish:
        print(f"{seen}, wants the same: {_wish(asked.now)}")
    else:
        print(f"{seen}, wanted {_wish(asked.then)} and wants {_wish(asked.now)} now")
    show_differences(asked.differences, ("then", "now"), "Its answer is the same in every number.")


def _wish(signal: Signal | None) -> str:
    return f"{signal.action} {signal.symbol} {signal.side}" if signal is not None else "nothing"


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
