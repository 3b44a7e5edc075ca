"""Where on the sky the night looked: fields by filter and number of visits, in a Mollweide projection."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from zsds_tasks.sky.horizon import Observer, moon
from zsds_tasks.steps.report.gather import NightFacts, records
from zsds_tasks.steps.report.pictures import BACKGROUND, INK, PANEL, png
from zsds_tasks.survey.nights import mjd

FILTER_COLOURS = ("#35c486", "#ff6a58", "#b98ae6", "#5cb8ff", "#f0bd4e")
"""By order of the survey's filters, bright enough for a dark map."""
GRID = "#2b3850"
NEAR_DEG = 4.0
"""Fields closer than this share a label."""


def visits(facts: NightFacts) -> pd.DataFrame:
    """Return one row per field and filter of the science exposures: field, filtercode, ra, dec, count."""
    rows = facts.science.groupby(["field", "filtercode"], as_index=False)
    return rows.agg(ra=("ra", "first"), dec=("dec", "first"), count=("expid", "size"))


def coverage_png(facts: NightFacts) -> bytes:
    """Draw the map.

    Parameters
    ----------
    facts : NightFacts
        May have no science exposures: then the sky is drawn alone.

    Returns
    -------
    bytes
        PNG on a dark ground; east is left, right ascension 0 h in the middle.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow import

    figure = Figure(figsize=(11.2, 5.9), dpi=100, facecolor=BACKGROUND)
    axes = figure.add_axes((0.03, 0.05, 0.94, 0.9), projection="mollweide", facecolor=PANEL)
    _draw_sky(axes)
    _draw_moon(axes, facts)
    seen = visits(facts)
    _draw_footprints(axes, facts, seen)
    for number, filter_ in enumerate(facts.survey.filters):
        chosen = seen[seen["filtercode"] == filter_.code]
        if len(chosen):
            axes.scatter(
                _x(chosen["ra"]),
                np.radians(chosen["dec"]),
                s=110 + 30 * chosen["count"].clip(upper=20),
                marker=_wedge(number, len(facts.survey.filters)),
                color=FILTER_COLOURS[number % 5],
                linewidths=0,
                zorder=5,
            )
    _label_fields(axes, seen)
    return png(figure)


def _x(ra: Any) -> Any:
    """Return the horizontal coordinate: radians, growing to the west."""
    return -np.radians((np.asarray(ra, float) + 180) % 360 - 180)


def _draw_sky(axes: Any) -> None:
    from astropy import units  # noqa: PLC0415 - as above
    from astropy.coordinates import SkyCoord  # noqa: PLC0415 - as above

    along = np.linspace(0, 360, 721)
    for frame, name, style, colour, wanted in (
        ("galactic", "Galactic plane", "-", "#7d8cab", (1.1, 0.55)),
        ("barycentricmeanecliptic", "ecliptic", (0, (5, 4)), "#a58a4a", (-2.2, 0.3)),
    ):
        circle = SkyCoord(along * units.deg, np.zeros_like(along) * units.deg, frame=frame).icrs
        x, y = _x(circle.ra.deg), circle.dec.rad
        torn = np.flatnonzero(np.abs(np.diff(x)) > np.pi) + 1  # where it leaves the map on one side
        axes.plot(
            np.insert(x, torn, np.nan),
            np.insert(y, torn, np.nan),
            color=colour,
            linewidth=1.4,
            linestyle=style,
            zorder=2,
        )
        at = int(np.argmin(np.hypot(x - wanted[0], y - wanted[1])))
        axes.text(
            x[at],
            y[at] + 0.06,
            name,
            color=colour,
            fontsize=9,
            ha="center",
            va="bottom",
            zorder=3,
            bbox={"facecolor": PANEL, "edgecolor": "none", "pad": 1.0, "alpha": 0.8},
        )
    axes.grid(color=GRID, linewidth=0.7)
    axes.spines["geo"].set_edgecolor("#44547a")
    hours = np.arange(-10, 11, 2)
    axes.set_xticks(-np.radians(hours * 15.0)[::-1], [""] * len(hours))
    for hour in hours:  # south of every field, where no marker is in the way
        words = {"color": "#8d9bb5", "fontsize": 8.5, "ha": "center", "va": "center"}
        axes.text(-np.radians(hour * 15.0), np.radians(-45), f"{hour % 24} h", zorder=3, **words)
    axes.tick_params(colors="#8d9bb5", labelsize=8.5)
    axes.set_axisbelow(True)


def _draw_moon(axes: Any, facts: NightFacts) -> None:
    site = facts.camera.site
    start, end = facts.night.bounds(site.noon_utc_hour)
    when = np.array([(mjd(start) + mjd(end)) / 2])
    ra, dec, lit = moon(when, Observer(site.latitude_deg, site.longitude_deg, site.elevation_m))
    axes.scatter(_x(ra), np.radians(dec), s=90, color="#ffe9a3", edgecolors=BACKGROUND, zorder=4)
    axes.annotate(
        f"Moon, {lit[0]:.0%} lit",
        (float(_x(ra)[0]), float(np.radians(dec)[0])),
        xytext=(9, -4),
        textcoords="offset points",
        color="#ffe9a3",
        fontsize=9,
        zorder=4,
    )


def _draw_footprints(axes: Any, facts: NightFacts, seen: pd.DataFrame) -> None:
    """Outline the camera on the sky; a small camera's outline is smaller than its marker."""
    from matplotlib.patches import Polygon  # noqa: PLC0415 - as above

    half_east, half_north = (half / 3600 for half in facts.camera.half_size_arcsec)
    for row in records(seen.drop_duplicates("field")):
        stretch = 1 / max(np.cos(np.radians(row.dec)), 0.05)
        east = np.array([-1, 1, 1, -1]) * half_east * stretch
        if np.ptp(_x(row.ra + east)) > np.pi:
            continue  # it crosses the map's edge and would be drawn across the whole sky
        north = np.clip(row.dec + np.array([-1, -1, 1, 1]) * half_north, -89.9, 89.9)
        corners = np.column_stack([_x(row.ra + east), np.radians(north)])
        axes.add_patch(
            Polygon(corners, facecolor="#ffffff22", edgecolor="#ffffff88", linewidth=0.8, zorder=3)
        )


def _label_fields(axes: Any, seen: pd.DataFrame) -> None:
    fields = seen.drop_duplicates("field").sort_values("field")
    if len(fields) > 60:
        return
    groups: list[tuple[float, float, list[int]]] = []
    for row in records(fields):
        for ra, dec, names in groups:
            apart = np.hypot(((row.ra - ra + 180) % 360 - 180) * np.cos(np.radians(dec)), row.dec - dec)
            if apart < NEAR_DEG:
                names.append(int(row.field))
                break
        else:
            groups.append((float(row.ra), float(row.dec), [int(row.field)]))
    for ra, dec, names in groups:
        axes.annotate(
            ", ".join(map(str, names)),
            (float(_x(ra)), float(np.radians(dec))),
            xytext=(0, 15),
            textcoords="offset points",
            color=INK,
            fontsize=9,
            ha="center",
            zorder=6,
        )


def _wedge(number: int, of: int) -> Any:
    """Return a marker: one slice of a disc, so that the filters of a field stand side by side."""
    from matplotlib.path import Path as MarkerPath  # noqa: PLC0415 - as above

    width = 360 / max(of, 1)
    start = 90 + number * width
    return MarkerPath.wedge(start + 5, start + width - 5)
