"""What the client sends: every trading action of API sheet 2.1, signed and sent once, its answer typed.

Both builds use this one, so that nothing safe is written twice. Transfers, sub-accounts, referrers and account modes
have no method here, and the signer refuses them whoever asks (S72).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Generic, TypeVar

from perpstrader.domain import AssetSpec, VenueError
from perpstrader.runtime import Transport, TransportError
from perpstrader.venue import contract as c
from perpstrader.venue.encoding import ActionEncoder
from perpstrader.venue.nonces import NonceSource
from perpstrader.venue.signer import check_allowed
from perpstrader.venue.wire import WireError, actions, exchange, responses
from perpstrader.venue.wire.errors import ErrorCode
from perpstrader.venue.wire.faults import said_by
from perpstrader.venue.wire.numbers import format_decimal, micro_usd, parse_decimal

_HTTP_OK: Final = 200
_HTTP_UNPROCESSABLE: Final = 422

_NoAnswer = c.NotSent | c.Unknown | c.Rejected


A = TypeVar("A")
CancelWires = actions.CancelByCloidWire | actions.CancelWire


@dataclass(frozen=True)
class Sent(Generic[A]):
    """One acknowledgement a part of an action; ``shared``: the venue said one thing, and it stands for all of them."""

    acks: Sequence[A]
    shared: bool = False


class Writes:
    """The sending half of a client; ``assets`` must hold the metadata before anything is sent for a symbol."""

    def __init__(
        self, transport: Transport, encoder: ActionEncoder, nonces: NonceSource, *, vault_address: str | None,
        timeout_s: float,
    ) -> None:  # fmt: skip
        self._transport = transport
        self._encoder = encoder
        self._nonces = nonces
        self._vault = vault_address.lower() if vault_address else None
        self._timeout_s = timeout_s
        self._assets: dict[str, AssetSpec] = {}

    # --- orders ---

    async def place(
        self, orders: Sequence[c.OrderRequest], *, grouping: c.Grouping = c.Grouping.NONE,
        expires_ms: int | None = None, answer_ms: int | None = None,
    ) -> Sequence[c.OrderAck]:  # fmt: skip
        """See the contract."""
        if not orders:
            return []
        return (await self._send_orders(self._wires(orders), grouping, expires_ms, answer_ms)).acks

    async def modify(
        self, cloid: str, order: c.OrderRequest, *, always: bool = False, expires_ms: int | None = None
    ) -> c.OrderAck:
        """See the contract."""
        [ack] = await self.modify_all([(cloid, order)], always=always, expires_ms=expires_ms)
        return ack

    async def modify_all(
        self, changes: Sequence[tuple[str | int, c.OrderRequest]], *, always: bool = False,
        expires_ms: int | None = None,
    ) -> Sequence[c.OrderAck]:  # fmt: skip
        """See the contract."""
        if not changes:
            return []
        wires = [
            actions.ModifyWire(name, self._encoder.order(self._index(order.symbol), order)) for name, order in changes
        ]
        action = actions.BatchModify(wires, True if always else None)
        return _order_acks(await self._act(action, expires_ms), len(changes)).acks

    async def cancel(
        self, symbol_and_cloids: Sequence[tuple[str, str]], *, fast: bool = False
    ) -> Sequence[c.CancelAck]:
        """See the contract."""
        return (await self._send_cancels(self._cancels(symbol_and_cloids), fast)).acks

    async def cancel_oids(
        self, symbol_and_oids: Sequence[tuple[str, int]], *, fast: bool = False
    ) -> Sequence[c.CancelAck]:
        """See the contract."""
        return (await self._send_cancels(self._cancels(symbol_and_oids), fast)).acks

    async def schedule_cancel(self, time_ms: int | None) -> c.DoneAck:
        """See the contract."""
        return await self._do(actions.ScheduleCancel(time_ms))

    # --- orders that the venue slices ---

    async def place_twap(self, twap: c.TwapRequest, *, expires_ms: int | None = None) -> c.TwapAck:
        """See the contract."""
        wire = actions.TwapWire(
            self._index(twap.symbol),
            twap.buy,
            format_decimal(twap.size),
            twap.reduce_only,
            twap.minutes,
            twap.randomize,
        )
        answer = await self._act(actions.TwapOrder(wire), expires_ms)
        if isinstance(answer, _NoAnswer):
            return answer
        try:
            outcome = responses.twap_outcome(answer)
        except WireError as error:
            return c.Unknown(str(error))
        if isinstance(outcome, responses.Refused):
            return c.Rejected(outcome.code, outcome.text)
        return c.TwapRunning(outcome.twap_id)

    async def cancel_twap(self, symbol: str, twap_id: int) -> c.CancelAck:
        """See the contract."""
        answer = await self._act(actions.TwapCancel(self._index(symbol), twap_id), None)
        [ack] = _cancel_acks(answer, 1).acks
        return ack

    # --- margin ---

    async def set_leverage(self, symbol: str, leverage: int, *, cross: bool = True) -> c.LeverageAck:
        """See the contract."""
        ack = await self._do(actions.UpdateLeverage(self._index(symbol), cross, leverage))
        return c.LeverageSet(leverage) if isinstance(ack, c.Done) else ack

    async def change_isolated_margin(self, symbol: str, usd: Decimal) -> c.DoneAck:
        """See the contract."""
        micro = micro_usd(usd, f"isolated margin of {symbol}")
        return await self._do(actions.UpdateIsolatedMargin(self._index(symbol), True, micro))

    async def top_up_isolated_margin(self, symbol: str, leverage: Decimal) -> c.DoneAck:
        """See the contract."""
        return await self._do(actions.TopUpIsolatedOnlyMargin(self._index(symbol), format_decimal(leverage)))

    # --- the address ---

    async def reserve_request_weight(self, weight: int) -> c.DoneAck:
        """See the contract."""
        return await self._do(actions.ReserveRequestWeight(weight))

    async def noop(self) -> c.DoneAck:
        """See the contract."""
        return await self._do(actions.Noop())

    async def action(self, action: actions.Action, *, expires_ms: int | None = None) -> c.ActionAck:
        """See the contract."""
        check_allowed(action)
        answer = await self._act(action, expires_ms)
        return answer if isinstance(answer, _NoAnswer) else c.Answered(answer.kind, answer.statuses)

    async def close(self) -> None:
        """See the contract."""
        await self._transport.close()

    # --- inside ---

    def _index(self, symbol: str) -> int:
        """The asset id; raises where metadata does not have the symbol, so that no index is ever guessed (S13)."""
        asset = self._assets.get(symbol)
        if asset is None:
            raise VenueError(f"{symbol} is not in the venue's metadata; read it before sending anything for {symbol}")
        return asset.index

    def _wires(self, orders: Sequence[c.OrderRequest]) -> list[Any]:
        """Orders as they stand in an action; raises for one that must not go out."""
        return [self._encoder.order(self._index(order.symbol), order) for order in orders]

    def _cancels(self, named: Sequence[tuple[str, str]] | Sequence[tuple[str, int]]) -> list[CancelWires]:
        """Cancels as they stand in an action; all by cloid, or all by oid."""
        return [
            actions.CancelByCloidWire(self._index(symbol), name)
            if isinstance(name, str)
            else actions.CancelWire(self._index(symbol), name)
            for symbol, name in named
        ]

    async def _send_orders(
        self, wires: Sequence[Any], grouping: c.Grouping, expires_ms: int | None, answer_ms: int | None
    ) -> Sent[c.OrderAck]:
        answer = await self._act(self._encoder.orders(wires, grouping), expires_ms, answer_ms)
        return _order_acks(answer, len(wires))

    async def _send_cancels(self, wires: Sequence[CancelWires], fast: bool) -> Sent[c.CancelAck]:
        if not wires:
            return Sent([])
        f = True if fast else None
        by_cloid = [wire for wire in wires if isinstance(wire, actions.CancelByCloidWire)]
        by_oid = [wire for wire in wires if isinstance(wire, actions.CancelWire)]
        action = actions.CancelByCloid(by_cloid, f) if by_cloid else actions.Cancel(by_oid, f)
        return _cancel_acks(await self._act(action, None), len(wires))

    async def _do(self, action: actions.Action) -> c.DoneAck:
        answer = await self._act(action, None)
        if isinstance(answer, _NoAnswer):
            return answer
        refused = responses.done_or_refused(answer)
        return c.Done() if refused is None else c.Rejected(refused.code, refused.text)

    async def _act(
        self, action: Any, expires_ms: int | None, answer_ms: int | None = None
    ) -> responses.ExchangeAnswer | _NoAnswer:
        """Sign and send once; a refusal of the whole action applies to all that it carried (API sheet 2.3, 2.6).

        Definitive are the venue's own words and a 422, by which it could not even read the request; 429, 5xx and a page
        of a proxy prove nothing. Nor does a duplicate nonce, as none is given out twice: something on the way has sent
        the request again, and what became of the first one is not in this answer.
        """
        nonce = self._nonces.take()
        signature = self._encoder.sign(action, nonce, self._vault, expires_ms)
        body = exchange.encode_request(exchange.PostedRequest(action, nonce, signature, self._vault, expires_ms))
        timeout_s = self._timeout_s if answer_ms is None else min(self._timeout_s, answer_ms / 1000)
        try:
            answer = await self._transport.post("/exchange", body, timeout_s=timeout_s)
        except TransportError as error:
            return c.Unknown(str(error)) if error.sent else c.NotSent(str(error))
        if answer.status == _HTTP_UNPROCESSABLE:
            return c.Rejected(ErrorCode.UNKNOWN, f"the venue could not read the request: {said_by(answer.body)}")
        if answer.status != _HTTP_OK:
            return c.Unknown(f"the venue answered {answer.status}: {said_by(answer.body)}")
        try:
            decoded = responses.decode_answer(answer.body)
        except WireError as error:
            return c.Unknown(str(error))
        refused = decoded.refused
        if refused is not None and refused.code is ErrorCode.DUPLICATE_NONCE:
            return c.Unknown(f"the request arrived more than once: {refused.text}")
        return decoded if refused is None else c.Rejected(refused.code, refused.text)


def _order_acks(answer: responses.ExchangeAnswer | _NoAnswer, count: int) -> Sent[c.OrderAck]:
    if isinstance(answer, _NoAnswer):
        return Sent([answer] * count, shared=True)
    try:
        acks = [_order_ack(outcome) for outcome in responses.order_outcomes(answer, count)]
    except WireError as error:
        return Sent([c.Unknown(str(error))] * count, shared=True)
    return Sent(acks, shared=len(answer.statuses or ()) < count)


def _cancel_acks(answer: responses.ExchangeAnswer | _NoAnswer, count: int) -> Sent[c.CancelAck]:
    if isinstance(answer, _NoAnswer):
        return Sent([answer] * count, shared=True)
    try:
        acks = [_cancel_ack(outcome) for outcome in responses.cancel_outcomes(answer, count)]
    except WireError as error:
        return Sent([c.Unknown(str(error))] * count, shared=True)
    return Sent(acks, shared=len(answer.statuses or ()) < count)


def _order_ack(outcome: responses.OrderOutcome) -> c.OrderAck:
    if isinstance(outcome, responses.RestingWire):
        return c.Resting(outcome.oid)
    if isinstance(outcome, responses.FilledWire):
        return c.Filled(outcome.oid, parse_decimal(outcome.total_sz), parse_decimal(outcome.avg_px))
    if isinstance(outcome, responses.Waiting):
        return c.Waiting(outcome.text)
    return c.Rejected(outcome.code, outcome.text)


def _cancel_ack(outcome: responses.CancelOutcome) -> c.CancelAck:
    if isinstance(outcome, responses.Success):
        return c.Canceled()
    gone = outcome.code in (ErrorCode.MISSING_ORDER, ErrorCode.TWAP_MISSING)
    return c.AlreadyGone() if gone else c.Rejected(outcome.code, outcome.text)
