"""Several callers in one signed action: each is told its own outcome, and only what may wait is gathered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.unit.venue.scripted import ACCOUNT, CLOID, KEY, META, order

from perpstrader.domain import PerpsTraderError, TimeInForce, Trigger
from perpstrader.runtime import Answer, CloseHandler, FrameHandler, Socket, TransportError, VirtualClock, run_virtual
from perpstrader.settings import load
from perpstrader.trader.account import Identity
from perpstrader.trader.clients import make_client
from perpstrader.venue import HyperliquidClient, NonceSource, Signer, WireEncoder
from perpstrader.venue import contract as c
from perpstrader.venue.coalescing import ALONE_MS, MAX_PARTS
from perpstrader.venue.wire.errors import ErrorClass, ErrorCode, error_class

START = 1_700_000_000_000
WINDOW_MS = 5
TICK = "Price must be divisible by tick size."
ALO = TimeInForce.ALO

Reply = Callable[[dict[str, Any]], Any]


class Wire:
    """Answers every action after ``delay_s`` as ``reply`` says; by default each order rests and each cancel is done."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.actions: list[dict[str, Any]] = []
        self.bodies: list[dict[str, Any]] = []
        self.delay_s = 0.02
        self.reply: Reply = each

    async def post(self, path: str, body: bytes, *, timeout_s: float) -> Answer:
        if path == "/info":
            return Answer(200, json.dumps(META).encode())
        self.bodies.append(json.loads(body))
        action = self.bodies[-1]["action"]
        self.actions.append(action)
        await self._clock.sleep(self.delay_s)
        said = self.reply(action)
        if isinstance(said, TransportError):
            raise said
        return said if isinstance(said, Answer) else Answer(200, json.dumps(said).encode())

    async def open_socket(self, on_frame: FrameHandler, on_close: CloseHandler) -> Socket:
        raise AssertionError("nobody opens a socket here")

    async def close(self) -> None: ...


def statuses(*each: Any, kind: str = "order") -> dict[str, Any]:
    return {"status": "ok", "response": {"type": kind, "data": {"statuses": list(each)}}}


def each(action: dict[str, Any]) -> Any:
    """Oids are the last digits of the cloids, so that a mixed-up answer shows."""
    if "orders" in action:
        return statuses(*({"resting": {"oid": number(wire["c"])}} for wire in action["orders"]))
    return statuses(*("success" for _ in action["cancels"]), kind="cancel")


def cloid(n: int) -> str:
    return f"0x{n:032x}"


def number(text: str) -> int:
    return int(text, 16)


Story = Callable[[HyperliquidClient, Wire, VirtualClock], Coroutine[Any, Any, Any]]


def play(story: Story, window_ms: int = WINDOW_MS) -> Any:
    async def main(clock: VirtualClock) -> Any:
        wire = Wire(clock)
        encoder = WireEncoder(Signer(KEY, mainnet=False))
        nonces = NonceSource(clock, 0, lambda mark: None)
        client = HyperliquidClient(wire, clock, encoder, nonces, account=ACCOUNT, coalesce_ms=window_ms)
        await client.metadata()
        result = await story(client, wire, clock)
        await client.close()
        return result

    return run_virtual(main, start_ms=START)


def test_entries_of_several_callers_go_out_as_one_action_and_each_is_told_its_own() -> None:
    async def story(client: HyperliquidClient, wire: Wire, clock: VirtualClock) -> None:
        acks = await asyncio.gather(*(client.place([order(cloid(n)), order(cloid(n + 100))]) for n in range(1, 6)))
        assert [list(ack) for ack in acks] == [[c.Resting(n), c.Resting(n + 100)] for n in range(1, 6)]
        assert len(wire.actions) == 1
        assert (client.entries.sent, client.entries.joined) == (1, 5)
        assert clock.now_ms() - START == WINDOW_MS + 20

    play(story)


def test_a_window_of_zero_sends_each_at_once() -> None:
    async def story(client: HyperliquidClient, wire: Wire, clock: VirtualClock) -> None:
        await asyncio.gather(*(client.place([order(cloid(n))]) for n in range(3)), client.cancel([("BTC", CLOID)]))
        assert len(wire.actions) == 4
        assert clock.now_ms() - START == 20

    play(story, window_ms=0)


