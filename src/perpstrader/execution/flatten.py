"""Flatten: whatever else is broken, positions are closed, verified at the venue, and each one's fate is told (S05)."""

from __future__ import annotations

import asyncio
import contextlib
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
_LEAST_S: Final = 2.0
_TELL_EVERY_S: Final = 5.0
_ASK_AGAIN_S: Final = 1.0


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

    Returns when all is done, or after a minute with what is not, however long the venue is away; it says every few
    seconds what is still open, and exits that have not filled by the end go on.
    """
    desk.say("flatten", "", reason, grave=True)
    patience = _Patience(desk)
    cancels = desk.pool.spawn("flatten-entries", entries.cancel_all(reason))
    reports, failed = await _close(desk, [s for s in symbols if s in desk.positions.holdings], exits, reason, patience)
    canceled = 0
    if cancels is not None:
        await asyncio.wait([cancels], timeout=patience.left_s)
        if cancels.done() and not cancels.cancelled() and cancels.exception() is None:
            canceled = cancels.result()
        else:
            failed.append("entries: not all of them are shown to be cancelled")
    state = await _read(desk, account, patience)
    _take_in_unknown(desk, state, symbols)
    late = [s for s in symbols if s in desk.positions.holdings]
    if late and state is not None:
        more, failed_late = await _close(desk, late, exits, f"{reason} (found at the end)", patience)
        reports, failed = reports + more, failed + [text for text in failed_late if text not in failed]
        state = await _read(desk, account, patience)
    remaining = tuple(s for s in symbols if s in (desk.positions.holdings if state is None else state.positions))
    if state is None:
        failed.append("the venue could not be asked what is left; its answer is asked for again by the comparison")
    return FlattenReport(
        verified_flat=state is not None and not remaining, positions=tuple(reports), entries_canceled=canceled,
        failed=tuple(failed), remaining=remaining,
    )  # fmt: skip


class _Patience:
    """How long whoever waits for a flatten has to wait, all its steps together."""

    def __init__(self, desk: Desk) -> None:
        self._clock = desk.clock
        self._end_ns = desk.clock.monotonic_ns() + int(_PATIENCE_S * 1e9)

    @property
    def left_s(self) -> float:
        """What is left of it; a step that begins late gets a moment all the same."""
        return max(_LEAST_S, (self._end_ns - self._clock.monotonic_ns()) / 1e9)


async def _close(
    desk: Desk, symbols: list[str], exits: ExitDesk, reason: str, patience: _Patience
) -> tuple[list[ExitReport], list[str]]:
    """Close all of them side by side; what fails or takes too long for one holds up no other."""
    running = {symbol: desk.pool.spawn(f"flatten-{symbol}", exits.close(symbol, reason)) for symbol in symbols}
    await _wait(desk, {symbol: task for symbol, task in running.items() if task is not None}, patience)
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


async def _wait(desk: Desk, running: dict[str, asyncio.Task[ExitReport]], patience: _Patience) -> None:
    """Until all are closed or nobody waits any longer; what is still open is said every few seconds."""
    left_s = patience.left_s
    while running and left_s > 0:
        await asyncio.wait(running.values(), timeout=min(_TELL_EVERY_S, left_s))
        left_s -= _TELL_EVERY_S
        still = [symbol for symbol, task in running.items() if not task.done()]
        if not still:
            return
        desk.say("flatten-goes-on", "", f"{len(still)} of {len(running)} not closed yet: {', '.join(still)}")


async def _read(desk: Desk, account: AccountWatch, patience: _Patience) -> AccountState | None:
    """The account as the venue shows it, asked for until it is there; ``None`` where it does not answer in time."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(patience.left_s):
            while (state := await account.try_refresh()) is None:
                await desk.clock.sleep(_ASK_AGAIN_S)
            return state
    return None


def _take_in_unknown(desk: Desk, state: AccountState | None, symbols: Sequence[str]) -> None:
    """Who flattens means what the venue holds: a position that our book does not have is closed too."""
    for symbol, position in state.positions.items() if state is not None else ():
        if symbol in symbols and symbol not in desk.positions.holdings:
            desk.positions.overrule(
                symbol, position.size, position.entry_price, owner=FOREIGN, now_ms=desk.venue_clock.now_ms()
            )
