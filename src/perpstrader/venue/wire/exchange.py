"""The envelope of ``POST /exchange``: what a client posts, and how the exchange's side reads it and finds who signed
(API sheet 2, 3).
"""

from __future__ import annotations

from typing import Final

import msgspec

from perpstrader.venue.wire import signing
from perpstrader.venue.wire.actions import Action, UnknownAction, UserSigned, canonical, decode_action, pack
from perpstrader.venue.wire.faults import WireError, excerpt
from perpstrader.venue.wire.signing import Signature

_ENCODER: Final = msgspec.json.Encoder()


class PostedRequest(msgspec.Struct, frozen=True, rename="camel"):
    """What goes out: both optionals are sent as null when unused, as the official client does."""

    action: Action | dict[str, object]
    nonce: int
    signature: Signature
    vault_address: str | None = None
    expires_after: int | None = None


class SignedRequest(msgspec.Struct, frozen=True):
    """What came in: the action in its type, its nonce, signature, vault and expiry (ms)."""

    action: Action | UserSigned | UnknownAction
    nonce: int
    signature: Signature
    vault_address: str | None = None
    expires_after: int | None = None


class _Envelope(msgspec.Struct, rename="camel"):
    action: msgspec.Raw
    nonce: int
    signature: Signature
    vault_address: str | None = None
    expires_after: int | None = None


_DECODER = msgspec.json.Decoder(_Envelope)


def encode_request(request: PostedRequest) -> bytes:
    """The JSON body; its key order does not matter, the signature covers the packed action."""
    return _ENCODER.encode(request)


def decode_request(body: bytes | str | msgspec.Raw) -> SignedRequest:
    """The posted request; raises ``WireError`` where the venue answers 422."""
    try:
        envelope = _DECODER.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        shown = excerpt(bytes(body) if isinstance(body, msgspec.Raw) else body)
        raise WireError(f"the exchange request {shown} is not understood: {error}") from error
    if envelope.nonce < 0 or (envelope.expires_after or 0) < 0:
        raise WireError(f"nonce {envelope.nonce} and expiry {envelope.expires_after} must not be negative")
    return SignedRequest(
        decode_action(envelope.action),
        envelope.nonce,
        envelope.signature,
        envelope.vault_address,
        envelope.expires_after,
    )


def recover_signer(request: SignedRequest, *, mainnet: bool) -> str:
    """The lower-case address that signed ``request``, over our own canonical bytes; a formatting slip yields a
    stranger's.

    ``mainnet`` chooses the letter of the L1 scheme; a user-signed action names its network itself. Raises
    ``WireError`` when the signature is none, or the action cannot be hashed.
    """
    action = request.action
    if isinstance(action, UserSigned):
        digest = signing.user_signed_digest(action.fields)
    else:
        packed = pack(action if isinstance(action, UnknownAction) else canonical(action))
        connection_id = signing.action_hash(packed, request.nonce, request.vault_address, request.expires_after)
        digest = signing.l1_digest(connection_id, mainnet=mainnet)
    signature = request.signature
    return signing.recover_address(digest, signature.r, signature.s, signature.v)
