"""From the sources to one frozen ``Settings``: who wins, what follows from what, and every problem said at once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from perpstrader.settings.catalog import CATALOG, Spec
from perpstrader.settings.checks import ORDERED, find_contradictions
from perpstrader.settings.errors import SettingsError
from perpstrader.settings.schema import DEFAULT, SECTIONS, Origin, Settings, show
from perpstrader.settings.sources import (
    CONFIG_ENV,
    FILE_NAME,
    Given,
    Reading,
    is_private,
    read_environment,
    read_file,
    read_overrides,
    read_text,
)


def load(
    config_file: Path | None = None,
    env: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
) -> Settings:
    """The settings of one run, read once, validated and frozen; raises ``SettingsError`` with every problem in it.

    ``config_file`` is the file to read; without it ``PERPSTRADER_CONFIG``, else ``perpstrader.toml`` in the data
    directory, else in the working directory, else none. ``overrides`` are the command line's values by key
    (``{"venue.network": "paper"}``; ``None``: not given). The command line wins over the environment, that over the
    file, that over the default; but of a limit that several sources give, the stricter value wins.
    """
    env = env or {}
    reading = Reading(home=Path(env["HOME"]) if env.get("HOME") else Path.home())
    beyond_file = Reading(home=reading.home)
    read_environment(beyond_file, env)
    read_overrides(beyond_file, overrides or {})
    file = config_file or _find_file(beyond_file, env)
    if file is not None:
        read_file(reading, file)
    reading.given += beyond_file.given
    reading.problems += beyond_file.problems
    reading.failed |= beyond_file.failed

    values, origins = _settle(reading)
    _read_key(values, origins, reading)
    _follow(values, origins)
    if values["data.dir"] is None:
        values["data.dir"] = reading.home / ".perpstrader" / values["venue.network"]
    settings = _build(values, origins, file)
    contradictions = [
        text for text in find_contradictions(settings, env) if not any(key in text for key in reading.failed)
    ]
    if reading.problems or contradictions:
        raise SettingsError([*reading.problems, *contradictions])
    return settings


def _find_file(beyond_file: Reading, env: Mapping[str, str]) -> Path | None:
    if env.get(CONFIG_ENV):
        return Path(env[CONFIG_ENV])
    known = {given.key: given.value for given in beyond_file.given}
    data_dir = known.get("data.dir") or beyond_file.home / ".perpstrader" / known.get("venue.network", "paper")
    return next((path for path in (data_dir / FILE_NAME, Path(FILE_NAME)) if path.exists()), None)


def _settle(reading: Reading) -> tuple[dict[str, Any], dict[str, Origin]]:
    """The value of every key and where it came from."""
    by_key: dict[str, list[Given]] = {}
    for given in reading.given:
        by_key.setdefault(given.key, []).append(given)
    values: dict[str, Any] = {key: spec.default for key, spec in CATALOG.items()}
    origins: dict[str, Origin] = {}
    for key, several in by_key.items():
        spec = CATALOG[key]
        chosen = _strictest(spec, several) if spec.stricter else _latest(spec, several, reading)
        values[key], origins[key] = chosen.value, chosen.origin
    return values, origins


def _latest(spec: Spec, several: Sequence[Given], reading: Reading) -> Given:
    """The value of the source with the highest precedence; two names in one source must agree."""
    chosen = several[-1]
    for other in several[:-1]:
        if other.origin.source == chosen.origin.source and other.value != chosen.value:
            reading.problems.append(f"{spec.key} has two values: {other.origin} and {chosen.origin} differ; keep one")
    return chosen


def _strictest(spec: Spec, several: Sequence[Given]) -> Given:
    """Of a limit's values the strictest; lists are joined."""
    if spec.kind == "list":
        return _joined(several)
    chosen = several[-1]
    for given in several[-2::-1]:
        stricter = given.value < chosen.value if spec.stricter == "lower" else given.value > chosen.value
        chosen = given if stricter else chosen
    others = [given for given in several if given.value != chosen.value]
    if not others:
        return chosen
    note = "stricter than " + ", ".join(f"{show(given.value)} from {given.origin}" for given in others)
    return replace(chosen, origin=replace(chosen.origin, note=note))


def _joined(several: Sequence[Given]) -> Given:
    names = tuple(dict.fromkeys(name for given in several for name in given.value))
    last = several[-1]
    others = [str(given.origin) for given in several[:-1] if given.value != last.value]
    note = "joined with " + ", ".join(others) if others else ""
    return Given(last.key, names, replace(last.origin, note=note))


def _follow(values: dict[str, Any], origins: dict[str, Origin]) -> None:
    """A default never exceeds the limit above it that a person has set: it is lowered to it, and says so."""
    for lower, upper in ORDERED:
        low, high = values[lower], values[upper]
        if low is None or high is None or low <= high or lower in origins:
            continue
        values[lower] = Decimal(high) if isinstance(low, Decimal) else high
        origins[lower] = replace(DEFAULT, note=f"lowered to {upper}")


def _read_key(values: dict[str, Any], origins: dict[str, Origin], reading: Reading) -> None:
    """Puts the key of ``venue.key_file`` into ``venue.private_key`` and checks its shape; no text ever repeats it."""
    try:
        text = _key_text(values["venue.private_key"], values["venue.key_file"], origins)
    except SettingsError as error:
        values["venue.private_key"] = None
        reading.problems.append(str(error))
        reading.failed.add("venue.private_key")
    else:
        values["venue.private_key"] = None if text is None else SecretStr("0x" + text.removeprefix("0x").lower())


def _key_text(key: SecretStr | None, key_file: Path | None, origins: dict[str, Origin]) -> str | None:
    """The one key that is given, of the right shape; its origin is set where it comes from a file."""
    place = str(origins.get("venue.private_key", DEFAULT))
    if key is None and key_file is None:
        return None
    if key is not None and key_file is not None:
        other = origins["venue.key_file"]
        raise SettingsError([f"venue.private_key ({place}) and venue.key_file ({other}) are both given; keep one"])
    if key_file is not None:
        text = read_text(key_file, "venue.key_file:").strip()
        if not is_private(key_file):
            raise SettingsError([f"venue.key_file: others can read {key_file}; chmod 600 {key_file}"])
        place = f"key file {key_file}"
        origins["venue.private_key"] = Origin("file", place)
    else:
        text = key.get_secret_value().strip() if key is not None else ""
    if not re.fullmatch(r"(0x)?[0-9a-fA-F]{64}", text):
        got = f"got {len(text)} characters" if len(text) not in (64, 66) else "not all of it is"
        raise SettingsError([f"venue.private_key ({place}) must be 0x and 64 hex digits; {got}"])
    return text


def _build(values: Mapping[str, Any], origins: Mapping[str, Origin], file: Path | None) -> Settings:
    """The frozen sections; each value has passed the schema on its own."""
    sections: dict[str, Any] = {
        section: model.model_construct(**{name: values[f"{section}.{name}"] for name in model.model_fields})
        for section, model in SECTIONS.items()
    }
    return Settings(**sections, origins=dict(origins), config_file=file)
