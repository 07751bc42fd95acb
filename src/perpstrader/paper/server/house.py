"""What accounts do apart from trading: agents, transfers, sub-accounts, request weight (API sheet 2.1, 2.2, 3.4)."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from perpstrader.paper.server import house_actions, orders_in
from perpstrader.paper.server.house_actions import HouseAction
from perpstrader.paper.server.rejection import reject_text
from perpstrader.paper.server.world import PLAIN_MODE, UNIFIED_MODES, World, address
from perpstrader.venue.wire import WireError, actions, responses
from perpstrader.venue.wire.actions import UserSigned
from perpstrader.venue.wire.errors import ErrorCode, error_text
from perpstrader.venue.wire.numbers import micro_usd, parse_decimal

_Answer = dict[str, object]
_TENTHS_OF_BP: Final = Decimal(1_000)
"""One percent in tenths of a basis point."""
_INVALID_SEND: Final = "Invalid send"
_MODES: Final = {"i": PLAIN_MODE, "u": "unifiedAccount", "p": "portfolioMargin"}
_OWN_ONLY: Final = "Agent can only send asset to same user or their sub-accounts."


def act(world: World, action: HouseAction, user: str, now_ms: int) -> _Answer:
    """The answer to an L1 action of this module."""
    exchange = world.exchange
    match action:
        case house_actions.CreateSubAccount():
            made = exchange.create_sub_account(user, action.name, now_ms)
            if isinstance(made, str):
                return {"status": "ok", "response": {"type": "createSubAccount", "data": made}}
            return responses.err(reject_text(made.reject, user, exchange.assets))
        case house_actions.SubAccountModify():
            sub_account = address(action.sub_account_user, "subAccountUser")
            return orders_in.done(world, user, exchange.rename_sub_account(user, sub_account, action.name, now_ms))
        case house_actions.SubAccountTransfer():
            sub_account = address(action.sub_account_user, "subAccountUser")
            return orders_in.done(
                world,
                user,
                exchange.sub_account_transfer(user, sub_account, action.usd, now_ms, deposit=action.is_deposit),
            )
        case house_actions.VaultTransfer():
            return responses.err(error_text(ErrorCode.UNKNOWN_VAULT, address=action.vault_address.lower()))
        case house_actions.AgentSendAsset():
            return _send_own(world, action, user, now_ms)
        case house_actions.AgentSetAbstraction():
            return _set_mode(world, user, _MODES.get(action.abstraction))


def reserve_weight(
    world: World, action: actions.ReserveRequestWeight, user: str, now_ms: int, *, agent: bool
) -> _Answer:
    """``reserveRequestWeight``, for the account itself."""
    if agent and not world.config.agents_reserve_weight:
        return responses.err("Agents cannot reserve request weight.")
    if action.destination is not None and action.destination.lower() != user:
        return responses.err(_INVALID_SEND)
    return orders_in.done(world, user, world.exchange.reserve_weight(user, action.weight, now_ms))


def user_signed(world: World, action: UserSigned, user: str, now_ms: int) -> _Answer:
    """The answer to an action that only the account's own key may sign."""
    fields = action.fields
    match action.type:
        case "approveAgent":
            return _approve_agent(world, fields, user, now_ms)
        case "approveBuilderFee":
            percent = parse_decimal(str(fields.get("maxFeeRate")).removesuffix("%"), "maxFeeRate")
            builder = address(str(fields.get("builder")), "builder")
            world.exchange.approve_builder(user, builder, int(percent * _TENTHS_OF_BP), now_ms)
            return responses.DEFAULT
        case "userSetAbstraction":
            return _set_mode(world, user, str(fields.get("abstraction")))
        case "withdraw3":
            return orders_in.done(world, user, world.exchange.withdraw(user, _amount(fields), now_ms))
        case "usdSend":
            return _send(world, user, str(fields.get("destination")), _amount(fields), now_ms)
        case "usdClassTransfer" if world.is_unified(user):
            return responses.err(error_text(ErrorCode.UNIFIED_ACCOUNT))
        case "sendAsset":
            return _send_asset(world, fields, user, now_ms)
        case _:
            return _not_offered(action.type)


def _set_mode(world: World, user: str, mode: str | None) -> _Answer:
    if mode != PLAIN_MODE and mode not in UNIFIED_MODES:
        raise WireError(f"there is no account mode {mode!r}")
    world.modes[user] = mode
    return responses.DEFAULT


def _not_offered(what: str) -> _Answer:
    return responses.err(f"{what} is not offered by this exchange.")


def _approve_agent(world: World, fields: dict[str, object], user: str, now_ms: int) -> _Answer:
    agent = address(str(fields.get("agentAddress")), "agentAddress")
    if world.exchange.has_account(agent):
        return responses.err(error_text(ErrorCode.AGENT_USED))
    room = 2 * len(world.exchange.sub_accounts(user))
    refused = world.agents.approve(user, agent, str(fields.get("agentName") or ""), now_ms, more=room)
    return responses.DEFAULT if refused is None else responses.err(refused)


def _amount(fields: dict[str, object]) -> int:
    return micro_usd(parse_decimal(str(fields.get("amount")), "amount").quantize(Decimal("0.000001")))


def _send(world: World, user: str, destination: str, amount: int, now_ms: int) -> _Answer:
    receiver = address(destination, "destination")
    if world.exchange.master_of(receiver) == user:
        return orders_in.done(
            world, user, world.exchange.sub_account_transfer(user, receiver, amount, now_ms, deposit=True)
        )
    return orders_in.done(world, user, world.exchange.transfer(user, receiver, amount, now_ms))


def _send_asset(world: World, fields: dict[str, object], user: str, now_ms: int) -> _Answer:
    """From perpetuals to perpetuals in USDC, which is all that there is here."""
    if fields.get("sourceDex") or fields.get("destinationDex") or not str(fields.get("token")).startswith("USDC"):
        return responses.err(_INVALID_SEND)
    source = str(fields.get("fromSubAccount") or "").lower()
    if source:
        amount, destination = _amount(fields), address(str(fields.get("destination")), "destination")
        if world.exchange.master_of(source) != user or destination != user:
            return responses.err(_INVALID_SEND)
        return orders_in.done(
            world, user, world.exchange.sub_account_transfer(user, source, amount, now_ms, deposit=False)
        )
    return _send(world, user, str(fields.get("destination")), _amount(fields), now_ms)


def _send_own(world: World, action: house_actions.AgentSendAsset, user: str, now_ms: int) -> _Answer:
    fields = house_actions.canonical(action).fields
    destination, source = str(fields["destination"]), str(fields["fromSubAccount"])
    if destination != user and world.exchange.master_of(destination) != user:
        return responses.err(_OWN_ONLY)
    if source and world.exchange.master_of(source) != user:
        raise WireError(f"fromSubAccount {source} is not the user's")
    return _send_asset(world, fields, user, now_ms)
