"""The plain client: the official SDK's own encoding and signing, one action a request, no cache, no stream state.

It is the specification that the optimized client is held to and the way back to it. Time, nonces and bytes are ours, so
that it runs under virtual time and injected faults as well. The SDK is imported only here and only when this client is
built, because that takes 0.6 s.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from perpstrader.runtime import Clock, Transport
from perpstrader.venue import calls
from perpstrader.venue.contract import Grouping, OrderRequest
from perpstrader.venue.nonces import NonceSource
from perpstrader.venue.signer import check_allowed, parse_private_key
from perpstrader.venue.skew import VenueClock
from perpstrader.venue.wire import actions
from perpstrader.venue.wire.numbers import format_decimal
from perpstrader.venue.wire.signing import Signature


class SdkEncoder:
    """Actions encoded and signed by the official SDK."""

    def __init__(self, private_key: str, *, mainnet: bool) -> None:
        from eth_account import Account
        from hyperliquid.utils import signing

        self._sdk = signing
        self._wallet = Account.from_key(parse_private_key(private_key))
        self._mainnet = mainnet

    @property
    def address(self) -> str:
        """The signer's address."""
        return str(self._wallet.address).lower()

    def order(self, asset: int, order: OrderRequest) -> Any:
        """One order through the SDK's own conversion; ``WireError`` for a number that the wire cannot carry."""
        for value in (order.size, order.limit_price, order.trigger.price if order.trigger else order.size):
            format_decimal(value)
        kind: dict[str, Any] = {"limit": {"tif": order.tif.value}}
        if order.trigger is not None:
            tpsl = "sl" if order.trigger.is_stop else "tp"
            kind = {
                "trigger": {"isMarket": order.trigger.is_market, "triggerPx": float(order.trigger.price), "tpsl": tpsl}
            }
        request = {
            "coin": order.symbol,
            "is_buy": order.buy,
            "sz": float(order.size),
            "limit_px": float(order.limit_price),
            "order_type": kind,
            "reduce_only": order.reduce_only,
            "cloid": _Cloid(order.cloid),
        }
        return self._sdk.order_request_to_order_wire(request, asset)

    def orders(self, orders: Sequence[Any], grouping: Grouping) -> Any:
        """The SDK's order action."""
        action = self._sdk.order_wires_to_order_action(list(orders))
        action["grouping"] = grouping.value
        return action

    def sign(self, action: Any, nonce: int, vault_address: str | None, expires_ms: int | None) -> Signature:
        """The SDK's signature; the allow-list is ours and the same for every client (S72)."""
        typed = action if not isinstance(action, dict) else msgspec.convert(action, actions.Order)
        check_allowed(typed)
        plain = action if isinstance(action, dict) else msgspec.to_builtins(action)
        signed = self._sdk.sign_l1_action(self._wallet, plain, vault_address, nonce, expires_ms, self._mainnet)
        return Signature(str(signed["r"]), str(signed["s"]), int(signed["v"]))

    def __repr__(self) -> str:
        return f"SdkEncoder({self.address})"


class _Cloid:
    """What the SDK asks of a client order id."""

    def __init__(self, raw: str) -> None:
        self._raw = raw

    def to_raw(self) -> str:
        """The 34 characters."""
        return self._raw


class HyperliquidClient(calls.VenueCalls):
    """The baseline; interchangeable with ``perpstrader.venue.HyperliquidClient``."""

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        private_key: str,
        nonces: NonceSource,
        *,
        account: str,
        mainnet: bool = False,
        vault_address: str | None = None,
        timeout_s: float = 10.0,
        venue_clock: VenueClock | None = None,
    ) -> None:
        super().__init__(
            transport,
            clock,
            SdkEncoder(private_key, mainnet=mainnet),
            nonces,
            account=account,
            vault_address=vault_address,
            timeout_s=timeout_s,
            venue_clock=venue_clock,
        )
