"""Between the trader and the paper exchange: faults by plan, a process that can die in the middle of a request, and a
witness to what was really sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Final

from perpstrader.paper.faults import FaultKind, FaultRates, FrameFate, LateFrame, RandomFaults, RequestFate
from perpstrader.runtime import Answer, CloseHandler, FrameHandler, Socket, Transport, TransportError
from perpstrader.simulate.invariants import Witness
from perpstrader.simulate.plan import Blackout, Crash, Moment, Plan
from perpstrader.simulate.reach import Reach
from perpstrader.venue.wire import info

LATE_MS: Final = 1_500
"""A request that took longer than any round trip of the latency model counts as time out of reach."""

PAUSE_MS: Final = 1_000
"""After a request that failed nobody is held to try again at once: so much of the pause counts as out of reach, too."""

_DRAWN: Final = tuple(kind for kind in FaultKind if kind.value in FaultRates.__struct_fields__)
"""The kinds that a campaign draws; the others are the paper exchange's own, for whoever turns them on."""

FROZEN_MS: Final = 4_500
"""A stream that froze excuses so much: by then its silence is longer than its market explains, and looked behind."""

TRADER: Final = "trader"


class PlannedFaults:
    """Faults of a plan: chance by its rates, and blackouts in which every request and every frame is lost.

    ``landed`` counts, by kind, those that hit while an order or a position of the account was open.
    """

    def __init__(self, plan: Plan, seconds: Callable[[], float], is_at_stake: Callable[[], bool], reach: Reach) -> None:
        self._chance = RandomFaults(Random(f"campaign faults {plan.seed}"), plan.rates)
        self._blackouts = plan.blackouts
        self._seconds = seconds
        self._is_at_stake = is_at_stake
        self._reach = reach
        self.landed: dict[FaultKind, int] = dict.fromkeys(_DRAWN, 0)

    def end(self) -> None:
        """No fault from now on."""
        self._chance.paused = True
        self._blackouts = ()

    def of_request(self, path: str, body: bytes) -> RequestFate:
        """See ``Faults``."""
        fate = self._chance.of_request(path, body)
        if (dark := self._darkness()) is not None:
            fate = RequestFate(FaultKind.BAD_GATEWAY if dark.has_gateway else FaultKind.REQUEST_LOST)
        self._note(fate.kind)
        return fate

    def of_frame(self, frame: bytes) -> FrameFate:
        """See ``Faults``; a socket that froze says nothing of it, which is noticed in ``FROZEN_MS``.

        One that ended is known to be down: what it would tell is asked for by request, so it excuses nothing.
        """
        fate = self._chance.of_frame(frame)
        if self._darkness() is not None:
            fate = FaultKind.SOCKET_FROZEN
        self._note(FaultKind.FRAME_LATE if isinstance(fate, LateFrame) else fate)
        if fate is FaultKind.SOCKET_FROZEN:
            self._reach.add_from_now(FROZEN_MS)
        return fate

    def _darkness(self) -> Blackout | None:
        now = self._seconds()
        return next((dark for dark in self._blackouts if dark.begin_s <= now < dark.end_s), None)

    def _note(self, kind: FaultKind | None) -> None:
        if kind in self.landed and self._is_at_stake():
            self.landed[kind] += 1


class MortalTransport:
    """One life's ``Transport``: ``died`` is set in the middle of the request at which the plan lets the trader die.

    After ``kill`` nothing of that life is sent or delivered any more; what was on its way still arrives at the venue.
    """

    def __init__(
        self, inner: Transport, now_ms: Callable[[], int], reach: Reach, witness: Witness, crash: Crash | None
    ) -> None:
        self._inner = inner
        self._now_ms = now_ms
        self._reach = reach
        self._witness = witness
        self._crash = crash
        self._signed = 0
        self._dead = False
        self.died = asyncio.Event()

    async def post(self, path: str, body: bytes, *, timeout_s: float) -> Answer:
        """See ``Transport``."""
        await self._maybe_die(path, Moment.BEFORE_SENDING)
        if path == "/exchange":
            self._signed += 1
            self._witness.sent(body)
        begin_ms = self._now_ms()
        try:
            answer = await self._inner.post(path, body, timeout_s=timeout_s)
        except (TransportError, asyncio.CancelledError) as error:
            if self._dead and isinstance(error, TransportError):
                await asyncio.Future()  # what ends with the process reaches nobody in it
            self._reach.add(begin_ms, PAUSE_MS)
            if path == "/exchange" and isinstance(error, TransportError) and not error.sent:
                self._witness.settled_by_answer(body)
            raise
        await self._maybe_die(path, Moment.BEFORE_THE_ANSWER)
        if path == "/exchange" and answer.status == 200:
            self._witness.settled_by_answer(body)
        if path == "/info" and answer.status == 200:
            self._note_read(body, answer.body)
        if answer.status != 200 or self._now_ms() - begin_ms > LATE_MS:
            self._reach.add(begin_ms, PAUSE_MS)
        else:
            self._reach.regain(TRADER)
        return answer

    async def open_socket(self, on_frame: FrameHandler, on_close: CloseHandler) -> Socket:
        """See ``Transport``."""

        def frame(raw: bytes) -> None:
            if not self._dead:
                self._witness.conduct.learned("stream")
                on_frame(raw)

        def close(reason: str) -> None:
            if not self._dead:
                on_close(reason)

        return await self._inner.open_socket(frame, close)

    async def close(self) -> None:
        """See ``Transport``."""
        await self._inner.close()

    async def kill(self) -> None:
        """The process is gone."""
        self._dead = True
        self._witness.conduct.died()
        self._reach.lose(TRADER)
        await self._inner.close()

    def _note_read(self, body: bytes, answer: bytes) -> None:
        request = info.decode_request(body)
        if request.type == "clearinghouseState":
            self._witness.conduct.learned("account")
        elif request.type == "l2Book":
            self._witness.conduct.learned(f"book {request.coin}")
        elif request.type == "userRateLimit":
            limit = info.USER_RATE_LIMIT.decode(answer)
            self._witness.conduct.learned_budget(limit.n_requests_cap - limit.n_requests_used)

    async def _maybe_die(self, path: str, moment: Moment) -> None:
        if self._dead:
            await asyncio.Future()
        crash, due = self._crash, self._signed + (1 if moment is Moment.BEFORE_SENDING else 0)
        if crash is not None and path == "/exchange" and moment is crash.moment and due == crash.request:
            self.died.set()
            await asyncio.Future()
