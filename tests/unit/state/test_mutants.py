"""Each guarantee's test fails when the guarantee is taken away, so that it is a test and no decoration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.state import (
    test_episodes_and_audit,
    test_halts_and_risk,
    test_intents_and_signals,
    test_ledger,
    test_state_file,
)

from perpstrader.domain import Halt, StateError
from perpstrader.state import database, episodes, halts, intents, ledger, meta, signals
from perpstrader.state.episodes import EpisodesRepository
from perpstrader.state.intents import IntentsRepository
from perpstrader.state.meta import MetaRepository
from perpstrader.state.signals import SignalsRepository

Patch = pytest.MonkeyPatch


def _number_from_what_is_stored(self: IntentsRepository) -> int:
    return int(self._connection.execute("SELECT coalesce(max(number), 0) + 1 FROM intents").get)


def _newest_nonce_wins(self: MetaRepository, signer: str, nonce: int) -> None:
    self._connection.execute("INSERT OR REPLACE INTO nonces VALUES (?, ?)", (signer.lower(), nonce))


def _signal_is_always_new(self: SignalsRepository, strategy: str, signal_id: str, now_ms: int) -> bool:
    return True


def _newest_halt_wins(current: Halt, new: Halt) -> Halt:
    return new


def _attempts_are_not_counted(self: EpisodesRepository, sql: str, episode_id: str) -> int:
    return 1


def _no_entry_is_a_duplicate(patch: Patch) -> None:
    plain = intents._INSERT_INTENT.split(" ON CONFLICT")[0].replace("INSERT", "INSERT OR REPLACE")
    patch.setattr(intents, "_INSERT_INTENT", plain)


def _every_fill_is_new(patch: Patch) -> None:
    plain = ledger._INSERT_FILL.split(" ON CONFLICT")[0].replace("INSERT", "INSERT OR REPLACE")
    patch.setattr(ledger, "_INSERT_FILL", plain)


def _any_schema_is_known(patch: Patch) -> None:
    patch.setattr(database, "migrate", lambda connection: 0)


MUTANTS: dict[str, tuple[Callable[[Patch], object], Callable[[Path], object]]] = {
    "S10 a signal may enter twice": (
        _no_entry_is_a_duplicate,
        lambda path: test_intents_and_signals.test_S10_a_signal_leads_to_one_entry_and_to_any_number_of_exits(),
    ),
    "S11 a restored backup keeps its epoch": (
        lambda patch: patch.setattr(database, "_renew_if_copied", lambda *given: None),
        test_state_file.test_S11_a_restored_backup_takes_a_new_epoch_and_says_so_until_acknowledged,
    ),
    "S11 a plain copy keeps its epoch": (
        lambda patch: patch.setattr(database, "_renew_if_copied", lambda *given: None),
        test_state_file.test_S11_a_plain_copy_never_speaks_under_the_epoch_of_its_original,
    ),
    "S12 a pruned number is given again": (
        lambda patch: patch.setattr(intents.IntentsRepository, "next_number", _number_from_what_is_stored),
        lambda path: test_intents_and_signals.test_S12_numbers_grow_and_are_not_given_again_after_pruning(),
    ),
    "S12 the nonce mark sinks": (
        lambda patch: patch.setattr(meta.MetaRepository, "raise_nonce", _newest_nonce_wins),
        lambda path: test_intents_and_signals.test_S12_the_nonce_mark_of_a_signer_never_sinks(),
    ),
    "S35 a fill counts twice": (
        _every_fill_is_new,
        lambda path: test_ledger.test_S35_a_fill_that_comes_twice_is_applied_once_even_with_other_numbers(),
    ),
    "S36 a signal is always new": (
        lambda patch: patch.setattr(signals.SignalsRepository, "first_seen", _signal_is_always_new),
        lambda path: test_intents_and_signals.test_S36_a_signal_is_new_exactly_once(),
    ),
    "S40 a repeated halt gets milder": (
        lambda patch: patch.setattr(halts, "_stricter", _newest_halt_wins),
        lambda path: test_halts_and_risk.test_S40_a_milder_halt_that_was_superseded_stays_in_the_history(),
    ),
    "S52 attempts are not counted": (
        lambda patch: patch.setattr(episodes.EpisodesRepository, "_count", _attempts_are_not_counted),
        lambda path: (
            test_episodes_and_audit.test_S52_attempts_are_counted_for_each_episode_and_start_anew_with_the_next()
        ),
    ),
    "S64 the log is never folded in": (
        lambda patch: patch.setattr(database, "_WAL_PAGES", 0),
        test_state_file.test_S64_the_write_ahead_log_stays_bounded,
    ),
    "a newer file is accepted": (
        _any_schema_is_known,
        test_state_file.test_a_file_from_a_newer_program_is_refused_naming_both_versions,
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_the_test_of_a_guarantee_fails_under_its_mutant(name: str, tmp_path: Path, monkeypatch: Patch) -> None:
    mutate, check = MUTANTS[name]
    mutate(monkeypatch)
    with pytest.raises((AssertionError, StateError, BaseExceptionGroup, pytest.fail.Exception)):
        check(tmp_path)
