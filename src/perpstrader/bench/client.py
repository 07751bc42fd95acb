"""The Hyperliquid client: signing and sending an order, asking the venue, reading its answers.

The venue is the paper exchange in the same process, so that what is timed is code and not a network. The plain client
encodes and signs by the official SDK.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from functools import partial
from hashlib import sha256
from itertools import count
from typing import Any, Final, TypeVar

import coincurve
import msgspec

from perpstrader.bench import client_minute, client_signing
from perpstrader.bench.desk import MADE_UP_KEY, SYMBOLS, Build, Desk, StandingClock, open_desk
from perpstrader.bench.harness import Arm, Case, Skipped, Subject
from perpstrader.bench.lab import Lab
from perpstrader.domain import TimeInForce, Trigger
from perpstrader.venue import HyperliquidClient, Signer, WireEncoder, convert
from perpstrader.venue.baseline import HyperliquidClient as BaselineClient
from perpstrader.venue.baseline import SdkEncoder
from perpstrader.venue.calls import VenueCalls
from perpstrader.venue.contract import Grouping, OrderRequest
from perpstrader.venue.encoding import ActionEncoder
from perpstrader.venue.wire import actions, exchange, info

T = TypeVar("T")

COMPONENT: Final = "client"
_ORDERS: Final = 10
_NONCE: Final = 1_760_000_000_000
_BUILDS: Final[tuple[Build, Build]] = ("baseline", "optimized")
_RECORDED: Final = "hl_account_and_book_samples_2026-06"
_READS: Final = ("account", "open_orders", "contexts", "book")


def cases(lab: Lab) -> list[Case]:
    """The rows of this component."""
    return [*_actions(), *client_signing.cases(), *_reads(), *client_minute.cases(), *_parsing(lab)]


def _actions() -> list[Case]:
    return [
        Case(
            COMPONENT, "encode-order", "us/order", _ORDERS, _encoding,
            note="a domain order as the JSON body that goes out; the signature is not in it",
        ),
        Case(
            COMPONENT, "sign-order", "us/order", _ORDERS, _signing, claim=10.0,
            note="pack, hash and sign one order action; deterministic signatures, equal in both builds",
        ),
        Case(
            COMPONENT, "order-roundtrip", "us/action", 2 * _ORDERS, _roundtrip,
            note="place a resting order, cancel it; the exchange's own work is in it (see limit-venue-answer), a "
            "network's 100 to 300 ms are not",
        ),
        Case(
            COMPONENT, "peer-sdk-order", "us/order", _ORDERS, _sdk_as_shipped,
            note="the official SDK as it is shipped, from its order() to the JSON that it would post; no HTTP",
        ),
        Case(
            COMPONENT, "limit-venue-answer", "us/action", 2 * _ORDERS, _venue_alone,
            note="what the paper exchange itself takes to verify and answer the same signed bodies",
        ),
        Case(
            COMPONENT, "limit-secp256k1-sign", "us/signature", 100, _curve,
            note="one recoverable signature over 32 bytes by libsecp256k1: no order can be signed quicker",
        ),
    ]  # fmt: skip


def _reads() -> list[Case]:
    return [
        Case(
            COMPONENT, f"read-{name.replace('_', '-')}", "us/call", 20, partial(_reading, name, 20),
            note="ask, answer and typed result in process; the exchange's work is in it, a network is not",
        )
        for name in _READS
    ]  # fmt: skip


def _parsing(lab: Lab) -> list[Case]:
    given = "an answer recorded at the venue"
    return [
        Case(
            COMPONENT, "parse-account", "us/answer", 100, partial(_parse_account, lab),
            note=f"{given} with 3 positions, to typed Decimal values",
        ),
        Case(
            COMPONENT, "parse-book", "us/answer", 100, partial(_parse_book, lab),
            note=f"{given} with 20 levels a side, to typed Decimal values",
        ),
        Case(
            COMPONENT, "limit-parse-book", "us/answer", 100, partial(_parse_plain, lab),
            note="the same bytes to untyped dicts and strings by msgspec, no number read",
        ),
    ]  # fmt: skip


# --- actions ---


def _order(number: int, price: Decimal = Decimal(60_000)) -> OrderRequest:
    return OrderRequest(
        symbol="BTC", buy=True, size=Decimal("0.01"), limit_price=price, tif=TimeInForce.GTC, reduce_only=False,
        cloid=f"0x{number:032x}",
    )  # fmt: skip


def _encoders() -> tuple[ActionEncoder, ActionEncoder]:
    return SdkEncoder(MADE_UP_KEY, mainnet=False), WireEncoder(Signer(MADE_UP_KEY, mainnet=False))


@asynccontextmanager
async def _encoding() -> AsyncIterator[Subject]:
    orders = [_order(number) for number in range(_ORDERS)]
    slow, fast = _encoders()
    signature = fast.sign(fast.orders([fast.order(0, orders[0])], Grouping.NONE), _NONCE, None, None)

    def run(encoder: ActionEncoder) -> list[bytes]:
        made = [encoder.orders([encoder.order(0, order)], Grouping.NONE) for order in orders]
        return [exchange.encode_request(exchange.PostedRequest(action, _NONCE, signature)) for action in made]

    def answer(encoder: ActionEncoder) -> list[Any]:
        return [json.loads(body) for body in run(encoder)]

    yield Subject(*(Arm(run=partial(run, encoder), answer=partial(answer, encoder)) for encoder in (slow, fast)))


@asynccontextmanager
async def _signing() -> AsyncIterator[Subject]:
    def arm(encoder: ActionEncoder) -> Arm:
        made = [encoder.orders([encoder.order(0, _order(number))], Grouping.NONE) for number in range(_ORDERS)]

        def run() -> list[Any]:
            return [encoder.sign(action, _NONCE + number, None, None) for number, action in enumerate(made)]

        # the SDK writes r and s without leading zeros
        return Arm(run=run, answer=lambda: [(int(s.r, 16), int(s.s, 16), s.v) for s in run()])

    slow, fast = _encoders()
    yield Subject(arm(slow), arm(fast))


@asynccontextmanager
async def _roundtrip() -> AsyncIterator[Subject]:
    clock = StandingClock()
    async with AsyncExitStack() as stack:
        arms = [await _trading_arm(stack, clock, build) for build in _BUILDS]
        yield Subject(*arms)


async def _trading_arm(stack: AsyncExitStack, clock: StandingClock, build: Build) -> Arm:
    desk = await stack.enter_async_context(open_desk(build, clock))
    numbers = count(1)
    far = await _far_price(desk)

    async def run() -> None:
        for _ in range(_ORDERS):
            order = _order(next(numbers), far)
            await desk.client.place([order])
            await desk.client.cancel([(order.symbol, order.cloid)])

    async def answer() -> object:
        left = await desk.client.open_orders()
        async with open_desk(build, clock) as fresh:
            return left, await _trade(fresh.client, far)

    return Arm(run=run, answer=answer)


async def _trade(client: VenueCalls, far: Decimal) -> list[Any]:
    """An order that rests and is cancelled, one that fills, one with a stop: every answer, and the account after it."""
    mid = (await client.mids())["BTC"]
    entry = msgspec.structs.replace(_order(2, far * Decimal("1.5")), tif=TimeInForce.IOC)
    stop = msgspec.structs.replace(
        _order(3, far), buy=False, reduce_only=True, trigger=Trigger(price=far + 100, is_stop=True)
    )
    return [
        mid,
        await client.place([_order(1, far)]),
        await client.cancel([("BTC", _order(1).cloid)]),
        await client.cancel([("BTC", _order(1).cloid)]),
        await client.place([entry]),
        await client.place([stop]),
        await client.account(),
        await client.open_orders(),
        await client.fills(0),
    ]


async def _far_price(desk: Desk) -> Decimal:
    """About a fifth under the market, on tick."""
    return ((await desk.client.mids())["BTC"] * Decimal("0.8")).quantize(Decimal(1))


@asynccontextmanager
async def _venue_alone() -> AsyncIterator[Subject]:
    async with open_desk("optimized", StandingClock()) as desk:
        far, numbers = await _far_price(desk), count(1)
        bodies: list[bytes] = []

        def prepare() -> None:
            bodies.clear()
            for _ in range(_ORDERS):
                order = _order(next(numbers), far)
                placed = desk.encoder.orders([desk.encoder.order(0, order)], Grouping.NONE)
                bodies.append(_body(desk, placed))
                bodies.append(_body(desk, actions.CancelByCloid([actions.CancelByCloidWire(0, order.cloid)])))

        def run() -> list[bytes]:
            return [desk.venue.post("/exchange", body, "bench").body for body in bodies]

        def answer() -> list[bool]:
            prepare()
            return [b'"resting"' in body or b'"success"' in body for body in run()]

        yield Subject(Arm(run=run, answer=answer, prepare=prepare), expected=[True] * 2 * _ORDERS)


@asynccontextmanager
async def _sdk_as_shipped() -> AsyncIterator[Subject]:
    from eth_account import Account
    from hyperliquid.exchange import Exchange

    wallet = Account.from_key(MADE_UP_KEY)
    meta = {"universe": [{"name": "BTC", "szDecimals": 5}]}
    sdk = Exchange(wallet, "http://nowhere.invalid", meta=meta, spot_meta={"universe": [], "tokens": []})
    bodies: list[bytes] = []
    # the one place where it would reach for the network
    sdk.post = lambda path, payload=None: bodies.append(json.dumps(payload).encode())

    def run() -> None:
        bodies.clear()
        for _ in range(_ORDERS):
            sdk.order("BTC", True, 0.01, 60_000.0, {"limit": {"tif": "Gtc"}})

    def answer() -> set[str]:
        run()
        return {exchange.recover_signer(exchange.decode_request(body), mainnet=False) for body in bodies}

    yield Subject(Arm(run=run, answer=answer), expected={str(wallet.address).lower()})


def _body(desk: Desk, action: actions.Action) -> bytes:
    nonce = desk.nonces.take()
    return exchange.encode_request(exchange.PostedRequest(action, nonce, desk.encoder.sign(action, nonce, None, None)))


@asynccontextmanager
async def _curve() -> AsyncIterator[Subject]:
    key = coincurve.PrivateKey(bytes.fromhex(MADE_UP_KEY[2:]))
    digests = [sha256(bytes([number])).digest() for number in range(100)]

    def run() -> list[bytes]:
        return [key.sign_recoverable(digest, hasher=None) for digest in digests]

    def answer() -> bool:
        public = key.public_key.format()
        recover = coincurve.PublicKey.from_signature_and_message
        pairs = zip(run(), digests, strict=True)
        return all(recover(made, digest, hasher=None).format() == public for made, digest in pairs)

    yield Subject(Arm(run=run, answer=answer), expected=True)


# --- reads ---


def _builds_of(*methods: str) -> tuple[Build, ...]:
    """Both builds where the optimized one does any of these reads in a way of its own; until then the plain one."""
    shared = all(getattr(HyperliquidClient, name) is getattr(BaselineClient, name) for name in methods)
    return ("baseline",) if shared else _BUILDS


async def _ask(client: VenueCalls, name: str) -> Any:
    return await (client.book(SYMBOLS[0]) if name == "book" else getattr(client, name)())


@asynccontextmanager
async def _reading(name: str, times: int) -> AsyncIterator[Subject]:
    clock = StandingClock()

    async def run(client: VenueCalls) -> list[Any]:
        return [await _ask(client, name) for _ in range(times)]

    async with AsyncExitStack() as stack:
        desks = [await stack.enter_async_context(open_desk(build, clock)) for build in _builds_of(name)]
        for desk in desks:
            await _trade(desk.client, await _far_price(desk))
        yield Subject.of([Arm(run=(work := partial(run, desk.client)), answer=work) for desk in desks])


# --- answers recorded at the venue ---


def _recorded(lab: Lab, name: str) -> bytes:
    path = None if lab.data is None else lab.data / _RECORDED / name
    if path is None or not path.is_file():
        raise Skipped("it needs recorded answers; set PERPSTRADER_TEST_DATA to the folder that holds them")
    return path.read_bytes()


def _hundred(parse: Callable[[], T], look: Callable[[T], object], expected: object) -> Subject:
    def run() -> None:
        for _ in range(100):
            parse()

    return Subject(Arm(run=run, answer=lambda: look(parse())), expected=expected)


@asynccontextmanager
async def _parse_account(lab: Lab) -> AsyncIterator[Subject]:
    body = _recorded(lab, "clearinghouse_small.json")
    plain = json.loads(body)
    sizes = {row["position"]["coin"]: Decimal(row["position"]["szi"]) for row in plain["assetPositions"]}
    yield _hundred(
        lambda: convert.account_state(info.CLEARINGHOUSE_STATE.decode(body)),
        lambda state: (state.equity_usd, {name: held.size for name, held in state.positions.items()}),
        (Decimal(plain["marginSummary"]["accountValue"]), sizes),
    )


@asynccontextmanager
async def _parse_book(lab: Lab) -> AsyncIterator[Subject]:
    body = _recorded(lab, "l2book_btc_nsf5.json")
    sides = [[(Decimal(row["px"]), Decimal(row["sz"])) for row in side] for side in json.loads(body)["levels"]]
    yield _hundred(
        lambda: convert.optional_book(info.L2_BOOK.decode(body)),
        lambda book: book and [[(level.price, level.size) for level in side] for side in (book.bids, book.asks)],
        sides,
    )


@asynccontextmanager
async def _parse_plain(lab: Lab) -> AsyncIterator[Subject]:
    body = _recorded(lab, "l2book_btc_nsf5.json")
    decode = msgspec.json.Decoder().decode
    yield _hundred(lambda: decode(body), lambda answer: answer, json.loads(body))
