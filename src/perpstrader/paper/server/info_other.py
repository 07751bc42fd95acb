"""Answers of ``POST /info`` that clients ask for beside trading: builders, referrals, vaults, staking, checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from perpstrader.paper.engine import usd_text
from perpstrader.paper.server.world import World, address
from perpstrader.venue.wire.info import InfoRequest

Handler = Callable[[World, InfoRequest, int], object]


def max_builder_fee(world: World, request: InfoRequest, _: int) -> object:
    """``maxBuilderFee``: in tenths of a basis point, 0 for a builder that was never approved."""
    return world.exchange.builder_fees(address(request.user)).get(address(request.builder, "builder"), 0)


def approved_builders(world: World, request: InfoRequest, _: int) -> object:
    """``approvedBuilders``."""
    return [name for name, fee in world.exchange.builder_fees(address(request.user)).items() if fee > 0]


def referral(world: World, request: InfoRequest, _: int) -> object:
    """``referral``: nobody is referred here."""
    return {
        "referredBy": None, "cumVlm": usd_text(world.exchange.user_volume(address(request.user))),
        "unclaimedRewards": "0.0", "claimedRewards": "0.0", "builderRewards": "0.0",
        "referrerState": {"stage": "needToTrade", "data": {"required": "10000.0"}}, "rewardHistory": [],
    }  # fmt: skip


def delegator_summary(_: World, request: InfoRequest, __: int) -> object:
    """``delegatorSummary``: nothing is staked here."""
    address(request.user)
    return {"delegated": "0.0", "undelegated": "0.0", "totalPendingWithdrawal": "0.0", "nPendingWithdrawals": 0}


def legal_check(_: World, __: InfoRequest, ___: int) -> object:
    """``legalCheck``: everybody may."""
    return {"ipAllowed": True, "acceptedTerms": True, "userAllowed": True}


def pre_transfer_check(world: World, request: InfoRequest, _: int) -> object:
    """``preTransferCheck``."""
    user = address(request.user)
    exists = world.exchange.has_account(user)
    sent = bool(world.budget.used.get(user))
    return {"fee": "0.0", "isSanctioned": False, "userExists": exists, "userHasSentTx": sent}


def perp_dex_limits(_: World, __: InfoRequest, ___: int) -> object:
    """``perpDexLimits``: of builders' dexes only, of which there are none."""
    return None


def perp_dex_status(world: World, _: InfoRequest, __: int) -> object:
    """``perpDexStatus``: what all accounts paid in and did not take out."""
    return {"totalNetDeposit": usd_text(world.exchange.net_deposit())}


def none_here(_: World, request: InfoRequest, __: int) -> object:
    """Something of a user that does not exist here."""
    address(request.user)
    return None


def list_of_none(_: World, request: InfoRequest, __: int) -> object:
    """A list of a user's that is always empty here."""
    address(request.user)
    return []


def no_rows(_: World, __: InfoRequest, ___: int) -> object:
    """A list that is always empty here."""
    return []


HANDLERS: Final[dict[str, Handler]] = {
    "maxBuilderFee": max_builder_fee, "approvedBuilders": approved_builders, "referral": referral,
    "delegatorSummary": delegator_summary, "delegations": list_of_none, "delegatorHistory": list_of_none,
    "delegatorRewards": list_of_none, "userVaultEquities": list_of_none, "leadingVaults": list_of_none,
    "vaultDetails": lambda _, __, ___: None, "vaultSummaries": no_rows, "legalCheck": legal_check,
    "preTransferCheck": pre_transfer_check, "userToMultiSigSigners": none_here, "userDexAbstraction": none_here,
    "perpDexLimits": perp_dex_limits, "perpDexStatus": perp_dex_status,
}  # fmt: skip
