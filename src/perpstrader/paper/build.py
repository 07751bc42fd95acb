"""Builds a paper exchange from plain arguments: a market, and on request a file in which its accounts survive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from perpstrader.paper.engine import EngineConfig, Exchange
from perpstrader.paper.feeds import Feed, SyntheticFeed
from perpstrader.paper.feeds.synthetic import SYMBOLS
from perpstrader.paper.server import PaperVenue, VenueConfig
from perpstrader.paper.store import PaperStore
from perpstrader.runtime import Clock

MICRO: Final = 1_000_000


def synthetic_feed(
    clock: Clock,
    *,
    seed: int,
    symbols: Sequence[str] = SYMBOLS,
    bar_ms: int = 1_000,
    speed: float = 60.0,
    store: PaperStore | None = None,
) -> SyntheticFeed:
    """A made-up market that begins now; with a ``store``, near the prices at which the last one stopped."""
    last_prices = {} if store is None else store.last_prices()
    return SyntheticFeed(seed, clock.now_ms(), symbols=symbols, bar_ms=bar_ms, speed=speed, last_prices=last_prices)


def build_venue(
    feed: Feed,
    clock: Clock,
    *,
    config: VenueConfig | None = None,
    engine_config: EngineConfig | None = None,
    store: PaperStore | None = None,
    funds_usd: Mapping[str, int] | None = None,
) -> PaperVenue:
    """An exchange on ``feed``; accounts in ``store`` go on, and each change is kept there before it is answered.

    ``funds_usd`` opens accounts (lower-case address: whole USD) that do not exist yet. The store stays the caller's to
    close, after ``venue.stop()``.
    """
    engine = Exchange(feed.assets, engine_config)
    venue = PaperVenue(engine, feed, clock, config)
    if store is not None:
        store.recall(engine, venue.world)
        venue.keeper = store
    for user, usd in (funds_usd or {}).items():
        if not engine.has_account(user):
            venue.fund(user, usd * MICRO)
    return venue
