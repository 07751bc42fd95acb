"""The breaker against a small model, under any sequence of calls, probes, hands, restarts and time (S42, S43)."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.unit.breakers.support import SPEC, Hands, settings

from perpstrader.breakers.failures import Outcome
from perpstrader.breakers.machine import Breaker, Call
from perpstrader.domain.breakers import BreakerState

TO_CLOSE = 3


class BreakerMachine(RuleBasedStateMachine):
    """What may never happen, whatever is done: an early admission, a second probe, a closing without three in a row."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Hands()
        self.rng = Random(1)
        self.breaker = self._make()
        self.calls: list[Call] = []
        self.probes: list[Call] = []
        self.old_probes: list[Call] = []
        self.opened_ns: int | None = None
        self.latched = False
        self.good = 0

    def _make(self) -> Breaker:
        return Breaker(SPEC, settings(), self.clock, self.rng)

    @rule(ms=st.integers(0, 90_000))
    def time_passes(self, ms: int) -> None:
        self.clock.pass_ms(ms)

    @rule()
    def somebody_asks(self) -> None:
        before, call = self.breaker.state, self.breaker.admit()
        if call is None:
            return
        assert not self.latched
        if call.is_probe:
            assert self.opened_ns is not None
            assert self.clock.ns - self.opened_ns >= SPEC.period_ms * 1_000_000, "admitted before the period"
            assert not self.probes, "two probes at a time"
            if before is BreakerState.OPEN:
                self.good = 0
            self.probes.append(call)
        else:
            assert before is BreakerState.CLOSED
            self.calls.append(call)

    @rule()
    def somebody_is_observed(self) -> None:
        self.calls.append(self.breaker.observe())

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), outcome=st.sampled_from(Outcome))
    def a_call_ends(self, data: Any, outcome: Outcome) -> None:
        call = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        before = self.breaker.state
        self.breaker.settle(call, outcome, "x")
        if before is not BreakerState.CLOSED:
            assert self.breaker.state is before, "a call that is no probe changed an open breaker"
        elif self.breaker.state is BreakerState.OPEN:
            assert outcome is Outcome.FAILED
            self.opened_ns = self.clock.ns

    @precondition(lambda self: self.probes)
    @rule(outcome=st.sampled_from(Outcome))
    def the_probe_ends(self, outcome: Outcome) -> None:
        self.breaker.settle(self.probes.pop(), outcome, "x")
        if outcome is Outcome.FAILED:
            assert self.breaker.state is BreakerState.OPEN
            self.opened_ns, self.good = self.clock.ns, 0
        elif outcome is Outcome.SUCCEEDED:
            self.good += 1
            closed = self.breaker.state is BreakerState.CLOSED
            assert closed == (self.good == TO_CLOSE)
        else:
            assert self.breaker.state is BreakerState.HALF_OPEN

    @precondition(lambda self: self.old_probes)
    @rule(outcome=st.sampled_from(Outcome))
    def a_probe_from_another_time_ends(self, outcome: Outcome) -> None:
        before = self.breaker.state
        self.breaker.settle(self.old_probes.pop(), outcome, "x")
        assert self.breaker.state is before

    @rule()
    def an_operator_opens(self) -> None:
        self.breaker.latch("ann", "why")
        self._forget_probes()
        self.latched = True

    @rule()
    def an_operator_resets(self) -> None:
        self.breaker.close("ann", "why")
        self._forget_probes()
        self.latched = False

    @rule()
    def the_process_is_another_one(self) -> None:
        row = self.breaker.row()
        self.calls.clear()
        self.probes.clear()
        self.old_probes.clear()
        self.breaker = self._make()
        self.breaker.restore(row)
        self.good = 0

    def _forget_probes(self) -> None:
        self.old_probes += self.probes
        self.probes.clear()

    @invariant()
    def what_is_latched_stays_so(self) -> None:
        assert self.latched == (self.breaker.state is BreakerState.LATCHED)

    @invariant()
    def the_numbers_agree(self) -> None:
        status = self.breaker.status()
        assert status.failures <= status.volume
        assert status.probing == len(self.probes) <= 1
        assert status.metrics.total == status.metrics.succeeded + status.metrics.failed + status.metrics.rejected


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = hypothesis_settings(max_examples=120, stateful_step_count=60, deadline=None)


def test_S42_the_model_finds_a_breaker_that_lets_everybody_through_half_open(monkeypatch: Any) -> None:
    """Mutant: no bound on probes."""
    original = Breaker.admit

    def unbounded(self: Breaker) -> Call | None:
        self._probing = 0
        return original(self)

    monkeypatch.setattr(Breaker, "admit", unbounded)
    machine = BreakerMachine()
    for _ in range(5):
        machine.breaker.settle(machine.breaker.observe(), Outcome.FAILED, "x")
    machine.opened_ns = machine.clock.ns
    machine.clock.pass_ms(80_000)
    machine.somebody_asks()
    with pytest.raises(AssertionError, match="two probes"):
        machine.somebody_asks()
