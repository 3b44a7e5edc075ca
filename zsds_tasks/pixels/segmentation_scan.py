"""Matched filter, threshold and connected pixels in one scan of an image: compiled loops.

Only as many filtered rows as the filter is high exist at a time. What is above the threshold is kept as a
list of pixels in reading order and of runs along rows; runs that touch (also by a corner) are joined by a
union-find.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.pixels.mesh import Image

Mask = NDArray[np.uint16]
Indexes = NDArray[np.int32]
RUN_COLUMNS = 4
"""Of a run: row, first column, column after the last, its first pixel in the list."""
_SCAN = (
    "Tuple((i4[::1], f4[::1], i4[:, ::1], i4[::1]))"
    "(f4[:, ::1], u2[:, ::1], u2, u2, f4, f4[::1], f4[:, ::1], i8)"
)


@compiled("f4(f4[:, ::1], u2[:, ::1], u2, i8, i8)", cache=True)
def _mean_around(image: Image, mask: Mask, bits: np.uint16, y: int, x: int) -> np.float32:
    """Return the mean of the usable pixels of the 5 x 5 around one, nearer ones counting more; 0 if none."""
    total, weight = np.float32(0), np.float32(0)
    for v in range(max(y - 2, 0), min(y + 3, image.shape[0])):
        for u in range(max(x - 2, 0), min(x + 3, image.shape[1])):
            if (mask[v, u] & bits) == 0 and math.isfinite(image[v, u]):
                w = np.float32(1) / np.float32((v - y) ** 2 + (u - x) ** 2)
                total += w * image[v, u]
                weight += w
    return total / weight if weight > 0 else np.float32(0)


@njit(cache=True)
def _filter_row(
    image: Image,
    mask: Mask,
    bits: tuple[np.uint16, np.uint16],
    full_value: np.float32,
    kernel: Image,
    y: int,
    line: Image,
    out: Image,
) -> None:
    """Filter one row along x into `out`; `line` is scratch, half a filter longer at both ends."""
    nx, half = image.shape[1], len(kernel) // 2
    for x in range(nx):
        value = image[y, x]
        if (mask[y, x] & bits[0]) != 0 or not math.isfinite(value):
            if (mask[y, x] & bits[1]) != 0:
                value = full_value if not math.isfinite(value) else value
            else:
                value = _mean_around(image, mask, bits[0], y, x)
        line[half + x] = value
    for x in range(nx):
        out[x] = kernel[half] * line[half + x]
    for k in range(half):
        weight = kernel[k]
        right = 2 * half - k
        for x in range(nx):
            out[x] += weight * (line[k + x] + line[right + x])


@compiled("i4(i4[::1], i4)", cache=True)
def find_root(parent: Indexes, i: np.int32) -> np.int32:
    """Return the root of a tree of the union-find, halving the path to it."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit(cache=True)
def _join_rows(runs: Indexes, parent: Indexes, above: tuple[int, int], here: tuple[int, int]) -> None:
    """Join the runs of a row with those of the row above that they touch."""
    a, b = above[0], here[0]
    while a < above[1] and b < here[1]:
        if runs[a, 1] <= runs[b, 2] and runs[b, 1] <= runs[a, 2]:
            p, q = find_root(parent, np.int32(a)), find_root(parent, np.int32(b))
            # The earlier run is the root: components come in the order of their first pixel.
            if p < q:
                parent[q] = p
            elif q < p:
                parent[p] = q
        if runs[a, 2] < runs[b, 2]:
            a += 1
        else:
            b += 1


@njit(cache=True)
def _row_above(
    filtered: Image,
    noise: Image,
    cell: float,
    y: int,
    pixels: Indexes,
    values: Image,
    runs: Indexes,
    n: int,
    m: int,
) -> tuple[int, int]:
    """Append the pixels of a filtered row that are above the threshold; return the numbers kept so far."""
    rows, columns = noise.shape
    v = min(max((y + 0.5) / cell - 0.5, 0.0), rows - 1.0)
    i = min(int(v), max(rows - 2, 0))
    a = np.float32(v - i)
    line = noise[i] * (np.float32(1) - a) + noise[min(i + 1, rows - 1)] * a
    least = line.min()
    nx = len(filtered)
    last = -2
    for x in range(nx):
        if filtered[x] > least:
            u = min(max((x + 0.5) / cell - 0.5, 0.0), columns - 1.0)
            j = min(int(u), max(columns - 2, 0))
            limit = line[j] + (line[min(j + 1, columns - 1)] - line[j]) * np.float32(u - j)
            if filtered[x] > limit:
                if x != last + 1:
                    runs[m, 0], runs[m, 1], runs[m, 3] = y, x, n
                    m += 1
                last = x
                runs[m - 1, 2] = x + 1
                pixels[n] = y * nx + x
                values[n] = filtered[x]
                n += 1
    return n, m


