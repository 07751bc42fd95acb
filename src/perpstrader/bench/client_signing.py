"""What a signature costs beside the two ends: the official SDK as it installs by default, and the curve alone."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import coincurve
import msgspec

from perpstrader.bench.desk import MADE_UP_KEY
from perpstrader.bench.harness import Arm, Case, Subject
from perpstrader.venue import Signer
from perpstrader.venue.wire import actions, signing

COMPONENT: Final = "client"
_NONCE: Final = 1_760_000_000_000
_BACKEND: Final = "ECC_BACKEND_CLASS"
_MANY: Final = 50
_FEW: Final = 2
_ORDER: Final = actions.Order([actions.OrderWire(0, True, "60000", "0.01", False, actions.GTC, f"0x{1:032x}")], "na")


def cases() -> list[Case]:
    """The rows of this file."""
    return [
        Case(
            COMPONENT, "sign-order-default", "us/order", _FEW, _by_default, claim=100.0,
            note="against the official SDK where no C curve library is installed, which is how it installs by itself",
        ),
        Case(
            COMPONENT, "sign-order-overhead", "us/order", _MANY, _beside_the_curve, claim=1 / 1.5,
            note="against the bare libsecp256k1 signature of the same digest, which no signer can undercut: 1 is the "
            "limit, 0.67 half as much again",
        ),
    ]  # fmt: skip


def _ours(signer: Signer, count: int) -> list[tuple[int, int, int]]:
    made = [signer.sign_action(_ORDER, _NONCE + number) for number in range(count)]
    return [(int(s.r, 16), int(s.s, 16), s.v) for s in made]


@asynccontextmanager
async def _by_default() -> AsyncIterator[Subject]:
    from eth_account import Account
    from hyperliquid.utils import signing as sdk

    wallet, plain = Account.from_key(MADE_UP_KEY), msgspec.to_builtins(_ORDER)
    signer = Signer(MADE_UP_KEY, mainnet=False)

    def theirs() -> list[Any]:
        with _without_curve_library():
            return [sdk.sign_l1_action(wallet, plain, None, _NONCE + number, None, False) for number in range(_FEW)]

    yield Subject(
        Arm(run=theirs, answer=lambda: [(int(s["r"], 16), int(s["s"], 16), s["v"]) for s in theirs()]),
        Arm(
            run=lambda: [signer.sign_action(_ORDER, _NONCE + n) for n in range(_FEW)],
            answer=lambda: _ours(signer, _FEW),
        ),
    )


@contextmanager
def _without_curve_library() -> Iterator[None]:
    """As where coincurve is not installed: the SDK's own dependency looks for its backend at each signature."""
    before = os.environ.get(_BACKEND)
    os.environ[_BACKEND] = "eth_keys.backends.NativeECCBackend"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_BACKEND]
        else:
            os.environ[_BACKEND] = before


@asynccontextmanager
async def _beside_the_curve() -> AsyncIterator[Subject]:
    signer, key = Signer(MADE_UP_KEY, mainnet=False), coincurve.PrivateKey(bytes.fromhex(MADE_UP_KEY[2:]))
    packed = actions.pack(_ORDER)
    digests = [
        signing.l1_digest(signing.action_hash(packed, _NONCE + number), mainnet=False) for number in range(_MANY)
    ]

    def bare() -> list[bytes]:
        return [key.sign_recoverable(digest, hasher=None) for digest in digests]

    def read() -> list[tuple[int, int, int]]:
        return [(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:64], "big"), 27 + raw[64]) for raw in bare()]

    yield Subject(
        Arm(run=bare, answer=read),
        Arm(
            run=lambda: [signer.sign_action(_ORDER, _NONCE + number) for number in range(_MANY)],
            answer=lambda: _ours(signer, _MANY),
        ),
    )
