"""Compiled loops of proper subtraction: what happens to a tile between and after its transforms.

Spectra are passed as their real and imaginary parts side by side: (ny, 2 m) float32.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.pixels.zogy_load import BRIGHT_HOLE, GOOD, HOLE

Image = NDArray[np.float32]
Marks = NDArray[np.uint8]
Floats = NDArray[np.float64]


@compiled(
    "void(f4[:, ::1], f4[:, ::1], f4[:, ::1], f4[:, ::1], f8, f8, f8)",
    cache=True,
    nogil=True,
    fastmath={"arcp", "nsz"},
)
def mix_spectra(
    new: Image, ref: Image, new_psf: Image, ref_psf: Image, new_var: float, ref_var: float, floor: float
) -> None:
    """Turn four spectra into those of the difference and of both scores.

    Parameters
    ----------
    new, ref : numpy.ndarray (ny, 2 m), float32
        Of both images; become D (in units of the images) and S_N.
    new_psf, ref_psf : numpy.ndarray (ny, 2 m), float32
        Of both PSFs; the first becomes S_R.
    new_var, ref_var : float
        Squares of the noise of a pixel.
    floor : float
        Least den^2 in units of its value at frequency zero.
    """
    ny, m = new.shape[0], new.shape[1] // 2
    vn, vr = np.float32(new_var), np.float32(ref_var)
    least = np.float32(floor * (new_var + ref_var))
    unit = np.float32(math.sqrt(new_var + ref_var))  # 1 / F_D
    one = np.float32(1.0)
    for i in range(ny):
        for k in range(m):
            a, b = 2 * k, 2 * k + 1
            na, nb, ra, rb = new[i, a], new[i, b], ref[i, a], ref[i, b]
            pa, pb, qa, qb = new_psf[i, a], new_psf[i, b], ref_psf[i, a], ref_psf[i, b]
            p2, q2 = pa * pa + pb * pb, qa * qa + qb * qb
            den2 = max(vn * q2 + vr * p2, least)
            inverse = one / den2
            root = unit * np.sqrt(inverse)
            new[i, a] = root * ((qa * na - qb * nb) - (pa * ra - pb * rb))
            new[i, b] = root * ((qa * nb + qb * na) - (pa * rb + pb * ra))
            wn, wr = q2 * inverse, p2 * inverse
            ref[i, a], ref[i, b] = wn * (pa * na + pb * nb), wn * (pa * nb - pb * na)
            new_psf[i, a], new_psf[i, b] = wr * (qa * ra + qb * rb), wr * (qa * rb - qb * ra)


@compiled("void(f4[:, ::1], f4[:, ::1], i8, i8, f4[::1])", cache=True, nogil=True, fastmath=True)
def _add_filtered(image: Image, kernel: Image, y: int, x0: int, out: Image) -> None:
    """Add a part of a row of an image, correlated with a small kernel of odd size, to `out`."""
    half = kernel.shape[0] // 2
    n = out.size
    for i in range(kernel.shape[0]):
        line = image[y + i - half]
        for j in range(kernel.shape[1]):
            w = kernel[i, j]
            start = x0 + j - half
            part = line[start : start + n]
            for k in range(n):
                out[k] += w * part[k]


@compiled("void(u1[:, ::1], i8, i8, i8, u1, u1[::1], u1[::1])", cache=True, nogil=True)
def _grow_row(marks: Marks, y: int, x0: int, grow: int, least: int, work: Marks, out: Marks) -> None:
    """Set `out` where a mark of at least `least` lies within a square of half side `grow`."""
    n = out.size
    work[:] = 0
    for i in range(max(0, y - grow), min(marks.shape[0], y + grow + 1)):
        line = marks[i]
        for k in range(work.size):
            work[k] |= line[k] >= least
    for x in range(work.size):
        if work[x]:
            for k in range(max(0, x - grow - x0), min(n, x + grow + 1 - x0)):
                out[k] = 1


@compiled(
    "void(f4[:, ::1], f4[:, ::1], f4[:, ::1], f4[:, ::1], f4[:, ::1], f4[:, ::1], f4[:, ::1], f8[::1], "
    "u1[:, ::1], i8[::1], i8[::1], f4[:, :], f4[:, :], f4[:, :])",
    cache=True,
    nogil=True,
    fastmath={"contract", "arcp", "nsz"},
    error_model="numpy",  # a test for zero in the loop would keep it from being vectorised
)
def finish_tile(
    difference: Image,
    new_score: Image,
    ref_score: Image,
    new_variance: Image,
    ref_variance: Image,
    new_kernel: Image,
    ref_kernel: Image,
    terms: Floats,
    marks: Marks,
    grow: NDArray[np.int64],
    corner: NDArray[np.int64],
    out_difference: Image,
    out_score: Image,
    out_sigma: Image,
) -> None:
    """Write difference, corrected score and 1 sigma of the difference of the core of a tile.

    Parameters
    ----------
    difference, new_score, ref_score, new_variance, ref_variance : numpy.ndarray (ty, tx), float32
    new_kernel, ref_kernel : numpy.ndarray (n, n), float32
        Squares of the score's kernels, as `_add_filtered` takes them.
    terms : numpy.ndarray (4), float64
        Squares of the registration errors along x and y, px^2, and of the relative error of the PSFs; above
        0 if only slopes that both images have count.
    marks : numpy.ndarray (ty, tx), uint8
        `GOOD`, `HOLE` or `BRIGHT_HOLE`.
    grow : numpy.ndarray (3), int64
        By how many pixels holes and bright holes grow, and whether there are any: the brightest kind.
    corner : numpy.ndarray (2), int64
        Row and column of the core in the tile.
    out_difference, out_score, out_sigma : numpy.ndarray (cy, cx), float32
        Written; NaN where there are holes, but for sigma.
    """
    cy, cx = out_score.shape
    total, bad = np.empty(cx, np.float32), np.empty(cx, np.uint8)
    work = np.empty(marks.shape[1], np.uint8)
    vx, vy, vm = np.float32(terms[0] / 4), np.float32(terms[1] / 4), np.float32(terms[2])
    is_common = terms[3] > 0
    for i in range(cy):
        y, x0 = corner[0] + i, corner[1]
        total[:] = 0.0
        _add_filtered(new_variance, new_kernel, y, x0, total)
        _add_filtered(ref_variance, ref_kernel, y, x0, total)
        n0, n1, n2 = new_score[y - 1], new_score[y], new_score[y + 1]
        r0, r1, r2 = ref_score[y - 1], ref_score[y], ref_score[y + 1]
        for k in range(cx):
            x = x0 + k
            n, r = n1[x], r1[x]
            ax, bx = (n1[x + 1] - n1[x - 1]) ** 2, (r1[x + 1] - r1[x - 1]) ** 2
            ay, by = (n2[x] - n0[x]) ** 2, (r2[x] - r0[x]) ** 2
            if is_common:
                ax, ay = min(ax, bx), min(ay, by)
                bx, by = ax, ay
            gx, gy = ax + bx, ay + by
            common = max(min(n, r), np.float32(0.0))
            v = total[k] + vx * gx + vy * gy + vm * common * common
            # Deep in a hole of both images, or where no noise is known, there is nothing to score.
            out_score[i, k] = (n - r) / np.sqrt(v) if v > np.float32(0.0) else np.float32(np.nan)
            out_difference[i, k] = difference[y, x]
            out_sigma[i, k] = np.sqrt(new_variance[y, x] + ref_variance[y, x])
        if grow[2] > GOOD:
            bad[:] = 0
            _grow_row(marks, y, x0, grow[0], HOLE, work, bad)
            if grow[2] >= BRIGHT_HOLE:
                _grow_row(marks, y, x0, grow[1], BRIGHT_HOLE, work, bad)
            for k in range(cx):
                if bad[k]:
                    out_score[i, k] = np.nan
                    out_difference[i, k] = np.nan
