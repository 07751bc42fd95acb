"""The stage of the scenarios: the real trader over the real wire against the paper exchange, in virtual time.

A scenario says what the market does (``market.py``) and what strategies want at the close of which bar; it then looks
at the venue's own records. Every scenario ends with ``Stage.check_sound``: the money adds up to the cent, at the venue
and in our ledger, every position has its stop, and no order is left over.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from tests.scenario.market import Bar, ScriptedFeed

from perpstrader.domain import Action, MarketView, Side, Signal, Trace
from perpstrader.execution import Note
from perpstrader.paper.engine import Fill, Grouping, NewOrder, OrderView, Tif
from perpstrader.paper.server import LatencyModel
from perpstrader.runtime import InlineExecutor, VirtualClock, run_virtual
from perpstrader.settings import Settings, load
from perpstrader.simulate.watch import Watch
from perpstrader.simulate.world import LEAD_MS, World, simulated, simulated_identity
from perpstrader.state import StateStore
from perpstrader.strategies import BaseStrategy
from perpstrader.trader.build import Deps, build_trader
from perpstrader.trader.commands import Commands, SignalRequest
from perpstrader.trader.trader import REAL_TIME, Trader

T = TypeVar("T")
Wish = Callable[["Scripted", MarketView], Any]
Script = Mapping[tuple[str, int], Wish]
"""What a strategy answers at the close of bar ``n`` (from 0) of a coin."""

NOON_MS = 1_700_049_630_000
"""2023-11-15 12:00:30 UTC: half a minute after an hour began."""
MIDNIGHT_MS = 1_700_006_400_000
"""2023-11-15 00:00:00 UTC."""
SEED = 7
RIVAL = "0x" + "b0" * 20
AT_ONCE = {
    "risk.exit_cooldown_ms": 0, "risk.loss_cooldown_ms": 0, "risk.failed_entry_cooldown_ms": 0,
    "risk.duplicate_entry_window_ms": 0, "risk.max_entries_per_symbol_hour": 10, "risk.max_signals_per_minute": 50,
}  # fmt: skip
"""Scenarios are told in seconds: the pauses between entries are short there, and have scenarios of their own."""
CLIENT = "optimized"
"""Which build of the venue's client the scenarios run on."""
_MICRO = 1_000_000
_CENT = Decimal("0.01")

_scripts: dict[str, tuple[Script, ScriptedFeed]] = {}


class Scripted(BaseStrategy):
    """Wants at each bar what its script says, and nothing else."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen: list[int] = []
        self._script, self._feed = _scripts[name]

    def on_market(self, view: MarketView) -> Any:
        """The script's answer to this bar."""
        number = self._feed.number(view.candle.open_ms)
        self.seen.append(number)
        wish = self._script.get((view.symbol, number))
        return None if wish is None else wish(self, view)


def go(side: Side, stop: int | str | None = None, target: int | str | None = None, **more: Any) -> Wish:
    """An entry at market with full confidence."""
    prices = {"stop_price": _dec(stop), "target_price": _dec(target)}
    return lambda strategy, view: strategy.open(view, side, confidence=1.0, reason="as scripted", **prices, **more)


def leave(strategy: Scripted, view: MarketView) -> Signal | None:
    """A close of the position, where there is one."""
    return strategy.close(view, reason="as scripted") if view.position is not None else None


def reduce_by(size: str) -> Wish:
    """A sale of ``size`` of the position."""

    def wish(strategy: Scripted, view: MarketView) -> Signal:
        assert view.position is not None
        return Signal(
            id=strategy.signal_id(view, Action.REDUCE), action=Action.REDUCE, symbol=view.symbol, confidence=1.0,
            side=view.position.side, strategy=strategy.name, created_ms=view.time_ms, size_hint=Decimal(size),
            episode=view.position.episode,
        )  # fmt: skip

    return wish


