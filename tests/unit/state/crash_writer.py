"""A process that changes a store and tells each change only after the store has answered; made to be killed.

Arguments: the file, the first number to use, and ``early`` for the mutant that tells a change before its commit and
dies there.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from decimal import Decimal
from pathlib import Path

from tests.unit.state.state_samples import epochs, fill, halt, intent, opened, order

from perpstrader.domain import HaltKind
from perpstrader.runtime.executor import ThreadedExecutor
from perpstrader.state import Transaction


def _change(tx: Transaction, step: int) -> str:
    kind = step % 4
    if kind == 0:
        one = intent(tx.intents.next_number(), signal_id=f"s{step}")
        tx.intents.add(one)
        tx.intents.put_order(order(one))
        return f"intent {one.number}"
    if kind == 1:
        tx.halts.activate(halt(since_ms=step))
        return f"halt {step}"
    if kind == 2:
        tx.ledger.add_fill(fill(step), Decimal("-0.045"))
        return f"fill {step}"
    tx.halts.release(HaltKind.OPERATOR, "anna", "checked", step)
    return f"release {step}"


def _tell(line: str) -> None:
    os.write(1, f"{line}\n".encode())


async def _main(path: Path, first: int, early: bool) -> None:
    store = await opened(path, executor=ThreadedExecutor("state"), new_epoch=epochs())

    def change(tx: Transaction, step: int) -> str:
        line = _change(tx, step)
        if early:
            _tell(line)
            os.kill(os.getpid(), signal.SIGKILL)
        return line

    # A halt that the last process left in force would make the next one no news.
    await store.transact(lambda tx: tx.halts.release(HaltKind.OPERATOR, "anna", "a new start", first))
    step = first
    while True:
        _tell(await store.transact(lambda tx, now=step: change(tx, now)))
        step += 1


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:] == ["early"]))