@compiled(_SCAN, cache=True, nogil=True)
def scan_image(
    image: Image,
    mask: Mask,
    bits: np.uint16,
    full_bits: np.uint16,
    full_value: np.float32,
    kernel: Image,
    limit: Image,
    cell: int,
) -> tuple[Indexes, Image, Indexes, Indexes]:
    """Return what a filtered image has above a threshold.

    Parameters
    ----------
    image : numpy.ndarray (ny, nx), float32
        Without sky.
    mask : numpy.ndarray (ny, nx), uint16
    bits, full_bits : uint16
        Pixels with one of `bits` are replaced by the mean around them; but those with one of `full_bits` keep
        their value, or get `full_value` where it is not finite.
    full_value : float32
    kernel : numpy.ndarray (2 half + 1), float32
        Of the separable filter.
    limit : numpy.ndarray (rows, columns), float32
        Threshold at the middles of cells of `cell` pixels.
    cell : int

    Returns
    -------
    pixels : numpy.ndarray (N), int32
        Index into the flattened image, ascending.
    values : numpy.ndarray (N), float32
        Of the filtered image.
    runs : numpy.ndarray (M, 4), int32
        See `RUN_COLUMNS`.
    parent : numpy.ndarray (M), int32
        Union-find of the runs.
    """
    ny, nx = image.shape
    size, half = len(kernel), len(kernel) // 2
    line, total = np.zeros(nx + 2 * half, np.float32), np.empty(nx, np.float32)
    ring = np.zeros((size, nx), np.float32)
    capacity = max(ny * nx // 16, 4 * nx)
    pixels, values = np.empty(capacity, np.int32), np.empty(capacity, np.float32)
    runs, parent = np.empty((capacity // 2, RUN_COLUMNS), np.int32), np.empty(capacity // 2, np.int32)
    n, m, above = 0, 0, (0, 0)
    for y in range(-half, ny):
        fresh = y + half
        slot = fresh % size
        if fresh < ny:
            _filter_row(image, mask, (bits, full_bits), full_value, kernel, fresh, line, ring[slot])
        else:
            ring[slot] = 0
        if y < 0:
            continue
        total[:] = 0
        for k in range(size):
            weight, row = kernel[k], ring[(y - half + k) % size]
            for x in range(nx):
                total[x] += weight * row[x]
        if n + nx > len(pixels):
            pixels = np.concatenate((pixels, np.empty(len(pixels), np.int32)))
            values = np.concatenate((values, np.empty(len(values), np.float32)))
        if m + nx > len(parent):
            runs = np.concatenate((runs, np.empty_like(runs)))
            parent = np.concatenate((parent, np.empty_like(parent)))
        before = m
        n, m = _row_above(total, limit, float(cell), y, pixels, values, runs, n, m)
        for r in range(before, m):
            parent[r] = r
        _join_rows(runs, parent, above, (before, m))
        above = (before, m)
    return pixels[:n].copy(), values[:n].copy(), runs[:m].copy(), parent[:m].copy()


@compiled("Tuple((i4[::1], i4[::1], i8))(i4[:, ::1], i4[::1], i8)", cache=True, nogil=True)
def group_pixels(runs: Indexes, parent: Indexes, least: int) -> tuple[Indexes, Indexes, int]:
    """Return the pixels in order of their component, small components left out.

    Parameters
    ----------
    runs, parent : see `scan_image`
    least : int
        Pixels a component must have.

    Returns
    -------
    order : numpy.ndarray (K), int32
        Row of each kept pixel in the list, by component, in reading order within.
    first : numpy.ndarray (C + 1), int32
        Where each component begins in `order`.
    C : int
    """
    m = len(parent)
    count = np.zeros(m, np.int32)
    for r in range(m):
        count[find_root(parent, np.int32(r))] += runs[r, 2] - runs[r, 1]
    start = np.full(m, -1, np.int32)
    first = np.empty(m + 1, np.int32)
    components, total = 0, 0
    for r in range(m):
        if parent[r] == r and count[r] >= least:
            first[components] = total
            start[r] = total
            components += 1
            total += count[r]
    first[components] = total
    order = np.empty(total, np.int32)
    for r in range(m):
        root = find_root(parent, np.int32(r))
        if start[root] >= 0:
            for k in range(runs[r, 2] - runs[r, 1]):
                order[start[root]] = runs[r, 3] + k
                start[root] += 1
    return order, first[: components + 1].copy(), components
