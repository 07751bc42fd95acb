"""What the risk manager remembers between decisions, as one row."""

from __future__ import annotations

import apsw
import msgspec

from perpstrader.domain.risk_state import RiskState
from perpstrader.state._codec import decode, encode, text, text_or_none
from perpstrader.state.halts import HaltsRepository

_states = msgspec.json.Decoder(RiskState)


class RiskRepository:
    """The newest risk state; use it only inside ``StateStore.transact`` or ``StateStore.read``."""

    def __init__(self, connection: apsw.Connection, halts: HaltsRepository) -> None:
        self._connection = connection
        self._halts = halts

    def save(self, state: RiskState) -> None:
        """The state replaces the stored one, except its halts: those change only through ``HaltsRepository`` (S40)."""
        for amount in (state.realized_usd, state.fees_usd, state.funding_usd, state.cash_flows_usd):
            text(amount)
        for known in (state.day_start_equity_usd, state.peak_equity_usd, state.limits_equity_usd):
            text_or_none(known)
        body = encode(msgspec.structs.replace(state, halts=()))
        self._connection.execute(
            "INSERT OR REPLACE INTO risk_state VALUES (1, ?, ?, ?)", (state.version, state.day, body)
        )

    def load(self) -> RiskState | None:
        """The stored state with the halts in force, ``None`` before the first save; unreadable: ``StateError``."""
        body = self._connection.execute("SELECT body FROM risk_state WHERE id = 1").get
        if body is None:
            return None
        return msgspec.structs.replace(decode(_states, body, "risk state"), halts=self._halts.active())
