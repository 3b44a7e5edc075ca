"""Normal equations of a group of sources on the residual image: compiled kernels.

Of each member five flat stamps are kept, on the square around its disc: light and its derivatives by x and y,
inverse variances and residuals. All are zero outside the disc and where unusable, so a sum over a square is
one over the disc, and one over the overlap of two squares is one over the pixels both discs share.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.pixels.psf_draw import FIT, FLUX, NOISE, TABLE, X, Y
from zsds_tasks.pixels.psf_splines import MARGIN, sample_slopes

Image = NDArray[np.float32]
Floats = NDArray[np.float64]
Indexes = NDArray[np.int64]
LIGHT, BY_X, BY_Y, WEIGHT, REST = 0, 1, 2, 3, 4
STAMPS = 5


@compiled("void(f4[:, ::1], f4[:, ::1], f8[::1], i8, f8, f4[:, ::1])", cache=True, nogil=True)
def weigh_disc(image: Image, residual: Image, source: Floats, fit: int, gain: float, stamps: Image) -> None:
    """Write residuals and inverse variances of the pixels of a source's disc, and blank its light elsewhere.

    The light that makes the noise is that of all sources as fitted: image minus residual. The image itself
    would count its own noise twice and make faint sources fainter.
    """
    ny, nx = image.shape
    row, column = round(source[Y]) - fit, round(source[X]) - fit
    dx, dy = source[X] - column, source[Y] - row
    sky, per_dn = np.float32(source[NOISE] ** 2), np.float32(1.0 / gain)
    zero, one = np.float32(0.0), np.float32(1.0)
    reach = (fit + 0.25) ** 2
    n = 2 * fit + 1
    for i in range(n):
        r = row + i
        for j in range(n):
            c, k = column + j, i * n + j
            weight, value = zero, zero
            if 0 <= r < ny and 0 <= c < nx and (i - dy) ** 2 + (j - dx) ** 2 <= reach:
                value = residual[r, c]
                if math.isnan(value):
                    value = zero
                else:
                    weight = one / (sky + max(image[r, c] - value, zero) * per_dn)
            stamps[WEIGHT, k], stamps[REST, k] = weight, value
            if weight == zero:
                stamps[LIGHT, k] = stamps[BY_X, k] = stamps[BY_Y, k] = zero


@compiled("void(f4[:, ::1], i8, i8, f8[:, ::1], f8[::1])", cache=True, nogil=True, fastmath=True)
def _own_sums(stamps: Image, size: int, first: int, normal: Floats, right: Floats) -> None:
    """Write the equations of one member by itself into rows and columns `first` to `first + 2`."""
    a00 = a01 = a02 = a11 = a12 = a22 = b0 = b1 = b2 = np.float32(0.0)
    p, u, v, weight, rest = stamps[LIGHT], stamps[BY_X], stamps[BY_Y], stamps[WEIGHT], stamps[REST]
    for k in range(size):
        w = weight[k]
        wp, wu, wv, r = w * p[k], w * u[k], w * v[k], rest[k]
        a00 += wp * p[k]
        a01 += wp * u[k]
        a02 += wp * v[k]
        a11 += wu * u[k]
        a12 += wu * v[k]
        a22 += wv * v[k]
        b0 += wp * r
        b1 += wu * r
        b2 += wv * r
    i, j, k = first, first + 1, first + 2
    normal[i, i], normal[i, j], normal[i, k] = a00, a01, a02
    normal[j, i], normal[j, j], normal[j, k] = a01, a11, a12
    normal[k, i], normal[k, j], normal[k, k] = a02, a12, a22
    right[i], right[j], right[k] = b0, b1, b2


@compiled(
    "void(f4[:, :, :, :, ::1], f8[::1], i8[::1], i8, f4[:, ::1], f4[:, :, ::1])", cache=True, nogil=True
)
def _slopes(tables: Image, source: Floats, plan: Indexes, fit: int, stamps: Image, work: Image) -> None:
    """Write the light of a source and its derivatives on the square around its disc."""
    half, n = (tables.shape[3] - 1) // 2 - MARGIN, 2 * fit + 1
    light, by_x, by_y = stamps[LIGHT, : n * n], stamps[BY_X, : n * n], stamps[BY_Y, : n * n]
    sample_slopes(
        tables[plan[TABLE]],
        source[X] - round(source[X]),
        source[Y] - round(source[Y]),
        half,
        fit,
        light.reshape(n, n),
        by_x.reshape(n, n),
        by_y.reshape(n, n),
        work,
    )


@compiled("f8(f4[::1], f4[::1], f4[::1], i8, i8, i8, i8)", cache=True, nogil=True, fastmath=True)
def _overlap(a: Image, weight: Image, b: Image, n_a: int, n_b: int, row: int, column: int) -> float:
    """Sum a * weight * b over the pixels of both squares; b's first pixel lies at (row, column) of a's."""
    total = np.float32(0.0)
    left, right = max(0, column), min(n_a, column + n_b)
    for i in range(max(0, row), min(n_a, row + n_b)):
        own, other = i * n_a, (i - row) * n_b - column
        for j in range(left, right):
            total += a[own + j] * weight[own + j] * b[other + j]
    return float(total)


@compiled(
    "void(f4[:, ::1], f4[:, ::1], f8[:, ::1], i8[:, ::1], f4[:, :, :, :, ::1], i8[::1], f8, "
    "f4[:, :, ::1], f4[:, :, ::1], f8[:, ::1], f8[::1])",
    cache=True,
    nogil=True,
)
def normal_equations(
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
    """Write the normal equations of flux, flux * x and flux * y of a group's members.

    Parameters
    ----------
    image, residual, sources, plan, tables, gain
        See `zsds_tasks.pixels.psf_fit_kernels.sweep`.
    members : numpy.ndarray (K), int64
    stamps : numpy.ndarray (>= K, STAMPS, n n), float32
        Left holding the members' stamps.
    work : numpy.ndarray (S, n, n), float32
    normal : numpy.ndarray (>= 3 K, >= 3 K), float64
    right : numpy.ndarray (>= 3 K), float64
    """
    for k in range(len(members)):
        source, own, fit = sources[members[k]], plan[members[k]], plan[members[k], FIT]
        size = 2 * fit + 1
        _slopes(tables, source, own, fit, stamps[k], work)
        weigh_disc(image, residual, source, fit, gain, stamps[k])
        _own_sums(stamps[k], size * size, 3 * k, normal, right)
        row, column = round(source[Y]) - fit, round(source[X]) - fit
        for other in range(k):
            reach = plan[members[other], FIT]
            i = round(sources[members[other], Y]) - reach - row
            j = round(sources[members[other], X]) - reach - column
            for p in range(3):
                for q in range(3):
                    total = _overlap(
                        stamps[k, p], stamps[k, WEIGHT], stamps[other, q], size, 2 * reach + 1, i, j
                    )
                    normal[3 * k + p, 3 * other + q] = total
                    normal[3 * other + q, 3 * k + p] = total


@compiled("b1(f8[:, ::1], i8)", cache=True, nogil=True)
def factor(a: Floats, n: int) -> bool:
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


@compiled("void(f8[:, ::1], f8[::1], i8)", cache=True, nogil=True)
def solve(factored: Floats, b: Floats, n: int) -> None:
    """Solve in place with a Cholesky factor."""
    for i in range(n):
        for k in range(i):
            b[i] -= factored[i, k] * b[k]
        b[i] /= factored[i, i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            b[i] -= factored[k, i] * b[k]
        b[i] /= factored[i, i]


@compiled("f8(f8[::1], f8)", cache=True, nogil=True)
def steep_flux(source: Floats, curvature: float) -> float:
    """Return the flux that turns flux * x into x: that of the source, or two sigma where it is fainter."""
    return max(source[FLUX], 2.0 / math.sqrt(max(curvature, 1e-30)))
