"""The monitor in the OpenMetrics text format, version 1.0.0, for Prometheus and whatever reads what it reads.

Three families whatever is measured, so that no name can break the format: durations as histograms in seconds with
``stage`` and ``outcome``, counts and levels with ``name``. Bucket edges are one nanosecond below a power of two, where
the histogram's own buckets end, so that every bucket's count is exact.
"""

from __future__ import annotations

from typing import Final

from perpstrader.monitor.histogram import Histogram
from perpstrader.monitor.monitor import PerformanceMonitor

CONTENT_TYPE: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_FIRST_POWER: Final = 10
_LAST_POWER: Final = 37
"""From a microsecond to two minutes."""
_EDGES: Final = tuple(f"{((1 << power) - 1) / 1e9!r}" for power in range(_FIRST_POWER, _LAST_POWER + 1))
_STAGE: Final = "perpstrader_stage_seconds"
_EVENTS: Final = "perpstrader_events"
_LEVEL: Final = "perpstrader_level"


def openmetrics(monitor: PerformanceMonitor) -> str:
    """Everything that the monitor has counted, ending in ``# EOF``; reading changes nothing."""
    lines = [
        f"# TYPE {_STAGE} histogram",
        f"# UNIT {_STAGE} seconds",
        f"# HELP {_STAGE} How long each stage took, by outcome.",
    ]
    for timer in monitor.timers():
        for outcome, histogram in (("ok", timer.succeeded), ("error", timer.failed)):
            lines += _histogram(f'stage="{_escaped(timer.name)}",outcome="{outcome}"', histogram)
    snapshot = monitor.snapshot()
    lines += [f"# TYPE {_EVENTS} counter", f"# HELP {_EVENTS} How often something happened since the start."]
    lines += [f'{_EVENTS}_total{{name="{_escaped(name)}"}} {value}' for name, value in snapshot.counters.items()]
    lines += [f"# TYPE {_LEVEL} gauge", f"# HELP {_LEVEL} What something is now."]
    lines += [f'{_LEVEL}{{name="{_escaped(name)}"}} {float(value)!r}' for name, value in snapshot.gauges.items()]
    return "\n".join([*lines, "# EOF", ""])


def _histogram(labels: str, histogram: Histogram) -> list[str]:
    counts = histogram.count_below_powers(_FIRST_POWER, _LAST_POWER)
    lines = [f'{_STAGE}_bucket{{{labels},le="{edge}"}} {count}' for edge, count in zip(_EDGES, counts, strict=True)]
    return [
        *lines,
        f'{_STAGE}_bucket{{{labels},le="+Inf"}} {histogram.count}',
        f"{_STAGE}_count{{{labels}}} {histogram.count}",
        f"{_STAGE}_sum{{{labels}}} {histogram.total_ns / 1e9!r}",
    ]


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
