"""Both clients ask the venue the same and believe the same: whatever it answers, and whatever the network does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.venue.scripted import ACCOUNT, CLOID, HTML, KEY, META, ScriptedTransport, Step, order

from perpstrader.domain import PerpsTraderError, TimeInForce, Trigger, VenueError
from perpstrader.runtime import Answer, TransportError, VirtualClock, run_virtual
from perpstrader.venue import HyperliquidClient, NonceSource, Signer, WireEncoder
from perpstrader.venue import contract as c
from perpstrader.venue.baseline import HyperliquidClient as BaselineClient
from perpstrader.venue.wire import actions, exchange
from perpstrader.venue.wire.errors import ErrorCode

START = 1_700_000_000_000
SIGNER = Signer(KEY, mainnet=False).address
VAULT = "0x" + "cd" * 20
OTHER = "0x" + "0" * 31 + "2"
STOP = Trigger(price=Decimal("60000"), is_stop=True)
TARGET = Trigger(price=Decimal("70000.5"), is_stop=False, is_market=False)

Call = Callable[[c.HyperliquidClient], Awaitable[Any]]


def own(transport: ScriptedTransport, clock: VirtualClock, vault: str | None) -> c.HyperliquidClient:
    encoder = WireEncoder(Signer(KEY, mainnet=False))
    nonces = NonceSource(clock, 0, lambda mark: None)
    return HyperliquidClient(transport, clock, encoder, nonces, account=ACCOUNT, vault_address=vault)


def baseline(transport: ScriptedTransport, clock: VirtualClock, vault: str | None) -> c.HyperliquidClient:
    nonces = NonceSource(clock, 0, lambda mark: None)
    return BaselineClient(transport, clock, KEY, nonces, account=ACCOUNT, vault_address=vault)


BUILDS = {"own": own, "baseline": baseline}


@pytest.fixture(params=sorted(BUILDS))
def build(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def play(
    build: str, call: Call, *steps: Step, vault: str | None = None
) -> tuple[Any, list[tuple[str, dict[str, Any]]]]:
    """What ``call`` gives, or the error it raises, after the metadata was read; and what was posted for it."""

    async def main(clock: VirtualClock) -> tuple[Any, list[tuple[str, dict[str, Any]]]]:
        transport = ScriptedTransport([META, *steps])
        client = BUILDS[build](transport, clock, vault)
        await client.metadata()
        try:
            result = await call(client)
        except PerpsTraderError as error:
            result = error
        assert transport.steps == []
        return result, transport.posts[1:]

    return run_virtual(main, start_ms=START)


def posted(build: str, call: Call, vault: str | None = None) -> exchange.SignedRequest:
    """The one signed request of ``call`` as the venue reads it; its signature is the agent's."""
    _, posts = play(build, call, {"status": "ok", "response": {"type": "default"}}, vault=vault)
    [(path, body)] = posts
    assert path == "/exchange"
    request = exchange.decode_request(msgspec.json.encode(body))
    assert exchange.recover_signer(request, mainnet=False) == SIGNER
    return request


def limit(tif: actions.OrderType, reduce_only: bool = False, cloid: str = CLOID) -> actions.OrderWire:
    return actions.OrderWire(0, True, "64000", "0.01", reduce_only, tif, cloid)


def trigger(market: bool, price: str, tpsl: Any, cloid: str = CLOID) -> actions.OrderWire:
    kind = actions.OrderType(trigger=actions.TriggerType(market, price, tpsl))
    return actions.OrderWire(0, True, "64000", "0.01", True, kind, cloid)


