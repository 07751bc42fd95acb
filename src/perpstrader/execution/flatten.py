"""Flatten: whatever else is broken, positions are closed, verified at the venue, and each one's fate is told (S05)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from perpstrader.execution.account import AccountWatch
from perpstrader.execution.desk import Desk
from perpstrader.execution.entry import EntryDesk
from perpstrader.execution.exits import ExitDesk, ExitReport
from perpstrader.execution.positions import FOREIGN
from perpstrader.venue.contract import AccountState

_PATIENCE_S: Final = 60.0


class FlattenReport(msgspec.Struct, frozen=True, kw_only=True):
    """``verified_flat`` only when the venue itself showed no position of those asked for; ``failed`` says what could
    not be done.
    """

    verified_flat: bool
    positions: tuple[ExitReport, ...]
    entries_canceled: int
    failed: tuple[str, ...] = ()
    remaining: tuple[str, ...] = ()


async def flatten(
    desk: Desk, entries: EntryDesk, exits: ExitDesk, account: AccountWatch, reason: str, symbols: Sequence[str]
) -> FlattenReport:
    """Close ``symbols`` at once, while entries are taken back; stops go only after their position is flat.

    Returns when all is done, or after a minute with what is not; exits that have not filled by then go on.
    """
    desk.say("flatten", "", reason, grave=True)
    cancels = desk.pool.spawn("flatten-entries", entries.cancel_all(reason))
    reports, failed = await _close([s for s in symbols if s in desk.positions.holdings], desk, exits, reason)
    canceled = 0
    if cancels is not None:
        await asyncio.wait([cancels], timeout=_PATIENCE_S)
        if cancels.done() and not cancels.cancelled() and cancels.exception() is None:
            canceled = cancels.result()
        else:
            failed.append("entries: not all of them are shown to be cancelled")
    state = await account.try_refresh()
    _take_in_unknown(desk, state, symbols)
    late = [s for s in symbols if s in desk.positions.holdings]
    if late:
        more, failed_late = await _close(late, desk, exits, f"{reason} (found at the end)")
        reports, failed = reports + more, failed + failed_late
        state = await account.try_refresh()
    remaining = tuple(s for s in symbols if s in (desk.positions.holdings if state is None else state.positions))
    return FlattenReport(
        verified_flat=state is not None and not remaining, positions=tuple(reports), entries_canceled=canceled,
        failed=tuple(failed), remaining=remaining,
    )  # fmt: skip


async def _close(symbols: list[str], desk: Desk, exits: ExitDesk, reason: str) -> tuple[list[ExitReport], list[str]]:
    """Close all of them side by side; what fails or takes too long for one holds up no other."""
    running = {symbol: desk.pool.spawn(f"flatten-{symbol}", exits.close(symbol, reason)) for symbol in symbols}
    tasks = [task for task in running.values() if task is not None]
    if tasks:
        await asyncio.wait(tasks, timeout=_PATIENCE_S)
    reports, failed = [], []
    for symbol, task in running.items():
        if task is None:
            failed.append(f"{symbol}: the trader is stopping")
        elif not task.done():
            failed.append(f"{symbol}: not closed within {_PATIENCE_S:.0f} s; the exit goes on")
        elif task.cancelled() or (error := task.exception()) is not None:
            failed.append(f"{symbol}: {'cancelled' if task.cancelled() else error or type(error).__name__}")
        else:
            reports.append(task.result())
    return reports, failed


def _take_in_unknown(desk: Desk, state: AccountState | None, symbols: Sequence[str]) -> None:
    """Who flattens means what the venue holds: a position that our book does not have is closed too."""
    for symbol, position in state.positions.items() if state is not None else ():
        if symbol in symbols and symbol not in desk.positions.holdings:
            desk.positions.overrule(
                symbol, position.size, position.entry_price, owner=FOREIGN, now_ms=desk.venue_clock.now_ms()
            )
