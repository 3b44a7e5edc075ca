"""Calibrated images through the night: zero points and clouds, seeing, depth, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from zsds_tasks.steps.report.drawing import dot, line
from zsds_tasks.steps.report.gather import records
from zsds_tasks.steps.report.science_data import ScienceFacts
from zsds_tasks.steps.report.science_plot import BOTTOM, HEIGHT, Plot, span
from zsds_tasks.steps.report.timeline import colour
from zsds_tasks.survey.nights import JD_OF_MJD_ZERO

SHORTEST_DAYS = 0.05
_AIRMASS_HEIGHT = 62.0


@dataclass(frozen=True)
class Trend:
    """A drawing and what it says."""

    heading: str
    drawing: str
    caption: str


def trends(facts: ScienceFacts) -> list[Trend]:
    """Return the drawings there is something to draw for."""
    found = (zero_points(facts), *(_by_exposure(facts, *what) for what in _MEASURES), cost(facts))
    return [trend for trend in found if trend is not None]


_MEASURES: tuple[tuple[str, str, str, float, int], ...] = (
    ("seeing", "Seeing", "arcsec, FWHM of stars", 0.3, 2),
    ("maglimit", "Depth", "mag, point source at 5 sigma", 0.3, 2),
    ("n_sources", "Sources", "PSF-fitted sources in a quadrant", 100.0, 0),
    ("rms_bright", "Astrometry", "mas per axis, stars of S/N over 100", 10.0, 0),
)


def zero_points(facts: ScienceFacts) -> Trend | None:
    """Draw each exposure's zero point against the night's, and its airmass below.

    Every channel is compared with its usual zero point in that filter, so that what differs between
    channels does not widen the bars: what is left is the air.
    """
    rows = facts.good[facts.good["zp30"].notna()]
    if rows.empty:
        return None
    own = pd.concat(
        [facts.of_channels("zp30", f.fid).rename_axis("rcid") for f in facts.filters],
        keys=[f.fid for f in facts.filters],
    )
    usual = own.reindex(pd.MultiIndex.from_frame(rows[["fid", "rcid"]])).to_numpy(float)
    shots = _spread(rows.assign(value=rows["zp30"] - usual))
    bottom = HEIGHT - BOTTOM
    height = HEIGHT + _AIRMASS_HEIGHT + 34
    clock = span(shots["mjd"].to_numpy(float), SHORTEST_DAYS)
    ends = shots[["low", "high"]].to_numpy(float).ravel()
    plot = Plot.over(clock, span(ends, 0.06), bottom=bottom, height=height)
    parts = [*plot.levels("mag from the night's median"), *plot.clock(labelled=False)]
    parts.append(line(plot.x.start, plot.y(0), plot.x.end, plot.y(0), stroke="var(--faint)"))
    parts += _marks(facts, plot, shots, "{:+.3f} mag")
    air = shots[shots["airmass"].notna()]
    below = Plot.over(
        clock,
        span([1.0, *air["airmass"]], 0.2)[::-1],
        top=bottom + 34,
        bottom=bottom + 34 + _AIRMASS_HEIGHT,
        height=height,
    )
    parts += [*below.levels("airmass", about=3), *below.clock()]
    parts += [
        dot(
            below.x(shot.mjd),
            below.y(shot.airmass),
            2.6,
            fill=_colour(facts, shot.fid),
            title=f"airmass {shot.airmass:.2f}",
        )
        for shot in records(air)
    ]
    typical = ", ".join(
        f"{f.name} {rows.loc[rows['fid'] == f.fid, 'zp30'].median():.2f}" for f in facts.filters
    )
    caption = (
        f"Median {typical} for 30 s. Dot: median of an exposure, each channel against its usual; bar: "
        "5th to 95th percentile of the channels. Clouds drop and stretch it, airmass lowers it slowly."
    )
    return Trend("Zero point", plot.svg(parts, "Zero point and airmass through the night"), caption)


def _by_exposure(
    facts: ScienceFacts, column: str, heading: str, unit: str, least: float, digits: int
) -> Trend | None:
    rows = facts.good[facts.good[column].notna()]
    if rows.empty:
        return None
    factor = 1000.0 if column == "rms_bright" else 1.0
    shots = _spread(rows.assign(value=rows[column] * factor))
    ends = shots[["low", "high"]].to_numpy(float).ravel()
    plot = Plot.over(span(shots["mjd"].to_numpy(float), SHORTEST_DAYS), span(ends, least))
    parts = [*plot.levels(unit), *plot.clock(), *_marks(facts, plot, shots, f"{{:,.{digits}f}}")]
    typical = ", ".join(
        f"{f.name} {factor * rows.loc[rows['fid'] == f.fid, column].median():,.{digits}f}"
        for f in facts.filters
    )
    caption = f"Medians: {typical}. Dot: median of an exposure; bar: 5th to 95th percentile of the channels."
    return Trend(heading, plot.svg(parts, f"{heading} through the night"), caption)


def cost(facts: ScienceFacts) -> Trend | None:
    """Draw processor time against the number of sources; a channel that failed has its time too."""
    rows = facts.images[facts.images["core_seconds"].notna()]
    if rows.empty:
        return None
    seconds = rows["core_seconds"].to_numpy(float)
    sources = rows["n_sources"].fillna(0).to_numpy(float)
    plot = Plot.over((0.0, max(float(sources.max()) * 1.06, 10.0)), (0.0, float(seconds.max()) * 1.12 + 0.1))
    parts = [*plot.levels("core-seconds per quadrant"), *plot.numbers("sources in the quadrant")]
    middle, worst = float(np.median(seconds)), float(np.percentile(seconds, 95))
    parts.append(
        line(
            plot.x.start,
            plot.y(middle),
            plot.x.end,
            plot.y(middle),
            stroke="var(--faint)",
            more='stroke-dasharray="5 4"',
        )
    )
    shown: set[tuple[int, int, int]] = set()
    for fid, count, spent in zip(rows["fid"], sources, seconds, strict=True):
        place = (round(plot.x(count)), round(plot.y(spent)), int(fid))
        if place not in shown:  # thousands of channels fall on the same few pixels
            shown.add(place)
            parts.append(
                dot(plot.x(count), plot.y(spent), 2.6, fill=_colour(facts, fid), more='fill-opacity="0.7"')
            )
    caption = (
        f"Median {middle:.2f} s (dashed), 95th percentile {worst:.2f} s, {seconds.sum() / 60:,.1f} "
        "core-minutes in all. Failed quadrants without sources lie at 0."
    )
    return Trend("Processor time", plot.svg(parts, "Core-seconds against number of sources"), caption)


def _spread(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per exposure: time (MJD), fid, airmass, and the percentiles of column ``value``."""
    value = rows.groupby("expid")["value"]
    shots = rows.groupby("expid").agg(
        obsjd=("obsjd", "first"), fid=("fid", "first"), airmass=("airmass", "first")
    )
    return shots.assign(
        mjd=shots["obsjd"] - JD_OF_MJD_ZERO,
        middle=value.median(),
        low=value.quantile(0.05),
        high=value.quantile(0.95),
    ).sort_values("mjd")


def _marks(facts: ScienceFacts, plot: Plot, shots: pd.DataFrame, form: str) -> list[str]:
    """Return a bar and a dot for each exposure."""
    parts = []
    bar = 'stroke-width="2.4" stroke-opacity="0.35" stroke-linecap="round"'
    for shot in records(shots):
        at, fill = plot.x(shot.mjd), _colour(facts, shot.fid)
        parts.append(line(at, plot.y(shot.low), at, plot.y(shot.high), stroke=fill, more=bar))
        title = f"exposure {shot.Index}: {form.format(shot.middle)}"
        parts.append(dot(at, plot.y(shot.middle), 3.6, fill=fill, title=title))
    return parts


def _colour(facts: ScienceFacts, fid: int) -> str:
    return colour(facts.night.survey.filter_by_fid(int(fid)).code)


def entries(facts: ScienceFacts) -> Sequence[tuple[str, str]]:
    """Return the legend of the filters."""
    return [(colour(f.code), f.name) for f in facts.filters]
