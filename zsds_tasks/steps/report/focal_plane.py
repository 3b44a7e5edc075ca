"""A picture of one exposure as it lies in the focal plane: north up, east left, gaps and all."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning
from numpy.typing import NDArray

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.steps.report.gather import NightFacts, records
from zsds_tasks.steps.report.pictures import BACKGROUND, INK, PANEL, png
from zsds_tasks.survey.camera import Camera, Quadrant

LONG_SIDE = 1080
"""Pixels of the picture's longer side, about."""
OVERSCAN_OFFSET = 4
"""The overscan of an image extension lies four extensions later."""
SPOILT = (OSError, ValueError, TypeError, IndexError, KeyError, AstropyUserWarning)
"""What reading a spoilt or lost FITS file raises."""
_SIGMA_PER_MAD = 1.4826


@dataclass(frozen=True)
class Mosaic:
    """A binned exposure on the focal plane."""

    pixels: NDArray[np.float32]
    """(ny, nx) float32, electrons above the overscan; NaN where there is no detector or no file."""
    binning: int
    half_width_arcsec: float
    half_height_arcsec: float
    missing: tuple[int, ...]
    """CCDs without a file that can be read."""
    unreadable: tuple[str, ...] = ()
    """Names of archived files that are gone or spoilt."""


