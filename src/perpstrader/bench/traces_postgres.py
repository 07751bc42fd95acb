"""The shared record: a parcel of decisions against an INSERT each, on a PostgreSQL server of its own in a folder."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from perpstrader.bench.harness import Arm, Case, Skipped, Subject
from perpstrader.bench.lab import Lab
from perpstrader.bench.traces_kit import BATCH, fresh, store_all, trace
from perpstrader.traces.errors import TraceError
from perpstrader.traces.outbox import Entry, Origin, Parcel
from perpstrader.traces.postgres import Address, BotName, schema
from perpstrader.traces.postgres.link import connect, driver
from perpstrader.traces.postgres.server import PostgresServer
from perpstrader.traces.schema import SUMMARY_COLUMNS

_COMPONENT: Final = "traces"
_BOT: Final = BotName(account="0xbench", network="paper", epoch=1)
_ORIGIN: Final = Origin("0", "", 0)
_USER: Final = "postgres"
_START_S: Final = 60.0
_PLACES: Final = ", ".join(f"${place}" for place in range(13, 13 + len(SUMMARY_COLUMNS)))
_ONE: Final = f"""
    WITH kept AS (INSERT INTO perpstrader.payload
    (bot, entry, seq, accepted_ms, codec, raw_len, data, digest, previous)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING)
    INSERT INTO perpstrader.trace (bot, seq, entry, analyzed, batch, number, {", ".join(SUMMARY_COLUMNS)})
    VALUES ($1, $3, $2, $10, $11, $12, {_PLACES}) ON CONFLICT DO NOTHING"""


def cases(lab: Lab) -> list[Case]:
    """The rows of the shared record; a quick run starts no server."""
    sizes = () if lab.quick else ("2k", "8k", "30k")
    return [
        Case(
            _COMPONENT, f"postgres-batch-100-{size}", "us/trace", BATCH, partial(_shipping, lab, size),
            note="100 decisions with the bars that they saw as one parcel, against a prepared INSERT and a commit each "
            "without bars, the baseline column; the server is on this machine, over a Unix socket, every commit is "
            "synchronised; a network between adds its round trip to each commit",
        )
        for size in sizes
    ]  # fmt: skip


@asynccontextmanager
async def _shipping(lab: Lab, size: str) -> AsyncIterator[Subject]:
    listed = [trace(number, size) for number in range(BATCH)]
    async with fresh(lab, "optimized", "OFF") as store:
        await store_all(store, listed)
        local: Any = store
        await local.begin_shipping("0")
        parcel = await local.unshipped(0, BATCH, 2**40)
        known = await local.dictionaries()
    with _cluster() as url:
        async with _plain(url, parcel) as plain, _batched(url, parcel, known) as batched:
            digests = b"".join(sorted(entry.digest for entry in parcel.entries))
            yield Subject.of([plain, batched], (len(parcel.entries), digests))


@asynccontextmanager
async def _plain(url: str, parcel: Parcel) -> AsyncIterator[Arm]:
    server = PostgresServer(Address(url))
    await server.connect(_BOT, _ORIGIN, parcel.entries[0].accepted_ms)
    await server.close()
    link = await connect(Address(url), timeout_s=60)
    insert = await link.prepare(_ONE)

    async def run() -> None:
        for entry in parcel.entries:
            await insert.fetch(*_values(entry))

    async def answer() -> object:
        await run()
        return await _content(link)

    async def prepare() -> None:
        await _empty(link)

    try:
        yield Arm(run=run, answer=answer, prepare=prepare)
    finally:
        await link.close()


@asynccontextmanager
async def _batched(url: str, parcel: Parcel, known: dict[int, bytes]) -> AsyncIterator[Arm]:
    server = PostgresServer(Address(url))
    link = await connect(Address(url), timeout_s=60)
    now_ms = parcel.entries[0].accepted_ms
    await server.connect(_BOT, _ORIGIN, now_ms)
    await server.learn(known)

    async def run() -> None:
        await server.take(parcel, now_ms)

    async def answer() -> object:
        await run()
        return await _content(link)

    async def prepare() -> None:
        await _empty(link)
        await server.connect(_BOT, _ORIGIN, now_ms)  # it must not remember that its bars were there

    try:
        yield Arm(run=run, answer=answer, prepare=prepare)
    finally:
        await server.close()
        await link.close()


def _values(entry: Entry) -> tuple[object, ...]:
    return (
        1, entry.entry, entry.seq, entry.accepted_ms, entry.codec, entry.raw_len, entry.data, entry.digest,
        entry.previous, entry.analyzed, entry.batch, entry.seq, *schema.storable(entry.summary),
    )  # fmt: skip


async def _empty(link: Any) -> None:
    await link.execute("TRUNCATE perpstrader.trace, perpstrader.payload, perpstrader.bar")


async def _content(link: Any) -> tuple[int, bytes]:
    """What lies there: how many decisions, and every digest."""
    rows = await link.fetch(
        "SELECT payload.digest FROM perpstrader.payload JOIN perpstrader.trace USING (bot, seq, accepted_ms)"
        " WHERE trace.entry = payload.entry ORDER BY payload.digest"
    )
    return len(rows), b"".join(row[0] for row in rows)


@contextmanager
def _cluster() -> Iterator[str]:
    """The address of an empty server that is gone afterwards; ``Skipped`` where there is none to start."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: path.parts[-3].zfill(4))
    on_path = shutil.which("initdb")
    if not found and on_path is None:
        raise Skipped("it needs a PostgreSQL server: apt-get install postgresql")
    try:
        driver()
    except TraceError as error:
        raise Skipped(str(error)) from error
    binaries = found[-1].parent if found else Path(str(on_path)).parent
    with tempfile.TemporaryDirectory(prefix="perpstrader-bench-pg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if os.geteuid() == 0:  # the server refuses to run as root
            try:
                owner = pwd.getpwnam(_USER)
            except KeyError:
                raise Skipped(f"the server does not run as root, and there is no user {_USER}") from None
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        with _running(binaries, folder):
            yield f"postgresql://{_USER}@/{_USER}?host={folder}"


@contextmanager
def _running(binaries: Path, folder: Path) -> Iterator[None]:
    data = folder / "data"
    made = (str(binaries / "initdb"), "--auth=trust", f"--username={_USER}", "--locale=C", "--encoding=UTF8",
            f"--pgdata={data}")  # fmt: skip
    subprocess.run(_as_user(*made), check=True, capture_output=True, cwd="/")
    command = _as_user(str(binaries / "postgres"), "-D", str(data), "-k", str(folder), "-c", "listen_addresses=")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", start_new_session=True)
    try:
        ready = (str(binaries / "pg_isready"), "-q", "-h", str(folder), "-U", _USER)
        ends = time.monotonic() + _START_S
        while subprocess.run(ready, check=False).returncode != 0:
            if process.poll() is not None or time.monotonic() > ends:
                raise Skipped(f"the PostgreSQL server did not start: {(folder / 'log').read_text()[-200:]}")
            time.sleep(0.05)
        yield
    finally:
        stop = (str(binaries / "pg_ctl"), "stop", "-D", str(data), "-m", "immediate", "-w")
        subprocess.run(_as_user(*stop), check=False, capture_output=True, cwd="/")
        process.wait(30)


def _as_user(*command: str) -> list[str]:
    return ["runuser", "-u", _USER, "--", *command] if os.geteuid() == 0 else list(command)
