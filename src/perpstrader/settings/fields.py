"""How a setting is declared: one line with its default, its names in the environment, its unit and its meaning.

The declaration is the only place that knows a setting; the sources, the checks, ``config show`` and
``docs/settings.md`` read it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

Direction = Literal["lower", "higher"]
"""Which of two values of a limit is the stricter one; ``True`` counts as higher than ``False``."""


@dataclass(frozen=True, slots=True)
class Meta:
    """What a declaration says beyond its type.

    ``env`` are names in the environment besides ``PERPSTRADER_<SECTION>__<KEY>``; those in ``percent_env`` carry
    percent (``15`` is 0.15). ``stricter`` marks a limit. ``why`` is the reason of the default.
    """

    unit: str = ""
    env: tuple[str, ...] = ()
    percent_env: tuple[str, ...] = ()
    stricter: Direction | None = None
    allowed: str = ""
    why: str = ""
    secret: bool = False


SECRET_NAME = re.compile(r"(?i)key|secret|token|passw|mnemonic|seed_?phrase")
"""What the name of a value that must not be shown looks like."""


class Section(BaseModel):
    """One table of the settings file: frozen, strict about its keys, silent about its values in errors."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=False, hide_input_in_errors=True, arbitrary_types_allowed=True
    )


def setting(
    default: Any,
    meaning: str,
    *,
    unit: str = "",
    env: str | Sequence[str] = (),
    percent_env: str | Sequence[str] = (),
    stricter: Direction | None = None,
    allowed: str = "",
    why: str = "",
    secret: bool = False,
    **bounds: Any,
) -> Any:
    """The pydantic field of one setting; ``bounds`` are pydantic's ``ge``, ``gt``, ``le``, ``lt``, ``pattern``."""
    meta = Meta(unit, _names(env), _names(percent_env), stricter, allowed, why, secret)
    extra: Any = {"meta": meta}
    return Field(default=default, description=meaning, json_schema_extra=extra, **bounds)


def _names(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _fraction(value: Decimal) -> Decimal:
    if value.is_finite() and 0 < value <= 1:
        return value
    if value.is_finite() and value > 1:
        raise PydanticCustomError(
            "fraction",
            "must be a fraction of equity between 0 and 1; {shown} looks like a percentage or USD",
            {"shown": format(value, "f")},
        )
    raise PydanticCustomError("fraction", "must be a fraction of equity above 0 and at most 1")


def _part(value: Decimal) -> Decimal:
    if value.is_finite() and 0 < value <= 1:
        return value
    raise PydanticCustomError("part", "must be a fraction above 0 and at most 1 (1 % is 0.01)")


def _address(value: str) -> str:
    if re.fullmatch(r"0x[0-9a-fA-F]{40}", value):
        return value.lower()
    raise PydanticCustomError("address", "must be an address: 0x and 40 hex digits")


def _url(value: str) -> str:
    if re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", value):
        return value.rstrip("/")
    raise PydanticCustomError("url", "must be a URL such as http://127.0.0.1:3001, without user, query or fragment")


def _host(value: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9.:\[\]-]{1,253}", value):
        return value
    raise PydanticCustomError("host", "must be a host name or an IP address")


def _fault(value: str) -> str:
    if re.fullmatch(r"[a-z_]+(:[A-Za-z0-9.]+)?=[0-9.]+(@-?[0-9.]+(ms|s)?)?", value):
        return value
    raise PydanticCustomError("fault", "must be a fault as KIND[:CLASS]=RATE[@AMOUNT], such as delay:orders=0.1@3s")


def _symbol(value: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9:@/_-]{1,32}", value):
        return value
    raise PydanticCustomError("symbol", "must hold the venue's symbols, such as BTC or kPEPE (case matters)")


EquityFraction = Annotated[Decimal, AfterValidator(_fraction)]
"""A fraction of equity in (0, 1]; a percentage or USD figure is told apart and refused."""

Fraction = Annotated[Decimal, AfterValidator(_part)]
"""A fraction in (0, 1] of something else than equity, such as a price."""

Ratio = Annotated[Decimal, Field(gt=0, le=100)]
"""A positive multiple."""

Usd = Annotated[Decimal, Field(gt=0, le=Decimal(1_000_000_000))]
"""A positive amount in USD."""

Bps = Annotated[Decimal, Field(gt=0, le=1000)]
"""Basis points: 1 is 0.01 %."""

Milliseconds = Annotated[int, Field(gt=0, le=30 * 86_400_000)]
"""Milliseconds above 0 and at most 30 days; text such as ``250ms``, ``5s``, ``1m``, ``12h`` is understood."""

OptionalMilliseconds = Annotated[int, Field(ge=0, le=30 * 86_400_000)]
"""A duration in milliseconds in which 0 turns the thing off."""

# A setting with bounds of its own is a plain ``int``: bounds given twice do not add up, the outer ones are lost.
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
"""A whole number of at least 1."""

Port = Annotated[int, Field(ge=1, le=65_535)]
Address = Annotated[str, AfterValidator(_address)]
Host = Annotated[str, AfterValidator(_host)]
Url = Annotated[str, AfterValidator(_url)]
Symbol = Annotated[str, AfterValidator(_symbol)]
Fault = Annotated[str, AfterValidator(_fault)]

Parameter = bool | int | Decimal | str


class StrategySetting(Section):
    """One strategy to run: ``use`` names a shipped one, ``module:Class`` or ``path/to/file.py:Class``.

    ``symbols`` and ``intervals`` narrow what it is shown (empty: the strategy's own); ``isolated`` calls it in a thread
    with a deadline; ``moves_stops = false`` keeps the stops of its positions where it set them, without breakeven,
    trailing and time stops; ``params`` go to its constructor by name, numbers with a point as ``Decimal``.
    """

    use: Annotated[str, Field(min_length=1, max_length=500)]
    symbols: tuple[Symbol, ...] = ()
    intervals: tuple[str, ...] = ()
    isolated: bool = False
    moves_stops: bool = True
    params: Mapping[str, Parameter] = Field(default_factory=dict, repr=False)

    @property
    def label(self) -> str:
        """The strategy's name as far as the settings know it; positions are owned by name."""
        return str(self.params.get("name", self.use))
