"""The proofs of shipping can fail: each is run on a shipper that does one thing wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tests.unit.traces import test_shipper as proofs

from perpstrader.traces import outbox
from perpstrader.traces.outbox import Origin, Parcel
from perpstrader.traces.postgres import BotName, Delivery, shipper
from perpstrader.traces.store import TraceStore

Proof = Callable[[Path], None]
Mutant = Callable[[pytest.MonkeyPatch], None]


def _outage(folder: Path) -> None:
    proofs.test_a_day_without_the_server_loses_nothing_keeps_the_order_and_is_caught_up(
        TraceStore.open, folder, lambda name, value: None
    )


def _crash(folder: Path) -> None:
    proofs.test_a_crash_between_the_servers_commit_and_ours_sends_nothing_twice(TraceStore.open, folder)


def _pruning(folder: Path) -> None:
    proofs.test_S64_age_prunes_nothing_that_waits_but_the_bound_of_size_does_and_says_so(TraceStore.open, folder)


def _later(folder: Path) -> None:
    proofs.test_later_changes_are_shipped_too(TraceStore.open, folder)


def holds_nothing(patch: pytest.MonkeyPatch) -> None:
    """Pruning does not ask what was shipped."""
    patch.setattr(outbox, "shipped", lambda connection: None)


def trusts_its_own_memory(patch: pytest.MonkeyPatch) -> None:
    """The server's last entry is not asked for."""

    async def connect(self: Any, bot: BotName, origin: Origin, now_ms: int) -> int:
        self._reach()
        return origin.shipped

    patch.setattr(proofs.StandIn, "connect", connect)


def moves_on_before_it_arrived(patch: pytest.MonkeyPatch) -> None:
    """What the server did not take counts as shipped."""
    take = proofs.StandIn.take

    async def careless(self: Any, parcel: Parcel, now_ms: int) -> Delivery:
        try:
            return await take(self, parcel, now_ms)
        except shipper.PerpsTraderError:
            return Delivery(stored=0)

    patch.setattr(proofs.StandIn, "take", careless)


def waits_without_end(patch: pytest.MonkeyPatch) -> None:
    """The pauses double without a bound."""

    class Late(Random):
        def uniform(self, a: float, b: float) -> float:
            return b * 40

    patch.setattr(proofs, "Random", Late)


def ships_the_newest_first(patch: pytest.MonkeyPatch) -> None:
    """A parcel is sent from its end."""
    take = proofs.StandIn.take

    async def backwards(self: Any, parcel: Parcel, now_ms: int) -> Delivery:
        for entry in reversed(parcel.entries):
            self.arrived.append(entry.entry)
            self.entries[entry.entry] = entry
        return await take(self, parcel, now_ms)

    patch.setattr(proofs.StandIn, "take", backwards)


def forgets_marks(patch: pytest.MonkeyPatch) -> None:
    """Nothing writes down what was analysed."""
    kept = tuple(statement for statement in outbox._BEGIN if "ship_mark" not in statement)
    patch.setattr(outbox, "_BEGIN", kept)


MUTANTS: Mapping[str, tuple[Mutant, Proof]] = {
    "holds nothing": (holds_nothing, _pruning),
    "trusts its own memory": (trusts_its_own_memory, _crash),
    "moves on before it arrived": (moves_on_before_it_arrived, _outage),
    "waits without end": (waits_without_end, _outage),
    "ships the newest first": (ships_the_newest_first, _outage),
    "forgets marks": (forgets_marks, _later),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_proof_of_shipping_fails_on_its_mutant(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate, proof = MUTANTS[name]
    mutate(monkeypatch)
    with pytest.raises((AssertionError, BaseExceptionGroup)):
        proof(tmp_path)
