"""How true the candidates of a simulated night are: completeness, errors, false positives by kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from zsds_tasks.products.pages import section, table, tag
from zsds_tasks.steps.report.drawing import line, rect
from zsds_tasks.steps.report.science_plot import BOTTOM, HEIGHT, TOP, Plot, figure, legend

Curve = Mapping[str, Any]
FIRST, SECOND = "var(--accent)", "var(--flat)"
LEAST_POINTS, LEAST_CHANGES = 3, 20
"""Of curves with fewer points, and of fewer changes, nothing is drawn."""
WORDS = {"passed": "body in an epoch of the reference"}
_DASHED = 'stroke-dasharray="5 4"'


def alert_curves(curves: Curve | None) -> str:
    """Return the section of curves; empty without any.

    Parameters
    ----------
    curves : mapping, optional
        Those of `zsds_tasks.simulator.score_candidate_verdict.curves_of`.
    """
    if not curves:
        return ""
    drawn = (_by_snr(curves["completeness"]), _by_depth(curves["depth"]), _pulls(curves["pulls"]))
    figures = "".join(f for f in drawn if f)
    body = (f'<div class="pair">{figures}</div>' if figures else "") + _budget(curves["budget"])
    body += _triggers(curves["triggers"])
    note = "Candidates against what truly changed in the simulated sky: transients, variables, asteroids."
    return section("How true the candidates are", body, note=note, anchor="candidate-truth")


def _by_snr(curve: Curve) -> str:
    if sum(f is not None for f in curve["found"]) < LEAST_POINTS:
        return ""
    places = [float(v) for v in np.log10(curve["snr"])]
    plot = Plot.over((places[0] - 0.05, places[-1] + 0.05), (0.0, 1.05))
    shown = [n for n in (3, 5, 10, 20, 50) if plot.x.low <= np.log10(n) <= plot.x.high]
    parts = [
        *plot.levels("share of the planted changes that were found", ticks=(0, 0.25, 0.5, 0.75, 1)),
        *plot.numbers("expected S/N", shown, power=True),
    ]
    at = plot.x(float(np.log10(5.1)))
    parts.append(line(at, TOP, at, HEIGHT - BOTTOM, stroke="var(--good)", more=_DASHED))
    parts += plot.curve(places, curve["found"], stroke=FIRST, title="completeness")
    named = legend([(FIRST, "found"), ("var(--good)", "half should be found here")])
    return figure("Completeness", plot.svg(parts, "Completeness of changes by expected S/N") + named)


def _by_depth(curve: Curve) -> str:
    if sum(f is not None for f in curve["found"]) < LEAST_POINTS:
        return ""
    plot = Plot.over((min(curve["mag"]), max(curve["mag"])), (0.0, 1.05))
    parts = [
        *plot.levels("share of the planted changes that were found", ticks=(0, 0.25, 0.5, 0.75, 1)),
        *plot.numbers("mag of the change from the 5 sigma limit"),
    ]
    parts.append(line(plot.x(0), TOP, plot.x(0), HEIGHT - BOTTOM, stroke="var(--faint)", more=_DASHED))
    parts += plot.curve(curve["mag"], curve["found"], stroke=FIRST, title="completeness")
    words = "Changes of bright variables need more than the sky's limit says: their own light is noise."
    return figure("Completeness by magnitude", plot.svg(parts, "Completeness by magnitude"), words)


def _pulls(curve: Curve) -> str:
    shares = np.array([curve["flux"], curve["position"]], float)
    if curve["of"] < LEAST_CHANGES:
        return ""
    edges = np.asarray(curve["edges"], float)
    step = edges[1] - edges[0]
    fine = np.linspace(-4, 4, 81)
    normal = step * np.exp(-(fine**2) / 2) / np.sqrt(2 * np.pi)
    plot = Plot.over((-4.0, 4.0), (0.0, 1.12 * max(float(shares.max()), float(normal.max()))))
    parts = [*plot.levels("share of the changes"), *plot.numbers("error over its sigma")]
    wide = plot.x(step) - plot.x(0)
    for left, share in zip(edges[:-1], curve["flux"], strict=True):
        top = plot.y(share or 0.0)
        parts.append(rect(plot.x(left), top, wide, plot.y(0) - top, fill=FIRST, more='fill-opacity="0.28"'))
    middle = [float(e) for e in edges[:-1] + step / 2]
    parts += plot.curve(middle, curve["position"], stroke=SECOND, title="position")
    parts += plot.curve(list(fine), list(normal), stroke="var(--faint)", more=_DASHED)
    named = legend([(FIRST, "flux"), (SECOND, "position, both axes"), ("var(--faint)", "unit Gaussian")])
    return figure("Honesty of the errors", plot.svg(parts, "Errors of changes over their sigmas") + named)


def _budget(budget: Curve) -> str:
    """Return what candidates are, by kind, before and after scoring."""
    images = max(int(budget["images"]), 1)
    if not budget["kind"]:
        return ""
    columns: Sequence[str] = ("", "What they are", "Candidates", "in an image")
    if budget["scores"]:
        columns = (*columns, f"with {budget['scores']}", "in an image")
    rows = []
    names = ("kind", "real", "before", "after")
    for kind, real, before, after in zip(*(budget[name] for name in names), strict=True):
        word = tag("real", "good") if real else tag("bogus", "bad")
        name = escape(WORDS.get(kind, kind.replace("_", " ")))
        row: tuple[str, ...] = (word, name, f"{before:,}", f"{before / images:.2f}")
        if budget["scores"]:
            row = (*row, f"{after:,}", f"{after / images:.2f}")
        rows.append(row)
    numeric = tuple(range(2, len(columns)))
    return f"{_heading('What candidates are')}{table(columns, rows, numeric=numeric)}"


def _triggers(curve: Curve) -> str:
    """Return whom the triggering criteria refuse."""
    rows = [
        (escape(reason or "triggers"), f"{real:,}", f"{bogus:,}")
        for reason, real, bogus in zip(curve["reason"], curve["real"], curve["bogus"], strict=True)
    ]
    if not rows:
        return ""
    words = "Each candidate under the first criterion it fails; streaks fail by shape, as they should."
    return (
        f'{_heading("What the triggering criteria refuse")}<p class="note">{words}</p>'
        f"{table(('First criterion that fails', 'Real', 'Bogus'), rows, numeric=(1, 2))}"
    )


def _heading(words: str) -> str:
    return f'<h3 style="margin-top:22px">{escape(words)}</h3>'
