"""A person and another program at the controls: signals from outside, closes, halts, resumes, flattens, at random."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Final

from perpstrader.domain import Action, AssetSpec, HaltKind, Side
from perpstrader.runtime import Clock
from perpstrader.runtime.pool import TaskPool
from perpstrader.simulate.invariants import Witness
from perpstrader.trader.commands import Commands, SignalRequest
from perpstrader.trader.trader import Trader

_STRATEGY: Final = "external"
_ACTOR: Final = "campaign"
_WEIGHTS: Final = {"signal": 60, "close": 10, "reduce": 8, "halt": 6, "flatten": 3, "resume": 25}


class Operator:
    """Works on one life of a trader until it is stopped; ``witness`` is told of halts in force."""

    def __init__(
        self, trader: Trader, commands: Commands, clock: Clock, rng: Random, witness: Witness, pool: TaskPool
    ) -> None:
        self._trader = trader
        self._commands = commands
        self._clock = clock
        self._rng = rng
        self._witness = witness
        self._pool = pool

    async def run(self) -> None:
        """Something every few seconds, for ever; what one command waits for does not hold up the next."""
        names, weights = list(_WEIGHTS), list(_WEIGHTS.values())
        while True:
            await self._clock.sleep(self._rng.uniform(2, 30))
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
            await self._commands.close(self._rng.choice(held), "a person closes it", actor=_ACTOR)

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

    async def halt(self) -> None:
        """No entries from the command's return on."""
        await self._commands.halt("a person wants to look", actor=_ACTOR)
        if self._witness.halted_since_ms is None:
            self._witness.halted_since_ms = self._clock.now_ms()

    async def flatten(self) -> None:
        """Everything out; the halt in it holds from before the first close."""
        token = self._commands.prepare("flatten", {}).token
        await self._commands.flatten("a person wants out", actor=_ACTOR, token=token)
        halted = any(halt.kind is HaltKind.OPERATOR for halt in self._trader.keeper.state.halts)
        if self._witness.halted_since_ms is None and halted:
            self._witness.halted_since_ms = self._clock.now_ms()

    async def resume(self) -> None:
        """Go on, where something is halted."""
        if self._trader.may_trade() is None:
            return
        self._witness.halted(self._trader.keeper.state.halts)
        self._witness.halted_since_ms = None
        token = self._commands.prepare("resume", {}).token
        await self._commands.resume("a person has looked", actor=_ACTOR, token=token)


def _price(asset: AssetSpec, mid: Decimal, fraction: float) -> str:
    return f"{asset.price_down(mid * (1 + Decimal(str(round(fraction, 6))))):f}"
