"""Faults by chance: the same seed and the same requests meet the same faults."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import Final

import msgspec

from perpstrader.paper.faults.contract import NO_FAULT, FaultKind, FrameFate, LateFrame, RequestFate
from perpstrader.paper.faults.rules import (
    ON_FRAME,
    ON_REQUEST,
    ON_VENUE,
    READS_ONLY,
    FaultRule,
    check_together,
    classes_of,
    classes_of_frame,
)

_BROAD: Final = frozenset({"any", "actions", "info"})
_SERVER_ERRORS: Final = (500, 503, 504)
_HOUR_MS: Final = 3_600_000


class FaultRates(msgspec.Struct, frozen=True, kw_only=True):
    """How probable each kind is, of each request or of each frame; delays and lags are drawn evenly up to their top."""

    refused: float = 0.0
    request_lost: float = 0.0
    response_lost: float = 0.0
    bad_gateway: float = 0.0
    bad_gateway_after: float = 0.0
    too_many: float = 0.0
    delay: float = 0.0
    server_error: float = 0.0
    request_twice: float = 0.0
    lag: float = 0.0
    frame_twice: float = 0.0
    frame_late: float = 0.0
    frame_swapped: float = 0.0
    socket_dropped: float = 0.0
    socket_frozen: float = 0.0
    most_delay_s: float = 5.0
    most_late_s: float = 2.0
    most_lag_ms: int = 5_000

    def rules(self) -> list[FaultRule]:
        """The same as rules for messages of any class."""
        amounts = {
            FaultKind.DELAY: self.most_delay_s, FaultKind.LAG: self.most_lag_ms / 1000,
            FaultKind.FRAME_LATE: self.most_late_s,
        }  # fmt: skip
        return [
            FaultRule(kind, rate, "any", amounts.get(kind, 0.0))
            for kind in (*ON_REQUEST, *ON_FRAME)
            if (rate := getattr(self, kind.value, 0.0))
        ]


class RandomFaults:
    """Two draws a request and one a frame, whatever the rules, so that changing one rule does not shift the others.

    ``landed`` counts what was decided, by kind. ``paused`` stops all faults (and keeps drawing), as after a campaign.
    Raises ``FaultRuleError`` for rates of one class that are more than 1 together.
    """

    def __init__(self, rng: Random, rules: FaultRates | Sequence[FaultRule] = ()) -> None:
        self._rng = rng
        self.landed: dict[FaultKind, int] = dict.fromkeys(FaultKind, 0)
        self.paused = False
        self.set_rules(rules.rules() if isinstance(rules, FaultRates) else rules)

    @property
    def rules(self) -> tuple[FaultRule, ...]:
        """The rules in force."""
        return self._rules

    def set_rules(self, rules: Iterable[FaultRule]) -> None:
        """From now on these rules and no others; bursts that were under way end."""
        chosen = tuple(rules)
        check_together(chosen)
        self._rules = chosen
        self._on_request = _ordered(chosen, ON_REQUEST)
        self._on_frame = _ordered(chosen, ON_FRAME)
        self._on_venue = _ordered(chosen, ON_VENUE)
        self._needs_body = any(rule.where not in _BROAD for rule in self._on_request)
        self._needs_frame = any(rule.where not in ("any", "ws") for rule in self._on_frame)
        self._bursts: dict[FaultRule, int] = {}

    def of_request(self, path: str, body: bytes = b"") -> RequestFate:
        """See ``Faults``; only reads can lag or miss records."""
        classes = classes_of(path, body) if self._needs_body else ("info",) if path == "/info" else ("actions",)
        rule = self._in_burst(classes) or self._draw(self._on_request, classes)
        amount = self._rng.random()
        if rule is None:
            return NO_FAULT
        kind = rule.kind
        return RequestFate(
            kind,
            amount * rule.amount if kind is FaultKind.DELAY else 0.0,
            round(amount * (rule.amount * 1000)) if kind is FaultKind.LAG else 0,
            _SERVER_ERRORS[int(amount * len(_SERVER_ERRORS))],
        )

    def of_frame(self, frame: bytes = b"") -> FrameFate:
        """See ``Faults``."""
        rule = self._draw(self._on_frame, classes_of_frame(frame) if self._needs_frame else ("ws",))
        if rule is not None and rule.kind is FaultKind.FRAME_LATE:
            return LateFrame(self._rng.random() * rule.amount)
        return None if rule is None else rule.kind

    def of_venue(self, elapsed_ms: int) -> list[FaultRule]:
        """What befalls the venue by itself in a time of that length; draws only where there are such rules."""
        happened = [rule for rule in self._on_venue if self._rng.random() < rule.rate * elapsed_ms / _HOUR_MS]
        if self.paused:
            return []
        for rule in happened:
            self.landed[rule.kind] += 1
        return happened

    def pick(self, count: int) -> int:
        """One of ``count`` by chance."""
        return self._rng.randrange(count)

    def _in_burst(self, classes: tuple[str, ...]) -> FaultRule | None:
        """The burst that the request falls into."""
        if not self._bursts:
            return None
        rule = next((one for one in self._bursts if one.concerns(classes)), None)
        if rule is not None:
            self._rng.random()  # the draw that it spares: what follows a burst does not depend on it
            self.landed[rule.kind] += 1
            self._bursts[rule] -= 1
            if self._bursts[rule] <= 0:
                del self._bursts[rule]
        return rule

    def _draw(self, rules: tuple[FaultRule, ...], classes: tuple[str, ...]) -> FaultRule | None:
        point = self._rng.random()
        if self.paused:
            return None
        for rule in rules:
            if not rule.concerns(classes) or (rule.kind in READS_ONLY and classes[0] != "info"):
                continue
            point -= rule.rate
            if point < 0.0:
                self.landed[rule.kind] += 1
                if rule.kind in ON_REQUEST and rule.amount > 1 and rule.kind not in (FaultKind.DELAY, FaultKind.LAG):
                    self._bursts[rule] = int(rule.amount) - 1
                return rule
        return None


def _ordered(rules: tuple[FaultRule, ...], kinds: tuple[FaultKind, ...]) -> tuple[FaultRule, ...]:
    return tuple([rule for kind in kinds for rule in rules if rule.kind is kind])
