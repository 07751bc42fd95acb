"""The venue's weight per IP and minute: what may be asked for now, who waits, and who is told that there is no room.

Three shares, each an exact sliding window, together never more than the venue's minute (API sheet 5.1):

* *reads* wait in two lanes, first come first served, the urgent before the patient;
* *light reads* (account, one order, a book: 2 each) have a share of their own beside it, because a stop is confirmed by
  them;
* *signed actions* use what is left and never wait. All else stops a little before the end, so that an exit finds room.

A charge counts from before the request leaves until 60 s after its answer has come, so that it covers the moment at
which the venue counts it, whichever that was. A read whose weight depends on the rows answered reserves the most that
they can be, and gives back the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from perpstrader.domain import PerpsTraderError
from perpstrader.runtime import Clock

MINUTE_MS: Final = 60_000
_LATE_MS: Final = 30_000
"""A request without an answer may reach the venue this long after it was given up."""

_PATIENT_FRACTION: Final = 0.8
"""Of what reads may use, the share up to which those do that nobody is in a hurry for."""

_EXIT_FRACTION: Final = 0.25
"""Of the reserve, the part that all else leaves to exits, stops and cancels."""

_FIRST_PAUSE_MS: Final = 500
_LONGEST_PAUSE_MS: Final = 8_000
_BUCKET_MS: Final = 5_000
_SAVED_EVERY: Final = 20
"""Weight that may be spent before the file is told; what a crash leaves untold is counted as spent."""

START_WEIGHT: Final = 100
"""What a start reads before its journal runs: written down before the first byte."""

_START_ROOM: Final = 300
"""What a start reads until its positions are protected, with room for what else is asked for then."""

_LIGHT_READ: Final = 2

_NS_PER_MS: Final = 1_000_000


class NoRoomError(PerpsTraderError):
    """The minute has no room for this request, which was not sent."""


class Share(enum.StrEnum):
    """Whose part of the minute it is."""

    READS = "reads"
    LIGHT = "light"
    ACTIONS = "actions"


class Window:
    """What one share has spent: charges still open, and those closed within the last 60 s, exactly."""

    def __init__(self) -> None:
        self._closed: deque[tuple[int, int]] = deque()
        self._closed_sum = 0
        self.open = 0

    def spent(self, now_ms: int) -> int:
        """Open and closed charges that count now."""
        self._forget(now_ms)
        return self.open + self._closed_sum

    def closed(self, now_ms: int) -> int:
        """Those alone that only time makes free."""
        self._forget(now_ms)
        return self._closed_sum

    def close(self, weight: int, until_ms: int) -> None:
        """Count ``weight`` until that time, inclusive."""
        if not weight:
            return
        late: list[tuple[int, int]] = []
        while self._closed and self._closed[-1][0] > until_ms:
            late.append(self._closed.pop())
        self._closed.append((until_ms, weight))
        self._closed.extend(reversed(late))
        self._closed_sum += weight

    def next_free_ms(self, now_ms: int) -> int | None:
        """When the first of the closed charges that still count is free again."""
        self._forget(now_ms)
        return self._closed[0][0] + 1 if self._closed else None

    def rows(self) -> Iterator[tuple[int, int]]:
        """Each closed charge: until when it counts, and its weight."""
        return iter(self._closed)

    def _forget(self, now_ms: int) -> None:
        while self._closed and self._closed[0][0] < now_ms:
            self._closed_sum -= self._closed.popleft()[1]


class Charge:
    """One request's weight; ``answered`` or ``lost`` ends it, and until then it counts in full."""

    __slots__ = ("_budget", "_weight", "_window")

    def __init__(self, budget: IpBudget, window: Window, weight: int) -> None:
        self._budget = budget
        self._window = window
        self._weight = weight

    def answered(self, weight: int) -> None:
        """The answer is here, and this is what it weighed."""
        self._end(weight, 0)

    def unsent(self) -> None:
        """Not a byte went out."""
        self._end(0, 0)

    def lost(self) -> None:
        """No answer: the venue may count all of it, and may yet begin to."""
        self._end(self._weight, _LATE_MS)

    def _end(self, weight: int, late_ms: int) -> None:
        self._window.open -= self._weight
        self._window.close(weight, self._budget.now_ms() + MINUTE_MS + late_ms)
        self._budget.changed()


class _Waiter:
    __slots__ = ("woken",)

    def __init__(self) -> None:
        self.woken = asyncio.Event()


