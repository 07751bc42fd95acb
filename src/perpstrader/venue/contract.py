"""The contract of the Hyperliquid client: what the rest of the trader may ask the venue, and what it is told.

A call never repeats a signed action and never guesses: where no answer came, the acknowledgement is ``Unknown`` and
``venue.settlement`` finds out (S11). Reads raise ``VenueError`` when no usable answer came.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol

import msgspec

from perpstrader.domain import AssetSpec, BookLevel, Candle, CashFlow, Fill, FundingPayment, TimeInForce, Trigger
from perpstrader.venue.queries import Queries
from perpstrader.venue.wire.actions import Action
from perpstrader.venue.wire.responses import StatusWire


class Grouping(enum.StrEnum):
    """How orders of one action belong together (API sheet 2.1)."""

    NONE = "na"
    ENTRY_WITH_CHILDREN = "normalTpsl"
    POSITION = "positionTpsl"


class OrderRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One order as it goes out: price on tick, size on lot, ``cloid`` always present (S12, S13)."""

    symbol: str
    buy: bool
    size: Decimal
    limit_price: Decimal
    tif: TimeInForce
    reduce_only: bool
    cloid: str
    trigger: Trigger | None = None


class Resting(msgspec.Struct, frozen=True, tag="resting"):
    """The venue keeps the order under ``oid``."""

    oid: int


class Filled(msgspec.Struct, frozen=True, tag="filled"):
    """The venue says that ``size`` filled at once at ``average_price``; an IOC's remainder is gone."""

    oid: int
    size: Decimal
    average_price: Decimal


class Waiting(msgspec.Struct, frozen=True, tag="waiting"):
    """A child of a group was taken note of; it has no oid yet, and this is no evidence of protection (S20)."""

    text: str


class Rejected(msgspec.Struct, frozen=True, tag="rejected"):
    """A definitive no: ``code`` from the table in ``venue.wire.errors``, ``text`` as the venue wrote it."""

    code: str
    text: str


class NotSent(msgspec.Struct, frozen=True, tag="not_sent"):
    """It is certain that the request never left this machine."""

    text: str


class Unknown(msgspec.Struct, frozen=True, tag="unknown"):
    """No usable answer: the action may have been executed, may be executed yet, or never will be."""

    text: str


OrderAck = Resting | Filled | Waiting | Rejected | NotSent | Unknown


class Canceled(msgspec.Struct, frozen=True, tag="canceled"):
    """The venue cancelled it on this request."""


class AlreadyGone(msgspec.Struct, frozen=True, tag="already_gone"):
    """``Order was never placed, already canceled, or filled``: which one, its records tell."""


class Done(msgspec.Struct, frozen=True, tag="done"):
    """The venue did what was asked."""


class TwapRequest(msgspec.Struct, frozen=True, kw_only=True):
    """An order that the venue slices over ``minutes`` (5 to 1440), a child each 30 s; ``size`` on lot, times
    randomised where asked. The venue gives it no cloid, so nothing but its own list of TWAPs settles a lost answer.
    """

    symbol: str
    buy: bool
    size: Decimal
    reduce_only: bool
    minutes: int
    randomize: bool = True


class TwapRunning(msgspec.Struct, frozen=True, tag="twap_running"):
    """The venue slices it under ``twap_id``."""

    twap_id: int


class Answered(msgspec.Struct, frozen=True, tag="answered"):
    """The venue took an action and said so in ``statuses``, one for each of its parts, as on the wire."""

    kind: str
    statuses: tuple[StatusWire | str, ...] | None = None


class LeverageSet(msgspec.Struct, frozen=True, tag="leverage_set"):
    """The venue configured the leverage that was asked for."""

    leverage: int


LeverageAck = LeverageSet | Rejected | NotSent | Unknown
CancelAck = Canceled | AlreadyGone | Rejected | NotSent | Unknown
DoneAck = Done | Rejected | NotSent | Unknown
TwapAck = TwapRunning | Rejected | NotSent | Unknown
ActionAck = Answered | Rejected | NotSent | Unknown


class VenuePosition(msgspec.Struct, frozen=True, kw_only=True):
    """One net position as the venue states it; ``size`` is signed, ``liquidation_price`` may be absent and then says
    nothing.
    """

    symbol: str
    size: Decimal
    entry_price: Decimal
    unrealized_usd: Decimal
    notional_usd: Decimal
    leverage: int
    is_cross: bool
    margin_used_usd: Decimal
    max_leverage: int
    liquidation_price: Decimal | None = None


