"""Compiled loops that cut a tile out of two frames: scale, variance of each pixel, holes."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled

Image = NDArray[np.float32]
Mask = NDArray[np.uint16]
Marks = NDArray[np.uint8]
Floats = NDArray[np.float64]
GOOD, HOLE, BRIGHT_HOLE = 0, 1, 2
DARKEST = np.float32(-2.0)
"""Light of a pixel at least, in sigmas of the sky: noise goes below that seldom, and pits are no light."""


@compiled("void(f4[:, ::1], f8, i8, i8, f4[::1])", cache=True, nogil=True, fastmath={"contract", "arcp"})
def _mesh_row(values: Image, cell: float, y: int, x0: int, out: Image) -> None:
    """Write a mesh (see `zsds_tasks.pixels.mesh.Mesh`) along a part of a row, node to node."""
    rows, columns = values.shape
    v = min(max((y + 0.5) / cell - 0.5, 0.0), rows - 1.0)
    i = min(int(v), max(rows - 2, 0))
    i1 = min(i + 1, rows - 1)
    a = np.float32(v - i)
    start = 0
    while start < out.size:
        # Node j lies at pixel (j + 1/2) cell - 1/2; before the first and after the last all is constant.
        j = math.floor((x0 + start + 0.5) / cell - 0.5)
        end = min(out.size, max(start + 1, math.ceil((j + 1.5) * cell - 0.5) - x0))
        j0, j1 = min(max(j, 0), columns - 1), min(max(j + 1, 0), columns - 1)
        left = values[i, j0] + a * (values[i1, j0] - values[i, j0])
        right = values[i, j1] + a * (values[i1, j1] - values[i, j1])
        slope = (right - left) / np.float32(cell)
        base = left + slope * np.float32(x0 - (j + 0.5) * cell + 0.5)
        for k in range(start, end):
            out[k] = base + slope * np.float32(k)
        start = end


@compiled("void(f4[::1], f4, i8, i8, f4[::1], f4[::1])", cache=True, nogil=True)
def _empty_row(sky: Image, scale: np.float32, first: int, last: int, out: Image, variance: Image) -> None:
    """Write a part of a row beyond the frame: nothing, with the noise of blank sky."""
    for k in range(first, last):
        s = scale * sky[k]
        out[k], variance[k] = np.float32(0.0), s * s


@compiled("void(f4[::1], f4[::1], f4[::1], f4[::1], f4, f4[::1], f4[::1])", cache=True, nogil=True)
def _lit_row(
    line: Image, base: Image, factor: Image, sky: Image, share: np.float32, out: Image, variance: Image
) -> None:
    """Write a part of a row, and the variance of each pixel: blank sky's and that of the light.

    Pixels under the sky take as much off as those over it add: in blank sky the mean is that of the sky.
    """
    tenth = np.float32(0.1)  # of the sky's variance is left where a sigma of it is few electrons
    for k in range(out.size):
        value = factor[k] * (line[k] - base[k])
        s = factor[k] * sky[k]
        out[k] = value
        variance[k] = max(s * s + factor[k] * share * max(value, DARKEST * s), tenth * s * s)


@compiled("void(f4[::1], f4[::1], f4[::1], f4[::1], f4[::1], f4[::1])", cache=True, nogil=True)
def _known_row(line: Image, base: Image, factor: Image, errors: Image, out: Image, variance: Image) -> None:
    """Write a part of a row, and the variance of each pixel, whose error is known."""
    for k in range(out.size):
        s = factor[k] * errors[k]
        out[k] = factor[k] * (line[k] - base[k])
        variance[k] = s * s


@compiled(
    "void(f4[:, ::1], f4[:, ::1], f4[:, ::1], f8, f4[:, ::1], f8, f8, f8[::1], i8, i8, f4[:, ::1], "
    "f4[:, ::1])",
    cache=True,
    nogil=True,
)
def load_frame(
    image: Image,
    uncertainty: Image,
    noise: Image,
    noise_cell: float,
    level: Image,
    level_cell: float,
    per_light: float,
    scale: Floats,
    y0: int,
    x0: int,
    out: Image,
    variance: Image,
) -> None:
    """Cut a tile out of a frame, scaled, with the variance of each pixel.

    Parameters
    ----------
    image : numpy.ndarray (ny, nx), float32
    uncertainty : numpy.ndarray (ny, nx), float32
        1 sigma of each pixel, all noise included; empty: from `noise` and the light.
    noise : numpy.ndarray (rows, columns), float32
        Values of a mesh: of blank sky.
    noise_cell : float
    level : numpy.ndarray (rows, columns), float32
        Values of a mesh, subtracted first; empty for none.
    level_cell : float
    per_light : float
        Variance per unit of light: 1 / gain.
    scale : numpy.ndarray (3), float64
        Factor in the middle of the image and its change to the right and the upper edge.
    y0, x0 : int
        Of the tile in the image; it may reach beyond, where it is 0.
    out, variance : numpy.ndarray (ty, tx), float32
        Written; what is not finite stays so.
    """
    ny, nx = image.shape
    ty, tx = out.shape
    sky, base = np.empty(tx, np.float32), np.zeros(tx, np.float32)
    places, factor = np.empty(tx, np.float32), np.empty(tx, np.float32)
    for k in range(tx):
        places[k] = np.float32(x0 + k)
    slope = np.float32(scale[1] * 2.0 / nx)
    for i in range(ty):
        y = y0 + i
        _mesh_row(noise, noise_cell, y, x0, sky)
        if level.size > 0:
            _mesh_row(level, level_cell, y, x0, base)
        row_scale = np.float32(scale[0] + scale[2] * ((2 * y + 1) / ny - 1.0) + scale[1] * (1.0 / nx - 1.0))
        for k in range(tx):
            factor[k] = row_scale + slope * places[k]
        first, last = (max(0, -x0), min(tx, nx - x0)) if 0 <= y < ny else (tx, tx)
        _empty_row(sky, row_scale, 0, first, out[i], variance[i])
        _empty_row(sky, row_scale, last, tx, out[i], variance[i])
        if first < last:
            part = slice(first, last)
            line = image[y, x0 + first : x0 + last]
            values, squares = out[i, part], variance[i, part]
            if uncertainty.size > 0:
                errors = uncertainty[y, x0 + first : x0 + last]
                _known_row(line, base[part], factor[part], errors, values, squares)
            else:
                _lit_row(line, base[part], factor[part], sky[part], np.float32(per_light), values, squares)


@compiled(
    "i8(u2[:, ::1], i8, i8, i8, f4[:, ::1], f4[:, ::1], f4[:, ::1], f4[:, ::1], f8, f8, u1[:, ::1])",
    cache=True,
    nogil=True,
)
def punch_holes(
    mask: Mask,
    bits: int,
    y0: int,
    x0: int,
    new: Image,
    ref: Image,
    new_variance: Image,
    ref_variance: Image,
    share: float,
    bright: float,
    marks: Marks,
) -> int:
    """Empty the pixels of a tile that cannot be used, in both frames alike; return the brightest kind.

    What light is lost is an error of the pixels around: `share` of the fainter of both values is added to
    the variance there. It is spread by the same kernels as all noise, so that nothing stands out beside a
    hole in a star, and a hole in blank sky costs nothing.

    Parameters
    ----------
    mask : numpy.ndarray (ny, nx), uint16
        Of the whole image.
    bits : int
    y0, x0 : int
    new, ref, new_variance, ref_variance : numpy.ndarray (ty, tx), float32
        Changed in place.
    share : float
    bright : float
        A hole that loses more is a `BRIGHT_HOLE`.
    marks : numpy.ndarray (ty, tx), uint8
        Written.
    """
    ny, nx = mask.shape
    ty, tx = new.shape
    wanted = np.uint16(bits)
    worst = GOOD
    for i in range(ty):
        y = y0 + i
        for k in range(tx):
            x = x0 + k
            n, r = new[i, k], ref[i, k]
            total = n + r + new_variance[i, k] + ref_variance[i, k]
            inside = 0 <= y < ny and 0 <= x < nx
            if math.isfinite(total) and not (inside and (mask[y, x] & wanted) != 0):
                marks[i, k] = GOOD
                continue
            lost = min(abs(n), abs(r))
            if not math.isfinite(lost):
                lost = abs(n) if math.isfinite(n) else (abs(r) if math.isfinite(r) else np.float32(0.0))
            marks[i, k] = BRIGHT_HOLE if lost > bright else HOLE
            worst = max(worst, marks[i, k])
            new[i, k], ref[i, k] = np.float32(0.0), np.float32(0.0)
            for part in (new_variance, ref_variance):
                if not math.isfinite(part[i, k]):
                    part[i, k] = np.float32(0.0)
                part[i, k] += np.float32(0.5 * (share * lost) ** 2)
    return worst
