"""Every setting by its key (``section.name``), with its names in the environment, its kind and its default.

Made from the schema, once; nothing here is written by hand.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from annotated_types import Ge, Gt, Le, Lt
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from perpstrader.settings.fields import Direction, Meta, StrategySetting
from perpstrader.settings.schema import SECTIONS, Row, Settings, show

PREFIX = "PERPSTRADER_"
"""What the names of this program's own variables begin with; one that is unknown stops the start."""

Kind = Literal["bool", "int", "duration", "decimal", "text", "choice", "path", "secret", "list", "strategies"]


@dataclass(frozen=True, slots=True)
class Spec:
    """One setting as the sources and the documentation see it."""

    key: str
    section: str
    name: str
    kind: Kind
    default: object
    meaning: str
    meta: Meta
    optional: bool
    choices: tuple[str, ...]
    bounds: tuple[str, ...]

    @property
    def own_env(self) -> str:
        """The name that every setting has in the environment."""
        return f"{PREFIX}{self.section.upper()}__{self.name.upper()}"

    @property
    def stricter(self) -> Direction | None:
        """Which direction is the stricter one, for a limit."""
        return self.meta.stricter


def _unwrap(annotation: Any) -> tuple[Any, list[Any], bool]:
    """The bare type, the constraints of its ``Annotated`` layers, and whether ``None`` is allowed."""
    constraints: list[Any] = []
    optional = False
    while True:
        if typing.get_origin(annotation) is typing.Annotated:
            annotation, *more = typing.get_args(annotation)
            constraints += more
        elif typing.get_origin(annotation) in (types.UnionType, typing.Union):
            annotation = next(part for part in typing.get_args(annotation) if part is not types.NoneType)
            optional = True
        else:
            return annotation, constraints, optional


def _kind(bare: Any, unit: str) -> Kind:
    if typing.get_origin(bare) is tuple:
        return "strategies" if typing.get_args(bare)[0] is StrategySetting else "list"
    if typing.get_origin(bare) is Literal:
        return "choice"
    kinds: dict[Any, Kind] = {bool: "bool", Decimal: "decimal", Path: "path", SecretStr: "secret", str: "text"}
    if bare is int:
        return "duration" if unit == "ms" else "int"
    return kinds[bare]


def _bounds(constraints: list[Any]) -> tuple[str, ...]:
    """The tightest lower and the tightest upper bound, as texts such as ``>= 1``."""
    flat = [item for entry in constraints for item in (entry.metadata if isinstance(entry, FieldInfo) else [entry])]
    lower: list[tuple[Any, str]] = [(item.ge, ">=") for item in flat if isinstance(item, Ge)]
    lower += [(item.gt, ">") for item in flat if isinstance(item, Gt)]
    upper: list[tuple[Any, str]] = [(item.le, "<=") for item in flat if isinstance(item, Le)]
    upper += [(item.lt, "<") for item in flat if isinstance(item, Lt)]
    chosen = ([max(lower, key=_number)] if lower else []) + ([min(upper, key=_number)] if upper else [])
    return tuple(f"{sign} {limit}" for limit, sign in chosen)


def _number(bound: tuple[Any, str]) -> Decimal:
    return Decimal(bound[0])


def _spec(section: str, name: str, annotation: Any, info: FieldInfo) -> Spec:
    meta = typing.cast("dict[str, Any]", info.json_schema_extra)["meta"]
    bare, constraints, optional = _unwrap(annotation)
    kind = _kind(bare, meta.unit)
    choices = tuple(str(choice) for choice in typing.get_args(bare)) if kind == "choice" else ()
    return Spec(
        key=f"{section}.{name}",
        section=section,
        name=name,
        kind=kind,
        default=info.default,
        meaning=info.description or "",
        meta=meta,
        optional=optional,
        choices=choices,
        bounds=_bounds([*constraints, *info.metadata]),
    )


def _catalog() -> dict[str, Spec]:
    specs: dict[str, Spec] = {}
    for section, model in SECTIONS.items():
        hints = typing.get_type_hints(model, include_extras=True)
        for name, info in model.model_fields.items():
            spec = _spec(section, name, hints[name], info)
            specs[spec.key] = spec
    return specs


CATALOG: Mapping[str, Spec] = _catalog()

ENV_NAMES: Mapping[str, str] = {
    name: spec.key for spec in CATALOG.values() for name in (spec.own_env, *spec.meta.env, *spec.meta.percent_env)
}
"""The key of every name in the environment."""

PERCENT_ENV: frozenset[str] = frozenset(name for spec in CATALOG.values() for name in spec.meta.percent_env)


def table(settings: Settings) -> list[Row]:
    """The rows of ``config show``: each key with value, unit, origin and meaning."""
    return [
        Row(key, show(value), CATALOG[key].meta.unit, str(settings.origin(key)), CATALOG[key].meaning)
        for key, value in settings.values().items()
    ]
