"""Every setting: read from the environment and from the file, refused past its edge, shown with its origin."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from perpstrader.settings import Settings, SettingsError, StrategySetting, load
from perpstrader.settings.catalog import CATALOG, PERCENT_ENV, Spec, table
from perpstrader.settings.docs import render
from perpstrader.settings.schema import SECTIONS

SPECS = list(CATALOG.values())
TEXTS = {
    "venue.base_url": "http://127.0.0.1:3999",
    "venue.account_address": "0x" + "1a" * 20,
    "venue.vault_address": "0x" + "2b" * 20,
    "venue.i_accept_real_money": "0x" + "1a" * 20,
    "trader.symbols": "ETH,BTC,SOL",
    "trader.strategies": "trend,funding",
    "console.host": "localhost",
    "paper.host": "localhost",
    "paper_rules.fee_tiers": "0:0.0005:0.0002",
    "paper_rules.fee_discount_fraction": "0.04",
    "paper_rules.open_interest_caps": "BTC=1000000",
    "paper_rules.open_interest_step_usd": "50000",
    "paper.faults": "delay:orders=0.1@3s",
    "feed.live_url": "http://127.0.0.1:3999",
    "data.dir": "/srv/perps",
    "feed.path": "/srv/market",
    "risk.default_stop_fraction": "0.02",
    "risk.min_stop_distance_fraction": "0.006",
    "risk.risk_per_trade_usd": "4",
}
SEED_AND_ORIGINAL = {
    "TRACE_BATCH_SIZE": ("traces.batch_size", "100", 100),
    "TRACE_BATCH_FLUSH_MS": ("traces.batch_flush_ms", "5000", 5000),
    "TRACE_CACHE_SIZE": ("traces.cache_size", "500", 500),
    "RECOVERY_CACHE_TTL_MS": ("recovery.cache_ttl_ms", "5000", 5000),
    "RECOVERY_ALERT_COOLDOWN_MS": ("recovery.alert_cooldown_ms", "300000", 300000),
    "CB_BASE_BACKOFF_MS": ("breakers.base_backoff_ms", "1000", 1000),
    "CB_MAX_BACKOFF_MS": ("breakers.max_backoff_ms", "60000", 60000),
    "CB_ALERT_COOLDOWN_MS": ("breakers.alert_cooldown_ms", "300000", 300000),
    "RISK_CACHE_TTL_MS": ("risk.signal_cache_ttl_ms", "1000", 1000),
    "PORTFOLIO_RISK_CACHE_TTL_MS": ("risk.portfolio_cache_ttl_ms", "5000", 5000),
    "MAX_RISK_CACHE_ENTRIES": ("risk.max_cache_entries", "1000", 1000),
    "MAX_RECOVERY_ATTEMPTS": ("recovery.max_attempts", "3", 3),
    "CB_MAX_RECOVERY_ATTEMPTS": ("breakers.max_recovery_attempts", "5", 5),
    "MAX_POSITION_SIZE": ("risk.max_position_fraction", "0.5", Decimal("0.5")),
    "MAX_DAILY_LOSS": ("risk.max_daily_loss_fraction", "0.05", Decimal("0.05")),
    "MAX_LEVERAGE": ("risk.max_leverage", "3", 3),
    "EMERGENCY_STOP": ("risk.emergency_stop", "false", False),
}


def other_text(spec: Spec) -> str:
    """A value that the setting takes and that is not its default, as text."""
    if spec.key in TEXTS:
        return TEXTS[spec.key]
    if spec.kind == "bool":
        return "false" if spec.default else "true"
    if spec.kind == "choice":
        return spec.choices[-1] if spec.choices[-1] != spec.default else spec.choices[0]
    if spec.kind in ("int", "duration"):
        default = spec.default if isinstance(spec.default, int) else 60_000
        return str(default - 1 if spec.stricter == "lower" or spec.key == "client.weight_per_minute" else default + 1)
    if spec.kind == "decimal":
        default_decimal = spec.default if isinstance(spec.default, Decimal) else Decimal(50)
        return str(default_decimal * (Decimal("1.1") if spec.stricter == "higher" else Decimal("0.9")))
    return {"secret": "0x" + "c3" * 32, "path": "/srv/file", "list": "XRP"}[spec.kind]


def native(spec: Spec, text: str) -> str:
    """The same value as TOML writes it."""
    if spec.kind in ("bool", "int", "duration", "decimal"):
        return text
    if spec.kind in ("list", "strategies"):
        return json.dumps(text.split(","))
    return json.dumps(text)


def companions(spec: Spec, tmp_path: Path) -> dict[str, str]:
    """What else must be set so that the value does not contradict the rest."""
    if spec.key in ("console.tls_cert_file", "console.tls_key_file"):
        return {"PERPSTRADER_CONSOLE__TLS_CERT_FILE": "/srv/file", "PERPSTRADER_CONSOLE__TLS_KEY_FILE": "/srv/file"}
    if spec.key == "feed.source":
        return {"PERPSTRADER_FEED__PATH": "/srv/market"}
    if spec.key == "venue.network":
        return {"PERPSTRADER_ACCOUNT_ADDRESS": "0x" + "1a" * 20, "PERPSTRADER_PRIVATE_KEY": "0x" + "c3" * 32}
    return {}


def text_for(spec: Spec, tmp_path: Path) -> str:
    if spec.key == "venue.key_file":
        key_file = tmp_path / "agent.key"
        key_file.write_text("c3" * 32)
        key_file.chmod(0o600)
        return str(key_file)
    return "testnet" if spec.key == "venue.network" else other_text(spec)


def read(tmp_path: Path, env: dict[str, str] | None = None, toml: str | None = None, **overrides: Any) -> Settings:
    file = None
    if toml is not None:
        file = tmp_path / "perpstrader.toml"
        file.write_text(toml)
        file.chmod(0o600)
    by_key = {key.replace("__", "."): value for key, value in overrides.items()}
    return load(file, {"HOME": str(tmp_path), **(env or {})}, by_key)


def plain_value(value: object) -> object:
    return value.get_secret_value() if hasattr(value, "get_secret_value") else value


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.key)
def test_a_setting_is_read_from_the_environment_and_shows_it(spec: Spec, tmp_path: Path) -> None:
    text = text_for(spec, tmp_path)
    for name in (spec.own_env, *spec.meta.env, *spec.meta.percent_env):
        value = str(Decimal(text) * 100) if name in PERCENT_ENV else text
        settings = read(tmp_path, {**companions(spec, tmp_path), name: value})
        if spec.key != "venue.margin_mode":
            assert settings.values()[spec.key] != spec.default
        assert str(settings.origin(spec.key)) == f"env {name}"


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.key)
def test_a_setting_is_read_from_the_file_with_its_line_and_equals_the_environments(spec: Spec, tmp_path: Path) -> None:
    text = text_for(spec, tmp_path)
    env = {name: value for name, value in companions(spec, tmp_path).items() if name != spec.own_env}
    from_file = read(tmp_path, env, f"\n[{spec.section}]\n{spec.name} = {native(spec, text)}\n")
    (tmp_path / "perpstrader.toml").unlink()
    from_env = read(tmp_path, {**env, spec.own_env: text})
    assert plain_value(from_file.values()[spec.key]) == plain_value(from_env.values()[spec.key])
    assert str(from_file.origin(spec.key)) == f"{tmp_path}/perpstrader.toml:3"


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.key)
def test_S74_an_impossible_value_stops_the_start_with_its_key_and_place(spec: Spec, tmp_path: Path) -> None:
    wrong = {
        "list": "BTC;USD$", "strategies": "", "path": "", "text": "", "secret": "", "bool": "maybe",
    }.get(spec.kind, "-7")  # fmt: skip
    if spec.kind == "strategies":
        with pytest.raises(SettingsError, match=r"trader\.strategies"):
            read(tmp_path, toml="[trader]\nstrategies = 7\n")
        return
    if spec.key == "alerts.urls":
        with pytest.raises(SettingsError, match=r"alerts\.urls"):
            read(tmp_path, toml="[alerts]\nurls = 7\n")
        return
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, {spec.own_env: wrong})
    (problem,) = caught.value.problems
    assert problem.startswith(f"{spec.key}")
    assert f"(env {spec.own_env})" in problem
    assert "\n" not in problem


@pytest.mark.parametrize("spec", [spec for spec in SPECS if spec.bounds], ids=lambda spec: spec.key)
def test_S33_a_bound_allows_its_own_value_and_nothing_beyond(spec: Spec, tmp_path: Path) -> None:
    for bound in spec.bounds:
        sign, number = bound.split(" ")
        step = Decimal(1) if spec.kind in ("int", "duration") else Decimal("0.0001")
        beyond = Decimal(number) + (step if sign in ("<=", "<") else -step)
        cases = [(beyond, False), (Decimal(number), "=" in sign)]
        for value, allowed in cases:
            try:
                read(tmp_path, {spec.own_env: format(value, "f")})
                problems: tuple[str, ...] = ()
            except SettingsError as error:
                problems = error.problems
            own = [text for text in problems if text.startswith(spec.key) and " must be " in text]
            assert (not own) == allowed, (bound, value, problems)


@pytest.mark.parametrize(("name", "expected"), SEED_AND_ORIGINAL.items())
def test_each_variable_of_the_original_exists_with_a_default(name: str, expected: tuple[str, str, object]) -> None:
    key, text, value = expected
    assert CATALOG[key].default == value
    settings = load(None, {"HOME": "/nowhere", name: text})
    assert settings.values()[key] == value
    assert str(settings.origin(key)) == f"env {name}"


@pytest.mark.parametrize("value", ["50", "10", "1.01", "3e1"])
@pytest.mark.parametrize("name", ["MAX_DAILY_LOSS", "MAX_POSITION_SIZE"])
def test_S33_a_fraction_given_as_percentage_or_usd_is_told_apart(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=r"a fraction of equity between 0 and 1; .* looks like a percentage or USD"):
        load(None, {"HOME": "/nowhere", name: value})


@pytest.mark.parametrize("value", ["nan", "inf", "-0.1", "0", "1e400", "0,05", "5%", "0x1"])
def test_S74_a_fraction_that_is_no_number_above_zero_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match=r"risk\.max_daily_loss_fraction"):
        load(None, {"HOME": "/nowhere", "MAX_DAILY_LOSS": value})


def test_a_variable_in_percent_refuses_what_looks_like_a_fraction() -> None:
    assert load(None, {"HOME": "/n", "SAFETY_MAX_DRAWDOWN_PERCENT": "8"}).risk.max_drawdown_fraction == Decimal("0.08")
    with pytest.raises(SettingsError, match=r"is in percent here; 0\.15 looks like a fraction, write 15"):
        load(None, {"HOME": "/n", "SAFETY_MAX_DRAWDOWN_PERCENT": "0.15"})


@pytest.mark.parametrize(("text", "ms"), [("250ms", 250), ("1.5s", 1500), ("5m", 300_000), ("12h", 43_200_000)])
def test_durations_may_carry_a_unit(text: str, ms: int, tmp_path: Path) -> None:
    assert read(tmp_path, {"PERPSTRADER_TRADER__BAR_MS": text}).bar_ms == ms
    assert read(tmp_path, toml=f'[trader]\nbar_ms = "{text}"\n').trader.bar_ms == ms


def test_a_number_with_a_point_in_the_file_stays_exact(tmp_path: Path) -> None:
    settings = read(tmp_path, toml="[risk]\nmax_daily_loss_fraction = 0.0300000000000000000001\n")
    assert settings.risk.max_daily_loss_fraction == Decimal("0.0300000000000000000001")


def test_strategies_are_tables_with_parameters(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        toml="""
        [[trader.strategies]]
        use = "my.module:Cross"
        symbols = ["ETH"]
        isolated = true
        params = { fast = 5, stop_atr = 2.5, name = "mine" }
        """,
    )
    (strategy,) = settings.trader.strategies
    params = {"fast": 5, "stop_atr": Decimal("2.5"), "name": "mine"}
    assert strategy == StrategySetting(use="my.module:Cross", symbols=("ETH",), isolated=True, params=params)
    assert strategy.label == "mine"


def test_settings_are_frozen() -> None:
    settings = Settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.risk.max_leverage = 50
    with pytest.raises(AttributeError):
        settings.risk = None  # type: ignore[misc,assignment]  # the point of the test


def test_nothing_given_is_paper_with_every_default(tmp_path: Path) -> None:
    settings = read(tmp_path)
    assert settings.venue.network == "paper"
    assert settings.venue.url is None
    assert settings.data_dir == tmp_path / ".perpstrader" / "paper"
    assert set(map(str, settings.origins.values())) == set()
    assert {key for key, value in settings.values().items() if value != CATALOG[key].default} == {"data.dir"}


def test_the_table_names_every_setting_once_with_its_origin(tmp_path: Path) -> None:
    rows = {row.key: row for row in table(read(tmp_path, {"MAX_LEVERAGE": "2"}))}
    assert list(rows) == list(CATALOG)
    assert (rows["risk.max_leverage"].value, rows["risk.max_leverage"].origin) == ("2", "env MAX_LEVERAGE")
    leverage = rows["venue.leverage"]
    assert (leverage.value, leverage.origin) == ("2", "default (lowered to risk.max_leverage)")
    assert all(row.meaning for row in rows.values())


def test_the_documentation_is_the_schemas() -> None:
    committed = Path(__file__).resolve().parents[3] / "docs" / "settings.md"
    assert committed.read_text() == render(), "run: python -m perpstrader.settings.docs > docs/settings.md"


def test_no_name_in_the_environment_means_two_settings() -> None:
    names = [name for spec in SPECS for name in (spec.own_env, *spec.meta.env, *spec.meta.percent_env)]
    assert len(names) == len(set(names))
    assert all(spec.name in SECTIONS[spec.section].model_fields for spec in SPECS)
