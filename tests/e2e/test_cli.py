"""The program as a person runs it: processes, signals, ports, files, exit codes. Waits are generous, never asserted."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.processes import FAST, WAIT_S, one_sentence, program, started, wait_until


def test_a_timed_run_ends_by_itself_with_one_json_line_and_leaves_a_record(tmp_path: Path) -> None:
    done = program("run", "--duration", "6s", *FAST, "--json", "--data-dir", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    summary = json.loads(line)
    names = {
        "cycles", "signals", "approved", "refused", "orders", "fills", "equity_usd", "max_unprotected_ms", "clean_exit",
    }  # fmt: skip
    assert names <= set(summary)
    assert summary["clean_exit"] is True
    assert summary["cycles"] > 0
    assert not (tmp_path / "run.json").exists()
    listed = program("traces", "list", "--json", "--data-dir", tmp_path)
    assert listed.returncode == 0
    assert any("stop by policy" in program("traces", "explain", row["id"], "--data-dir", tmp_path).stdout
               for row in json.loads(listed.stdout)["traces"][:1])  # fmt: skip
    assert program("status", "--data-dir", tmp_path).returncode == 0


def ask(folder: Path, *line: str) -> Any:
    done = program(*line, "--json", "--data-dir", folder)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def test_a_running_trader_is_looked_at_commanded_and_stopped_by_a_signal(tmp_path: Path) -> None:
    with started("run", *FAST, "--data-dir", tmp_path) as trader:
        wait_until(lambda: (tmp_path / "run.json").exists(), trader)
        status = ask(tmp_path, "status")
        assert (status["running"], status["network"]) == (True, "paper")
        assert ask(tmp_path, "positions")["running"] is True
        assert ask(tmp_path, "orders")["running"] is True

        second = program("run", "--duration", "1s", "--data-dir", tmp_path)
        assert (second.returncode, "another trader (process" in one_sentence(second)) == (4, True)

        answer = ask(tmp_path, "signal", "NOPE", "long")
        assert (answer["done"], "UNKNOWN_SYMBOL" in answer["text"]) == (False, True)
        assert ask(tmp_path, "halt", "--reason", "a test")["done"] is True
        assert [halt["kind"] for halt in ask(tmp_path, "status")["halts"]] == ["operator"]
        refused = program("signal", "BTC", "long", "--data-dir", tmp_path)
        assert (refused.returncode, "HALTED" in refused.stdout) == (1, True)
        assert ask(tmp_path, "flatten", "--reason", "a test", "--yes")["done"] is True
        assert ask(tmp_path, "resume", "--reason", "go on", "--yes")["done"] is True

        trader.send_signal(signal.SIGTERM)
        out, err = trader.communicate(timeout=WAIT_S)
    assert (trader.returncode, err) == (0, "")
    assert "PerpsTrader trades BTC, ETH, SOL on paper" in out
    assert "console: http://127.0.0.1:" in out
    assert "halt" in out
    assert out.splitlines()[-1].startswith("stopped: ")
    listed = ask(tmp_path, "traces", "list", "--limit", "100")["traces"]
    assert {"command", "halt"} <= {row["kind"] for row in listed}


def test_S40_a_halt_outlives_the_process_and_is_released_without_one(tmp_path: Path) -> None:
    assert program("run", "--duration", "1s", *FAST, "--no-console", "--json", "--data-dir", tmp_path).returncode == 0
    assert ask(tmp_path, "halt", "--reason", "night")["done"] is True
    with started("run", *FAST, "--data-dir", tmp_path) as trader:
        wait_until(lambda: (tmp_path / "run.json").exists(), trader)
        assert [halt["reason"] for halt in ask(tmp_path, "status")["halts"]] == ["night"]
        trader.send_signal(signal.SIGINT)
        trader.communicate(timeout=WAIT_S)
    assert trader.returncode == 0
    assert ask(tmp_path, "resume", "--reason", "morning", "--yes")["done"] is True


def test_the_paper_exchange_serves_until_a_signal(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with started("paper", "--port", str(port), "--data-dir", tmp_path) as exchange:
        assert exchange.stdout is not None
        assert f"http://127.0.0.1:{port}" in exchange.stdout.readline()
        taken = program("paper", "--port", str(port), "--data-dir", tmp_path / "other")
        assert (taken.returncode, "is in use by another program" in one_sentence(taken)) == (1, True)
        exchange.send_signal(signal.SIGINT)
        exchange.communicate(timeout=WAIT_S)
    assert exchange.returncode == 0


def test_the_paper_exchange_makes_an_account_with_funds_and_keeps_them_over_a_restart(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    said = []
    for funds in ("10000", "77"):
        with started("paper", "--port", str(port), "--fund", funds, "--data-dir", tmp_path) as exchange:
            assert exchange.stdout is not None
            exchange.stdout.readline(), exchange.stdout.readline()
            said.append(exchange.stdout.readline())
            exchange.send_signal(signal.SIGINT)
            exchange.communicate(timeout=WAIT_S)
    assert said[0] == said[1], "an account that has funds keeps them"
    assert "with 10000.0 USD" in said[0]
    assert (tmp_path / "paper-key").stat().st_mode & 0o777 == 0o600
    refused = program("paper", "--port", str(port), "--fund", "-5", "--data-dir", tmp_path)
    assert (refused.returncode, "not above 0" in one_sentence(refused)) == (2, True)


def bad_inputs(folder: Path, port: int) -> dict[str, tuple[Sequence[str | Path], dict[str, str], int, str]]:
    """Command line, environment, exit code, what the sentence says."""
    candles = folder / "candles"
    candles.mkdir()
    (candles / "BTC-5m.csv").write_text("date,open,high,low,close,volume\n2025-01-01T00:00:00Z,1,0,2,1,1\n")
    run = ("run", "--duration", "1s", "--data-dir", folder / "data")
    return {
        "unknown setting": (run, {"PERPSTRADER_RISK__MAX_LEVRAGE": "2"}, 2, "MAX_LEVERAGE?"),
        "wrong key": (
            (*run, "--venue", "testnet"),
            {"PERPSTRADER_PRIVATE_KEY": "0x12", "PERPSTRADER_ACCOUNT_ADDRESS": "0x" + "1" * 40}, 2, "64 hex digits",
        ),
        "port in use": (run, {"PERPSTRADER_CONSOLE__PORT": str(port)}, 1, f"port {port} on 127.0.0.1 is in use"),
        "malformed candles": (("replay", candles, "--data-dir", folder / "data"), {}, 1, "BTC-5m.csv"),
        "unknown strategy": ((*run, "--strategy", "trnd"), {}, 2, "did you mean 'trend'"),
        "venue not there": (
            run, {"HYPERLIQUID_BASE_URL": "http://127.0.0.1:9"}, 3, "127.0.0.1:9",
        ),
    }  # fmt: skip


@pytest.mark.parametrize(
    "case",
    ["unknown setting", "wrong key", "port in use", "malformed candles", "unknown strategy", "venue not there"],
)
def test_S74_bad_input_gets_one_sentence_and_its_exit_code(case: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        line, env, code, said = bad_inputs(tmp_path, taken.getsockname()[1])[case]
        done = program(*line, **env)
    assert said in one_sentence(done)
    assert done.returncode == code, done.stderr


def test_an_html_answer_of_a_proxy_is_no_crash(tmp_path: Path) -> None:
    page = (
        "from http.server import BaseHTTPRequestHandler, HTTPServer\n"
        "class Proxy(BaseHTTPRequestHandler):\n"
        "    def do_POST(self):\n"
        "        self.send_response(502); self.end_headers(); self.wfile.write(b'<html>Bad gateway</html>')\n"
        "    def log_message(self, *a): pass\n"
        "server = HTTPServer(('127.0.0.1', 0), Proxy); print(server.server_port, flush=True); server.serve_forever()\n"
    )
    with subprocess.Popen([sys.executable, "-c", page], stdout=subprocess.PIPE, text=True) as proxy:
        try:
            assert proxy.stdout is not None
            port = int(proxy.stdout.readline())
            done = program(
                "run", "--duration", "1s", "--data-dir", tmp_path, HYPERLIQUID_BASE_URL=f"http://127.0.0.1:{port}"
            )
        finally:
            proxy.kill()
    assert "502" in one_sentence(done)
    assert done.returncode in (1, 3)