def choose_exposure(facts: NightFacts) -> pd.Series | None:
    """Return the exposure to show: the middle one of the night among the science ones with the most CCDs.

    A night without science exposures shows an illuminated frame, or a bias frame at last; None without any.
    """
    for rows in (
        facts.science,
        facts.exposures[~facts.exposures["kind"].isin([t.name for t in facts.survey.image_types if t.dark])],
        facts.exposures,
    ):
        if len(rows):
            best = rows[rows["n_ccds"] == rows["n_ccds"].max()]
            return best.iloc[len(best) // 2]
    return None


def read_mosaic(lakehouse: Lakehouse, facts: NightFacts, expid: int) -> Mosaic:
    """Read an exposure file by file, bin every quadrant, and put it at its place.

    Parameters
    ----------
    lakehouse : Lakehouse
        Holds the raw files.
    facts : NightFacts
    expid : int

    Returns
    -------
    Mosaic
        At most one quadrant is in memory at full size. An archived file that is gone or spoilt leaves its CCD
        empty: the report is where one reads of it.

    Raises
    ------
    TransientError
        If the storage is in the way.
    """
    camera = facts.camera
    half_width, half_height = camera.half_size_arcsec
    scale = camera.mosaic.pixel_scale_arcsec
    binning = max(1, math.ceil(2 * max(half_width, half_height) / scale / LONG_SIDE))
    step = binning * scale
    canvas = np.full(
        (math.ceil(2 * half_height / step), math.ceil(2 * half_width / step)), np.nan, dtype=np.float32
    )
    rows = facts.quadrants[facts.quadrants["expid"] == expid]
    missing, unreadable = facts.missing_ccds(expid), []
    for file, channels in rows.groupby("path"):
        try:
            with _opened(lakehouse.storage.read_bytes(str(file))) as hdus:
                for row in records(channels):
                    binned = _binned(hdus, int(row.hdu), binning) * float(row.gain)
                    place_quadrant(canvas, binned, camera, camera.quadrants[int(row.rcid)], binning)
                    del hdus[int(row.hdu)].data
        except SPOILT:
            missing.append(int(channels["ccdid"].iloc[0]))
            unreadable.append(PurePosixPath(str(file)).name)
    return Mosaic(canvas, binning, half_width, half_height, tuple(sorted(missing)), tuple(unreadable))


@contextmanager
def _opened(data: bytes) -> Iterator[fits.HDUList]:
    """Open FITS bytes; a warning that they are cut short counts as an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", AstropyUserWarning)
        with fits.open(io.BytesIO(data)) as hdus:
            yield hdus


def _binned(hdus: fits.HDUList, hdu: int, binning: int) -> NDArray[np.float32]:
    """Return means of blocks of pixels above the overscan's median, DN; incomplete blocks are cut off."""
    image = hdus[hdu].data
    level = float(np.median(hdus[hdu + OVERSCAN_OFFSET].data))
    ny, nx = (n // binning for n in image.shape)
    blocks = image[: ny * binning, : nx * binning].reshape(ny, binning, nx, binning)
    return blocks.mean(axis=(1, 3), dtype=np.float32) - np.float32(level)


def place_quadrant(
    canvas: NDArray[np.float32], image: NDArray[np.float32], camera: Camera, quadrant: Quadrant, binning: int
) -> None:
    """Write a binned quadrant into a canvas of the camera's whole field: north up, east left."""
    sign_x, sign_y = camera.axis_signs
    upright = image[:: -1 if sign_y > 0 else 1, :: -1 if sign_x > 0 else 1]
    step = binning * camera.mosaic.pixel_scale_arcsec
    half_width, half_height = camera.half_size_arcsec
    half_nx, half_ny = (
        n * camera.mosaic.pixel_scale_arcsec / 2 for n in (camera.quadrant.nx, camera.quadrant.ny)
    )
    left = round((half_width - quadrant.centre_east_arcsec - half_nx) / step)
    top = round((half_height - quadrant.centre_north_arcsec - half_ny) / step)
    target = canvas[top : top + upright.shape[0], left : left + upright.shape[1]]
    target[...] = upright[: target.shape[0], : target.shape[1]]


def stretched(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return brightness from 0 to 1 by an asinh stretch around the sky; NaN stays NaN.

    Parameters
    ----------
    pixels : (ny, nx) float32

    Returns
    -------
    (ny, nx) float32
        Sky near 0.2, sources up to the 99.9th percentile spread over the rest.
    """
    valid = pixels[np.isfinite(pixels)]
    if valid.size == 0:
        return pixels
    sky = np.median(valid)
    sigma = max(_SIGMA_PER_MAD * float(np.median(np.abs(valid - sky))), 1e-3)
    low, high = -2.5 * sigma, max(float(np.percentile(valid, 99.9)) - float(sky), 8 * sigma)
    soft = 3 * sigma
    floor, ceiling = np.arcsinh(low / soft), np.arcsinh(high / soft)
    brightness = (np.arcsinh((pixels - sky) / soft) - floor) / (ceiling - floor)
    return np.clip(brightness, 0, 1).astype(np.float32)


def focal_plane_png(mosaic: Mosaic, camera: Camera) -> bytes:
    """Draw a mosaic with the numbers of its CCDs and quadrants and a compass.

    Parameters
    ----------
    mosaic : Mosaic
    camera : Camera

    Returns
    -------
    bytes
        PNG.
    """
    from matplotlib.colors import LinearSegmentedColormap  # noqa: PLC0415 - slow import
    from matplotlib.figure import Figure  # noqa: PLC0415 - the same

    ny, nx = mosaic.pixels.shape
    margin, dpi = 34, 100
    figure = Figure(figsize=((nx + 2 * margin) / dpi, (ny + 2 * margin) / dpi), dpi=dpi, facecolor=BACKGROUND)
    axes = figure.add_axes(
        (
            margin / (nx + 2 * margin),
            margin / (ny + 2 * margin),
            nx / (nx + 2 * margin),
            ny / (ny + 2 * margin),
        )
    )
    shades = ["#05070d", "#22304d", "#8fa3c4", "#fffaf0"]
    colours = LinearSegmentedColormap.from_list("night", shades, N=96).with_extremes(bad=BACKGROUND)
    axes.imshow(
        np.ma.masked_invalid(stretched(mosaic.pixels)),
        cmap=colours,
        vmin=0,
        vmax=1,
        interpolation="none",
        origin="upper",
        extent=(
            mosaic.half_width_arcsec,
            -mosaic.half_width_arcsec,
            -mosaic.half_height_arcsec,
            mosaic.half_height_arcsec,
        ),
    )
    axes.set_axis_off()
    _label_quadrants(axes, camera, mosaic)
    style: dict[str, Any] = {"color": INK, "fontsize": 10, "ha": "center", "va": "center"}
    figure.text(0.5, 1 - margin / 2 / (ny + 2 * margin), "N", **style)
    figure.text(margin / 2 / (nx + 2 * margin), 0.5, "E", **style)
    return png(figure)


def _label_quadrants(axes: Any, camera: Camera, mosaic: Mosaic) -> None:
    from matplotlib.patches import Rectangle  # noqa: PLC0415 - as above
    from matplotlib.patheffects import withStroke  # noqa: PLC0415 - as above

    scale = camera.mosaic.pixel_scale_arcsec
    width, height = camera.quadrant.nx * scale, camera.quadrant.ny * scale
    size = 10 if camera.n_ccds <= 4 else 7
    for quadrant in camera.quadrants:
        east, north = quadrant.centre_east_arcsec, quadrant.centre_north_arcsec
        missing = quadrant.ccdid in mosaic.missing
        corner = (east - width / 2, north - height / 2)
        axes.add_patch(
            Rectangle(
                corner,
                width,
                height,
                facecolor=PANEL if missing else "none",
                edgecolor="#3a4a68",
                linewidth=0.6,
                hatch="///" if missing else None,
            )
        )
        words = f"{quadrant.ccdid}·q{quadrant.qid}" + ("  missing" if missing else "")
        axes.text(
            east + width * 0.47,
            north + height * 0.46,
            words,
            color=INK,
            fontsize=size,
            ha="left",
            va="top",
            path_effects=[withStroke(linewidth=2.2, foreground="#05070d")],
        )
