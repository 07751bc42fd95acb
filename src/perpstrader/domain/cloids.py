"""Client order ids: 128 bits that tell whose order it is, from which store, which intent and which attempt (S12).

Layout, high to low: 16 bits application tag, 64 bits epoch of the store (random, renewed on restore or clone), 8 bits
kind, 32 bits intent number, 8 bits attempt. An exit that could not be committed to disk uses the kind ``0xEE`` and the
first 32 bits of its episode's hash instead of the number, so that reconciliation finds it again.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

APPLICATION_TAG: Final = 0x5054
_KIND_INTENT: Final = 0x01
_KIND_UNRECORDED_EXIT: Final = 0xEE


class CloidParts(msgspec.Struct, frozen=True):
    """What a cloid of ours says about itself."""

    epoch: int
    recorded: bool
    number: int
    attempt: int


def make_cloid(epoch: int, number: int, attempt: int) -> str:
    """The cloid of an intent's attempt; the same inputs give the same 34 characters. Raises ``ValueError`` out of
    range.
    """
    return _assemble(epoch, _KIND_INTENT, number, attempt)


def make_unrecorded_exit_cloid(epoch: int, episode: str, attempt: int) -> str:
    """The cloid of an exit that goes out although the store cannot be written (DESIGN section 6)."""
    number = int.from_bytes(hashlib.sha256(episode.encode()).digest()[:4], "big")
    return _assemble(epoch, _KIND_UNRECORDED_EXIT, number, attempt)


def read_cloid(cloid: str | None) -> CloidParts | None:
    """The parts of a cloid that bears our tag, else ``None``; never raises."""
    if cloid is None or len(cloid) != 34:
        return None
    try:
        value = int(cloid, 16)
    except ValueError:
        return None
    kind = value >> 40 & 0xFF
    if value >> 112 != APPLICATION_TAG or kind not in (_KIND_INTENT, _KIND_UNRECORDED_EXIT):
        return None
    return CloidParts(value >> 48 & (2**64 - 1), kind == _KIND_INTENT, value >> 8 & 0xFFFFFFFF, value & 0xFF)


def _assemble(epoch: int, kind: int, number: int, attempt: int) -> str:
    if not (0 <= epoch < 2**64 and 0 <= number < 2**32 and 0 <= attempt < 256):
        raise ValueError(f"epoch {epoch}, number {number} or attempt {attempt} is out of range for a cloid")
    return f"0x{APPLICATION_TAG << 112 | epoch << 48 | kind << 40 | number << 8 | attempt:032x}"
