"""A line looked at in full resolution: the strip around it, its profile piece by piece, a better line."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.pixels.lines import Image, Line, Mask
from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.pixels.mesh_rows import MeshRows

Floats = NDArray[np.float64]


def piece_profiles(
    image: Image, mask: Mask, bits: int, noise: Mesh, line: Line, half: int, pieces: int
) -> tuple[Floats, Floats]:
    """Return the profile across a line in each of its pieces: medians along it, in sigmas of blank sky.

    Parameters
    ----------
    image : numpy.ndarray (ny, nx), float32
        Background subtracted.
    mask : numpy.ndarray (ny, nx), uint16
    bits : int
        Pixels with any of them are left out; so are those not finite.
    noise : Mesh
        1 sigma of blank sky.
    line : Line
    half : int
        Profiles reach so many pixels of the other axis to either side.
    pieces : int
        Equal parts of the line inside the image.

    Returns
    -------
    profiles : numpy.ndarray (pieces, 2 half + 1), float64
        NaN where less than a quarter of the pixels can be used.
    middles : numpy.ndarray (pieces), float64
        Places of the pieces, -1 at the start of the line to 1 at its end.
    """
    first, after = line.span(image.shape)
    rows = MeshRows.of(noise)
    strip = np.empty((max(after - first, 0), 2 * half + 1), np.float32)
    _cut(
        image,
        mask,
        np.uint16(bits),
        rows.across,
        rows.node,
        rows.weight,
        line.is_steep,
        np.array([first, line.offset, line.slope]),
        strip,
    )
    edges = np.linspace(0, len(strip), pieces + 1).astype(int)
    profiles = np.full((pieces, 2 * half + 1), np.nan)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice encountered")
        for k in range(pieces):
            piece = strip[edges[k] : edges[k + 1]]
            if len(piece):
                usable = np.isfinite(piece).mean(axis=0) >= 0.25
                profiles[k, usable] = np.nanmedian(piece[:, usable], axis=0)
    return profiles, (edges[:-1] + edges[1:]) / max(len(strip), 1) - 1.0


@compiled(
    "void(f4[:, ::1], u2[:, ::1], u2, f4[:, ::1], i8[::1], f4[::1], b1, f8[::1], f4[:, ::1])",
    cache=True,
    nogil=True,
)
def _cut(
    image: Image,
    mask: Mask,
    bits: int,
    across: Image,
    node: NDArray[np.int64],
    weight: Image,
    is_steep: bool,
    place: Floats,
    strip: Image,
) -> None:
    """Fill a strip (n, 2 half + 1) along a line; `place` is the first main coordinate, offset and slope."""
    half = strip.shape[1] // 2
    for i in range(strip.shape[0]):
        main = int(place[0]) + i
        middle = int(np.rint(place[1] + place[2] * main))
        for k in range(strip.shape[1]):
            other = middle + k - half
            y, x = (main, other) if is_steep else (other, main)
            if y < 0 or x < 0 or y >= image.shape[0] or x >= image.shape[1] or mask[y, x] & bits:
                strip[i, k] = np.nan
                continue
            lower, upper = across[node[y], x], across[node[y] + 1, x]
            strip[i, k] = image[y, x] / (lower + weight[y] * (upper - lower))


def best_shift(profiles: Floats, middles: Floats, box: int, reach: int, clip: float) -> tuple[float, float]:
    """Return how to move and tilt a line so that the profiles of its pieces add up best, pixels.

    Parameters
    ----------
    profiles : numpy.ndarray (pieces, 2 half + 1)
    middles : numpy.ndarray (pieces)
        -1 to 1.
    box : int
        Odd width of the window that is summed.
    reach : int
        Largest shift and tilt, pixels; half of the window less than `half`.
    clip : float
        Sigmas at which a piece is cut off, so that one with a bright star does not decide.

    Returns
    -------
    shift, tilt : float
        See `Line.moved`.
    """
    smooth = boxcar(np.nan_to_num(np.clip(profiles, -clip, clip)), box)
    centre = smooth.shape[1] // 2
    steps = np.arange(-reach, reach + 0.25, 0.5)
    shift, tilt = (grid.ravel() for grid in np.meshgrid(steps, steps, indexing="ij"))
    value = np.zeros(shift.size)
    for row, u in zip(smooth, middles, strict=True):
        value += np.interp(centre + shift + tilt * u, np.arange(len(row)), row)
    # The best few are averaged: the maximum of a flat top is anywhere on it.
    top = value >= value.max() - 0.02 * (value.max() - np.median(value))
    return float(shift[top].mean()), float(tilt[top].mean())


def boxcar(profiles: Floats, box: int) -> Floats:
    """Return running means of an odd number of elements along the last axis; fewer at its ends."""
    kernel = np.ones(box)
    count = np.convolve(np.ones(profiles.shape[-1]), kernel, mode="same")
    return np.array([np.convolve(row, kernel, mode="same") / count for row in profiles])


def set_along(mask: Mask, line: Line, half_width: float, bits: int) -> int:
    """Set bits of all pixels within a distance of a line, in place; return how many pixels that are.

    The line is as long as the image: it goes on to its borders.
    """
    return _set_along(
        mask, line.is_steep, line.offset, line.slope, half_width * line.stretch, np.uint16(bits)
    )


@compiled("i8(u2[:, ::1], b1, f8, f8, f8, u2)", cache=True, nogil=True)
def _set_along(mask: Mask, is_steep: bool, offset: float, slope: float, reach: float, bits: int) -> int:
    n_main, n_other = mask.shape if is_steep else mask.shape[::-1]
    n = 0
    for main in range(n_main):
        middle = offset + slope * main
        for other in range(
            max(0, int(np.ceil(middle - reach))), min(n_other, int(np.floor(middle + reach)) + 1)
        ):
            y, x = (main, other) if is_steep else (other, main)
            mask[y, x] |= bits
            n += 1
    return n
