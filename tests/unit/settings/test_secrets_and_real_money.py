"""No secret in any output, and no real money without two explicit settings and caps in USD."""

from __future__ import annotations

import json
import pickle
import traceback
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from perpstrader.settings import Settings, SettingsError, load
from perpstrader.settings.catalog import CATALOG, table
from perpstrader.settings.limits import MAINNET_CAPS

ACCOUNT = "0x" + "1A" * 20
KEY = "0x" + "c3d4" * 16
TESTNET = {
    "PERPSTRADER_VENUE__NETWORK": "testnet",
    "PERPSTRADER_ACCOUNT_ADDRESS": ACCOUNT,
    "PERPSTRADER_PRIVATE_KEY": KEY,
}
MAINNET = {
    **TESTNET,
    "PERPSTRADER_VENUE__NETWORK": "mainnet",
    "PERPSTRADER_VENUE__I_ACCEPT_REAL_MONEY": ACCOUNT.lower(),
    **{f"PERPSTRADER_RISK__{name.upper()}": "50" for name in MAINNET_CAPS},
}


def read(env: dict[str, str], config: Path | None = None) -> Settings:
    return load(config, {"HOME": "/nowhere", **env})


def problems_of(env: dict[str, str], config: Path | None = None) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        read(env, config)
    return caught.value.problems


def everything_said_about(env: dict[str, str], config: Path | None = None) -> str:
    """All texts that settings can turn into: the outputs, or the error with its whole traceback."""
    try:
        settings = read(env, config)
    except SettingsError as error:
        return "\n".join([str(error), repr(error), *error.problems, *traceback.format_exception(error)])
    rows = "\n".join(map(repr, table(settings)))
    origins = "\n".join(map(str, settings.origins.values()))
    return "\n".join([repr(settings), str(settings), json.dumps(settings.redacted()), rows, origins, settings.digest])


def key_file(tmp_path: Path, text: str = KEY, mode: int = 0o600) -> Path:
    file = tmp_path / "agent.key"
    file.write_text(text)
    file.chmod(mode)
    return file


def test_S73_the_default_is_paper_and_never_mainnet() -> None:
    assert Settings().venue.network == read({}).venue.network == CATALOG["venue.network"].default == "paper"
    assert not read({"PERPSTRADER_PRIVATE_KEY": KEY, "PERPSTRADER_ACCOUNT_ADDRESS": ACCOUNT}).venue.is_mainnet


def test_S73_mainnet_takes_the_network_the_address_again_and_every_cap() -> None:
    settings = read(MAINNET)
    assert settings.venue.is_mainnet
    assert settings.venue.url == "https://api.hyperliquid.xyz"
    for name in MAINNET:
        without = {key: value for key, value in MAINNET.items() if key != name}
        if name == "PERPSTRADER_VENUE__NETWORK":
            assert not read(without).venue.is_mainnet
        else:
            assert problems_of(without)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"PERPSTRADER_VENUE__I_ACCEPT_REAL_MONEY": "0x" + "2b" * 20}, "set venue.i_accept_real_money to"),
        ({"PERPSTRADER_VENUE__I_ACCEPT_REAL_MONEY": "yes"}, "must be an address"),
        ({"HYPERLIQUID_TESTNET": "true"}, "HYPERLIQUID_TESTNET is set"),
        ({"PAPER_TRADING": "true"}, "PAPER_TRADING is set"),
        ({"HYPERLIQUID_BASE_URL": "http://127.0.0.1:3001"}, "is this machine"),
        ({"HYPERLIQUID_BASE_URL": "https://api.hyperliquid-testnet.xyz"}, "is testnet"),
        ({"HYPERLIQUID_BASE_URL": "http://node.example"}, "must be https"),
        ({"PERPSTRADER_TRADER__BAR_MS": "250ms"}, "must be a candle's length"),
    ],
)
def test_S73_what_contradicts_real_money_stops_the_start(change: dict[str, str], sentence: str) -> None:
    (problem,) = problems_of({**MAINNET, **change})
    assert sentence in problem


@pytest.mark.parametrize("network", ["paper", "testnet"])
def test_S73_the_address_of_mainnet_is_refused_for_any_other_network(network: str) -> None:
    url = "https://api.hyperliquid.xyz/"
    env = {**TESTNET, "PERPSTRADER_VENUE__NETWORK": network, "PERPSTRADER_VENUE__BASE_URL": url}
    (problem,) = problems_of(env)
    assert "is mainnet" in problem


def test_testnet_needs_an_account_and_a_key() -> None:
    assert read(TESTNET).venue.url == "https://api.hyperliquid-testnet.xyz"
    told = problems_of({"PERPSTRADER_VENUE__NETWORK": "testnet"})
    assert [problem.split(" ")[0] for problem in told] == ["venue.account_address", "venue.private_key"]


