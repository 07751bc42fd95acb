"""The tests of the invariants can fail: each is run against a store with one named fault, and must notice it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest
from tests.contract.traces import test_contract as contract
from tests.unit.traces import test_file as file

from perpstrader.domain import Trace
from perpstrader.traces import TraceError, codec, rows
from perpstrader.traces.baseline import TraceStore

Patch = pytest.MonkeyPatch


def acknowledges_before_it_commits(patch: Patch) -> None:
    def transact(self: TraceStore, work: Callable[[], Any], *, full: bool = False) -> Any:
        if not self._connection.in_transaction:
            self._connection.execute("BEGIN")
        return work()

    patch.setattr(TraceStore, "_transact", transact)


def forgets_the_dead_letter(patch: Patch) -> None:
    patch.setattr(rows, "bury", lambda connection, trace, reason: None)


def trusts_the_quick_encoding(patch: Patch) -> None:
    def encode_plain(trace: Trace) -> codec.Encoded:
        return codec.Encoded(codec._ENCODER.encode(trace), trace)

    patch.setattr(codec, "_encode_plain", encode_plain)


def lets_an_update_rewrite_history(patch: Patch) -> None:
    patch.setattr(rows, "same_decision", lambda one, other: True)


def keeps_quiet_about_a_full_disk(patch: Patch) -> None:
    real = TraceStore._transact

    def transact(self: TraceStore, work: Callable[[], Any], *, full: bool = False) -> Any:
        try:
            return real(self, work, full=full)
        except apsw.FullError:
            return True

    patch.setattr(TraceStore, "_transact", transact)


def never_drops_a_note(patch: Patch) -> None:
    real = rows.put_notes
    patch.setattr(rows, "put_notes", lambda connection, notes, *, keep: real(connection, notes, keep=10**9))


def keep(path: Path) -> None:
    contract.test_S60_what_was_acknowledged_is_read_back_equal_also_after_reopening(TraceStore.open, path)


def one_dead_letter(path: Path) -> None:
    contract.test_S61_one_bad_trace_among_many_costs_one_dead_letter(TraceStore.open, {"symbol": None})


def non_finite(path: Path) -> None:
    contract.test_S63_non_finite_numbers_survive(TraceStore.open)


def no_rewriting(path: Path) -> None:
    contract.test_S63_an_update_cannot_change_what_was_decided_on(TraceStore.open, {"regime": "range"})


def full_disk(path: Path) -> None:
    file.test_S62_a_full_disk_drops_the_trace_says_so_and_recovers(path)


def bounded(path: Path) -> None:
    contract.test_S64_notes_are_replaced_and_bounded(TraceStore.open)


MUTANTS: list[tuple[Callable[[Patch], None], Callable[[Path], None]]] = [
    (acknowledges_before_it_commits, keep),
    (forgets_the_dead_letter, one_dead_letter),
    (trusts_the_quick_encoding, non_finite),
    (lets_an_update_rewrite_history, no_rewriting),
    (keeps_quiet_about_a_full_disk, full_disk),
    (never_drops_a_note, bounded),
]


@pytest.mark.parametrize(("mutant", "proof"), MUTANTS, ids=[mutant.__name__ for mutant, _ in MUTANTS])
def test_the_fault_is_noticed(mutant: Callable[[Patch], None], proof: Callable[[Path], None], tmp_path: Path) -> None:
    sound, faulty = tmp_path / "sound", tmp_path / "faulty"
    sound.mkdir()
    faulty.mkdir()
    proof(sound)
    with pytest.MonkeyPatch.context() as patch:
        mutant(patch)
        with pytest.raises((AssertionError, pytest.fail.Exception, TraceError)):
            proof(faulty)
