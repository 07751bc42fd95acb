"""Builds strategies from what the settings name: one that comes with the program, a class in a module, or a class in
a file."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Final

import msgspec

from perpstrader.domain.errors import UsageError
from perpstrader.strategies.funding import FundingStrategy
from perpstrader.strategies.port import Strategy
from perpstrader.strategies.reversion import ReversionStrategy
from perpstrader.strategies.trend import TrendStrategy

BUILT_IN: Final[Mapping[str, type[Strategy]]] = {
    "trend": TrendStrategy,
    "reversion": ReversionStrategy,
    "funding": FundingStrategy,
}


class StrategyError(UsageError):
    """A strategy that cannot be built: not found, broken, or given a parameter that it does not take."""


class StrategyEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One strategy as the settings name it.

    ``use`` is ``trend``, ``reversion``, ``funding``, ``package.module:Class`` or ``path/to/file.py:Class``.
    ``symbols`` and ``intervals`` narrow what it is shown; empty leaves the strategy's own. ``isolated`` calls a
    synchronous strategy in a thread with a deadline.
    """

    use: str
    params: dict[str, object] = msgspec.field(default_factory=dict)
    symbols: tuple[str, ...] = ()
    intervals: tuple[str, ...] = ()
    isolated: bool = False


def load_strategies(entries: Iterable[StrategyEntry], *, folder: Path | None = None) -> list[Strategy]:
    """The strategies of ``entries`` in their order; raises ``StrategyError`` for the first that cannot be built or
    repeats a name.

    Relative file paths are taken from ``folder`` (default: the current one).
    """
    strategies: list[Strategy] = []
    for entry in entries:
        strategy = load_strategy(entry.use, entry.params, folder=folder)
        if entry.symbols:
            strategy.symbols = entry.symbols
        if entry.intervals:
            strategy.intervals = entry.intervals
        if any(strategy.name == other.name for other in strategies):
            raise StrategyError(
                f"two strategies are named {strategy.name!r}, and positions are owned by name; give one another name: "
                f'params = {{ name = "{strategy.name}-2" }}'
            )
        strategies.append(strategy)
    return strategies


def load_strategy(use: str, params: Mapping[str, object] | None = None, *, folder: Path | None = None) -> Strategy:
    """A new strategy made from ``use`` and ``params``; raises ``StrategyError`` with what is allowed and the nearest
    known name."""
    strategy = _build(_find_class(use, folder or Path()), use, dict(params or {}))
    missing = [
        name for name in ("name", "symbols", "intervals", "warmup_bars", "on_market") if not hasattr(strategy, name)
    ]
    if missing:
        raise StrategyError(
            f"strategy {use} has no {', '.join(missing)}; derive it from perpstrader.strategies.BaseStrategy"
        )
    name: object = strategy.name
    if not isinstance(name, str) or not name:
        raise StrategyError(f"strategy {use} has the name {name!r}, which must be a text that is not empty")
    return strategy


def _find_class(use: str, folder: Path) -> type:
    if use in BUILT_IN:
        return BUILT_IN[use]
    place, colon, class_name = use.rpartition(":")
    if not colon or not place or not class_name:
        known = ", ".join(BUILT_IN)
        raise StrategyError(
            f"strategy {use!r} is not known{_nearest(use, BUILT_IN)}; "
            f"allowed are {known}, package.module:Class and path/to/file.py:Class"
        )
    module = _load_file(folder / place, use) if place.endswith(".py") else _load_module(place, use)
    found = getattr(module, class_name, None)
    if found is None:
        classes = [
            name
            for name, item in vars(module).items()
            if inspect.isclass(item) and item.__module__ == module.__name__ and hasattr(item, "on_market")
        ]
        offers = f"it offers {', '.join(classes)}" if classes else "it defines no strategy"
        raise StrategyError(
            f"strategy {use}: {place} has no class {class_name}{_nearest(class_name, classes)}; {offers}"
        )
    if not inspect.isclass(found):
        raise StrategyError(f"strategy {use}: {class_name} is of type {type(found).__name__}, and a class is needed")
    return found


def _load_module(name: str, use: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise StrategyError(
                f"strategy {use}: there is no module {error.name}; is its package installed here? "
                "For a file write path/to/file.py:Class"
            ) from error
        raise StrategyError(
            f"strategy {use}: {name} needs the module {error.name}, which is not installed here"
        ) from error
    except (Exception, SystemExit) as error:
        raise StrategyError(f"strategy {use}: importing {name} failed with {type(error).__name__}: {error}") from error


def _load_file(path: Path, use: str) -> ModuleType:
    if not path.is_file():
        raise StrategyError(f"strategy {use}: there is no file {path}")
    name = "perpstrader_user_" + "".join(c if c.isalnum() else "_" for c in str(path.resolve().with_suffix("")))
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise StrategyError(f"strategy {use}: {path} cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # msgspec and pickle look classes up by their module's name
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise StrategyError(f"strategy {use}: {path} failed with {type(error).__name__}: {error}") from error
    return module


def _build(cls: type, use: str, params: dict[str, object]) -> Strategy:
    struct: object = getattr(cls, "Params", None)
    typed = struct if isinstance(struct, type) and issubclass(struct, msgspec.Struct) else None
    _check_names(use, params, _argument_names(cls, use) if typed is None else _field_names(typed))
    try:
        strategy: Strategy = cls(**params) if typed is None else cls(msgspec.convert(params, typed))
    except msgspec.ValidationError as error:
        raise StrategyError(f"strategy {use}: bad parameter: {_plain(str(error))}") from error
    except (Exception, SystemExit) as error:
        raise StrategyError(f"strategy {use} could not be made: {type(error).__name__}: {error}") from error
    return strategy


def _check_names(use: str, params: Mapping[str, object], allowed: list[str] | None) -> None:
    if allowed is None:
        return
    for name in params:
        if name not in allowed:
            choice = f"allowed are {', '.join(allowed)}" if allowed else "it takes none"
            raise StrategyError(f"strategy {use} has no parameter {name!r}{_nearest(name, allowed)}; {choice}")


def _field_names(struct: type[msgspec.Struct]) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(struct)]


def _argument_names(cls: type, use: str) -> list[str] | None:
    try:
        arguments = inspect.signature(cls).parameters.values()
    except (TypeError, ValueError) as error:
        raise StrategyError(f"strategy {use}: {cls.__name__} cannot be called: {error}") from error
    if any(argument.kind is inspect.Parameter.VAR_KEYWORD for argument in arguments):
        return None
    return [argument.name for argument in arguments if argument.kind is not inspect.Parameter.VAR_POSITIONAL]


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _plain(text: str) -> str:
    """msgspec's sentence with its path turned into the parameter's name."""
    message, _, path = text.partition(" - at ")
    return f"{path.strip('`').removeprefix('$.')}: {message}" if path else message
