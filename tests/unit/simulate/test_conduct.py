"""What the campaign's second pair of eyes calls a breach that its worlds bring about too seldom to rely on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from perpstrader.settings import load
from perpstrader.simulate.conduct import Conduct


class Eyes:
    """A ``Conduct`` at a time that the test sets, with a flat account at the leverage of the settings."""

    def __init__(self) -> None:
        settings = load(None, {}, {})
        self.now_ms = 1_000_000
        self.judged: list[tuple[str, bool]] = []
        self.conduct = Conduct(self._judge, settings, [], lambda: self.now_ms)
        self.engine: Any = SimpleNamespace(
            asset_account=lambda user, coin: SimpleNamespace(leverage=settings.venue.leverage),
            account_state=lambda user: SimpleNamespace(positions=[]),
        )

    def _judge(self, invariant: str, kept: bool, text: str) -> None:
        self.judged.append((invariant, kept))

    def kept(self, invariant: str) -> list[bool]:
        return [kept for name, kept in self.judged if name == invariant]

    def exit(self, cloid: str, *, full: bool = True) -> None:
        self.conduct.exit_leaves(order(cloid, full=full), self.now_ms + 5_000)

    def entry(self) -> None:
        self.conduct.entry_leaves(order("entry"), self.engine, "me")


def order(cloid: str, *, full: bool = False) -> Any:
    return SimpleNamespace(cloid=cloid, intent=SimpleNamespace(symbol="BTC", full_close=full))


def test_S03_an_entry_beside_an_exit_that_may_still_execute_is_a_breach() -> None:
    eyes = Eyes()
    eyes.exit("a")
    eyes.now_ms += 1_000
    eyes.entry()
    assert eyes.kept("S03") == [False]


@pytest.mark.parametrize("over", ["answered", "expired"])
def test_S03_an_entry_after_an_exit_that_is_over_is_none(over: str) -> None:
    eyes = Eyes()
    eyes.exit("a")
    if over == "answered":
        eyes.conduct.arrived(["a"])
    eyes.now_ms += 1_000 if over == "answered" else 9_000
    eyes.entry()
    assert eyes.kept("S03") == [True]


@pytest.mark.parametrize(
    ("waited_ms", "full", "kept"), [(1_999, True, False), (2_000, True, True), (4_000, False, False)]
)
def test_S03_only_a_full_close_goes_out_again_and_not_at_once(waited_ms: int, full: bool, kept: bool) -> None:
    eyes = Eyes()
    eyes.exit("a", full=full)
    eyes.now_ms += waited_ms
    eyes.exit("b", full=full)
    assert eyes.kept("S03") == [kept]
