"""``POST /exchange``: who signed it, may it be taken, and what the engine answers (API sheet 2, 3, 9).

The sequence of the checks: signature, agent, nonce, expiry, batch weight, address budget, and then the engine's own.
"""

from __future__ import annotations

from typing import Final

import msgspec

from perpstrader.paper.server import house, house_actions, orders_in
from perpstrader.paper.server.house_actions import HouseAction
from perpstrader.paper.server.info_api import UNREADABLE
from perpstrader.paper.server.world import World, address
from perpstrader.venue.wire import WireError, actions, responses, weights
from perpstrader.venue.wire.actions import UnknownAction, UserSigned
from perpstrader.venue.wire.errors import ErrorCode, error_text
from perpstrader.venue.wire.exchange import SignedRequest, recover_signer
from perpstrader.venue.wire.limits import EXPIRED_ACTION_WEIGHT, MAX_ACTION_ORDERS
from perpstrader.venue.wire.nonces import NonceRule
from perpstrader.venue.wire.numbers import parse_decimal

_Answer = dict[str, object]
_TIMED: Final = frozenset({"usdSend", "withdraw3", "spotSend"})
"""User-signed actions whose nonce is called ``time``."""
_CHAINS: Final = {"Mainnet": "mainnet", "Testnet": "testnet"}


class Actor(msgspec.Struct, frozen=True):
    """Who signed, and the account that it acts for."""

    signer: str
    user: str


