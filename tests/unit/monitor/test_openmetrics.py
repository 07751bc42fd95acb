"""The OpenMetrics text: well-formed whatever the names, and right to the call."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from perpstrader.monitor import PerformanceMonitor, openmetrics
from perpstrader.runtime import SystemClock

SAMPLE = re.compile(r'^([a-z_]+)\{((?:[a-z_]+="(?:[^"\\\n]|\\\\|\\"|\\n)*",?)+)\} (\S+)$')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample by name and labels; asserts that there is no other kind of line and no sample twice."""
    *lines, end, nothing = text.split("\n")
    assert (end, nothing) == ("# EOF", "")
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for line in lines:
        if not line.startswith("# "):
            matched = SAMPLE.match(line)
            assert matched is not None, line
            key = (matched[1], tuple(LABEL.findall(matched[2])))
            assert key not in found
            found[key] = float(matched[3])
    return found


@given(st.lists(st.integers(0, 10**12), max_size=30), st.lists(st.integers(0, 10**12), max_size=5))
def test_buckets_count_exactly_what_took_no_longer_than_their_edge(good: list[int], bad: list[int]) -> None:
    monitor = PerformanceMonitor(SystemClock())
    monitor.timer("a")
    for ok, values in ((True, good), (False, bad)):
        for value in values:
            monitor.timer("a").record(value, ok=ok)
    found = samples(openmetrics(monitor))
    for outcome, values in (("ok", good), ("error", bad)):
        labels = (("stage", "a"), ("outcome", outcome))
        assert found["perpstrader_stage_seconds_count", labels] == len(values)
        assert found["perpstrader_stage_seconds_sum", labels] == sum(values) / 1e9
        edges = {key[1][2][1]: n for key, n in found.items() if key[0].endswith("_bucket") and key[1][:2] == labels}
        assert edges.pop("+Inf") == len(values)
        for edge, count in edges.items():
            assert count == sum(value / 1e9 <= float(edge) for value in values)
        assert list(edges.values()) == sorted(edges.values())


@given(st.lists(st.text(max_size=12), min_size=1, max_size=5, unique=True))
def test_no_name_breaks_the_format(names: list[str]) -> None:
    monitor = PerformanceMonitor(SystemClock())
    for name in names:
        monitor.timer(name).record(1)
        monitor.counter(name).add(2)
        monitor.gauge(name).set(0.5)
    found = samples(openmetrics(monitor))
    assert sum(key[0] == "perpstrader_events_total" for key in found) == len(names)


def test_a_line_break_in_a_name_is_escaped() -> None:
    monitor = PerformanceMonitor(SystemClock())
    monitor.counter('a\n"b"\\').add(2)
    assert 'perpstrader_events_total{name="a\\n\\"b\\"\\\\"} 2' in openmetrics(monitor).splitlines()


def test_each_family_is_declared_once_before_its_samples() -> None:
    monitor = PerformanceMonitor(SystemClock())
    monitor.timer("a").record(1)
    monitor.counter("c").add()
    monitor.gauge("g").set(1)
    lines = openmetrics(monitor).splitlines()
    declared = [line.split()[2:] for line in lines if line.startswith("# TYPE")]
    assert declared == [
        ["perpstrader_stage_seconds", "histogram"], ["perpstrader_events", "counter"], ["perpstrader_level", "gauge"],
    ]  # fmt: skip
    for name, _ in declared:
        first = next(n for n, line in enumerate(lines) if line.startswith(name))
        assert lines.index(next(line for line in lines if line.startswith(f"# TYPE {name} "))) < first
