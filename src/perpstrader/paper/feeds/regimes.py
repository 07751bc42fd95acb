"""How a made-up market moves: regimes that follow each other at random, and now and then a jump."""

from __future__ import annotations

import math
from random import Random
from typing import Final

import msgspec


class Regime(msgspec.Struct, frozen=True):
    """A mood of the market: volatility and drift in one-minute sigmas, pull per minute, mean life in minutes."""

    name: str
    volatility: float
    drift: float
    pull: float
    minutes: float
    weight: float


REGIMES: Final = (
    Regime("calm range", 0.6, 0.0, 0.02, 180.0, 0.30),
    Regime("wide range", 1.1, 0.0, 0.03, 90.0, 0.20),
    Regime("up trend", 0.9, 0.10, 0.0, 75.0, 0.20),
    Regime("down trend", 0.9, -0.10, 0.0, 75.0, 0.20),
    Regime("storm", 2.2, 0.0, 0.0, 20.0, 0.10),
)
STORM: Final = REGIMES[-1]


def _long_run_volatility() -> float:
    shares = [regime.weight * regime.minutes for regime in REGIMES]
    squares = [share * regime.volatility**2 for share, regime in zip(shares, REGIMES, strict=True)]
    return math.sqrt(sum(squares) / sum(shares))


_UNIT: Final = _long_run_volatility()


class RegimeWalk:
    """The log price of one factor: regimes follow each other as a Markov chain, and a jump starts a storm.

    Regimes live for an exponentially distributed time. Over a long run the moves have about the variance of
    ``sigma_minute``; trends, the pull of ranges and jumps come on top.
    """

    def __init__(self, rng: Random, sigma_minute: float, jumps_per_minute: float) -> None:
        self._rng = rng
        self._sigma = sigma_minute
        self._jump_rate = jumps_per_minute
        self._level = 0.0
        self._enter(self._draw())

    @property
    def regime(self) -> Regime:
        """The regime that the walk is in."""
        return self._regime

    def step(self, minutes: float) -> float:
        """The change of the log price over ``minutes`` of market time."""
        rng, sigma = self._rng, self._sigma
        self._left -= minutes
        if self._left <= 0.0:
            self._enter(self._draw())
        mood = self._regime
        move = rng.gauss(0.0, sigma * mood.volatility / _UNIT * math.sqrt(minutes))
        move += (sigma * mood.drift - mood.pull * (self._level - self._anchor)) * minutes
        if rng.random() < self._jump_rate * minutes:
            size = sigma * (4.0 + rng.expovariate(0.25))
            move += size if rng.random() < 0.5 else -size
            self._enter(STORM)
        self._level += move
        return move

    def _draw(self) -> Regime:
        point = self._rng.random()
        for regime in REGIMES:
            point -= regime.weight
            if point < 0.0:
                return regime
        return STORM

    def _enter(self, regime: Regime) -> None:
        self._regime = regime
        self._anchor = self._level
        self._left = self._rng.expovariate(1.0 / regime.minutes)