STOP = Trigger(price=order().limit_price, is_stop=True)
ALONE: list[tuple[str, list[c.OrderRequest], c.Grouping]] = [
    ("an exit", [order(reduce_only=True)], c.Grouping.NONE),
    ("a stop", [order(reduce_only=True, trigger=STOP)], c.Grouping.NONE),
    ("an entry by trigger", [order(trigger=STOP)], c.Grouping.NONE),
    (
        "an entry with its stop",
        [order(), order(cloid(2), trigger=STOP, reduce_only=True)],
        c.Grouping.ENTRY_WITH_CHILDREN,
    ),
    ("an entry beside an exit", [order(), order(cloid(2), reduce_only=True)], c.Grouping.NONE),
    ("post-only beside another", [order(), order(cloid(2), tif=ALO)], c.Grouping.NONE),
    ("an order off tick", [order(price="64000.51")], c.Grouping.NONE),
    ("an order off lot", [order(size="0.0100001")], c.Grouping.NONE),
    ("an order below the minimum", [order(size="0.0001")], c.Grouping.NONE),
]


@pytest.mark.parametrize(("orders", "grouping"), [row[1:] for row in ALONE], ids=[row[0] for row in ALONE])
def test_S01_what_is_no_plain_entry_waits_for_nobody_and_shares_no_action(
    orders: list[c.OrderRequest], grouping: c.Grouping
) -> None:
    async def story(client: HyperliquidClient, wire: Wire, clock: VirtualClock) -> None:
        wire.reply = lambda action: statuses(*({"resting": {"oid": 1}} for _ in action["orders"]))
        entry = asyncio.create_task(client.place([order(cloid(9))]))
        await clock.sleep(0.001)
        await client.place(orders, grouping=grouping)
        assert clock.now_ms() - START == 21, "it left at once"
        await entry
        assert [len(action["orders"]) for action in wire.actions] == [len(orders), 1]

    play(story)


def test_post_only_entries_are_kept_apart_from_the_others() -> None:
    async def story(client: HyperliquidClient, wire: Wire, clock: VirtualClock) -> None:
        tifs = [TimeInForce.IOC, ALO, TimeInForce.GTC, ALO]
        await asyncio.gather(*(client.place([order(cloid(n), tif=tif)]) for n, tif in enumerate(tifs)))
        told = [[wire["t"]["limit"]["tif"] for wire in action["orders"]] for action in wire.actions]
        assert sorted(told) == [["Alo", "Alo"], ["Ioc", "Gtc"]]

    play(story)


def test_cancels_by_cloid_and_by_oid_are_gathered_each_among_themselves() -> None:
    async def story(client: HyperliquidClient, wire: Wire, clock: VirtualClock) -> None:
        acks = await asyncio.gather(
            client.cancel([("BTC", cloid(1))]), client.cancel_oids([("BTC", 7)]),
            client.cancel([("ETH", cloid(2)), ("ETH", cloid(3))]), client.cancel_oids([("ETH", 8)]),
            client.cancel([("BTC", cloid(4))], fast=True),
        )  # fmt: skip
        assert [len(ack) for ack in acks] == [1, 1, 2, 1, 1]
        told = {action["type"] + str("f" in action): len(action["cancels"]) for action in wire.actions}
        assert told == {"cancelByCloidFalse": 3, "cancelFalse": 2, "cancelByCloidTrue": 1}

    play(story)


def test_an_action_holds_no_more_than_weighs_one_and_a_full_one_leaves_at_once() -> None:
    async def story(client: HyperliquidClient, wire: Wire, clock: VirtualClock) -> None:
        pairs = (client.place([order(cloid(2 * n)), order(cloid(2 * n + 1))]) for n in range(30))
        await asyncio.gather(*pairs)
        sizes = [len(action["orders"]) for action in wire.actions]
        assert sum(sizes) == 60
        assert max(sizes) <= MAX_PARTS
        many = [(("BTC"), cloid(n)) for n in range(150)]
        assert len(await client.cancel(many)) == 150
        assert len(wire.actions[-1]["cancels"]) == 150

    play(story)


