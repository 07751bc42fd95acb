"""A disk that loses power: what was synced is there afterwards, of the rest any part, whole or torn."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import apsw

_SECTOR = 512


class Disk(apsw.VFS):
    """SQLite's way to the disk, remembering what was synced; files are named by their paths."""

    def __init__(self, name: str) -> None:
        self.durable: dict[str, bytearray] = {}
        self.unsynced: dict[str, list[tuple[int, bytes | None]]] = {}
        self.syncs = 0
        super().__init__(name, base="")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        return File(self, name, flags)

    def xDelete(self, name: str, syncdir: bool) -> None:
        self.durable.pop(name, None)
        self.unsynced.pop(name, None)
        super().xDelete(name, syncdir)

    def cut(self, folder: Path, rng: Random) -> None:
        """What a computer finds in ``folder`` after the power went: each unsynced write by chance, perhaps torn."""
        for name, content in self.durable.items():
            image = bytearray(content)
            for offset, data in self.unsynced.get(name, ()):
                if rng.random() < 0.5:
                    continue
                if data is None:
                    del image[offset:]
                    continue
                if rng.random() < 0.3:
                    data = data[: rng.randrange(len(data) // _SECTOR + 1) * _SECTOR]
                write(image, offset, data)
            (folder / Path(name).name).write_bytes(image)


class File(apsw.VFSFile):
    """One open file of a ``Disk``."""

    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        self._disk = disk
        self._path = name.filename() if hasattr(name, "filename") else str(name)
        disk.durable.setdefault(self._path, bytearray())
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)
        self._disk.unsynced.setdefault(self._path, []).append((offset, bytes(data)))

    def xTruncate(self, size: int) -> None:
        super().xTruncate(size)
        self._disk.unsynced.setdefault(self._path, []).append((size, None))

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        self._disk.syncs += 1
        image = self._disk.durable[self._path]
        for offset, data in self._disk.unsynced.pop(self._path, ()):
            if data is None:
                del image[offset:]
            else:
                write(image, offset, data)


def write(image: bytearray, offset: int, data: bytes) -> None:
    """As a file does: a gap before the offset reads as zeroes."""
    if len(image) < offset:
        image.extend(bytes(offset - len(image)))
    image[offset : offset + len(data)] = data
