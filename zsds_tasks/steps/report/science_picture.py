"""A calibrated exposure as it lies in the focal plane, and what its masks cover."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.pixels.compressed import decode_image
from zsds_tasks.products.masks import UNUSABLE, MaskBit
from zsds_tasks.products.science_files import IMAGE, MASK, product_path
from zsds_tasks.steps.report.focal_plane import LONG_SIDE, Mosaic, focal_plane_png, place_quadrant
from zsds_tasks.steps.report.gather import NightFacts
from zsds_tasks.steps.report.pictures import BACKGROUND, PANEL, png
from zsds_tasks.steps.report.science_data import Row, ScienceFacts, rows_of
from zsds_tasks.survey.camera import Camera

LAYERS = (
    ("bad pixels", "#7b8aa3", (MaskBit.LOW_RESPONSE, MaskBit.HIGH_RESPONSE, MaskBit.NOISY, MaskBit.DEAD)),
    ("halos", "#3f6fb5", (MaskBit.HALO,)),
    ("ghosts", "#a46fd0", (MaskBit.GHOST, MaskBit.SPILLAGE_GHOST)),
    ("spikes", "#4fd1a5", (MaskBit.SPIKE,)),
    ("saturated, bleeds", "#ff6a58", (MaskBit.SATURATED,)),
    ("tracks", "#f0bd4e", (MaskBit.TRACK,)),
)
"""What is shown of masks, later ones over earlier: name, colour, bits."""
SKY_SAMPLE = 17


@dataclass(frozen=True)
class CalibratedPicture:
    """One exposure in pictures, or why there is none.

    Parameters
    ----------
    image, mask : bytes or None
        PNG.
    caption : str
    masked : str
        What the masks cover, in words.
    """

    image: bytes | None
    mask: bytes | None
    caption: str
    masked: str = ""


def calibrated_picture(lakehouse: Lakehouse, facts: ScienceFacts) -> CalibratedPicture:
    """Read the products of one exposure and draw them.

    Parameters
    ----------
    lakehouse : Lakehouse
    facts : ScienceFacts

    Returns
    -------
    CalibratedPicture
        Of the exposure in the middle of the night among those with the most usable images. At most one
        quadrant is in memory at full size. A file that is gone or spoilt leaves its quadrant empty.
    """
    good = facts.good
    written = good[[product_path(row, IMAGE) is not None for row in rows_of(good)]]
    if written.empty:
        return CalibratedPicture(None, None, "No calibrated image was written: there is nothing to show.")
    count = written.groupby("expid")["obsjd"].agg(["size", "first"]).sort_values("first")
    best = count[count["size"] == count["size"].max()]
    expid = int(best.index[len(best) // 2])
    rows = written[written["expid"] == expid]
    mosaic, unread = _read_images(lakehouse, facts, rows)
    if np.isnan(mosaic.pixels).all():
        return CalibratedPicture(
            None, None, f"Exposure {expid} cannot be shown: its files are gone or spoilt."
        )
    layers, shares = _read_masks(lakehouse, facts, rows, mosaic.binning)
    gone = f" Gone or spoilt: {', '.join(unread)}." if unread else ""
    gone += _left_out(facts, expid)
    return CalibratedPicture(
        focal_plane_png(mosaic, facts.night.camera),
        None if layers is None else _mask_png(layers, mosaic.binning),
        f"{_told(facts.night, rows)} Sky subtracted, every quadrant on one zero point, binned "
        f"{mosaic.binning} x {mosaic.binning}, asinh stretch.{gone}",
        shares,
    )


def _told(night: NightFacts, rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    where = f", field {first['field']}" if first["field"] else ""
    seeing, limit = rows["seeing"].median(), rows["maglimit"].median()
    measured = "" if pd.isna(seeing) else f", seeing {seeing:.2f}″, limit {limit:.2f} mag"
    name = night.kind_name(str(first["filtercode"]))
    return f"Exposure {first['expid']}: {name}{where}, {len(rows)} quadrants{measured}."


def _left_out(facts: ScienceFacts, expid: int) -> str:
    failed = facts.failed[facts.failed["expid"] == expid]
    names = [f"{row['ccdid']}·q{row['qid']}" for row in rows_of(failed)]
    return f" Failed: {', '.join(names)}." if names else ""


def _read_images(
    lakehouse: Lakehouse, facts: ScienceFacts, rows: pd.DataFrame
) -> tuple[Mosaic, tuple[str, ...]]:
    camera = facts.night.camera
    half_width, half_height = camera.half_size_arcsec
    scale = camera.mosaic.pixel_scale_arcsec
    binning = max(1, math.ceil(2 * max(half_width, half_height) / scale / LONG_SIDE))
    canvas = _canvas(camera, binning)
    zero_point = rows["magzp"].median()
    unread = []
    for row in rows_of(rows):
        image = _read(lakehouse, row, IMAGE)
        if image is None:
            unread.append(f"{row['ccdid']}·q{row['qid']}")
            continue
        binned = _block_means(image, binning) - np.float32(np.nanmedian(image[::SKY_SAMPLE, ::SKY_SAMPLE]))
        if np.isfinite(row["magzp"]):
            binned *= np.float32(10 ** (0.4 * (zero_point - row["magzp"])))
        place_quadrant(canvas, binned, camera, camera.quadrants[int(row["rcid"])], binning)
    return Mosaic(canvas, binning, half_width, half_height, _missing(facts, rows)), tuple(unread)


def _missing(facts: ScienceFacts, rows: pd.DataFrame) -> tuple[int, ...]:
    """CCDs none of whose quadrants were calibrated."""
    present = set(rows["ccdid"])
    return tuple(ccdid for ccdid in facts.night.camera.ccdids if ccdid not in present)


def _read(lakehouse: Lakehouse, row: Row, suffix: str) -> NDArray[Any] | None:
    path = product_path(row, suffix)
    if path is None:
        return None
    try:
        return decode_image(lakehouse.storage.read_bytes(path), subject=path)
    except (UnusableInputError, FileNotFoundError):
        return None


def _canvas(camera: Camera, binning: int) -> NDArray[np.float32]:
    step = binning * camera.mosaic.pixel_scale_arcsec
    half_width, half_height = camera.half_size_arcsec
    shape = math.ceil(2 * half_height / step), math.ceil(2 * half_width / step)
    return np.full(shape, np.nan, np.float32)


def _block_means(image: NDArray[Any], binning: int) -> NDArray[np.float32]:
    """Return means of blocks of pixels, NaN where a block holds one; incomplete blocks are cut off."""
    ny, nx = (n // binning for n in image.shape)
    blocks = image[: ny * binning, : nx * binning].reshape(ny, binning, nx, binning)
    return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float32))


def _read_masks(
    lakehouse: Lakehouse, facts: ScienceFacts, rows: pd.DataFrame, binning: int
) -> tuple[NDArray[np.float32] | None, str]:
    """Return the number of the uppermost layer at every place (0: none) and, in words, what is covered."""
    camera = facts.night.camera
    canvas = _canvas(camera, binning)
    covered, pixels, unusable = np.zeros(len(LAYERS)), 0, 0
    for row in rows_of(rows):
        mask = _read(lakehouse, row, MASK)
        if mask is None:
            continue
        pixels += mask.size
        unusable += int(np.count_nonzero(mask & UNUSABLE))
        covered += [np.count_nonzero(mask & flags) for flags in _flags()]
        place_quadrant(canvas, _topmost(mask, binning), camera, camera.quadrants[int(row["rcid"])], binning)
    if not pixels:
        return None, ""
    shares = ", ".join(
        f"{name} {count / pixels:.3%}" for (name, _, _), count in zip(LAYERS, covered, strict=True) if count
    )
    return canvas, f"{unusable / pixels:.2%} of the pixels are unusable: {shares or 'none'}."


def _flags() -> Iterator[int]:
    for _, _, bits in LAYERS:
        yield sum(bit.flag for bit in bits)


def _topmost(mask: NDArray[np.uint16], binning: int) -> NDArray[np.float32]:
    ny, nx = (n // binning for n in mask.shape)
    blocks = mask[: ny * binning, : nx * binning].reshape(ny, binning, nx, binning)
    bits = np.bitwise_or.reduce(np.bitwise_or.reduce(blocks, axis=3), axis=1)
    top = np.zeros(bits.shape, np.float32)
    for number, flags in enumerate(_flags(), 1):
        top[(bits & flags) > 0] = number
    return top


def _mask_png(layers: NDArray[np.float32], binning: int) -> bytes:
    from matplotlib.colors import ListedColormap  # noqa: PLC0415 - slow import
    from matplotlib.figure import Figure  # noqa: PLC0415 - the same

    ny, nx = layers.shape
    margin, dpi = 14, 100
    size = nx + 2 * margin, ny + 2 * margin
    figure = Figure(figsize=(size[0] / dpi, size[1] / dpi), dpi=dpi, facecolor=BACKGROUND)
    axes = figure.add_axes((margin / size[0], margin / size[1], nx / size[0], ny / size[1]))
    colours = ListedColormap([PANEL, *(c for _, c, _ in LAYERS)]).with_extremes(bad=BACKGROUND)
    axes.imshow(
        np.ma.masked_invalid(_grown(layers, max(1, round(binning / 4)))),
        cmap=colours,
        vmin=-0.5,
        vmax=len(LAYERS) + 0.5,
        interpolation="none",
    )
    axes.set_axis_off()
    return png(figure)


def _grown(layers: NDArray[np.float32], by: int) -> NDArray[np.float32]:
    """Return layers with marks grown by some pixels, so that single ones can be seen."""
    from scipy.ndimage import maximum_filter  # noqa: PLC0415 - slow import

    filled = np.nan_to_num(layers, nan=0.0)
    grown = maximum_filter(filled, 2 * by + 1)
    return np.where(np.isnan(layers), np.nan, np.where(filled > 0, filled, grown)).astype(np.float32)
