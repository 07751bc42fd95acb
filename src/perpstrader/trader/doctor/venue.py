"""What the venue shows: whether it answers, the clock, the key, the account's mode and funds, limits, symbols.

Everything is read, nothing is sent. Where the first question gets no answer, the others are not asked.
"""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable
from typing import Final

from perpstrader.domain import VenueError, plain
from perpstrader.domain.money import CENT
from perpstrader.domain.wording import moment_text, plural
from perpstrader.execution.account import SAFE_MODES
from perpstrader.runtime import Clock, Transport
from perpstrader.settings import Settings
from perpstrader.trader.account import Identity, check_signer
from perpstrader.trader.agent import HOUR_MS, NO_ENTRIES_MS, agent_expiry_ms
from perpstrader.trader.doctor.checkup import Check, Found, failed, fine, poor, skipped
from perpstrader.venue.client import HyperliquidClient
from perpstrader.venue.encoding import WireEncoder
from perpstrader.venue.nonces import NonceSource
from perpstrader.venue.signer import Signer
from perpstrader.venue.wire.weights import info_weight

_HOLDERS: Final = ("user", "subAccount", "vault")
"""The roles of those who can hold positions (API sheet 1.2)."""

_LOOKS: Final = 3
_SOON_MS: Final = 7 * 24 * HOUR_MS
_MINUTE_MS: Final = 60_000
_COMPARED: Final = (
    "userFillsByTime", "frontendOpenOrders", "clearinghouseState", "userFunding", "userNonFundingLedgerUpdates",
)  # fmt: skip
"""What each comparison with the venue's records asks for."""

_LOOKED_AT: Final = ("exchangeStatus", "userRateLimit", "userAbstraction")
"""What is asked at the pace of the account's mode."""


