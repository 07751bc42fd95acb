"""Each proof of the contract fails where what it proves is broken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.contract.breakers import test_contract as contract
from tests.unit.breakers import test_health as health_checks

from perpstrader.breakers import CircuitBreakers, Outcome, baseline, health, machine
from perpstrader.breakers.machine import Breaker
from perpstrader.domain.breakers import BreakerState


def _forgetful(self: Breaker, state: BreakerState) -> None:
    """Successes are counted over failures, and results of any time count."""
    self.state = state
    self._probing = 0


def _latch_that_ends(self: Breaker, actor: str, reason: str) -> None:
    self._actor, self._reason = actor, reason
    self._trip()


MUTANTS: dict[str, tuple[Any, str, Any, Callable[[], object]]] = {
    "S42 CB-01: the registered period is ignored": (
        machine, "open_period_ms", lambda *args, **more: 1_000,
        lambda: contract.test_S42_CB_01_nothing_is_admitted_before_the_registered_period(CircuitBreakers),
    ),
    "S42 CB-04: successes survive failures": (
        Breaker, "_enter", _forgetful,
        lambda: contract.test_S42_CB_04_closing_takes_consecutive_successes_after_half_opening(CircuitBreakers),
    ),
    "S43 CB-05: a manual opening ends by itself": (
        Breaker, "latch", _latch_that_ends,
        lambda: contract.test_S43_CB_05_what_an_operator_opened_only_an_operator_closes(CircuitBreakers),
    ),
    "S44 CB-08: every exception counts": (
        baseline, "outcome_of", lambda error, rows: Outcome.SUCCEEDED if error is None else Outcome.FAILED,
        lambda: contract.test_S44_CB_08_answers_mistakes_and_cancellation_trip_nothing(CircuitBreakers, ValueError()),
    ),
    "S44 CB-07: failures are never forgotten": (
        Breaker, "_expire", lambda self: None,
        lambda: contract.test_S44_CB_07_failures_older_than_the_window_are_forgotten_on_reading_and_on_writing(
            CircuitBreakers
        ),
    ),
    "CB-21: nothing is restored": (
        CircuitBreakers, "restore", lambda self, rows: None,
        lambda: contract.test_CB_21_a_restart_keeps_the_latch_the_period_and_the_failed_probes(CircuitBreakers),
    ),
    "S46 CB-23: the last status wins": (
        health, "worst", lambda statuses: list(statuses)[-1],
        lambda: health_checks.test_S46_CB_23_severity_is_the_maximum_in_whatever_order(-1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_the_contract_fails_under_each_mutant(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    owner, attribute, mutant, proof = MUTANTS[name]
    proof()
    monkeypatch.setattr(owner, attribute, mutant)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        proof()
