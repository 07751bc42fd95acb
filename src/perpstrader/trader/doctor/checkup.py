"""The examination: whatever a check does, raises or never ends with, it becomes one row, and the next one is made."""

from __future__ import annotations

import asyncio
import enum
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from perpstrader.domain import PerpsTraderError
from perpstrader.runtime import DetachedExecutor, Executor
from perpstrader.traces.redaction import redact_text

DEADLINE_S: Final = 15.0
_TEXT: Final = 400


class Grade(enum.StrEnum):
    """How it stands: ``warn`` can trade and should be looked at, ``fail`` must be mended, ``skipped`` was not asked."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a check found, in a sentence, and what to do about it where there is something to do."""

    grade: Grade
    text: str
    remedy: str = ""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the result."""

    check: str
    grade: Grade
    text: str
    remedy: str = ""


Look = Callable[[], Found | Awaitable[Found]]


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One question; a ``look`` that blocks runs in a thread that can be left behind."""

    name: str
    look: Look


def fine(text: str) -> Found:
    """All is well."""
    return Found(grade=Grade.OK, text=text)


def poor(text: str, remedy: str) -> Found:
    """It can trade, and should be looked at."""
    return Found(grade=Grade.WARN, text=text, remedy=remedy)


def failed(text: str, remedy: str) -> Found:
    """It must be mended first."""
    return Found(grade=Grade.FAIL, text=text, remedy=remedy)


def skipped(why: str) -> Found:
    """There is nothing to ask, or nobody."""
    return Found(grade=Grade.SKIPPED, text=why)


async def examine(
    checks: Sequence[Check], *, deadline_s: float = DEADLINE_S,
    threads: Callable[[str], Executor] = DetachedExecutor,
) -> tuple[Row, ...]:  # fmt: skip
    """A row for each check, in their order; raises nothing for what a check does, and ends with the last deadline."""
    return tuple([await _row(check, deadline_s, threads) for check in checks])


async def _row(check: Check, deadline_s: float, threads: Callable[[str], Executor]) -> Row:
    try:
        found = await _ask(check.look, deadline_s, threads)
    except TimeoutError:
        found = failed(f"no answer within {deadline_s:g} s", "see what it waits for, then ask again")
    except PerpsTraderError as error:
        found = failed(_words(error), "")
    except (Exception, SystemExit) as error:
        found = failed(f"the check itself failed: {type(error).__name__}: {_words(error)}", "please report this")
    text, remedy = (" ".join(redact_text(part).split())[:_TEXT] for part in (found.text, found.remedy))
    return Row(check=check.name, grade=found.grade, text=text, remedy=remedy)


async def _ask(look: Look, deadline_s: float, threads: Callable[[str], Executor]) -> Found:
    async with asyncio.timeout(deadline_s):
        if inspect.iscoroutinefunction(look):
            found = await look()
        else:
            thread = threads("doctor")
            try:
                found = await thread.run(look, timeout_s=deadline_s)
            finally:
                thread.close()
    if not isinstance(found, Found):
        raise TypeError(f"it gave a {type(found).__name__}")
    return found


def _words(error: BaseException) -> str:
    """The error's own words, even of one that has none to give."""
    try:
        return str(error)
    except Exception:
        return "(no words)"
