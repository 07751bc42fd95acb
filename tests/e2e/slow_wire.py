"""A wire with a delay between a trader and an exchange; what is under way arrives, even when its sender has died."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random


class SlowWire:
    """Forwards TCP connections to a port; a piece takes ``quick_s`` to twice as long, and ``late_s`` on top."""

    def __init__(self, target: int, rng: Random, quick_s: float = 0.004) -> None:
        self.late_s = 0.0
        self.port = 0
        self._target, self._rng, self._quick_s = target, rng, quick_s
        self._up, self._end = threading.Event(), asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._links: set[asyncio.Task[None]] = set()

    def run(self) -> None:
        """Serve until ``close``; the body of a thread."""
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    def wait(self) -> None:
        """Until the port is open."""
        assert self._up.wait(30)

    def close(self) -> None:
        """End the service; from any thread."""
        self._loop.call_soon_threadsafe(self._end.set)

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._link, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._up.set()
        await self._end.wait()
        server.close()
        links = list(self._links)
        for link in links:
            link.cancel()
        await asyncio.gather(*links, return_exceptions=True)

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target)
        for source, sink in ((reader, there_writer), (there_reader, writer)):
            link = asyncio.ensure_future(self._carry(source, sink))
            self._links.add(link)
            link.add_done_callback(self._links.discard)

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """In order: a piece waits for those before it."""
        try:
            while piece := await source.read(65_536):
                await asyncio.sleep(self._rng.uniform(1, 2) * self._quick_s + self.late_s)
                sink.write(piece)
                await sink.drain()
        except OSError:
            pass
        finally:
            sink.close()


@contextmanager
def slow_wire(target: int, rng: Random) -> Iterator[SlowWire]:
    """A delayed way to a port of this machine."""
    wire = SlowWire(target, rng)
    thread = threading.Thread(target=wire.run, name="slow-wire")
    thread.start()
    wire.wait()
    try:
        yield wire
    finally:
        wire.close()
        thread.join()
