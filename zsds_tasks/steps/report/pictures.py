"""What the pictures of a report have in common: a dark ground in both themes, and small PNG files."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BACKGROUND, PANEL, INK = "#0a101c", "#111a2b", "#c8d3e4"
PALETTE = 128
"""Colours kept in a picture: pixel noise in full colour would make files four times as large."""


def png(figure: Figure) -> bytes:
    """Return a figure as a PNG with a palette.

    Parameters
    ----------
    figure : matplotlib.figure.Figure

    Returns
    -------
    bytes
        The same for the same figure.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - slow import
    from PIL import Image  # noqa: PLC0415 - the same; matplotlib depends on it

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    stream = io.BytesIO()
    image.quantize(PALETTE, dither=Image.Dither.NONE).save(stream, format="PNG", optimize=True)
    return stream.getvalue()
