"""A person and another program at the controls: signals from outside, closes, halts, resumes, flattens, at random."""

from __future__ import annotations

import contextlib
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Final

from perpstrader.domain import AccountLockedError, Action, AssetSpec, HaltKind, Side, StateError
from perpstrader.runtime import AccountLock, Clock
from perpstrader.runtime.pool import TaskPool
from perpstrader.simulate.invariants import STRANGER, Witness
from perpstrader.trader.commands import CommandError, Commands, SignalRequest
from perpstrader.trader.trader import Trader

PAUSE_S: Final = (2.0, 30.0)
"""Between two commands, drawn evenly."""

_STRATEGY: Final = "external"
_ACTOR: Final = "campaign"
_STOPPING_ENTRIES: Final = ("venue", "execution", "risk", "state")
_WEIGHTS: Final = {
    "signal": 60, "close": 10, "turn": 6, "reduce": 8, "strange": 8, "rival": 6, "halt": 6, "flatten": 3, "resume": 25,
    "recover": 3, "latch": 3, "unlatch": 12,
}  # fmt: skip


class Operator:
    """Works on one life of a trader until it is stopped; ``witness`` is told of halts in force."""

    def __init__(
        self, trader: Trader, commands: Commands, clock: Clock, rng: Random, witness: Witness, pool: TaskPool,
        lock_path: Path,
    ) -> None:  # fmt: skip
        self._trader = trader
        self._commands = commands
        self._clock = clock
        self._rng = rng
        self._witness = witness
        self._pool = pool
        self._lock_path = lock_path

    async def run(self) -> None:
        """Something every few seconds, for ever; what one command waits for does not hold up the next."""
        names, weights = list(_WEIGHTS), list(_WEIGHTS.values())
        while True:
            await self._clock.sleep(self._rng.uniform(*PAUSE_S))
            name = self._rng.choices(names, weights)[0]
            self._pool.spawn(f"operator-{name}", getattr(self, name)())

    async def signal(self) -> None:
        """An open from outside: at market or resting, with a stop of its own or without."""
        rng = self._rng
        symbol, side = rng.choice(self._trader.settings.trader.symbols), rng.choice(tuple(Side))
        snapshot, asset = self._trader.market.snapshot(symbol), self._trader.execution.desk.assets.get(symbol)
        mid = None if snapshot is None else snapshot.mid
        if mid is None or asset is None:
            return
        distance = rng.uniform(0.002, 0.05)
        stop = _price(asset, mid, -distance * side.sign) if rng.random() < 0.8 else None
        target = _price(asset, mid, 2 * distance * side.sign) if rng.random() < 0.5 else None
        entry = _price(asset, mid, rng.uniform(-0.0015, 0.001) * side.sign) if rng.random() < 0.4 else None
        request = SignalRequest(
            symbol=symbol, side=side, confidence=round(rng.uniform(0.4, 1.0), 3), strategy=_STRATEGY,
            ttl_ms=rng.choice((2_000, 20_000, 60_000)), entry_price=entry, stop_price=stop, target_price=target,
        )  # fmt: skip
        await self._commands.signal(request, actor=_ACTOR)

    async def close(self) -> None:
        """Close a position as the operator."""
        held = list(self._trader.execution.desk.positions.holdings)
        if held:
            symbol = self._rng.choice(held)
            self._expect_exits([symbol])
            await self._commands.close(symbol, "a person closes it", actor=_ACTOR)

    async def turn(self) -> None:
        """Close a position, and want in again as soon as the close has left."""
        held = list(self._trader.execution.desk.positions.holdings)
        if not held:
            return
        symbol = self._rng.choice(held)
        self._expect_exits([symbol])
        self._pool.spawn("operator-out", self._commands.close(symbol, "a person turns it", actor=_ACTOR))
        for _ in range(self._rng.randint(1, 6)):
            await self._clock.sleep(self._rng.uniform(0.2, 3.0))
            await self._commands.signal(
                SignalRequest(symbol=symbol, side=self._rng.choice(tuple(Side)), strategy=_STRATEGY, ttl_ms=5_000),
                actor=_ACTOR,
            )

    async def reduce(self) -> None:
        """Its owner makes a position smaller."""
        mine = [h for h in self._trader.execution.desk.positions.holdings.values() if h.owner == _STRATEGY]
        if not mine:
            return
        holding = self._rng.choice(mine)
        part = abs(holding.size) * Decimal(self._rng.randint(1, 9)) / 10
        size = self._trader.execution.desk.asset(holding.symbol).floor_size(part)
        if size > 0:
            request = SignalRequest(
                symbol=holding.symbol, side=holding.side, action=Action.REDUCE, strategy=_STRATEGY,
                size=f"{size:f}", episode=holding.episode,
            )  # fmt: skip
            await self._commands.signal(request, actor=_ACTOR)

    async def strange(self) -> None:
        """Somebody who owns nothing wants to close, reduce or turn a position; nothing may come of it (S38)."""
        held = list(self._trader.execution.desk.positions.holdings.values())
        if not held:
            return
        holding, rng = self._rng.choice(held), self._rng
        episode = holding.episode if rng.random() < 0.5 else f"{holding.symbol}-0"
        mine = holding.owner == _STRATEGY and episode != holding.episode  # the owner itself, naming another episode
        action = rng.choice((Action.CLOSE, Action.REDUCE, Action.OPEN))
        size = self._trader.execution.desk.asset(holding.symbol).floor_size(abs(holding.size) / 2)
        request = SignalRequest(
            symbol=holding.symbol, side=holding.side.opposite if action is Action.OPEN else holding.side, action=action,
            strategy=_STRATEGY if mine and action is not Action.OPEN else STRANGER,
            episode=None if action is Action.OPEN else episode,
            size=f"{size:f}" if action is Action.REDUCE and size > 0 else None,
        )  # fmt: skip
        result = await self._commands.signal(request, actor=_ACTOR)
        now_held = self._trader.execution.desk.positions.holdings.get(holding.symbol)
        if now_held is not None and now_held.episode == holding.episode:
            text = f"{request.action} of {holding.episode} by {request.strategy}, naming {request.episode}"
            self._witness.judge("S38", not result.done, f"{text}: {result.text}")

    async def rival(self) -> None:
        """Another trader is started on the same files (S75)."""
        try:
            with AccountLock(self._lock_path, "the campaign's"):
                self._witness.judge("S75", False, "a second trader got the lock of the first one's account")
        except AccountLockedError:
            self._witness.judge("S75", True, "")

    async def recover(self) -> None:
        """Recovery is told by hand to close or halve a position, or to begin counting anew."""
        held = list(self._trader.execution.desk.positions.holdings)
        if held:
            action = self._rng.choice(("close", "reduce", "reset"))
            with contextlib.suppress(CommandError):  # it may have ended meanwhile
                await self._commands.recover(self._rng.choice(held), action, "a person helps", actor=_ACTOR)

    async def latch(self) -> None:
        """A breaker is opened by hand: no entry until it is closed by hand, restarts included (S43)."""
        name = self._rng.choice(_STOPPING_ENTRIES)
        result = await self._commands.open_breaker(name, "a person wants to look", actor=_ACTOR)
        if result.done:
            self._witness.latched[name] = None

    async def unlatch(self) -> None:
        """What a person opened a person closes."""
        if self._witness.latched:
            name = self._rng.choice(list(self._witness.latched))
            del self._witness.latched[name]
            await self._commands.reset_breaker(name, "a person has looked", actor=_ACTOR)

    async def halt(self) -> None:
        """No entries from the command's return on."""
        with contextlib.suppress(StateError):  # it holds in this life, but nobody has said that it is on disk
            await self._commands.halt("a person wants to look", actor=_ACTOR)
            self._keep_halted()

    def _keep_halted(self) -> None:
        """From now on until a resume no entry may go out, in whatever life (S40)."""
        if self._witness.halted_since_ms is None:
            self._witness.halted_since_ms = self._clock.now_ms()

    async def flatten(self) -> None:
        """Everything out; the halt in it holds from before the first close."""
        token = self._commands.prepare("flatten", {}).token
        self._expect_exits(list(self._trader.execution.desk.positions.holdings))
        await self._commands.flatten("a person wants out", actor=_ACTOR, token=token)
        on_disk = await self._trader.store.read(lambda tx: tx.halts.active())
        if any(halt.kind is HaltKind.OPERATOR for halt in on_disk):
            self._keep_halted()

    async def resume(self) -> None:
        """Go on, where something is halted."""
        if self._trader.halted() is None:
            return
        self._witness.halted(self._trader.keeper.state.halts)
        self._witness.halted_since_ms = None
        token = self._commands.prepare("resume", {}).token
        await self._commands.resume("a person has looked", actor=_ACTOR, token=token)

    def _expect_exits(self, symbols: list[str]) -> None:
        """Where no exit runs already that would be joined, one has to go out soon (S01)."""
        idle = [symbol for symbol in symbols if not self._trader.execution.exits.in_progress(symbol)]
        self._witness.conduct.wants_out(idle)


def _price(asset: AssetSpec, mid: Decimal, fraction: float) -> str:
    return f"{asset.price_down(mid * (1 + Decimal(str(round(fraction, 6))))):f}"