def test_S11_an_action_expires_with_the_tightest_of_its_orders_and_distant_ones_do_not_share() -> None:
    async def story(client: HyperliquidClient, wire: Wire, clock: VirtualClock) -> None:
        expiries = [START + 15_003, START + 15_000, None, START + 15_900, START + 17_500]
        await asyncio.gather(*(client.place([order(cloid(n))], expires_ms=at) for n, at in enumerate(expiries)))
        told = {tuple(number(o["c"]) for o in b["action"]["orders"]): b["expiresAfter"] for b in wire.bodies}
        assert told == {(0, 1): START + 15_000, (2,): None, (3,): START + 15_900, (4,): START + 17_500}

    play(story)


def test_a_cancelled_caller_takes_its_order_out_and_hurts_nobody() -> None:
    async def story(client: HyperliquidClient, wire: Wire, clock: VirtualClock) -> None:
        first, second, third = (asyncio.create_task(client.place([order(cloid(n))])) for n in (1, 2, 3))
        await clock.sleep(0.002)
        first.cancel()
        await clock.sleep(0.01)
        third.cancel()
        assert await second == [c.Resting(2)]
        assert [number(wire["c"]) for wire in wire.actions[0]["orders"]] == [2, 3], "the third had left already"
        assert first.cancelled()
        alone = asyncio.create_task(client.place([order(cloid(4))]))
        await clock.sleep(0.001)
        alone.cancel()
        await clock.sleep(1)
        assert len(wire.actions) == 1, "of an action that nobody wants nothing is sent"

    play(story)


def test_S13_an_order_that_must_not_go_out_is_told_to_its_caller_alone() -> None:
    async def story(client: HyperliquidClient, wire: Wire, clock: VirtualClock) -> None:
        good = asyncio.create_task(client.place([order(cloid(1))]))
        await clock.sleep(0.001)
        with pytest.raises(PerpsTraderError, match="DOGE"):
            await client.place([order(cloid(2), symbol="DOGE")])
        assert await good == [c.Resting(1)]
        assert len(wire.actions[0]["orders"]) == 1

    play(story)


def test_each_order_has_its_own_status() -> None:
    async def story(client: HyperliquidClient, wire: Wire, clock: VirtualClock) -> None:
        wire.reply = lambda action: statuses({"error": f"{TICK} asset=0"}, {"resting": {"oid": 2}})
        [bad], [good] = await asyncio.gather(*(client.place([order(cloid(n))]) for n in (1, 2)))
        assert bad == c.Rejected(ErrorCode.TICK, f"{TICK} asset=0")
        assert good == c.Resting(2)

    play(story)


def err(text: str) -> dict[str, Any]:
    return {"status": "err", "response": text}


WHOLE = [
    ("one status, of an asset", statuses({"error": f"{TICK} asset=1"}), [ErrorCode.SHARED_ACTION, ErrorCode.TICK]),
    ("one status, of nobody", statuses({"error": TICK}), [ErrorCode.SHARED_ACTION] * 2),
    ("the action, of an asset", err(f"{TICK} asset=1"), [ErrorCode.SHARED_ACTION, ErrorCode.TICK]),
    ("unknown words", err("The moon is full"), [ErrorCode.SHARED_ACTION] * 2),
    ("the signer", err("Unable to recover signer."), [ErrorCode.BAD_SIGNATURE] * 2),
    ("the expiry", err("Action already expired"), [ErrorCode.EXPIRED] * 2),
    ("the address", err("Too many cumulative requests sent (1 > 0)"), [ErrorCode.TOO_MANY_REQUESTS] * 2),
]  # fmt: skip


