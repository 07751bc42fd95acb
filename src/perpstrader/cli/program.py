"""From a command line to an exit code: verbs are loaded when used, and no error reaches a person as a stack trace."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Final, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

RUN: Final = "Trade and simulate"
LOOK: Final = "Look"
TELL: Final = "Tell a running trader"
WHY: Final = "Ask why, and set up"

VERBS: Final = {
    "run": (RUN, "The trader, on its paper exchange unless told otherwise."),
    "paper": (RUN, "The paper exchange alone, for any Hyperliquid client."),
    "replay": (RUN, "A recorded market through the whole trader; a report."),
    "simulate": (RUN, "Many seeded worlds with faults; every invariant checked."),
    "bench": (RUN, "Baseline against optimized, measured; a report with plots."),
    "status": (LOOK, "Equity, limits, halts, positions, last decisions."),
    "positions": (LOOK, "Open positions with stop and distance to liquidation."),
    "orders": (LOOK, "Orders that the venue may still execute."),
    "risk": (LOOK, "The day and each limit, each position's risk and stop."),
    "breakers": (LOOK, "What the trader relies on and what fails: open, reset."),
    "perf": (LOOK, "How long each stage takes, and how often it fails."),
    "signal": (TELL, "Hand the trader a signal; it decides whether and how much."),
    "halt": (TELL, "No entries from now on; exits and protection go on."),
    "resume": (TELL, "Release the halts that an operator may release."),
    "close": (TELL, "One position out at market."),
    "recover": (TELL, "What is wrong with positions; take one out by hand."),
    "flatten": (TELL, "Halt, cancel entries, close everything, verify."),
    "traces": (WHY, "The decision record: why, what came of it, all of it."),
    "alerts": (WHY, "Whether a person would be reached: test."),
    "backup": (WHY, "A whole copy of what must not be lost, also while it trades."),
    "restore": (WHY, "A data directory made of a backup, halted until you looked."),
    "init": (WHY, "A settings file to begin with, each setting explained."),
    "doctor": (WHY, "Is everything ready? One row a check, and what to do."),
    "config": (WHY, "The settings in force, and where each came from."),
}
"""Every verb with its panel in the help and its line there; the module of the same name holds the rest."""

_EPILOG: Final = (
    "Exit codes: 0 done, 1 refused or failed, 2 wrong usage or settings (nothing was done), 3 trader or venue cannot "
    "be reached or gives no usable answer, 4 not safe to go on. Looking verbs and runs take --json."
)


class LazyGroup(TyperGroup):
    """Knows its verbs by name and line, and imports a verb's module when that verb runs."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        self.commands = {
            name: TyperCommand(name, help=line, rich_help_panel=panel) for name, (panel, line) in VERBS.items()
        }

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order of the table."""
        return list(VERBS)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The whole command of the verb that runs."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name) if name in VERBS else command, rest


def load(verb: str) -> Any:
    """The command of a verb, from the module of its name."""
    app: typer.Typer = importlib.import_module(f"perpstrader.cli.{verb}").app
    command = typer.main.get_command(app)
    command.name = verb
    return command


def _version(asked: bool) -> None:
    if asked:
        from perpstrader import __version__

        typer.echo(f"perpstrader {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Execution and safety core for automated perps trading on Hyperliquid. Paper trading unless told otherwise."""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run one command line (without the program's name) and exit with its code: see ``perpstrader.cli.exits``."""
    app = typer.Typer(cls=LazyGroup, no_args_is_help=True, add_completion=False, rich_markup_mode="rich")
    app.callback(epilog=_EPILOG)(_root)
    try:
        typer.main.get_command(app).main(args=list(argv) if argv is not None else None, prog_name="perpstrader")
    except Exception as error:
        sys.exit(_tell(error))
    sys.exit(0)


def _tell(error: Exception) -> int:
    """One sentence on stderr; the code to exit with."""
    from perpstrader.cli.exits import ExitCode, code_of
    from perpstrader.cli.logs import note_unexpected
    from perpstrader.domain.errors import PerpsTraderError

    known = _known(error, PerpsTraderError)
    if isinstance(known, PerpsTraderError):
        print(f"perpstrader: {known}", file=sys.stderr)
        return code_of(known)
    path = note_unexpected(error)
    where = f"the details are in {path}" if path is not None else "set PERPSTRADER_DATA_DIR to a directory for details"
    print(f"perpstrader: something nobody foresaw ({type(error).__name__}) ended this; {where}", file=sys.stderr)
    return ExitCode.FAILED


def _known(error: BaseException, kind: type[BaseException]) -> BaseException:
    """The error itself, or the first of its kind in a group of errors."""
    found: BaseException | None = error.subgroup(kind) if isinstance(error, BaseExceptionGroup) else error
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found if found is not None else error
