"""``docs/settings.md`` from the schema: every setting and limit, by ``python -m perpstrader.settings.docs``."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from perpstrader.settings.catalog import CATALOG, Spec
from perpstrader.settings.schema import SECTIONS, show

_HEAD = """\
# Settings and limits

This page is made from the schema by `python -m perpstrader.settings.docs > docs/settings.md`; a test holds both equal.

* Settings are read once, at the start, from `perpstrader.toml` (the file named by `--config` or `PERPSTRADER_CONFIG`,
  else the one in the data directory, else the one in the working directory), the environment, and the command line.
  The later one wins.
* Every setting has a name `PERPSTRADER_<SECTION>__<KEY>` in the environment, as `PERPSTRADER_RISK__MAX_LEVERAGE`.
  The table names the other ones. `%` marks a variable that carries percent where the setting is a fraction.
  Durations may be written `250ms`, `5s`, `1m`, `12h`; lists as names joined by commas.
* Of a **limit** the strictest value that any source gives wins; ↓ says that the lower value is the stricter one, ↑ the
  higher. Lists marked + are joined. A limit allows its own value: what is equal passes, what is beyond is refused.
* A default follows the limit above it down: with `MAX_LEVERAGE=2` the leverage set at the venue is 2.
* An unknown key, an unknown `PERPSTRADER_` variable or an impossible value stops the start with a sentence for each.
* Secrets come from the environment or from a file of mode 0600, and are never shown.
* `perpstrader config show` prints the effective values and where each came from.
"""


def render() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *(line for section in SECTIONS for line in _section(section))])


def _section(section: str) -> Iterator[str]:
    yield f"## [{section}]"
    yield ""
    yield (SECTIONS[section].__doc__ or "").strip().splitlines()[0]
    yield ""
    yield "| setting | environment | default | unit | allowed | meaning |"
    yield "|---|---|---|---|---|---|"
    for spec in CATALOG.values():
        if spec.section == section:
            yield _row(spec)
    yield ""


def _row(spec: Spec) -> str:
    names = [f"`{name}`" for name in spec.meta.env] + [f"`{name}` %" for name in spec.meta.percent_env]
    mark = ""
    if spec.stricter:
        mark = " +" if spec.kind == "list" else {"lower": " ↓", "higher": " ↑"}[spec.stricter]
    default = "none" if spec.default in (None, ()) else f"`{show(spec.default)}`"
    why = f" *{spec.meta.why}.*" if spec.meta.why else ""
    cells = (
        f"`{spec.name}`{mark}",
        " ".join(names),
        default,
        spec.meta.unit,
        allowed(spec),
        spec.meaning + why,
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def allowed(spec: Spec) -> str:
    """What values a setting takes, in a few words."""
    if spec.meta.allowed:
        return spec.meta.allowed
    if spec.kind == "choice":
        return ", ".join(f"`{choice}`" for choice in spec.choices)
    if spec.name.endswith(("_fraction", "_confidence")):
        return "> 0 and " + (spec.bounds[-1] if spec.bounds else "<= 1")
    if spec.kind == "bool":
        return "true, false"
    return " and ".join(_for_people(bound) for bound in spec.bounds)


def _for_people(bound: str) -> str:
    """A bound with its thousands apart; a whole number of days as days."""
    sign, number = bound.split(" ")
    if not number.isdigit():
        return bound
    days, rest = divmod(int(number), 86_400_000)
    return f"{sign} {days} days" if days > 1 and not rest else f"{sign} {int(number):,}"


if __name__ == "__main__":
    sys.stdout.write(render())
