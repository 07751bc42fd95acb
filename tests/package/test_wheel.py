"""What a user installs: the wheel is built, its contents are checked, and the program starts from it alone."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

import perpstrader

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """The output of a command that must succeed."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False, timeout=180
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built without the network by the build backend of this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    run(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        ".",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--wheel-dir",
        folder,
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` folder of an empty environment with nothing but the wheel installed.

    The dependencies are made visible by a path file to this environment's packages: nothing is downloaded a second
    time. Path files are not followed from there, so the checkout itself (an editable install) stays out of sight.
    """
    home = tmp_path_factory.mktemp("user") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", home)
    run(sys.executable, "-m", "pip", "--python", home / "bin" / "python", "install", "--no-deps", "--no-index", wheel)
    packages = run(home / "bin" / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    (Path(packages) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin"


def test_the_wheel_holds_the_typed_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"perpstrader", f"perpstrader-{perpstrader.__version__}.dist-info"}
    assert "perpstrader/py.typed" in names
    assert [name for name in names if name.startswith("tests/") or "/tests/" in name or "__pycache__" in name] == []
    recorded = (".feather", ".parquet", ".csv", ".db", ".jsonl", ".gz", ".zst")
    assert [name for name in names if name.endswith(recorded)] == []


def test_the_wheel_holds_every_module_of_the_source(wheel: Path) -> None:
    source = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src" / "perpstrader").rglob("*.py")}
    assert source <= set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_tells_its_name_version_licence_and_purpose(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = message_from_string(archive.read(name).decode())
    assert metadata["Name"] == "perpstrader"
    assert metadata["Version"] == perpstrader.__version__ == PROJECT["version"]
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata.get_payload() == (ROOT / "README.md").read_text()


def test_the_program_starts_from_the_wheel_in_an_empty_environment(installed: Path, tmp_path: Path) -> None:
    where = run(installed / "python", "-c", "import perpstrader; print(perpstrader.__file__)", cwd=tmp_path).strip()
    assert Path(where).is_relative_to(installed.parent)
    assert perpstrader.__version__ in run(installed / "perpstrader", "--version", cwd=tmp_path)
    shown = run(installed / "perpstrader", "--help", cwd=tmp_path)
    assert "run" in shown
    assert "replay" in shown
    assert run(installed / "python", "-m", "perpstrader", "--version", cwd=tmp_path) == run(
        installed / "perpstrader", "--version", cwd=tmp_path
    )