ASKED: list[tuple[str, Call, object]] = [
    ("ioc", lambda v: v.place([order()]), actions.Order([limit(actions.IOC)], "na")),
    (
        "gtc and alo",
        lambda v: v.place([order(tif=TimeInForce.GTC), order(OTHER, tif=TimeInForce.ALO)]),
        actions.Order([limit(actions.GTC), limit(actions.ALO, cloid=OTHER)], "na"),
    ),
    (
        "stop",
        lambda v: v.place([order(trigger=STOP, reduce_only=True)]),
        actions.Order([trigger(True, "60000", "sl")], "na"),
    ),
    (
        "take profit with a limit",
        lambda v: v.place([order(trigger=TARGET, reduce_only=True)]),
        actions.Order([trigger(False, "70000.5", "tp")], "na"),
    ),
    (
        "entry with its stop",
        lambda v: v.place(
            [order(), order(OTHER, trigger=STOP, reduce_only=True)], grouping=c.Grouping.ENTRY_WITH_CHILDREN
        ),
        actions.Order([limit(actions.IOC), trigger(True, "60000", "sl", OTHER)], "normalTpsl"),
    ),
    (
        "case-sensitive symbol, whole lots",
        lambda v: v.place([order(symbol="kPEPE", buy=False, size="12000", price="0.012345")]),
        actions.Order([actions.OrderWire(2, False, "0.012345", "12000", False, actions.IOC, CLOID)], "na"),
    ),
    (
        "cancel by cloid",
        lambda v: v.cancel([("BTC", CLOID), ("ETH", OTHER)]),
        actions.CancelByCloid([actions.CancelByCloidWire(0, CLOID), actions.CancelByCloidWire(1, OTHER)]),
    ),
    ("cancel by oid", lambda v: v.cancel_oids([("ETH", 77)]), actions.Cancel([actions.CancelWire(1, 77)])),
    (
        "modify",
        lambda v: v.modify(CLOID, order(OTHER, tif=TimeInForce.ALO)),
        actions.BatchModify([actions.ModifyWire(CLOID, limit(actions.ALO, cloid=OTHER))]),
    ),
    ("leverage", lambda v: v.set_leverage("ETH", 7), actions.UpdateLeverage(1, True, 7)),
    ("isolated", lambda v: v.set_leverage("ETH", 7, cross=False), actions.UpdateLeverage(1, False, 7)),
]


@pytest.mark.parametrize(("call", "meant"), [row[1:] for row in ASKED], ids=[row[0] for row in ASKED])
def test_an_action_says_what_was_meant_and_is_signed_by_the_agent(build: str, call: Call, meant: object) -> None:
    request = posted(build, call)
    assert request.action == meant
    assert request.nonce == START
    assert request.vault_address is None
    assert request.expires_after is None


def test_vault_and_expiry_are_sent_and_signed(build: str) -> None:
    request = posted(build, lambda v: v.place([order()], expires_ms=START + 15_000), vault="0x" + "CD" * 20)
    assert request.vault_address == VAULT
    assert request.expires_after == START + 15_000


PRICES = st.integers(1, 10**8).map(lambda n: str(Decimal(n).scaleb(-3)))
SIZES = st.integers(1, 10**9).map(lambda n: str(Decimal(n).scaleb(-5)))
ORDERS = st.lists(
    st.builds(
        order,
        st.integers(0, 2**128 - 1).map(lambda n: f"0x{n:032x}"),
        st.sampled_from(["BTC", "ETH", "kPEPE"]),
        st.booleans(),
        SIZES,
        PRICES,
        st.sampled_from(list(TimeInForce)),
        st.booleans(),
        st.none()
        | st.builds(
            lambda price, stop, market: Trigger(price=Decimal(price), is_stop=stop, is_market=market),
            PRICES,
            st.booleans(),
            st.booleans(),
        ),
    ),
    min_size=1,
    max_size=4,
)


@given(orders=ORDERS, grouping=st.sampled_from(list(c.Grouping)), expires=st.none() | st.integers(START, START + 10**6))
def test_both_clients_send_the_same_action_under_the_same_signature(
    orders: list[c.OrderRequest], grouping: c.Grouping, expires: int | None
) -> None:
    call: Call = lambda v: v.place(orders, grouping=grouping, expires_ms=expires)  # noqa: E731
    first, second = (posted(build, call) for build in ("own", "baseline"))
    assert first.action == second.action
    assert int(first.signature.r, 16) == int(second.signature.r, 16)
    assert int(first.signature.s, 16) == int(second.signature.s, 16)
    assert first.signature.v == second.signature.v


def ok(*statuses: Any, kind: str = "order") -> dict[str, Any]:
    return {"status": "ok", "response": {"type": kind, "data": {"statuses": list(statuses)}}}


def err(text: str) -> dict[str, Any]:
    return {"status": "err", "response": text}


RESTING = {"resting": {"oid": 77738308, "cloid": CLOID}}
FILLED = {"filled": {"totalSz": "0.02", "avgPx": "1891.4", "oid": 77747314}}
SMALL = "Order must have minimum value of $10. asset=4"
GONE = "Order was never placed, already canceled, or filled. asset=0"
BAD_SIGNATURE = "Unable to recover signer."
EXPIRED = "Action already expired"

