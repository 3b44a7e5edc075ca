"""Clipped mean of a stack of frames, pixel by pixel, with its uncertainty and the scatter it saw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.science.calibration.robust import SIGMA_PER_MAD

Image = NDArray[np.float32]
MAX_FRAMES = 255


@dataclass(frozen=True)
class Stack:
    """What became of a stack.

    Parameters
    ----------
    mean : numpy.ndarray (ny, nx), float32
        Weighted mean of what was kept; NaN where nothing was.
    uncertainty : numpy.ndarray (ny, nx), float32
        Its standard error from the scatter of what was kept; NaN with fewer than two.
    excess : numpy.ndarray (ny, nx), float32
        Robust scatter of all samples over the expected one: 1 where a pixel behaves.
    kept : numpy.ndarray (ny, nx), uint8
        How many samples went in.
    """

    mean: Image
    uncertainty: Image
    excess: Image
    kept: NDArray[np.uint8]


@compiled("void(f8[::1], i8)", cache=True, nogil=True)
def _sort(values: NDArray[np.float64], n: int) -> None:
    """Sort the first n values in place, by insertion: n is small."""
    for i in range(1, n):
        value = values[i]
        j = i - 1
        while j >= 0 and values[j] > value:
            values[j + 1] = values[j]
            j -= 1
        values[j + 1] = value


@compiled("f8(f8[::1], i8)", cache=True, nogil=True)
def _middle(ordered: NDArray[np.float64], n: int) -> float:
    half = n // 2
    return ordered[half] if n % 2 else 0.5 * (ordered[half - 1] + ordered[half])


@compiled("f8(f8[::1], f8, i8)", cache=True, nogil=True)
def _scatter(ordered: NDArray[np.float64], middle: float, n: int) -> float:
    """Return 1.4826 MAD of sorted values: their distances from the median, found by walking outward."""
    left, right = n // 2 - 1, n // 2
    last = distance = 0.0
    for _ in range(n // 2 + 1):
        last = distance
        if left < 0 or (right < n and ordered[right] - middle < middle - ordered[left]):
            distance = ordered[right] - middle
            right += 1
        else:
            distance = middle - ordered[left]
            left -= 1
    return SIGMA_PER_MAD * (distance if n % 2 else 0.5 * (last + distance))


@compiled("UniTuple(f8, 2)(f8[::1], f8[::1], f8[::1], i8)", cache=True, nogil=True)
def _average(
    value: NDArray[np.float64], sigma: NDArray[np.float64], weight: NDArray[np.float64], n: int
) -> tuple[float, float]:
    """Return the weighted mean of the first n samples and its standard error, NaN with one sample."""
    sum_w = sum_wv = 0.0
    for k in range(n):
        sum_w += weight[k]
        sum_wv += weight[k] * value[k]
    average = sum_wv / sum_w
    chi2 = variance = 0.0
    for k in range(n):
        chi2 += ((value[k] - average) / sigma[k]) ** 2
        variance += (weight[k] * sigma[k]) ** 2
    return average, np.sqrt(chi2 / (n - 1) * variance) / sum_w if n > 1 else np.nan


@compiled(
    "void(f4[:, :, ::1], f8[::1], f8[::1], f8, f4[:, ::1], f4[:, ::1], f4[:, ::1], u1[:, ::1])",
    cache=True,
    nogil=True,
)
def _stack(
    frames: NDArray[np.float32],
    weight: NDArray[np.float64],
    sigma: NDArray[np.float64],
    clip: float,
    mean: Image,
    uncertainty: Image,
    excess: Image,
    kept: NDArray[np.uint8],
) -> None:
    total = frames.shape[0]
    value, own_sigma, own_weight, room = np.empty(total), np.empty(total), np.empty(total), np.empty(total)
    for y in range(frames.shape[1]):
        for x in range(frames.shape[2]):
            n = 0
            expected = 0.0
            for k in range(total):
                sample = np.float64(frames[k, y, x])
                if np.isfinite(sample):
                    value[n], own_sigma[n], own_weight[n], room[n] = sample, sigma[k], weight[k], sample
                    expected += sigma[k]
                    n += 1
            mean[y, x], uncertainty[y, x], excess[y, x], kept[y, x] = np.nan, np.nan, np.nan, 0
            if n == 0:
                continue
            _sort(room, n)
            middle = _middle(room, n)
            scatter = _scatter(room, middle, n)
            good = 0
            for k in range(n):
                if abs(value[k] - middle) <= clip * max(scatter, own_sigma[k]):
                    value[good], own_sigma[good], own_weight[good] = value[k], own_sigma[k], own_weight[k]
                    good += 1
            excess[y, x] = scatter * n / expected
            kept[y, x] = good
            if good:
                mean[y, x], uncertainty[y, x] = _average(value, own_sigma, own_weight, good)


def clipped_mean(
    frames: NDArray[np.float32],
    sigma: NDArray[np.float64],
    *,
    weight: NDArray[np.float64] | None = None,
    clip_sigma: float = 3.0,
) -> Stack:
    """Average frames, leaving out samples far from the median.

    A sample is left out if it lies more than `clip_sigma` times the larger of the pixel's own scatter
    (1.4826 MAD) and the frame's expected one from the pixel's median. The floor keeps the MAD of a few
    samples, which is often far too small, from throwing good ones away. The uncertainty of the mean is
    sqrt(chi^2 / (n - 1) sum (w sigma)^2) / sum w: sigma / sqrt(n) where all frames are alike.

    Parameters
    ----------
    frames : numpy.ndarray (n, ny, nx), float32
        NaN: no sample.
    sigma : numpy.ndarray (n), float64
        Expected noise of each frame, in its unit.
    weight : numpy.ndarray (n), float64, optional
        By default all alike.
    clip_sigma : float

    Returns
    -------
    Stack

    Raises
    ------
    ValueError
        If there are no frames or more than 255, or a noise or weight is not positive.
    """
    n = len(frames)
    weight = np.ones(n) if weight is None else weight
    if not 1 <= n <= MAX_FRAMES:
        raise ValueError(f"{n} frames; 1 to {MAX_FRAMES} can be stacked")
    if sigma.shape != (n,) or weight.shape != (n,) or not (np.all(sigma > 0) and np.all(weight > 0)):
        raise ValueError(f"{n} frames need as many positive noises and weights, not {sigma} and {weight}")
    shape = frames.shape[1:]
    mean, uncertainty, excess = (np.empty(shape, np.float32) for _ in range(3))
    kept = np.empty(shape, np.uint8)
    frames = np.ascontiguousarray(frames, np.float32)
    _stack(frames, weight, sigma, clip_sigma, mean, uncertainty, excess, kept)
    return Stack(mean, uncertainty, excess, kept)
