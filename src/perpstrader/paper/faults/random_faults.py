"""Faults by chance: the same seed and the same requests meet the same faults."""

from __future__ import annotations

from random import Random
from typing import Final

import msgspec

from perpstrader.domain.errors import PerpsTraderError
from perpstrader.paper.faults.contract import NO_FAULT, FaultKind, FrameFate, RequestFate

_ON_ANY_REQUEST: Final = (
    FaultKind.REFUSED, FaultKind.REQUEST_LOST, FaultKind.RESPONSE_LOST, FaultKind.BAD_GATEWAY,
    FaultKind.BAD_GATEWAY_AFTER, FaultKind.TOO_MANY, FaultKind.DELAY,
)  # fmt: skip
_ON_FRAME: Final = (FaultKind.FRAME_TWICE, FaultKind.SOCKET_DROPPED, FaultKind.SOCKET_FROZEN)


class FaultRates(msgspec.Struct, frozen=True, kw_only=True):
    """How probable each kind is, of each request or of each frame; delays and lags are drawn evenly up to their top."""

    refused: float = 0.0
    request_lost: float = 0.0
    response_lost: float = 0.0
    bad_gateway: float = 0.0
    bad_gateway_after: float = 0.0
    too_many: float = 0.0
    delay: float = 0.0
    lag: float = 0.0
    frame_twice: float = 0.0
    socket_dropped: float = 0.0
    socket_frozen: float = 0.0
    most_delay_s: float = 5.0
    most_lag_ms: int = 5_000

    def of(self, kind: FaultKind) -> float:
        """The probability of one kind."""
        return float(getattr(self, kind.value))


class RandomFaults:
    """One draw a request and one a frame, whatever the rates, so that changing one rate does not shift the others.

    ``landed`` counts what was decided, by kind. ``paused`` stops all faults (and keeps drawing), as after a campaign.
    """

    def __init__(self, rng: Random, rates: FaultRates) -> None:
        for kinds in ((*_ON_ANY_REQUEST, FaultKind.LAG), _ON_FRAME):
            total = sum(rates.of(kind) for kind in kinds)
            if total > 1.0 or any(rates.of(kind) < 0.0 for kind in kinds):
                raise PerpsTraderError(
                    f"fault rates {', '.join(kinds)} add up to {total:g}; each must be 0 or more, all at most 1"
                )
        self._rng = rng
        self._rates = rates
        self.landed: dict[FaultKind, int] = dict.fromkeys(FaultKind, 0)
        self.paused = False

    def of_request(self, path: str) -> RequestFate:
        """See ``Faults``; only reads can lag."""
        kinds = (*_ON_ANY_REQUEST, FaultKind.LAG) if path == "/info" else _ON_ANY_REQUEST
        kind = self._draw(kinds)
        amount = self._rng.random()
        if kind is None:
            return NO_FAULT
        delay_s = amount * self._rates.most_delay_s if kind is FaultKind.DELAY else 0.0
        lag_ms = round(amount * self._rates.most_lag_ms) if kind is FaultKind.LAG else 0
        return RequestFate(kind, delay_s, lag_ms)

    def of_frame(self) -> FrameFate:
        """See ``Faults``."""
        return self._draw(_ON_FRAME)

    def _draw(self, kinds: tuple[FaultKind, ...]) -> FaultKind | None:
        point = self._rng.random()
        if self.paused:
            return None
        for kind in kinds:
            point -= self._rates.of(kind)
            if point < 0.0:
                self.landed[kind] += 1
                return kind
        return None
