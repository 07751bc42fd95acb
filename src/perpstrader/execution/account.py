"""The account: where its equity lives, how much there is, and whether every change of it is explained (S39).

Cash basis is equity without open profit. What the venue states must be what our ledger adds up to: the basis at the
start, plus realised profit, less fees, plus funding, plus cash flows. A difference halts entries with the evidence; it
never flattens, because a wrong reading is no loss.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Final

import msgspec

from perpstrader.domain import ZERO, HaltKind, UnsafeError, VenueError
from perpstrader.execution.desk import Desk
from perpstrader.execution.fills import FillCollector
from perpstrader.venue.contract import AccountMode, AccountState

SAFE_MODES: Final = (AccountMode.DEFAULT, AccountMode.DISABLED)
_CENT: Final = Decimal("0.01")
_ROW: Final = Decimal("0.000001")
_BETWEEN_READS_MS: Final = 2_000


class Books(msgspec.Struct, kw_only=True):
    """What the ledger adds up to since ``basis_usd`` was taken; ``rows`` bounds the venue's truncation."""

    basis_usd: Decimal
    gross_usd: Decimal = ZERO
    fees_usd: Decimal = ZERO
    funding_usd: Decimal = ZERO
    cash_flows_usd: Decimal = ZERO
    rows: int = 0

    @property
    def expected_usd(self) -> Decimal:
        """The cash basis that the venue should state."""
        return self.basis_usd + self.gross_usd - self.fees_usd + self.funding_usd + self.cash_flows_usd

    @property
    def tolerance_usd(self) -> Decimal:
        """A cent, and a micro-USD for each row that the venue truncated (domain notes, 31)."""
        return _CENT + _ROW * self.rows


HaltNow = Callable[[HaltKind, str], Awaitable[object]]


class AccountWatch:
    """Reads the account, keeps the newest answer with its age, and checks that it is explained."""

    def __init__(
        self, desk: Desk, fills: FillCollector, books: Books, halt: HaltNow, read_money: Callable[[], Awaitable[object]]
    ) -> None:
        self._desk = desk
        self._fills = fills
        self.books = books
        self._halt = halt
        self._read_money = read_money
        self.state: AccountState | None = None
        self.read_ms = 0
        self.mode = AccountMode.UNKNOWN
        self.mode_read_ms = 0
        self._suspect: tuple[Decimal, int] | None = None
        self._reported_usd: Decimal | None = None

    async def check_mode(self) -> AccountMode:
        """The account's mode; raises ``UnsafeError`` for one whose equity does not live in the perp account."""
        mode = await self._desk.client.mode()
        self.mode, self.mode_read_ms = mode, self._desk.clock.now_ms()
        if mode not in SAFE_MODES:
            raise UnsafeError(
                f"the account is in mode {mode.value}: its equity is not in the perp account, so sizes and losses "
                "would be wrong; switch it to the standard mode at the venue"
            )
        return mode

    async def _look_at_mode(self) -> None:
        """After a jump: where the equity has moved elsewhere, entries halt with that reason."""
        try:
            await self.check_mode()
        except UnsafeError as error:
            await self._halt(HaltKind.CASH_FLOW, str(error))

    async def refresh(self) -> AccountState:
        """A fresh account state; raises ``VenueError`` when none came. An older answer never replaces a newer one."""
        sent = self._desk.clock.now_ms()
        try:
            state = await self._desk.client.account()
        except VenueError:
            self._desk.reach.missed(sent)
            raise
        self._desk.reach.answered(self._desk.clock.now_ms())
        if self.state is None or state.time_ms >= self.state.time_ms:
            self.state, self.read_ms = state, self._desk.clock.now_ms()
            await self._check(state)
        return state

    def agrees(self, state: AccountState) -> bool:
        """True when the venue's positions are what the fills add up to."""
        ours = {symbol: holding.size for symbol, holding in self._desk.positions.holdings.items()}
        theirs = {symbol: position.size for symbol, position in state.positions.items()}
        return ours == theirs

    @property
    def unexplained_usd(self) -> Decimal | None:
        """Venue minus ledger, when the newest answer can be compared with the books."""
        if self.state is None or not self.agrees(self.state):
            return None
        return self.state.cash_basis_usd - self.books.expected_usd

    async def _check(self, state: AccountState) -> None:
        difference, tolerance = self.unexplained_usd, self.books.tolerance_usd
        if difference is None or abs(difference) <= tolerance:
            self._suspect = None
            return
        now = self._desk.clock.now_ms()
        if self._suspect is None or (self._suspect[0] > 0) is not (difference > 0):
            self._suspect = (difference, now)
            with contextlib.suppress(VenueError):  # a row that cannot be read explains nothing; the state is good
                await self._read_money()
                await self._look_at_mode()
            return
        known = self._reported_usd
        if known is not None and abs(difference - known) <= tolerance:
            return  # halted for already; a resume with a reason has accepted it
        if now - self._suspect[1] >= _BETWEEN_READS_MS and state.time_ms > self._fills.newest_ms:
            try:
                await self._read_money()  # the first reading may have failed, or come before the row was shown
            except VenueError:
                return  # what was not read cannot be called unexplained; the next reading of the account tries again
            difference = self.unexplained_usd
            if difference is None or abs(difference) <= self.books.tolerance_usd:
                return
            self._reported_usd = difference
            await self._halt(
                HaltKind.CASH_FLOW,
                f"equity differs from the ledger by {difference:f} USD (venue {state.cash_basis_usd:f}, "
                f"ledger {self.books.expected_usd:f}, "
                f"tolerance {self.books.tolerance_usd:f}); fills, funding, fees and cash flows do not explain it",
            )

    async def try_refresh(self) -> AccountState | None:
        """As ``refresh``, but ``None`` where the venue could not be asked."""
        try:
            return await self.refresh()
        except VenueError as error:
            self._desk.say("account-unreadable", "", str(error))
            return None
