"""The three stamps of a packet as one picture."""

from __future__ import annotations

import gzip
import io
from typing import Any

import numpy as np
from astropy.io import fits
from matplotlib.figure import Figure
from numpy.typing import NDArray

from zsds_tasks.products.packets import CUTOUTS

TITLES = ("science", "template", "difference")


def stamp_pixels(packet: dict[str, Any], name: str) -> NDArray[np.float32]:
    """Return the pixels of a cut-out (ny, nx) float32."""
    data = io.BytesIO(gzip.decompress(packet[name]["stampData"]))
    return np.asarray(fits.getdata(data), np.float32)


def draw_stamps(packet: dict[str, Any]) -> bytes:
    """Return a PNG of the stamps of a packet, under its name, magnitude and scores."""
    figure = Figure(figsize=(7.2, 2.9), layout="constrained")
    candidate = packet["candidate"]
    score = "" if candidate["drb"] is None else f", drb {candidate['drb']:.2f}"
    figure.suptitle(
        f"{packet['objectId']}   {candidate['magpsf']:.2f} mag, {candidate['scorr']:.1f} sigma{score}",
        fontsize=10,
    )
    for axes, name, title in zip(figure.subplots(1, 3), CUTOUTS, TITLES, strict=True):
        pixels = stamp_pixels(packet, name)
        low, high = np.nanpercentile(pixels, [2, 99.5]) if np.isfinite(pixels).any() else (0, 1)
        axes.imshow(pixels, cmap="gray", vmin=low, vmax=max(high, low + 1e-3), origin="lower")
        axes.set_title(title, fontsize=8)
        axes.set_axis_off()
    sink = io.BytesIO()
    figure.savefig(sink, format="png", dpi=110)
    return sink.getvalue()