ANSWERED: list[tuple[str, int, Step, list[Any]]] = [
    ("resting", 1, ok(RESTING), [c.Resting(77738308)]),
    ("filled", 1, ok(FILLED), [c.Filled(77747314, Decimal("0.02"), Decimal("1891.4"))]),
    ("children wait", 2, ok(RESTING, "waitingForFill"), [c.Resting(77738308), c.Waiting("waitingForFill")]),
    ("child armed", 2, ok(FILLED, "waitingForTrigger"), [c.Filled, c.Waiting("waitingForTrigger")]),
    ("one refused", 2, ok(RESTING, {"error": SMALL}), [c.Resting, c.Rejected(ErrorCode.MIN_TRADE_NTL, SMALL)]),
    ("one error for all", 3, ok({"error": SMALL}), [c.Rejected(ErrorCode.MIN_TRADE_NTL, SMALL)] * 3),
    ("action refused", 2, err(EXPIRED), [c.Rejected(ErrorCode.EXPIRED, EXPIRED)] * 2),
    ("unknown words", 1, err("The moon is full"), [c.Rejected(ErrorCode.UNKNOWN, "The moon is full")]),
    ("unread by the venue", 1, Answer(422, b"Failed to deserialize"), [c.Rejected]),
    ("too few statuses", 3, ok(RESTING, RESTING), [c.Unknown] * 3),
    ("one good status for two", 2, ok(RESTING), [c.Unknown] * 2),
    ("no statuses", 1, {"status": "ok", "response": {"type": "default"}}, [c.Unknown]),
    ("a status that is new", 1, ok("somethingElse"), [c.Unknown]),
    ("a fill of no number", 1, ok({"filled": {"totalSz": "NaN", "avgPx": "1", "oid": 1}}), [c.Unknown]),
    ("neither ok nor err", 1, {"status": "perhaps", "response": "?"}, [c.Unknown]),
    ("html", 1, Answer(502, HTML), [c.Unknown]),
    ("html with 200", 1, Answer(200, HTML), [c.Unknown]),
    ("503", 1, Answer(503, b""), [c.Unknown]),
    ("429 null", 1, Answer(429, b"null"), [c.Unknown]),
    ("forbidden by a proxy", 1, Answer(403, HTML), [c.Unknown]),
    ("redirected", 1, Answer(307, b""), [c.Unknown]),
    ("garbage", 1, Answer(200, b"\xff\x00{"), [c.Unknown]),
    ("empty", 1, Answer(200, b""), [c.Unknown]),
    ("null", 1, Answer(200, b"null"), [c.Unknown]),
    ("no answer", 2, TransportError("no answer within 10 s", sent=True), [c.Unknown("no answer within 10 s")] * 2),
    ("never left", 2, TransportError("cannot reach it", sent=False), [c.NotSent("cannot reach it")] * 2),
]


def agrees(got: Any, meant: Any) -> bool:
    return isinstance(got, meant) if isinstance(meant, type) else bool(got == meant)


@pytest.mark.parametrize(("count", "step", "acks"), [r[1:] for r in ANSWERED], ids=[r[0] for r in ANSWERED])
def test_S11_each_answer_to_orders_means_the_same_and_is_asked_for_once(
    build: str, count: int, step: Step, acks: list[Any]
) -> None:
    cloids = [f"0x{n:032x}" for n in range(count)]
    got, posts = play(build, lambda v: v.place([order(cloid) for cloid in cloids]), step)
    assert len(got) == count
    assert all(agrees(one, meant) for one, meant in zip(got, acks, strict=True)), got
    assert len(posts) == 1
    assert [wire["c"] for wire in posts[0][1]["action"]["orders"]] == cloids


CANCELED: list[tuple[str, Step, list[Any]]] = [
    ("both", ok("success", "success", kind="cancel"), [c.Canceled(), c.Canceled()]),
    ("one was gone", ok("success", {"error": GONE}, kind="cancel"), [c.Canceled(), c.AlreadyGone()]),
    ("another refusal", ok({"error": SMALL}, "success", kind="cancel"), [c.Rejected, c.Canceled()]),
    ("one error for all", ok({"error": GONE}, kind="cancel"), [c.AlreadyGone(), c.AlreadyGone()]),
    ("action refused", err(BAD_SIGNATURE), [c.Rejected(ErrorCode.BAD_SIGNATURE, BAD_SIGNATURE)] * 2),
    ("html", Answer(502, HTML), [c.Unknown, c.Unknown]),
    ("one for two", ok("success", kind="cancel"), [c.Unknown, c.Unknown]),
    ("never left", TransportError("x", sent=False), [c.NotSent("x")] * 2),
    ("no answer", TransportError("x", sent=True), [c.Unknown("x")] * 2),
]