class Patient:
    """One account at one venue, as it is asked about; ``transport`` is closed by whoever made it."""

    def __init__(self, settings: Settings, transport: Transport, clock: Clock, identity: Identity) -> None:
        mainnet = settings.venue.is_mainnet
        signer = Signer(identity.private_key, mainnet=mainnet)
        self.settings = settings
        self.signer = signer.address
        self.account = identity.account
        self.master = (settings.venue.account_address or identity.account).lower()
        self.answers: bool | None = None
        self.client = HyperliquidClient(
            transport, clock, WireEncoder(signer), NonceSource(clock, 0, lambda nonce: None), account=identity.account,
            vault_address=settings.venue.vault_address, timeout_s=settings.client.request_timeout_ms / 1000,
        )  # fmt: skip

    async def clock(self) -> Found:
        """Whether the venue answers, and how far this machine's clock is from its."""
        try:
            for _ in range(_LOOKS):
                await self.client.venue_time_ms()
        except VenueError as error:
            self.answers = False
            return failed(f"the venue gives no usable answer: {error}", "see the network, a proxy and venue.base_url")
        self.answers = True
        venue_clock, limit = self.client.venue_clock, self.settings.execution.max_clock_skew_ms
        text = f"{venue_clock.skew_ms} ms from the venue's, round trip {venue_clock.round_trip_ms} ms, limit {limit} ms"
        if abs(venue_clock.skew_ms) > limit:
            return failed(text, "set this machine's clock (NTP); no entry is sent before")
        return poor(text, "set this machine's clock") if abs(venue_clock.skew_ms) > limit // 2 else fine(text)

    async def key(self) -> Found:
        """Whether the key may sign for the account, and until when (S72)."""
        await check_signer(self.client, self.signer, self.settings)
        if self.signer == self.account:
            return fine(f"the account's own key signs for {self.account}, which is allowed off mainnet")
        text = f"{self.signer} is an agent of {self.master}"
        expires_ms = await agent_expiry_ms(self.client, self.signer, self.master)
        if expires_ms is None:
            return poor(f"{text} without a name, of which the venue tells no expiry", "approve it under a name")
        left_ms = expires_ms - self.client.venue_clock.now_ms()
        text, remedy = f"{text} until {moment_text(expires_ms)} UTC", "approve a new agent and start with its key"
        if left_ms < NO_ENTRIES_MS:
            return failed(f"{text}: entries stop {NO_ENTRIES_MS // HOUR_MS} h before", remedy)
        return poor(text, remedy) if left_ms < _SOON_MS else fine(text)

    async def whose(self) -> Found:
        """Whether the venue knows the account on this network, and as one that can hold positions."""
        network, (role, master) = self.settings.venue.network, await self.client.role(self.account)
        text = f"{self.account} is {role!r} on {network}"
        if role == "agent":
            return failed(f"{text}, of {master}: an agent holds nothing", "name its account in venue.account_address")
        if role not in _HOLDERS:
            return failed(f"{text}: nobody has ever paid in", "see venue.network and venue.account_address, or deposit")
        return fine(text if master is None else f"{text}, of {master}")

    async def mode(self) -> Found:
        """Whether the account's equity is where it is looked for (S39)."""
        mode = await self.client.mode()
        if mode not in SAFE_MODES:
            held = await self.client.queries.spot_balances()
            usdc = next((balance.total for balance in held.balances if balance.coin == "USDC"), "0")
            text = f"mode {mode.value}: the equity is not in the perp account, {usdc} USDC are in the spot account"
            return failed(text, "switch it to the standard mode")
        return fine(f"mode {mode.value}: the equity is in the perp account")

    async def funds(self) -> Found:
        """Whether there is enough to trade with."""
        state, least = await self.client.account(), self.settings.risk.min_equity_usd
        held = plural(len(state.positions), "position")
        text = f"equity {plain(state.equity_usd.quantize(CENT))} USD, {held} open"
        if state.equity_usd < least:
            return failed(f"{text}, limit {plain(least)} USD", "deposit, or lower risk.min_equity_usd")
        return fine(f"{text}, entries need {plain(least)} USD")

    async def limits(self) -> Found:
        """What is left of the address's requests, of open orders, and what the trader will ask for in a minute."""
        rate, orders = await self.client.rate_limit(), await self.client.open_orders()
        execution, weight = self.settings.execution, planned_weight(self.settings)
        own = self.settings.client.weight_per_minute
        reads = int(own * (1 - self.settings.client.exit_reserve_fraction))
        text = (
            f"{rate.left} of {rate.cap + rate.surplus} requests of the address left, "
            f"{plural(len(orders), 'open order')}, reads cost about {weight} of {own} a minute"
        )
        if rate.left < execution.min_address_budget:
            least = execution.min_address_budget
            return failed(f"{text}; entries need {least} requests", "trade more volume, or buy requests at the venue")
        if len(orders) >= execution.max_open_orders:
            return failed(f"{text}; entries stop at {execution.max_open_orders} open orders", "cancel some")
        if weight > reads * 2 // 3:
            return poor(f"{text}, of which {reads} are for reads", "raise execution.reconcile_interval_ms")
        return fine(text)

    async def symbols(self) -> Found:
        """Whether the venue lists what is traded."""
        listed = await self.client.metadata()
        unknown = [symbol for symbol in self.settings.trader.symbols if symbol not in listed]
        if unknown:
            near = difflib.get_close_matches(unknown[0], list(listed), n=1)
            hint = f"did you mean {near[0]}?" if near else "see trader.symbols"
            return failed(f"the venue does not list {', '.join(unknown)}", hint)
        return fine(f"all of {plural(len(self.settings.trader.symbols), 'symbol')} are among its {len(listed)}")


def venue_checks(patient: Patient | None, why_not: str = "") -> tuple[Check, ...]:
    """The checks that ask the venue; without a patient, or once it does not answer, they are skipped and say why."""
    looks: dict[str, Callable[[Patient], Awaitable[Found]]] = {
        "clock": Patient.clock, "account": Patient.whose, "key": Patient.key, "account mode": Patient.mode,
        "funds": Patient.funds, "limits": Patient.limits, "symbols": Patient.symbols,
    }  # fmt: skip
    return tuple(Check(name=name, look=_asking(look, patient, why_not)) for name, look in looks.items())


def _asking(
    look: Callable[[Patient], Awaitable[Found]], patient: Patient | None, why_not: str
) -> Callable[[], Awaitable[Found]]:
    async def ask() -> Found:
        if patient is None:
            return skipped(why_not)
        if patient.answers is False:
            return skipped("the venue does not answer")
        return await look(patient)

    return ask


def planned_weight(settings: Settings) -> int:
    """The IP weight of the reads that come by themselves, a minute, without those that decisions ask for."""
    execution = settings.execution
    compared = sum(info_weight(kind) for kind in _COMPARED) * _MINUTE_MS // execution.reconcile_interval_ms
    looked_at = sum(info_weight(kind) for kind in _LOOKED_AT) * _MINUTE_MS // execution.account_mode_interval_ms
    return compared + looked_at
