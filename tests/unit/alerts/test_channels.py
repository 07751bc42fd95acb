"""The channels: services behind apprise in a thread of their own, without a secret in any name, error or log (S45)."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import SecretStr
from tests.unit.alerts.support import SECRET, incident
from tests.unit.cli.support import run_cli

from perpstrader.alerts import Alert, AppriseChannel, Change, Severity, deliver, make_channels
from perpstrader.runtime import DetachedExecutor, InlineExecutor
from perpstrader.settings import load

Capture = pytest.CaptureFixture[str]


class FakeApprise(ModuleType):
    """Stands for the package: knows addresses that have a scheme, and keeps what was sent."""

    def __init__(self) -> None:
        super().__init__("apprise")
        self.sent: list[dict[str, Any]] = []
        self.answer: Any = True
        fake = self

        class Apprise:
            def add(self, url: str) -> bool:
                if "://" not in url:
                    logging.getLogger("apprise").error("Unparseable URL %s", url)
                return "://" in url

            def notify(self, **given: Any) -> bool:
                if callable(fake.answer):
                    fake.answer()
                fake.sent.append(given)
                return bool(fake.answer)

        self.Apprise = Apprise


@pytest.fixture
def apprise(monkeypatch: pytest.MonkeyPatch) -> FakeApprise:
    fake = FakeApprise()
    monkeypatch.setitem(sys.modules, "apprise", fake)
    return fake


def alert(change: Change = Change.NEW, severity: Severity = Severity.CRITICAL) -> Alert:
    return Alert(change=change, incident=incident(severity=severity), since_ms=0)


def sent_by(url: str, one: Alert | None = None) -> str:
    """What became of one alert by this address."""
    return asyncio.run(deliver(AppriseChannel(1, SecretStr(url), InlineExecutor()), one or alert(), 5))


@pytest.mark.parametrize(
    ("change", "severity", "word"),
    [(Change.NEW, 3, "failure"), (Change.NEW, 2, "warning"), (Change.NEW, 1, "info"), (Change.OVER, 3, "success")],
)
def test_a_service_is_given_subject_body_and_kind(
    apprise: FakeApprise, change: Change, severity: int, word: str
) -> None:
    one = alert(change, Severity(severity))
    assert sent_by(SECRET, one) == ""
    [sent] = apprise.sent
    assert sent == {"title": f"PerpsTrader {one.subject}", "body": one.body, "notify_type": word}


def test_S45_what_is_wrong_with_a_channel_is_a_sentence_without_its_secret(
    apprise: FakeApprise, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    errors = [sent_by("SECRET-without-scheme")]
    apprise.answer = False
    errors.append(sent_by(SECRET))

    def explode() -> None:
        raise ConnectionError(f"cannot reach {SECRET}")

    apprise.answer = explode
    errors.append(sent_by(SECRET))
    monkeypatch.setitem(sys.modules, "apprise", None)
    errors.append(sent_by(SECRET))
    assert errors == [
        "address 1 of alerts.urls is none that apprise knows; write it as its pages say",
        "the service did not take it; check the address, its token and the network",
        "the service failed: ConnectionError",
        "alerts.urls is set, but apprise is not installed: pip install 'perpstrader[alerts]'",
    ]
    assert "SECRET" not in caplog.text
    assert AppriseChannel(1, SecretStr(SECRET), InlineExecutor()).name == "apprise-1-tgram"
    assert AppriseChannel(2, SecretStr("SECRET"), InlineExecutor()).name == "apprise-2"


def test_S45_a_service_that_hangs_is_left_behind_and_work_does_not_pile_up(apprise: FakeApprise) -> None:
    over = threading.Event()
    apprise.answer = lambda: over.wait(60)
    channel = AppriseChannel(1, SecretStr(SECRET), DetachedExecutor("alerts-1"))

    async def main() -> list[str]:
        errors = [await deliver(channel, alert(), 0.05) for _ in range(3)]
        over.set()
        await channel._executor.run(lambda: None)
        return [*errors, await deliver(channel, alert(), 30)]

    errors = asyncio.run(main())
    channel.close()
    assert errors == ["no answer within 0.05 s", *["the last delivery has not ended yet"] * 2, ""]
    assert len(apprise.sent) == 2


def test_there_is_a_channel_for_the_log_the_console_and_each_address(apprise: FakeApprise) -> None:
    settings = load(None, {}, {"data.dir": "/nonexistent", "alerts.urls": [SECRET, "json://localhost"]})
    names: list[str] = []

    def executor_for(name: str) -> InlineExecutor:
        names.append(name)
        return InlineExecutor()

    channels = make_channels(settings.alerts, lambda alert: None, executor_for)
    assert [channel.name for channel in channels] == ["log", "console", "apprise-1-tgram", "apprise-2-json"]
    assert [channel.is_local for channel in channels] == [True, True, False, False]
    assert names == ["alerts-1", "alerts-2"]
    assert apprise.sent == []


def _settings_file(folder: Path, *urls: str) -> Path:
    file = folder / "perpstrader.toml"
    file.write_text(f"[alerts]\nurls = {list(urls)!r}\n")
    file.chmod(0o600)
    return file


def test_alerts_test_says_of_each_channel_what_happened(apprise: FakeApprise, tmp_path: Path, capsys: Capture) -> None:
    config = _settings_file(tmp_path, SECRET)
    code, out, err = run_cli(capsys, "alerts", "test", "--data-dir", tmp_path, "--config", config)
    assert (code, err) == (0, "")
    assert out.splitlines()[1:] == ["console: delivered", "apprise-1-tgram: delivered"]
    assert "a test alert" in (tmp_path / "perpstrader.log").read_text()
    assert len(apprise.sent) == 1


def test_alerts_test_exits_with_1_if_one_channel_failed(apprise: FakeApprise, tmp_path: Path, capsys: Capture) -> None:
    config = _settings_file(tmp_path, SECRET, "SECRET-without-scheme")
    code, out, err = run_cli(capsys, "alerts", "test", "--data-dir", tmp_path, "--config", config)
    assert code == 1
    assert "apprise-1-tgram: delivered" in out
    assert err == "perpstrader: 1 of 4 channels did not deliver: apprise-2\n"
    assert "SECRET" not in out + err + (tmp_path / "perpstrader.log").read_text()


def test_alerts_test_without_a_service_says_so(tmp_path: Path, capsys: Capture) -> None:
    code, out, _ = run_cli(capsys, "alerts", "test", "--data-dir", tmp_path)
    assert code == 0
    assert "no service is configured" in out
