"""Part connected pixels into sources: a flood from the brightest pixel down, compiled.

Each peak starts a basin. Where two basins meet, the smaller one stays a source of its own if its peak is
above the saddle by more than noise, and if either its light above the saddle is a fair share of its
neighbour's or the peak is far higher than the saddle; otherwise it becomes part of the other. This is
SExtractor's tree with as many thresholds as there are pixels, with the noise taken into account, and with
the contrast measured against the neighbour met instead of the whole clump, which in a crowded field may be
the whole image.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.pixels.mesh import Image
from zsds_tasks.pixels.segmentation_scan import Indexes, find_root

Floats = NDArray[np.float64]
INSERTION = 40
"""Up to so many pixels sorting by insertion is faster."""
_FLOOD = "i8(i4[::1], i4[::1], f4[::1], i4[:, ::1], i4[::1], i8, f8[::1], i4[::1], i4[::1], b1[::1], f4[::1])"


@njit(cache=True)
def _descending(values: Image) -> NDArray[np.int64]:
    """Return the rows of values from the highest down; equal ones in order."""
    n = len(values)
    if n > INSERTION:
        return np.argsort(-values, kind="mergesort")
    order = np.empty(n, np.int64)
    for i in range(n):
        k = i
        while k > 0 and values[order[k - 1]] < values[i]:
            order[k] = order[k - 1]
            k -= 1
        order[k] = i
    return order


@njit(cache=True)
def _count_peaks(pixels: Indexes, values: Image, index: Indexes, lo: int, hi: int) -> tuple[int, int]:
    """Return how many pixels of a component are above all their neighbours, and the first such pixel."""
    ny, nx = index.shape
    peaks, at = 0, lo
    for i in range(lo, hi):
        y, x = pixels[i] // nx, pixels[i] % nx
        is_peak = True
        for v in range(max(y - 1, 0), min(y + 2, ny)):
            for u in range(max(x - 1, 0), min(x + 2, nx)):
                k = index[v, u] - 1
                if k >= 0 and (values[k] > values[i] or (values[k] == values[i] and k < i)):
                    is_peak = False
        if is_peak:
            at = i if peaks == 0 else at
            peaks += 1
    return peaks, at


@njit(cache=True)
def _is_source(
    sums: Floats, counts: Indexes, peaks: Image, pair: tuple[int, int], saddle: float, limits: Floats
) -> bool:
    """Say whether the smaller basin of a pair that meets at a saddle is a source of its own.

    `limits` are contrast, significance, variance of the filtered sky, of filtered light per unit, prominence.
    """
    smaller, larger = pair
    light = sums[smaller] - counts[smaller] * saddle
    other = sums[larger] - counts[larger] * saddle
    noise = math.sqrt(limits[2] + limits[3] * max(saddle, 0.0))
    rise = peaks[smaller] - saddle
    return rise > limits[1] * noise and (light > limits[0] * other or rise > limits[4] * saddle)


@njit(cache=True)
def _meet(
    basins: tuple[int, int],
    sums: Floats,
    counts: Indexes,
    peaks: Image,
    parent: Indexes,
    is_sure: NDArray[np.bool_],
    saddle: float,
    limits: Floats,
) -> None:
    """Join two basins that meet at a saddle unless both are sources.

    A basin that once was found a source stays one, whatever its neighbours become part of.
    """
    a, b = basins
    if sums[a] - counts[a] * saddle < sums[b] - counts[b] * saddle:
        a, b = b, a
    if is_sure[b]:
        return
    if _is_source(sums, counts, peaks, (b, a), saddle, limits):
        is_sure[a] = is_sure[b] = True
        return
    # The higher peak names the basin.
    if peaks[b] > peaks[a]:
        a, b = b, a
    parent[b] = a
    is_sure[a] |= is_sure[b]
    sums[a] += sums[b]
    counts[a] += counts[b]


@njit(cache=True)
def _flood_component(
    pixels: Indexes, values: Image, index: Indexes, lo: int, hi: int, limits: Floats, basin: Indexes
) -> tuple[int, Indexes, Indexes]:
    """Set the basin (lo:hi) of each pixel of a component; return their number, parents and peak pixels."""
    ny, nx = index.shape
    order = _descending(values[lo:hi])
    sums, counts = np.empty(hi - lo, np.float64), np.empty(hi - lo, np.int32)
    peaks, parent = np.empty(hi - lo, np.float32), np.empty(hi - lo, np.int32)
    peak_at, is_sure = np.empty(hi - lo, np.int32), np.zeros(hi - lo, np.bool_)
    n = 0
    basin[lo:hi] = -1
    for step in order:
        i = lo + step
        y, x = pixels[i] // nx, pixels[i] % nx
        best, best_value = -1, np.float32(-np.inf)
        for v in range(max(y - 1, 0), min(y + 2, ny)):
            for u in range(max(x - 1, 0), min(x + 2, nx)):
                k = index[v, u] - 1
                if k >= lo and k < hi and basin[k] >= 0:
                    root = find_root(parent, basin[k])
                    if best >= 0 and root != best:
                        _meet((best, root), sums, counts, peaks, parent, is_sure, float(values[i]), limits)
                    if values[k] > best_value:
                        best, best_value = root, values[k]
                    best = find_root(parent, np.int32(best))
        if best < 0:
            best = n
            parent[n], peaks[n], sums[n], counts[n], peak_at[n] = n, values[i], 0.0, 0, i
            n += 1
        basin[i] = best
        sums[best] += values[i]
        counts[best] += 1
    return n, parent, peak_at


@compiled(_FLOOD, cache=True, nogil=True)
def part_components(
    pixels: Indexes,
    first: Indexes,
    values: Image,
    index: Indexes,
    label: Indexes,
    least: int,
    limits: Floats,
    peak: Indexes,
    area: Indexes,
    is_parted: NDArray[np.bool_],
    height: Image,
) -> int:
    """Give every pixel the number of its source; return how many sources there are.

    Parameters
    ----------
    pixels : numpy.ndarray (K), int32
        Index into the flattened image, by component.
    first : numpy.ndarray (C + 1), int32
        Where each component begins.
    values : numpy.ndarray (K), float32
        Of the filtered image.
    index : numpy.ndarray (ny, nx), int32
        Row of each pixel in the list, plus 1; 0 elsewhere.
    label : numpy.ndarray (K), int32
        Written: number of the source from 1, or 0 where a part is too small.
    least : int
        Pixels a source must have.
    limits : numpy.ndarray (5), float64
        Contrast, significance, variance of filtered sky, variance of filtered light per unit, prominence.
    peak, area : numpy.ndarray (>= sources), int32
        Written: index of the brightest pixel in the flattened image, number of pixels.
    is_parted : numpy.ndarray (>= sources), bool
        Written: the component has other sources.
    height : numpy.ndarray (>= sources), float32
        Written: value at the peak.
    """
    n_sources = 0
    for c in range(len(first) - 1):
        lo, hi = first[c], first[c + 1]
        peaks, at = _count_peaks(pixels, values, index, lo, hi)
        if peaks <= 1:
            label[lo:hi] = n_sources + 1
            peak[n_sources], area[n_sources], is_parted[n_sources] = pixels[at], hi - lo, False
            height[n_sources] = values[at]
            n_sources += 1
            continue
        n, parent, peak_at = _flood_component(pixels, values, index, lo, hi, limits, label)
        size = np.zeros(n, np.int32)
        for i in range(lo, hi):
            label[i] = find_root(parent, label[i])
            size[label[i]] += 1
        number = np.zeros(n, np.int32)
        before = n_sources
        for b in range(n):
            if parent[b] == b and size[b] >= least:
                peak[n_sources], area[n_sources] = pixels[peak_at[b]], size[b]
                height[n_sources] = values[peak_at[b]]
                n_sources += 1
                number[b] = n_sources
        is_parted[before:n_sources] = n_sources - before > 1
        for i in range(lo, hi):
            label[i] = number[label[i]]
    return n_sources
