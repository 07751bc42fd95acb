"""What befalls one seed's world: how long it lasts, what is lost on the wire, when the trader dies."""

from __future__ import annotations

import enum
from random import Random
from typing import Final

import msgspec

from perpstrader.paper.faults import FaultRates
from perpstrader.paper.feeds.synthetic import SYMBOLS

_HOUR_MS: Final = 3_600_000
_FIRST_DAY_MS: Final = 1_750_032_000_000
_LIGHT: Final = FaultRates(
    refused=0.01, request_lost=0.01, response_lost=0.015, bad_gateway=0.01, bad_gateway_after=0.01, too_many=0.01,
    delay=0.02, server_error=0.005, request_twice=0.01, lag=0.03, frame_twice=0.01, frame_late=0.005,
    frame_swapped=0.005, socket_dropped=0.0001, socket_frozen=0.00004, most_delay_s=12.0,
)  # fmt: skip
_ROUGH: Final = 3
_FEW_REQUESTS: Final = 0.25
_GATEWAYS: Final = 0.5
_DEPOSITS_USD: Final = (500, 10_000, 2_000_000, 5_000_000)


class Moment(enum.StrEnum):
    """Where in a signed request the trader dies."""

    BEFORE_SENDING = "before sending"
    BEFORE_THE_ANSWER = "before the answer"


class Crash(msgspec.Struct, frozen=True):
    """The trader dies at its ``request``-th signed request since it started, and stays dead for ``dead_s``."""

    request: int
    moment: Moment
    dead_s: float


class Blackout(msgspec.Struct, frozen=True):
    """Nothing reaches the venue between these seconds of the run; with a gateway, that one says so at once."""

    begin_s: float
    end_s: float
    has_gateway: bool = False


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one world that its seed decides before it begins; ``start_ms`` is UTC.

    ``deposit_usd`` is small enough to meet the venue's minimum, or large enough that orders fill in part.
    ``disk_failures`` is how probably a commit to ``state.db`` fails, ``requests_left`` what others have left of the
    address's budget, ``None`` for all of it, and ``max_positions`` the account's own limit.
    """

    seed: int
    start_ms: int
    duration_s: float
    symbols: tuple[str, ...]
    deposit_usd: int
    has_latency: bool
    rates: FaultRates
    blackouts: tuple[Blackout, ...]
    crashes: tuple[Crash, ...]
    disk_failures: float
    requests_left: int | None
    max_positions: int


def plan_of(seed: int) -> Plan:
    """The plan that follows from a seed: 20 to 40 minutes with an hour's end inside, mostly faults, often a crash."""
    rng = Random(f"campaign plan {seed}")
    duration_s = rng.uniform(1_200, 2_400)
    first_hour = rng.randint(1, 24)
    start_ms = _FIRST_DAY_MS + first_hour * _HOUR_MS - round(rng.uniform(0.2, 0.8) * duration_s * 1000)
    level = rng.choice((0, 1, 1, _ROUGH))
    blackouts = [_blackout(rng, duration_s) for _ in range(rng.choice((0, 0, 1, 2)) if level else 0)]
    crashes = [
        Crash(rng.randint(1, 25), rng.choice(tuple(Moment)), rng.uniform(0.5, 30.0))
        for _ in range(rng.choice((0, 1, 1, 2, 3)))
    ]
    return Plan(
        seed=seed, start_ms=start_ms, duration_s=duration_s, symbols=tuple(rng.sample(SYMBOLS, 3)),
        deposit_usd=rng.choice(_DEPOSITS_USD), has_latency=rng.random() < 0.5, rates=_times(_LIGHT, level),
        blackouts=tuple(blackouts), crashes=tuple(crashes),
        disk_failures=rng.choice((0.0, 0.01, 0.03)), max_positions=rng.choice((2, 3)),
        requests_left=rng.randint(950, 1_200) if rng.random() < _FEW_REQUESTS else None,
    )  # fmt: skip


def _blackout(rng: Random, duration_s: float) -> Blackout:
    begin_s = rng.uniform(60, duration_s - 120)
    return Blackout(begin_s, begin_s + rng.uniform(5, 60), rng.random() < _GATEWAYS)


def _times(rates: FaultRates, factor: int) -> FaultRates:
    probabilities = {
        name: value * factor for name, value in msgspec.structs.asdict(rates).items() if not name.startswith("most_")
    }
    return msgspec.structs.replace(rates, **probabilities)
