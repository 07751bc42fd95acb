"""The venue's two budgets: weight per client and minute, and actions per address (API sheet 5.1, 5.2)."""

from __future__ import annotations

from collections import deque
from typing import Final

from perpstrader.venue.wire.errors import ErrorCode, error_text
from perpstrader.venue.wire.limits import BASE_REQUESTS, EXHAUSTED_INTERVAL_MS, IP_WEIGHT_PER_MINUTE, cancel_cap

MINUTE_MS: Final = 60_000
_MICRO: Final = 1_000_000


class ClientWeights:
    """Weight spent by each client in the last 60 s, exactly: what was spent 60 s ago is free again."""

    def __init__(self, limit: int = IP_WEIGHT_PER_MINUTE) -> None:
        self._limit = limit
        self._spent: dict[str, deque[tuple[int, int]]] = {}
        self._sums: dict[str, int] = {}

    def allows(self, client: str, weight: int, now_ms: int) -> bool:
        """Whether the client has ``weight`` left; changes nothing but what has run out."""
        spent = self._spent.get(client)
        if spent is None:
            return weight <= self._limit
        while spent and spent[0][0] <= now_ms - MINUTE_MS:
            self._sums[client] -= spent.popleft()[1]
        if not spent:
            del self._spent[client], self._sums[client]
            return weight <= self._limit
        return self._sums[client] + weight <= self._limit

    def spent(self, client: str) -> int:
        """The client's weight in the window, as of the last call of ``allows``."""
        return self._sums.get(client, 0)

    def spend(self, client: str, weight: int, now_ms: int) -> None:
        """Count ``weight``; rows that an answer turned out to have may bring a client over its limit."""
        if weight:
            self._spent.setdefault(client, deque()).append((now_ms, weight))
            self._sums[client] = self._sums.get(client, 0) + weight


class AddressBudget:
    """Actions that each address has sent, against 10,000 and one per USD that it ever traded."""

    def __init__(self) -> None:
        self.used: dict[str, int] = {}
        self._let_through: dict[str, int] = {}

    @staticmethod
    def cap(volume_micro_usd: int) -> int:
        """How many actions an address of that lifetime volume may send."""
        return BASE_REQUESTS + volume_micro_usd // _MICRO

    def charge(
        self, user: str, count: int, volume_micro_usd: int, now_ms: int, *, cancels: bool, bought: int = 0
    ) -> str | None:
        """Count ``count`` actions; the venue's refusal, which costs nothing, when they are too many.

        Cancels have a larger cap; beyond its cap an address is let through once in 10 s.
        """
        used, cap = self.used.get(user, 0), self.cap(volume_micro_usd) + bought
        allowed = cancel_cap(cap) if cancels else cap
        if used + count > allowed:
            last = self._let_through.get(user)
            if last is not None and now_ms < last + EXHAUSTED_INTERVAL_MS:
                volume = f"{volume_micro_usd // _MICRO}.{volume_micro_usd % _MICRO // 10_000:02}"
                return error_text(ErrorCode.TOO_MANY_REQUESTS, used=used + count, cap=allowed, volume=volume)
            self._let_through[user] = now_ms
        self.used[user] = used + count
        return None