class AccountState(msgspec.Struct, frozen=True, kw_only=True):
    """The account at ``time_ms`` of the venue's clock; a flat symbol is absent from ``positions``."""

    time_ms: int
    equity_usd: Decimal
    available_usd: Decimal
    margin_used_usd: Decimal
    maintenance_margin_usd: Decimal
    positions: Mapping[str, VenuePosition]

    @property
    def cash_basis_usd(self) -> Decimal:
        """Equity without open profit: deposits plus everything realised."""
        return self.equity_usd - sum((p.unrealized_usd for p in self.positions.values()), Decimal(0))


class AccountMode(enum.StrEnum):
    """Where an account's equity lives (API sheet 1.2); perp equity is meaningful in the first two only."""

    DEFAULT = "default"
    DISABLED = "disabled"
    UNIFIED = "unifiedAccount"
    PORTFOLIO_MARGIN = "portfolioMargin"
    DEX_ABSTRACTION = "dexAbstraction"
    UNKNOWN = "unknown"


class OpenOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order that the venue lists; ``size`` is what remains as of its last change."""

    oid: int
    cloid: str | None
    symbol: str
    buy: bool
    size: Decimal
    original_size: Decimal
    limit_price: Decimal
    reduce_only: bool
    time_ms: int
    trigger_price: Decimal | None = None
    is_stop: bool = False


class OrderGroup(enum.StrEnum):
    """The families of the venue's order statuses."""

    LIVE = "live"
    FILLED = "filled"
    CANCELED = "canceled"
    REJECTED = "rejected"
    MISSING = "missing"


class OrderRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the venue's records say of one order; ``MISSING`` alone proves nothing (S11)."""

    group: OrderGroup
    status: str
    order: OpenOrder | None = None
    status_ms: int = 0


class AssetContext(msgspec.Struct, frozen=True, kw_only=True):
    """The venue's live figures of one perpetual; ``funding_rate`` is hourly."""

    symbol: str
    mark: Decimal
    oracle: Decimal
    mid: Decimal | None
    funding_rate: Decimal
    day_volume_usd: Decimal
    open_interest: Decimal


class Book(msgspec.Struct, frozen=True, kw_only=True):
    """Up to 20 levels a side, best first, at ``time_ms`` of the venue's clock."""

    symbol: str
    time_ms: int
    bids: tuple[BookLevel, ...]
    asks: tuple[BookLevel, ...]


class RateLimit(msgspec.Struct, frozen=True, kw_only=True):
    """The address's action budget (API sheet 5.2)."""

    used: int
    cap: int
    surplus: int = 0

    @property
    def left(self) -> int:
        """Actions that may still be sent."""
        return self.cap + self.surplus - self.used


