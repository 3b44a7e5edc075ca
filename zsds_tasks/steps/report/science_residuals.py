"""Where on the focal plane places and magnitudes are off: the night's median residuals, cell by cell."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zsds_tasks.steps.report.drawing import Axis, dot, line, nice_ticks, rect, svg, text
from zsds_tasks.steps.report.focal_plane import place_quadrant
from zsds_tasks.steps.report.pictures import BACKGROUND, INK, png
from zsds_tasks.steps.report.science_data import CELLS, ScienceFacts, cell_medians
from zsds_tasks.steps.report.science_plot import DIVERGING, SHADES, shade
from zsds_tasks.survey.camera import Camera

WIDTH = 1120.0
WIDEST = 720.0
"""Of the arrows' field; a square camera would else fill two screens."""
LONG_SIDE = 420
"""Pixels of the longer side of a photometric map, about."""


def astrometric_map(facts: ScienceFacts) -> tuple[str, str] | None:
    """Draw the median astrometric residual of every cell as an arrow.

    Returns
    -------
    (str, str) or None
        SVG and caption; None if nothing was measured. East is left, so an arrow to the left is a source found
        east of its catalogue place.
    """
    cells = cell_medians(facts.good, "astrometry_cells", 2)
    lengths = [np.hypot(c[..., 0], c[..., 1]) for c in cells.values()]
    known = np.concatenate([n[np.isfinite(n)] for n in lengths]) if lengths else np.zeros(0)
    if not known.size:
        return None
    camera = facts.night.camera
    half_width, half_height = camera.half_size_arcsec
    wide = min(WIDEST, WIDTH - 40) if half_height > 0.8 * half_width else WIDTH - 40
    left = (WIDTH - wide) / 2
    x = Axis(half_width, -half_width, left, left + wide)
    y = Axis(half_height, -half_height, 10, 10 + wide * half_height / half_width)
    longest = float(np.percentile(known, 99))
    reference = _round_length(0.7 * longest)
    spacing = abs(x(camera.quadrant.nx * camera.mosaic.pixel_scale_arcsec / CELLS) - x(0))
    stretch = 0.95 * spacing / longest
    parts = _outlines(camera, x, y)
    for rcid, cell in cells.items():
        parts += _arrows(camera, rcid, cell, (x, y), stretch, longest)
    parts += _key(reference, stretch, x, y)
    half, most = (1000 * float(np.percentile(known, percent)) for percent in (50, 95))
    caption = (
        f"Median over {len(facts.good):,} images of every cell's residual, found minus catalogue; half "
        f"are below {half:.0f} mas, 95 per cent below {most:.0f} mas."
    )
    return svg(WIDTH, y.end + 44, parts, "Astrometric residuals on the focal plane"), caption


def _round_length(arcsec: float) -> float:
    """Return a length for the key: 1, 2 or 5 times a power of ten, near to this."""
    power = 10.0 ** math.floor(math.log10(max(arcsec, 1e-4)))
    return min((m * power for m in (1, 2, 5, 10)), key=lambda v: abs(math.log(v / max(arcsec, 1e-4))))


def _outlines(camera: Camera, x: Axis, y: Axis) -> list[str]:
    scale = camera.mosaic.pixel_scale_arcsec
    width, height = camera.quadrant.nx * scale, camera.quadrant.ny * scale
    return [
        rect(
            x(q.centre_east_arcsec + width / 2),
            y(q.centre_north_arcsec + height / 2),
            abs(x(width) - x(0)),
            abs(y(height) - y(0)),
            fill="var(--paper)",
            title=f"{q.ccdid}·q{q.qid}",
            more='stroke="var(--line)"',
        )
        for q in camera.quadrants
    ]


def _arrows(
    camera: Camera,
    rcid: int,
    cell: NDArray[np.float32],
    axes: tuple[Axis, Axis],
    stretch: float,
    longest: float,
) -> list[str]:
    parts, (x, y) = [], axes
    nx, ny = camera.quadrant.nx / CELLS, camera.quadrant.ny / CELLS
    for row, column in zip(*np.nonzero(np.isfinite(cell[..., 0])), strict=True):
        east, north = (float(v) for v in cell[row, column])
        place = camera.focal_plane(rcid, (column + 0.5) * nx + 0.5, (row + 0.5) * ny + 0.5)
        at = x(place[0]), y(place[1])
        length = math.hypot(east, north)
        stroke = shade(0.1 + 0.55 * min(length / longest, 1.0), SHADES)
        tip = at[0] - stretch * east, at[1] - stretch * north
        parts.append(dot(*at, 2.0, fill=stroke, title=f"{1000 * east:+.0f}, {1000 * north:+.0f} mas"))
        parts.append(line(*at, *tip, stroke=stroke, more='stroke-width="1.8" stroke-linecap="round"'))
    return parts