@pytest.mark.parametrize(("step", "acks"), [row[1:] for row in CANCELED], ids=[row[0] for row in CANCELED])
def test_each_answer_to_cancels_means_the_same(build: str, step: Step, acks: list[Any]) -> None:
    by_cloid: Call = lambda v: v.cancel([("BTC", CLOID), ("BTC", OTHER)])  # noqa: E731
    by_oid: Call = lambda v: v.cancel_oids([("BTC", 1), ("BTC", 2)])  # noqa: E731
    for call in (by_cloid, by_oid):
        got, posts = play(build, call, step)
        assert all(agrees(one, meant) for one, meant in zip(got, acks, strict=True)), got
        assert len(posts) == 1


MODIFY_REFUSAL = "Cannot modify canceled or filled order"
MODIFY_GONE = {**ok({"error": MODIFY_REFUSAL}), "status": "err"}
SINGLE: list[tuple[str, Call, Step, Any]] = [
    ("modified", lambda v: v.modify(CLOID, order()), ok(RESTING), c.Resting(77738308)),
    ("modify refused with a body", lambda v: v.modify(CLOID, order()), MODIFY_GONE, c.Rejected),
    ("modify without an answer", lambda v: v.modify(CLOID, order()), TransportError("x", sent=True), c.Unknown("x")),
    ("modify answered by html", lambda v: v.modify(CLOID, order()), Answer(504, HTML), c.Unknown),
    (
        "leverage set",
        lambda v: v.set_leverage("BTC", 3),
        {"status": "ok", "response": {"type": "default"}},
        c.LeverageSet(3),
    ),
    ("leverage refused", lambda v: v.set_leverage("BTC", 3), err("Invalid leverage value"), c.Rejected),
    ("leverage never left", lambda v: v.set_leverage("BTC", 3), TransportError("x", sent=False), c.NotSent("x")),
    ("leverage unknown", lambda v: v.set_leverage("BTC", 3), Answer(500, b""), c.Unknown),
]


@pytest.mark.parametrize(("call", "step", "ack"), [row[1:] for row in SINGLE], ids=[row[0] for row in SINGLE])
def test_each_answer_to_a_modify_or_a_leverage_means_the_same(build: str, call: Call, step: Step, ack: Any) -> None:
    got, posts = play(build, call, step)
    assert agrees(got, ack), got
    assert len(posts) == 1


def test_an_empty_action_is_not_sent(build: str) -> None:
    for call in (lambda v: v.place([]), lambda v: v.cancel([]), lambda v: v.cancel_oids([])):
        assert play(build, call) == ([], [])


@pytest.mark.parametrize(
    "bad",
    [
        order(symbol="DOGE"),
        order(size="0.000000001"),
        order(price="NaN"),
        order(trigger=Trigger(price=Decimal("Infinity"), is_stop=True)),
    ],
)
def test_S13_an_order_that_cannot_be_written_or_has_no_index_is_never_sent(build: str, bad: c.OrderRequest) -> None:
    got, posts = play(build, lambda v: v.place([order(), bad]))
    assert isinstance(got, PerpsTraderError)
    assert posts == []


UNUSABLE: list[tuple[str, Step]] = [
    ("html", Answer(502, HTML)),
    ("html with 200", Answer(200, HTML)),
    ("429", Answer(429, b"null")),
    ("garbage", Answer(200, b"\xff")),
    ("another shape", {"x": 1}),
    ("a text", "what?"),
    ("empty", Answer(200, b"")),
    ("no answer", TransportError("x", sent=True)),
    ("not sent", TransportError("x", sent=False)),
]
READS: list[tuple[str, Call]] = [
    ("metadata", lambda v: v.metadata()),
    ("contexts", lambda v: v.contexts()),
    ("mids", lambda v: v.mids()),
    ("book", lambda v: v.book("BTC")),
    ("candles", lambda v: v.candles("BTC", "1m", 0, 1)),
    ("account", lambda v: v.account()),
    ("role", lambda v: v.role(SIGNER)),
    ("agents", lambda v: v.agents(SIGNER)),
    ("open", lambda v: v.open_orders()),
    ("order", lambda v: v.order(CLOID)),
    ("fills", lambda v: v.fills(0)),
    ("funding", lambda v: v.funding(0)),
    ("flows", lambda v: v.cash_flows(0)),
    ("leverage", lambda v: v.leverage("BTC")),
    ("budget", lambda v: v.rate_limit()),
    ("time", lambda v: v.venue_time_ms()),
]


