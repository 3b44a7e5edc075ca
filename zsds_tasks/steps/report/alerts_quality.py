"""Difference images of a night: their quality through it, and candidates over the focal plane."""

from __future__ import annotations

import numpy as np
import pandas as pd

from zsds_tasks.steps.report.alerts_data import AlertFacts
from zsds_tasks.steps.report.drawing import dot, line, rect, svg, text
from zsds_tasks.steps.report.gather import records
from zsds_tasks.steps.report.science_plot import SHADES, Plot, figure, shade, span
from zsds_tasks.steps.report.timeline import colour
from zsds_tasks.survey.nights import JD_OF_MJD_ZERO

MEASURES = (
    ("score_scatter", "Noise", "robust scatter of S_corr in blank sky", 1.0, (0.9, 1.15), 0.1),
    ("gain_over_zero_points", "Flux scale", "over what the zero points say", 1.0, (0.95, 1.05), 0.02),
    ("registration_px", "Registration", "pixels, the larger axis", None, (0.0, 0.35), 0.1),
    ("diffmaglim", "Depth of differences", "mag, point source at 5 sigma", None, None, 0.3),
)
"""Column, heading, unit, the value it should have, the band that passes (reference 6.6), least height."""
SHORTEST_DAYS = 0.05
MAP_WIDTH, MAP_HEAD, MAP_FOOT = 540.0, 20.0, 34.0


def trends(facts: AlertFacts) -> list[str]:
    """Return a figure for each measure there is something of."""
    return [drawn for what in MEASURES if (drawn := _trend(facts, *what))]


def _trend(
    facts: AlertFacts,
    column: str,
    heading: str,
    unit: str,
    wanted: float | None,
    band: tuple[float, float] | None,
    least: float,
) -> str:
    rows = facts.good[facts.good[column].notna()]
    if rows.empty:
        return ""
    shots = _by_exposure(rows, column)
    ends = shots[["low", "high"]].to_numpy(float).ravel()
    marks = [*ends, wanted] if wanted is not None else list(ends)
    low, high = span(marks, least)
    low = max(low, 0.0) if column == "registration_px" else low
    plot = Plot.over(span(shots["mjd"].to_numpy(float), SHORTEST_DAYS), (low, high))
    parts = []
    if band:
        top, bottom = (plot.y(float(np.clip(edge, low, high))) for edge in band[::-1])
        wide = plot.x.end - plot.x.start
        parts.append(
            rect(plot.x.start, top, wide, bottom - top, fill="var(--good)", more='fill-opacity="0.08"')
        )
    parts += [*plot.levels(unit), *plot.clock()]
    if wanted is not None:
        at = plot.y(wanted)
        parts.append(line(plot.x.start, at, plot.x.end, at, stroke="var(--faint)"))
    bar = 'stroke-width="2.4" stroke-opacity="0.35" stroke-linecap="round"'
    for shot in records(shots):
        at, fill = plot.x(shot.mjd), colour(facts.night.survey.filter_by_fid(int(shot.fid)).code)
        parts.append(line(at, plot.y(shot.low), at, plot.y(shot.high), stroke=fill, more=bar))
        title = f"exposure {shot.Index}: {shot.middle:.3f}"
        parts.append(dot(at, plot.y(shot.middle), 3.6, fill=fill, title=title))
    words = f"Median {rows[column].median():.3f} of {len(rows):,} images. Dot: median of an exposure; bar: "
    words += "5th to 95th percentile of its channels." + (" Shaded: what passes." if band else "")
    return figure(heading, plot.svg(parts, f"{heading} of difference images through the night"), words)


def _by_exposure(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    value = rows.groupby("expid")[column]
    shots = rows.groupby("expid").agg(obsjd=("obsjd", "first"), fid=("fid", "first"))
    return shots.assign(
        mjd=shots["obsjd"] - JD_OF_MJD_ZERO,
        middle=value.median(),
        low=value.quantile(0.05),
        high=value.quantile(0.95),
    ).sort_values("mjd")


def channel_map(facts: AlertFacts) -> str:
    """Return the mean number of candidates over the threshold in an image, on the focal plane."""
    camera = facts.night.camera
    images = facts.good.groupby("rcid").size()
    if images.empty:
        return ""
    found = facts.candidates[facts.candidates["pid"].isin(facts.good["pid"])].groupby("rcid").size()
    mean = (found.reindex(images.index, fill_value=0) / images).to_dict()
    most = max(*mean.values(), 1.0)
    half_width, half_height = camera.half_size_arcsec
    scale = camera.mosaic.pixel_scale_arcsec
    unit = min(MAP_WIDTH / (2 * half_width), 420.0 / (2 * half_height))
    tall = 2 * half_height * unit
    left = (MAP_WIDTH - 2 * half_width * unit) / 2
    wide, high = camera.quadrant.nx * scale * unit, camera.quadrant.ny * scale * unit
    parts = []
    for quadrant in camera.quadrants:
        x = left + (half_width - quadrant.centre_east_arcsec) * unit - wide / 2
        y = MAP_HEAD + (half_height - quadrant.centre_north_arcsec) * unit - high / 2
        name, value = f"{quadrant.ccdid}·q{quadrant.qid}", mean.get(quadrant.rcid)
        if value is None:
            more = 'stroke="var(--faint)" stroke-width="0.8" stroke-dasharray="3 3" pointer-events="all"'
            parts.append(rect(x, y, wide, high, fill="none", title=f"{name}: not subtracted", more=more))
            continue
        title = f"{name}: {value:.1f} candidates in an image, {images[quadrant.rcid]} images"
        parts.append(rect(x, y, wide, high, fill=shade(value / most), title=title))
        if wide > 40:
            ink = "#10202f" if value / most > 0.6 else "#f2f5fa"
            more = f'style="fill:{ink}" font-weight="600"'
            parts.append(text(x + wide / 2, y + high / 2 + 5, f"{value:.1f}", anchor="middle", more=more))
    steps, base = 24, MAP_HEAD + tall + 14
    parts += [
        rect(MAP_WIDTH / 2 - 84 + n * 7, base, 7.4, 7, fill=shade(n / (steps - 1), SHADES))
        for n in range(steps)
    ]
    for at, value, anchor in ((MAP_WIDTH / 2 - 92, 0.0, "end"), (MAP_WIDTH / 2 + 92, most, "start")):
        parts.append(text(at, base + 8, f"{value:.1f}", anchor=anchor, more='font-size="12"'))
    drawing = svg(MAP_WIDTH, base + MAP_FOOT - 14, parts, "Candidates per image on the focal plane")
    words = "Mean number over 5 sigma in an image of a quadrant, both signs; dashed: nothing subtracted."
    return figure("Candidates over the focal plane", drawing, words)
