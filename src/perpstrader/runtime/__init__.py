"""The only door to time, chance, threads and the network."""

from perpstrader.runtime.clock import Clock, SystemClock, sleep_until_ms
from perpstrader.runtime.detached import DetachedExecutor
from perpstrader.runtime.executor import Executor, InlineExecutor, ThreadedExecutor
from perpstrader.runtime.lock import AccountLock, lock_holder
from perpstrader.runtime.loop import Deadlock, VirtualClock, VirtualLoop, run_virtual
from perpstrader.runtime.tasks import Heartbeat, Supervisor
from perpstrader.runtime.transport import Answer, CloseHandler, FrameHandler, Socket, Transport, TransportError

__all__ = [
    "AccountLock",
    "Answer",
    "Clock",
    "CloseHandler",
    "Deadlock",
    "DetachedExecutor",
    "Executor",
    "FrameHandler",
    "Heartbeat",
    "InlineExecutor",
    "Socket",
    "Supervisor",
    "SystemClock",
    "ThreadedExecutor",
    "Transport",
    "TransportError",
    "VirtualClock",
    "VirtualLoop",
    "lock_holder",
    "run_virtual",
    "sleep_until_ms",
]
