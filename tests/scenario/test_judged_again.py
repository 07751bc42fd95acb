"""A recorded decision through today's rules: the same verdict, and after a change of a limit the rule that differs."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from tests.scenario.kit import Script, Stage, go, play
from tests.scenario.market import calm

from perpstrader.domain import Approved, PerpsTraderError, Refused, Side, Trace, TraceKind
from perpstrader.settings import Settings
from perpstrader.traces.codec import encode_whole
from perpstrader.trader.rejudging import rejudge

SCRIPT: Script = {
    ("BTC", 1): go(Side.LONG, 57_000, 66_000),
    ("BTC", 2): go(Side.LONG, 57_000, 66_000),
    ("BTC", 3): go(Side.SHORT, 63_000, 50_000),
    ("ETH", 1): go(Side.SHORT, 3_150, 2_600),
    ("ETH", 4): go(Side.LONG, 3_200),
}


def decided() -> tuple[list[Trace], Settings]:
    """The decisions of a virtual run, as the store gives them back, and the settings that it ran with."""
    found: list[Trace] = []
    used: list[Settings] = []

    async def act(stage: Stage) -> None:
        await stage.bar(6)
        await stage.trader.recorder.drain()
        store: Any = stage.trader.recorder._store
        assert (await store.stats()).dead_letters == 0
        found.extend(t for t in await store.recent(100) if t.kind is TraceKind.DECISION)
        used.append(stage.trader.settings)

    play({"BTC": calm(60_000), "ETH": calm(3_000)}, {"alpha": SCRIPT}, act)
    return found, used[0]


@pytest.fixture(scope="module")
def run() -> tuple[list[Trace], Settings]:
    return decided()


def changed(settings: Settings, **risk: Any) -> Settings:
    return replace(settings, risk=settings.risk.model_copy(update=risk))


def test_refused_and_approved_decisions_replay_to_the_same_verdict(run: tuple[list[Trace], Settings]) -> None:
    traces, settings = run
    kinds = {type(trace.verdict) for trace in traces}
    assert kinds == {Approved, Refused}
    for trace in traces:
        again = rejudge(trace, settings, trace.version)
        assert again.differences == again.limits == ()
        assert again.same_verdict
        assert again.same_settings
        assert again.same_version
        assert again.now == trace.verdict


def test_after_a_change_of_a_limit_the_rule_and_both_limits_are_named(run: tuple[list[Trace], Settings]) -> None:
    traces, settings = run
    trace = next(t for t in traces if isinstance(t.verdict, Approved))
    assert trace.signal is not None
    stricter = changed(settings, min_confidence=Decimal("1.5"))
    again = rejudge(trace, stricter, trace.version)
    assert isinstance(again.now, Refused)
    assert not again.same_verdict
    assert not again.same_settings
    assert [(row.rule, row.now) for row in again.limits] == [("CONFIDENCE_TOO_LOW", "1.5")]
    paths = {row.path for row in again.differences}
    assert {"verdict.type", "verdict.checks[CONFIDENCE_TOO_LOW].limit"} <= paths


def test_what_was_not_judged_by_rules_says_why_it_cannot_be(run: tuple[list[Trace], Settings]) -> None:
    traces, settings = run
    whole = next(t for t in traces if isinstance(t.verdict, Refused))
    old = msgspec.structs.replace(whole, inputs=None)
    with pytest.raises(PerpsTraderError, match="did not keep all that the rules read"):
        rejudge(old, settings, "0")
    assert isinstance(old.verdict, Refused)
    early = msgspec.structs.replace(old, verdict=msgspec.structs.replace(old.verdict, checks=()))
    with pytest.raises(PerpsTraderError, match="before the rules were asked"):
        rejudge(early, settings, "0")
    with pytest.raises(PerpsTraderError, match="nothing was judged"):
        rejudge(msgspec.structs.replace(old, verdict=None), settings, "0")


def test_a_record_from_before_the_inputs_were_kept_reads_as_one_without(run: tuple[list[Trace], Settings]) -> None:
    trace = run[0][0]
    tree = msgspec.json.decode(encode_whole(trace))
    del tree["inputs"]
    assert msgspec.json.decode(msgspec.json.encode(tree), type=Trace) == msgspec.structs.replace(trace, inputs=None)
