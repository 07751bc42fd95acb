"""L1 actions that only the exchange's side knows: they move money or make accounts, so our client cannot sign them.

The order of the fields is the one that is hashed (API sheet 2.1, 3.1), as in ``venue.wire.actions``.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from perpstrader.paper.server.world import address
from perpstrader.venue.wire import WireError
from perpstrader.venue.wire.actions import UnknownAction


class _House(msgspec.Struct, frozen=True, rename="camel", tag_field="type", omit_defaults=True):
    """Base: the tag comes first."""


class CreateSubAccount(_House, frozen=True, tag="createSubAccount"):
    """Opens a sub-account."""

    name: str


class SubAccountModify(_House, frozen=True, tag="subAccountModify"):
    """Renames one."""

    sub_account_user: str
    name: str


class SubAccountTransfer(_House, frozen=True, tag="subAccountTransfer"):
    """Moves ``usd`` millionths of USD into a sub-account, or back."""

    sub_account_user: str
    is_deposit: bool
    usd: int


class VaultTransfer(_House, frozen=True, tag="vaultTransfer"):
    """Moves money into a vault, or back; no vault is registered here."""

    vault_address: str
    is_deposit: bool
    usd: int


class AgentSendAsset(_House, frozen=True, tag="agentSendAsset"):
    """Moves an asset between a user and its own sub-accounts."""

    destination: str
    source_dex: str
    destination_dex: str
    token: str
    amount: str
    from_sub_account: str
    nonce: int


class AgentSetAbstraction(_House, frozen=True, tag="agentSetAbstraction"):
    """Sets the account mode: ``i`` plain, ``u`` unified, ``p`` portfolio."""

    abstraction: str


HouseAction: TypeAlias = (
    CreateSubAccount | SubAccountModify | SubAccountTransfer | VaultTransfer | AgentSendAsset | AgentSetAbstraction
)
KNOWN: Final = frozenset(
    {
        "createSubAccount", "subAccountModify", "subAccountTransfer", "vaultTransfer", "agentSendAsset",
        "agentSetAbstraction",
    }
)  # fmt: skip


def read(action: UnknownAction) -> HouseAction:
    """The action; raises ``WireError`` where the venue answers 422."""
    if action.type not in KNOWN:
        raise WireError(f"there is no action {action.type!r}")
    try:
        known: HouseAction = msgspec.convert(action.fields, HouseAction)
    except msgspec.ValidationError as error:
        raise WireError(f"the action {action.type} is not understood: {error}") from None
    return known


def canonical(action: HouseAction) -> UnknownAction:
    """As the venue serialises it before hashing: fields in their order, addresses in lower case."""
    fields = msgspec.to_builtins(action)
    for name in ("subAccountUser", "vaultAddress", "destination", "fromSubAccount"):
        if fields.get(name):
            fields[name] = address(str(fields[name]), name)
    return UnknownAction(str(fields["type"]), fields)
