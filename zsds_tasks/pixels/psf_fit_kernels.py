"""Compiled kernels of PSF photometry: step sources on the residual image, and judge their fits.

The residual image is the image without all sources as they are known, NaN where unusable. A group is fitted
on it by one Gauss-Newton step of flux, x and y of all its members, then drawn anew. Taking turns over all
groups a few times solves for the whole image at once, however crowded.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.pixels.psf_draw import FIT, FLUX, STEP, X_START, X, draw_sources, sample_source
from zsds_tasks.pixels.psf_equations import (
    LIGHT,
    REST,
    STAMPS,
    WEIGHT,
    factor,
    normal_equations,
    solve,
    steep_flux,
)

Image = NDArray[np.float32]
Floats = NDArray[np.float64]
Indexes = NDArray[np.int64]

X_ERROR, Y_ERROR, FLUX_ERROR, CHI, SHARP, PIXELS = 0, 1, 2, 3, 4, 5
RESULT_COLUMNS = 6
LEAST_CURVATURE = 4.0
"""px^-2: a step of half a pixel costs one unit of chi square, so that faint sources do not run."""
MOST_STEP = 0.5


@compiled("void(f8[::1], f8[:, ::1], i8, f8[::1], f8)", cache=True, nogil=True)
def _step(source: Floats, diagonal: Floats, k: int, change: Floats, roam: float) -> None:
    """Step a source, and note how far: in units of its errors as if it were alone."""
    flux = steep_flux(source, diagonal[k, 0])
    moved = abs(change[3 * k]) * math.sqrt(diagonal[k, 0])
    source[FLUX] += change[3 * k]
    for axis in range(2):
        step = min(max(change[3 * k + 1 + axis] / flux, -MOST_STEP), MOST_STEP)
        start = source[X_START + axis]
        new = min(max(source[X + axis] + step, start - roam), start + roam)
        moved = max(moved, abs(new - source[X + axis]) * flux * math.sqrt(diagonal[k, 1 + axis]))
        source[X + axis] = new
    source[STEP] = moved


@compiled("i8(i8[::1], i8[::1])", cache=True, nogil=True)
def _largest(start: Indexes, groups: Indexes) -> int:
    most = 1
    for g in groups:
        most = max(most, start[g + 1] - start[g])
    return most


@compiled(
    "void(f4[:, ::1], f4[:, ::1], f8[:, ::1], i8[:, ::1], f4[:, :, :, :, ::1], i8[::1], i8[::1], i8[::1], "
    "f8, f8)",
    cache=True,
    nogil=True,
)
def sweep(
    image: Image,
    residual: Image,
    sources: Floats,
    plan: Indexes,
    tables: Image,
    start: Indexes,
    member: Indexes,
    groups: Indexes,
    gain: float,
    roam: float,
) -> None:
    """Step all members of some groups, one group after the other, and keep the residual image up to date.

    Parameters
    ----------
    image, residual : numpy.ndarray (ny, nx), float32
        NaN where unusable in `residual`, which is changed.
    sources : numpy.ndarray (N, SOURCE_COLUMNS), float64
        See `zsds_tasks.pixels.psf_draw`; changed.
    plan : numpy.ndarray (N, PLAN_COLUMNS), int64
    tables : numpy.ndarray (M, S, S, n, n), float32
    start, member : numpy.ndarray, int64
        See `zsds_tasks.pixels.psf_groups.Groups`.
    groups : numpy.ndarray (K), int64
        Groups stepped, in this order.
    gain : float
        Electrons per DN.
    roam : float
        How far a source may move from where it was detected, along each axis, px.
    """
    s, m = tables.shape[1], tables.shape[3]
    most = _largest(start, groups)
    stamps, work = np.empty((most, STAMPS, m * m), np.float32), np.empty((s, m, m), np.float32)
    normal, right, diagonal = np.zeros((3 * most, 3 * most)), np.empty(3 * most), np.empty((most, 3))
    for g in groups:
        members = member[start[g] : start[g + 1]]
        n = len(members)
        normal_equations(image, residual, sources, plan, tables, members, gain, stamps, work, normal, right)
        for k in range(n):
            for p in range(3):
                diagonal[k, p] = normal[3 * k + p, 3 * k + p]
            flux = steep_flux(sources[members[k]], diagonal[k, 0])
            normal[3 * k, 3 * k] = diagonal[k, 0] * (1.0 + 1e-6) + 1e-30
            for p in range(1, 3):
                normal[3 * k + p, 3 * k + p] = diagonal[k, p] * (1.0 + 1e-6) + LEAST_CURVATURE / flux**2
        if not factor(normal, 3 * n):
            continue
        solve(normal, right, 3 * n)
        draw_sources(residual, sources, plan, tables, members, 1.0)
        for k in range(n):
            _step(sources[members[k]], diagonal, k, right, roam)
        draw_sources(residual, sources, plan, tables, members, -1.0)


@compiled("void(f8[::1], f4[:, ::1], i8, f4[::1], f4[::1], f8[::1])", cache=True, nogil=True)
def _judge(source: Floats, stamps: Image, fit: int, xx: Image, yy: Image, result: Floats) -> None:
    """Write chi, sharp and the number of pixels of one source.

    Half the second derivatives' sum is how a profile changes when its variance grows by one square pixel.
    """
    chi2 = used = pp = pq = qq = pr = qr = 0.0
    for k in range((2 * fit + 1) ** 2):
        w = stamps[WEIGHT, k]
        if w == np.float32(0.0):
            continue
        r, p, q = stamps[REST, k], stamps[LIGHT, k], 0.5 * (xx[k] + yy[k])
        chi2 += w * r * r
        used += 1.0
        pp += w * p * p
        pq += w * p * q
        qq += w * q * q
        pr += w * p * r
        qr += w * q * r
    result[CHI] = math.sqrt(chi2 / max(used - 3.0, 1.0))
    result[PIXELS] = used
    determinant = (pp * qq - pq * pq) * source[FLUX]
    result[SHARP] = (pp * qr - pq * pr) / determinant if determinant != 0.0 else 0.0


@compiled("void(f8[:, ::1], b1, i8, i8, f8, f8[::1], f8[::1])", cache=True, nogil=True)
def _errors(
    factored: Floats, is_determined: bool, n: int, k: int, flux: float, right: Floats, result: Floats
) -> None:
    """Write the errors of one member: from the diagonal of the inverse of its group's matrix."""
    for p in range(3):
        error = np.inf
        if is_determined:
            right[:n] = 0.0
            right[3 * k + p] = 1.0
            solve(factored, right, n)
            error = math.sqrt(max(right[3 * k + p], 0.0))
        if p == 0:
            result[FLUX_ERROR] = error
        else:
            result[X_ERROR + p - 1] = error / max(abs(flux), 1e-30)


