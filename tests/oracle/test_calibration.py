"""The paper exchange against a recorded market: what takers really paid, and how often passive orders can have filled.

The recordings hold every public trade and the books around them, but nobody's own passive order. Of those there are
bounds (``paper.calibration``), 6 to 11 points apart where depth was recorded; so "within 10 points" is shown against
both bounds for the model that fits best, and against their middle for the default, which is the lower one on purpose.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from perpstrader.paper.calibration import MODELS, Calibration, PassiveFit, calibrate, passive_rate, reprice_takers
from perpstrader.paper.engine.assets import EngineAsset
from perpstrader.paper.engine.config import QueueModel
from perpstrader.paper.engine.market import Level, TradePrint
from perpstrader.paper.feeds.recordings import Print, Quote, Recording

BOOKS = "hl_book_bbo_trades_2025-09-03_BTC_ETH"
WEEK = "hl_bbo_trades_2025-09-01_06_BTC"
POINTS = 0.10
BTC = EngineAsset(coin="BTC", index=0, size_decimals=3, max_leverage=40)
BEST = 100_000_000  # 100,000 USD in units of 0.001


@pytest.fixture(scope="module")
def found(test_data: Path) -> Calibration:
    return calibrate(test_data / BOOKS)


def test_recorded_takers_pay_what_the_engine_asks(
    found: Calibration, record_property: Callable[[str, object], None]
) -> None:
    assert [row.coin for row in found.takers] == ["BTC", "ETH"]
    for row in found.takers:
        assert row.orders > 250
        assert row.median_bps <= 1.0
        assert row.p95_bps <= 5.0
        assert row.unfilled <= row.orders // 50
        record_property(f"{row.coin} takers: median and 95 % error in bps", f"{row.median_bps:.3f}, {row.p95_bps:.3f}")


def test_passive_orders_fill_as_often_as_they_can_have(
    found: Calibration, record_property: Callable[[str, object], None]
) -> None:
    assert found.best == "share"
    for row in found.passive:
        assert row.orders >= 80
        assert row.certain - 1e-9 <= row.rate <= row.possible + 1e-9
        assert row.distance <= POINTS
        if row.model == found.best:
            assert row.possible - row.rate <= POINTS
            assert row.rate - row.certain <= POINTS
        between = f"{row.rate:.1%} between {row.certain:.1%} and {row.possible:.1%}"
        record_property(f"{row.coin} passive, {row.model}", between)


def test_over_a_week_of_best_prices_the_fitted_model_lies_within_ten_points_of_the_middle(
    test_data: Path, record_property: Callable[[str, object], None]
) -> None:
    week = calibrate(test_data / WEEK)
    fitted = next(row for row in week.passive if row.model == week.best)
    assert week.best == "share"
    assert fitted.orders > 2_000
    assert fitted.distance <= POINTS
    record_property("a week of BTC, passive", f"{fitted.rate:.1%} between {fitted.certain:.1%}, {fitted.possible:.1%}")


def test_the_delay_of_the_data_is_measured_and_that_of_orders_is_not_made_up(found: Calibration) -> None:
    assert found.delay is not None
    assert found.delay.rows > 8_000
    assert 0 < found.delay.median_ms < found.delay.p99_ms


def _book(time_ms: int, size: int, *, away: int = 0) -> Quote:
    """10 levels a side, ``size`` lots at the best bid, ``away`` ticks lower than at first."""
    bids = tuple([Level(BEST - (n + away) * 1_000, size if n == 0 else 50) for n in range(10)])
    return Quote(time_ms, bids, tuple([Level(BEST + (n + 1) * 1_000, 50) for n in range(10)]))


def _recording(quotes: list[Quote], prints: list[Print]) -> Recording:
    return Recording(asset=BTC, quotes=quotes, prints=prints, gaps=[], has_book=True)


def _sold(time_ms: int, size: int, price: int = BEST) -> Print:
    return Print(time_ms, TradePrint(price, size, False))


def _fit(model: QueueModel, quotes: list[Quote], prints: list[Print]) -> PassiveFit:
    return passive_rate(_recording(quotes, prints), model, horizon_ms=1_000, every_ms=10_000)


@pytest.mark.parametrize(("model", "fills"), [("trades", False), ("book", True), ("share", True)])
def test_a_level_that_shrank_has_nobody_ahead_who_is_not_shown(model: QueueModel, fills: bool) -> None:
    quotes = [_book(1_000, 100), _book(1_200, 10), _book(2_500, 10)]
    fit = _fit(model, quotes, [_sold(1_300, 40)])
    assert fit.orders == 2  # one at the bid, one at the ask, which nobody buys from
    assert fit.rate == (0.5 if fills else 0.0)
    assert (fit.certain, fit.possible) == (0.0, 0.5)


@pytest.mark.parametrize(("model", "fills"), [("trades", False), ("book", False), ("share", True)])
def test_of_what_was_taken_back_a_share_stood_ahead(model: QueueModel, fills: bool) -> None:
    # 100 ahead; then 100 more come behind, 100 go: of 200, half was ahead. 50 are left there, and 60 are sold.
    quotes = [_book(1_000, 100), _book(1_100, 200), _book(1_200, 100), _book(2_500, 100)]
    assert _fit(model, quotes, [_sold(1_300, 60)]).rate == (0.5 if fills else 0.0)


@pytest.mark.parametrize("model", MODELS)
def test_what_trades_took_is_not_taken_back_a_second_time(model: QueueModel) -> None:
    # 100 ahead, 60 of them sold: the book that shrinks by those 60 says nothing new, and 40 stay ahead.
    quotes = [_book(1_000, 100), _book(1_200, 40), _book(2_500, 40)]
    assert _fit(model, quotes, [_sold(1_100, 60), _sold(1_300, 40)]).rate == 0.0
    assert _fit(model, quotes, [_sold(1_100, 60), _sold(1_300, 41)]).rate == 0.5


@pytest.mark.parametrize("model", MODELS)
def test_a_trade_through_the_price_fills_whatever_stood_ahead(model: QueueModel) -> None:
    fit = _fit(model, [_book(1_000, 100), _book(2_500, 100)], [_sold(1_300, 40, BEST - 1_000)])
    assert (fit.rate, fit.certain, fit.possible) == (0.5, 0.5, 0.5)


def test_a_taker_is_repriced_level_by_level() -> None:
    quotes = [_book(1_000, 10), _book(3_000, 10)]
    exact = [_sold(2_000, 10), _sold(2_000, 5, BEST - 1_000)]
    assert reprice_takers(_recording(quotes, exact)).median_bps == 0.0
    assert reprice_takers(_recording(quotes, [_sold(2_000, 15)])).median_bps == pytest.approx(0.0333, abs=1e-3)
    thin = reprice_takers(_recording(quotes, [_sold(2_000, 5_000)]))
    assert (thin.orders, thin.unfilled) == (0, 1)
