"""How good the catalogues of a simulated night are, as curves: completeness, errors, repeatability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zsds_tasks.products.pages import section
from zsds_tasks.steps.report.drawing import line, rect
from zsds_tasks.steps.report.gather import NightFacts
from zsds_tasks.steps.report.science_plot import BOTTOM, HEIGHT, TOP, Plot, figure, legend
from zsds_tasks.steps.report.timeline import colour

Curve = Mapping[str, Any]
FIRST, SECOND = "var(--accent)", "var(--flat)"
_DASHED = 'stroke-dasharray="5 4"'


def curves_section(facts: NightFacts, score: Mapping[str, Any] | None) -> str:
    """Return the section of curves; empty without any.

    Parameters
    ----------
    facts : NightFacts
    score : Mapping, optional
        Its ``curves`` are those of `zsds_tasks.simulator.score_verdict.curves_of`: lists of equal length,
        with None where too little is known.
    """
    curves = (score or {}).get("curves") or {}
    drawn = (
        _completeness(curves.get("completeness")),
        _pull_histogram(curves.get("pulls")),
        _pull_widths(curves.get("pulls")),
        _astrometry(curves.get("astrometry")),
        _by_filter(facts, curves.get("repeatability"), "Repeatability", _REPEATED),
        _by_filter(facts, curves.get("flux_bias"), "Flux against truth", _BIASED),
    )
    figures = "".join(f for f in drawn if f)
    if not figures:
        return ""
    note = "Sources of the night against the sky that was simulated; lonely, unflagged stars judge."
    return section(
        "How true the catalogues are", f'<div class="pair">{figures}</div>', note=note, anchor="curves"
    )


_REPEATED = (
    "mmag",
    "Scatter of one star's magnitudes over the night's exposures; dashed: what their errors expect.",
)
_BIASED = ("mmag, measured minus true", "Medians, each image's zero point taken away; flat at 0 is linear.")


def _completeness(curve: Curve | None) -> str:
    if not curve:
        return ""
    plot = Plot.over((min(curve["depth"]), max(curve["depth"])), (0.0, 1.05))
    parts = [
        *plot.levels("share", ticks=(0, 0.25, 0.5, 0.75, 1)),
        *plot.numbers("mag from the 5 sigma limit"),
    ]
    parts.append(line(plot.x(0), TOP, plot.x(0), HEIGHT - BOTTOM, stroke="var(--faint)", more=_DASHED))
    parts += plot.curve(curve["depth"], curve["purity"], stroke=SECOND, title="purity")
    parts += plot.curve(curve["depth"], curve["completeness"], stroke=FIRST, title="completeness")
    named = legend(
        [(FIRST, "completeness: true stars that were found"), (SECOND, "purity: sources that are real")]
    )
    return figure("Completeness and purity", plot.svg(parts, "Completeness and purity by magnitude") + named)


def _pull_histogram(curve: Curve | None) -> str:
    if not curve:
        return ""
    edges = np.asarray(curve["edges"], float)
    step = edges[1] - edges[0]
    normal = step * np.exp(-(np.linspace(-4, 4, 81) ** 2) / 2) / np.sqrt(2 * np.pi)
    shares = np.array([curve["flux_share"], curve["position_share"]], float)
    plot = Plot.over(
        (float(edges[0]), float(edges[-1])), (0.0, 1.12 * max(float(np.nanmax(shares)), normal.max()))
    )
    parts = [*plot.levels("share of the stars"), *plot.numbers("error over its sigma")]
    for left, share in zip(edges[:-1], curve["flux_share"], strict=True):
        top = plot.y(share or 0.0)
        wide = plot.x(left + step) - plot.x(left)
        parts.append(rect(plot.x(left), top, wide, plot.y(0) - top, fill=FIRST, more='fill-opacity="0.28"'))
    middle = [float(e) for e in edges[:-1] + step / 2]
    parts += plot.curve(middle, curve["position_share"], stroke=SECOND, title="position")
    parts += plot.curve(list(np.linspace(-4, 4, 81)), list(normal), stroke="var(--faint)", more=_DASHED)
    named = legend([(FIRST, "flux"), (SECOND, "position, both axes"), ("var(--faint)", "unit Gaussian")])
    return figure("Honesty of the errors", plot.svg(parts, "Errors over their sigmas") + named)


def _pull_widths(curve: Curve | None) -> str:
    if not curve:
        return ""
    plot = _against_snr(curve["snr"], (0.0, _most((curve["flux"], curve["position"]), 2.0)))
    parts = [*plot.levels("width of errors over sigmas"), *_snr_numbers(plot)]
    band = plot.y(1.05), plot.y(0.95)
    wide = plot.x.end - plot.x.start
    parts.append(
        rect(plot.x.start, band[0], wide, band[1] - band[0], fill="var(--good)", more='fill-opacity="0.25"')
    )
    places = _logs(curve["snr"])
    parts += plot.curve(places, curve["flux"], stroke=FIRST, title="flux")
    parts += plot.curve(places, curve["position"], stroke=SECOND, title="position")
    named = legend([(FIRST, "flux"), (SECOND, "position"), ("var(--good)", "target")])
    words = "Bright stars show what is not noise: PSF, flat field, refraction by colour."
    return figure("Errors by brightness", plot.svg(parts, "Width of pulls by S/N") + named, words)


def _astrometry(curve: Curve | None) -> str:
    if not curve:
        return ""
    plot = _against_snr(curve["snr"], (0.0, _most((curve["east"], curve["north"]), 40.0)))
    parts = [*plot.levels("mas per axis, against the truth"), *_snr_numbers(plot)]
    parts.append(line(plot.x.start, plot.y(20), plot.x.end, plot.y(20), stroke="var(--good)", more=_DASHED))
    places = _logs(curve["snr"])
    parts += plot.curve(places, curve["east"], stroke=FIRST, title="east")
    parts += plot.curve(places, curve["north"], stroke=SECOND, title="north")
    named = legend([(FIRST, "east"), (SECOND, "north"), ("var(--good)", "target of bright stars")])
    return figure("Astrometry", plot.svg(parts, "Astrometric error by S/N") + named)


def _by_filter(facts: NightFacts, curve: Curve | None, heading: str, words: tuple[str, str]) -> str:
    filters = [f for f in facts.survey.filters if curve and f.name in curve]
    if not curve or not filters:
        return ""
    lines = {f: curve[f.name]["mmag"] if "mmag" in curve[f.name] else curve[f.name] for f in filters}
    expected = {f: curve[f.name]["expected"] for f in filters if "expected" in curve[f.name]}
    known = [v for values in lines.values() for v in values if v is not None]
    if not known:
        return ""
    low, high = min(0.0, *(v * 1.15 for v in known)), max(5.0, *(v * 1.1 for v in known))
    if not expected:
        low, high = (float(v) for v in np.clip([low - 2, high], -40, 40))
    plot = Plot.over((min(curve["mag"]), max(curve["mag"])), (low, min(high, 80.0)))
    parts = [*plot.levels(words[0]), *plot.numbers("true magnitude")]
    for f, values in expected.items():
        parts += plot.curve(
            curve["mag"], values, stroke=colour(f.code), more=f'{_DASHED} stroke-opacity="0.55"'
        )
    for f, values in lines.items():
        parts += plot.curve(curve["mag"], values, stroke=colour(f.code), title=f.name)
    named = legend([(colour(f.code), f.name) for f in filters])
    return figure(heading, plot.svg(parts, heading) + named, words[1])


def _against_snr(snr: Sequence[float], y: tuple[float, float]) -> Plot:
    logs = _logs(snr)
    return Plot.over((logs[0] - 0.05, logs[-1] + 0.05), y)


def _snr_numbers(plot: Plot) -> list[str]:
    shown = [n for n in (5, 10, 20, 50, 100, 200, 500) if plot.x.low <= np.log10(n) <= plot.x.high]
    return plot.numbers("expected S/N", shown, power=True)


def _logs(values: Sequence[float]) -> list[float]:
    return [float(v) for v in np.log10(values)]


def _most(curves: Sequence[Sequence[float | None]], least: float) -> float:
    """Return the upper end of an axis that holds the curves, within reason."""
    known = [v for values in curves for v in values if v is not None]
    return float(min(max([least, *(1.1 * v for v in known)]), 4 * least))
