"""The routes of breakers and health: reading, opening, resetting, and that they want the token."""

from __future__ import annotations

from pathlib import Path

from tests.unit.console.support import FakeCommands
from tests.unit.console.test_console import Ask, served


def test_S46_reading_gives_each_breaker_and_the_last_health_checks(tmp_path: Path) -> None:
    async def body(ask: Ask, commands: FakeCommands) -> None:
        code, rows = await ask("GET", "/api/breakers")
        assert (code, [(row["name"], row["state"]) for row in rows]) == (200, [("dep", "closed")])
        code, health = await ask("GET", "/api/health?component=venue&limit=5")
        assert (code, health["report"]["status"], health["history"][0]["component"]) == (200, "healthy", "venue")
        assert commands.calls == [("health", "venue", "5")]

    served(tmp_path, body)


def test_S43_S70_opening_and_resetting_carry_actor_reason_and_key_and_want_the_token(tmp_path: Path) -> None:
    async def body(ask: Ask, commands: FakeCommands) -> None:
        order = {"reason": "night", "actor": "ann", "key": "k"}
        for verb in ("open", "reset"):
            code, answer = await ask("POST", f"/api/breakers/dep/{verb}", json=order)
            assert (code, answer["done"]) == (200, True)
            nobody = {"Authorization": "Bearer no"}
            assert (await ask("POST", f"/api/breakers/dep/{verb}", json=order, headers=nobody))[0] == 401
        assert commands.calls == [("open", "dep", "night", "ann", "k"), ("reset", "dep", "night", "ann", "k")]
        code, answer = await ask("POST", "/api/breakers/nope/reset", json=order)
        assert (code, answer["error"]) == (400, "there is no breaker 'nope'")
        assert (await ask("POST", "/api/breakers/dep/open", json={"reason": 5}))[0] == 400

    served(tmp_path, body)
