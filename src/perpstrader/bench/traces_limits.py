"""What bounds the trace store from below on this machine: the disk's sync, the encoder alone, SQLite alone."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from itertools import count
from typing import Final

import apsw
import msgspec

from perpstrader.bench.harness import Arm, Case, Subject
from perpstrader.bench.lab import Lab
from perpstrader.bench.traces_kit import BATCH, trace
from perpstrader.domain import Trace
from perpstrader.traces import chain, rows
from perpstrader.traces.bars import Memo, Shelf
from perpstrader.traces.codec import Encoded, encode
from perpstrader.traces.files import connect, transact
from perpstrader.traces.packing import Packer, shipped, unpack_zstd
from perpstrader.traces.store import PAGE_BYTES

COMPONENT: Final = "traces"
_SYNCS: Final = 50


def cases(lab: Lab) -> list[Case]:
    """The probes."""
    sizes = ("8k",) if lab.quick else ("2k", "8k", "30k")
    made = [
        Case(
            COMPONENT, "limit-fdatasync", "us/sync", _SYNCS, partial(_fdatasync, lab),
            note="write the JSON of one trace over a part of a file that is there, and fdatasync: one durable write",
        ),
        Case(
            COMPONENT, "limit-json", "us/trace", BATCH, _json,
            note="one trace of 8 KB as JSON by msgspec, without redaction and without proving that it reads back",
        ),
        Case(
            COMPONENT, "limit-decode", "us/trace", BATCH, _decoding,
            note="one trace of 8 KB from its JSON by msgspec: nothing that is not kept decoded is read any faster",
        ),
        Case(
            COMPONENT, "limit-bare-insert", "us/trace", BATCH, partial(_bare_inserts, lab, commits=BATCH),
            note="the packed 8 KB into a table of two columns without an index, a commit each (WAL, FULL), on this "
            "thread",
        ),
        Case(
            COMPONENT, "limit-bare-batch", "us/trace", BATCH, partial(_bare_inserts, lab, commits=1),
            note="the same rows, all hundred in one commit",
        ),
    ]  # fmt: skip
    for size in sizes:
        made += [
            Case(
                COMPONENT, f"limit-encode-{size}", "us/trace", BATCH, partial(_encoding, size),
                note="the store's own redaction and codec and the packing, on one thread, without a store",
            ),
            Case(
                COMPONENT, f"limit-database-{size}", "us/trace", BATCH, partial(_database, lab, size),
                note="the encoded and packed traces into the full schema, chain and sums included, a commit a hundred "
                "(WAL, FULL), on one thread",
            ),
        ]  # fmt: skip
    return made


@asynccontextmanager
async def _fdatasync(lab: Lab) -> AsyncIterator[Subject]:
    data = msgspec.json.encode(trace(0))
    path = lab.new_folder() / "file"
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def run() -> None:
        for place in range(_SYNCS):
            os.pwrite(file, data, place * len(data))
            os.fdatasync(file)

    def answer() -> bool:
        os.pwrite(file, bytes(_SYNCS * len(data)), 0)
        run()
        return path.read_bytes() == data * _SYNCS

    try:
        yield Subject(Arm(run=run, answer=answer), expected=True)
    finally:
        os.close(file)


@asynccontextmanager
async def _json() -> AsyncIterator[Subject]:
    listed = [trace(number) for number in range(BATCH)]
    encoder = msgspec.json.Encoder().encode

    def run() -> list[bytes]:
        return [encoder(one) for one in listed]

    def answer() -> bool:
        return [msgspec.json.decode(data, type=Trace) for data in run()] == listed

    yield Subject(Arm(run=run, answer=answer), expected=True)


@asynccontextmanager
async def _decoding() -> AsyncIterator[Subject]:
    listed = [trace(number) for number in range(BATCH)]
    encoded = [msgspec.json.encode(one) for one in listed]
    decoder = msgspec.json.Decoder(Trace).decode

    def run() -> list[Trace]:
        return [decoder(data) for data in encoded]

    yield Subject(Arm(run=run, answer=lambda: run() == listed), expected=True)


@asynccontextmanager
async def _encoding(size: str) -> AsyncIterator[Subject]:
    listed, packer, memo = [trace(number, size) for number in range(BATCH)], Packer(shipped()), Memo()

    def run() -> list[tuple[bytes | None, Encoded]]:
        made = [encode(one, memo) for one in listed]
        return [(packer.pack(one.json), one) for one in made]

    def answer() -> bool:
        made = run()
        packed = [unpack_zstd(data, len(one.json)) for data, one in made if data is not None]
        return packed == [one.json for _, one in made] and [one.whole for _, one in made] == listed

    yield Subject(Arm(run=run, answer=answer), expected=True)


@asynccontextmanager
async def _bare_inserts(lab: Lab, *, commits: int) -> AsyncIterator[Subject]:
    packer = Packer(shipped())
    listed = [(packer.pack(msgspec.json.encode(trace(number))),) for number in range(BATCH)]
    connection = apsw.Connection(str(lab.new_folder() / "bare.db"))
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE bare (number INTEGER PRIMARY KEY, data BLOB NOT NULL)")
    size = BATCH // commits

    def run() -> None:
        for first in range(0, BATCH, size):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO bare (data) VALUES (?)", listed[first : first + size])
            connection.execute("COMMIT")

    def answer() -> bool:
        connection.execute("DELETE FROM bare")
        run()
        return list(connection.execute("SELECT data FROM bare ORDER BY number")) == listed

    try:
        yield Subject(Arm(run=run, answer=answer), expected=True)
    finally:
        connection.close()


@asynccontextmanager
async def _database(lab: Lab, size: str) -> AsyncIterator[Subject]:
    numbers, packer, memo, shelf = count(), Packer(shipped()), Memo(), Shelf()
    waiting: list[Encoded] = []
    packed: dict[bytes, bytes | None] = {}
    with ExitStack() as stack:
        connection = connect(
            str(lab.new_folder() / "traces.db"), "FULL", read_only=False, busy_ms=1_000, page_size=PAGE_BYTES
        )
        stack.callback(connection.close)

        def prepare() -> None:
            waiting[:] = [encode(trace(next(numbers), size), memo) for _ in range(BATCH)]
            packed.clear()
            packed.update((one.json, packer.pack(one.json)) for one in waiting)

        def run() -> None:
            transact(connection, insert)

        def insert() -> None:
            tail = rows.Tail.read(connection)
            shelf.begin(connection)
            for one in waiting:
                rows.insert_trace(connection, one, tail, packed.__getitem__, shelf)

        def answer() -> bool:
            prepare()
            run()
            return chain.verify(connection).ok

        yield Subject(Arm(run=run, answer=answer, prepare=prepare), expected=True)