@pytest.mark.parametrize(("said", "codes"), [row[1:] for row in WHOLE], ids=[row[0] for row in WHOLE])
def test_S17_of_an_action_refused_as_a_whole_each_learns_what_is_true_of_its_own_and_nothing_is_sent_again(
    said: Any, codes: list[ErrorCode]
) -> None:
    async def story(client: HyperliquidClient, wire: Wire, clock: VirtualClock) -> None:
        wire.reply = lambda action: said
        [first], [second] = await asyncio.gather(
            client.place([order(cloid(1), symbol="BTC")]), client.place([order(cloid(2), symbol="ETH")])
        )
        assert isinstance(first, c.Rejected)
        assert isinstance(second, c.Rejected)
        assert [first.code, second.code] == codes
        assert error_class(ErrorCode.SHARED_ACTION) is ErrorClass.TRANSIENT
        await clock.sleep(1)
        assert len(wire.actions) == 1
        if ErrorCode.SHARED_ACTION in codes:
            wire.reply = each
            await asyncio.gather(client.place([order(cloid(3))]), client.place([order(cloid(4))]))
            assert len(wire.actions) == 3, "for a while each goes alone"
            await clock.sleep(ALONE_MS / 1000)
            await asyncio.gather(client.place([order(cloid(5))]), client.place([order(cloid(6))]))
            assert len(wire.actions) == 4

    play(story)


def test_S16_one_missing_order_for_several_cancels_says_nothing_of_each() -> None:
    async def story(client: HyperliquidClient, wire: Wire, clock: VirtualClock) -> None:
        gone = "Order was never placed, already canceled, or filled."
        wire.reply = lambda action: statuses({"error": gone}, kind="cancel")
        acks = await asyncio.gather(*(client.cancel([("BTC", cloid(n))]) for n in (1, 2)))
        assert [ack.code for [ack] in acks if isinstance(ack, c.Rejected)] == [ErrorCode.SHARED_ACTION] * 2
        [alone] = await client.cancel([("BTC", cloid(1))])
        assert alone == c.AlreadyGone()

    play(story)


LOST = [
    ("no answer", TransportError("no answer", sent=True), c.Unknown),
    ("never left", TransportError("refused", sent=False), c.NotSent),
    ("a page", Answer(502, b"<html>"), c.Unknown),
    ("too few statuses", statuses({"resting": {"oid": 1}}), c.Unknown),
]


@pytest.mark.parametrize(("said", "kind"), [row[1:] for row in LOST], ids=[row[0] for row in LOST])
def test_S11_without_a_usable_answer_the_outcome_of_each_is_unknown(said: Any, kind: type) -> None:
    async def story(client: HyperliquidClient, wire: Wire, clock: VirtualClock) -> None:
        wire.reply = lambda action: said
        acks = await asyncio.gather(*(client.place([order(cloid(n))]) for n in (1, 2)))
        assert [type(ack) for [ack] in acks] == [kind, kind]
        assert len(wire.actions) == 1

    play(story)


def test_S11_a_client_that_is_closed_tells_what_is_certain() -> None:
    async def story(client: HyperliquidClient, wire: Wire, clock: VirtualClock) -> None:
        wire.delay_s = 60
        left = asyncio.create_task(client.place([order(cloid(1))]))
        await clock.sleep(1)
        waiting = asyncio.create_task(client.place([order(cloid(2))]))
        await clock.sleep(0.001)
        await client.close()
        assert isinstance((await left)[0], c.Unknown)
        assert isinstance((await waiting)[0], c.NotSent)
        assert isinstance((await client.place([order(cloid(3))]))[0], c.NotSent)
        assert len(wire.actions) == 1

    play(story)


@pytest.mark.parametrize(("window_ms", "actions"), [(0, 3), (5, 1)])
def test_the_setting_says_how_long_entries_wait_for_company(window_ms: int, actions: int) -> None:
    async def main(clock: VirtualClock) -> int:
        wire = Wire(clock)
        client = make_client(
            load(None, {}, {"data.dir": "/nonexistent", "client.coalesce_window_ms": window_ms}),
            Identity(private_key=KEY, account=ACCOUNT), wire, clock, NonceSource(clock, 0, lambda mark: None),
            lambda kind, text: None,
        )  # fmt: skip
        await client.metadata()
        await asyncio.gather(*(client.place([order(cloid(n))]) for n in range(3)))
        return len(wire.actions)

    assert run_virtual(main, start_ms=START) == actions
