"""The dictionaries of a file: each one that its payloads were packed with lies in it, so that the file reads alone."""

from __future__ import annotations

import apsw

from perpstrader.traces.codec import unpack
from perpstrader.traces.files import transact
from perpstrader.traces.packing import KNOWN, shipped, train

_ADD = "INSERT OR IGNORE INTO dictionary (number, content) VALUES (?, ?)"


def current(connection: apsw.Connection, *, may_write: bool) -> bytes:
    """The dictionary to pack with: the newest of the file, which gets the shipped one at first."""
    found: bytes | None = connection.execute("SELECT content FROM dictionary ORDER BY rowid DESC LIMIT 1").get
    if found is not None:
        return found
    first = shipped()
    if may_write:
        transact(connection, lambda: connection.execute(_ADD, (KNOWN.add(first), first)))
    return first


def contents(connection: apsw.Connection) -> list[bytes]:
    """All of them."""
    return [content for (content,) in connection.execute("SELECT content FROM dictionary ORDER BY rowid")]


def retrain(connection: apsw.Connection, samples: int) -> int:
    """Train on the newest payloads and keep the dictionary in the file, inside the caller's transaction; its number."""
    newest = connection.execute("SELECT codec, raw_len, data FROM payload ORDER BY entry DESC LIMIT ?", (samples,))
    content = train([unpack(*row) for row in newest])
    number = KNOWN.add(content)
    connection.execute(_ADD, (number, content))
    return number
