"""The import rules bite: each arrow that the house forbids, drawn in an empty house, breaks its contract.

The rules themselves are in ``pyproject.toml``; ``make lint`` holds the real house against them.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = [
    "alerts",
    "bench",
    "breakers",
    "cli",
    "console",
    "domain",
    "execution",
    "monitor",
    "paper",
    "recovery",
    "report",
    "risk",
    "runtime",
    "settings",
    "simulate",
    "state",
    "strategies",
    "traces",
    "trader",
    "venue",
    "venue/wire",
    "venue/client",
]

DOWNWARDS = "Rooms import downwards only"
PAPER = "The paper exchange knows only the words, the clock, the wire"
PAPER_SEES_WIRE = "Of the venue, the paper exchange sees the wire alone"
PAPER_IMPORTERS = "Only what builds a whole trader may build a paper exchange"
WIRE = "The wire stands on the words, the clock and the settings"
CIRCLES = "No circles"


def lint_imports(folder: Path, arrows: list[tuple[str, str]], rooms: Sequence[str] = ROOMS) -> str:
    """The import linter's verdict on a house of empty rooms with these arrows (importer, imported) and no others."""
    package = folder / "perpstrader"
    for room in ["", *rooms]:
        (package / room).mkdir(parents=True, exist_ok=True)
        (package / room / "__init__.py").touch()
    for importer, imported in arrows:
        with (package / importer / "__init__.py").open("a") as file:
            file.write(f"import perpstrader.{imported.replace('/', '.')}\n")
    (folder / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", program, "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60).stdout


def test_a_house_with_only_the_permitted_arrows_is_kept(tmp_path: Path) -> None:
    permitted = [
        ("runtime", "domain"),
        ("state", "runtime"),
        ("venue/wire", "domain"),
        ("venue/client", "venue/wire"),
        ("risk", "state"),
        ("execution", "venue/client"),
        ("recovery", "execution"),
        ("paper", "venue/wire"),
        ("trader", "paper"),
        ("trader", "recovery"),
        ("simulate", "trader"),
        ("cli", "simulate"),
    ]
    assert "6 kept, 0 broken" in lint_imports(tmp_path, permitted)


@pytest.mark.parametrize(
    ("importer", "imported", "contract"),
    [
        ("domain", "runtime", DOWNWARDS),
        ("runtime", "settings", DOWNWARDS),
        ("state", "risk", DOWNWARDS),
        ("risk", "traces", DOWNWARDS),
        ("risk", "execution", DOWNWARDS),
        ("execution", "trader", DOWNWARDS),
        ("trader", "cli", DOWNWARDS),
        ("paper", "settings", PAPER),
        ("paper", "risk", PAPER),
        ("paper", "venue/client", PAPER_SEES_WIRE),
        ("execution", "paper", PAPER_IMPORTERS),
        ("console", "paper", PAPER_IMPORTERS),
        ("venue/wire", "state", WIRE),
    ],
)
def test_an_arrow_that_the_house_forbids_breaks_its_contract(
    tmp_path: Path, importer: str, imported: str, contract: str
) -> None:
    assert f"{contract} BROKEN" in lint_imports(tmp_path, [(importer, imported)])


def test_a_circle_between_two_rooms_of_one_storey_is_found(tmp_path: Path) -> None:
    assert f"{CIRCLES} BROKEN" in lint_imports(tmp_path, [("bench", "simulate"), ("simulate", "bench")])


def test_a_circle_inside_the_venue_is_found(tmp_path: Path) -> None:
    assert f"{CIRCLES} BROKEN" in lint_imports(
        tmp_path, [("venue/client", "venue/wire"), ("venue/wire", "venue/client")]
    )


def test_rooms_that_are_not_built_yet_break_no_rule(tmp_path: Path) -> None:
    built = {"domain", "runtime", "paper", "venue", "venue/wire", "trader", "simulate", "cli"}
    assert "6 kept, 0 broken" in lint_imports(tmp_path, [("trader", "paper")], sorted(built))


def test_a_room_that_no_rule_knows_is_found(tmp_path: Path) -> None:
    (tmp_path / "perpstrader" / "attic").mkdir(parents=True)
    (tmp_path / "perpstrader" / "attic" / "__init__.py").touch()
    assert f"{DOWNWARDS} BROKEN" in lint_imports(tmp_path, [])
