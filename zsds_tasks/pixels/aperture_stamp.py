"""The surroundings of one source alone: other sources and unusable pixels replaced; compiled."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.pixels.mesh import Image
from zsds_tasks.pixels.segmentation_scan import Indexes, Mask

GOOD, NEIGHBOUR, UNUSABLE, OUTSIDE = 0, 1, 2, 3
"""What a pixel of a stamp was: kept, of another source, unusable, beyond the image."""


@compiled(
    "i8(f4[:, ::1], u2[:, ::1], i4[:, ::1], u2, i4, i8, i8, f4[:, ::1], u1[:, ::1])",
    cache=True,
    nogil=True,
)
def load_stamp(
    image: Image,
    mask: Mask,
    labels: Indexes,
    bits: np.uint16,
    label: np.int32,
    x0: int,
    y0: int,
    stamp: Image,
    state: NDArray[np.uint8],
) -> int:
    """Copy the pixels from (x0, y0) on and say what each is; what is not kept becomes 0.

    Returns the number of pixels that are not kept.
    """
    ny, nx = image.shape
    gone = 0
    if x0 >= 0 and y0 >= 0 and x0 + stamp.shape[1] <= nx and y0 + stamp.shape[0] <= ny:
        # Nearly always: without a branch per pixel.
        for v in range(stamp.shape[0]):
            for u in range(stamp.shape[1]):
                value, other = image[y0 + v, x0 + u], labels[y0 + v, x0 + u]
                what = NEIGHBOUR if (other != 0) & (other != label) else GOOD
                # The difference to itself is 0 for finite values only.
                unusable = ((mask[y0 + v, x0 + u] & bits) != 0) | (value - value != 0)
                what = UNUSABLE if unusable else what
                state[v, u] = what
                stamp[v, u] = value if what == GOOD else np.float32(0)
                gone += what != GOOD
        return gone
    for v in range(stamp.shape[0]):
        y = y0 + v
        for u in range(stamp.shape[1]):
            x = x0 + u
            stamp[v, u] = 0
            if y < 0 or y >= ny or x < 0 or x >= nx:
                state[v, u] = OUTSIDE
            elif (mask[y, x] & bits) != 0 or not math.isfinite(image[y, x]):
                state[v, u] = UNUSABLE
            elif labels[y, x] != 0 and labels[y, x] != label:
                state[v, u] = NEIGHBOUR
            else:
                state[v, u] = GOOD
                stamp[v, u] = image[y, x]
            gone += state[v, u] != GOOD
    return gone


@compiled("void(f4[:, ::1], u1[:, ::1], f8, f8, f8[::1], f8[::1])", cache=True, nogil=True)
def mend_stamp(
    stamp: Image,
    state: NDArray[np.uint8],
    x: float,
    y: float,
    ring_sum: NDArray[np.float64],
    ring_count: NDArray[np.float64],
) -> None:
    """Replace what was not kept by its mirror image about (x, y), or by the mean at the same distance.

    `ring_sum` and `ring_count` are scratch, longer than the stamp's diagonal.
    """
    ny, nx = stamp.shape
    have_rings = False
    for v in range(ny):
        for u in range(nx):
            if state[v, u] == GOOD:
                continue
            mv, mu = round(2 * y - v), round(2 * x - u)
            if 0 <= mv < ny and 0 <= mu < nx and state[mv, mu] == GOOD:
                stamp[v, u] = stamp[mv, mu]
                continue
            if not have_rings:
                have_rings = True
                ring_sum[:] = 0
                ring_count[:] = 0
                for b in range(ny):
                    for a in range(nx):
                        if state[b, a] == GOOD:
                            ring = int(math.sqrt((b - y) ** 2 + (a - x) ** 2) + 0.5)
                            ring_sum[ring] += stamp[b, a]
                            ring_count[ring] += 1
            ring = int(math.sqrt((v - y) ** 2 + (u - x) ** 2) + 0.5)
            stamp[v, u] = (
                np.float32(ring_sum[ring] / ring_count[ring]) if ring_count[ring] > 0 else np.float32(0)
            )
