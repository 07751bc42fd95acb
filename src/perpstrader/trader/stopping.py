"""The stop of the program by its stated policy (S24): carried out within a bound, and told as it came out."""

from __future__ import annotations

import asyncio
from typing import Final, Literal

import msgspec

from perpstrader.domain import Protection, Purpose
from perpstrader.domain.wording import plural
from perpstrader.execution import Execution, FlattenReport

Policy = Literal["keep", "flatten"]
_LOOK_AGAIN_S: Final = 0.2


class StopReport(msgspec.Struct, frozen=True, kw_only=True):
    """``done`` when the policy was carried out, as far as the venue has shown it; ``text`` is for the record."""

    policy: Policy
    done: bool
    text: str
    flatten: FlattenReport | None = None


async def carry_out(execution: Execution, policy: Policy, within_ms: int) -> StopReport:
    """Take back entries; then see every position under its stop (``keep``), or close all (``flatten``).

    Returns after ``within_ms`` at the latest, with what is not done by then.
    """
    entries = len(execution.desk.orders.live(purpose=Purpose.ENTRY))
    report: FlattenReport | None = None
    late = False
    try:
        async with asyncio.timeout(within_ms / 1000):
            await execution.entries.cancel_all("the trader stops")
            if policy == "flatten":
                report = await execution.flatten("stop policy: flatten")
            else:
                await _protect_all(execution)
    except TimeoutError:
        late = True
    left = execution.desk.orders.live(purpose=Purpose.ENTRY)
    wrong = [f"{plural(len(left), 'entry', 'entries')} may still be live at the venue"] if left else []
    if policy == "keep":
        bare = _bare(execution)
        wrong += [f"no stop is known to stand for {', '.join(bare)}"] if bare else []
        kept = len(execution.desk.positions.holdings) - len(bare)
        did = f"{plural(kept, 'position')} kept under {'its stop' if kept == 1 else 'their stops'}"
    elif report is not None and report.verified_flat:
        did = "all positions are closed, as the venue shows"
    else:
        remaining = report.remaining if report is not None else tuple(execution.desk.positions.holdings)
        did = f"not shown to be flat: {', '.join(remaining) or 'the venue could not be read'}"
        wrong += list(report.failed) if report is not None else []
        late = late or report is None
    if late:
        wrong.append(f"it took longer than the {within_ms / 1000:g} s of trader.stop_deadline_ms")
    is_done = not wrong and (policy == "keep" or (report is not None and report.verified_flat))
    text = f"stop by policy {policy}: {entries - len(left)} entries taken back; " + "; ".join([did, *wrong])
    return StopReport(policy=policy, done=is_done, text=text, flatten=report)


async def _protect_all(execution: Execution) -> None:
    """Until each position has a stop that the venue lists; whoever is at it already is waited for."""
    while bare := _bare(execution):
        for symbol in bare:
            await execution.protector.ensure(symbol)
        if _bare(execution):
            await execution.desk.clock.sleep(_LOOK_AGAIN_S)


def _bare(execution: Execution) -> list[str]:
    """The positions that are ours to protect and have no confirmed stop."""
    holdings = execution.desk.positions.holdings
    return [symbol for symbol in holdings if execution.protector.status(symbol) not in _FINE]


_FINE: Final = (Protection.CONFIRMED, Protection.EXEMPT)
