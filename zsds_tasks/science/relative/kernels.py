"""The loops over epochs: one sweep of alternating least squares, residuals, medians of segments."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.science.relative.epochs import Floats, Rows

Small = NDArray[np.int8]
SINGULAR = 1e-10  # of a diagonal element left by those before it
SIZES = (1, 3, 6)  # terms by degree
TERMS = 6
"""Legendre products of total degree 0 to 2: 1, u, v, P2(u), u v, P2(v)."""
MEAN_SQUARES = (1.0, 1 / 3, 1 / 3, 1 / 5, 1 / 9, 1 / 5)
"""Of each over the image."""


@compiled("void(f8, f8, f8[::1])", cache=True, nogil=True)
def basis(u: float, v: float, out: Floats) -> None:
    """Write the terms at a place, u and v from -1 to 1."""
    out[0] = 1.0
    out[1] = u
    out[2] = v
    out[3] = 1.5 * u * u - 0.5
    out[4] = u * v
    out[5] = 1.5 * v * v - 0.5


@compiled("f8(f8, f8, f8[::1], i8)", cache=True, nogil=True)
def term_at(u: float, v: float, c: Floats, order: int) -> float:
    """Return the sum of the terms at a place."""
    value = c[0]
    if order > 0:
        value += c[1] * u + c[2] * v
    if order > 1:
        value += c[3] * (1.5 * u * u - 0.5) + c[4] * u * v + c[5] * (1.5 * v * v - 0.5)
    return value


@compiled("b1(f8[:, ::1], i8, f8[:, ::1])", cache=True, nogil=True)
def _cholesky(normal: Floats, k: int, lower: Floats) -> bool:
    """Write the root of the leading k by k part; False if it is singular."""
    for i in range(k):
        for j in range(i + 1):
            total = normal[i, j]
            for m in range(j):
                total -= lower[i, m] * lower[j, m]
            if i != j:
                lower[i, j] = total / lower[j, j]
            elif total > SINGULAR * normal[i, i]:
                lower[i, i] = np.sqrt(total)
            else:
                return False
    return True


@compiled("f8(f8[:, ::1], f8[::1], i8, f8[:, ::1], f8[::1])", cache=True, nogil=True)
def solve_leading(normal: Floats, right: Floats, k: int, lower: Floats, out: Floats) -> float:
    """Solve the leading k by k equations; return right . solution, or -1 if they are singular."""
    if not _cholesky(normal, k, lower):
        return -1.0
    gain = 0.0
    for i in range(k):
        total = right[i]
        for m in range(i):
            total -= lower[i, m] * out[m]
        out[i] = total / lower[i, i]
        gain += out[i] ** 2
    for i in range(k - 1, -1, -1):
        total = out[i]
        for m in range(i + 1, k):
            total -= lower[m, i] * out[m]
        out[i] = total / lower[i, i]
    return gain


@compiled(
    "Tuple((i8, f8))(i8[::1], f8[::1], f8[::1], f8[::1], f8[::1], f8[::1], f8[::1], b1[::1], f8, f8, i8, "
    "f8[::1], i8, f8[:, ::1], f8[::1])",
    cache=True,
    nogil=True,
)
def _add_up(
    star: Rows,
    mag: Floats,
    variance: Floats,
    u: Floats,
    v: Floats,
    star_mag: Floats,
    star_variance: Floats,
    stable: NDArray[np.bool_],
    inflation: float,
    limit: float,
    order: int,
    c: Floats,
    k: int,
    normal: Floats,
    right: Floats,
) -> tuple[int, float]:
    """Write the normal equations of one image; return how many stars count, and the sum of their shares."""
    b = np.empty(TERMS)
    for m in range(TERMS):
        right[m] = 0.0
        for n in range(TERMS):
            normal[m, n] = 0.0
    count, share = 0, 0.0
    for e in range(len(star)):
        i = star[e]
        if not stable[i]:
            continue
        total = (variance[e] + star_variance[i]) * inflation
        y = mag[e] - star_mag[i]
        r = y - term_at(u[e], v[e], c, order)
        t = 1.0 - r * r / (total * limit)
        if t <= 0.0:
            continue
        w = t * t / total
        count += 1
        share += t * t
        basis(u[e], v[e], b)
        for m in range(k):
            right[m] += w * b[m] * y
            for n in range(m + 1):
                normal[m, n] += w * b[m] * b[n]
    return count, share


@compiled("i8(f8[:, ::1], f8[::1], i8, f8, f8[::1], f8[::1])", cache=True, nogil=True)
def _choose_degree(
    normal: Floats, right: Floats, count: int, share: float, settings: Floats, best: Floats
) -> int:
    """Write the terms of the degree that the stars prove; return it."""
    evidence, per_term, least_rms, most = settings[2], settings[3], settings[4], int(settings[5])
    lower, solution = np.zeros((TERMS, TERMS)), np.empty(TERMS)
    chosen = 0
    gain = solve_leading(normal, right, 1, lower, best)
    for degree in range(1, most + 1):
        k = SIZES[degree]
        if share < per_term * k:
            break
        more = solve_leading(normal, right, k, lower, solution)
        rms = 0.0
        for m in range(1, k):
            rms += solution[m] ** 2 * MEAN_SQUARES[m]
        cost = (k - SIZES[chosen]) * np.log(float(count)) + evidence
        if more - gain > cost and rms > least_rms**2:
            chosen, gain = degree, more
            for m in range(k):
                best[m] = solution[m]
    return chosen


@compiled(
    "void(i8[::1], f8[::1], f8[::1], f8[::1], f8[::1], f8[::1], f8[::1], f8, f8, i8, f8[::1], f8[::1], "
    "f8[::1])",
    cache=True,
    nogil=True,
)
def _tell_stars(
    star: Rows,
    mag: Floats,
    variance: Floats,
    u: Floats,
    v: Floats,
    star_mag: Floats,
    star_variance: Floats,
    inflation: float,
    limit: float,
    order: int,
    c: Floats,
    top: Floats,
    bottom: Floats,
) -> None:
    """Add the epochs of one corrected image to the means of its stars."""
    for e in range(len(star)):
        i = star[e]
        total = (variance[e] + star_variance[i]) * inflation
        y = mag[e] - term_at(u[e], v[e], c, order)
        t = 1.0 - (y - star_mag[i]) ** 2 / (total * limit)
        if t > 0.0:
            w = t * t / total
            top[i] += w * y
            bottom[i] += w


@compiled("void(f8[::1], f8[::1], f8[::1])", cache=True, nogil=True)
def _average(top: Floats, bottom: Floats, star_mag: Floats) -> None:
    """Write the means of stars; those that nothing told of keep theirs."""
    for i in range(len(star_mag)):
        if bottom[i] > 0.0:
            star_mag[i] = top[i] / bottom[i]


@compiled(
    "f8(i8[::1], i8[::1], f8[::1], f8[::1], f8[::1], f8[::1], f8[::1], f8[::1], b1[::1], b1[::1], f8[::1], "
    "i1[::1], f8[:, ::1], f8[::1], f8[::1], b1)",
    cache=True,
    nogil=True,
)
def sweep(
    starts: Rows,
    star: Rows,
    mag: Floats,
    variance: Floats,
    u: Floats,
    v: Floats,
    star_mag: Floats,
    star_variance: Floats,
    stable: NDArray[np.bool_],
    telling: NDArray[np.bool_],
    inflation: Floats,
    order: Small,
    coefficients: Floats,
    errors: Floats,
    settings: Floats,
    choose: bool,
) -> float:
    """Fit every image to the stars, then every star to the images, once.

    Parameters
    ----------
    starts : (images + 1)
        Where the epochs of each image begin.
    star, mag, variance, u, v : (epochs)
        In canonical order; variance is formal.
    star_mag, star_variance, stable : (stars)
        Mean magnitude (changed), variance beyond the formal, whether it tells about images.
    telling, inflation : (images)
        Whether it tells about stars; factor on its errors, squared.
    order, coefficients, errors : (images), (images, 6), (images)
        Changed: degree (-1: not solved), terms, error of the offset.
    settings : outlier sigma, precision of terms, evidence, stars per coefficient, least RMS, most order
    choose : bool
        Whether the degree may change.

    Returns
    -------
    float
        Largest change of an image's offset.
    """
    limit = settings[0] ** 2
    top, bottom = np.zeros(len(star_mag)), np.zeros(len(star_mag))
    normal, right = np.empty((TERMS, TERMS)), np.empty(TERMS)
    lower, best = np.zeros((TERMS, TERMS)), np.empty(TERMS)
    moved = 0.0
    for j in range(len(starts) - 1):
        if order[j] < 0:
            continue
        first, last, c = starts[j], starts[j + 1], coefficients[j]
        k = SIZES[int(settings[5]) if choose else int(order[j])]
        count, share = _add_up(
            star[first:last], mag[first:last], variance[first:last], u[first:last], v[first:last], star_mag,
            star_variance, stable, inflation[j], limit, int(order[j]), c, k, normal, right,
        )  # fmt: skip
        if count == 0:
            continue
        for m in range(1, k):
            normal[m, m] += settings[1]
        if choose:
            order[j] = _choose_degree(normal, right, count, share, settings, best)
            k = SIZES[int(order[j])]
        elif solve_leading(normal, right, k, lower, best) < 0.0:
            continue
        moved = max(moved, abs(best[0] - c[0]))
        for m in range(TERMS):
            c[m] = best[m] if m < k else 0.0
        errors[j] = 1.0 / np.sqrt(normal[0, 0])
        if telling[j]:
            _tell_stars(
                star[first:last], mag[first:last], variance[first:last], u[first:last], v[first:last],
                star_mag, star_variance, inflation[j], limit, int(order[j]), c, top, bottom,
            )  # fmt: skip
    _average(top, bottom, star_mag)
    return moved


@compiled("f8[::1](i8[::1], f8[::1], f8[::1], f8[::1], f8[:, ::1], i1[::1])", cache=True, nogil=True)
def corrected(image: Rows, mag: Floats, u: Floats, v: Floats, coefficients: Floats, order: Small) -> Floats:
    """Return magnitudes less the terms of their images."""
    out = np.empty(len(mag))
    for e in range(len(mag)):
        j = image[e]
        out[e] = mag[e] - term_at(u[e], v[e], coefficients[j], max(order[j], 0))
    return out


@compiled("f8[::1](f8[::1], i8[::1])", cache=True, nogil=True)
def segment_medians(values: Floats, starts: Rows) -> Floats:
    """Return the median of each segment; NaN of an empty one. Values must be finite."""
    n = len(starts) - 1
    out = np.full(n, np.nan)
    for k in range(n):
        size = starts[k + 1] - starts[k]
        if size > 0:
            out[k] = np.median(values[starts[k] : starts[k + 1]])
    return out
