"""Flatten: whatever else is broken, positions are closed, verified at the venue, and each one's fate is told (S05)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from perpstrader.domain import PerpsTraderError
from perpstrader.execution.account import AccountWatch
from perpstrader.execution.desk import Desk
from perpstrader.execution.entry import EntryDesk
from perpstrader.execution.exits import ExitDesk, ExitReport


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
    desk: Desk, entries: EntryDesk, exits: ExitDesk, account: AccountWatch, reason: str, symbols: Sequence[str] | None
) -> FlattenReport:
    """Close ``symbols`` (all, when ``None``) at once, while entries are taken back; stops go only after their position
    is flat.
    """
    desk.say("flatten", "", reason, grave=True)
    wanted = list(desk.positions.holdings) if symbols is None else [s for s in symbols if s in desk.positions.holdings]
    cancels = desk.pool.spawn("flatten-entries", entries.cancel_all(reason))
    results = await asyncio.gather(*(exits.close(symbol, reason) for symbol in wanted), return_exceptions=True)
    reports, failed = [], []
    for symbol, result in zip(wanted, results, strict=True):
        if isinstance(result, ExitReport):
            reports.append(result)
        elif isinstance(result, PerpsTraderError):
            failed.append(f"{symbol}: {result}")
        else:
            failed.append(f"{symbol}: {type(result).__name__}")
    canceled = await cancels if cancels is not None else 0
    late = [s for s in desk.positions.holdings if symbols is None or s in symbols]
    reports += [await exits.close(symbol, f"{reason} (filled meanwhile)") for symbol in late]
    state = await account.try_refresh()
    remaining = (
        tuple(s for s in state.positions if symbols is None or s in symbols) if state is not None else tuple(wanted)
    )
    return FlattenReport(
        verified_flat=state is not None and not remaining, positions=tuple(reports), entries_canceled=canceled,
        failed=tuple(failed), remaining=remaining,
    )  # fmt: skip
