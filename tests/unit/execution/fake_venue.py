"""A venue in memory, small and scripted: orders, fills, clamps, lag, lost answers, refusals, outages.

It states facts only through the client's contract, so that execution learns of them as it would of the real one's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal

import msgspec

from perpstrader.domain import AssetSpec, BookLevel, Candle, CashFlow, Fill, FundingPayment, TimeInForce, VenueError
from perpstrader.runtime import Clock
from perpstrader.venue import contract as c
from perpstrader.venue.wire.errors import ErrorCode

ZERO = Decimal(0)


class VenueOrder(msgspec.Struct, kw_only=True):
    """An order as the venue keeps it."""

    request: c.OrderRequest
    oid: int
    time_ms: int
    status: str = "open"
    status_ms: int = 0
    filled: Decimal = ZERO
    armed: bool = True

    @property
    def is_open(self) -> bool:
        return self.status in ("open", "triggered")


class FakeVenue:
    """Implements ``venue.contract.HyperliquidClient``; what a test scripts is in the public fields."""

    account_address = "0x00000000000000000000000000000000000000aa"

    def __init__(self, clock: Clock, assets: Mapping[str, AssetSpec]) -> None:
        self.clock = clock
        self.assets = dict(assets)
        self.now_ms = clock.now_ms
        self.price = {symbol: Decimal(100) for symbol in assets}
        self.depth = Decimal("1e9")
        self.orders: dict[str, VenueOrder] = {}
        self.positions: dict[str, Decimal] = {}
        self.cost: dict[str, Decimal] = {}
        self.trades: list[Fill] = []
        self.cash_usd = Decimal(1000)
        self.flows: list[CashFlow] = []
        self.payments: list[FundingPayment] = []
        self.stream: Callable[[Sequence[Fill]], object] | None = None
        self.down = False
        self.info_lag_ms = 0
        self.latency_s = 0.0
        self.lose: deque[bool] = deque()
        """For each coming action: its answer is lost; True when it was executed all the same."""
        self.refuse: Callable[[c.OrderRequest], ErrorCode | None] = lambda request: None
        self.on_place: Callable[[Sequence[c.OrderRequest]], object] = lambda requests: None
        self.sent: list[c.OrderRequest] = []
        self.canceled: list[str] = []
        self._oids = iter(range(1, 10**9))

    # --- what tests do to the market ---

    def trade(self, symbol: str, buy: bool, size: Decimal, cloid: str | None = None, oid: int = 0) -> Fill:
        """Change the position as a trade of this account would, whoever ordered it."""
        before, price = self.positions.get(symbol, ZERO), self.price[symbol]
        delta = size if buy else -size
        closed = ZERO
        if before != 0 and (before > 0) is not buy:
            part = min(abs(delta), abs(before)) * (1 if before > 0 else -1)
            closed = part * price - self.cost[symbol] * part / before
            self.cost[symbol] = self.cost[symbol] * (before - part) / before
            self.cost[symbol] += (delta + part) * price
        else:
            self.cost[symbol] = self.cost.get(symbol, ZERO) + delta * price
        self.positions[symbol] = before + delta
        self.cash_usd += closed
        fill = Fill(
            tid=len(self.trades) + 1, oid=oid, symbol=symbol, buy=buy, price=price, size=size, time_ms=self.now_ms(),
            fee_usd=ZERO, closed_pnl_usd=closed, start_position=before, crossed=True, cloid=cloid,
        )  # fmt: skip
        self.trades.append(fill)
        self._follow_reduce_only(symbol)
        if self.stream is not None and not self.down:
            self.stream([fill])
        return fill

    def fill_resting(self, cloid: str, size: Decimal) -> Fill:
        """A resting order trades."""
        order = self.orders[cloid]
        order.filled += size
        if order.filled >= order.request.size:
            self._end(order, "filled")
            self._arm_children(order)
        return self.trade(order.request.symbol, order.request.buy, size, cloid, order.oid)

    def fire(self, cloid: str, filled: Decimal | None = None) -> None:
        """The mark crosses a trigger; the order fills as far as the position goes, or as far as ``filled`` says."""
        order = self.orders[cloid]
        held = abs(self.positions.get(order.request.symbol, ZERO))
        size = min(order.request.size, held) if filled is None else filled
        order.filled = size
        self._end(order, "filled" if filled is None else "marketOrderNoLiquidityRejected")
        if size:
            self.trade(order.request.symbol, order.request.buy, size, cloid, order.oid)

    def drop(self, cloid: str, status: str = "scheduledCancel") -> None:
        """The venue cancels an order by itself."""
        self._end(self.orders[cloid], status)

    def open_stops(self, symbol: str) -> list[VenueOrder]:
        return [
            o for o in self.orders.values()
            if o.is_open and o.armed and o.request.symbol == symbol and o.request.trigger and o.request.trigger.is_stop
        ]  # fmt: skip

    # --- actions ---

    async def place(
        self, orders: Sequence[c.OrderRequest], *, grouping: c.Grouping = c.Grouping.NONE,
        expires_ms: int | None = None, answer_ms: int | None = None,
    ) -> Sequence[c.OrderAck]:  # fmt: skip
        await self.clock.sleep(self.latency_s)
        self.sent.extend(orders)
        if self.down:
            return [c.Unknown("no route to the venue")] * len(orders)
        executed = True
        lost = bool(self.lose)
        if lost:
            executed = self.lose.popleft()
        if expires_ms is not None and self.now_ms() > expires_ms:
            return [c.Rejected(ErrorCode.EXPIRED, "Action already expired")] * len(orders)
        self.on_place(orders)
        acks = self._place(orders, grouping) if executed else []
        return [c.Unknown("timed out")] * len(orders) if lost else acks

    def _place(self, orders: Sequence[c.OrderRequest], grouping: c.Grouping) -> list[c.OrderAck]:
        first = self._one(orders[0])
        acks: list[c.OrderAck] = [first]
        for child in orders[1:]:
            if isinstance(first, c.Rejected):
                acks.append(first)
                continue
            whole = isinstance(first, c.Filled) and first.size >= orders[0].size
            waits = isinstance(first, c.Resting)
            if whole or waits:  # the children of a part-filled parent are gone without a record
                self._rest(child, armed=whole)
            acks.append(c.Waiting("waitingForTrigger" if whole else "waitingForFill"))
        assert grouping is c.Grouping.NONE or len(orders) > 1
        return acks

    def _one(self, request: c.OrderRequest) -> c.OrderAck:
        code = self.refuse(request)
        if code is not None:
            return self._reject(request, code)
        position = self.positions.get(request.symbol, ZERO)
        reducible = max(ZERO, -position if request.buy else position)
        if request.trigger is not None:
            if not reducible:
                return self._reject(request, ErrorCode.REDUCE_ONLY)
            return c.Resting(self._rest(request).oid)
        if request.reduce_only and not reducible:
            return self._reject(request, ErrorCode.REDUCE_ONLY)
        if request.tif is not TimeInForce.IOC:
            return c.Resting(self._rest(request).oid)
        size = min(request.size, self.depth, reducible if request.reduce_only else request.size)
        if size <= 0:
            return self._reject(request, ErrorCode.IOC_CANCEL)
        order = self._rest(request)
        order.filled = size
        self._end(order, "filled")
        self.trade(request.symbol, request.buy, size, request.cloid, order.oid)
        return c.Filled(order.oid, size, self.price[request.symbol])

    def _reject(self, request: c.OrderRequest, code: ErrorCode) -> c.Rejected:
        order = self._rest(request)
        self._end(order, "rejected")
        return c.Rejected(code, code.value)

    async def cancel(self, symbol_and_cloids: Sequence[tuple[str, str]]) -> Sequence[c.CancelAck]:
        await self.clock.sleep(self.latency_s)
        if self.down:
            return [c.Unknown("no route to the venue")] * len(symbol_and_cloids)
        return [self._cancel(cloid) for _, cloid in symbol_and_cloids]

    async def cancel_oids(self, symbol_and_oids: Sequence[tuple[str, int]]) -> Sequence[c.CancelAck]:
        by_oid = {order.oid: cloid for cloid, order in self.orders.items()}
        return [self._cancel(by_oid.get(oid, "")) for _, oid in symbol_and_oids]

    def _cancel(self, cloid: str) -> c.CancelAck:
        self.canceled.append(cloid)
        order = self.orders.get(cloid)
        if order is None or not order.is_open:
            return c.AlreadyGone()
        self._end(order, "canceled")
        if not order.request.reduce_only:
            for child in self._children(order):
                self._end(child, "canceled")
        return c.Canceled()

    async def modify(self, cloid: str, order: c.OrderRequest, *, expires_ms: int | None = None) -> c.OrderAck:
        raise AssertionError("execution replaces by new, confirm, cancel; it never modifies")

    async def set_leverage(self, symbol: str, leverage: int, *, cross: bool = True) -> c.LeverageAck:
        return c.LeverageSet(leverage)

    # --- reads ---

    def _reachable(self) -> None:
        if self.down:
            raise VenueError("the venue could not be reached")

    async def order(self, cloid: str) -> c.OrderRecord:
        await self.clock.sleep(self.latency_s)
        self._reachable()
        order = self.orders.get(cloid)
        if order is None or order.time_ms + self.info_lag_ms > self.now_ms():
            return c.OrderRecord(group=c.OrderGroup.MISSING, status="unknownOid")
        groups = {"open": c.OrderGroup.LIVE, "triggered": c.OrderGroup.LIVE, "filled": c.OrderGroup.FILLED}
        canceled = order.status.endswith(("anceled", "Cancel"))
        group = groups.get(order.status, c.OrderGroup.CANCELED if canceled else c.OrderGroup.REJECTED)
        return c.OrderRecord(group=group, status=order.status, order=_listed(order), status_ms=order.status_ms)

    async def open_orders(self, *, max_age_ms: int | None = 0) -> Sequence[c.OpenOrder]:
        await self.clock.sleep(self.latency_s)
        self._reachable()
        return [_listed(order) for order in self.orders.values() if order.is_open]

    async def fills(self, since_ms: int) -> Sequence[Fill]:
        await self.clock.sleep(self.latency_s)
        self._reachable()
        newest = self.now_ms() - self.info_lag_ms
        return [fill for fill in self.trades if since_ms <= fill.time_ms <= newest]

    async def account(self, *, max_age_ms: int | None = 0) -> c.AccountState:
        await self.clock.sleep(self.latency_s)
        self._reachable()
        positions = {}
        for symbol, size in self.positions.items():
            if size:
                price, cost = self.price[symbol], self.cost[symbol]
                positions[symbol] = c.VenuePosition(
                    symbol=symbol, size=size, entry_price=cost / size, unrealized_usd=size * price - cost,
                    notional_usd=abs(size) * price, leverage=3, is_cross=True, margin_used_usd=ZERO, max_leverage=50,
                )  # fmt: skip
        open_usd = sum((p.unrealized_usd for p in positions.values()), ZERO)
        return c.AccountState(
            time_ms=self.now_ms() + 1, equity_usd=self.cash_usd + open_usd, available_usd=self.cash_usd,
            margin_used_usd=ZERO, maintenance_margin_usd=ZERO, positions=positions,
        )  # fmt: skip

    async def book(self, symbol: str, *, max_age_ms: int | None = 0) -> c.Book:
        self._reachable()
        level = (BookLevel(self.price[symbol], self.depth),)
        return c.Book(symbol=symbol, time_ms=self.now_ms(), bids=level, asks=level)

    async def venue_time_ms(self) -> int:
        self._reachable()
        return self.now_ms()

    async def metadata(self, *, max_age_ms: int | None = 0) -> Mapping[str, AssetSpec]:
        return self.assets

    async def contexts(self) -> Mapping[str, c.AssetContext]:
        return {}

    async def mids(
        self, symbols: Collection[str] | None = None, *, max_age_ms: int | None = 0
    ) -> Mapping[str, Decimal]:
        return dict(self.price)

    async def candles(self, symbol: str, interval: str, start_ms: int, end_ms: int) -> Sequence[Candle]:
        return []

    async def mode(self) -> c.AccountMode:
        return c.AccountMode.DEFAULT

    async def role(self, address: str) -> tuple[str, str | None]:
        return "user", None

    async def agents(self, address: str) -> dict[str, int]:
        return {}

    async def funding(self, since_ms: int) -> Sequence[FundingPayment]:
        self._reachable()
        return [row for row in self.payments if row.time_ms >= since_ms]

    async def cash_flows(self, since_ms: int) -> Sequence[CashFlow]:
        self._reachable()
        return [row for row in self.flows if row.time_ms >= since_ms]

    async def leverage(self, symbol: str) -> tuple[int, bool]:
        return 3, True

    async def rate_limit(self) -> c.RateLimit:
        return c.RateLimit(used=0, cap=10_000)

    async def close(self) -> None:
        """Nothing is open."""

    # --- inside ---

    def _rest(self, request: c.OrderRequest, *, armed: bool = True) -> VenueOrder:
        assert request.cloid not in self.orders, "a cloid was used twice"
        now = self.now_ms()
        order = VenueOrder(request=request, oid=next(self._oids), time_ms=now, status_ms=now, armed=armed)
        self.orders[request.cloid] = order
        return order

    def _end(self, order: VenueOrder, status: str) -> None:
        order.status, order.status_ms = status, self.now_ms()

    def _children(self, parent: VenueOrder) -> list[VenueOrder]:
        return [
            o for o in self.orders.values()
            if o.is_open and not o.armed and o.request.symbol == parent.request.symbol
        ]  # fmt: skip

    def _arm_children(self, parent: VenueOrder) -> None:
        for child in self._children(parent):
            child.armed = True

    def _follow_reduce_only(self, symbol: str) -> None:
        if self.positions.get(symbol, ZERO) == 0:
            for order in self.orders.values():
                if order.is_open and order.armed and order.request.symbol == symbol and order.request.reduce_only:
                    self._end(order, "reduceOnlyCanceled")


def _listed(order: VenueOrder) -> c.OpenOrder:
    request = order.request
    return c.OpenOrder(
        oid=order.oid, cloid=request.cloid, symbol=request.symbol, buy=request.buy, size=request.size - order.filled,
        original_size=request.size, limit_price=request.limit_price, reduce_only=request.reduce_only,
        time_ms=order.time_ms, trigger_price=request.trigger.price if request.trigger else None,
        is_stop=request.trigger is not None and request.trigger.is_stop,
    )  # fmt: skip
