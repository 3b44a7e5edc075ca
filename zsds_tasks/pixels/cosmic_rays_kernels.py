"""Compiled parts of `cosmic_rays`: the Laplacian over the whole image, the tests at some of its pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled

Image = NDArray[np.float32]
Mask = NDArray[np.uint16]
Places = NDArray[np.int64]
BLOCK = 64
FWHM_TO_EXPONENT = 4 * np.log(2)


@compiled("f8(f4[:, ::1], i8[::1], f4[::1], i8, i8)", cache=True, nogil=True, inline="always")
def _sigma(across: Image, node: Places, weight: Image, y: int, x: int) -> float:
    lower, upper = across[node[y], x], across[node[y] + 1, x]
    return lower + weight[y] * (upper - lower)


@compiled(
    "i8[:, ::1](f4[:, ::1], f4[:, ::1], i8[::1], f4[::1], f4[::1])",
    cache=True,
    nogil=True,
    error_model="numpy",
    fastmath={"contract", "reassoc", "nsz"},
)
def candidates(image: Image, across: Image, node: Places, weight: Image, limits: Image) -> Places:
    """Return 0-based (y, x) of pixels that may be spikes; the outermost pixels are not looked at.

    What a spike passes in `spikes_among` it passes here, where the noise is taken as that of blank sky.

    Parameters
    ----------
    image : (ny, nx) float32
        Background subtracted. Neighbours of NaN are returned.
    across, node, weight : arrays
        Of the noise; see `MeshRows`.
    limits : (4) float32
        In sigmas, what the sum over the pixel's four corners of max(0, 2 v - a - b) has to exceed, with a and
        b the neighbours at the corner: 8 for each sigma of L / (2 sigma). In sigmas, what v less
        c (left + right) / 2 has to exceed in some direction. Then half of c, straight and diagonally.
    """
    ny, nx = image.shape
    zero, two = np.float32(0), np.float32(2)
    least, sharp, straight, diagonal = limits[0], limits[1], limits[2], limits[3]
    places = np.empty((4096, 2), np.int64)
    n = 0
    over = np.zeros(nx + BLOCK, np.float32)
    for y in range(1, ny - 1):
        lower, upper, w = across[node[y]], across[node[y] + 1], weight[y]
        above, here, below = image[y - 1], image[y], image[y + 1]
        for x in range(1, nx - 1):
            left, right, up, down = here[x - 1], here[x + 1], above[x], below[x]
            v = two * here[x]
            h, k = v - left, v - right
            a, b, c, d = h - up, k - up, h - down, k - down
            total = max(zero, a) + max(zero, b)
            total += max(zero, c) + max(zero, d)
            h, k = left + right, up + down
            # The least of the two is under their mean, so a ring of four needs no look of its own.
            near = straight * min(h, k)
            h, k = above[x - 1] + below[x + 1], above[x + 1] + below[x - 1]
            far = diagonal * min(h, k)
            sigma = lower[x] + w * (upper[x] - lower[x])
            h, k = total - least * sigma, here[x] - min(near, far) - sharp * sigma
            over[x] = min(h, k)
        for start in range(0, nx, BLOCK):
            fires = zero
            for x in range(start, start + BLOCK):
                fires += zero if over[x] <= zero else np.float32(1)  # NaN fires
            if fires == zero:
                continue
            if n + BLOCK > len(places):
                larger = np.empty((2 * len(places), 2), np.int64)
                larger[:n] = places[:n]
                places = larger
            for x in range(start, min(start + BLOCK, nx)):
                if not over[x] <= zero:
                    places[n, 0], places[n, 1] = y, x
                    n += 1
    return places[:n].copy()


@compiled("b1(f4[:, ::1], u2[:, ::1], i8, i8, i8)", cache=True, nogil=True)
def _is_bad(image: Image, mask: Mask, bits: int, y: int, x: int) -> bool:
    if y < 0 or x < 0 or y >= image.shape[0] or x >= image.shape[1]:
        return True
    return (mask[y, x] & bits) != 0 or not np.isfinite(image[y, x])


@compiled("UniTuple(f8, 3)(f4[:, ::1], u2[:, ::1], i8, i8, i8, i8, i8, i8)", cache=True, nogil=True)
def _pair(
    image: Image, mask: Mask, bits: int, mark: int, y: int, x: int, dy: int, dx: int
) -> tuple[float, float, float]:
    """Return two opposite neighbours and how many values they are: 2, or 1 standing for both, or 0."""
    y0, x0, y1, x1 = y - dy, x - dx, y + dy, x + dx
    if _is_bad(image, mask, bits, y0, x0) or _is_bad(image, mask, bits, y1, x1):
        return np.nan, np.nan, 0.0
    left, right = np.float64(image[y0, x0]), np.float64(image[y1, x1])
    left_found, right_found = (mask[y0, x0] & mark) != 0, (mask[y1, x1] & mark) != 0
    if left_found and right_found:
        return np.nan, np.nan, 0.0
    if left_found:
        return right, right, 1.0
    return left, left if right_found else right, 1.0 if right_found else 2.0


@compiled("f8(f8[:, ::1], f8, f8, f8, f8)", cache=True, nogil=True)
def _sharpness(pairs: Places, v: float, blank: float, per_gain: float, per_width2: float) -> float:
    """Return by how many sigmas a pixel breaks the PSF's limit, in the direction where it does most.

    The four directions count, and the two rings of four neighbours at one distance.
    """
    sharpest = -np.inf
    own = blank + max(v, 0.0) * per_gain
    for straight in range(2):
        c = np.exp(FWHM_TO_EXPONENT * (2 - straight) * per_width2)
        ring_mean, ring_variance, complete = 0.0, 0.0, True
        for k in range(2 - 2 * straight, 4 - 2 * straight):
            left, right, values = pairs[k, 0], pairs[k, 1], pairs[k, 2]
            if values == 0:
                complete = False
                continue
            mean = (left + right) / 2
            variance = (blank + max(mean, 0.0) * per_gain) / values
            sharpest = max(sharpest, (v - c * mean) / np.sqrt(own + c * c * variance))
            ring_mean += mean / 2
            ring_variance += variance / 4
        if complete:
            sharpest = max(sharpest, (v - c * ring_mean) / np.sqrt(own + c * c * ring_variance))
    return sharpest


@compiled("f8(f8[:, ::1], f8, f8, f8)", cache=True, nogil=True)
def _laplacian(pairs: Places, v: float, blank: float, per_gain: float) -> float:
    """Return L / (2 sigma), sigma being that of a pixel that is as its neighbours are; 0 without any."""
    total, level, known = 0.0, 0.0, 0
    for k in range(2):
        if pairs[k, 2] > 0:
            level += (pairs[k, 0] + pairs[k, 1]) / 2
            known += 1
    if known == 0:
        return 0.0
    level /= known
    for i in range(2):
        for j in range(2):
            # A direction in which nothing is known adds nothing.
            across = v - pairs[0, i] if pairs[0, 2] > 0 else 0.0
            along = v - pairs[1, j] if pairs[1, 2] > 0 else 0.0
            total += max(0.0, across + along)
    return total / 8 / np.sqrt(blank + max(level, 0.0) * per_gain)


@compiled(
    "i8[:, ::1](f4[:, ::1], u2[:, ::1], u2, u2, i8[:, ::1], f4[:, ::1], i8[::1], f4[::1], f8, f8, f8, f8)",
    cache=True,
    nogil=True,
)
def spikes_among(
    image: Image,
    mask: Mask,
    bits: int,
    mark: int,
    places: Places,
    across: Image,
    node: Places,
    weight: Image,
    per_gain: float,
    per_width2: float,
    sigma_clip: float,
    sharpness_clip: float,
) -> Places:
    """Return those of `places` (N, 2) that are spikes: L / (2 sigma) and sharpness both over their limits.

    Of opposite neighbours where one is marked already the other stands for both; a pair with a bad pixel is
    left out.

    Parameters
    ----------
    image, mask : (ny, nx) float32, uint16
    bits, mark : uint16
        What makes a pixel bad, and what says that it is a spike already.
    places : (N, 2) int64
    across, node, weight : arrays
        Of the noise; see `MeshRows`.
    per_gain, per_width2 : float
        DN per electron; 1 over the square of the narrowest FWHM.
    sigma_clip, sharpness_clip : float
        Sigmas.
    """
    kept = np.empty_like(places)
    n = 0
    pairs = np.empty((4, 3))
    steps = ((0, 1), (1, 0), (1, 1), (1, -1))
    for i in range(len(places)):
        y, x = places[i, 0], places[i, 1]
        if _is_bad(image, mask, np.int64(bits) | np.int64(mark), y, x):
            continue
        for k in range(4):
            pairs[k] = _pair(image, mask, bits, mark, y, x, steps[k][0], steps[k][1])
        v = np.float64(image[y, x])
        lower, upper = np.float64(across[node[y], x]), np.float64(across[node[y] + 1, x])
        blank = (lower + weight[y] * (upper - lower)) ** 2
        if (
            _sharpness(pairs, v, blank, per_gain, per_width2) > sharpness_clip
            and _laplacian(pairs, v, blank, per_gain) > sigma_clip
        ):
            kept[n] = places[i]
            n += 1
    return kept[:n].copy()


@compiled("void(u2[:, ::1], i8[:, ::1], u2)", cache=True, nogil=True)
def set_bits(mask: Mask, places: Places, bits: int) -> None:
    """Set bits of a mask (ny, nx) at places (N, 2), in place."""
    for i in range(len(places)):
        mask[places[i, 0], places[i, 1]] |= bits


@compiled("i8[:, ::1](u2[:, ::1], u2, i8[:, ::1])", cache=True, nogil=True)
def neighbours(mask: Mask, bits: int, places: Places) -> Places:
    """Return the pixels next to places (N, 2) that have none of some bits; some of them more than once."""
    near = np.empty((8 * len(places), 2), np.int64)
    n = 0
    for i in range(len(places)):
        for y in range(max(places[i, 0] - 1, 0), min(places[i, 0] + 2, mask.shape[0])):
            for x in range(max(places[i, 1] - 1, 0), min(places[i, 1] + 2, mask.shape[1])):
                if not mask[y, x] & bits:
                    near[n, 0], near[n, 1] = y, x
                    n += 1
    return near[:n].copy()
