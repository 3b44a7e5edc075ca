"""Every quadrant where it lies, coloured by the night's median of what was measured there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from zsds_tasks.steps.report.drawing import WIDTH, Axis, rect, svg, text
from zsds_tasks.steps.report.science_data import ScienceFacts
from zsds_tasks.steps.report.science_plot import DIVERGING, SHADES, shade
from zsds_tasks.survey.camera import Camera

LEFT, GAP, HEAD, SCALE = 44.0, 22.0, 34.0, 30.0
SCALE_STEPS = 24


@dataclass(frozen=True)
class Quantity:
    """What a column of mosaics shows."""

    name: str
    column: str
    unit: str
    digits: int
    relative: bool = False
    """Shown from the median of its filter, in thousandths."""


QUANTITIES = (
    Quantity("Seeing", "seeing", "″", 2),
    Quantity("Depth", "maglimit", "", 2),
    Quantity("Zero point", "zp30", "mmag", 0, relative=True),
    Quantity("Sky", "sky", "DN", 0),
    Quantity("Sources", "n_sources", "", 0),
)


def mosaics(facts: ScienceFacts) -> str | None:
    """Draw a grid of small focal planes: a row for each filter, a column for each quantity.

    Returns
    -------
    str or None
        SVG; None without a usable image. Zero points are in thousandths of a magnitude from the median of
        their filter.
    """
    if not facts.filters:
        return None
    camera = facts.night.camera
    half_width, half_height = camera.half_size_arcsec
    panel = (WIDTH - LEFT - GAP * (len(QUANTITIES) - 1)) / len(QUANTITIES)
    tall = panel * half_height / half_width
    parts = []
    for column, quantity in enumerate(QUANTITIES):
        left = LEFT + column * (panel + GAP)
        unit = f", {quantity.unit}" if quantity.unit else ""
        parts.append(text(left, 16, f"{quantity.name}{unit}", more='font-weight="600"'))
    for row, filter_ in enumerate(facts.filters):
        top = HEAD + row * (tall + SCALE + 16)
        parts.append(
            text(LEFT - 16, top + tall / 2 + 5, filter_.name, anchor="end", more='font-weight="600"')
        )
        for column, quantity in enumerate(QUANTITIES):
            values = facts.of_channels(quantity.column, filter_.fid)
            if quantity.relative:
                values = 1000 * (values - values.median())
            left = LEFT + column * (panel + GAP)
            x = Axis(half_width, -half_width, left, left + panel)
            y = Axis(half_height, -half_height, top, top + tall)
            parts += _panel(camera, quantity, values, x, y)
    height = HEAD + len(facts.filters) * (tall + SCALE + 16)
    return svg(WIDTH, height, parts, "Quadrants on the focal plane by filter, coloured by what was measured")


def _panel(camera: Camera, quantity: Quantity, values: pd.Series, x: Axis, y: Axis) -> list[str]:
    low, high = _range(values, relative=quantity.relative)
    stops = DIVERGING if quantity.relative else SHADES
    scale = camera.mosaic.pixel_scale_arcsec
    width, height = camera.quadrant.nx * scale, camera.quadrant.ny * scale
    parts = []
    for quadrant in camera.quadrants:
        left = x(quadrant.centre_east_arcsec + width / 2)
        top = y(quadrant.centre_north_arcsec + height / 2)
        size = x(0) - x(width), y(0) - y(height)
        name = f"{quadrant.ccdid}·q{quadrant.qid}"
        if quadrant.rcid in values.index:
            value = float(values[quadrant.rcid])
            fill = shade((value - low) / (high - low), stops)
            title = f"{name}: {value:.{quantity.digits}f} {quantity.unit}".rstrip()
            more = 'stroke="var(--card)" stroke-width="0.6"'
        else:
            fill, title = "none", f"{name}: no usable image"
            more = 'stroke="var(--faint)" stroke-width="0.8" stroke-dasharray="3 3" pointer-events="all"'
        parts.append(rect(left, top, abs(size[0]), abs(size[1]), fill=fill, title=title, more=more))
    return [*parts, *_scale(quantity, low, high, stops, x, y)] if len(values) else parts


def _range(values: pd.Series, *, relative: bool) -> tuple[float, float]:
    """Return the values that get the first and the last colour."""
    if values.empty:
        return 0.0, 1.0
    if relative:
        most = max(float(values.abs().max()), 1.0)
        return -most, most
    low, high = (float(v) for v in np.percentile(values, [2, 98]))
    least = max(abs(high) * 0.01, 1e-6)
    return (low, high) if high - low > least else ((low + high - least) / 2, (low + high + least) / 2)


def _scale(
    quantity: Quantity, low: float, high: float, stops: tuple[str, ...], x: Axis, y: Axis
) -> list[str]:
    """Return the colours with the values at their ends, below a panel."""
    top, left, right = y.end + 8, min(x.start, x.end), max(x.start, x.end)
    inset = 0.24 * (right - left)
    step = (right - left - 2 * inset) / SCALE_STEPS
    parts = [
        rect(left + inset + n * step, top, step + 0.4, 7, fill=shade(n / (SCALE_STEPS - 1), stops))
        for n in range(SCALE_STEPS)
    ]
    for at, value, anchor in ((left + inset - 6, low, "end"), (right - inset + 6, high, "start")):
        sign = "+" if quantity.relative else ""
        words = f"{value:{sign},.{quantity.digits}f}"
        parts.append(text(at, top + 8, words, anchor=anchor, more='font-size="12"'))
    return parts
