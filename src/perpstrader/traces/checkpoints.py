"""When SQLite's log goes over into the file: after the traces that made it long are acknowledged, not before."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import apsw

SOON_PAGES: Final = 1_000
"""So many pages in the log are brought over as soon as nothing waits to be written."""
MOST_PAGES: Final = 8_000
"""So many are brought over at once, whoever waits: the log stays bounded."""


class Checkpoints:
    """Takes SQLite's own checkpoints of one writing connection over."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._pages = 0
        connection.set_wal_hook(self._committed)

    @property
    def is_due(self) -> bool:
        """The log is worth a checkpoint."""
        return self._pages >= SOON_PAGES

    def run(self) -> None:
        """Bring over what no reader needs in the log; what cannot be stays there, and loses nothing by it."""
        with suppress(apsw.Error):
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        self._pages = 0  # the next commit tells how many there are

    def _committed(self, connection: apsw.Connection, name: str, pages: int) -> int:
        self._pages = pages
        if pages >= MOST_PAGES:
            self.run()
        return apsw.SQLITE_OK
