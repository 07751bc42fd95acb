"""Who wins, what is unknown, and how a person is told."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpstrader.settings import Settings, SettingsError, load
from perpstrader.settings.catalog import CATALOG, Spec
from perpstrader.settings.checks import ORDERED
from perpstrader.settings.load import _settle
from perpstrader.settings.schema import Origin
from perpstrader.settings.sources import Given, Reading

LIMITS = [spec for spec in CATALOG.values() if spec.stricter and spec.kind in ("int", "decimal", "duration")]
SOURCES = ("file", "environment", "command line")


def problems_of(config: Path | None = None, env: dict[str, str] | None = None, **overrides: Any) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load(config, {"HOME": "/nowhere", **(env or {})}, {key.replace("__", "."): v for key, v in overrides.items()})
    return caught.value.problems


def problems_if_any(config: Path | None, env: dict[str, str]) -> tuple[str, ...]:
    try:
        load(config, {"HOME": "/nowhere", **env})
    except SettingsError as error:
        return error.problems
    return ()


def toml(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "perpstrader.toml"
    file.write_text(text)
    return file


def test_the_command_line_wins_over_the_environment_over_the_file(tmp_path: Path) -> None:
    file = toml(tmp_path, "[console]\nport = 1001\nenabled = false\n[feed]\nseed = 7\n")
    env = {"HOME": str(tmp_path), "PERPSTRADER_CONSOLE__PORT": "1002", "PERPSTRADER_FEED__SEED": "8"}
    settings = load(file, env, {"console.port": 1003, "feed.bar_ms": None})
    assert (settings.console.port, settings.feed.seed, settings.console.enabled) == (1003, 8, False)
    assert str(settings.origin("console.port")) == "command line"
    assert str(settings.origin("feed.seed")) == "env PERPSTRADER_FEED__SEED"
    assert str(settings.origin("feed.bar_ms")) == "default"


@given(data=st.data(), spec=st.sampled_from(LIMITS))
def test_S33_of_a_limit_the_stricter_source_wins_whatever_their_order(data: st.DataObject, spec: Spec) -> None:
    numbers = st.integers(1, 10**6) if spec.kind != "decimal" else st.decimals(1, 10**6, places=3)
    values = data.draw(st.lists(numbers, min_size=1, max_size=3))
    reading = Reading(home=Path("/nowhere"))
    reading.given = [
        Given(spec.key, value, Origin(source, source))  # type: ignore[arg-type]  # the names of the sources
        for value, source in zip(values, SOURCES, strict=False)
    ]
    chosen, origins = _settle(reading)
    strictest = min(values) if spec.stricter == "lower" else max(values)
    assert chosen[spec.key] == strictest
    assert not reading.problems
    place = origins[spec.key].source
    assert values[SOURCES.index(place)] == strictest
    assert bool(origins[spec.key].note) == (len(set(values)) > 1)


def test_S33_a_stricter_limit_says_what_it_was_stricter_than(tmp_path: Path) -> None:
    file = toml(tmp_path, "[risk]\nmax_leverage = 2\n")
    settings = load(file, {"HOME": str(tmp_path), "MAX_LEVERAGE": "5"}, {"risk.max_leverage": 4})
    assert settings.risk.max_leverage == 2
    note = "stricter than 5 from env MAX_LEVERAGE, 4 from command line"
    assert str(settings.origin("risk.max_leverage")) == f"{file}:2 ({note})"


@pytest.mark.parametrize("where", ["file", "env", "command line"])
def test_S40_an_emergency_stop_from_any_source_wins(where: str, tmp_path: Path) -> None:
    file = toml(tmp_path, f"[risk]\nemergency_stop = {'true' if where == 'file' else 'false'}\n")
    env = {"HOME": str(tmp_path), "EMERGENCY_STOP": "true" if where == "env" else "false"}
    assert load(file, env, {"risk.emergency_stop": where == "command line"}).risk.emergency_stop


def test_blocked_symbols_of_all_sources_are_joined(tmp_path: Path) -> None:
    file = toml(tmp_path, '[risk]\nblocked_symbols = ["DOGE"]\n')
    settings = load(file, {"HOME": str(tmp_path), "BLOCKED_SYMBOLS": "kPEPE, DOGE"})
    assert settings.risk.blocked_symbols == ("DOGE", "kPEPE")
    assert "joined with" in str(settings.origin("risk.blocked_symbols"))


def test_two_names_of_one_setting_must_agree() -> None:
    env = {"HYPERLIQUID_BASE_URL": "http://127.0.0.1:1", "PERPSTRADER_VENUE__BASE_URL": "http://127.0.0.1:2"}
    (problem,) = problems_of(env=env)
    assert "venue.base_url has two values" in problem


@pytest.mark.parametrize(("lower", "upper"), [pair for pair in ORDERED if CATALOG[pair[0]].kind == "decimal"])
def test_a_default_follows_the_limit_above_it_down_and_a_contradiction_is_told(lower: str, upper: str) -> None:
    spec, high = CATALOG[lower], CATALOG[upper]
    low_default = spec.default if isinstance(spec.default, Decimal) else Decimal(40)
    if high.kind == "decimal":
        below = low_default / 2
        settings = load(None, {"HOME": "/n", high.own_env: format(below, "f")})
        followed = settings.values()[lower]
        assert followed in (below, None)
        if followed is not None:
            assert str(settings.origin(lower)) == f"default (lowered to {upper})"
        told = problems_of(env={high.own_env: format(below, "f"), spec.own_env: format(low_default, "f")})
        assert any(text.startswith(f"{lower} = ") and f"must not exceed {upper} = " in text for text in told)


def test_S74_all_problems_are_told_at_once_one_sentence_each(tmp_path: Path) -> None:
    file = toml(tmp_path, '[risk]\nmax_leverag = 3\n[trader]\nsymbols = []\n[venu]\nnetwork = "paper"\n')
    told = problems_of(file, {"MAX_DAILY_LOSS": "50", "PERPSTRADER_RISK__MAX_LEVRAGE": "2"}, console__port=99_999)
    assert len(told) == 6
    text = "\n".join(told)
    assert f"risk.max_leverag = 3 ({file}:2) is not a setting; did you mean risk.max_leverage?" in told
    assert f"venu ({file}:5) is not a section of the settings; did you mean [venue]?" in told
    assert "did you mean PERPSTRADER_RISK__MAX_LEVERAGE?" in text
    assert "console.port = 99999 (command line) must be >= 0 and <= 65535" in told
    assert "trader.symbols must name at least one symbol" in told


def test_S74_a_variables_name_in_the_file_points_to_its_setting(tmp_path: Path) -> None:
    (told,) = problems_of(toml(tmp_path, "MAX_LEVERAGE = 3\n"))
    assert "did you mean risk.max_leverage?" in told


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[risk\n", "is not valid TOML: it cannot be read (at line 1"),
        ("[risk]\nmax_leverage = 3\nmax_leverage = 4\n", "is not valid TOML"),
        ("risk = 3\n", "risk = 3 (perpstrader.toml) must be a table: [risk]"),
        ("[[risk]]\nmax_leverage = 3\n", "must be a table: [risk]"),
        ("[risk]\nmax_leverage = true\n", "risk.max_leverage = true"),
        ("[risk]\nmax_daily_loss_fraction = nan\n", "must be a finite decimal number"),
        ("[risk]\nmax_daily_loss_fraction = [0.1]\n", "must be a finite decimal number"),
        ("[console]\nport = 8.5\n", "console.port = 8.5"),
        ("[console]\nenabled = 1\n", "must be true or false"),
        ('[venue]\nnetwork = "Mainet"\n', "must be paper, testnet or mainnet; did you mean mainnet?"),
        ('[rollout]\ntraces = "shadow"\n', "must be optimized or baseline"),
        ('[rollout]\nbreakers = "shadow"\n', "must be optimized or baseline"),
        ('[[trader.strategies]]\nuse = "trend"\nparam = {}\n', "unknown key 'param'; did you mean params?"),
        ('[trader]\nstrategies = ["trend", "trend"]\n', "trader.strategies names trend more than once"),
        ('[[trader.strategies]]\nuse = "trend"\nsymbols = ["XRP"]\n', "wants XRP, which is not in trader.symbols"),
        ('[feed]\nsource = "replay"\n', "feed.path is needed"),
        ('[console]\nhost = "0.0.0.0"\n', "can be reached by other machines"),
        ('[console]\ntls_cert_file = "/srv/cert.pem"\n', "belong together"),
    ],
)
def test_S74_a_malformed_file_gets_one_clear_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    (told,) = problems_of(toml(tmp_path, text))
    assert sentence in told
    assert "\n" not in told


def test_S74_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert problems_of(tmp_path / "none.toml") == (f"settings file {tmp_path}/none.toml does not exist",)
    assert problems_of(tmp_path) == (f"settings file {tmp_path} is not a file",)
    (tmp_path / "latin.toml").write_bytes(b"[risk]\n# \xe9\n")
    assert problems_of(tmp_path / "latin.toml") == (f"settings file {tmp_path}/latin.toml is not text in UTF-8",)


def test_S74_a_sentence_stays_one_line_whatever_a_path_holds() -> None:
    (told,) = problems_if_any(None, {"PERPSTRADER_VENUE__KEY_FILE": "a\nb\x1b[2J"})
    assert "a\\nb\\x1b[2J" in told


@given(text=st.text(max_size=60), name=st.sampled_from(sorted(spec.own_env for spec in CATALOG.values())))
def test_S74_no_text_in_a_variable_can_raise_anything_but_a_settings_error(text: str, name: str) -> None:
    assert all(problem and "\n" not in problem for problem in problems_if_any(None, {name: text}))


@given(body=st.text(max_size=80), section=st.sampled_from(["risk", "trader", "venue"]))
def test_S74_no_file_can_raise_anything_but_a_settings_error(
    body: str, section: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("toml") / "perpstrader.toml"
    file.write_text(f"[{section}]\n{body}", encoding="utf-8", errors="replace")
    assert all(problem and "\n" not in problem for problem in problems_if_any(file, {}))


def test_the_data_directory_is_the_option_then_the_variable_then_the_home(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path)}
    key = {"PERPSTRADER_ACCOUNT_ADDRESS": "0x" + "1" * 40, "PERPSTRADER_PRIVATE_KEY": "1" * 64}
    assert load(None, env).data_dir == tmp_path / ".perpstrader" / "paper"
    testnet = load(None, {**env, **key}, {"venue.network": "testnet"})
    assert testnet.data_dir == tmp_path / ".perpstrader" / "testnet"
    assert load(None, {**env, "PERPSTRADER_DATA_DIR": "~/here"}).data_dir == tmp_path / "here"
    by_option = load(None, {**env, "PERPSTRADER_DATA_DIR": "/there"}, {"data.dir": tmp_path / "option"})
    assert by_option.data_dir == tmp_path / "option"


def test_the_file_is_the_option_then_the_variable_then_the_data_directorys_then_the_working_directorys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, data = tmp_path / "work", tmp_path / "data"
    for number, folder in enumerate((work, data, tmp_path / "named", tmp_path / "option"), start=1):
        folder.mkdir()
        toml(folder, f"[feed]\nseed = {number}\n")
    monkeypatch.chdir(work)
    env = {"HOME": str(tmp_path)}
    assert load(None, env).feed.seed == 1
    env["PERPSTRADER_DATA_DIR"] = str(data)
    assert load(None, env).feed.seed == 2
    env["PERPSTRADER_CONFIG"] = str(tmp_path / "named" / "perpstrader.toml")
    assert load(None, env).feed.seed == 3
    settings = load(tmp_path / "option" / "perpstrader.toml", env)
    assert (settings.feed.seed, settings.config_file) == (4, tmp_path / "option" / "perpstrader.toml")


def test_a_relative_path_in_the_file_is_relative_to_the_file(tmp_path: Path) -> None:
    assert load(toml(tmp_path, '[feed]\npath = "market"\n'), {"HOME": "/n"}).feed.path == tmp_path / "market"


def test_the_digest_changes_with_every_decision_and_with_no_directory(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path)}
    plain = load(None, env)
    assert plain.digest == Settings().digest == load(None, {**env, "PERPSTRADER_DATA_DIR": "/elsewhere"}).digest
    assert load(None, {**env, "MAX_LEVERAGE": "2"}).digest != plain.digest
    assert load(None, {**env, "PERPSTRADER_RISK__MAX_DAILY_LOSS_FRACTION": "0.0500"}).digest == plain.digest
