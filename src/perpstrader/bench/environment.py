"""What the figures were measured on, without a path, a host or a user in it."""

from __future__ import annotations

import asyncio
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apsw
import msgspec

import perpstrader
from perpstrader.runtime.system import run_system


def environment(*, seed: int, quick: bool, folder: Path) -> dict[str, Any]:
    """Versions, processors, load and file system."""
    return {
        "version": perpstrader.__version__,
        "commit": _commit(),
        "measured": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "seed": seed,
        "quick": quick,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "load_1m": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "event_loop": run_system(_loop_name()),
        "sqlite": apsw.sqlite_lib_version(),
        "msgspec": msgspec.__version__,
        "file_system": _file_system(folder),
    }


async def _loop_name() -> str:
    return type(asyncio.get_running_loop()).__module__.split(".")[0]


def _commit() -> str | None:
    """The commit that this code stands at, with ``+`` where files differ from it; ``None`` outside a repository."""
    root = Path(perpstrader.__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(root), "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=+"]
        told = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return told.stdout.strip() or None if told.returncode == 0 else None


def _processor() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or None
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), None)


def _file_system(folder: Path) -> str | None:
    """The kind of file system that temporary files lie on: on ``tmpfs`` a sync to the disk costs nothing."""
    try:
        lines = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return None
    mounts = [(line.split()[1], line.split()[2]) for line in lines]
    holding = [(len(point), kind) for point, kind in mounts if folder.resolve().is_relative_to(point)]
    return max(holding, default=(0, None))[1]
