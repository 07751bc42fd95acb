"""Halts and the risk state: on disk before the call returns, in force until released with a reason, never guessed."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.state.state_samples import amounts, halt, in_memory, names, opened, run, times, words

from perpstrader.domain import Halt, HaltKind, MoneyError, RiskState, StateError, UnsafeError
from perpstrader.state import HaltRecord, StateStore, Transaction

_states = st.builds(
    RiskState, version=st.integers(0, 2**60), day=st.dates().map(str), realized_usd=amounts, fees_usd=amounts,
    funding_usd=amounts,
    day_start_equity_usd=st.none() | amounts, cash_flows_usd=amounts, peak_equity_usd=st.none() | amounts,
    loss_streak=st.integers(0, 99),
    entries=st.integers(0, 99), entries_by_symbol=st.dictionaries(names, st.integers(0, 50)),
    recent_entries_ms=st.lists(times, max_size=4).map(tuple), limits_equity_usd=st.none() | amounts,
)  # fmt: skip
_halts = st.builds(
    Halt,
    kind=st.sampled_from(HaltKind),
    since_ms=times,
    reason=words,
    actor=words,
    until_ms=st.none() | times,
    flatten=st.booleans(),
)


def _halts_seen_by_another_connection(path: Path) -> list[str]:
    """What is on disk, as a second process reads it."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return [str(row[0]) for row in connection.execute("SELECT kind FROM halts WHERE released_ms IS NULL")]
    finally:
        connection.close()


def test_S40_a_halt_is_on_disk_before_its_call_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.db"

    async def seen_after_the_call() -> list[str]:
        async with await opened(path) as store:
            await store.transact(lambda tx: tx.halts.activate(halt()))
            return _halts_seen_by_another_connection(path)

    assert run(seen_after_the_call()) == ["operator"]
    path.unlink()

    # The mutant answers without a commit; this test must notice it.
    def uncommitted(self: StateStore, connection: apsw.Connection, fn: Callable[[Transaction], object]) -> object:
        connection.execute("BEGIN IMMEDIATE")
        return fn(self._transaction)

    monkeypatch.setattr(StateStore, "_in_transaction", uncommitted)
    assert run(seen_after_the_call()) == []


@given(st.lists(_halts, max_size=8))
def test_S40_a_kind_in_force_only_gets_stricter(halts: list[Halt]) -> None:
    def work(tx: Transaction) -> None:
        for new in halts:
            before = {old.kind: old for old in tx.halts.active()}
            news = tx.halts.activate(new)
            after = {old.kind: old for old in tx.halts.active()}
            now = after[new.kind]
            old = before.get(new.kind)
            assert news == (old != now)
            assert {**before, new.kind: now} == after
            if old is None:
                assert now == new
                continue
            assert now.since_ms == old.since_ms
            assert now.flatten == (old.flatten or new.flatten)
            assert (now.until_ms is None) == (old.until_ms is None or new.until_ms is None)
            if now.until_ms is not None and old.until_ms is not None:
                assert now.until_ms >= old.until_ms

    in_memory(work)


def test_S40_release_takes_an_actor_and_a_reason_and_is_recorded() -> None:
    def work(tx: Transaction) -> None:
        tx.halts.activate(halt())
        for actor, reason in (("", "checked"), ("anna", " ")):
            with pytest.raises(UnsafeError, match="an actor and a reason"):
                tx.halts.release(HaltKind.OPERATOR, actor, reason, 2_000)
        assert not tx.halts.release(HaltKind.DRAWDOWN, "anna", "checked", 2_000)
        assert len(tx.halts.active()) == 1
        assert tx.halts.release(HaltKind.OPERATOR, "anna", "checked", 2_000)
        assert not tx.halts.release(HaltKind.OPERATOR, "anna", "checked", 3_000)
        assert tx.halts.active() == ()
        assert tx.halts.history(9) == (
            HaltRecord(halt=halt(), released_ms=2_000, released_by="anna", release_reason="checked"),
        )

    in_memory(work)


def test_S40_a_milder_halt_that_was_superseded_stays_in_the_history() -> None:
    def work(tx: Transaction) -> None:
        assert tx.halts.activate(halt(HaltKind.DAILY_LOSS, until_ms=9_000))
        assert not tx.halts.activate(halt(HaltKind.DAILY_LOSS, since_ms=2_000, until_ms=8_000, reason="again"))
        assert tx.halts.activate(
            halt(HaltKind.DAILY_LOSS, since_ms=3_000, until_ms=9_000, flatten=True, reason="worse")
        )
        (now,) = tx.halts.active()
        assert (now.since_ms, now.reason, now.flatten) == (1_000, "worse", True)
        newest, older = tx.halts.history(9)
        assert (newest.released_ms, older.released_ms) == (None, 3_000)
        assert older.release_reason == "superseded by a stricter one"
        assert tx.halts.prune(9_999) == 1
        assert tx.halts.active() == (now,)

    in_memory(work)


def test_S40_halts_that_cannot_be_read_are_an_error_that_means_halted() -> None:
    def work(tx: Transaction) -> None:
        tx.risk.save(RiskState(version=1, day="2025-05-12"))
        tx.halts.activate(halt())
        tx.halts._connection.execute("UPDATE halts SET kind = 'siesta'")
        for look in (tx.halts.active, tx.risk.load):
            with pytest.raises(StateError, match="unreadable halt"):
                look()

    in_memory(work)


@given(_states)
def test_the_risk_state_comes_back_exactly(state: RiskState) -> None:
    def work(tx: Transaction) -> None:
        assert tx.risk.load() is None
        tx.risk.save(RiskState(version=0, day="1970-01-01"))
        tx.risk.save(state)
        assert repr(tx.risk.load()) == repr(state)

    in_memory(work)


def test_S40_saving_a_risk_state_neither_makes_nor_releases_a_halt() -> None:
    def work(tx: Transaction) -> None:
        tx.halts.activate(halt(HaltKind.DRAWDOWN))
        tx.risk.save(RiskState(version=1, day="2025-05-12", halts=(halt(HaltKind.VENUE),)))
        loaded = tx.risk.load()
        assert loaded is not None
        assert [one.kind for one in loaded.halts] == [HaltKind.DRAWDOWN]

    in_memory(work)


def test_a_risk_state_that_cannot_be_read_or_is_no_number_is_refused() -> None:
    def work(tx: Transaction) -> None:
        with pytest.raises(MoneyError):
            tx.risk.save(RiskState(version=1, day="2025-05-12", peak_equity_usd=Decimal("NaN")))
        tx.risk.save(RiskState(version=1, day="2025-05-12"))
        tx.risk._connection.execute("UPDATE risk_state SET body = '{}'")
        with pytest.raises(StateError, match="unreadable risk state"):
            tx.risk.load()

    in_memory(work)
