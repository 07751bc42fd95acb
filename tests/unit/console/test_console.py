"""The control port over a real loopback socket: who gets in, what is answered, and what a bad request gets."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.unit.console.support import FakeCommands

from perpstrader.console import Console, ConsoleError, read_run_file, read_token
from perpstrader.console.server import open_listener
from perpstrader.domain import PerpsTraderError, TraceKind
from perpstrader.domain.traces import Step, Trace
from perpstrader.runtime import SystemClock
from perpstrader.runtime.listen import ListenError
from perpstrader.settings import ConsoleSettings
from perpstrader.traces import TraceStore

FREE_PORT = ConsoleSettings.model_construct(
    **{**{name: field.default for name, field in ConsoleSettings.model_fields.items()}, "port": 0}
)
TRACE = Trace(
    id="t-1", sequence=1, kind=TraceKind.COMMAND, accepted_ms=1_700_000_000_000, symbol="BTC", strategy="trend",
    interval="1s", settings_digest="", version="1", steps=(Step(time_ms=1_700_000_000_000, text="halt: a test"),),
)  # fmt: skip

Ask = Callable[..., Awaitable[tuple[int, Any]]]


def served(folder: Path, body: Callable[[Ask, FakeCommands], Awaitable[None]]) -> None:
    """Runs ``body(ask, commands)`` against a console on a free port; ``ask`` sends the token unless told otherwise."""

    async def main() -> None:
        commands = FakeCommands()
        async with TraceStore.open(None) as traces, aiohttp.ClientSession() as session:
            await traces.store(TRACE)
            console = Console(commands, traces, FREE_PORT, folder, SystemClock())
            url = await console.start()
            token = read_token(folder)

            async def ask(method: str, path: str, **more: Any) -> tuple[int, Any]:
                headers = {"Authorization": f"Bearer {token}"} | more.pop("headers", {})
                async with session.request(method, url + path, headers=headers, **more) as answer:
                    return answer.status, json.loads(await answer.read())

            try:
                await body(ask, commands)
            finally:
                await console.stop()

    asyncio.run(main())


def test_reading_gives_the_status_and_its_parts(tmp_path: Path) -> None:
    async def body(ask: Ask, commands: FakeCommands) -> None:
        code, status = await ask("GET", "/api/status")
        assert (code, status["equity_usd"]) == (200, "1000")
        assert await ask("GET", "/api/positions") == (200, status["positions"])
        assert await ask("GET", "/api/orders") == (200, status["orders"])
        assert await ask("GET", "/api/decisions") == (200, status["decisions"])

    served(tmp_path, body)


def test_the_performance_is_told_as_figures_and_as_openmetrics_and_both_want_the_token(tmp_path: Path) -> None:
    async def body(ask: Ask, commands: FakeCommands) -> None:
        code, report = await ask("GET", "/api/perf")
        [submit] = [row for row in report["snapshot"]["timers"] if row["name"] == "submit"]
        assert (code, submit["count"], submit["max_ms"]) == (200, 1, 120.0)
        run = read_run_file(tmp_path)
        assert run is not None
        headers = {"Authorization": f"Bearer {read_token(tmp_path)}"}
        async with aiohttp.ClientSession() as session, session.get(f"{run.url}/metrics", headers=headers) as answer:
            assert answer.content_type == "application/openmetrics-text"
            text = await answer.text()
        assert 'perpstrader_stage_seconds_count{stage="submit",outcome="ok"} 1' in text.splitlines()
        assert text.endswith("# EOF\n")
        for path in ("/api/perf", "/metrics"):
            assert (await ask("GET", path, headers={"Authorization": "Bearer no"}))[0] == 401

    served(tmp_path, body)


def test_traces_are_listed_and_told_in_words(tmp_path: Path) -> None:
    async def body(ask: Ask, commands: FakeCommands) -> None:
        code, rows = await ask("GET", "/api/traces?limit=5")
        assert (code, [row["id"] for row in rows]) == (200, ["t-1"])
        code, view = await ask("GET", "/api/traces/t-1")
        assert code == 200
        assert view["trace"]["symbol"] == "BTC"
        assert any("halt: a test" in line for line in view["explanation"])
        assert await ask("GET", "/api/traces/none") == (404, {"error": "there is no trace none"})

    served(tmp_path, body)


def test_commands_are_carried_out_with_their_actor_and_key(tmp_path: Path) -> None:
    async def body(ask: Ask, commands: FakeCommands) -> None:
        code, result = await ask("POST", "/api/halt", json={"reason": "lunch", "actor": "ann", "key": "k1"})
        assert (code, result["done"]) == (200, True)
        code, result = await ask("POST", "/api/signals", json={"symbol": "BTC", "side": "long", "size": "0.01"})
        assert (code, result["command"]) == (200, "signal")
        code, confirmation = await ask("POST", "/api/prepare", json={"action": "flatten"})
        assert code == 200
        token = confirmation["token"]
        code, _ = await ask("POST", "/api/flatten", json={"reason": "storm", "token": token})
        assert code == 200
        code, _ = await ask("POST", "/api/resume", json={"reason": "calm", "token": token, "actor": "bob"})
        assert code == 200
        code, _ = await ask("POST", "/api/positions/BTC/close", json={"reason": "enough"})
        assert code == 200
        assert commands.calls == [
            ("halt", "lunch", "ann", "k1"), ("signal", "BTC", "long", "0.01", "api"), ("prepare", "flatten"),
            ("flatten", "storm", "api", token), ("resume", "calm", "bob", token), ("close", "BTC", "enough", "api"),
        ]  # fmt: skip

    served(tmp_path, body)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/status"), ("GET", "/api/traces"), ("POST", "/api/halt"), ("POST", "/api/flatten"), ("GET", "/x")],
)
def test_S70_nothing_is_shown_or_done_without_the_token(tmp_path: Path, method: str, path: str) -> None:
    async def body(ask: Ask, commands: FakeCommands) -> None:
        for header in ("", "Bearer", "Bearer wrong", f"Basic {read_token(tmp_path)}", read_token(tmp_path)):
            code, answer = await ask(method, path, headers={"Authorization": header}, json={"reason": "x"})
            assert code == 401
            assert "token is needed" in answer["error"]
        assert commands.calls == []

    served(tmp_path, body)


def test_health_and_schema_are_open_and_tell_nothing_of_the_account(tmp_path: Path) -> None:
    async def body(ask: Ask, commands: FakeCommands) -> None:
        code, health = await ask("GET", "/api/healthz", headers={"Authorization": ""})
        assert (code, set(health)) == (200, {"alive", "version"})
        code, schema = await ask("GET", "/schema/openapi.json", headers={"Authorization": ""})
        assert code == 200
        assert "/api/signals" in schema["paths"]
        assert "PositionRow" in json.dumps(schema)

    served(tmp_path, body)


def test_S70_a_foreign_host_name_is_turned_away(tmp_path: Path) -> None:
    async def body(ask: Ask, commands: FakeCommands) -> None:
        for host in ("evil.example", "evil.example:8420", "127.0.0.1.evil.example", ""):
            code, answer = await ask("GET", "/api/status", headers={"Host": host})
            assert code == 421, host
            assert "not served here" in answer["error"]
        for host in ("localhost:1", "127.0.0.1", "[::1]:9"):
            assert (await ask("GET", "/api/status", headers={"Host": host}))[0] == 200

    served(tmp_path, body)


@pytest.mark.parametrize(
    ("body_bytes", "said"),
    [
        (b"{", "Input data was truncated"), (b"[]", "Expected `object`"), (b'{"reason": 1}', "reason"),
        (b"{}", "reason"), (b'{"reason": "x", "colour": 1}', "colour"), (b"\xff\xfe", ""),
    ],
)  # fmt: skip
def test_S74_a_malformed_body_gets_one_sentence(tmp_path: Path, body_bytes: bytes, said: str) -> None:
    async def body(ask: Ask, commands: FakeCommands) -> None:
        code, answer = await ask("POST", "/api/halt", data=body_bytes, headers={"Content-Type": "application/json"})
        assert code == 400
        assert said in answer["error"]
        assert "\n" not in answer["error"]
        assert commands.calls == []
        assert (await ask("GET", "/api/status"))[0] == 200

    served(tmp_path, body)


def test_a_body_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    async def body(ask: Ask, commands: FakeCommands) -> None:
        code, answer = await ask("POST", "/api/halt", json={"reason": "x" * 100_000})
        assert code == 413
        assert set(answer) == {"error"}

    served(tmp_path, body)


def test_what_cannot_be_done_is_said_and_what_nobody_foresaw_is_not_shown(tmp_path: Path) -> None:
    async def body(ask: Ask, commands: FakeCommands) -> None:
        code, answer = await ask("POST", "/api/prepare", json={"action": "dance"})
        assert (code, answer["error"]) == (400, "'dance' needs no confirmation")
        commands.fail_with = RuntimeError("secret detail")
        code, answer = await ask("GET", "/api/status")
        assert code == 500
        assert "secret detail" not in answer["error"]
        commands.fail_with = PerpsTraderError("the books are closed")
        assert await ask("GET", "/api/status") == (409, {"error": "the books are closed"})

    served(tmp_path, body)


def test_run_json_names_the_port_while_it_is_served_and_the_token_is_private(tmp_path: Path) -> None:
    async def body(ask: Ask, commands: FakeCommands) -> None:
        run = read_run_file(tmp_path)
        assert run is not None
        assert (run.pid, run.account, run.network) == (os.getpid(), "0xabc", "paper")
        assert run.url.startswith("http://127.0.0.1:")
        for name in ("token", "run.json"):
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600

    served(tmp_path, body)
    assert read_run_file(tmp_path) is None
    token = read_token(tmp_path)
    served(tmp_path, body)
    assert read_token(tmp_path) == token


def test_S70_a_token_that_others_can_read_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("x" * 43 + "\n")
    (tmp_path / "token").chmod(0o644)
    with pytest.raises(PerpsTraderError, match="chmod 600"):
        served(tmp_path, lambda ask, commands: asyncio.sleep(0))
    assert read_run_file(tmp_path) is None


def test_S70_an_address_beyond_loopback_needs_tls_or_an_explicit_word() -> None:
    with pytest.raises(ConsoleError, match="can be reached by other machines"):
        open_listener(FREE_PORT.model_copy(update={"host": "0.0.0.0"}))
    open_listener(FREE_PORT.model_copy(update={"host": "0.0.0.0", "allow_remote_without_tls": True})).close()


def test_a_port_in_use_is_said_in_one_sentence() -> None:
    with open_listener(FREE_PORT) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match=rf"port {port} on 127.0.0.1 is in use by another program; stop it"):
            open_listener(FREE_PORT.model_copy(update={"port": port}))
