"""A feed and the exchange's engine together: what a position meets inside a recorded bar."""

from __future__ import annotations

import pytest
from tests.unit.feeds.market_making import MINUTE, T0, series

from perpstrader.paper.engine import EngineConfig, Exchange, Fill, Grouping, NewOrder, Tif, Tpsl, Trigger
from perpstrader.paper.feeds import CandleFeed, ambiguous
from perpstrader.paper.feeds.lane import Lane

USER = "0xa1"
CALM = (1_000_000, 1_000_100, 999_900, 1_000_000, 40_000_000)
WIDE = (1_000_000, 1_020_000, 980_000, 1_000_000, 40_000_000)
FLOOR, CEILING = 990_000, 1_010_000


def _fills(rows: list[tuple[int, int, int, int, int]], size: int = 2_000, *, is_buy: bool = True) -> list[Fill]:
    """Enter at the end of the first bar's walk, with a stop and a target 1 % away; all fills of the replay."""
    feed = CandleFeed([series(rows)], seed=1)
    exchange = Exchange(feed.assets, EngineConfig())
    exchange.fund(USER, 10**12, T0)
    for step in feed.steps(exchange.net_position_sign):
        for update in step.updates:
            exchange.apply(update)
        if step.time_ms != T0 + 45_000:
            continue
        cap = 1_001_000 if is_buy else 999_000
        entry = NewOrder(coin="BTC", is_buy=is_buy, limit_px=cap, size=size, tif=Tif.IOC)
        exchange.place(USER, [entry], Grouping.NA, now_ms=step.time_ms)
        for level, kind in ((FLOOR, Tpsl.SL), (CEILING, Tpsl.TP)) if is_buy else ((CEILING, Tpsl.SL), (FLOOR, Tpsl.TP)):
            trigger = Trigger(True, level, kind)
            worst = 900_000 if is_buy else 1_100_000
            leg = NewOrder(coin="BTC", is_buy=not is_buy, limit_px=worst, size=size, reduce_only=True, trigger=trigger)
            exchange.place(USER, [leg], Grouping.NA, now_ms=step.time_ms)
    return list(exchange.fills(USER))


@pytest.mark.parametrize("is_buy", [True, False])
def test_in_an_ambiguous_bar_the_stop_comes_before_the_target(is_buy: bool) -> None:
    assert ambiguous(series([CALM, WIDE]).bar(1), FLOOR, CEILING)
    exit_fills = [fill for fill in _fills([CALM, WIDE], is_buy=is_buy) if fill.is_buy != is_buy]
    assert exit_fills
    stop = FLOOR if is_buy else CEILING
    for fill in exit_fills:
        assert fill.time_ms == T0 + MINUTE + 15_000
        assert fill.closed_pnl < 0
        # Reached along the path, the stop meets the market about its own level: within 0.2 % of it.
        assert abs(fill.px - stop) < 0.002 * stop


def test_a_walk_that_ignored_the_position_would_take_the_target_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lane, "low_first", lambda self, index, position_sign: position_sign < 0)
    exit_fills = [fill for fill in _fills([CALM, WIDE]) if not fill.is_buy]
    assert exit_fills
    assert all(fill.closed_pnl > 0 for fill in exit_fills)


def test_a_stop_below_a_gap_meets_the_open_and_not_its_own_level() -> None:
    gapped = (970_000, 971_000, 969_000, 970_500, 40_000_000)
    exit_fills = [fill for fill in _fills([CALM, gapped]) if not fill.is_buy]
    assert exit_fills
    assert all(fill.time_ms == T0 + MINUTE and fill.px < 971_000 for fill in exit_fills)


def test_nothing_fills_in_a_halt_and_the_stop_meets_the_market_after_it() -> None:
    halt = (1_000_000, 1_000_000, 1_000_000, 1_000_000, 0)
    after = (950_000, 951_000, 949_000, 950_000, 40_000_000)
    exit_fills = [fill for fill in _fills([CALM, halt, halt, after]) if not fill.is_buy]
    assert exit_fills
    assert all(fill.time_ms == T0 + 3 * MINUTE and fill.px < 951_000 for fill in exit_fills)


def test_an_order_larger_than_the_bar_offers_fills_in_part() -> None:
    entries = [fill for fill in _fills([CALM, CALM], size=10_000_000) if fill.is_buy]
    assert 0 < sum(fill.size for fill in entries) <= CALM[4] // 80
