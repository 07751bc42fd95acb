"""What a run has made so far, told apart: booked, still open, and what the account gained or lost by it."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from perpstrader.domain import plain
from perpstrader.domain.money import CENT, ZERO
from perpstrader.trader.trader import Trader


class Earnings(msgspec.Struct, frozen=True, kw_only=True):
    """Money since the start of this process, in USD as text to the cent.

    ``realized_usd`` is what it booked: closed profit less fees, with funding, positions that it found open and fills
    that came while nobody ran included. ``open_usd`` is the profit of the open positions now, at mark.
    ``equity_change_usd`` is equity now less equity when the start was done and less the cash that came in since: it
    holds the change of the open profit too, so it differs from what was booked while anything is or was open.
    """

    realized_usd: str
    open_usd: str
    equity_change_usd: str


def earnings_of(trader: Trader) -> Earnings:
    """The run so far; reads only."""
    execution = trader.execution
    holdings = execution.desk.positions.holdings
    positions = [position for symbol in holdings if (position := execution.view.position(symbol)) is not None]
    flows = execution.account.books.cash_flows_usd - trader.start_cash_flows_usd
    return Earnings(
        realized_usd=_usd(execution.accountant.net_pnl_usd),
        open_usd=_usd(sum((position.unrealized_usd for position in positions), ZERO)),
        equity_change_usd=_usd(execution.view.equity_usd() - trader.start_equity_usd - flows),
    )


def _usd(value: Decimal) -> str:
    return plain(value.quantize(CENT))
