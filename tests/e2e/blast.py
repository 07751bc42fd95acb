"""A client process that sends signed actions over one WebSocket as fast as they are answered.

``python -m tests.e2e.blast URL ACTIONS CHUNK``: prints a line of JSON a chunk: {"done", "seconds", "refused"}. A chunk
is signed before its clock starts. Of ten actions eight are IOC orders that fill, one rests, one cancels that one.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import urllib.request
from collections.abc import Iterator

import aiohttp
import coincurve

from perpstrader.venue.wire import actions, exchange, signing, ws

KEY = coincurve.PrivateKey(b"\x05" * 32)
USER = signing.address_of(KEY)
IN_FLIGHT = 256
FUNDS_USD = "100000000"


def asked(url: str, path: str, body: object) -> object:
    request = urllib.request.Request(url + path, data=json.dumps(body).encode())
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
        return json.loads(answer.read())


def plan(mid: int, first: int, count: int) -> Iterator[actions.Action]:
    """The actions numbered from ``first``."""
    high, low = str(round(mid * 1.2)), str(round(mid * 0.8))
    for number in range(first, first + count):
        place, cloid = number % 10, f"0x{number // 10:032x}"
        if place == 8:
            yield actions.Order([actions.OrderWire(0, True, low, "0.001", False, actions.GTC, cloid)], "na")
        elif place == 9:
            yield actions.CancelByCloid([actions.CancelByCloidWire(0, cloid)])
        else:
            buys = place % 2 == 0
            price = high if buys else low
            yield actions.Order([actions.OrderWire(0, buys, price, "0.001", False, actions.IOC)], "na")


def signed(action: actions.Action, number: int, nonce: int) -> str:
    digest = signing.l1_digest(signing.action_hash(actions.pack(action), nonce, None, None), mainnet=False)
    posted = exchange.PostedRequest(action, nonce, signing.sign_digest(KEY, digest))
    return ws.action_post(number, posted).decode()


async def send(socket: aiohttp.ClientWebSocketResponse, frames: list[str]) -> int:
    """All frames, at most ``IN_FLIGHT`` of them unanswered; how many were refused."""
    room, refused, answered = asyncio.Semaphore(IN_FLIGHT), 0, 0

    async def listen() -> None:
        nonlocal refused, answered
        while answered < len(frames):
            text = await socket.receive_str()
            if '"channel":"post"' not in text:
                continue
            answered += 1
            refused += '"status":"ok"' not in text or '"error"' in text
            room.release()

    async with asyncio.TaskGroup() as group:
        group.create_task(listen())
        for frame in frames:
            await room.acquire()
            await socket.send_str(frame)
    return refused


async def main(url: str, total: int, chunk: int) -> None:
    asked(url, "/paper/fund", {"user": USER, "usd": FUNDS_USD})
    mid = round(float(asked(url, "/info", {"type": "allMids"})["BTC"]))  # type: ignore[index]
    nonce = time.time_ns() // 1_000_000
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}/ws") as socket:
        for first in range(0, total, chunk):
            count = min(chunk, total - first)
            numbered = enumerate(plan(mid, first, count), first)
            frames = [signed(action, number, nonce + number) for number, action in numbered]
            begin = time.perf_counter()
            refused = await send(socket, frames)
            print(json.dumps({"done": first + count, "seconds": time.perf_counter() - begin, "refused": refused}))
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