@pytest.mark.parametrize("name", [CATALOG["venue.private_key"].own_env, *CATALOG["venue.private_key"].meta.env])
def test_a_key_comes_from_the_environment(name: str) -> None:
    key = read({name: KEY.removeprefix("0x").upper()}).venue.private_key
    assert key is not None
    assert key.get_secret_value() == KEY


def test_a_key_comes_from_a_private_file(tmp_path: Path) -> None:
    settings = read({"PERPSTRADER_VENUE__KEY_FILE": str(key_file(tmp_path, KEY + "\n"))})
    assert settings.venue.private_key is not None
    assert settings.venue.private_key.get_secret_value() == KEY
    assert str(settings.origin("venue.private_key")) == f"key file {tmp_path}/agent.key"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o666, 0o601])
def test_S72_a_key_file_that_others_can_read_is_refused(mode: int, tmp_path: Path) -> None:
    (problem,) = problems_of({**TESTNET, "PERPSTRADER_PRIVATE_KEY": KEY}
                             | {"PERPSTRADER_VENUE__KEY_FILE": str(key_file(tmp_path))})  # fmt: skip
    assert "are both given" in problem
    file = key_file(tmp_path, mode=mode)
    assert problems_of({"PERPSTRADER_VENUE__KEY_FILE": str(file)}) == (
        f"venue.key_file: others can read {file}; chmod 600 {file}",
    )


def test_S72_a_secret_in_the_settings_file_wants_that_file_private(tmp_path: Path) -> None:
    file = tmp_path / "perpstrader.toml"
    file.write_text(f'[venue]\nprivate_key = "{KEY}"\n[alerts]\nurls = ["tgram://TOKEN/chat"]\n')
    file.chmod(0o644)
    assert len(problems_of({}, file)) == 2
    file.chmod(0o600)
    settings = read({}, file)
    assert settings.venue.private_key is not None
    assert [url.get_secret_value() for url in settings.alerts.urls] == ["tgram://TOKEN/chat"]


@pytest.mark.parametrize("text", ["", KEY[:-1], KEY + "0", "0x" + "g" * 64, "my secret words", KEY + "\n" + KEY])
def test_S72_a_malformed_key_is_described_and_not_shown(text: str, tmp_path: Path) -> None:
    for env in (
        {"PERPSTRADER_PRIVATE_KEY": text},
        {"PERPSTRADER_VENUE__KEY_FILE": str(key_file(tmp_path, text))},
    ):
        said = everything_said_about(env)
        assert "venue.private_key" in said
        assert not text or text not in said
        assert KEY[2:30] not in said


@given(key=st.text("0123456789abcdef", min_size=24, max_size=80), name=st.sampled_from(sorted(CATALOG)), data=st.data())
def test_S72_a_key_that_landed_in_any_setting_or_misspelt_name_is_in_no_output(
    key: str, name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    spec = CATALOG[name]
    names = ("trader.symbols", "trader.strategies", "risk.blocked_symbols", "risk.majors", "paper.host", "console.host")
    shown_as_given = spec.key in names or spec.kind == "path"  # a valid name or path: nobody can know it is a key
    secret = data.draw(st.sampled_from(["", "0x"])) + key
    assume(not shown_as_given and not secret.isdigit() and len(set(key)) > 3 and len(key) != 40)
    file = tmp_path_factory.mktemp("secret") / "perpstrader.toml"
    file.write_text(f'[{spec.section}]\n{spec.name} = "{secret}"\n[venue_]\nprivate = "{secret}"\n')
    for env, config in (
        ({spec.own_env: secret}, None),
        ({spec.own_env + "X": secret}, None),
        ({"PERPSTRADER_PRIVATEKEY": secret}, None),
        ({}, file),
    ):
        assert key not in everything_said_about(env, config)


def test_S72_a_good_key_and_a_token_are_in_no_output() -> None:
    said = everything_said_about({**MAINNET, "PERPSTRADER_ALERTS__URLS": "tgram://123:abcdef/chat"})
    assert KEY[2:12] not in said
    assert "abcdef" not in said
    assert '"private_key": "set"' in said


def test_S72_a_strategys_secret_parameter_is_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "perpstrader.toml"
    file.write_text('[[trader.strategies]]\nuse = "trend"\nparams = { api_key = "hunter2hunter2" }\n')
    assert "hunter2" not in everything_said_about({}, file)


def test_settings_travel_to_another_process_whole() -> None:
    settings = read(MAINNET)
    again = pickle.loads(pickle.dumps(settings))
    assert again == settings
    assert again.origins == settings.origins
