"""``perpstrader run``: the trader, its paper exchange unless told otherwise, and the control port."""

from __future__ import annotations

import asyncio
import enum
import logging
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import structlog
import typer
from rich.live import Live

from perpstrader.cli import logs
from perpstrader.cli.control import LOCK_FILE
from perpstrader.cli.events import Event, Events
from perpstrader.cli.exits import CliError, ExitCode
from perpstrader.cli.options import Config, DataDir, Json, seconds, settings_from
from perpstrader.cli.output import halt_text, print_json, terminal
from perpstrader.cli.screen import render
from perpstrader.cli.stopping import say_on_stderr, watch_signals
from perpstrader.console.server import Console, open_listener
from perpstrader.runtime import SystemClock, lock_holder
from perpstrader.runtime.listen import Listener
from perpstrader.runtime.pool import TaskPool
from perpstrader.runtime.system import run_system
from perpstrader.settings import Settings
from perpstrader.trader.app import Running, RunSummary
from perpstrader.trader.app import run as run_trader

app = typer.Typer(add_completion=False)
_LOOKS_PER_S: Final = 4


class Network(enum.StrEnum):
    """Where to trade."""

    PAPER = "paper"
    TESTNET = "testnet"
    MAINNET = "mainnet"


@app.command()
def run(
    duration: Annotated[
        float | None, typer.Option(parser=seconds, metavar="TIME", help="Stop after this time.")
    ] = None,
    venue: Annotated[Network | None, typer.Option(help="The exchange; real money takes a second setting.")] = None,
    strategy: Annotated[
        list[str] | None, typer.Option(help="A shipped name, module:Class or file.py:Class; may be repeated.")
    ] = None,
    feed: Annotated[
        str | None, typer.Option(metavar="synthetic|live", help="The exchange's market; `replay` takes recorded ones.")
    ] = None,
    bar: Annotated[str | None, typer.Option(metavar="TIME", help="Length of the bars that are decided on.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the generated market.")] = None,
    no_console: Annotated[bool, typer.Option("--no-console", help="Serve no control port.")] = False,
    as_json: Json = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Trade until the time is over or Ctrl-C, then stop gracefully; positions keep their stops at the venue."""
    settings = settings_from(
        config, data_dir, venue__network=venue.value if venue is not None else None,
        trader__strategies=",".join(strategy) if strategy else None, trader__bar_ms=bar, feed__bar_ms=bar,
        feed__seed=seed, console__enabled=False if no_console else None, **feed_settings(feed),
    )  # fmt: skip
    logs.configure(settings.data_dir)
    summary = run_system(_run(settings, duration, as_json))
    if as_json:
        print_json(summary)


def feed_settings(feed: str | None) -> dict[str, object]:
    """What ``--feed`` says, as settings."""
    if feed is None:
        return {}
    if feed in ("synthetic", "live"):
        return {"feed__source": feed}
    return {"feed__source": "replay", "feed__path": Path(feed).absolute()}


async def _run(settings: Settings, duration_s: float | None, as_json: bool) -> RunSummary:
    stop = asyncio.Event()
    # A port in use is told before anything trades; a second trader is told that it is the second.
    is_free = settings.console.enabled and lock_holder(settings.data_dir / LOCK_FILE) is None
    session = Session(settings, as_json, open_listener(settings.console) if is_free else None)
    watch_signals(stop, what_a_stop_does(settings), say=session.say, leave=session.leave)
    try:
        summary = await run_trader(
            settings, duration_s=duration_s, stop_requested=stop, on_started=session.begin, tell=session.say
        )
    finally:
        await session.end()
    session.tell_end(summary)
    if not summary.clean_exit:
        if as_json:
            print_json(summary)
        raise CliError(f"not everything that the stop is for was done: {summary.stop}", ExitCode.UNSAFE)
    return summary


def what_a_stop_does(settings: Settings) -> str:
    """The stop policy in words."""
    closes = settings.trader.stop_policy == "flatten"
    policy = "positions are closed" if closes else "entries are taken back, positions keep their stops"
    return f"{policy} (at most {settings.trader.stop_deadline_ms / 1000:g} s)"


class Session:
    """What a person has of a run: the control port, the screen or the lines, and the log."""

    def __init__(self, settings: Settings, as_json: bool, listener: Listener | None) -> None:
        self._settings = settings
        self._listener = listener
        self._quiet = as_json
        self._terminal = terminal()
        self._log = structlog.get_logger("perpstrader.run")
        self._pool = TaskPool(lambda name, error: logging.getLogger(__name__).error("%s ended", name, exc_info=error))
        self._console: Console | None = None
        self._live: Live | None = None
        self._app: Running | None = None
        self._events: Events | None = None

    async def begin(self, app: Running) -> None:
        """The trader runs: serve the control port, say where to look, and show what happens."""
        self._app, self._events = app, Events(app.trader.recorder)
        if self._settings.console.enabled:
            self._console = Console(
                app.commands, app.traces, self._settings.console, self._settings.data_dir, SystemClock(),
                listener=self._listener,
            )  # fmt: skip
            app.urls["console"] = await self._console.start()
        self._log.info("started", account=app.commands.status().account, network=self._settings.venue.network)
        if not self._quiet:
            self._tell_start(app)
            if self._terminal.is_terminal:
                self._live = Live(console=terminal(wrap=True), auto_refresh=False, vertical_overflow="crop")
                self._live.start()
        self._pool.spawn("screen", self._watch())

    async def end(self) -> None:
        """The last events are told, the screen is left, nothing is served any more."""
        self._look()
        await self._pool.stop()
        if self._live is not None:
            self._live.stop()
        if self._console is not None:
            await self._console.stop()
        elif self._listener is not None:
            self._listener.close()

    def say(self, text: str) -> None:
        """One line for whoever stops the run."""
        if self._quiet:
            say_on_stderr(text)
        else:
            (self._live.console if self._live is not None else self._terminal).print(text, markup=False)

    def leave(self) -> None:
        """The process ends at once: the terminal is left usable."""
        if self._live is not None:
            self._terminal.show_cursor(True)

    def tell_end(self, summary: RunSummary) -> None:
        """What the run did."""
        self._log.info("stopped", **msgspec.to_builtins(summary))
        if not self._quiet:
            print(_earned(summary))
            print(
                f"stopped: {summary.cycles} cycles, {summary.signals} signals, {summary.approved} approved, "
                f"{summary.refused} refused, {summary.orders} orders, {summary.fills} fills, "
                f"longest without a stop {summary.max_unprotected_ms} ms",
                flush=True,
            )
            for row in summary.strategies:
                if row.trouble:
                    print(f"  {row.trouble}", flush=True)

    async def _watch(self) -> None:
        while True:
            self._look()
            await asyncio.sleep(1 / _LOOKS_PER_S)

    def _look(self) -> None:
        if self._app is None or self._events is None:
            return
        for event in self._events.new():
            self._note(event)
        if self._live is not None:
            self._live.update(render(self._app.commands.status(), self._app.urls, live=True), refresh=True)

    def _note(self, event: Event) -> None:
        more: dict[str, Any] = {"trace": event.trace} if event.trace else {}
        (self._log.warning if event.grave else self._log.info)(event.text, kind=event.kind, at_ms=event.time_ms, **more)
        if not self._quiet and self._live is None:
            print(event.line(), flush=True)

    def _tell_start(self, app: Running) -> None:
        settings = self._settings
        where = f" --data-dir {settings.data_dir}" if settings.data.dir is not None else ""
        symbols, names = ", ".join(settings.trader.symbols), ", ".join(s.label for s in settings.trader.strategies)
        lines = [
            f"PerpsTrader trades {symbols} on {settings.venue.network} with {names}; {settings.bar_ms / 1000:g} s bars",
            *(f"  {name}: {url}" for name, url in app.urls.items()),
            f"  data: {settings.data_dir}",
            f"  look: perpstrader status{where} · why: perpstrader traces list{where} · stop: Ctrl-C",
        ]
        for line in lines:
            self._terminal.print(line, markup=False)
        for halt in app.commands.status().halts:
            self._terminal.print(halt_text(halt), markup=False, style="bold red")


def _earned(summary: RunSummary) -> str:
    """What the account has now, and what became of it since the start: booked, and still open."""
    made = summary.earnings
    return (
        f"equity {summary.equity_usd} USD: {made.equity_change_usd} USD since the start; realised "
        f"{made.realized_usd} USD net of fees and funding, open positions stand at {made.open_usd} USD"
    )