def _key(reference: float, stretch: float, x: Axis, y: Axis) -> list[str]:
    left, level = min(x.start, x.end), y.end + 26
    end = left + reference * stretch
    return [
        dot(left, level, 2.0, fill="var(--soft)"),
        line(left, level, end, level, stroke="var(--soft)", more='stroke-width="1.8"'),
        text(end + 10, level + 4, f"{1000 * reference:g} mas; the dot is where it was measured"),
        text(max(x.start, x.end), level + 4, "north up, east left", anchor="end"),
    ]


def photometric_maps(facts: ScienceFacts) -> dict[str, NDArray[np.float32]]:
    """Return the median photometric residual (mmag) on the focal plane, by name of filter.

    Returns
    -------
    dict of numpy.ndarray (ny, nx), float32
        NaN where there is no detector or nothing was measured; filters without measures are left out.
    """
    maps = {}
    for filter_ in facts.filters:
        cells = cell_medians(facts.good[facts.good["fid"] == filter_.fid], "zp_cells", 1)
        if any(np.isfinite(c).any() for c in cells.values()):
            maps[filter_.name] = _laid_out(facts.night.camera, cells)
    return maps


def _laid_out(camera: Camera, cells: dict[int, NDArray[np.float32]]) -> NDArray[np.float32]:
    half_width, half_height = camera.half_size_arcsec
    scale = camera.mosaic.pixel_scale_arcsec
    binning = max(1, math.ceil(2 * max(half_width, half_height) / scale / LONG_SIDE))
    step = binning * scale
    canvas = np.full(
        (math.ceil(2 * half_height / step), math.ceil(2 * half_width / step)), np.nan, np.float32
    )
    ny, nx = camera.quadrant.ny // binning, camera.quadrant.nx // binning
    row, column = (np.arange(n) * CELLS // n for n in (ny, nx))
    for rcid, cell in cells.items():
        image = 1000 * cell[row[:, None], column, 0]
        place_quadrant(canvas, image, camera, camera.quadrants[rcid], binning)
    return canvas


def photometric_png(maps: dict[str, NDArray[np.float32]]) -> bytes:
    """Draw the maps side by side over one scale.

    Parameters
    ----------
    maps : dict of numpy.ndarray
        See `photometric_maps`; at least one.

    Returns
    -------
    bytes
        PNG.
    """
    from matplotlib.colors import LinearSegmentedColormap  # noqa: PLC0415 - slow import
    from matplotlib.figure import Figure  # noqa: PLC0415 - the same

    first = next(iter(maps.values()))
    ny, nx = first.shape
    dpi, margin, bar = 100, 20, 96
    width, height = len(maps) * (nx + margin) + margin + bar, ny + 60
    figure = Figure(figsize=(width / dpi, height / dpi), dpi=dpi, facecolor=BACKGROUND)
    most = max(_outermost(image) for image in maps.values())
    colours = LinearSegmentedColormap.from_list("residual", DIVERGING, N=96).with_extremes(bad=BACKGROUND)
    for number, (name, image) in enumerate(maps.items()):
        left = margin + number * (nx + margin)
        axes = figure.add_axes((left / width, 16 / height, nx / width, ny / height))
        shown = axes.imshow(
            np.ma.masked_invalid(image), cmap=colours, vmin=-most, vmax=most, interpolation="none"
        )
        axes.set_axis_off()
        axes.set_title(name, color=INK, fontsize=12)
    scale = figure.add_axes(((width - bar + 8) / width, 16 / height, 14 / width, ny / height))
    figure.colorbar(shown, cax=scale, ticks=nice_ticks(-most, most, 5))
    scale.tick_params(colors=INK, labelsize=9)
    scale.set_title("mmag", color=INK, fontsize=10, pad=8)
    return png(figure)


def _outermost(image: NDArray[np.float32]) -> float:
    known = np.abs(image[np.isfinite(image)])
    return max(float(np.percentile(known, 98)), 1.0) if known.size else 1.0


def typical_size(maps: dict[str, NDArray[np.float32]]) -> str:
    """Return the scatter of each map in words, such as ``g 6, r 5 mmag``."""
    words = [f"{name} {pd.Series(image.ravel()).std():.0f}" for name, image in maps.items()]
    return f"{', '.join(words)} mmag"
