"""Measuring: one monitor a process, times and outcomes of every stage, bounded memory, reads that change nothing."""

from perpstrader.monitor.figures import (
    ActiveMeasure,
    Figures,
    Measure,
    PerformanceReport,
    PerformanceSnapshot,
)
from perpstrader.monitor.histogram import Histogram
from perpstrader.monitor.monitor import Counter, Gauge, PerformanceMonitor, Scope, Timer
from perpstrader.monitor.openmetrics import openmetrics
from perpstrader.monitor.stages import Stages
from perpstrader.monitor.transport import MeasuredTransport

__all__ = [
    "ActiveMeasure",
    "Counter",
    "Figures",
    "Gauge",
    "Histogram",
    "MeasuredTransport",
    "Measure",
    "PerformanceMonitor",
    "PerformanceReport",
    "PerformanceSnapshot",
    "Scope",
    "Stages",
    "Timer",
    "openmetrics",
]
