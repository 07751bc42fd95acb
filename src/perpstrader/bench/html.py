"""The benchmark as one HTML file that needs nothing else and asks the network for nothing: plots, and each row with
what it shows and what it does not.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Final

from perpstrader.bench.plots import Mark, growth_plot, scale_plot
from perpstrader.bench.rows import BenchReport, Result, Row
from perpstrader.bench.text import NOTHING, figure_text, ratio_text

_STYLE: Final = """
svg.bench { width: 100%; height: auto; display: block; font-size: 13px; }
svg.bench text { fill: var(--soft); } svg.bench circle { fill: var(--accent); }
svg.bench .grid { stroke: var(--line); fill: none; }
svg.bench .span { stroke: var(--bar); stroke-width: 7; fill: none; }
svg.bench .target { stroke: var(--down); stroke-width: 2.5; fill: none; }
td.note { white-space: normal; min-width: 320px; text-align: left; color: var(--soft); }
"""
_TIMED: Final = "us/"


def write_html(report: BenchReport, path: Path) -> Path:
    """The path of the file that now holds the whole report; an older one is replaced at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.write_text(render_html(report), encoding="utf-8")
    os.replace(part, path)
    return path


def render_html(report: BenchReport) -> str:
    """The whole page; equal reports give equal pages."""
    style = (files("perpstrader.report") / "assets" / "report.css").read_text(encoding="utf-8")
    parts = [_head(report), _key_figures(report), '<div class="stack">', _ratios(report)]
    names = list(dict.fromkeys(result.row.component for result in report.results))
    parts += [_component(name, [r for r in report.results if r.row.component == name]) for name in names]
    policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>Benchmark</title>\n'
        f"<style>\n{style}{_STYLE}</style></head>\n<body><main>\n{''.join(parts)}</div>\n"
        "<footer>Figures are of one machine in one run; compare ratios, never absolute figures of different runs."
        "</footer></main></body></html>\n"
    )


def _head(report: BenchReport) -> str:
    facts = "".join(
        f"<dt>{escape(name.replace('_', ' '))}</dt><dd>{escape(NOTHING if value is None else str(value))}</dd>"
        for name, value in report.environment.items()
    )
    alarms = "".join(
        f'<p class="grade alarm" role="alert">{escape(f"{row.component} {row.row}: {row.note}")}</p>'
        for row in report.failures
    )
    quick = " A quick run: the spread is wide." if report.environment.get("quick") else ""
    return (
        '<header><p class="eyebrow">Benchmark</p><h1>Baseline against optimized, and both against what is possible</h1>'
        f'<p class="sub">Medians, less is better; a ratio is baseline over optimized.{quick}</p></header>{alarms}'
        f'<section class="card" style="margin-bottom:16px"><dl class="facts">{facts}</dl></section>'
    )


def _key_figures(report: BenchReport) -> str:
    rows = [result.row for result in report.results]
    compared = [result for result in report.results if result.compares_builds and result.row.ratio is not None]
    claimed = [row for row in rows if row.claim is not None]
    mean = report.mean_ratio
    cards = (
        ("Rows", str(len(rows)), f"{sum(result.is_limit for result in report.results)} of them limits"),
        ("Wrong answers", str(len(report.failures)), "not timed, no figures"),
        ("Geometric mean", NOTHING if mean is None else f"{mean:.2f}", f"of {len(compared)} ratios of builds"),
        ("Claims met", f"{sum(row.met is True for row in claimed)} of {len(claimed)}", _open_claims(claimed)),
    )
    return (
        '<dl class="keys">'
        + "".join(
            f'<div class="card key"><dt>{name}</dt><dd>{value}</dd><dd>{escape(note)}</dd></div>'
            for name, value, note in cards
        )
        + "</dl>"
    )


def _open_claims(claimed: Sequence[Row]) -> str:
    missing = sum(row.met is None for row in claimed)
    return f"{missing} have no second build to compare yet" if missing else "the whole interval reaches the claim"


def _ratios(report: BenchReport) -> str:
    marks = [
        Mark(f"{row.component}: {row.row}", row.ratio, row.ratio_low, row.ratio_high, row.claim)
        for row in (result.row for result in report.results)
        if row.ratio is not None and row.ratio_low is not None and row.ratio_high is not None
    ]
    if not marks:
        return ""
    plot = scale_plot(marks, label="Ratios of baseline over optimized", unit="x")
    return (
        '<section class="card"><h2>Ratios <small>the bar is the 95 % interval, red what is claimed</small></h2>'
        f"{plot}</section>"
    )


def _component(name: str, results: Sequence[Result]) -> str:
    timed = [result for result in results if result.row.unit.startswith(_TIMED) and result.baseline is not None]
    parts = [f'<section class="card"><h2>{escape(name)}</h2>']
    if timed:
        parts.append(scale_plot(list(_costs(timed)), label=f"Cost of {name}", unit="us"))
    curves = _curves(timed)
    if curves:
        parts.append("<h2>Growth <small>cost by size, both scales logarithmic</small></h2>")
        parts.append(growth_plot(curves, label=f"Growth of {name}", unit="us"))
    parts.append(_table(results))
    return "".join(parts) + "</section>"


def _costs(timed: Iterable[Result]) -> Iterable[Mark]:
    """The arms of each row, its plain one first; limits are faint."""
    for result in timed:
        other = " (optimized)" if result.compares_builds else " (other arm)"
        for arm, figures in (("", result.baseline), (other, result.optimized)):
            if figures is not None:
                label = f"{result.row.row}{arm}"
                yield Mark(label, figures.median, figures.low, figures.high, faint=result.is_limit)


def _curves(timed: Iterable[Result]) -> dict[str, list[tuple[float, float]]]:
    """(size, cost) by name, where there are at least two sizes."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for result in timed:
        for arm, figures in (("", result.baseline), (" (optimized)", result.optimized)):
            if figures is not None and result.size is not None:
                curves.setdefault(f"{result.curve}{arm}", []).append((result.size, figures.median))
    return {name: points for name, points in curves.items() if len(points) > 1}


def _table(results: Sequence[Result]) -> str:
    heads = ("Row", "Baseline", "Optimized", "Unit", "Ratio", "Claim", "n", "What it shows, and what it does not")
    words = (heads[0], heads[-1])
    head = "".join(f'<th scope="col" class="{"t" if name in words else ""}">{name}</th>' for name in heads)
    body = "".join(_line(result.row) for result in results)
    return (
        '<div class="scroll short" tabindex="0" role="region" aria-label="Rows"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _line(row: Row) -> str:
    claim = NOTHING if row.claim is None else f"{row.claim:g}x"
    if row.met is not None:
        claim += ", met" if row.met else ", not met"
    cells = (figure_text(row.baseline), figure_text(row.optimized), row.unit, ratio_text(row), claim, str(row.n))
    return (
        f'<tr><td class="t">{escape(row.row)}</td>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        + f'<td class="note">{escape(row.note)}</td></tr>'
    )