@compiled(
    "void(f4[:, ::1], f4[:, ::1], f8[:, ::1], i8[:, ::1], f4[:, :, :, :, ::1], i8[::1], i8[::1], i8[::1], "
    "f8, f8[:, ::1])",
    cache=True,
    nogil=True,
)
def judge(
    image: Image,
    residual: Image,
    sources: Floats,
    plan: Indexes,
    tables: Image,
    start: Indexes,
    member: Indexes,
    groups: Indexes,
    gain: float,
    results: Floats,
) -> None:
    """Write errors and qualities of the members of some groups to `results` (N, RESULT_COLUMNS); see `sweep`.

    Errors come from the inverse of the group's normal matrix: neighbours' uncertainties are in them. A source
    that the pixels do not determine has infinite errors.
    """
    s, m = tables.shape[1], tables.shape[3]
    most = _largest(start, groups)
    stamps, work = np.empty((most, STAMPS, m * m), np.float32), np.empty((s, m, m), np.float32)
    xx, yy = np.empty(m * m, np.float32), np.empty(m * m, np.float32)
    normal, right = np.zeros((3 * most, 3 * most)), np.empty(3 * most)
    for g in groups:
        members = member[start[g] : start[g + 1]]
        n = 3 * len(members)
        normal_equations(image, residual, sources, plan, tables, members, gain, stamps, work, normal, right)
        for p in range(n):
            normal[p, p] = normal[p, p] * (1.0 + 1e-9) + 1e-30
        is_determined = factor(normal, n)
        for k in range(len(members)):
            row, fit = members[k], plan[members[k], FIT]
            size = 2 * fit + 1
            _errors(normal, is_determined, n, k, sources[row, FLUX], right, results[row])
            for square, order_x in ((xx, 2), (yy, 0)):
                part = square[: size * size].reshape(size, size)
                sample_source(tables, sources[row], plan[row], fit, order_x, 2 - order_x, part, work)
            _judge(sources[row], stamps[k], fit, xx, yy, results[row])
