"""``simulate`` for a person: a sentence, two tables, and what broke; for a program one line."""

from __future__ import annotations

import json

import pytest
from tests.unit.cli.support import run_cli

from perpstrader.cli import simulate
from perpstrader.simulate.campaign import CampaignOutcome

LINE = {
    "seeds": 2, "violations": 1, "faults": {"bad_gateway": 6, "too_many": 1}, "evaluated": {"S01": 15, "S20": 55},
    "orders": 203, "virtual_seconds": 5_400,
}  # fmt: skip
FAILURE = "seed 8: S20: no stop; replay it: perpstrader simulate --seeds 1 --start 8"


def test_a_campaign_is_told_in_words_and_its_failures_fail(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = CampaignOutcome(line=LINE, failures=(FAILURE,), seeds=())
    monkeypatch.setattr(simulate, "campaign", lambda **asked: outcome)
    code, out, _ = run_cli(capsys, "simulate", "--seeds", "2", "--start", "7")
    assert code == 1
    assert out.splitlines() == [
        "2 worlds (seeds 7 to 8): 1.5 h of virtual time, 203 orders, 1 violation",
        "fault\ttimes", "bad gateway\t6", "too many\t1", "invariant\tevaluated", "S01\t15", "S20\t55", f"! {FAILURE}",
    ]  # fmt: skip
    code, out, err = run_cli(capsys, "simulate", "--seeds", "2", "--json")
    assert (code, json.loads(out), err) == (1, LINE, f"{FAILURE}\n")
