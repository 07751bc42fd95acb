"""A PostgreSQL server for the tests of this folder: one for all of them, a database each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.shared_server import SharedServer, shared_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[SharedServer]:
    with shared_server() as server:
        yield server
