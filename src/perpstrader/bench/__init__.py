"""Baseline against optimized, measured: right answers first, both arms in turn, the spread beside each ratio."""

from perpstrader.bench.rows import BenchReport, Result, Row
from perpstrader.bench.suite import COMPONENTS, BenchPlan, BenchPlanError, run_bench

__all__ = ["COMPONENTS", "BenchPlan", "BenchPlanError", "BenchReport", "Result", "Row", "run_bench"]
