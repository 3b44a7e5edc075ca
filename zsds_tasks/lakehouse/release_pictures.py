"""The picture of a release: rows per cell, on a chart of each patch of sky that has any."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.lakehouse.release_maps import SkyMap
from zsds_tasks.sky import healpix

DRAWN_CELLS = 6000
"""More cells than that are joined before they are drawn."""
PATCH_ORDER = 5
"""Cells whose ancestors of this order (1.8 deg) touch lie on one patch."""
PATCHES = 6
"""As many have charts of their own; more are drawn on the whole sky only."""
LOCAL_DEG = 20.0
"""From the middle of a patch to its edge: larger ones are drawn on the whole sky only."""
COARSEST_ON_SKY = 6
"""Order of cells on a map of the whole sky; finer ones would be smaller than its dots."""
WIDTH, PER_ROW, COLUMNS = 9.0, 3, 6
POINTS_PER_DEG = 1.3
"""On the map of the whole sky."""

Floats = NDArray[np.float64]


def draw_map(map_: SkyMap, title: str) -> bytes:
    """Draw rows per cell: a chart of each patch, or the whole sky; east is left.

    Parameters
    ----------
    map_ : SkyMap
        With at least one cell.
    title : str

    Returns
    -------
    bytes
        PNG.
    """
    from matplotlib.cm import ScalarMappable  # noqa: PLC0415 - slow import
    from matplotlib.colors import LogNorm, Normalize  # noqa: PLC0415 - as above
    from matplotlib.figure import Figure  # noqa: PLC0415 - as above

    patches = find_patches(map_)
    local = len(patches) <= PATCHES and all(_reach(patch) <= LOCAL_DEG for patch in patches)
    while len(map_.cells) > DRAWN_CELLS or (not local and map_.order > COARSEST_ON_SKY):
        map_ = map_.coarser(map_.order - 1)
    drawn = find_patches(map_)[:PATCHES] if local else []
    low, high = int(map_.counts.min()), int(map_.counts.max())
    norm = LogNorm(low, high) if high > 30 * low else Normalize(0, high)
    rows = -(-len(drawn) // PER_ROW)
    sky = len(drawn) != 1
    tall = {1: 7.0, 2: 4.0}.get(len(drawn), 3.2)
    heights = [*([3.6] if sky else []), *[tall] * rows, 0.14]
    figure = Figure(figsize=(WIDTH, sum(heights) + 0.8), dpi=110, layout="constrained")
    grid = figure.add_gridspec(len(heights), COLUMNS, height_ratios=heights)
    if sky:
        _draw_sky(figure.add_subplot(grid[0, :], projection="mollweide"), map_, drawn, norm)
    for row in range(rows):
        here = drawn[row * PER_ROW : (row + 1) * PER_ROW]
        wide = COLUMNS // len(here)
        for column, patch in enumerate(here):
            place = grid[row + sky, column * wide : (column + 1) * wide]
            number = f"{row * PER_ROW + column + 1}: " if sky else ""
            _draw_patch(figure.add_subplot(place), patch, norm, number)
    side = healpix.resolution_deg(map_.order) * 60.0
    told = f"{side:.1f} arcmin" if side < 90.0 else f"{side / 60.0:.1f} deg"
    colours = ScalarMappable(norm, "viridis")
    label = f"rows per cell of {told} (HEALPix order {map_.order})"
    figure.colorbar(colours, cax=figure.add_subplot(grid[-1, :]), orientation="horizontal", label=label)
    figure.suptitle(title, fontsize=11)
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


def find_patches(map_: SkyMap) -> list[SkyMap]:
    """Divide a map into patches of cells that lie together, those with the most rows first."""
    order = min(PATCH_ORDER, map_.order)
    home = map_.cells >> (2 * (map_.order - order))
    large = np.unique(home)
    around = healpix.neighbours(large, order)
    group = np.arange(len(large))
    slot = np.searchsorted(large, around).clip(max=len(large) - 1)
    touching = large[slot] == around
    while True:
        # The smallest number in the neighbourhood wins, until no number changes.
        nearest = np.where(touching, group[slot], len(large)).min(axis=1)
        smaller = np.minimum(group, nearest)
        if (smaller == group).all():
            break
        group = smaller
    of_cell = group[np.searchsorted(large, home)]
    patches = [
        SkyMap(map_.order, map_.cells[of_cell == one], map_.counts[of_cell == one])
        for one in np.unique(group)
    ]
    return sorted(patches, key=lambda patch: -int(patch.counts.sum()))


def _middle(map_: SkyMap) -> tuple[float, float, Floats]:
    """Return the middle of a map, degrees, and directions of the corners of its cells (C, 4, 3)."""
    vectors = healpix.unit_vectors(*healpix.outlines(map_.cells, map_.order, 1))
    mean = vectors.mean(axis=(0, 1))
    ra = float(np.degrees(np.arctan2(mean[1], mean[0])) % 360.0)
    return ra, float(np.degrees(np.arctan2(mean[2], np.hypot(mean[0], mean[1])))), vectors


def _reach(map_: SkyMap) -> float:
    """Return how far a map reaches from its middle, degrees."""
    ra, dec, vectors = _middle(map_)
    return float(np.degrees(np.arccos(np.clip(vectors @ healpix.unit_vectors(ra, dec), -1.0, 1.0))).max())


def _draw_patch(axes: Any, patch: SkyMap, norm: Any, number: str) -> None:
    """Draw a patch in offsets from its middle on the tangential plane, which has no poles and no 0 h."""
    from matplotlib.collections import PolyCollection  # noqa: PLC0415 - slow import

    ra, dec, _ = _middle(patch)
    vectors = healpix.unit_vectors(*healpix.outlines(patch.cells, patch.order, 4))
    forward = healpix.unit_vectors(ra, dec)
    east = np.array([-np.sin(np.radians(ra)), np.cos(np.radians(ra)), 0.0])
    depth = vectors @ forward
    corners: Any = np.degrees(
        np.stack([vectors @ east / depth, vectors @ np.cross(forward, east) / depth], axis=-1)
    )
    axes.add_collection(
        PolyCollection(
            corners, array=patch.counts, cmap="viridis", norm=norm, edgecolors="face", linewidths=0.2
        )
    )
    low, high = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
    half = 0.53 * float((high - low).max())
    centre = (low + high) / 2.0
    axes.set_xlim(centre[0] + half, centre[0] - half)
    axes.set_ylim(centre[1] - half, centre[1] + half)
    axes.set_aspect("equal")
    axes.grid(color="0.85", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)
    axes.set_xlabel("east of the middle (deg)", fontsize=8)
    axes.set_ylabel("north (deg)", fontsize=8)
    axes.set_title(f"{number}{ra:.3f} {dec:+.3f} deg", fontsize=9)


def _draw_sky(axes: Any, map_: SkyMap, patches: list[SkyMap], norm: Any) -> None:
    """Draw the whole sky: cells, or numbers where patches have charts of their own."""
    axes.grid(color="0.8", linewidth=0.5)
    if patches:
        for number, patch in enumerate(patches, 1):
            middle_ra, middle_dec, _ = _middle(patch)
            place = (_westward(middle_ra), np.radians(middle_dec))
            axes.plot(*place, "o", ms=4, color="C3")
            axes.annotate(str(number), place, (5, 3), textcoords="offset points", fontsize=9)
    else:
        shift = 2 * (healpix.INDEX_ORDER - map_.order)
        # The northern quarter of a cell begins in its middle.
        ra, dec = healpix.position_of((map_.cells << shift) + (3 << (shift - 2)))
        size = max(POINTS_PER_DEG * healpix.resolution_deg(map_.order), 1.5) ** 2
        style = {"marker": "D", "cmap": "viridis", "norm": norm, "linewidths": 0}
        axes.scatter(_westward(ra), np.radians(dec), s=size, c=map_.counts, **style)
    hours = np.arange(-120, 121, 60)
    axes.set_xticks(np.radians(hours), [f"{-hour % 360}\N{DEGREE SIGN}" for hour in hours])
    axes.tick_params(labelsize=7)


def _westward(ra_deg: Any) -> Any:
    """Return the horizontal coordinate of the sky's map: radians, growing to the west."""
    return -np.radians((np.asarray(ra_deg, float) + 180.0) % 360.0 - 180.0)