class Stage:
    """One scenario while it plays; ``trader`` is the one that runs now."""

    def __init__(self, world: World, feed: ScriptedFeed) -> None:
        self.world = world
        self.feed = feed
        self.clock = world.clock
        self.engine = world.engine
        self.trader: Trader = world.trader
        self.commands: Commands = world.commands
        self.user = simulated_identity(SEED).account
        self.funded_ms = self.clock.now_ms()
        self._asset = {asset.coin: asset for asset in feed.assets}
        self._ids = itertools.count()

    # --- time ---

    async def seconds(self, count: float) -> None:
        """Let time pass."""
        await self.clock.sleep(count)

    async def bar(self, number: int) -> None:
        """Until bar ``number`` has closed and what it led to is done, except what waits for the venue."""
        at_ms = self.feed.start_ms + (number + 1) * self.feed.bar_ms + 10
        await self.clock.sleep((at_ms - self.clock.now_ms()) / 1000)

    # --- the venue's own view ---

    def position(self, coin: str) -> Decimal:
        """The signed size that the venue holds for us."""
        held = {view.coin: view.size for view in self.engine.account_state(self.user).positions}
        return self.coins(coin, held.get(coin, 0))

    def listed(self, coin: str, kind: str | None = None) -> list[OrderView]:
        """Our open orders there: all, or the ``stop``, ``target`` or ``plain`` ones."""
        return [
            order for order in self.engine.open_orders(self.user)
            if order.coin == coin and kind in (None, _kind(order))
        ]  # fmt: skip

    def stop_of(self, coin: str) -> OrderView:
        """The one stop that is listed for a coin, which must be reduce-only and armed."""
        [stop] = self.listed(coin, "stop")
        assert stop.reduce_only
        assert not stop.held
        return stop

    def fills(self, coin: str) -> list[Fill]:
        """Our fills there, oldest first."""
        return [fill for fill in self.engine.fills(self.user) if fill.coin == coin]

    def sent(self, coin: str, kind: str) -> list[OrderView]:
        """Every order of that kind that the venue ever took from us, oldest first, each once."""
        known: dict[int, OrderView] = {}
        for row in reversed(self.engine.historical_orders(self.user)):
            if row.order.coin == coin and _kind(row.order) == kind:
                known.setdefault(row.order.oid, row.order)
        return list(known.values())

    def coins(self, coin: str, lots: int) -> Decimal:
        """Lots as coins."""
        return Decimal(lots).scaleb(-self._asset[coin].size_decimals)

    def usd(self, coin: str, units: int) -> Decimal:
        """Price units as USD."""
        return Decimal(units).scaleb(-self._asset[coin].price_decimals)

    def equity_usd(self) -> Decimal:
        """The account's value at the venue."""
        return Decimal(self.engine.account_state(self.user).account_value) / _MICRO

    # --- others at the venue ---

    def by_hand(self, coin: str, *, buy: bool, size: str, user: str | None = None) -> None:
        """An order at market that is not the trader's: of somebody with our own key, or of ``user``.

        As with all that is done to the engine directly, the streams tell of it with the market's next instant.
        """
        asset, market = self._asset[coin], self.engine.market(coin)
        assert market.mark is not None
        limit = asset.round_price(market.mark * (11 if buy else 9) // 10, up=not buy)
        lots = int(Decimal(size).scaleb(asset.size_decimals))
        order = NewOrder(coin=coin, is_buy=buy, limit_px=limit, size=lots, tif=Tif.IOC)
        self.engine.place(user or self.user, [order], Grouping.NA, self.clock.now_ms())

    def take_all_but(self, coin: str, size: str, *, buy: bool) -> None:
        """A rival buys (or sells) what the book offers until only ``size`` is left on that side."""
        book = self.engine.book(coin, 20)
        offered = sum(level.size for level in (book.asks if buy else book.bids))
        if not self.engine.has_account(RIVAL):
            self.engine.fund(RIVAL, 10**9 * _MICRO, self.clock.now_ms())
        self.by_hand(coin, buy=buy, size=str(self.coins(coin, offered) - Decimal(size)), user=RIVAL)

    def before_order(self, act: Callable[[], object], count: int = 1) -> None:
        """Have ``act`` happen at the venue right before our next order (or ``count`` of them) arrives there."""
        venue, post, left = self.world.venue, self.world.venue.post, itertools.count(1)

        def between(path: str, body: bytes, client: str, **more: Any) -> Any:
            if path == "/exchange" and b'"orders"' in body and next(left) <= count:
                act()
            return post(path, body, client, **more)

        venue.post = between  # type: ignore[method-assign]  # an instance's own road to the engine

    def untold(self) -> None:
        """No stream will tell of what was just done to the engine."""
        self.engine.drain_events()

    # --- our own view ---

    def notes(self, kind: str) -> list[Note]:
        """What the trader said of that kind."""
        return [note for note in self.trader.recorder.recent if note.kind == kind]

    def refusals(self, strategy: str | None = None) -> list[str]:
        """The first reason of each refused decision, in order."""
        return [
            trace.verdict.reason.value for trace in self.decisions(strategy)
            if trace.verdict is not None and hasattr(trace.verdict, "refusals")
        ]  # fmt: skip

    def decisions(self, strategy: str | None = None) -> list[Trace]:
        """The newest decisions, oldest first."""
        recent = self.trader.recorder.recent_decisions
        return [t for t in recent if t.signal is not None and strategy in (None, t.strategy)]

    def halts(self) -> list[str]:
        """The kinds of halt in force."""
        return [halt.kind.value for halt in self.trader.keeper.state.halts]

    async def signal(self, symbol: str, side: Side, **more: Any) -> Any:
        """A signal from outside; the result of its command."""
        return await self.commands.signal(SignalRequest(symbol=symbol, side=side, **more), actor="tester")

    # --- restarts ---

    async def crash(self) -> None:
        """The trader's process is gone: no goodbye, nothing flushed, its memory lost."""
        await self.trader._supervisor.stop()
        await self.trader._pool.stop()
        await self._forget()

    async def stop(self) -> None:
        """The trader stops by its policy."""
        await self.trader.stop()
        await self._forget()

    async def _forget(self) -> None:
        await self.trader.store.close()
        desk = self.trader.execution.desk
        desk.positions.holdings.clear()
        desk.orders._live.clear()

    async def start_again(self, *, before_start: Callable[[Trader], object] = lambda trader: None) -> None:
        """Another trader on the same ``state.db``, account and venue."""
        old = self.trader
        store = await open_state(old.store.path)
        deps = Deps(
            clock=self.clock, rng=Random(next(self._ids)), transport=self.world.transport, store=store,
            traces=old.recorder._store, identity=simulated_identity(SEED), is_virtual=True, pace=REAL_TIME,
            observer=Watch(),
        )  # fmt: skip
        self.trader, self.commands = await build_trader(self.world.settings, deps)
        before_start(self.trader)
        await self.trader.start()

    # --- the end ---

    async def check_sound(self, *, explained: bool = True) -> None:
        """Σ net PnL = Δ equity - cash flows, here and at the venue; stops match positions; nothing is left over."""
        assert self.engine.imbalance() == 0 or not explained
        assert not self.notes("failure"), self.notes("failure")
        for coin in self.feed.coins:
            size = self.position(coin)
            held = self.trader.execution.desk.positions.holdings.get(coin)
            assert (held.size if held else 0) == size, f"{coin}: the book is not the venue's"
            if size:
                stop = self.stop_of(coin)
                assert self.coins(coin, stop.size) == abs(size), f"{coin}: the stop's size is not the position's"
                assert stop.is_buy == (size < 0)
            else:
                assert not self.listed(coin), f"{coin} is flat and has orders: {self.listed(coin)}"
        if explained:
            await self._check_money()

    async def _check_money(self) -> None:
        view = self.engine.account_state(self.user)
        fills = self.engine.fills(self.user)
        signed = [(f.coin, f.size if f.is_buy else -f.size, f.px) for f in fills]
        cash = -sum(size * px for _, size, px in signed) - sum(f.fee for f in fills)
        open_value = sum(size * (self.engine.market(coin).mark or 0) for coin, size, _ in signed)
        flows = sum(row.usdc for row in self.engine.ledger(self.user))
        funding = sum(row.usdc for row in self.engine.funding(self.user))
        assert view.account_value == flows + cash + open_value + funding, "the venue's own account"

        execution = self.trader.execution
        await execution.desk.journal.flush()
        totals = await self.trader.store.read(lambda tx: tx.ledger.totals())
        books = execution.account.books
        booked = books.gross_usd - books.fees_usd + books.funding_usd
        assert booked == totals.net_usd, "the ledger on disk is not the books"
        open_usd = execution.view.equity_usd() - books.expected_usd
        change = self.equity_usd() - books.basis_usd - books.cash_flows_usd
        assert abs(booked + open_usd - change) < _CENT, f"net PnL {booked + open_usd}, change of equity {change}"
        first_deposit = Decimal(self.engine.ledger(self.user)[0].usdc) / _MICRO
        assert first_deposit + books.cash_flows_usd == Decimal(flows) / _MICRO, "cash flows are booked once"


async def open_state(path: Path | None) -> StateStore:
    """The account's ``state.db`` at ``path``."""
    return await StateStore.open(
        path, executor=InlineExecutor(), account=simulated_identity(SEED).account, network="paper",
        new_epoch=lambda: SEED, durable=False,
    )  # fmt: skip


def settings_for(feed: ScriptedFeed, names: Sequence[str], overrides: Mapping[str, object]) -> Settings:
    """The shipped settings with the scripted strategies; ``overrides`` by key."""
    strategies = [{"use": "tests.scenario.kit:Scripted", "params": {"name": name}} for name in names]
    return load(None, {}, {
        "data.dir": "/nonexistent/scenario", "trader.symbols": list(feed.coins), "trader.bar_ms": feed.bar_ms,
        "trader.strategies": strategies, "rollout.client": CLIENT, **AT_ONCE, **overrides,
    })  # fmt: skip


def play(
    coins: Mapping[str, Sequence[Bar]],
    scripts: Mapping[str, Script],
    act: Callable[[Stage], Awaitable[T]],
    *,
    start_ms: int = NOON_MS,
    interval: str = "5s",
    latency: LatencyModel | None = None,
    state_path: Path | None = None,
    sound: bool = True,
    explained: bool = True,
    overrides: Mapping[str, object] | None = None,
) -> T:
    """Play ``act`` on a stage of ``coins`` with a scripted strategy for each of ``scripts``; then check the end.

    ``sound=False`` leaves the check to the scenario; ``explained=False`` is for one that breaks the venue's books.
    """
    feed = ScriptedFeed(coins, start_ms=start_ms, interval=interval)
    _scripts.update({name: (script, feed) for name, script in scripts.items()})
    settings = settings_for(feed, list(scripts), overrides or {})

    async def main(clock: VirtualClock) -> T:
        async with simulated(
            settings, clock, feed, seed=SEED, latency=latency, state_path=state_path, pace=REAL_TIME
        ) as world:
            stage = Stage(world, feed)
            result = await act(stage)
            if sound:
                # What the last event has cancelled may still be gathered, one stop after the other.
                await clock.sleep(10 * settings.client.coalesce_window_ms / 1000)
                await stage.check_sound(explained=explained)
            if stage.trader is not world.trader:
                await stage.stop()
            return result

    return run_virtual(main, start_ms=feed.start_ms - LEAD_MS)


def _kind(order: OrderView) -> str:
    if order.trigger is None:
        return "plain"
    return "stop" if order.trigger.tpsl.value == "sl" else "target"


def _dec(value: int | str | None) -> Decimal | None:
    return None if value is None else Decimal(str(value))
