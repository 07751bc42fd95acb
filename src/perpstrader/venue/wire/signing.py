"""Hashes that are signed, and who signed them: Hyperliquid's two EIP-712 schemes (API sheet 3.1 and 3.3). Pure
functions, no key is kept.

An L1 action is signed through a phantom agent: ``connectionId = keccak(msgpack ‖ nonce ‖ vault ‖ expiry)``. The domain
separator and type hashes are constants, so that a digest costs three keccaks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import coincurve
import msgspec
import sha3

from perpstrader.venue.wire.faults import WireError

CURVE_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
SIGNATURE_CHAIN_ID: Final = "0x66eee"


class Signature(msgspec.Struct, frozen=True):
    """A signature as posted: ``r`` and ``s`` as ``0x`` hex (we pad to 64 digits, others may not), ``v`` 27 or 28."""

    r: str
    s: str
    v: int


def keccak(data: bytes) -> bytes:
    """Keccak-256 (not SHA3-256): 32 bytes."""
    return bytes(sha3.keccak_256(data).digest())


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def _domain(name: str, chain_id: int) -> bytes:
    kind = keccak(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
    return keccak(kind + keccak(name.encode()) + keccak(b"1") + _word(chain_id) + _word(0))


_AGENT_TYPE = keccak(b"Agent(string source,bytes32 connectionId)")
_AGENT_PREFIX = b"\x19\x01" + _domain("Exchange", 1337)
_AGENT_MAINNET = _AGENT_TYPE + keccak(b"a")
_AGENT_TESTNET = _AGENT_TYPE + keccak(b"b")

_CHAIN = ("hyperliquidChain", "string")
_AMOUNT = ("amount", "string")
_NONCE = ("nonce", "uint64")
_DESTINATION = ("destination", "string")
_TIME = ("time", "uint64")
_TOKEN = ("token", "string")

_USER_FIELDS: Final[dict[str, tuple[str, tuple[tuple[str, str], ...]]]] = {
    "usdSend": ("UsdSend", (_CHAIN, _DESTINATION, _AMOUNT, _TIME)),
    "withdraw3": ("Withdraw", (_CHAIN, _DESTINATION, _AMOUNT, _TIME)),
    "spotSend": ("SpotSend", (_CHAIN, _DESTINATION, _TOKEN, _AMOUNT, _TIME)),
    "usdClassTransfer": ("UsdClassTransfer", (_CHAIN, _AMOUNT, ("toPerp", "bool"), _NONCE)),
    "sendAsset": (
        "SendAsset",
        (
            _CHAIN, _DESTINATION, ("sourceDex", "string"), ("destinationDex", "string"), _TOKEN, _AMOUNT,
            ("fromSubAccount", "string"), _NONCE,
        ),
    ),
    "approveAgent": ("ApproveAgent", (_CHAIN, ("agentAddress", "address"), ("agentName", "string"), _NONCE)),
    "approveBuilderFee": ("ApproveBuilderFee", (_CHAIN, ("maxFeeRate", "string"), ("builder", "address"), _NONCE)),
    "userSetAbstraction": ("UserSetAbstraction", (_CHAIN, ("user", "address"), ("abstraction", "string"), _NONCE)),
}  # fmt: skip


def _type_hash(primary: str, fields: tuple[tuple[str, str], ...]) -> bytes:
    inside = ",".join(f"{kind} {name}" for name, kind in fields)
    return keccak(f"HyperliquidTransaction:{primary}({inside})".encode())


_USER_TYPES: Final = {kind: (_type_hash(*row), row[1]) for kind, row in _USER_FIELDS.items()}


def address_bytes(address: str) -> bytes:
    """The 20 bytes of a ``0x`` address; ``WireError`` names what is wrong with it."""
    try:
        raw = bytes.fromhex(address.removeprefix("0x").removeprefix("0X"))
    except (ValueError, AttributeError) as error:
        raise WireError(f"{address!r} is no address: expected 0x and 40 hex digits") from error
    if len(raw) != 20:
        raise WireError(f"{address!r} is no address: expected 0x and 40 hex digits, got {len(address)} characters")
    return raw


def action_hash(packed: bytes, nonce: int, vault_address: str | None = None, expires_after: int | None = None) -> bytes:
    """The connection id of an L1 action from its canonical MessagePack; ``nonce`` and ``expires_after`` in ms."""
    vault = b"\x00" if vault_address is None else b"\x01" + address_bytes(vault_address)
    try:
        expiry = b"" if expires_after is None else b"\x00" + expires_after.to_bytes(8, "big")
        return keccak(packed + nonce.to_bytes(8, "big") + vault + expiry)
    except OverflowError as error:
        raise WireError(f"nonce {nonce} or expiry {expires_after} is not an unsigned 64-bit number") from error


def l1_digest(connection_id: bytes, *, mainnet: bool) -> bytes:
    """The 32 bytes that are signed for an L1 action; only the source letter differs between the networks."""
    return keccak(_AGENT_PREFIX + keccak((_AGENT_MAINNET if mainnet else _AGENT_TESTNET) + connection_id))


def user_signed_digest(action: Mapping[str, object]) -> bytes:
    """The 32 bytes that are signed for a user-signed action (API sheet 2.2), from its fields by wire name.

    A missing ``agentName`` counts as empty. Raises ``WireError`` for an unknown type, a missing field or one of the
    wrong kind.
    """
    kind = str(action.get("type"))
    if kind not in _USER_TYPES:
        raise WireError(f"{kind!r} is not a user-signed action that is known here")
    type_hash, fields = _USER_TYPES[kind]
    chain = action.get("signatureChainId")
    try:
        chain_id = int(str(chain), 16)
        words = b"".join(_encode(_value(action, name), of) for name, of in fields)
    except (ValueError, TypeError, OverflowError) as error:
        raise WireError(f"{kind} cannot be signed: {error}") from error
    return keccak(b"\x19\x01" + _domain("HyperliquidSignTransaction", chain_id) + keccak(type_hash + words))


def _value(action: Mapping[str, object], name: str) -> object:
    value = action.get(name)
    if value is None:
        if name == "agentName":
            return ""
        raise ValueError(f"field {name} is missing")
    return value


def _encode(value: object, of: str) -> bytes:
    if of == "string" and isinstance(value, str):
        return keccak(value.encode())
    if of == "address" and isinstance(value, str):
        return bytes(12) + address_bytes(value)
    if of == "bool" and isinstance(value, bool):
        return _word(int(value))
    if of == "uint64" and isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**64:
        return _word(value)
    raise ValueError(f"{value!r} is no {of}")


def sign_digest(key: coincurve.PrivateKey, digest: bytes) -> Signature:
    """The deterministic (RFC 6979, low-s) signature of a digest, ``r`` and ``s`` padded to 64 digits."""
    raw = key.sign_recoverable(digest, hasher=None)
    return Signature("0x" + raw[:32].hex(), "0x" + raw[32:64].hex(), 27 + raw[64])


def recover_address(digest: bytes, r: str, s: str, v: int) -> str:
    """The lower-case address whose key made this signature; unpadded ``r`` and ``s`` are accepted, and ``v`` as 0/1 or
    27/28.

    Raises ``WireError`` when it is no signature at all. A wrong hash gives no error but a stranger's address.
    """
    try:
        r_value, s_value, recovery = int(r, 16), int(s, 16), v - 27 if v >= 27 else v
        if not (0 < r_value < CURVE_ORDER and 0 < s_value < CURVE_ORDER and recovery in (0, 1)):
            raise ValueError("r, s or v is out of range")
        raw = _word(r_value) + _word(s_value) + bytes([recovery])
        public = coincurve.PublicKey.from_signature_and_message(raw, digest, hasher=None)
    except Exception as error:  # coincurve raises bare Exception for a point that is not on the curve
        raise WireError(f"unable to recover a signer from the signature: {error}") from error
    return _address_of_public(public)


def address_of(key: coincurve.PrivateKey) -> str:
    """The lower-case address that a private key signs for."""
    return _address_of_public(key.public_key)


def _address_of_public(public: coincurve.PublicKey) -> str:
    return "0x" + keccak(public.format(compressed=False)[1:])[12:].hex()
