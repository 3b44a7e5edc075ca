"""The colour-magnitude diagram of the night: what was seen in g and in r, object by object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.steps.report.gather import records
from zsds_tasks.steps.report.pictures import BACKGROUND, INK, PANEL, png
from zsds_tasks.steps.report.science_data import ScienceFacts

Floats = NDArray[np.float64]
RADIUS_ARCSEC = 1.0
LEAST_SNR = 10.0
POINT_CLASS = 0.5
COLOUR_RANGE, BIN = (-0.6, 2.4), 0.02
_COLUMNS = ("ra", "dec", "mag", "clrcoeff", "snr", "flags", "class_star")


@dataclass(frozen=True)
class ColourMagnitude:
    """Objects seen in two filters.

    Parameters
    ----------
    colour, mag : numpy.ndarray (n), float64
        g - r and r in the system of the calibrators.
    is_point : numpy.ndarray (n), bool
        By the star-galaxy class in r.
    caption : str
    """

    colour: Floats
    mag: Floats
    is_point: NDArray[np.bool_]
    caption: str


def colour_magnitude(lakehouse: Lakehouse, facts: ScienceFacts) -> ColourMagnitude | None:
    """Match the sources of one exposure in g with those of one in r of the same field.

    Returns
    -------
    ColourMagnitude or None
        None if no field was seen in both, or no source was.
    """
    pair = _pair(facts)
    if pair is None:
        return None
    field, blue, red = pair
    g, r = (_sources(lakehouse, facts, expid) for expid in (blue, red))
    if not len(g["ra"]) or not len(r["ra"]):
        return None
    mine, theirs = nearest_pairs(g, r, RADIUS_ARCSEC)
    if not len(mine):
        return None
    # Two magnitudes without colour terms, and two equations for the colour.
    slope = 1 - g["clrcoeff"][mine] + r["clrcoeff"][theirs]
    colour = (g["mag"][mine] - r["mag"][theirs]) / slope
    mag = r["mag"][theirs] + r["clrcoeff"][theirs] * colour
    place = f"field {field}" if field else "the same place"
    caption = (
        f"{len(mine):,} sources of S/N over {LEAST_SNR:g} in both, of {place}: exposures {blue} in g and "
        f"{red} in r, matched within {RADIUS_ARCSEC:g}″, colour terms applied."
    )
    return ColourMagnitude(colour, mag, r["class_star"][theirs] > POINT_CLASS, caption)


def _pair(facts: ScienceFacts) -> tuple[int, int, int] | None:
    """Return the field with the most sources in both filters, and its deepest exposure in each."""
    fids = {f.name: f.fid for f in facts.night.survey.filters}
    if "g" not in fids or "r" not in fids or facts.good.empty:
        return None
    rows = facts.good.assign(n_sources=facts.good["n_sources"].fillna(0))
    shots = rows.groupby(["field", "fid", "expid"])["n_sources"].sum().reset_index()
    best: dict[tuple[int, int], tuple[float, int]] = {}
    for shot in records(shots):
        place = int(shot.field), int(shot.fid)
        best[place] = max(best.get(place, (-1.0, 0)), (float(shot.n_sources), int(shot.expid)))
    choices = [
        (min(best[field, fids["g"]][0], best[field, fids["r"]][0]), field)
        for field, fid in best
        if fid == fids["g"] and (field, fids["r"]) in best
    ]
    if not choices:
        return None
    _, field = max(choices)
    return field, best[field, fids["g"]][1], best[field, fids["r"]][1]


def _sources(lakehouse: Lakehouse, facts: ScienceFacts, expid: int) -> dict[str, NDArray[Any]]:
    where = {"night": str(facts.night.night), "expid": expid, "flags": 0, "snr": (LEAST_SNR, None)}
    rows = lakehouse.table("sources").read(_COLUMNS, where=where)
    return {name: rows.column(name).to_numpy(zero_copy_only=False).astype(np.float64) for name in _COLUMNS}


def nearest_pairs(
    one: dict[str, NDArray[Any]], other: dict[str, NDArray[Any]], radius_arcsec: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows of two lists of places (ra, dec; deg) that are each other's nearest within a radius."""
    from scipy.spatial import cKDTree  # noqa: PLC0415 - slow import

    here, there = _vectors(one), _vectors(other)
    reach = 2 * np.sin(np.radians(radius_arcsec / 3600) / 2)
    distance, found = cKDTree(there).query(here, distance_upper_bound=reach)
    _, back = cKDTree(here).query(there)
    rows = np.flatnonzero(np.isfinite(distance))
    mutual = back[found[rows]] == rows
    return rows[mutual], found[rows[mutual]].astype(np.int64)


def _vectors(places: dict[str, NDArray[Any]]) -> Floats:
    ra, dec = np.radians(places["ra"]), np.radians(places["dec"])
    return np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])


def colour_magnitude_png(diagram: ColourMagnitude) -> bytes:
    """Draw the diagram: points at left, extended sources at right; brightness is the number of sources.

    Parameters
    ----------
    diagram : ColourMagnitude

    Returns
    -------
    bytes
        PNG.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow import

    figure = Figure(figsize=(11.2, 5.4), dpi=100, facecolor=BACKGROUND)
    limits = (float(np.ceil(2 * diagram.mag.max()) / 2), float(np.floor(2 * diagram.mag.min()) / 2))
    for number, (name, rows) in enumerate(
        (("point-like", diagram.is_point), ("extended", ~diagram.is_point))
    ):
        axes = figure.add_axes((0.06 + 0.48 * number, 0.11, 0.43, 0.81), facecolor=PANEL)
        _draw(axes, diagram.colour[rows], diagram.mag[rows])
        axes.set_xlim(*COLOUR_RANGE)
        axes.set_ylim(*limits)
        axes.set_title(f"{name}: {int(rows.sum()):,}", color=INK, fontsize=11)
        axes.set_xlabel("g - r, mag", color=INK)
        if not number:
            axes.set_ylabel("r, mag", color=INK)
        axes.tick_params(colors=INK, labelsize=9)
        for spine in axes.spines.values():
            spine.set_color("#2b3850")
    return png(figure)


def _draw(axes: Any, colour: Floats, mag: Floats) -> None:
    """Draw each source as a dot, those with company brighter."""
    if not len(colour):
        return
    cell = np.column_stack([np.floor(colour / (2 * BIN)), np.floor(mag / (5 * BIN))]).astype(np.int64)
    _, which, count = np.unique(cell, axis=0, return_inverse=True, return_counts=True)
    company = np.log10(count[which.ravel()])
    order = np.argsort(company, kind="stable")
    axes.scatter(
        colour[order],
        mag[order],
        c=company[order],
        s=7 if len(colour) < 20_000 else 2,
        cmap="plasma",
        vmin=-0.6,
        vmax=max(float(company.max()), 0.6),
        linewidths=0,
        alpha=0.85,
    )