class ExchangeApi:
    """Takes signed actions of accounts and their agents."""

    def __init__(self, world: World) -> None:
        self.last_actor: Actor | None = None
        """Who was behind the last request, if it used a nonce."""
        self._world = world
        self._letters: tuple[bool, ...] = (False, True)
        if world.config.network != "any":
            self._letters = (world.config.network == "mainnet",)

    def handle(self, request: SignedRequest) -> _Answer:
        """The venue's answer; raises ``WireError`` where it answers 422 (an unknown action, a number that is none)."""
        self.last_actor = None
        action: actions.Action | UserSigned | HouseAction
        if isinstance(request.action, UnknownAction):
            action = house_actions.read(request.action)
            request = msgspec.structs.replace(request, action=house_actions.canonical(action))
        else:
            action = request.action
        actor = self._actor(request)
        if isinstance(actor, str):
            return responses.err(actor)
        now_ms = self._world.now_ms()
        refused = self._admit(request, actor, now_ms)
        if refused is not None:
            return responses.err(refused)
        if isinstance(action, UserSigned):
            return house.user_signed(self._world, action, actor.user, now_ms)
        return self._act(action, actor, now_ms)

    # --- who ---

    def _actor(self, request: SignedRequest) -> Actor | str:
        """Who acts for whom, or the refusal. Of the two networks' letters, the one whose signer is known counts."""
        if isinstance(request.action, UserSigned):
            return self._master(request, request.action)
        account: str | None = None
        if request.vault_address is not None:
            account = address(request.vault_address, "vaultAddress")
            owner = self._world.exchange.master_of(account)
            if owner is None:
                return error_text(ErrorCode.UNKNOWN_VAULT, address=account)
        stranger = ""
        for letter in self._letters:
            try:
                signer = recover_signer(request, mainnet=letter)
            except WireError:
                if not isinstance(request.action, UnknownAction):
                    actions.canonical(request.action)  # raises for a bad number
                return error_text(ErrorCode.BAD_SIGNATURE)
            master = self._account_of(signer)
            if master is not None:
                self._prefer(letter)
                if account is None:
                    return Actor(signer, master)
                if owner == master:
                    return Actor(signer, account)
                return error_text(ErrorCode.UNKNOWN_VAULT, address=account)
            stranger = stranger or signer
        return error_text(ErrorCode.UNKNOWN_SIGNER, address=stranger)

    def _account_of(self, signer: str) -> str | None:
        """The account whose key this is or whose agent; an account without money has no agents any more."""
        world = self._world
        if world.exchange.has_account(signer):
            return signer
        master = world.agents.master_of(signer, world.now_ms())
        if master is not None and world.exchange.is_empty(master):
            world.prune_agents(master)
            return None
        return master

    def _prefer(self, letter: bool) -> None:
        # Recovering costs 70 us; clients keep to one letter, so the one that was right is tried first.
        if self._letters[0] is not letter:
            self._letters = (letter, not letter)

    def _master(self, request: SignedRequest, action: UserSigned) -> Actor | str:
        network = _CHAINS.get(str(action.fields.get("hyperliquidChain")))
        wanted = self._world.config.network
        if network is None or wanted not in ("any", network):
            raise WireError(f"hyperliquidChain {action.fields.get('hyperliquidChain')!r} is not this exchange's")
        # Only the field that the signature covers counts, or a signed action could be replayed under another nonce.
        if request.nonce != action.fields.get("time" if action.type in _TIMED else "nonce"):
            raise WireError(f"the nonce {request.nonce} is not the one that was signed")
        try:
            signer = recover_signer(request, mainnet=network == "mainnet")
        except WireError:
            return error_text(ErrorCode.BAD_SIGNATURE)
        if not self._world.exchange.has_account(signer):
            return error_text(ErrorCode.MUST_DEPOSIT, address=signer)
        return Actor(signer, signer)

    # --- whether ---

    def _admit(self, request: SignedRequest, actor: Actor, now_ms: int) -> str | None:
        rule = self._world.nonces.get(actor.signer)
        if rule is None:
            rule = self._world.nonces[actor.signer] = NonceRule()
        refused = rule.use(request.nonce, now_ms)
        if refused is not None:
            return refused
        self.last_actor = actor
        action = request.action
        count = weights.batch_size(action)
        if request.expires_after is not None and request.expires_after < now_ms:
            self._charge(actor, count * EXPIRED_ACTION_WEIGHT, now_ms, cancels=weights.is_cancel(action))
            return error_text(ErrorCode.EXPIRED)
        if count > MAX_ACTION_ORDERS:
            return error_text(ErrorCode.ACTION_WEIGHT, maximum=MAX_ACTION_ORDERS)
        return self._charge(actor, count, now_ms, cancels=weights.is_cancel(action))

    def _charge(self, actor: Actor, count: int, now_ms: int, *, cancels: bool) -> str | None:
        if not self._world.config.enforce_address_budget:
            return None
        exchange = self._world.exchange
        volume, bought = exchange.user_volume(actor.user), exchange.reserved_weight(actor.user)
        return self._world.budget.charge(actor.user, count, volume, now_ms, cancels=cancels, bought=bought)

    # --- what ---

    def _act(self, action: actions.Action | HouseAction, actor: Actor, now_ms: int) -> _Answer:
        world, user = self._world, actor.user
        match action:
            case actions.Order():
                return orders_in.place(world, user, action, now_ms)
            case actions.Cancel():
                return orders_in.cancel(world, user, action, now_ms)
            case actions.CancelByCloid():
                return orders_in.cancel_by_cloid(world, user, action, now_ms)
            case actions.Modify():
                return orders_in.modify(world, user, action, now_ms)
            case actions.BatchModify():
                return orders_in.batch_modify(world, user, action, now_ms)
            case actions.ScheduleCancel():
                return orders_in.done(world, user, world.exchange.schedule_cancel(user, action.time, now_ms))
            case actions.UpdateLeverage():
                return self._update_leverage(action, user, now_ms)
            case actions.UpdateIsolatedMargin():
                coin = orders_in.coin_at(world, action.asset)
                return orders_in.done(
                    world, user, world.exchange.update_isolated_margin(user, coin, action.ntli, now_ms)
                )
            case actions.TopUpIsolatedOnlyMargin():
                wanted = int(parse_decimal(action.leverage, "leverage") * 1_000)
                coin = orders_in.coin_at(world, action.asset)
                return orders_in.done(world, user, world.exchange.top_up_isolated(user, coin, wanted, now_ms))
            case actions.Noop() | actions.SetReferrer():
                return responses.DEFAULT
            case actions.ReserveRequestWeight():
                return house.reserve_weight(world, action, user, now_ms, agent=actor.signer != user)
            case actions.TwapOrder():
                return orders_in.twap_order(world, user, action, now_ms)
            case actions.TwapCancel():
                return orders_in.twap_cancel(world, user, action, now_ms)
            case _:
                return house.act(world, action, user, now_ms)

    def _update_leverage(self, action: actions.UpdateLeverage, user: str, now_ms: int) -> _Answer:
        asset = orders_in.asset_at(self._world, action.asset)
        if asset is None:
            return responses.err(error_text(ErrorCode.UNKNOWN_ASSET))
        answer = self._world.exchange.update_leverage(user, asset.coin, action.leverage, action.is_cross, now_ms)
        return orders_in.done(self._world, user, answer)


def unreadable(error: WireError) -> str:
    """The text of a 422."""
    return f"{UNREADABLE}: {error}"
