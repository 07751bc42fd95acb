"""What the repository promises as a whole: no secret, no machine of ours, small files, and commands that exist."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "perpstrader"
MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60

# Keys that others have published for tests. They guard nothing, and only tests may name them.
PUBLISHED_TEST_KEYS = {
    "0123456789012345678901234567890123456789012345678901234567890123",
    "1111111111111111111111111111111111111111111111111111111111111111",
    "1234567890abcdef1234567890abcdef1234567890abcdef1234567890abcdef",
    "822e9959e022b78423eb653a62ea0020cd283e71a2a8133a6ff2aeffaf373cff",
    "e908f86dbb4d55ac876378565aafeabc187f6690f046459397b17d9b9a19688e",
    "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
}
HEX_32_BYTES = re.compile(r"(?<![0-9a-fA-F])(?:0x)?([0-9a-fA-F]{64})(?![0-9a-fA-F])")
NAMES_A_KEY = re.compile(r"key|secret|priv|wallet|mnemonic", re.IGNORECASE)
TOKENS = {
    "a PEM private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY"),
    "a GitHub token": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{22,})"),
    "a GitLab token": re.compile(r"\bglpat-[A-Za-z0-9_-]{20}"),
    "an AWS key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a Slack token": re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}"),
    "a Telegram bot token": re.compile(r"\b[0-9]{8,10}:AA[A-Za-z0-9_-]{33}\b"),
    "a Discord webhook": re.compile(r"discord(?:app)?\.com/api/webhooks/[0-9]+/"),
    "an API key of an AI service": re.compile(r"\bsk-[A-Za-z0-9_-]{20,}"),
    "a password in an address": re.compile(r"\b[a-z]+://[^\s:/@{}<>]+:[^\s:/@{}<>]+@[a-z0-9]"),
}
# Written with a gap, so that this file does not find itself.
REGISTRY_HOST = re.compile(r"pypi[.]org|files[.]pythonhosted|npmjs[.](?:org|com)|debian[.]org|conda[-]forge")
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work|root|home/\w+|Users/\w+)/")


def tracked_texts() -> dict[str, str]:
    """Every tracked text file of the repository by its path; a folder that is no clone is walked instead."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    names = listed.stdout.splitlines() if listed.returncode == 0 else []
    if not names:
        kept = ("src", "tests", "docs", "requirements")
        names = [
            str(path.relative_to(ROOT)) for folder in kept for path in (ROOT / folder).rglob("*") if path.is_file()
        ]
    texts = {}
    for name in names:
        try:
            texts[name] = (ROOT / name).read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue
    return texts


def secrets_in(name: str, text: str) -> list[str]:
    """What in this text looks like a secret: one line each, which names the place and never the secret."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        found += [f"{name}:{number}: {what}" for what, pattern in TOKENS.items() if pattern.search(line)]
        for match in HEX_32_BYTES.finditer(line):
            if match[1].lower() in PUBLISHED_TEST_KEYS and name.startswith("tests/"):
                continue
            if NAMES_A_KEY.search(line[: match.start()]):
                found.append(f"{name}:{number}: 32 bytes under a name that says key")
    return found


def modules() -> list[tuple[str, ast.Module, int]]:
    """The product's modules: path from the repository's root, syntax tree, number of lines."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        found.append((str(path.relative_to(ROOT)), ast.parse(text), text.count("\n")))
    return found


def test_no_tracked_file_holds_a_secret() -> None:
    assert [found for name, text in tracked_texts().items() for found in secrets_in(name, text)] == []


@pytest.mark.parametrize(
    "planted",
    [
        "private_key = '0x" + "9f" * 32 + "'",
        "HYPERLIQUID_PRIVATE_KEY=" + "a1" * 32,
        "-----BEGIN EC " + "PRIVATE KEY-----",
        "token: ghp" + "_" + "A1b2" * 9,
        "AKIA" + "ABCDEFGHIJKLMNOP",
        "https://user:" + "hunter2@example.com",
        "123456789:AA" + "x" * 33,
    ],
)
def test_a_planted_secret_is_found(planted: str) -> None:
    assert len(secrets_in("src/perpstrader/planted.py", planted)) == 1


def test_a_published_test_key_may_stand_in_a_test_and_nowhere_else() -> None:
    line = f"private_key = '0x{min(PUBLISHED_TEST_KEYS)}'"
    assert secrets_in("tests/unit/test_signer.py", line) == []
    assert secrets_in("src/perpstrader/venue/signer.py", line) != []


def test_no_tracked_file_names_a_package_registry_or_a_path_of_a_machine() -> None:
    texts = tracked_texts()
    assert [name for name, text in texts.items() if REGISTRY_HOST.search(text)] == []
    assert [name for name, text in texts.items() if MACHINE_PATH.search(text)] == []


@pytest.mark.parametrize("folder", ["work", "root", "home/someone", "Users/someone"])
def test_a_planted_path_of_a_machine_is_found(folder: str) -> None:
    assert MACHINE_PATH.search(f"reads /{folder}/data.csv")
    assert not MACHINE_PATH.search(f"reads ../{folder}/data.csv")


def test_the_pins_are_hashed_and_name_no_index() -> None:
    for pins in ("runtime", "dev"):
        text = (ROOT / "requirements" / f"{pins}.txt").read_text()
        entries = re.split(r"\n(?=[a-zA-Z0-9])", text)
        assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []
        assert re.search(r"https?:|file:/|--(?:extra-)?index-url|--find-links", text) is None


def test_files_and_functions_of_the_product_stay_small() -> None:
    assert [f"{name} has {lines} lines" for name, _, lines in modules() if lines > MAX_FILE_LINES] == []
    long = []
    for name, tree, _ in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MAX_FUNCTION_LINES:
                    long.append(f"{name}:{node.lineno} {node.name} has {length} lines")
    assert long == []


def test_every_module_says_what_it_is_for() -> None:
    assert [name for name, tree, _ in modules() if not ast.get_docstring(tree)] == []


def test_the_makefile_offers_the_promised_targets_and_ci_runs_make_test() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"setup", "run", "test", "prove", "lint", "pins", "clean"} <= targets
    ci = ROOT / ".ci" / "run"
    assert os.access(ci, os.X_OK)
    assert re.search(r"^(?:exec )?make test$", ci.read_text(), re.MULTILINE)


def commands_of_the_readme() -> tuple[set[str], set[str]]:
    """The make targets and the perpstrader verbs (with sub-verbs) in the README's code blocks."""
    blocks = "\n".join(re.findall(r"```[a-z]*\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL))
    starts = r"^(?:\$ )?(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?"
    targets = set(re.findall(starts + r"make ([a-z]+)", blocks, re.MULTILINE))
    verbs = set(re.findall(starts + r"perpstrader ((?:traces|config) [a-z]+|[a-z]+)", blocks, re.MULTILINE))
    return targets, verbs


def test_the_commands_in_the_readme_exist() -> None:
    targets, verbs = commands_of_the_readme()
    assert {"run", "test"} <= targets
    assert verbs
    makefile = (ROOT / "Makefile").read_text()
    assert [target for target in sorted(targets) if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []
    for verb in sorted(verbs):
        command = [sys.executable, "-m", "perpstrader", *verb.split(), "--help"]
        assert subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0, (
            f"perpstrader {verb} is no command"
        )
