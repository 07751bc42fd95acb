"""Trading actions as the engine wants them, and its results as the venue words them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from perpstrader.paper.engine import (
    Answer,
    Builder,
    Done,
    EngineAsset,
    Filled,
    Grouping,
    NewOrder,
    PlaceResult,
    Reject,
    RejectCode,
    Rejected,
    Resting,
    Tif,
    Tpsl,
    Trigger,
    WaitingForFill,
)
from perpstrader.paper.server.rejection import reject_text
from perpstrader.paper.server.world import World
from perpstrader.venue.wire import actions, responses
from perpstrader.venue.wire.errors import ErrorCode, error_text
from perpstrader.venue.wire.responses import StatusWire

MAX_BUILDER_FEE: Final = 100
"""The largest builder fee on perpetuals, in tenths of a basis point: 0.1 %."""
_BUILDER_TEXT: Final = "Builder fee has not been approved."
_REFUSED_BEFORE_CANCEL = (RejectCode.MODIFY_DEAD, RejectCode.MODIFY_INVALID, RejectCode.MUST_DEPOSIT)


def _builder_refusal(world: World, user: str, builder: actions.Builder | None) -> str | None:
    """Why an order may not carry this builder's fee; ``None`` when it may."""
    if builder is None or not world.config.require_builder_approval:
        return None
    approved = world.exchange.builder_fees(user).get(builder.b.lower(), -1)
    return None if 0 <= builder.f <= min(approved, MAX_BUILDER_FEE) else _BUILDER_TEXT


def place(world: World, user: str, action: actions.Order, now_ms: int) -> dict[str, object]:
    """``order``."""
    if isinstance(action.grouping, actions.PriorityGrouping):
        return responses.err("Priority fees are not offered by this exchange.")
    if not action.orders:
        return responses.err(error_text(ErrorCode.EMPTY_BATCH))
    refused = _builder_refusal(world, user, action.builder)
    if refused is not None:
        return responses.err(refused)
    builder = None if action.builder is None else Builder(action.builder.b.lower(), action.builder.f)
    orders = [new_order(world, order) for order in action.orders]
    results = world.exchange.place(user, orders, Grouping(action.grouping), now_ms, builder)
    if len(results) == len(orders):
        pairs = zip(orders, results, strict=True)
        return responses.ok("order", [_status(world, user, order, result) for order, result in pairs])
    return responses.ok("order", [_status(world, user, orders[0], result) for result in results])


def cancel(world: World, user: str, action: actions.Cancel, now_ms: int) -> dict[str, object]:
    """``cancel``."""
    if not action.cancels:
        return responses.err(error_text(ErrorCode.EMPTY_BATCH))
    results = [
        world.exchange.cancel(user, coin_at(world, row.asset), row.oid, now_ms) for row in action.cancels
    ]
    return _cancelled(world, user, results)


def cancel_by_cloid(world: World, user: str, action: actions.CancelByCloid, now_ms: int) -> dict[str, object]:
    """``cancelByCloid``."""
    if not action.cancels:
        return responses.err(error_text(ErrorCode.EMPTY_BATCH))
    results = [
        world.exchange.cancel_by_cloid(user, coin_at(world, row.asset), row.cloid.lower(), now_ms)
        for row in action.cancels
    ]
    return _cancelled(world, user, results)


def modify(world: World, user: str, action: actions.Modify, now_ms: int) -> dict[str, object]:
    """``modify``: a refusal is one of the whole action."""
    status = _modify(world, user, action.oid, action.order, now_ms, always=bool(action.a))
    if isinstance(status, StatusWire) and status.error is not None:
        return responses.err(status.error)
    return responses.DEFAULT


def batch_modify(world: World, user: str, action: actions.BatchModify, now_ms: int) -> dict[str, object]:
    """``batchModify``."""
    if not action.modifies:
        return responses.err(error_text(ErrorCode.EMPTY_BATCH))
    statuses = [
        _modify(world, user, row.oid, row.order, now_ms, always=bool(action.a)) for row in action.modifies
    ]
    return responses.ok("order", statuses)


def twap_order(world: World, user: str, action: actions.TwapOrder, now_ms: int) -> dict[str, object]:
    """``twapOrder``: its status is an object of its own."""
    wanted = action.twap
    asset = asset_at(world, wanted.a)
    size = RejectCode.UNKNOWN_ASSET if asset is None else asset.size_from_text(wanted.s)
    if asset is None or isinstance(size, RejectCode):
        assert isinstance(size, RejectCode)
        started: int | Rejected = Rejected(Reject(code=size, asset=None if asset is None else asset.index))
    else:
        started = world.exchange.start_twap(
            user, asset.coin, size, wanted.m, now_ms, is_buy=wanted.b, reduce_only=wanted.r, randomize=wanted.t
        )
    if isinstance(started, Rejected):
        status: dict[str, object] = {"error": reject_text(started.reject, user, world.exchange.assets)}
    else:
        status = {"running": {"twapId": started}}
    return {"status": "ok", "response": {"type": "twapOrder", "data": {"status": status}}}


