"""What a case may use: an empty folder that is gone afterwards, recorded data if there is any, and how much to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Lab:
    """``data`` is the folder of recorded venue answers, or ``None``; ``quick`` leaves the largest sizes out, ``full``
    takes those in that need minutes to be made.
    """

    folder: Path
    data: Path | None
    quick: bool
    full: bool = False
    _numbers: Iterator[int] = field(default_factory=count)

    def new_folder(self) -> Path:
        """An empty folder of its own within ``folder``."""
        made = self.folder / f"{next(self._numbers)}"
        made.mkdir()
        return made
