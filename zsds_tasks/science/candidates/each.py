"""The compiled loop over candidates, and the columns it writes."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.pixels.psf_splines import sample_table
from zsds_tasks.science.candidates.features import (
    aperture,
    cut_stamp,
    opposite,
    ring_sky,
    shape_of,
    small_box,
)
from zsds_tasks.science.candidates.fit import (
    CHI,
    FIT_COLUMNS,
    FLUX,
    HALF,
    OFFSET_X,
    OFFSET_Y,
    SIDE,
    SKY,
    SKY_ERROR,
    fit_star,
)

Image = NDArray[np.float32]
Mask = NDArray[np.uint16]
Floats = NDArray[np.float64]
Indexes = NDArray[np.int64]
EACH_COLUMNS = (
    "x", "y", "flux", "flux_error", "x_error", "y_error", "chi", "sky",
    "small", "small_error", "big", "big_error", "major", "minor", "width",
    "nneg", "sumrat", "nbad", "d_over_noise", "s_over_noise", "dipole", "dipole_px",
)  # fmt: skip
"""Of `measure_each`: 0-based px; DN; px; counts; sigmas; ratio; px."""
_APERTURES, _SHAPE, _BOX, _PEAKS, _DIPOLE = 8, 12, 15, 18, 20


@compiled("f8(f4[:, ::1], f4[:, ::1], f4[:, :, ::1], f8[::1], f8, i8)", cache=True, nogil=True)
def _filtered(stamp: Image, filled: Image, parts: Image, fit: Floats, noise: float, size: int) -> float:
    """Return the matched filter at the fitted place over its noise, sky included; fill holes of `filled`.

    Holes become the fitted star, or nothing beyond it.
    """
    j0, i0 = round(fit[OFFSET_X]), round(fit[OFFSET_Y])
    total = square = 0.0
    for i in range(SIDE):
        for j in range(SIDE):
            u, v = j - HALF - j0 + size, i - HALF - i0 + size
            inside = 0 <= u <= 2 * size and 0 <= v <= 2 * size
            p = parts[0, v, u] if inside else np.float32(0.0)
            if math.isfinite(stamp[i, j]):
                total += float(p * (stamp[i, j] + fit[SKY]))
                square += float(p * p)
            else:
                filled[i, j] = np.float32(fit[FLUX]) * p
    return total / (noise * math.sqrt(square)) if square > 0 else 0.0


@compiled("f8(u2[:, ::1], i8, i8, i8)", cache=True, nogil=True)
def _flagged(mask: Mask, y0: int, x0: int, bits: int) -> float:
    """Return how many pixels of the 5 x 5 around one have a bit; those beyond the image have."""
    ny, nx = mask.shape
    wanted, n = np.uint16(bits), 0.0
    for y in range(y0 - 2, y0 + 3):
        for x in range(x0 - 2, x0 + 3):
            if not (0 <= y < ny and 0 <= x < nx) or (mask[y, x] & wanted) != 0:
                n += 1.0
    return n


@compiled(
    "void(f4[:, ::1], f4[:, ::1], f4[:, ::1], u2[:, ::1], i8, f4[:, :, :, :, ::1], i8[::1], f8[:, ::1], "
    "f8[:, ::1], f8[::1], f8[:, ::1])",
    cache=True,
    nogil=True,
)
def measure_each(
    difference: Image,
    sigma: Image,
    score: Image,
    mask: Mask,
    bits: int,
    tables: Image,
    tile: Indexes,
    found: Floats,
    places: Floats,
    settings: Floats,
    out: Floats,
) -> None:
    """Measure candidates, each on the difference times its sign.

    Parameters
    ----------
    difference, sigma, score : numpy.ndarray (ny, nx), float32
        See `zsds_tasks.pixels.subtraction.Subtraction`.
    mask : numpy.ndarray (ny, nx), uint16
    bits : int
        What counts as flagged.
    tables : numpy.ndarray (T, S, S, n, n), float32
        PSFs of the tiles.
    tile : numpy.ndarray (N), int64
        Of each candidate.
    found : numpy.ndarray (N, 4), float64
        x, y, score and sign.
    places : numpy.ndarray (T, 2), float64
        FWHM and noise of each tile, px and DN.
    settings : numpy.ndarray (8), float64
        Fit radius in FWHM, roam, ring from, ring to, small and big aperture radius (px), dipole reach (FWHM);
        over 0 if apertures are without the local sky.
    out : numpy.ndarray (N, len(EACH_COLUMNS)), float64
    """
    n = tables.shape[3]
    half = (n - 1) // 2 - 2
    stamp, errors = np.empty((SIDE, SIDE), np.float32), np.empty((SIDE, SIDE), np.float32)
    filled, work = np.empty((SIDE, SIDE), np.float32), np.empty((tables.shape[1], n, n), np.float32)
    parts = np.empty((3, n, n), np.float32)
    values, sums = np.empty(SIDE * SIDE), np.empty(6)
    fit = np.zeros(FIT_COLUMNS)
    for k in range(len(found)):
        fwhm, noise = places[tile[k], 0], places[tile[k], 1]
        x0, y0, sign = round(found[k, 0]), round(found[k, 1]), found[k, 3]
        cut_stamp(difference, y0, x0, sign, stamp)
        cut_stamp(sigma, y0, x0, 1.0, errors)
        small_box(stamp, out[k, _BOX : _BOX + 2])
        out[k, _BOX + 2] = _flagged(mask, y0, x0, bits)
        centre = stamp[HALF, HALF]
        out[k, _PEAKS] = centre / noise
        ring_sky(stamp, errors, settings[2], settings[3], values, fit)
        stamp -= np.float32(fit[SKY])
        fit[OFFSET_X], fit[OFFSET_Y] = found[k, 0] - x0, found[k, 1] - y0
        radius = min(settings[0] * fwhm, half - 1.0)
        fit_star(stamp, errors, tables[tile[k]], radius, half, settings[1], fit, parts, work)
        dx, dy = fit[OFFSET_X], fit[OFFSET_Y]
        sample_table(tables[tile[k]], dx - round(dx), dy - round(dy), half, half, 0, 0, parts[0], work)
        filled[:] = stamp
        out[k, _PEAKS + 1] = _filtered(stamp, filled, parts, fit, noise, half)
        for part in range(CHI + 2):
            out[k, part] = fit[part]
        out[k, 0], out[k, 1] = x0 + dx, y0 + dy
        x, y = HALF + dx, HALF + dy
        # Either the local sky stays subtracted, or it comes back and its error does not count.
        local = settings[7] > 0
        level, level_error = (0.0, fit[SKY_ERROR]) if local else (fit[SKY], 0.0)
        for part in range(2):
            at = out[k, _APERTURES + 2 * part : _APERTURES + 2 * part + 2]
            aperture(filled, x, y, settings[4 + part], errors, level, level_error, at)
        shape_of(filled, x, y, fwhm / 2.3548200450309493, values, sums, out[k, _SHAPE : _SHAPE + 3])
        reach = settings[6] * fwhm
        # At pixels both: halves of a dipole that are equal stay so.
        peak = float(sign * score[y0, x0])
        opposite(
            score, y0, x0, sign, peak if peak > 0.0 else found[k, 2], reach, out[k, _DIPOLE : _DIPOLE + 2]
        )
