"""Light of single sources in circles of many radii, other sources left out: for growth curves."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.aperture_circle import circle_overlap, circle_sum
from zsds_tasks.pixels.aperture_stamp import GOOD, load_stamp, mend_stamp
from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.pixels.mesh import Image
from zsds_tasks.pixels.segmentation_scan import Indexes, Mask

Floats = NDArray[np.float64]


@compiled(
    "void(f4[:, ::1], u2[:, ::1], i4[:, ::1], u2, i4[::1], f8[::1], f8[::1], f8[::1], f8[:, ::1], f8[::1])",
    cache=True,
    nogil=True,
)
def circle_profiles(
    image: Image,
    mask: Mask,
    labels: Indexes,
    bits: np.uint16,
    label: Indexes,
    x: Floats,
    y: Floats,
    radii: Floats,
    out: Floats,
    lost: Floats,
) -> None:
    """Measure the light of N sources in R circles.

    Parameters
    ----------
    image, mask : numpy.ndarray (ny, nx)
    labels : numpy.ndarray (ny, nx), int32
        See `zsds_tasks.pixels.segmentation.Segmentation`.
    bits : uint16
        Pixels with one of these are replaced, as are those of other sources.
    label : numpy.ndarray (N), int32
    x, y : numpy.ndarray (N), float64
        0-based px.
    radii : numpy.ndarray (R), float64
        Ascending, px.
    out : numpy.ndarray (N, R), float64
        Written: light, image unit.
    lost : numpy.ndarray (N), float64
        Written: share of the largest circle that was replaced.
    """
    largest = radii[-1]
    half = math.ceil(largest) + 1
    n = 2 * half + 1
    stamp, state = np.empty((n, n), np.float32), np.empty((n, n), np.uint8)
    ring_sum, ring_count = np.empty(2 * n), np.empty(2 * n)
    for k in range(len(label)):
        x0, y0 = round(x[k]) - half, round(y[k]) - half
        load_stamp(image, mask, labels, bits, label[k], x0, y0, stamp, state)
        cx, cy = x[k] - x0, y[k] - y0
        mend_stamp(stamp, state, cx, cy, ring_sum, ring_count)
        for r in range(len(radii)):
            out[k, r] = circle_sum(stamp, cx, cy, radii[r])
        area = 0.0
        for v in range(n):
            for u in range(n):
                if state[v, u] != GOOD:
                    area += circle_overlap(u - cx, v - cy, largest)
        lost[k] = area / (math.pi * largest * largest)
