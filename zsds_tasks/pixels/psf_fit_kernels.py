"""Compiled kernels of PSF photometry: draw sources, fit groups of them on the residual image, judge the fits.

The residual image is the image without all sources as they are known, NaN where unusable. A group is fitted on
it by one Gauss-Newton step of flux, x and y of all its members, then drawn anew. Taking turns over all groups
a few times solves for the whole image at once, however crowded.

Columns of a source (`sources`, float64): see `FLUX` and the others.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from zsds_tasks.pixels.psf_splines import MARGIN, sample_table

Image = NDArray[np.float32]
Floats = NDArray[np.float64]
Indexes = NDArray[np.int64]

X, Y, FLUX, X_START, Y_START, NOISE, STEP = 0, 1, 2, 3, 4, 5, 6
"""Position (0-based, px), flux, where it was detected, sky noise of a pixel, size of the last step in sigma."""
SOURCE_COLUMNS = 7
X_ERROR, Y_ERROR, FLUX_ERROR, CHI, SHARP, PIXELS = 0, 1, 2, 3, 4, 5
RESULT_COLUMNS = 6
TABLE, FIT, DRAW = 0, 1, 2
"""Row of the mixed table, radius of the fit, radius drawn (px)."""
PLAN_COLUMNS = 3
LEAST_CURVATURE = 4.0
"""px^-2: a step of half a pixel costs one unit of chi square, so that faint sources do not run."""
MOST_STEP = 0.5


@njit("void(f4[:, :, :, :, ::1], f8[::1], i8[::1], i8, i8, i8, f4[:, ::1], f4[:, :, ::1])", cache=True, nogil=True)
def _stamp(
    tables: Image, source: Floats, plan: Indexes, size: int, order_x: int, order_y: int, out: Image, work: Image
) -> None:
    """Sample the PSF of a source, or a derivative, on the pixels around the one nearest to it."""
    half = (tables.shape[3] - 1) // 2 - MARGIN
    dx, dy = source[X] - round(source[X]), source[Y] - round(source[Y])
    sample_table(tables[plan[TABLE]], dx, dy, half, size, order_x, order_y, out, work)


@njit("void(f4[:, ::1], f4[:, ::1], f8, f8, f8, i8)", cache=True, nogil=True, fastmath={"contract", "nsz"})
def _add(image: Image, light: Image, x: float, y: float, factor: float, size: int) -> None:
    """Add a stamp times a factor around the pixel nearest to (x, y), as far as it lies inside."""
    ny, nx = image.shape
    row, column = int(round(y)) - size, int(round(x)) - size
    n = 2 * size + 1
    left, right = max(0, -column), min(n, nx - column)
    f = np.float32(factor)
    for i in range(max(0, -row), min(n, ny - row)):
        line, part = image[row + i], light[i]
        for j in range(left, right):
            line[column + j] += f * part[j]


@njit("void(f4[:, ::1], f8[:, ::1], i8[:, ::1], f4[:, :, :, :, ::1], i8[::1], f8)", cache=True, nogil=True)
def draw_sources(
    image: Image, sources: Floats, plan: Indexes, tables: Image, rows: Indexes, sign: float
) -> None:
    """Add some sources times a sign to an image.

    Parameters
    ----------
    image : numpy.ndarray (ny, nx), float32
    sources : numpy.ndarray (N, SOURCE_COLUMNS), float64
    plan : numpy.ndarray (N, PLAN_COLUMNS), int64
    tables : numpy.ndarray (M, S, S, n, n), float32
        Mixed for places.
    rows : numpy.ndarray (K), int64
    sign : float
    """
    s, m = tables.shape[1], tables.shape[3]
    light, work = np.empty((m, m), np.float32), np.empty((s, m, m), np.float32)
    for k in rows:
        size = plan[k, DRAW]
        _stamp(tables, sources[k], plan[k], size, 0, 0, light, work)
        _add(image, light, sources[k, X], sources[k, Y], sign * sources[k, FLUX], size)


@njit("void(f4[:, ::1], f4[:, ::1], f8[::1], i8, f8, f4[:, ::1], f4[:, ::1])", cache=True, nogil=True)
def _weigh(
    image: Image, residual: Image, source: Floats, fit: int, gain: float, weight: Image, rest: Image
) -> None:
    """Write residuals and inverse variances of the pixels of a source's disc, 0 outside and where unusable.

    The light that makes the noise is that of all sources as fitted: image minus residual. The image itself would
    count its own noise twice and make faint sources fainter.
    """
    ny, nx = image.shape
    row, column = int(round(source[Y])) - fit, int(round(source[X])) - fit
    dx, dy = source[X] - column, source[Y] - row
    sky, per_dn = source[NOISE] ** 2, 1.0 / gain
    reach = (fit + 0.25) ** 2
    for i in range(2 * fit + 1):
        for j in range(2 * fit + 1):
            weight[i, j] = 0.0
            rest[i, j] = 0.0
            r, c = row + i, column + j
            if r < 0 or c < 0 or r >= ny or c >= nx or (i - dy) ** 2 + (j - dx) ** 2 > reach:
                continue
            value = residual[r, c]
            if value == value:
                rest[i, j] = value
                weight[i, j] = 1.0 / (sky + max(image[r, c] - value, np.float32(0.0)) * per_dn)


@njit("f8(f4[:, ::1], f4[:, ::1], f4[:, ::1], i8, i8, i8, i8)", cache=True, nogil=True, fastmath=True)
def _overlap(a: Image, weight: Image, b: Image, n_a: int, n_b: int, row: int, column: int) -> float:
    """Sum a * weight * b over the pixels of both stamps; b's first pixel lies at (row, column) of a's."""
    total = np.float32(0.0)
    left, right = max(0, column), min(n_a, column + n_b)
    for i in range(max(0, row), min(n_a, row + n_b)):
        for j in range(left, right):
            total += a[i, j] * weight[i, j] * b[i - row, j - column]
    return total


@njit(
    "void(f4[:, ::1], f4[:, ::1], f8[:, ::1], i8[:, ::1], f4[:, :, :, :, ::1], i8[::1], f8, "
    "f4[:, :, :, ::1], f4[:, :, ::1], f8[:, ::1], f8[::1])",
    cache=True,
    nogil=True,
)
def _normal_equations(
    image: Image,
    residual: Image,
    sources: Floats,
    plan: Indexes,
    tables: Image,
    members: Indexes,
    gain: float,
    stamps: Image,
    work: Image,
    normal: Floats,
    right: Floats,
) -> None:
    """Write the normal equations of flux, flux * x and flux * y of a group's members, each on its own disc.

    `stamps` (members, 5, n, n) are left holding light, its derivatives by x and y, weights and residuals.
    """
    n = len(members)
    for k in range(n):
        source, fit = sources[members[k]], plan[members[k], FIT]
        size = 2 * fit + 1
        _stamp(tables, source, plan[members[k]], fit, 0, 0, stamps[k, 0], work)
        _stamp(tables, source, plan[members[k]], fit, 1, 0, stamps[k, 1], work)
        _stamp(tables, source, plan[members[k]], fit, 0, 1, stamps[k, 2], work)
        _weigh(image, residual, source, fit, gain, stamps[k, 3], stamps[k, 4])
        for p in range(3):
            for i in range(size):
                for j in range(size):
                    if stamps[k, 3, i, j] == np.float32(0.0):
                        stamps[k, p, i, j] = 0.0
            right[3 * k + p] = _overlap(stamps[k, p], stamps[k, 3], stamps[k, 4], size, size, 0, 0)
        row, column = int(round(source[Y])) - fit, int(round(source[X])) - fit
        for other in range(k + 1):
            reach = plan[members[other], FIT]
            i = int(round(sources[members[other], Y])) - reach - row
            j = int(round(sources[members[other], X])) - reach - column
            for p in range(3):
                for q in range(3):
                    total = _overlap(
                        stamps[k, p], stamps[k, 3], stamps[other, q], size, 2 * reach + 1, i, j
                    )
                    normal[3 * k + p, 3 * other + q] = total
                    normal[3 * other + q, 3 * k + p] = total


@njit("b1(f8[:, ::1], i8)", cache=True, nogil=True)
def _factor(a: Floats, n: int) -> bool:
    """Replace the lower half of a positive matrix by its Cholesky factor; False where it is not positive."""
    for i in range(n):
        for j in range(i + 1):
            total = a[i, j]
            for k in range(j):
                total -= a[i, k] * a[j, k]
            if i > j:
                a[i, j] = total / a[j, j]
            elif total > 0.0:
                a[i, i] = math.sqrt(total)
            else:
                return False
    return True


@njit("void(f8[:, ::1], f8[::1], i8)", cache=True, nogil=True)
def _solve(factor: Floats, b: Floats, n: int) -> None:
    """Solve in place with a Cholesky factor."""
    for i in range(n):
        for k in range(i):
            b[i] -= factor[i, k] * b[k]
        b[i] /= factor[i, i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            b[i] -= factor[k, i] * b[k]
        b[i] /= factor[i, i]


@njit("f8(f8[::1], f8[:, ::1], i8, f8[::1], f8)", cache=True, nogil=True)
def _step(source: Floats, diagonal: Floats, k: int, change: Floats, roam: float) -> float:
    """Step a source; return how far, in units of its errors as if it were alone."""
    flux = max(source[FLUX], 2.0 / math.sqrt(max(diagonal[k, 0], 1e-30)))
    moved = abs(change[3 * k]) * math.sqrt(diagonal[k, 0])
    source[FLUX] += change[3 * k]
    for axis in range(2):
        step = min(max(change[3 * k + 1 + axis] / flux, -MOST_STEP), MOST_STEP)
        start = source[X_START + axis]
        new = min(max(source[X + axis] + step, start - roam), start + roam)
        moved = max(moved, abs(new - source[X + axis]) * flux * math.sqrt(diagonal[k, 1 + axis]))
        source[X + axis] = new
    source[STEP] = moved
    return moved


@njit(
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
        Changed.
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
    most = 1
    for g in groups:
        most = max(most, start[g + 1] - start[g])
    stamps, work = np.empty((most, 5, m, m), np.float32), np.empty((s, m, m), np.float32)
    normal, right = np.zeros((3 * most, 3 * most)), np.empty(3 * most)
    diagonal = np.empty((most, 3))
    for g in groups:
        members = member[start[g] : start[g + 1]]
        n = len(members)
        _normal_equations(image, residual, sources, plan, tables, members, gain, stamps, work, normal, right)
        for k in range(n):
            flux = sources[members[k], FLUX]
            for p in range(3):
                diagonal[k, p] = normal[3 * k + p, 3 * k + p]
            flux = max(flux, 2.0 / math.sqrt(max(diagonal[k, 0], 1e-30)))
            normal[3 * k, 3 * k] = diagonal[k, 0] * (1.0 + 1e-6) + 1e-30
            for p in range(1, 3):
                normal[3 * k + p, 3 * k + p] = diagonal[k, p] * (1.0 + 1e-6) + LEAST_CURVATURE / flux**2
        if not _factor(normal, 3 * n):
            continue
        _solve(normal, right, 3 * n)
        draw_sources(residual, sources, plan, tables, members, 1.0)
        for k in range(n):
            _step(sources[members[k]], diagonal, k, right, roam)
        draw_sources(residual, sources, plan, tables, members, -1.0)


@njit("void(f8[::1], f4[:, :, ::1], i8, f4[:, ::1], f4[:, ::1], f8[::1])", cache=True, nogil=True)
def _judge(source: Floats, stamps: Image, fit: int, xx: Image, yy: Image, result: Floats) -> None:
    """Write chi, sharp and the number of pixels of one source."""
    chi2 = used = pp = pq = qq = pr = qr = 0.0
    for i in range(2 * fit + 1):
        for j in range(2 * fit + 1):
            w = stamps[3, i, j]
            if w == np.float32(0.0):
                continue
            r, p, q = stamps[4, i, j], stamps[0, i, j], 0.5 * (xx[i, j] + yy[i, j])
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


@njit(
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
    """Write errors and qualities of all members of some groups into `results` (N, RESULT_COLUMNS); see `sweep`.

    Errors come from the inverse of the group's normal matrix: neighbours' uncertainties are in them. A source
    that the pixels do not determine has infinite errors.
    """
    s, m = tables.shape[1], tables.shape[3]
    most = 1
    for g in groups:
        most = max(most, start[g + 1] - start[g])
    stamps, work = np.empty((most, 5, m, m), np.float32), np.empty((s, m, m), np.float32)
    xx, yy = np.empty((m, m), np.float32), np.empty((m, m), np.float32)
    normal, right = np.zeros((3 * most, 3 * most)), np.empty(3 * most)
    for g in groups:
        members = member[start[g] : start[g + 1]]
        n = 3 * len(members)
        _normal_equations(image, residual, sources, plan, tables, members, gain, stamps, work, normal, right)
        for p in range(n):
            normal[p, p] = normal[p, p] * (1.0 + 1e-9) + 1e-30
        is_determined = _factor(normal, n)
        for k in range(len(members)):
            row = members[k]
            source, result = sources[row], results[row]
            for p in range(3):
                result[(FLUX_ERROR, X_ERROR, Y_ERROR)[p]] = np.inf
                if is_determined:
                    right[:n] = 0.0
                    right[3 * k + p] = 1.0
                    _solve(normal, right, n)
                    variance = right[3 * k + p]
                    scale = 1.0 if p == 0 else max(abs(source[FLUX]), 1e-30)
                    result[(FLUX_ERROR, X_ERROR, Y_ERROR)[p]] = math.sqrt(max(variance, 0.0)) / scale
            fit = plan[row, FIT]
            _stamp(tables, source, plan[row], fit, 2, 0, xx, work)
            _stamp(tables, source, plan[row], fit, 0, 2, yy, work)
            _judge(source, stamps[k], fit, xx, yy, result)
