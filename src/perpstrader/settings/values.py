"""From what a source holds (text, or a TOML value) to the setting's type, or one sentence about what is allowed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from perpstrader.domain.money import plain
from perpstrader.settings.catalog import Spec
from perpstrader.settings.fields import SECRET_NAME, StrategySetting
from perpstrader.settings.schema import SECTIONS

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?")
_UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_LOOKS_SECRET = re.compile(r"[0-9a-fA-F]{24,}|://[^/\s]*@|(?i:token|secret|passw)")
_SHOWN_CHARACTERS = 60
_STRATEGIES_ALLOWED = "must be a list of names, or of tables with " + ", ".join(StrategySetting.model_fields)


class NotAllowed(Exception):
    """The value cannot be used; the text says what is allowed and never repeats a secret."""


def parse(spec: Spec, raw: object, *, home: Path, base: Path | None = None, percent: bool = False) -> Any:
    """The value of one setting, validated by the schema; raises ``NotAllowed``.

    ``raw`` is text (environment, command line) or a TOML value. ``base`` is the directory of the file that a relative
    path stands in. With ``percent`` the number is a percentage and becomes a fraction.
    """
    if isinstance(raw, str) and not raw.strip() and spec.kind not in ("list", "strategies"):
        raise NotAllowed("is empty; give a value or remove it")
    value = _READERS[spec.kind](spec, raw)
    if percent:
        value = _from_percent(value)
    if spec.kind == "path":
        value = _path(str(value), home, base)
    try:
        section = SECTIONS[spec.section].model_validate({spec.name: value})
    except ValidationError as error:
        raise NotAllowed(_reason(spec, error)) from None
    return getattr(section, spec.name)


def _read_bool(spec: Spec, raw: object) -> bool:
    if isinstance(raw, bool):
        return raw
    if isinstance(raw, str) and raw.strip().lower() in _TRUE | _FALSE:
        return raw.strip().lower() in _TRUE
    raise NotAllowed("must be true or false")


def _read_int(spec: Spec, raw: object) -> int:
    if isinstance(raw, int) and not isinstance(raw, bool):
        return raw
    if isinstance(raw, str) and re.fullmatch(r"[+-]?[0-9]{1,30}", raw.strip()):
        return int(raw)
    raise NotAllowed("must be a whole number" + _bounds_text(spec, ", "))


def _read_duration(spec: Spec, raw: object) -> int:
    if isinstance(raw, str):
        match = _DURATION.fullmatch(raw.strip())
        if match and len(raw) < 30:
            milliseconds = Decimal(match[1]) * _UNIT_MS[match[2] or "ms"]
            if milliseconds == milliseconds.to_integral_value():
                return int(milliseconds)
    elif isinstance(raw, int) and not isinstance(raw, bool):
        return raw
    raise NotAllowed("must be whole milliseconds, or text such as 250ms, 5s, 1m, 12h")


def _read_decimal(spec: Spec, raw: object) -> Decimal:
    if isinstance(raw, int | Decimal | str) and not isinstance(raw, bool):
        try:
            value = Decimal(raw.strip() if isinstance(raw, str) else raw)
        except InvalidOperation:
            value = Decimal("NaN")
        if value.is_finite() and abs(value.adjusted()) < 30:
            return value
    raise NotAllowed("must be a finite decimal number such as 0.05")


def _read_text(spec: Spec, raw: object) -> str:
    if isinstance(raw, str):
        return raw.strip()
    if spec.kind == "path" and isinstance(raw, Path):
        return str(raw)
    raise NotAllowed("must be text")


def _read_choice(spec: Spec, raw: object) -> str:
    text = str(raw).strip() if isinstance(raw, str) else ""
    for choice in spec.choices:
        if text.lower() == choice.lower():
            return choice
    nearest = nearest_name(text, spec.choices)
    raise NotAllowed("must be " + _either(spec.choices) + (f"; did you mean {nearest}?" if nearest else ""))


def _read_list(spec: Spec, raw: object) -> list[str]:
    if isinstance(raw, str):
        return [part for part in re.split(r"[,\s]+", raw) if part]
    if isinstance(raw, list | tuple) and all(isinstance(item, str) for item in raw):
        return list(raw)
    raise NotAllowed("must be a list of texts, or texts joined by commas")


def _read_strategies(spec: Spec, raw: object) -> list[dict[str, object]]:
    if isinstance(raw, str):
        return [{"use": part.strip()} for part in raw.split(",") if part.strip()]
    if not isinstance(raw, list | tuple):
        raise NotAllowed(_STRATEGIES_ALLOWED)
    result: list[dict[str, object]] = []
    for item in raw:
        if isinstance(item, str):
            result.append({"use": item})
        elif isinstance(item, Mapping):
            result.append(dict(item))
        elif isinstance(item, StrategySetting):
            result.append(item.model_dump())
        else:
            raise NotAllowed(_STRATEGIES_ALLOWED)
        for unknown in sorted(set(result[-1]) - set(StrategySetting.model_fields)):
            near = nearest_name(unknown, StrategySetting.model_fields)
            hint = f"; did you mean {near}?" if near else "; known are " + ", ".join(StrategySetting.model_fields)
            raise NotAllowed(f"has a strategy with the unknown key {unknown!r}{hint}")
    return result


_READERS: Mapping[str, Any] = {
    "bool": _read_bool,
    "int": _read_int,
    "duration": _read_duration,
    "decimal": _read_decimal,
    "text": _read_text,
    "path": _read_text,
    "secret": _read_text,
    "choice": _read_choice,
    "list": _read_list,
    "strategies": _read_strategies,
}


def _from_percent(value: Decimal) -> Decimal:
    if 0 < value < 1:
        meant = plain(value * 100)
        raise NotAllowed(f"is in percent here; {plain(value)} looks like a fraction, write {meant} if that is meant")
    if not 0 < value <= 100:
        raise NotAllowed("must be a percentage above 0 and at most 100")
    return value / 100


def _path(text: str, home: Path, base: Path | None) -> Path:
    if text == "~" or text.startswith("~/"):
        return home / text[2:]
    return base / text if base is not None else Path(text)


def _reason(spec: Spec, error: ValidationError) -> str:
    """What the schema found, in our words; the input itself is never part of it."""
    found = error.errors(include_url=False, include_input=False)[0]
    if found["type"] in ("greater_than", "greater_than_equal", "less_than", "less_than_equal"):
        return "must be " + _bounds_text(spec, "").strip() + (f" {spec.meta.unit}" if spec.meta.unit else "")
    where = ".".join(str(part) for part in found["loc"][1:])
    return f"{where}: {found['msg']}" if where and spec.kind == "strategies" else found["msg"]


def _bounds_text(spec: Spec, lead: str) -> str:
    return lead + " and ".join(spec.bounds) if spec.bounds else ""


def _either(choices: Iterable[str]) -> str:
    names = list(choices)
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " or " + names[-1]


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """The known name that ``name`` most likely was meant to be, or ``None``."""
    folded: dict[str, str] = {candidate.lower(): candidate for candidate in known}
    close = get_close_matches(name.lower(), folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else None


def shown(raw: object, *, name: str = "", secret: bool = False) -> str:
    """``raw`` as an error may show it: short, and hidden where it is or might be a secret."""
    if isinstance(raw, bool):
        text = "true" if raw else "false"
    elif isinstance(raw, Decimal):
        text = plain(raw) if raw.is_finite() and abs(raw.adjusted()) < 30 else str(raw)
    else:
        text = str(raw)
    if secret or SECRET_NAME.search(name) or (_LOOKS_SECRET.search(text) and not _ADDRESS.fullmatch(text)):
        return "(hidden)"
    text = " ".join(text.split())
    if isinstance(raw, str):
        text = repr(text) if not text or " " in text else text
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
