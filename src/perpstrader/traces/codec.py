"""A trace as bytes and back, by codec number, so that whatever was ever written stays readable.

Codec 0 is plain JSON: decimals as strings, times as integers, NaN and the infinities as ``{"$float": "NaN"}`` and
restored on reading (TS-20). Codec 1 packs these same JSON bytes (``traces.packing``); ``raw_len`` is the length of the
JSON. A further codec adds its unpacker to ``_UNPACK``.

A trace is accepted only if it reads back: what is written is decoded once, so that a trace of the wrong types is
refused at the door, with the reason, and not found unreadable a month later.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from perpstrader.domain.traces import Trace
from perpstrader.traces.bars import Bars, Memo, share, whole
from perpstrader.traces.errors import TraceFileError, TraceRejectedError
from perpstrader.traces.packing import unpack_zstd
from perpstrader.traces.redaction import is_suspect, redact

PLAIN: Final = 0
ZSTD: Final = 1
DROPPED: Final = 255
"""Not a codec: the payload was removed by retention, and its digest alone was kept."""
MAX_DEAD_LETTER_BYTES: Final = 65_536

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Trace)
_INLINE_BARS = b'"history":[{'
_FLOAT_TAG = "$float"
_FLOAT_TAG_JSON = b'{"$float":'
_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_FAILURES = (msgspec.MsgspecError, TypeError, ValueError, ArithmeticError, RecursionError)


def _unpack_plain(data: bytes, raw_len: int) -> bytes:
    return data


_UNPACK: Final[Mapping[int, Callable[[bytes, int], bytes]]] = {PLAIN: _unpack_plain, ZSTD: unpack_zstd}


class Encoded(msgspec.Struct, frozen=True):
    """A trace ready for the disk: ``json`` in codec 0, and ``trace`` as that reads back, without secrets.

    ``bars`` are stored apart from both (``traces.bars``); ``whole`` is the trace with them.
    """

    json: bytes
    trace: Trace
    bars: Bars | None = None

    @property
    def whole(self) -> Trace:
        """The trace as it will be read."""
        return whole(self.trace, self.bars)


def encode(trace: Trace, memo: Memo | None = None) -> Encoded:
    """The trace as redacted JSON that is known to read back, its bars apart; non-finite numbers survive.

    ``memo`` knows bars that were encoded before. Raises ``TraceRejectedError`` with the reason when it does not read
    back as a trace with an id.
    """
    if not isinstance(trace, Trace):
        raise TraceRejectedError(f"{type(trace).__name__} is no trace; it was put in the dead letter")
    told, bars = share(trace, memo)
    encoded = _encoded(told)
    return encoded if bars is None else Encoded(encoded.json, encoded.trace, bars)


def encode_whole(trace: Trace) -> bytes:
    """The redacted JSON of a trace with its bars in it, for other programs; otherwise as ``encode``."""
    return _encoded(trace).json


def _encoded(trace: Trace) -> Encoded:
    encoded = _encode_plain(trace) or _encode_carefully(trace)
    if not encoded.trace.id or encoded.trace.id != trace.id:
        raise TraceRejectedError(
            f"a trace needs an id of plain text, not {encoded.trace.id!r}; it was put in the dead letter"
        )
    return encoded


def decode(codec: int, raw_len: int, data: bytes) -> Trace:
    """The trace from what a store wrote; raises ``TraceFileError`` for an unknown codec or damaged bytes."""
    try:
        return _parse(unpack(codec, raw_len, data))
    except _FAILURES as error:
        raise TraceFileError(
            f"a stored trace cannot be read: {error}; `perpstrader traces verify` names the damaged rows"
        ) from error


def unpack(codec: int, raw_len: int, data: bytes) -> bytes:
    """The JSON of a stored payload; raises ``TraceFileError`` for a codec that this program does not know."""
    unpacker = _UNPACK.get(codec)
    if unpacker is None:
        raise TraceFileError(
            f"a stored trace has codec {codec}, this program knows {sorted(_UNPACK)}; use the newer program"
        )
    return unpacker(data, raw_len)


def salvage(trace: object) -> bytes:
    """As much of a rejected trace as can be kept, redacted, in at most ``MAX_DEAD_LETTER_BYTES``; never raises."""
    try:
        kept = share(trace)[0] if isinstance(trace, Trace) else trace  # bars would leave no room for the rest
        data = _ENCODER.encode(_plain_tree(kept))
    except (*_FAILURES, AttributeError):
        data = _ENCODER.encode(redact({"type": type(trace).__name__}))
    return data[:MAX_DEAD_LETTER_BYTES]


def _encode_plain(trace: Trace) -> Encoded | None:
    """The quick way; ``None`` where anything at all asks for the careful one."""
    try:
        data = _ENCODER.encode(trace)
        if is_suspect(data):
            return None
        back = _DECODER.decode(data)
        return Encoded(data, back) if back == trace else None
    except _FAILURES:
        return None


def _encode_carefully(trace: Trace) -> Encoded:
    try:
        data = _ENCODER.encode(_plain_tree(trace))
        return Encoded(data, _parse(data))
    except (*_FAILURES, AttributeError) as error:
        raise TraceRejectedError(f"the trace does not read back: {error}; it was put in the dead letter") from error


def _plain_tree(value: object) -> object:
    return _tagged(redact(msgspec.to_builtins(value, enc_hook=_shown, str_keys=True)))


def _shown(value: object) -> str:
    """An object that JSON does not know, as text; one that cannot even say what it is, by its type."""
    try:
        return repr(value)
    except Exception:
        return f"<{type(value).__name__}>"


def _tagged(value: object) -> object:
    """Plain data with non-finite floats tagged and text that is no Unicode made readable."""
    if isinstance(value, float) and not math.isfinite(value):
        return {_FLOAT_TAG: "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"}
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_tagged(name): _tagged(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_tagged(item) for item in value]
    return value


def _parse(data: bytes) -> Trace:
    if _FLOAT_TAG_JSON not in data:
        return _DECODER.decode(data)
    return msgspec.convert(_untagged(msgspec.json.decode(data)), Trace)


def _untagged(value: object) -> object:
    if isinstance(value, dict):
        tag = value.get(_FLOAT_TAG) if len(value) == 1 else None
        if isinstance(tag, str) and tag in _NON_FINITE:
            return _NON_FINITE[tag]
        return {name: _untagged(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_untagged(item) for item in value]
    return value


def as_shared(json: bytes) -> bytes:
    """A stored JSON as ``encode`` makes it now: one of a program that kept bars in the trace says which they are."""
    if _INLINE_BARS not in json:
        return json
    return encode(_parse(json)).json


def same_decision(one: Trace, other: Trace) -> bool:
    """True when the traces, both as they read back, differ only in what a later revision may change (S63).

    That is orders, fills, steps, errors, episode, completion and outcome.
    """
    fixed, other_fixed = _decided(one), _decided(other)
    # a NaN differs from itself, but not in JSON
    return fixed == other_fixed or _ENCODER.encode(_plain_tree(fixed)) == _ENCODER.encode(_plain_tree(other_fixed))


def _decided(trace: Trace) -> Trace:
    return msgspec.structs.replace(
        trace,
        orders=(),
        fills=(),
        steps=(),
        errors=(),
        episode="",
        led_to_order=False,
        completed=True,
        outcome_usd=None,
        outcome_ms=None,
    )
