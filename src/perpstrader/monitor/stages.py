"""The stages of a decision's way to the venue and back, each under a stable name, resolved once."""

from __future__ import annotations

import msgspec

from perpstrader.monitor.monitor import PerformanceMonitor, Timer


class Stages(msgspec.Struct, frozen=True, kw_only=True):
    """One timer a stage; a field's name is the metric's name.

    ======================  =========================================================================================
    ``bar_to_decision``     a closed bar's arrival to the verdict on a signal that it led to
    ``strategy``            one strategy's look at one market; failed: it raised, was late, or answered wrongly
    ``evidence``            reading account and book for an entry; failed: a refusal
    ``risk``                judging an entry
    ``submit``              an approved entry to the venue's answer; failed: the venue did not take it
    ``fill_to_stop``        a position's first uncovered fill to a stop that the venue lists, by the venue's clock
    ``exit``                an exit's begin to its report; failed: it ended without one
    ``reconcile``           one comparison with the venue; failed: the venue could not be read
    ``recovery``            one check of all positions by recovery
    ``state_commit``        one commit of the journal to ``state.db``
    ``trace_store``         one trace or revision until it is acknowledged
    ``info_request``        one request to ``/info``; failed: no answer, or a status other than 200
    ``exchange_request``    one request to ``/exchange``, likewise
    ======================  =========================================================================================
    """

    bar_to_decision: Timer
    strategy: Timer
    evidence: Timer
    risk: Timer
    submit: Timer
    fill_to_stop: Timer
    exit: Timer
    reconcile: Timer
    recovery: Timer
    state_commit: Timer
    trace_store: Timer
    info_request: Timer
    exchange_request: Timer

    @classmethod
    def of(cls, monitor: PerformanceMonitor) -> Stages:
        """The stages of one monitor."""
        return cls(**{name: monitor.timer(name) for name in cls.__struct_fields__})
