"""The signer of one agent key: signs trading actions only, and never shows the key.

It holds an allow-list of action types (S72): nothing that moves money out of the account, or changes who may, can be
signed here. The one exception, ``approve_agent``, is for the setup on a network without money and is what a master key
is for.
"""

from __future__ import annotations

import re
from typing import Final, NoReturn

import coincurve

from perpstrader.domain.errors import PerpsTraderError
from perpstrader.venue.wire import actions, signing
from perpstrader.venue.wire.signing import Signature

_KEY_TEXT = re.compile(r"(?:0[xX])?[0-9a-fA-F]{64}", re.ASCII)

ALLOWED_ACTIONS: Final = (
    actions.Order,
    actions.Cancel,
    actions.CancelByCloid,
    actions.Modify,
    actions.BatchModify,
    actions.ScheduleCancel,
    actions.UpdateLeverage,
    actions.UpdateIsolatedMargin,
    actions.TopUpIsolatedOnlyMargin,
    actions.TwapOrder,
    actions.TwapCancel,
    actions.ReserveRequestWeight,
    actions.Noop,
)
"""The trading actions of API sheet 2.1 without transfers, sub-accounts, referrers and account modes."""


class SigningRefusedError(PerpsTraderError):
    """The signer will not sign this action, whoever asks."""


class KeyFormatError(PerpsTraderError):
    """A text that is no private key; the message never repeats it."""


def parse_private_key(text: str) -> bytes:
    """The 32 bytes of a private key written as 64 hex digits, with or without ``0x``; blanks around it are dropped.

    Raises ``KeyFormatError``, which tells the length and never the text.
    """
    text = text.strip()
    if _KEY_TEXT.fullmatch(text) is None:
        detail = f"{len(text)} characters" if len(text) not in (64, 66) else "other characters"
        raise KeyFormatError(f"a private key is 0x and 64 hex digits; got {detail}")
    raw = bytes.fromhex(text[-64:])
    if not 0 < int.from_bytes(raw, "big") < signing.CURVE_ORDER:
        raise KeyFormatError("this number is no private key: it is zero or beyond the order of secp256k1")
    return raw


class Signer:
    """Signs for one address on one network; deterministic (RFC 6979), about 50 µs an order.

    The key is in no attribute that prints, pickles or copies.
    """

    __slots__ = ("__key", "_address", "_mainnet")

    def __init__(self, private_key: str, *, mainnet: bool) -> None:
        self.__key = coincurve.PrivateKey(parse_private_key(private_key))
        self._mainnet = mainnet
        self._address = signing.address_of(self.__key)

    @property
    def address(self) -> str:
        """The lower-case address of the key (the agent's, not the account's)."""
        return self._address

    @property
    def mainnet(self) -> bool:
        """True when signatures are for the network where money is real."""
        return self._mainnet

    def sign_action(
        self, action: actions.Action, nonce: int, *, vault_address: str | None = None, expires_after: int | None = None
    ) -> Signature:
        """The signature over the action's canonical bytes, its nonce (ms), vault and expiry (ms).

        Raises ``SigningRefusedError`` for a type outside ``ALLOWED_ACTIONS``, before anything is hashed (S72).
        """
        check_allowed(action)
        connection_id = signing.action_hash(actions.pack(action), nonce, vault_address, expires_after)
        return signing.sign_digest(self.__key, signing.l1_digest(connection_id, mainnet=self._mainnet))

    def approve_agent(self, agent_address: str, agent_name: str, nonce: int) -> tuple[dict[str, object], Signature]:
        """The posted action and signature by which this (master) key lets ``agent_address`` trade for it.

        An empty name means the one unnamed agent, and is then left out of the action. An agent can trade but not
        withdraw.
        """
        signing.address_bytes(agent_address)
        action: dict[str, object] = {
            "type": "approveAgent",
            "signatureChainId": signing.SIGNATURE_CHAIN_ID,
            "hyperliquidChain": "Mainnet" if self._mainnet else "Testnet",
            "agentAddress": agent_address.lower(),
            "agentName": agent_name,
            "nonce": nonce,
        }
        signature = signing.sign_digest(self.__key, signing.user_signed_digest(action))
        if not agent_name:
            del action["agentName"]
        return action, signature

    def __repr__(self) -> str:
        return f"Signer({self._address}, mainnet={self._mainnet})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Signer is neither pickled nor copied: it holds a private key")


def check_allowed(action: object) -> None:
    """Returns for a trading action; raises ``SigningRefusedError`` for all else, also for weight bought for another
    address and for an order that pays a builder.
    """
    if type(action) not in ALLOWED_ACTIONS:
        name = getattr(action, "type", None) or type(action).__name__
        allowed = ", ".join(str(kind.__struct_config__.tag) for kind in ALLOWED_ACTIONS)
        raise SigningRefusedError(f"{name} is never signed here; signed are only: {allowed}")
    if isinstance(action, actions.ReserveRequestWeight) and action.destination is not None:
        raise SigningRefusedError("reserveRequestWeight for another address is never signed here: it spends money")
    if isinstance(action, actions.Order) and action.builder is not None:
        raise SigningRefusedError(f"an order that pays the builder {action.builder.b} is never signed here")
