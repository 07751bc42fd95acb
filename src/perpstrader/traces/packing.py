"""Packing of payloads: zstd with a dictionary that was trained on traces, which makes a tenth of them (TS-11).

A frame names its dictionary by a number that follows from the dictionary's content, so a dictionary is never replaced:
a retrained one lies in the file of the store beside the others, and whatever was packed stays readable. Packers and
unpackers keep working memory that no two threads may share.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from importlib.resources import files
from typing import Final

import zstandard

from perpstrader.traces.errors import TraceError, TraceFileError

DICTIONARY_BYTES: Final = 16_384
"""What a dictionary holds; larger ones were measured to pack hardly better."""
LEVEL: Final = 1
"""With a dictionary, higher levels were measured to take a third more time and to pack hardly better, or worse."""
MIN_BYTES: Final = 1_024
"""Shorter payloads are kept as they are."""
MAX_RAW_BYTES: Final = 64 * 1024 * 1024
_LEAST_SAMPLES: Final = 50
_FIRST_ID: Final = 32_768  # below it and from 2^31 on, numbers are the format's own
_IDS: Final = 2**31 - _FIRST_ID


class Dictionaries:
    """The dictionaries that frames may name: the shipped one, and those that a file brought along."""

    def __init__(self) -> None:
        self._known: dict[int, zstandard.ZstdCompressionDict] = {}
        self._lock = threading.Lock()
        self._local = threading.local()

    def add(self, content: bytes) -> int:
        """Know a dictionary from now on; its number."""
        made = zstandard.ZstdCompressionDict(content)
        with self._lock:
            self._known[made.dict_id()] = made
        return made.dict_id()

    def get(self, number: int) -> zstandard.ZstdCompressionDict | None:
        """The dictionary with this number; the shipped one is read when it is first asked for."""
        found = self._known.get(number)
        if found is None:
            self.add(shipped())
            found = self._known.get(number)
        return found

    def unpack(self, data: bytes, raw_len: int) -> bytes:
        """The JSON of a frame; raises ``TraceFileError`` for a damaged one and for an unknown dictionary."""
        if not 0 <= raw_len <= MAX_RAW_BYTES:
            raise TraceFileError(f"a stored trace claims {raw_len} bytes, at most {MAX_RAW_BYTES} are read")
        try:
            number = zstandard.get_frame_parameters(data).dict_id
            json = self._unpacker(number).decompress(data, max_output_size=raw_len, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise TraceFileError(f"a packed trace is damaged: {error}") from error
        if len(json) != raw_len:
            raise TraceFileError(f"a packed trace holds {len(json)} bytes where {raw_len} were written")
        return json

    def _unpacker(self, number: int) -> zstandard.ZstdDecompressor:
        made: dict[int, zstandard.ZstdDecompressor] | None = getattr(self._local, "unpackers", None)
        if made is None:
            made = self._local.unpackers = {}
        if number not in made:
            dictionary = self.get(number) if number else None
            if number and dictionary is None:
                raise TraceFileError(f"a packed trace needs dictionary {number}, which is not in this file")
            made[number] = zstandard.ZstdDecompressor(dict_data=dictionary)
        return made[number]


KNOWN: Final = Dictionaries()
"""All dictionaries of the process: constants, told apart by their content, so every store may share them."""


class Packer:
    """Packs payloads with one dictionary; of one thread."""

    def __init__(self, dictionary: bytes) -> None:
        self.number = KNOWN.add(dictionary)
        self._compressor = zstandard.ZstdCompressor(level=LEVEL, dict_data=KNOWN.get(self.number))

    def pack(self, json: bytes) -> bytes | None:
        """The frame, or ``None`` where it would not be shorter."""
        if len(json) < MIN_BYTES:
            return None
        packed = self._compressor.compress(json)
        return packed if len(packed) < len(json) else None


def unpack_zstd(data: bytes, raw_len: int) -> bytes:
    """The JSON of a frame of codec 1."""
    return KNOWN.unpack(data, raw_len)


def shipped() -> bytes:
    """The dictionary that comes with the program, trained on traces of the synthetic market."""
    return files("perpstrader.traces").joinpath("dictionary.zstd").read_bytes()


def train(samples: Sequence[bytes]) -> bytes:
    """A dictionary for payloads like these; raises ``TraceError`` when they are too few to learn from."""
    if len(samples) < _LEAST_SAMPLES:
        raise TraceError(f"{len(samples)} traces are too few to train a dictionary on, at least {_LEAST_SAMPLES}")
    number = _FIRST_ID + int.from_bytes(hashlib.sha256(b"".join(samples)).digest()[:8], "big") % _IDS
    try:
        return zstandard.train_dictionary(DICTIONARY_BYTES, list(samples), dict_id=number).as_bytes()
    except zstandard.ZstdError as error:
        raise TraceError(f"no dictionary could be trained on {len(samples)} traces: {error}") from error
