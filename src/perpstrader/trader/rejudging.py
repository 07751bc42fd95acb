"""Judging a recorded decision again: its stored inputs through today's rules and limits, and what differs then."""

from __future__ import annotations

import msgspec

from perpstrader.domain import Approved, Check, PerpsTraderError, Trace, Verdict
from perpstrader.risk.case import Case
from perpstrader.risk.judge import judge
from perpstrader.settings import Settings
from perpstrader.traces.diff import Difference, diff


class LimitChange(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that allows something else now, for this very decision."""

    rule: str
    unit: str
    then: str
    now: str


class Rejudged(msgspec.Struct, frozen=True, kw_only=True):
    """A decision ``then`` and ``now``; ``differences`` are those of the verdicts, ``limits`` the rules whose limits
    differ.
    """

    trace_id: str
    then: Verdict
    now: Verdict
    differences: tuple[Difference, ...]
    limits: tuple[LimitChange, ...]
    same_settings: bool
    same_version: bool

    @property
    def same_verdict(self) -> bool:
        """True when the decision would be the same, whatever its numbers."""
        return type(self.then) is type(self.now)


def rejudge(trace: Trace, settings: Settings, version: str) -> Rejudged:
    """The decision under these settings and this program (``version``), at its own time and on its own evidence.

    Raises ``PerpsTraderError`` for a record that holds no judgement, or not all that one reads.
    """
    then, inputs, market = trace.verdict, trace.inputs, trace.market
    if then is None or inputs is None or market is None:
        raise PerpsTraderError(
            f"trace {trace.id} cannot be judged again: {_why_not(trace)}; `perpstrader traces explain` tells of it"
        )
    portfolio, assets = inputs.portfolio, {asset.name: asset for asset in inputs.assets}
    now = judge(
        Case(
            signal=then.signal, portfolio=portfolio, market=market, asset=assets.get(then.signal.symbol),
            state=inputs.state, now_ms=then.decided_ms, limits=settings.risk, execution=settings.execution,
            leverage=settings.venue.leverage, assets=assets, reservations=portfolio.reservations,
        )
    )  # fmt: skip
    if isinstance(then, Approved) and isinstance(now, Approved):
        now = msgspec.structs.replace(now, reservation=then.reservation)  # counts, and decides nothing
    return Rejudged(
        trace_id=trace.id, then=then, now=now, differences=diff(trace, msgspec.structs.replace(trace, verdict=now)),
        limits=_limits(then, now), same_settings=trace.settings_digest == settings.digest,
        same_version=trace.version == version,
    )  # fmt: skip


def _why_not(trace: Trace) -> str:
    if trace.verdict is None:
        return f"nothing was judged, it is a record of kind {trace.kind.value}"
    if trace.signal is not None and trace.signal.is_exit:
        return "exits are judged by ownership alone, never by limits"
    if not trace.verdict.checks:
        return "it was refused before the rules were asked"
    return "it was recorded by a program that did not keep all that the rules read"


def _limits(then: Verdict, now: Verdict) -> tuple[LimitChange, ...]:
    """By rule, unit and number (a rule may be checked more than once), in the order of the judgement then."""
    before, after = _numbered(then.checks), _numbered(now.checks)
    return tuple(
        LimitChange(rule=rule, unit=unit, then=limit, now=after[rule, unit, number])
        for (rule, unit, number), limit in before.items()
        if after.get((rule, unit, number), limit) != limit
    )


def _numbered(checks: tuple[Check, ...]) -> dict[tuple[str, str, int], str]:
    found: dict[tuple[str, str, int], str] = {}
    for check in checks:
        number = sum(key[:2] == (check.rule.value, check.unit) for key in found)
        found[check.rule.value, check.unit, number] = check.limit
    return found
