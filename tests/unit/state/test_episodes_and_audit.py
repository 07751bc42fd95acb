"""Episodes with their counters, and the trail of commands."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.state.state_samples import amounts, in_memory, names, times, words

from perpstrader.domain import Side, StateError
from perpstrader.state import Episode, Transaction

_episodes = st.builds(
    Episode, id=words, symbol=names, side=st.sampled_from(Side), owner=words, opened_ms=times,
    entry_price=st.none() | amounts,
    exit_price=st.none() | amounts, peak_size=amounts, peak_price=st.none() | amounts, stop_price=st.none() | amounts,
    target_price=st.none() | amounts, realized_usd=amounts, fees_usd=amounts, funding_usd=amounts,
    exit_attempts=st.integers(0, 9),
    recovery_attempts=st.integers(0, 9),
)  # fmt: skip


def _episode(key: str, **changes: Any) -> Episode:
    given_fields: dict[str, Any] = {"symbol": "BTC", "side": Side.LONG, "owner": "trend", "opened_ms": 1_000, **changes}
    return Episode(id=key, **given_fields)


@given(_episodes, _episodes)
def test_an_episode_comes_back_exactly_and_an_update_keeps_its_identity_end_and_counters(
    first: Episode, other: Episode
) -> None:
    def work(tx: Transaction) -> None:
        tx.episodes.open(first)
        assert repr(tx.episodes.get(first.id)) == repr(first)
        tx.episodes.update(msgspec.structs.replace(other, id=first.id))
        kept = ("id", "symbol", "side", "opened_ms", "ended_ms", "end_reason", "exit_attempts", "recovery_attempts")
        expected = msgspec.structs.replace(other, **{name: getattr(first, name) for name in kept})
        assert repr(tx.episodes.active_of(first.symbol)) == repr(expected)
        assert tx.episodes.active() == (expected,)

    in_memory(work)


def test_S38_a_symbol_has_one_living_episode_and_an_end_is_final() -> None:
    def work(tx: Transaction) -> None:
        tx.episodes.open(_episode("e1"))
        with pytest.raises(StateError, match="BTC has a living one"):
            tx.episodes.open(_episode("e2"))
        tx.episodes.open(_episode("e3", symbol="ETH"))
        assert tx.episodes.end("e1", 5_000, "stop")
        assert not tx.episodes.end("e1", 6_000, "again")
        assert not tx.episodes.end("nobody", 6_000, "again")
        with pytest.raises(StateError, match="its id is taken"):
            tx.episodes.open(_episode("e1"))
        tx.episodes.open(_episode("e2"))
        ended = tx.episodes.get("e1")
        assert ended is not None
        assert (ended.ended_ms, ended.end_reason, ended.is_active) == (5_000, "stop", False)
        assert [one.id for one in tx.episodes.active()] == ["e3", "e2"]

    in_memory(work)


def test_late_funding_still_reaches_an_ended_episode_without_reviving_it() -> None:
    def work(tx: Transaction) -> None:
        tx.episodes.open(_episode("e1"))
        tx.episodes.end("e1", 5_000, "target")
        tx.episodes.update(_episode("e1", realized_usd=Decimal(3), funding_usd=Decimal(-1)))
        (ended,) = tx.episodes.history(9)
        assert (ended.net_usd, ended.ended_ms, ended.end_reason) == (Decimal(2), 5_000, "target")
        assert tx.episodes.active() == ()
        with pytest.raises(StateError, match="open it before updating"):
            tx.episodes.update(_episode("nobody"))

    in_memory(work)


def test_S52_attempts_are_counted_for_each_episode_and_start_anew_with_the_next() -> None:
    def work(tx: Transaction) -> None:
        tx.episodes.open(_episode("e1"))
        assert [tx.episodes.count_exit_attempt("e1") for _ in range(3)] == [1, 2, 3]
        assert tx.episodes.count_recovery_attempt("e1") == 1
        tx.episodes.update(_episode("e1", peak_price=Decimal(5)))
        tx.episodes.end("e1", 5_000, "exit")
        tx.episodes.open(_episode("e2"))
        assert tx.episodes.count_exit_attempt("e2") == 1
        old = tx.episodes.get("e1")
        assert old is not None
        assert (old.exit_attempts, old.recovery_attempts) == (3, 1)
        with pytest.raises(StateError, match="open it before counting"):
            tx.episodes.count_recovery_attempt("nobody")

    in_memory(work)


def test_history_is_newest_first_and_pruning_spares_the_living() -> None:
    def work(tx: Transaction) -> None:
        for number, ended_ms in enumerate((7_000, 3_000, 5_000)):
            tx.episodes.open(_episode(f"e{number}"))
            tx.episodes.end(f"e{number}", ended_ms, "exit")
        tx.episodes.open(_episode("now"))
        assert [one.id for one in tx.episodes.history(2)] == ["e0", "e2"]
        assert tx.episodes.prune(6_000) == 2
        assert [one.id for one in tx.episodes.history(9)] == ["e0"]
        assert tx.episodes.prune(10**15) == 1
        assert [one.id for one in tx.episodes.active()] == ["now"]

    in_memory(work)


def test_S71_commands_are_recorded_with_actor_reason_and_result_and_numbers_never_repeat() -> None:
    def work(tx: Transaction) -> None:
        def add(time_ms: int) -> int:
            return tx.audit.add(
                time_ms=time_ms,
                actor="anna",
                command="halt",
                arguments={"kind": "operator"},
                result="halted",
                reason="news",
            )

        assert [add(time_ms) for time_ms in (10, 20, 30)] == [1, 2, 3]
        newest = tx.audit.recent(1)[0]
        assert (newest.seq, newest.time_ms, newest.arguments, newest.reason) == (3, 30, {"kind": "operator"}, "news")
        assert tx.audit.prune(0) == 2
        assert add(40) == 4
        assert tx.audit.prune(2) == 0
        assert [entry.seq for entry in tx.audit.recent(9)] == [4, 3]
        tx.audit._connection.execute("UPDATE audit SET arguments = '[1]'")
        with pytest.raises(StateError, match="audit entry"):
            tx.audit.recent(9)

    in_memory(work)
