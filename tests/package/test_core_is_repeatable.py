"""The core takes time, chance, tasks and sockets from what it is handed, and so a run can be repeated to the last byte.

``ruff`` bans the same names while one writes; this check reads the syntax trees, so no comment can silence it.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "perpstrader"
# The door itself, and the rooms above the core that meet a person's clock.
OUTSIDE_THE_CORE = {"runtime", "cli", "bench"}
BANNED = {
    *(f"time.{name}" for name in ("time", "time_ns", "monotonic", "monotonic_ns", "sleep")),
    *(f"datetime.datetime.{name}" for name in ("now", "utcnow", "today")),
    "datetime.date.today",
    *(
        f"random.{name}"
        for name in (
            "random",
            "uniform",
            "gauss",
            "randint",
            "randrange",
            "getrandbits",
            "choice",
            "choices",
            "sample",
            "shuffle",
            "seed",
        )
    ),
    "random.SystemRandom",
    "uuid.uuid1",
    "uuid.uuid4",
    "asyncio.create_task",
    "asyncio.ensure_future",
    "threading.Thread",
    "threading.Timer",
    "concurrent.futures.ThreadPoolExecutor",
    "socket.socket",
    "socket.create_connection",
}
LOOPS = {"asyncio.get_event_loop", "asyncio.get_running_loop"}


def imported_names(tree: ast.Module) -> dict[str, str]:
    """What each imported name stands for: ``{"t": "time.time"}`` after ``from time import time as t``."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
    return names


def dotted(node: ast.expr, names: dict[str, str]) -> str | None:
    """The full name that an expression such as ``dt.now`` refers to; None when it is not made of imported names."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = dotted(node.value, names)
        return f"{owner}.{node.attr}" if owner else None
    return None


def impurities(source: str) -> list[str]:
    """Each use of a banned name in this source, called or merely mentioned, and each task started on a bare loop."""
    tree = ast.parse(source)
    names = imported_names(tree)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            name = dotted(node, names)
            if name in BANNED:
                found.append(f"line {node.lineno}: {name}")
        if isinstance(node, ast.Attribute) and node.attr == "create_task":
            owner = node.value.func if isinstance(node.value, ast.Call) else node.value
            if dotted(owner, names) in LOOPS or (isinstance(owner, ast.Name) and owner.id in ("loop", "_loop")):
                found.append(f"line {node.lineno}: create_task on a bare loop")
        if isinstance(node, ast.Call) and dotted(node.func, names) == "random.Random" and not node.args:
            found.append(f"line {node.lineno}: random.Random without a seed")
    return found


def test_the_core_takes_time_chance_tasks_and_sockets_only_from_what_it_is_handed() -> None:
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        room = path.relative_to(SOURCE).parts[0]
        if room not in OUTSIDE_THE_CORE:
            found += [
                f"{path.relative_to(SOURCE)}, {impurity}" for impurity in impurities(path.read_text(encoding="utf-8"))
            ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "import time\nnow = time.time()",
        "from time import monotonic as tick\ntick()",
        "import time\ndef wait(clock=time.time): ...",
        "from datetime import datetime, UTC\ndatetime.now(UTC)",
        "import datetime as d\nd.datetime.utcnow()",
        "import random\nrandom.shuffle([1, 2])",
        "import random\nchance = random.Random()",
        "from uuid import uuid4\nuuid4()",
        "import asyncio\nasyncio.create_task(work())",
        "import asyncio\nasyncio.get_running_loop().create_task(work())",
        "from concurrent.futures import ThreadPoolExecutor\nThreadPoolExecutor()",
        "import socket\nsocket.socket()",
    ],
)
def test_each_way_around_the_handed_in_clock_chance_and_tasks_is_found(source: str) -> None:
    assert len(impurities(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "import random\ndef draw(chance: random.Random) -> float: return chance.random()",
        "import random\nchance = random.Random(7)",
        "import asyncio\nasync def run():\n    async with asyncio.TaskGroup() as group: group.create_task(work())",
        "from datetime import UTC, datetime\ndatetime.fromtimestamp(0, UTC)",
    ],
)
def test_what_is_handed_in_may_be_used(source: str) -> None:
    assert impurities(source) == []
