"""What a candidate that is not real most probably is: the most particular thing that lies there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from zsds_tasks.simulator.score_matching import Columns, Integers, Truths, near, rows_of

Floats = NDArray[np.float64]
RAY_PX, TRAIL_PX, BLEED_PX, DEFECT_PX, EDGE_PX = 3.0, 8.0, 5.0, 2.5, 12.0
"""How far from an artefact its candidates lie."""
SATURATED_PX = 25.0
STAR_ARCSEC, GALAXY_ARCSEC, PASSING_ARCSEC = 2.0, 3.0, 3.5
STAR_SHARE, GALAXY_SHARE = 0.2, 0.5
"""A candidate over this share of a source's flux is no mere residual of it."""
BLOCKED = "blocked column"
COSMIC_RAY, SATELLITE, SATURATED, BAD_PIXEL, EDGE = (
    "cosmic_ray", "satellite", "saturated", "bad_pixel", "edge",
)  # fmt: skip
CHANGE_RESIDUAL, STAR_RESIDUAL, GALAXY_RESIDUAL = "change_residual", "star_residual", "galaxy_residual"
PASSED, GHOST, HALO, UNEXPLAINED = "passed", "ghost", "halo", "unexplained"
ARTEFACT_KINDS = (
    *(COSMIC_RAY, SATELLITE, SATURATED, BAD_PIXEL, CHANGE_RESIDUAL, PASSED, STAR_RESIDUAL, GALAXY_RESIDUAL),
    *(EDGE, GHOST, HALO, UNEXPLAINED),
)
"""In the order in which they are tried: the particular before what covers large areas."""


@dataclass(frozen=True)
class Surroundings:
    """What lies in one image besides changes.

    Parameters
    ----------
    sources : Columns
        object_id, kind, ra, dec, x, y, flux (1 is magnitude 20), saturated (bool).
    artefacts : Columns
        kind, x, y, x_end, y_end, radius: of the truth table.
    defects : Columns
        kind, x, y: of the truth table, of this channel.
    passing : Floats (n, 3)
        East, north (arcsec, in the plane of the candidates) and flux of bodies in epochs of the reference.
    """

    sources: Columns
    artefacts: Columns
    defects: Columns
    passing: Floats


def artefact_kinds(
    candidates: Mapping[str, Any], plane: Floats, flux: Floats, changes: Floats, around: Surroundings
) -> tuple[NDArray[np.str_], Integers]:
    """Return the most probable kind of each candidate, were it not real.

    Parameters
    ----------
    candidates : mapping
        xpos, ypos (FITS 1-based), mindtoedge; arrays (n).
    plane : (n, 2) float64, arcsec
        Where candidates are on the tangent plane.
    flux : (n) float64
        Of candidates; 1 is magnitude 20.
    changes : (m, 2) float64, arcsec
        Where something changed.
    around : Surroundings
        `sources` with east and north (arcsec) on the same plane.

    Returns
    -------
    kind : (n) str
        One of `ARTEFACT_KINDS`.
    source : (n) int64
        Row of the source whose residual it is; -1 otherwise.
    """
    pixels = np.column_stack([candidates["xpos"], candidates["ypos"]]).astype(np.float64)
    artefacts, sources = around.artefacts, around.sources
    stars, galaxies = sources["kind"] != "galaxy", sources["kind"] == "galaxy"
    star = _strongest(plane, flux, sources, stars, STAR_ARCSEC, STAR_SHARE)
    galaxy = _strongest(plane, flux, sources, galaxies, GALAXY_ARCSEC, GALAXY_SHARE)
    full = np.column_stack([sources["x"], sources["y"]])[sources["saturated"]]
    is_a = {
        COSMIC_RAY: _near_lines(pixels, artefacts, "cosmic ray", RAY_PX),
        SATELLITE: _near_lines(pixels, artefacts, "trail", TRAIL_PX),
        SATURATED: _near_lines(pixels, artefacts, "bleed", BLEED_PX) | near(pixels, full, SATURATED_PX),
        BAD_PIXEL: _near_defects(pixels, around.defects),
        EDGE: np.asarray(candidates["mindtoedge"]) < EDGE_PX,
        CHANGE_RESIDUAL: near(plane, changes, STAR_ARCSEC),
        STAR_RESIDUAL: star >= 0,
        GALAXY_RESIDUAL: galaxy >= 0,
        PASSED: near(plane, around.passing[:, :2], PASSING_ARCSEC),
        GHOST: _in_discs(pixels, artefacts, "ghost"),
        HALO: _in_discs(pixels, artefacts, "halo"),
        UNEXPLAINED: np.ones(len(pixels), np.bool_),
    }
    first = np.argmax(np.column_stack([is_a[kind] for kind in ARTEFACT_KINDS]), axis=1)
    kind = np.array(ARTEFACT_KINDS)[first]
    source = np.where(kind == STAR_RESIDUAL, star, np.where(kind == GALAXY_RESIDUAL, galaxy, -1))
    return kind, source


