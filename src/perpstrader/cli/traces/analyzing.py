"""``perpstrader traces analyze``: the daily analysis, of all that nobody has analysed yet."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable
from pathlib import Path

from perpstrader.cli.options import Config, DataDir, Json, place
from perpstrader.cli.output import print_json
from perpstrader.cli.progress import progress_bar
from perpstrader.cli.traces.record import Bot, Replay, StoreAt, record_of, with_store
from perpstrader.domain.wording import plural
from perpstrader.runtime import SystemClock
from perpstrader.traces import analyst
from perpstrader.traces.contract import TraceStore


def analyze(
    replay: Replay = None,
    store_at: StoreAt = None,
    bot: Bot = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Write the analysis of each day that has new decisions or outcomes: `analysis/<day>.md` and `.json`.

    May run at any time, beside a trader, twice, or several at once: each decision is taken by one of them. Of a shared
    record it is `analysis-shared`, in the data directory of this machine.
    """
    path = record_of(data_dir, config, replay, store_at, bot)
    folder = path.parent / "analysis" if isinstance(path, Path) else place(data_dir, config) / "analysis-shared"
    name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"

    async def work(store: TraceStore, told: Callable[[float], None] | None) -> analyst.Analysed:
        total = max(1, (await store.stats()).unanalyzed)
        progress = None if told is None else lambda done: told(min(1.0, done / total))
        return await analyst.run(store, folder, SystemClock(), by=name, progress=progress)

    with progress_bar("analysing", quiet=as_json) as told:
        done = with_store(path, lambda store: work(store, told), read_only=False)
    if as_json:
        print_json({"traces": done.traces, "days": done.days, "held": done.held, "folder": str(folder)})
        return
    print(f"analysed: {plural(done.traces, 'decision')}; written to {folder}: {plural(len(done.days), 'day')}")
    for day in done.days:
        print(f"  {folder / day}.md")
    if done.held:
        wait_s = analyst.LEASE_MS // 1000
        print(f"{done.held} more came meanwhile or are held by another analysis; run it again in {wait_s} s")
