"""The section of a night report on light curves: how well stars repeat, and what varies."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.products.pages import card, section, table
from zsds_tasks.steps.report.curves_data import (
    Curve,
    CurveFacts,
    Repeatability,
    gather_curves,
    is_folded,
    is_sure,
)
from zsds_tasks.steps.report.drawing import dot, line, text
from zsds_tasks.steps.report.gather import NightFacts
from zsds_tasks.steps.report.science_plot import HEIGHT, Plot, figure, legend
from zsds_tasks.steps.report.timeline import colour
from zsds_tasks.steps.report.words import plural, really

Floats = NDArray[np.float64]
BINS = np.arange(13.0, 22.01, 0.5)
LEAST_IN_BIN, MOST_DOTS = 8, 1500
PHASES = (0.0, 2.0)
SCATTERS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
_DASHED = 'stroke-dasharray="5 4"'


def curve_pages(lakehouse: Lakehouse, night: NightFacts, score: Mapping[str, Any] | None = None) -> str:
    """Return the section on light curves; empty if the night added to none.

    Parameters
    ----------
    lakehouse : Lakehouse
    night : NightFacts
    score : Mapping, optional
        Of a simulated night: ``variables``, what candidate variables really are, by objectid as text.

    Raises
    ------
    TransientError
        If the storage is in the way.
    """
    facts = gather_curves(lakehouse, night)
    if facts is None:
        return ""
    body = _cards(facts) + _repeatability(facts)
    body += _variables(facts, (score or {}).get("variables") or {})
    note = "Stars of the fields observed, over all nights so far."
    return section("Light curves", body, note=note, anchor="light-curves")


def _cards(facts: CurveFacts) -> str:
    before, after = (np.nanmedian(facts.offsets[name]) if len(facts.offsets[name]) else np.nan
                     for name in ("scatter_before", "scatter_after"))  # fmt: skip
    filled = [
        card(
            f"{facts.stars:,}", "Light curves", f"in {plural(facts.units, 'unit')} of field, filter, channel"
        ),
        card(f"{facts.epochs:,}", "Epochs", f"{facts.epochs / max(facts.stars, 1):.1f} for a star"),
    ]
    if np.isfinite(before) and np.isfinite(after):
        words = f"from {1000 * before:.1f} by offsets of images, median"
        filled.append(card(f"{1000 * after:.1f} mmag", "Scatter of stable stars", words))
    folded, sure = (sum(test(row) for row, _ in facts.variables) for test in (is_folded, is_sure))
    if facts.variables:
        words = f"{folded} folded, {sure} at a period told from its aliases"
        filled.append(card(f"{len(facts.variables)}", "Variables shown", words))
    return f'<div class="cards" style="margin-top:14px">{"".join(filled)}</div>'


def _repeatability(facts: CurveFacts) -> str:
    repeat = facts.repeat
    if len(repeat.mag) < LEAST_IN_BIN:
        return ""
    drawn = [_scatter_plot(facts, repeat), _pull_plot(facts, repeat)]
    return f'<div class="pair">{"".join(d for d in drawn if d)}</div>{_scatter_table(facts, repeat)}'


def _binned(mag: Floats, values: Floats) -> tuple[list[float], list[float | None], list[int]]:
    """Return middles of bins of magnitude, medians (None of too few) and counts."""
    number = np.digitize(mag, BINS) - 1
    inside = [values[number == n] for n in range(len(BINS) - 1)]
    middles = [float(m) for m in (BINS[1:] + BINS[:-1]) / 2]
    medians = [float(np.median(part)) if len(part) >= LEAST_IN_BIN else None for part in inside]
    return middles, medians, [len(part) for part in inside]


def _scatter_plot(facts: CurveFacts, repeat: Repeatability) -> str:
    """Draw the scatter of every star (some of them), medians before and after, and stated errors."""
    low, high = SCATTERS[0], SCATTERS[-1]
    y = np.log10(np.clip(repeat.after, low, high))
    ends = (float(np.min(repeat.mag)) - 0.2, float(np.max(repeat.mag)) + 0.2)
    plot = Plot.over(ends, (float(np.log10(low)), float(np.log10(high))))
    parts = [*_log_levels(plot, "mag, standard deviation of a light curve"), *plot.numbers("mean magnitude")]
    step = max(len(y) // MOST_DOTS, 1)
    for fid, mag, value in zip(repeat.fid[::step], repeat.mag[::step], y[::step], strict=True):
        fill = colour(facts.night.survey.filter_by_fid(int(fid)).code)
        parts.append(
            dot(plot.x(float(mag)), plot.y(float(value)), 1.5, fill=fill, more='fill-opacity="0.35"')
        )
    for values, stroke, name, more in (
        (repeat.before, "var(--flat)", "before offsets", _DASHED),
        (repeat.error, "var(--faint)", "stated error", ""),
        (repeat.after, "var(--accent)", "light curves", ""),
    ):
        x, medians, _ = _binned(repeat.mag, values)
        logs = [None if m is None else float(np.log10(max(m, low))) for m in medians]
        parts += plot.curve(x, logs, stroke=stroke, title=name, more=more)
    names = [
        ("var(--accent)", "median of light curves"),
        ("var(--flat)", "before offsets of images (dashed)"),
    ]
    named = legend([*names, ("var(--faint)", "error they state")])
    return figure("Repeatability", plot.svg(parts, "Scatter of light curves by magnitude") + named)


def _log_levels(plot: Plot, unit: str) -> list[str]:
    parts = [text(plot.x.start, plot.y.end - 10, unit, more='font-size="12"')]
    for value in SCATTERS:
        at = plot.y(float(np.log10(value)))
        parts.append(line(plot.x.start, at, plot.x.end, at, more='stroke-opacity="0.7"'))
        parts.append(text(plot.x.start - 8, at + 4, f"{value:g}", anchor="end"))
    return parts


def _pull_plot(facts: CurveFacts, repeat: Repeatability) -> str:
    x, medians, _ = _binned(repeat.mag, repeat.after / np.maximum(repeat.error, 1e-6))
    known = [m for m in medians if m is not None]
    if len(known) < 2:
        return ""
    plot = Plot.over((x[0], x[-1]), (0.0, max(2.0, 1.1 * max(known))))
    parts = [*plot.levels("scatter over stated error"), *plot.numbers("mean magnitude")]
    parts.append(line(plot.x.start, plot.y(1.0), plot.x.end, plot.y(1.0), stroke="var(--good)", more=_DASHED))
    for fid in np.unique(repeat.fid):
        mine = repeat.fid == fid
        ratio = repeat.after[mine] / np.maximum(repeat.error[mine], 1e-6)
        places, values, _ = _binned(repeat.mag[mine], ratio)
        found = facts.night.survey.filter_by_fid(int(fid))
        parts += plot.curve(places, values, stroke=colour(found.code), title=found.name)
    words = (
        "One where errors are honest: functions of magnitude, fitted in each unit, or larger ones of fits."
    )
    return figure("Honesty of the errors", plot.svg(parts, "Scatter over stated error"), words)


def _scatter_table(facts: CurveFacts, repeat: Repeatability) -> str:
    rows = []
    for fid in np.unique(repeat.fid):
        mine = repeat.fid == fid
        mag, name = repeat.mag[mine], facts.night.survey.filter_by_fid(int(fid)).name
        x, after, count = _binned(mag, repeat.after[mine])
        _, before, _ = _binned(mag, repeat.before[mine])
        _, error, _ = _binned(mag, repeat.error[mine])
        for middle, b, a, e, n in zip(x, before, after, error, count, strict=True):
            if a is not None and b is not None and e is not None and middle == np.floor(middle) + 0.25:
                numbers = (f"{1000 * v:.1f}" for v in (b, a, e))
                rows.append((escape(name), f"{middle - 0.25:.1f} to {middle + 0.25:.1f}", f"{n:,}", *numbers))
    columns = ("Filter", "Magnitude", "Stars", "Before, mmag", "After, mmag", "Stated, mmag")
    return table(columns, rows, numeric=(2, 3, 4, 5)) if rows else ""


def _variables(facts: CurveFacts, truth: Mapping[str, str]) -> str:
    shown = ((row, curves, really(truth.get(str(row["objectid"]), ""))) for row, curves in facts.variables)
    figures = [drawn for row, curves, mark in shown if (drawn := _variable(facts, row, curves, mark))]
    if not figures:
        return ""
    pairs = "".join(
        f'<div class="pair">{"".join(figures[n : n + 2])}</div>' for n in range(0, len(figures), 2)
    )
    return f'<h3 style="margin-top:22px">What varies most surely</h3>{pairs}'


def _variable(facts: CurveFacts, row: dict[str, Any], curves: list[Curve], mark: str) -> str:
    """Draw one object, folded if it has a period, else against time; a mark (HTML) says what it really is."""
    seen = [curve for curve in curves if len(curve.mag)]
    if not seen:
        return ""
    folded, every = is_folded(row), np.concatenate([curve.mag for curve in seen])
    room = max(0.1 * float(np.ptp(every)), 0.05)
    times = np.concatenate([curve.hmjd for curve in seen])
    first = float(np.floor(times.min()))
    span = PHASES if folded else (float(times.min()) - first - 0.02, float(times.max()) - first + 0.02)
    plot = Plot.over(span, (float(every.max()) + room, float(every.min()) - room), height=HEIGHT)
    parts = [*plot.levels("mag"), *plot.numbers("phase" if folded else f"HMJD - {first:.0f}")]
    for curve in seen:
        fill = colour(facts.night.survey.filter_by_fid(curve.fid).code)
        x = curve.hmjd - first
        turns = (0.0, 1.0) if folded else (0.0,)
        phase = np.mod((curve.hmjd - times.min()) / row["period"], 1.0) if folded else x
        for turn in turns:
            for at, mag, error in zip(phase + turn, curve.mag, curve.magerr, strict=True):
                place = plot.x(float(at))
                bar = (plot.y(float(mag - error)), plot.y(float(mag + error)))
                parts.append(line(place, bar[0], place, bar[1], stroke=fill, more='stroke-opacity="0.5"'))
                parts.append(dot(place, plot.y(float(mag)), 2.6, fill=fill))
    names = {curve.fid: facts.night.survey.filter_by_fid(curve.fid) for curve in seen}
    named = legend([(colour(found.code), found.name) for found in names.values()])
    words = f"{row['ra']:.5f} {row['dec']:+.5f}, {plural(len(times), 'good epoch')}"
    if folded:
        words += f"; period {_period(row)}, chance of noise 10^{row['log_false_alarm']:.0f}"
    else:
        words += "; too few epochs for a period to be believed"
    heading = row["alert_name"] or f"Object {row['objectid']}"
    return figure(heading, plot.svg(parts, f"Light curve of {heading}") + named, words, mark=mark)


def _period(row: dict[str, Any]) -> str:
    """Write the period with the digits it has, and what few nights leave open."""
    if is_sure(row):
        return f"{row['period']:.5f} d"
    others = ", ".join(f"{period:.3g}" for period in (row["alias_periods"] or ())[:3])
    return f"about {row['period']:.3g} d or an alias of it{others and f' ({others})'}: too few nights to tell"
