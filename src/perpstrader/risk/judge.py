"""The judgement: every rule that can be evaluated, in order of gravity, and a verdict from what they said.

Pure: a case in, a verdict out. Baseline and optimized share it, so that they cannot differ in what is allowed.
"""

from __future__ import annotations

from dataclasses import replace

from perpstrader.domain import ZERO, Approved, AssetSpec, Check, MoneyError, Reason, Refusal, Refused, Verdict
from perpstrader.domain.verdicts import UNKNOWN
from perpstrader.risk.case import Case, is_positive
from perpstrader.risk.exposure import open_book, usd_limits
from perpstrader.risk.liquidation import Exposure
from perpstrader.risk.losses import HALF
from perpstrader.risk.rules.checks import holds, show
from perpstrader.risk.rules.churn import check_churn, check_duplicate
from perpstrader.risk.rules.evidence import check_evidence, check_history
from perpstrader.risk.rules.exposure import check_order, check_portfolio
from perpstrader.risk.rules.geometry import check_geometry
from perpstrader.risk.rules.halts import check_frequency, check_halts, check_ownership
from perpstrader.risk.rules.hints import HINTS
from perpstrader.risk.rules.market import check_market, check_volatility
from perpstrader.risk.rules.signal import check_signal
from perpstrader.risk.sizing import Sizing, size_entry
from perpstrader.risk.stops import EntryPrices, plan_prices
from perpstrader.risk.views import utilisation


def judge(case: Case) -> Verdict:
    """``Approved`` exactly when a size was found and no check failed; else ``Refused``, the gravest reason first.

    Raises ``ValueError`` for an exit: exits are not judged by limits (S01, S38).
    """
    signal = case.signal
    if signal.is_exit:
        raise ValueError(f"{signal.action.value} of {signal.symbol} is an exit; exits are never judged by risk limits")
    checks = [*check_halts(case), *check_evidence(case), *check_history(case), *check_signal(case)]
    checks += [*check_ownership(case), *check_frequency(case), *check_churn(case), *check_volatility(case)]
    prices, sizing = None, None
    if case.knows_prices:
        checks += check_market(case)
        if case.asset is not None and _names_usable_numbers(case):
            prices = _plan(case, case.asset, checks)
        if prices is not None and case.asset is not None and case.knows_account:
            sizing = _size(case, case.asset, prices, checks)
    refusals = tuple(_refusal(check) for check in checks if not check.passed)
    if refusals or prices is None or sizing is None:
        refusals = refusals or (Refusal(reason=Reason.INTERNAL_ERROR, value="no size", hint="please report this"),)
        return Refused(signal=signal, refusals=refusals, checks=tuple(checks), decided_ms=case.now_ms)
    return _approved(case, prices, sizing, tuple(checks))


def _names_usable_numbers(case: Case) -> bool:
    signal = case.signal
    named = (signal.entry_price, signal.stop_price, signal.target_price, signal.size_hint)
    return all(number is None or is_positive(number) for number in named)


def _plan(case: Case, asset: AssetSpec, checks: list[Check]) -> EntryPrices | None:
    try:
        prices = plan_prices(case, asset)
    except MoneyError as error:
        checks.append(holds(Reason.INVALID_PRICE, False, str(error), "on tick"))
        return None
    checks += [*check_duplicate(case, prices), *check_geometry(case, prices)]
    return prices


def _size(case: Case, asset: AssetSpec, prices: EntryPrices, checks: list[Check]) -> Sizing | None:
    """The size, with the checks of the portfolio as it would be; ``None`` where the stop says nothing of the risk."""
    if not 0 <= case.signal.confidence <= 1:
        return None
    wrong_side = (prices.worst - prices.stop) * prices.side.sign <= 0
    if wrong_side:
        return None
    usd = usd_limits(case.limits, case.execution, case.limits_equity_usd)
    before = open_book(case.portfolio, case.reservations, case.limits, case.leverage)
    sizing = size_entry(case, asset, prices, before, usd)
    new = Exposure(
        asset.name, prices.side, sizing.size, prices.exposure_price, case.leverage,
        max(prices.stop_to_mark_fraction, prices.stop_distance_fraction, ZERO),
    )  # fmt: skip
    after = replace(before, new=new)
    assets = {**case.assets, asset.name: asset}
    checks += check_portfolio(after, usd, case.limits, case.portfolio.equity_usd, assets)
    checks += check_order(case, asset, prices, sizing, after, usd)
    return sizing


def _approved(case: Case, prices: EntryPrices, sizing: Sizing, checks: tuple[Check, ...]) -> Approved:
    return Approved(
        signal=case.signal, size=sizing.size, reference_price=prices.reference, worst_price=prices.worst,
        stop_price=prices.stop, stop_limit_price=prices.stop_limit, target_price=prices.target,
        notional_usd=sizing.size * prices.exposure_price, risk_usd=sizing.risk_usd, leverage=case.leverage,
        risk_score=utilisation(checks), size_bound=sizing.bound, portfolio_version=case.portfolio.version,
        decided_ms=case.now_ms, resting=prices.resting, checks=checks, warnings=_warnings(sizing, checks),
    )  # fmt: skip


def _warnings(sizing: Sizing, checks: tuple[Check, ...]) -> tuple[str, ...]:
    halved = [f"size x {show(HALF)}: {why}" for why in sizing.halved_by]
    return (*halved, *(f"{check.rule} not judged: input unknown" for check in checks if check.value == UNKNOWN))


def _refusal(check: Check) -> Refusal:
    return Refusal(
        reason=check.rule, value=check.value, limit=check.limit, unit=check.unit, hint=HINTS.get(check.rule, "")
    )