@pytest.mark.parametrize("step", [row[1] for row in UNUSABLE], ids=[row[0] for row in UNUSABLE])
@pytest.mark.parametrize("call", [row[1] for row in READS], ids=[row[0] for row in READS])
def test_a_read_without_a_usable_answer_raises_a_venue_error_and_is_not_repeated(
    build: str, call: Call, step: Step
) -> None:
    got, posts = play(build, call, step)
    assert isinstance(got, VenueError), got
    assert len(posts) == 1


def ledger_row(kind: str) -> dict[str, Any]:
    return {"time": 1, "hash": "0x", "delta": {"type": kind}}


NOT_NUMBERS: list[tuple[str, Call, Step]] = [
    ("book", lambda v: v.book("BTC"), {"coin": "BTC", "time": 1, "levels": [[{"px": "NaN", "sz": "1", "n": 1}], []]}),
    ("mids", lambda v: v.mids(), {"BTC": "Infinity"}),
    ("contexts of another length", lambda v: v.contexts(), [META, []]),
    ("a ledger row of an unknown kind", lambda v: v.cash_flows(0), [ledger_row("moon")]),
    ("a ledger row without its amount", lambda v: v.cash_flows(0), [ledger_row("deposit")]),
]


@pytest.mark.parametrize(("call", "step"), [r[1:] for r in NOT_NUMBERS], ids=[r[0] for r in NOT_NUMBERS])
def test_an_answer_that_decodes_but_cannot_be_believed_is_a_venue_error(build: str, call: Call, step: Step) -> None:
    got, _ = play(build, call, step)
    assert isinstance(got, VenueError), got


def wire_fill(tid: int, time_ms: int) -> dict[str, Any]:
    return {
        "coin": "BTC",
        "px": "64000.0",
        "sz": "0.01",
        "side": "B",
        "time": time_ms,
        "startPosition": "0.0",
        "dir": "Open Long",
        "closedPnl": "0.0",
        "hash": "0x",
        "oid": 77,
        "crossed": True,
        "fee": "0.1",
        "tid": tid,
    }


def test_pages_of_fills_overlap_by_one_instant_and_are_joined(build: str) -> None:
    first = [wire_fill(tid, 1_000 + tid // 2) for tid in range(2_000)]
    second = [*first[-2:], wire_fill(5_000, 9_000)]
    got, posts = play(build, lambda v: v.fills(500), first[::-1], second)
    assert [fill.tid for fill in got] == [*range(2_000), 5_000]
    assert [body["startTime"] for _, body in posts] == [500, first[-1]["time"]]


def test_more_rows_at_one_instant_than_fit_a_page_are_an_error_and_no_endless_loop(build: str) -> None:
    page: list[Any] = [wire_fill(tid, 1_000) for tid in range(2_000)]
    got, posts = play(build, lambda v: v.fills(500), page, page)
    assert isinstance(got, VenueError)
    assert len(posts) == 2


def test_pages_of_the_ledger_are_joined_too(build: str) -> None:
    rows: list[Any] = [
        {"time": 1_000 + n, "hash": f"0x{n}", "delta": {"type": "deposit", "usdc": "1.0"}} for n in range(500)
    ]
    more = {"time": 2_000, "hash": "0xlast", "delta": {"type": "withdraw", "usdc": "5.0", "fee": "1.0"}}
    got, posts = play(build, lambda v: v.cash_flows(0), rows, [rows[-1], more])
    assert sum(flow.usd for flow in got) == Decimal(494)
    assert len(got) == 501
    assert len(posts) == 2


def test_a_book_older_than_our_clock_says_nothing_of_the_venues_clock(build: str) -> None:
    async def call(client: Any) -> int:
        await client.book("BTC")
        return int(client.venue_clock.now_ms())

    stale = {"coin": "BTC", "time": START + 60_000, "levels": [[], []]}
    assert play(build, call, stale)[0] == START


def test_a_bar_that_is_still_open_is_not_among_the_closed_ones(build: str) -> None:
    def wire(open_ms: int) -> dict[str, Any]:
        return {
            "t": open_ms,
            "T": open_ms + 59_999,
            "s": "BTC",
            "i": "1m",
            "o": "1",
            "c": "1",
            "h": "1",
            "l": "1",
            "v": "1",
            "n": 1,
        }

    got, _ = play(build, lambda v: v.candles("BTC", "1m", 0, START), [wire(START - 60_000), wire(START)])
    assert [bar.open_ms for bar in got] == [START - 60_000]
