"""Where settings come from: a TOML file, the environment, the command line. Each value knows its place."""

from __future__ import annotations

import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from perpstrader.settings.catalog import CATALOG, ENV_NAMES, PERCENT_ENV, PREFIX, Spec
from perpstrader.settings.errors import SettingsError
from perpstrader.settings.schema import SECTIONS, Origin
from perpstrader.settings.values import NotAllowed, nearest_name, parse, shown

FILE_NAME = "perpstrader.toml"
CONFIG_ENV = "PERPSTRADER_CONFIG"
OTHER_ENV = frozenset({CONFIG_ENV, "PERPSTRADER_TEST_DATA", "PERPSTRADER_PROVE"})
"""Names that begin like ours and are no settings: the file to read, and what the test-suite reads."""

_MAX_FILE_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Given:
    """One value for one key from one place, validated."""

    key: str
    value: Any
    origin: Origin


@dataclass(slots=True)
class Reading:
    """What the sources gave, in rising precedence, and every problem met on the way."""

    home: Path
    given: list[Given] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    failed: set[str] = field(default_factory=set)

    def take(self, spec: Spec, raw: object, origin: Origin, *, base: Path | None = None, percent: bool = False) -> None:
        """Adds one value, or the sentence that says why not."""
        try:
            value = parse(spec, raw, home=self.home, base=base, percent=percent)
        except NotAllowed as reason:
            text = "" if spec.meta.secret or spec.kind == "strategies" else f" = {shown(raw)}"
            self.problems.append(f"{spec.key}{text} ({origin}) {reason}")
            self.failed.add(spec.key)
        else:
            self.given.append(Given(spec.key, value, origin))


def is_private(path: Path) -> bool:
    """True where only the owner can read or write the file (mode 0600 or less)."""
    return not stat.S_IMODE(path.stat().st_mode) & 0o077


def read_text(path: Path, what: str) -> str:
    """The text of a small regular file; a ``SettingsError`` names the file and what is wrong with it."""
    try:
        if not path.is_file():
            raise SettingsError([f"{what} {path} is not a file" if path.exists() else f"{what} {path} does not exist"])
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise SettingsError([f"{what} {path} is larger than {_MAX_FILE_BYTES} bytes"])
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise SettingsError([f"{what} {path} is not text in UTF-8"]) from None
    except OSError as error:
        raise SettingsError([f"{what} {path} cannot be read: {error.strerror or error}"]) from None


def read_file(reading: Reading, path: Path) -> None:
    """Takes the settings of a TOML file; numbers with a point become decimals without passing through a float."""
    text = read_text(path, "settings file")
    try:
        document = tomllib.loads(text, parse_float=Decimal)
    except (tomllib.TOMLDecodeError, ArithmeticError) as error:
        reading.problems.append(f"{path} is not valid TOML: {_toml_reason(error)}")
        return
    lines = _line_numbers(text)
    for section, table in document.items():
        if section not in SECTIONS:
            reading.problems.append(_unknown_section(path, section, lines))
        elif not isinstance(table, Mapping):
            reading.problems.append(f"{section} = {shown(table)} ({path.name}) must be a table: [{section}]")
        else:
            for name, raw in table.items():
                _take_from_file(reading, path, section, name, raw, lines)


def _take_from_file(
    reading: Reading, path: Path, section: str, name: str, raw: object, lines: Mapping[str, int]
) -> None:
    key = f"{section}.{name}"
    line = lines.get(key)
    place = f"{path}:{line}" if line else str(path)
    spec = CATALOG.get(key)
    if spec is None:
        known = [spec.name for spec in CATALOG.values() if spec.section == section]
        near = nearest_name(name, known)
        hint = f"{section}.{near}" if near else _elsewhere(name)
        value = shown(raw, name=f"{name} {near}")
        reading.problems.append(f"{key} = {value} ({place}) is not a setting" + _did_you_mean(hint))
    elif spec.meta.secret and not is_private(path):
        reading.failed.add(key)
        reading.problems.append(
            f"{key} ({place}) is a secret in a file that others can read; chmod 600 {path}, or use the environment"
        )
    else:
        reading.take(spec, raw, Origin("file", place), base=path.parent)


def read_environment(reading: Reading, env: Mapping[str, str]) -> None:
    """Takes every known name; an unknown one that begins with ``PERPSTRADER_`` is a problem."""
    for name in sorted(env):
        key = ENV_NAMES.get(name)
        if key is not None:
            reading.take(CATALOG[key], env[name], Origin("environment", f"env {name}"), percent=name in PERCENT_ENV)
        elif name.startswith(PREFIX) and name not in OTHER_ENV:
            ours = [known.removeprefix(PREFIX) for known in ENV_NAMES if known.startswith(PREFIX)]
            bare = nearest_name(name.removeprefix(PREFIX), ours)
            near = f"{PREFIX}{bare}" if bare else None
            value = shown(env[name], name=f"{name} {near}")
            reading.problems.append(f"{name}={value} (environment) is not a setting" + _did_you_mean(near))


def read_overrides(reading: Reading, overrides: Mapping[str, object]) -> None:
    """Takes the command line's values by key; ``None`` means not given."""
    for key, raw in overrides.items():
        if raw is None:
            continue
        spec = CATALOG.get(key)
        if spec is None:
            near = nearest_name(key, CATALOG)
            value = shown(raw, name=f"{key} {near}")
            reading.problems.append(f"{key} = {value} (command line) is not a setting" + _did_you_mean(near))
        else:
            reading.take(spec, raw, Origin("command line", "command line"))


def _unknown_section(path: Path, section: str, lines: Mapping[str, int]) -> str:
    place = f"{path}:{lines[section]}" if section in lines else str(path)
    near = nearest_name(section, SECTIONS)
    hint = f"[{near}]" if near else _elsewhere(section)
    return f"{section} ({place}) is not a section of the settings" + _did_you_mean(hint)


def _elsewhere(name: str) -> str | None:
    """The key of a setting that is known under this name in the environment or in another section."""
    key = ENV_NAMES.get(name.upper())
    if key is None:
        near = nearest_name(name, [spec.name for spec in CATALOG.values()])
        key = next((spec.key for spec in CATALOG.values() if spec.name == near), None)
    return key


def _did_you_mean(hint: str | None) -> str:
    return f"; did you mean {hint}?" if hint else "; `perpstrader config show` lists the known ones"


def _toml_reason(error: Exception) -> str:
    """The parser's sentence without any quoted piece of the file, which might be a secret."""
    place = re.search(r"\(at [^)]*\)", str(error))
    return f"it cannot be read {place[0]}" if place else "a number in it cannot be read"


def _line_numbers(text: str) -> dict[str, int]:
    """The line of each plain ``key = …`` and ``[section]``, by key; what is written in other ways is left out."""
    lines: dict[str, int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[\[?\s*([A-Za-z0-9_.-]+)\s*\]\]?", line):
            section = header[1]
            lines.setdefault(section, number)
        elif entry := re.match(r"\s*([A-Za-z0-9_.-]+)\s*=", line):
            lines.setdefault(f"{section}.{entry[1]}".lstrip("."), number)
    return lines