def twap_cancel(world: World, user: str, action: actions.TwapCancel, now_ms: int) -> dict[str, object]:
    """``twapCancel``."""
    answer = world.exchange.cancel_twap(user, coin_at(world, action.a), action.t, now_ms)
    status: object = "success"
    if isinstance(answer, Rejected):
        status = {"error": reject_text(answer.reject, user, world.exchange.assets)}
    return {"status": "ok", "response": {"type": "twapCancel", "data": {"status": status}}}


def done(world: World, user: str, answer: Answer) -> dict[str, object]:
    """The answer to an action without statuses."""
    if isinstance(answer, Done):
        return responses.DEFAULT
    return responses.err(reject_text(answer.reject, user, world.exchange.assets))


def new_order(world: World, order: actions.OrderWire) -> NewOrder | Reject:
    """The order in units and lots; a ``Reject`` where a text makes no number on the coin's grid."""
    asset = asset_at(world, order.asset)
    if asset is None:
        return Reject(code=RejectCode.UNKNOWN_ASSET)
    price, size = asset.price_from_text(order.price), asset.size_from_text(order.size)
    wanted = order.type.trigger
    trigger_px = 0 if wanted is None else asset.price_from_text(wanted.trigger_px)
    for number in (price, size, trigger_px):
        if isinstance(number, RejectCode):
            return Reject(code=number, asset=asset.index)
    assert isinstance(price, int)
    assert isinstance(size, int)
    assert isinstance(trigger_px, int)
    return NewOrder(
        coin=asset.coin,
        is_buy=order.is_buy,
        limit_px=price,
        size=size,
        reduce_only=order.reduce_only,
        tif=Tif.GTC if order.type.limit is None else Tif(order.type.limit.tif),
        trigger=None if wanted is None else Trigger(wanted.is_market, trigger_px, Tpsl(wanted.tpsl)),
        cloid=None if order.cloid is None else order.cloid.lower(),
    )


def asset_at(world: World, index: int) -> EngineAsset | None:
    """The coin with that asset id."""
    assets = world.exchange.assets
    return assets[index] if 0 <= index < len(assets) else None


def coin_at(world: World, index: int) -> str:
    """The name of the coin with that asset id, ``""`` for none."""
    asset = asset_at(world, index)
    return "" if asset is None else asset.coin


def _cancelled(world: World, user: str, results: Sequence[Answer]) -> dict[str, object]:
    statuses: list[StatusWire | str] = [
        "success"
        if isinstance(result, Done)
        else StatusWire(error=reject_text(result.reject, user, world.exchange.assets))
        for result in results
    ]
    return responses.ok("cancel", statuses)


def _modify(
    world: World, user: str, oid: int | str, order: actions.OrderWire, now_ms: int, *, always: bool
) -> StatusWire | str:
    new = new_order(world, order)
    key = oid.lower() if isinstance(oid, str) else oid
    result = world.exchange.modify(user, key, new, now_ms, always=always)
    if isinstance(result, Rejected) and isinstance(new, NewOrder):
        code = result.reject.code
        if code not in _REFUSED_BEFORE_CANCEL:
            # The old order is gone by now; the text is how a client learns it.
            reason = reject_text(result.reject, user, world.exchange.assets)
            return StatusWire(error=error_text(ErrorCode.MODIFY_PLACING, reason=reason))
    return _status(world, user, new, result)


def _status(world: World, user: str, order: NewOrder | Reject, result: PlaceResult) -> StatusWire | str:
    if isinstance(result, Rejected):
        return StatusWire(error=reject_text(result.reject, user, world.exchange.assets))
    if isinstance(result, Resting):
        return StatusWire(resting=responses.RestingWire(result.oid, result.cloid))
    if isinstance(result, Filled):
        assert isinstance(order, NewOrder)
        asset = world.assets[order.coin]
        return StatusWire(
            filled=responses.FilledWire(
                asset.size_text(result.total_size), asset.price_text(result.avg_px), result.oid, result.cloid
            )
        )
    return "waitingForFill" if isinstance(result, WaitingForFill) else "waitingForTrigger"