class IpBudget:
    """Grants ``limit`` of weight within any 60 s, and not one more.

    ``reserve`` is the fraction that heavy reads leave: one half for light reads, one for signed actions.
    ``save`` is given the spending as text whenever it should be on disk; it must not wait.
    """

    def __init__(
        self, clock: Clock, *, limit: int, reserve: float, save: Callable[[str], None] = lambda text: None
    ) -> None:
        self._clock = clock
        self._save = save
        self._unsaved = 0
        self._windows = {share: Window() for share in Share}
        self._urgent: deque[_Waiter] = deque()
        self._patient: deque[_Waiter] = deque()
        self._paused_until_ms = 0
        self._pause_ms = _FIRST_PAUSE_MS
        self.limit = limit
        kept = int(limit * reserve)
        self._reads = limit - kept
        self._patient_reads = int(self._reads * _PATIENT_FRACTION)
        self._light = kept // 2
        self._but_exits = limit - int(kept * _EXIT_FRACTION)  # for all that is no exit, stop or cancel
        self.kept_back = 0
        """Requests that were not sent for want of room."""
        self.refusals = 0
        """Times that the venue said 429."""

    @property
    def spent(self) -> int:
        """The weight that counts now, answers under way included."""
        now = self.now_ms()
        return sum(window.spent(now) for window in self._windows.values())

    def now_ms(self) -> int:
        """Monotonic milliseconds."""
        return self._clock.monotonic_ns() // _NS_PER_MS

    # --- asking ---

    def take_action(self, weight: int, *, entry: bool) -> Charge:
        """Room for a signed action, at once; raises ``NoRoomError`` where the minute is used up."""
        ceiling = self._but_exits if entry else self.limit
        spent = self.spent
        if spent + weight > ceiling:
            what = "it leaves to exits" if entry else "the venue grants"
            raise self._no_room(f"{spent} of {ceiling} of weight a minute are spent, which is all that {what}")
        return self._charge(Share.ACTIONS, weight)

    async def take_light(self, weight: int, timeout_s: float) -> Charge:
        """Room for a light read, at once unless the venue asked for a pause."""
        await self._sit_out(timeout_s)
        now = self.now_ms()
        waiting = self._urgent or self._patient
        if self.spent + weight <= self._but_exits:
            if not waiting and self._windows[Share.READS].spent(now) + weight <= self._reads:
                return self._charge(Share.READS, weight)
            if self._windows[Share.LIGHT].spent(now) + weight <= self._light:
                return self._charge(Share.LIGHT, weight)
        raise self._no_room(f"{self.spent} of {self.limit} of weight a minute are spent")

    def has_light_to_spare(self) -> bool:
        """Whether a light read that can be left out would leave half of their share to those by which a stop is
        confirmed.
        """
        now = self.now_ms()
        if self.spent + _LIGHT_READ > self._but_exits:
            return False
        is_free = not (self._urgent or self._patient)
        if is_free and self._windows[Share.READS].spent(now) + _LIGHT_READ <= self._reads:
            return True
        return self._windows[Share.LIGHT].spent(now) + _LIGHT_READ <= self._light // 2

    async def take_read(self, weight: int, most: int, timeout_s: float, *, patient: bool) -> Charge:
        """Room for ``most``, of which ``weight`` is certain.

        A patient read waits ``timeout_s`` for it; an urgent one waits only where answers under way can give enough
        back. Raises ``NoRoomError``.
        """
        lane, ceiling = (self._patient, self._patient_reads) if patient else (self._urgent, self._reads)
        most = max(weight, min(most, ceiling))
        await self._sit_out(timeout_s)
        if self._turn(None, lane) and self._fits(most, ceiling):
            return self._charge(Share.READS, most)
        me, deadline_ms = _Waiter(), self.now_ms() + int(timeout_s * 1000)
        lane.append(me)
        try:
            while not (self._turn(me, lane) and self._fits(most, ceiling)):
                now = self.now_ms()
                hopeless = not patient and self._windows[Share.READS].closed(now) + weight > ceiling
                if hopeless or now >= deadline_ms:
                    raise self._no_room(f"{self.spent} of {self.limit} of weight a minute are spent")
                await self._wait(me, deadline_ms - now)
            return self._charge(Share.READS, most)
        finally:
            lane.remove(me)
            self.changed()

    # --- what the venue says ---

    def refused(self) -> None:
        """A 429: reads pause, twice as long each time, until one is answered."""
        self.refusals += 1
        now = self.now_ms()
        if now >= self._paused_until_ms:
            self._paused_until_ms = now + self._pause_ms
            self._pause_ms = min(_LONGEST_PAUSE_MS, self._pause_ms * 2)

    def accepted(self) -> None:
        """An answer that is no 429."""
        if self.now_ms() >= self._paused_until_ms:
            self._pause_ms = _FIRST_PAUSE_MS

    def changed(self) -> None:
        """Something was given back or has gone: whoever is first looks again."""
        for lane in (self._urgent, self._patient):
            if lane:
                lane[0].woken.set()

    # --- over restarts ---

    def saved(self) -> str:
        """The spending by 5 s, in wall time, for the process that comes after this one."""
        now, ahead_ms = self.now_ms(), self._clock.now_ms() - self.now_ms()
        shares: dict[str, list[tuple[int, int]]] = {}
        for share, window in self._windows.items():
            buckets: dict[int, int] = {}
            for until_ms, weight in (*window.rows(), (now + MINUTE_MS + _LATE_MS, window.open)):
                until = -((until_ms + ahead_ms) // -_BUCKET_MS) * _BUCKET_MS
                buckets[until] = buckets.get(until, 0) + weight
            shares[share.value] = sorted((until, weight) for until, weight in buckets.items() if weight)
        return msgspec.json.encode(shares).decode()

    def load(self, text: str | None) -> None:
        """Count what a predecessor has written down, and what it may have spent without; a text that cannot be read
        counts as the whole share of reads.
        """
        if text is None:
            return
        now, ahead_ms = self.now_ms(), self._clock.now_ms() - self.now_ms()
        try:
            shares = _SAVED.decode(text)
        except msgspec.DecodeError:
            shares = {Share.READS.value: [(now + ahead_ms + MINUTE_MS, self._reads)]}
        shares.setdefault(Share.READS.value, []).append((now + ahead_ms + MINUTE_MS, _SAVED_EVERY))
        longest = now + MINUTE_MS + _LATE_MS + _BUCKET_MS
        for share, rows in shares.items():
            for until_ms, weight in rows:
                if share in set(Share) and until_ms - ahead_ms >= now:
                    self._windows[Share(share)].close(weight, min(longest, until_ms - ahead_ms))

    def start_waits_s(self) -> float:
        """How long a start has to wait until there is room for the reads by which it finds and protects positions."""
        now, end = self.now_ms(), self.now_ms()
        needed = min(_START_ROOM, self._reads, self._but_exits)
        reads, every = self._windows[Share.READS], sum(window.closed(now) for window in self._windows.values())
        runs_out = sorted((until, weight, window is reads) for window in self._windows.values()
                          for until, weight in window.rows())  # fmt: skip
        left = reads.closed(now)
        for until_ms, weight, is_read in runs_out:
            if left + needed <= self._reads and every + needed <= self._but_exits:
                break
            every -= weight
            left -= weight if is_read else 0
            end = until_ms + 1
        return max(0, end - now) / 1000

    def begin(self) -> str:
        """What a start has to write down before its first byte: the spending, and its own reads in advance."""
        charge = self._charge(Share.READS, START_WEIGHT, tell=False)
        try:
            return self.saved()
        finally:
            charge.unsent()

    # --- inside ---

    def _charge(self, share: Share, weight: int, *, tell: bool = True) -> Charge:
        window = self._windows[share]
        window.open += weight
        if tell:
            self._unsaved += weight
            if self._unsaved >= _SAVED_EVERY:
                self._unsaved = 0
                self._save(self.saved())
        return Charge(self, window, weight)

    def _fits(self, weight: int, ceiling: int) -> bool:
        room = self._windows[Share.READS].spent(self.now_ms()) + weight <= ceiling
        return room and self.spent + weight <= self._but_exits

    def _turn(self, me: _Waiter | None, lane: deque[_Waiter]) -> bool:
        """Whether nobody is before ``me``: nobody in the lane, and for a patient one nobody urgent."""
        first = not lane or lane[0] is me
        return first and (lane is self._urgent or not self._urgent)

    async def _wait(self, me: _Waiter, left_ms: int) -> None:
        """Until something is given back, the next charge runs out, or the time is over."""
        now = self.now_ms()
        free_ms = [free for window in self._windows.values() if (free := window.next_free_ms(now)) is not None]
        pause_ms = min([left_ms, *(max(1, free - now) for free in free_ms)])
        me.woken.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_ms / 1000):
                await me.woken.wait()

    async def _sit_out(self, timeout_s: float) -> None:
        """A pause that the venue asked for; raises where it is longer than the caller would wait."""
        while (left_ms := self._paused_until_ms - self.now_ms()) > 0:
            if left_ms > timeout_s * 1000:
                raise self._no_room(f"the venue said 429, reads pause for {left_ms} ms more")
            await self._clock.sleep(left_ms / 1000)

    def _no_room(self, why: str) -> NoRoomError:
        self.kept_back += 1
        return NoRoomError(why)


_SAVED: Final = msgspec.json.Decoder(dict[str, list[tuple[int, int]]])
