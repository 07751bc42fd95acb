"""``perpstrader signal``: hand the trader a signal, on the same road as a strategy's."""

from __future__ import annotations

import enum
from typing import Annotated, Any

import typer

from perpstrader.cli.answers import show
from perpstrader.cli.control import find
from perpstrader.cli.exits import CliError, ExitCode
from perpstrader.cli.options import Config, DataDir, Json, actor, number, place, seconds

app = typer.Typer(add_completion=False)


class Way(enum.StrEnum):
    """Which way a position goes."""

    LONG = "long"
    SHORT = "short"


class Deed(enum.StrEnum):
    """What the signal asks for."""

    OPEN = "open"
    CLOSE = "close"
    REDUCE = "reduce"


def _price(text: str, shown: str = "PRICE") -> Any:
    return typer.Option(parser=number, metavar=shown, help=text)


@app.command()
def signal(
    symbol: Annotated[str, typer.Argument(help="The venue's symbol, such as BTC.")],
    side: Annotated[Way, typer.Argument(help="Side of the position.")],
    action: Annotated[Deed, typer.Option(help="What to do.")] = Deed.OPEN,
    confidence: Annotated[float, typer.Option(min=0.0, max=1.0, help="From 0 to 1; scales the risk taken.")] = 1.0,
    stop: Annotated[str | None, _price("Stop price; without it the default distance.")] = None,
    target: Annotated[str | None, _price("Target price.")] = None,
    entry: Annotated[str | None, _price("Price of a resting order; without it at market.")] = None,
    size: Annotated[str | None, _price("Most that is wanted, in base units.", "SIZE")] = None,
    ttl: Annotated[float, typer.Option(parser=seconds, metavar="TIME", help="How long it is good for.")] = "60s",  # type: ignore[assignment]  # typer parses the default too
    strategy: Annotated[str, typer.Option(help="In whose name; 'operator' may exit any position.")] = "external",
    episode: Annotated[str | None, typer.Option(help="The position meant, for exits.")] = None,
    signal_id: Annotated[str, typer.Option("--id", help="The same id is acted on once.")] = "",
    reason: Annotated[str, typer.Option(help="Why; it is recorded.")] = "",
    as_json: Json = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Ask for a trade. The trader decides whether and how much; a refusal (exit code 1) says number and limit."""
    folder = place(data_dir, config)
    control = find(folder)
    if control is None:
        raise CliError(f"no trader runs with {folder}: start one with `perpstrader run`", ExitCode.UNREACHABLE)
    body: dict[str, Any] = {
        "symbol": symbol, "side": side.value, "action": action.value, "confidence": confidence, "id": signal_id,
        "strategy": strategy, "ttl_ms": round(ttl * 1000), "entry_price": entry, "stop_price": stop,
        "target_price": target, "size": size, "episode": episode, "reason": reason, "actor": actor(),
    }  # fmt: skip
    show(control.post("/api/signals", body), as_json=as_json)
