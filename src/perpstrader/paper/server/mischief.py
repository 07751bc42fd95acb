"""What befalls the venue itself: stops that vanish, agents that are pruned, post-only windows, a wrong clock, records
that are evicted, and an account as it was some seconds ago.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from perpstrader.paper.faults import FaultKind, FaultRule, RandomFaults
from perpstrader.paper.server import info_api
from perpstrader.paper.server.world import World
from perpstrader.runtime import Clock
from perpstrader.venue.wire.info import InfoRequest, encode

TICK_MS: Final = 1_000
SKEW_LASTS_MS: Final = 300_000
"""How long a wrong clock stays wrong."""
_PAST_STATES: Final = 256
_EVICTED: Final = 10_000
_LIVE: Final = frozenset({"open", "triggered"})
_UNKNOWN: Final = b'{"status":"unknownOid"}'


class SkewedClock:
    """The venue's clock: the given one, and ``skew_ms`` that it goes ahead."""

    def __init__(self, inner: Clock) -> None:
        self._inner = inner
        self.skew_ms = 0

    def now_ms(self) -> int:
        """See ``Clock``."""
        return self._inner.now_ms() + self.skew_ms

    def monotonic_ns(self) -> int:
        """See ``Clock``; never skewed."""
        return self._inner.monotonic_ns()

    async def sleep(self, seconds: float) -> None:
        """See ``Clock``."""
        await self._inner.sleep(seconds)


class Mischief:
    """Carries out the faults of one venue that are not of one message; made once, it puts ``world`` under its clock."""

    def __init__(self, world: World, faults: RandomFaults) -> None:
        self.faults = faults
        self._world = world
        self._true_clock = world.clock
        self._clock = SkewedClock(world.clock)
        world.clock = self._clock
        self._ticked_ms = self._true_clock.now_ms()
        self._post_only_until_ms = 0
        self._skewed_until_ms = 0
        self._past: dict[str, deque[tuple[int, bytes]]] = {}
        self._evicted: dict[int, None] = {}
        self.remember(world.exchange.users())

    # --- by itself ---

    def tick(self) -> None:
        """Time has passed: what was due happens, what was for a while ends."""
        now_ms = self._true_clock.now_ms()
        if 0 <= now_ms - self._ticked_ms < TICK_MS:
            return
        elapsed_ms, self._ticked_ms = now_ms - self._ticked_ms, now_ms
        if self._post_only_until_ms and now_ms >= self._post_only_until_ms:
            self._post_only_until_ms = 0
            self._world.exchange.set_post_only(False)
        if self._skewed_until_ms and now_ms >= self._skewed_until_ms:
            self._skewed_until_ms = self._clock.skew_ms = 0
        for rule in self.faults.of_venue(max(elapsed_ms, 0)):
            self.happen(rule)

    def end(self) -> None:
        """What was for a while ends now: post-only windows, a wrong clock."""
        if self._post_only_until_ms:
            self._world.exchange.set_post_only(False)
        self._post_only_until_ms = self._skewed_until_ms = self._clock.skew_ms = 0

    def happen(self, rule: FaultRule) -> bool:
        """Let it happen now; whether there was anything that it could happen to."""
        now_ms = self._true_clock.now_ms()
        match rule.kind:
            case FaultKind.STOP_CANCELED:
                return self._cancel_a_stop()
            case FaultKind.AGENT_PRUNED:
                return self._prune_an_agent()
            case FaultKind.DELEVERAGED:
                return self._deleverage()
            case FaultKind.POST_ONLY:
                self._world.exchange.set_post_only(True)
                self._post_only_until_ms = now_ms + round(rule.amount * 1000)
            case FaultKind.CLOCK_SKEW:
                self._clock.skew_ms = round(rule.amount * 1000)
                self._skewed_until_ms = now_ms + SKEW_LASTS_MS
            case _:
                return False
        return True

    def _cancel_a_stop(self) -> bool:
        exchange = self._world.exchange
        stops = [
            (user, order)
            for user in exchange.users()
            for order in exchange.open_orders(user)
            if order.trigger is not None and not order.held
        ]
        if not stops:
            return False
        user, order = stops[self.faults.pick(len(stops))]
        exchange.cancel(user, order.coin, order.oid, self._world.now_ms())
        return True

    def _deleverage(self) -> bool:
        exchange = self._world.exchange
        held = [position for user in exchange.users() for position in exchange.account_state(user).positions]
        if not held:
            return False
        position = held[self.faults.pick(len(held))]
        lots = -(-abs(position.size) // 2)
        # Who was bankrupt held the other side.
        signed = -lots if position.size > 0 else lots
        return exchange.auto_deleverage(position.coin, signed, self._world.now_ms()) > 0

    def _prune_an_agent(self) -> bool:
        agents = self._world.agents.all()
        if not agents:
            return False
        pruned = agents[self.faults.pick(len(agents))]
        self._world.agents.restore([agent for agent in agents if agent is not pruned])
        return True

    # --- what is read ---

    def remember(self, users: Iterable[str]) -> None:
        """Keep these accounts as they are now, for reads that lag; costs nothing while none can."""
        if not any(rule.kind is FaultKind.LAG for rule in self.faults.rules):
            self._past.clear()
            return
        now_ms = self._world.now_ms()
        for user in users:
            request = InfoRequest("clearinghouseState", user=user)
            body = info_api.answer(self._world, request, now_ms).body
            self._past.setdefault(user, deque(maxlen=_PAST_STATES)).append((now_ms, body))

    def changed(self, request: InfoRequest, body: bytes, visible_ms: int | None, *, forgets: bool) -> bytes:
        """The answer ``body`` of a read as an info server that lags, or has lost records, gives it."""
        if request.type == "clearinghouseState" and visible_ms is not None:
            past = self._past.get((request.user or "").lower(), ())
            return next((old for time_ms, old in reversed(past) if time_ms <= visible_ms), body)
        if request.type == "orderStatus" and (forgets or self._evicted):
            record = msgspec.json.decode(body)
            return _UNKNOWN if record["status"] == "order" and self._is_gone(record["order"], forgets) else body
        if request.type == "historicalOrders" and (forgets or self._evicted):
            rows = msgspec.json.decode(body)
            return encode([row for row in rows if not self._is_gone(row, forgets)])
        return body

    def _is_gone(self, record: dict[str, Any], forgets: bool) -> bool:
        oid = record["order"]["oid"]
        if forgets and record["status"] not in _LIVE:
            self._evicted[oid] = None
            if len(self._evicted) > _EVICTED:
                del self._evicted[next(iter(self._evicted))]
        return oid in self._evicted
