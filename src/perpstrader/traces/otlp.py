"""Decisions as OpenTelemetry spans, in the JSON of the OTLP file exporter: one ``resourceSpans`` object a line.

A decision is a span from its acceptance to its outcome (or last step), its steps are the events, what was wanted and
said the attributes; ids are derived from the trace's own, so that an export made again gives the same spans. See
https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from perpstrader.domain.traces import Trace
from perpstrader.traces.schema import summary_values

_NS: Final = 1_000_000
_INTERNAL: Final = 1
_ERROR: Final = 2
_SHOWN: Final = (
    "symbol", "interval", "strategy", "regime", "action", "side", "verdict", "reason", "executed", "confidence",
    "risk_score", "episode", "outcome_usd",
)  # fmt: skip


def resource_spans(traces: Sequence[Trace], version: str) -> bytes:
    """One line (without its end) for these traces."""
    resource = {"attributes": [_attribute("service.name", "perpstrader"), _attribute("service.version", version)]}
    scope = {"name": "perpstrader.traces", "version": version}
    scoped = {"scope": scope, "spans": [_span(trace) for trace in traces]}
    return msgspec.json.encode({"resourceSpans": [{"resource": resource, "scopeSpans": [scoped]}]})


def _span(trace: Trace) -> dict[str, Any]:
    digest = hashlib.sha256(trace.id.encode()).hexdigest()
    times = [trace.accepted_ms, *(step.time_ms for step in trace.steps)]
    end_ms = max(times if trace.outcome_ms is None else [*times, trace.outcome_ms])
    values = summary_values(trace)._asdict() | {"executed": trace.led_to_order}
    attributes = [_attribute("id", trace.id)]
    attributes += [_attribute(name, values[name]) for name in _SHOWN if values[name] not in ("", None)]
    return {
        "traceId": digest[:32],
        "spanId": digest[32:48],
        "name": " ".join(word for word in (trace.kind.value, trace.symbol) if word),
        "kind": _INTERNAL,
        "startTimeUnixNano": str(trace.accepted_ms * _NS),
        "endTimeUnixNano": str(end_ms * _NS),
        "attributes": attributes,
        "events": [{"timeUnixNano": str(step.time_ms * _NS), "name": step.text} for step in trace.steps],
        "status": {"code": _ERROR, "message": trace.errors[0]} if trace.errors else {},
    }


def _attribute(name: str, value: object) -> dict[str, Any]:
    if isinstance(value, bool):
        typed: dict[str, Any] = {"boolValue": value}
    elif isinstance(value, int):
        typed = {"intValue": str(value)}
    elif isinstance(value, float):
        typed = {"doubleValue": value}
    else:
        typed = {"stringValue": str(value)}
    return {"key": name if name.startswith("service.") else f"perpstrader.{name}", "value": typed}