class HyperliquidClient(Protocol):
    """All that the trader asks of the venue for one account; times are the venue's, sizes and prices Decimal.

    ``max_age_ms`` is the greatest age of an answer that its reader accepts: the venue would have said this at some
    instant since that long before the call. 0 asks the venue itself, now, and shares no request with anybody; ``None``
    is the life that the settings give to this kind of answer, which bounds every other age too. An answer from before a
    signed action of this client, or before a fill or a change of an order that the streams told of, is never given for
    what that may have changed. Answers are frozen.
    """

    @property
    def account_address(self) -> str:
        """The account traded for, lower case; never the agent's."""
        ...

    async def metadata(self, *, max_age_ms: int | None = 0) -> Mapping[str, AssetSpec]:
        """Every perpetual of the main dex by name, with its index on this network."""
        ...

    async def contexts(self) -> Mapping[str, AssetContext]:
        """Mark, oracle, funding and volume of every listed perpetual."""
        ...

    async def mids(
        self, symbols: Collection[str] | None = None, *, max_age_ms: int | None = 0
    ) -> Mapping[str, Decimal]:
        """The mid price of every coin, or of these; of a coin without bid or ask its last price."""
        ...

    async def book(self, symbol: str, *, max_age_ms: int | None = 0) -> Book:
        """The order book now."""
        ...

    async def candles(self, symbol: str, interval: str, start_ms: int, end_ms: int) -> Sequence[Candle]:
        """Closed candles whose open lies in the range, oldest first."""
        ...

    async def account(self, *, max_age_ms: int | None = 0) -> AccountState:
        """Equity, margin and positions now."""
        ...

    async def mode(self) -> AccountMode:
        """Where the account's equity lives (S39)."""
        ...

    async def role(self, address: str) -> tuple[str, str | None]:
        """``(role, master)`` of an address: ``user``, ``agent``, ``subAccount``, ``vault`` or ``missing``."""
        ...

    async def agents(self, address: str) -> Mapping[str, int]:
        """When each named agent of an account expires, by the agent's address; those without a name are not told of."""
        ...

    async def open_orders(self, *, max_age_ms: int | None = 0) -> Sequence[OpenOrder]:
        """Every open order, triggers and untriggered children included."""
        ...

    async def order(self, cloid: str) -> OrderRecord:
        """The venue's record of one order of this account."""
        ...

    async def fills(self, since_ms: int) -> Sequence[Fill]:
        """All fills from ``since_ms`` on, sorted by time and tid, pages joined."""
        ...

    async def funding(self, since_ms: int) -> Sequence[FundingPayment]:
        """All funding payments from ``since_ms`` on, oldest first."""
        ...

    async def cash_flows(self, since_ms: int) -> Sequence[CashFlow]:
        """Deposits, withdrawals and transfers from ``since_ms`` on, oldest first."""
        ...

    async def leverage(self, symbol: str) -> tuple[int, bool]:
        """``(leverage, is_cross)`` that the venue has configured for the symbol."""
        ...

    async def rate_limit(self) -> RateLimit:
        """The address's action budget."""
        ...

    queries: Queries
    """The reads that trading itself does without."""

    async def info(self, request: Mapping[str, object]) -> Any:
        """Any other read in the venue's own words, ``{"type": …}``, its answer as JSON; raises ``WireError`` for a
        request that the venue would not understand.
        """
        ...

    async def venue_time_ms(self) -> int:
        """The time that the venue stamps on its answers."""
        ...

    async def place(
        self, orders: Sequence[OrderRequest], *, grouping: Grouping = Grouping.NONE, expires_ms: int | None = None,
        answer_ms: int | None = None,
    ) -> Sequence[OrderAck]:  # fmt: skip
        """Send one signed action; one acknowledgement an order, in their order.

        ``answer_ms`` is the longest wait for the answer where that is shorter than a request's; then it is ``Unknown``.

        Never raises for what the network does; only for an order that must not go out (``PerpsTraderError``), and then
        nothing was sent.
        """
        ...

    async def cancel(self, symbol_and_cloids: Sequence[tuple[str, str]], *, fast: bool = False) -> Sequence[CancelAck]:
        """Cancel by client order id; each order's own status decides. ``fast`` asks for the venue's priority, which is
        not for triggers.
        """
        ...

    async def cancel_oids(
        self, symbol_and_oids: Sequence[tuple[str, int]], *, fast: bool = False
    ) -> Sequence[CancelAck]:
        """Cancel by the venue's order id."""
        ...

    async def modify(
        self, cloid: str, order: OrderRequest, *, always: bool = False, expires_ms: int | None = None
    ) -> OrderAck:
        """Replace an order: a new oid, its queue priority lost, its full size anew (API sheet 2.3).

        Without ``always`` the replacement must be post-only, or a GTC that does not cross; with it the new order is
        placed even where the old one could not be cancelled.
        """
        ...

    async def modify_all(
        self, changes: Sequence[tuple[str | int, OrderRequest]], *, always: bool = False,
        expires_ms: int | None = None,
    ) -> Sequence[OrderAck]:  # fmt: skip
        """Replace several orders, each found by cloid or oid, in one action."""
        ...

    async def schedule_cancel(self, time_ms: int | None) -> DoneAck:
        """Have the venue cancel every order of the account at ``time_ms``, stops included, or no longer (``None``)."""
        ...

    async def place_twap(self, twap: TwapRequest, *, expires_ms: int | None = None) -> TwapAck:
        """Start a TWAP."""
        ...

    async def cancel_twap(self, symbol: str, twap_id: int) -> CancelAck:
        """Stop a TWAP; what it has filled stays."""
        ...

    async def change_isolated_margin(self, symbol: str, usd: Decimal) -> DoneAck:
        """Add ``usd`` to an isolated position's margin, or take it away where negative."""
        ...

    async def top_up_isolated_margin(self, symbol: str, leverage: Decimal) -> DoneAck:
        """Add margin to an isolated position until it has this leverage."""
        ...

    async def reserve_request_weight(self, weight: int) -> DoneAck:
        """Buy ``weight`` more actions for this address, 0.0005 USDC each."""
        ...

    async def noop(self) -> DoneAck:
        """Use up a nonce, and nothing else."""
        ...

    async def action(self, action: Action, *, expires_ms: int | None = None) -> ActionAck:
        """Send a trading action in the wire's own words, for what has no method here; raises ``SigningRefusedError``
        for a type that is not on the signer's list (S72).
        """
        ...

    async def set_leverage(self, symbol: str, leverage: int, *, cross: bool = True) -> LeverageAck:
        """Configure leverage; ``LeverageSet`` says that the venue took it."""
        ...

    async def close(self) -> None:
        """Release connections; nothing is sent afterwards."""
        ...
