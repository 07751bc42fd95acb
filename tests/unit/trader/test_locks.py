"""One trader an account: also where two data directories name the same account at an exchange elsewhere."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from perpstrader.domain.errors import AccountLockedError
from perpstrader.runtime import AccountLock
from perpstrader.settings import Settings, load
from perpstrader.trader.account import lock_files

ACCOUNT = "0x" + "ab" * 20


def _settings(folder: Path, **more: object) -> Settings:
    return load(None, {}, {"data.dir": str(folder), **more})


def _lock(settings: Settings, account: str) -> ExitStack:
    with ExitStack() as stack:
        for path in lock_files(settings, account):
            stack.enter_context(AccountLock(path, account))
        return stack.pop_all()


def test_S75_a_second_data_directory_is_no_way_to_a_second_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    elsewhere = {"venue.base_url": "http://127.0.0.1:3001"}
    one, two = _settings(tmp_path / "one", **elsewhere), _settings(tmp_path / "two", **elsewhere)
    with _lock(one, ACCOUNT):
        with pytest.raises(AccountLockedError, match=ACCOUNT):
            _lock(two, ACCOUNT)
        with _lock(two, "0x" + "cd" * 20):
            pass
    with _lock(two, ACCOUNT):
        pass


def test_accounts_of_an_exchange_inside_the_process_are_their_data_directorys_own(tmp_path: Path) -> None:
    assert lock_files(_settings(tmp_path), ACCOUNT) == (tmp_path / "lock",)
