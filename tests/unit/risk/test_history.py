"""The readiness of a market's data: bars enough, without a gap, new, and a market that trades (S30)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from tests.unit.risk.risk_samples import NOW, D, approved, judged, market, reasons

from perpstrader.domain import BarHistory, Reason, Verdict

MINUTE = 60_000


def _with(**changes: Any) -> Verdict:
    of_limits = {name: changes.pop(name) for name in ("min_history_bars", "max_bar_age_ratio") if name in changes}
    given: dict[str, Any] = {
        "unbroken": 300, "bar_ms": MINUTE, "newest_close_ms": NOW - 1, "volume": D(5), **changes,
    }  # fmt: skip
    return judged(prices=market(bars=BarHistory(**given)), **of_limits)


def test_S30_an_entry_needs_twenty_bars_without_a_gap() -> None:
    approved(_with(unbroken=20))
    assert reasons(_with(unbroken=19)) == [Reason.NOT_ENOUGH_HISTORY]
    assert reasons(_with(unbroken=0, newest_close_ms=0)) == [Reason.NOT_ENOUGH_HISTORY]
    approved(_with(unbroken=5, min_history_bars=5))


def test_S30_an_entry_needs_a_newest_bar_that_is_new() -> None:
    approved(_with(newest_close_ms=NOW - 3 * MINUTE - 5_000))
    assert reasons(_with(newest_close_ms=NOW - 3 * MINUTE - 5_001)) == [Reason.STALE_BARS]
    assert reasons(_with(newest_close_ms=NOW - 3 * MINUTE, max_bar_age_ratio=D(1))) == [Reason.STALE_BARS]


@pytest.mark.parametrize(("volume", "refused"), [(D(0), True), (D("0.00001"), False), (None, False)])
def test_S30_nothing_is_entered_in_a_market_that_stands_still(volume: Decimal | None, refused: bool) -> None:
    assert reasons(_with(volume=volume)) == ([Reason.MARKET_HALTED] if refused else [])


def test_who_hands_in_no_bars_is_told_that_they_were_not_judged() -> None:
    verdict = approved(judged(prices=market()))
    assert any("NOT_ENOUGH_HISTORY not judged" in warning for warning in verdict.warnings)