def _strongest(
    plane: Floats, flux: Floats, sources: Columns, which: Truths, radius: float, share: float
) -> Integers:
    """Return the row of the brightest source near each candidate that is bright enough; -1 without one."""
    rows = np.flatnonzero(which)
    found = np.full(len(plane), -1, np.int64)
    if not len(rows) or not len(plane):
        return found
    places = np.column_stack([sources["east"], sources["north"]])[rows]
    _, near_by = cKDTree(places).query(plane, k=min(5, len(rows)), distance_upper_bound=radius)
    near_by = near_by.reshape(len(plane), -1)
    light = np.append(sources["flux"][rows], 0.0)[near_by]
    best = light.argmax(axis=1)
    each = np.arange(len(plane))
    enough = light[each, best] * share > flux
    found[enough] = rows[near_by[each, best][enough]]
    return found


def _near_lines(pixels: Floats, artefacts: Columns, kind: str, margin: float) -> Truths:
    """Say which pixels lie within a margin of the segments of a kind, half widths of trails included."""
    hit = np.zeros(len(pixels), np.bool_)
    rows = rows_of(artefacts, artefacts["kind"] == kind)
    width = rows["radius"] if kind == "trail" else np.zeros(len(rows["x"]))
    ends = np.column_stack([rows[name] for name in ("x", "y", "x_end", "y_end")]).astype(np.float64)
    for (x0, y0, x1, y1), wide in zip(ends, width, strict=True):
        dx, dy = x1 - x0, y1 - y0
        along = ((pixels[:, 0] - x0) * dx + (pixels[:, 1] - y0) * dy) / max(dx * dx + dy * dy, 1e-9)
        along = np.clip(along, 0.0, 1.0)
        away = np.hypot(pixels[:, 0] - x0 - along * dx, pixels[:, 1] - y0 - along * dy)
        hit |= away < margin + wide
    return hit


def _in_discs(pixels: Floats, artefacts: Columns, kind: str) -> Truths:
    hit = np.zeros(len(pixels), np.bool_)
    rows = rows_of(artefacts, artefacts["kind"] == kind)
    for x, y, radius in zip(rows["x"], rows["y"], rows["radius"], strict=True):
        hit |= np.hypot(pixels[:, 0] - x, pixels[:, 1] - y) < radius
    return hit


def _near_defects(pixels: Floats, defects: Columns) -> Truths:
    """Say which pixels lie near a defect; a blocked column goes on from where it starts."""
    column = defects["kind"] == BLOCKED
    places = np.column_stack([defects["x"], defects["y"]]).astype(np.float64)
    hit = near(pixels, places[~column], DEFECT_PX)
    columns = np.unique(places[column, 0])
    if len(columns) and len(pixels):
        hit |= (np.abs(pixels[:, :1] - columns) < DEFECT_PX).any(axis=1)
    return hit
