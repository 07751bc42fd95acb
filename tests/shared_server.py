"""A real PostgreSQL server for tests: in a temporary folder, on a free loopback port, gone with the test."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.conftest import IN_CI

MISSING = "no PostgreSQL server is installed: `apt-get install postgresql` (as root), or PERPSTRADER_POSTGRES_BIN"
PASSWORD = "very-secret"
_USER = "postgres"
_START_S = 60.0


def binaries() -> Path | None:
    """The folder of ``initdb`` and ``postgres``, the newest of those that are installed."""
    named = os.environ.get("PERPSTRADER_POSTGRES_BIN")
    found = [Path(named)] if named else sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version)
    on_path = shutil.which("postgres")
    if on_path is not None:
        found.insert(0, Path(on_path).parent)
    return next((folder for folder in reversed(found) if (folder / "initdb").exists()), None)


def _version(folder: Path) -> int:
    name = folder.parent.name
    return int(name) if name.isdigit() else 0


class SharedServer:
    """One cluster; ``start`` and ``stop`` as often as a test wants an outage."""

    def __init__(self, folder: Path) -> None:
        found = binaries()
        if found is None:
            if IN_CI:
                pytest.fail(MISSING)
            pytest.skip(MISSING)
        self._bin = found
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        if os.geteuid() == 0:  # the server refuses to run as root
            owner = pwd.getpwnam(_USER)
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        self._run("initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync",
                  f"--pgdata={folder / 'data'}")  # fmt: skip

    def start(self) -> None:
        """Running and taking connections when it returns; it survives its own death, not that of the machine."""
        command = self._as_user(
            "postgres", "-D", str(self._folder / "data"), "-p", str(self.port), "-k", str(self._folder),
            "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=50", "-c", "shared_buffers=32MB",
            "-c", "fsync=off",
        )  # fmt: skip
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", start_new_session=True)
        ends = time.monotonic() + _START_S
        ready = [str(self._bin / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"]
        while subprocess.run(ready, check=False).returncode != 0:
            assert time.monotonic() < ends, (self._folder / "log").read_text()[-2_000:]
            time.sleep(0.05)

    def stop(self) -> None:
        """At once, as if its machine had gone: open connections break."""
        if self._process is not None:
            # the group holds whatever stands between us and the server, too
            pid = int((self._folder / "data" / "postmaster.pid").read_text().splitlines()[0])
            os.kill(pid, signal.SIGQUIT)
            self._process.wait(30)
            self._process = None

    def new_database(self) -> str:
        """The address of an empty database; the password is not needed, and nothing may show it."""
        self._databases += 1
        name = f"record_{self._databases}"
        self.psql("postgres", f"CREATE DATABASE {name}")
        return f"postgresql://postgres:{PASSWORD}@127.0.0.1:{self.port}/{name}"

    def psql(self, database: str, sql: str) -> str:
        """What a statement says, by another road than the product's."""
        command = [str(self._bin / "psql"), "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p",
                   str(self.port), "-U", "postgres", "-d", database, "-c", sql]  # fmt: skip
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def _as_user(self, name: str, *arguments: str) -> list[str]:
        command = [str(self._bin / name), *arguments]
        return ["runuser", "-u", _USER, "--", *command] if os.geteuid() == 0 else command

    def _run(self, name: str, *arguments: str) -> None:
        done = subprocess.run(self._as_user(name, *arguments), check=False, capture_output=True, text=True, cwd="/")
        assert done.returncode == 0, done.stderr


@contextmanager
def shared_server() -> Iterator[SharedServer]:
    """A running server."""
    with tempfile.TemporaryDirectory(prefix="perpstrader-pg-", ignore_cleanup_errors=True) as folder:
        server = SharedServer(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()


def name_of(url: str) -> str:
    """The database of an address."""
    return url.rsplit("/", 1)[1]


def as_items(text: str) -> Sequence[str]:
    """The lines of an answer."""
    return text.splitlines()
