"""Compiled parts of `warp`: where each output pixel comes from, and what the kernel finds there."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled

Image = NDArray[np.float32]
Mask = NDArray[np.uint16]
Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]
Places = NDArray[np.int64]

LOBES = 3
TAPS = 2 * LOBES
PHASES = 4096  # of a pixel, for which kernel weights are tabulated: places are rounded by 1/8192 px at most
EXACT_DEGREE = 2  # of polynomials that the kernel returns as they are
LEAST_WEIGHT = np.float32(0.5)
PARTLY, OUTSIDE, DONE = -1, -2, -3  # in the place of a kernel's first pixel


def lanczos_table(phases: int = PHASES) -> Image:
    """Return the kernel weights (phases + 1, 6) float32 of taps -2 ... 3 about a place.

    Lanczos-3 as it is sums to 1 +- 0.01 and moves stars by up to 0.02 px. Each row is therefore changed by
    the least (in the sum of squares) that makes it return levels, slopes and curvatures exactly: a star then
    stays where it is, and keeps its light where pixels change their size. The first and the last row are one
    tap: whole-pixel shifts are exact.
    """
    fraction = np.arange(phases + 1)[:, None] / phases
    distance = np.arange(1 - LOBES, LOBES + 1)[None, :] - fraction
    weights = np.sinc(distance) * np.sinc(distance / LOBES)
    powers = distance[:, None, :] ** np.arange(EXACT_DEGREE + 1)[:, None]
    missing = np.eye(EXACT_DEGREE + 1)[0] - np.einsum("pmk,pk->pm", powers, weights)
    change = np.linalg.solve(powers @ powers.transpose(0, 2, 1), missing[:, :, None])
    weights += np.einsum("pmk,pm->pk", powers, change[:, :, 0])
    weights[0], weights[-1] = np.eye(TAPS)[LOBES - 1], np.eye(TAPS)[LOBES]
    return np.ascontiguousarray(weights, np.float32)


def node_weights(step: int) -> Floats:
    """Return the weights (step, 4) of nodes -1, 0, 1, 2 for pixels of a cell: Lagrange's cubic."""
    t = np.arange(step) / step
    columns = [-t * (t - 1) * (t - 2) / 6, (t + 1) * (t - 1) * (t - 2) / 2]
    columns += [-(t + 1) * t * (t - 2) / 2, (t + 1) * t * (t - 1) / 6]
    return np.ascontiguousarray(np.stack(columns, axis=1))


@compiled("void(f8[:, ::1], f8[:, ::1], i8, f8[::1])", cache=True, nogil=True, error_model="numpy")
def places_along(nodes: Floats, weights: Floats, row: int, out: Floats) -> None:
    """Write one input coordinate of every pixel of an output row; `nodes` have one more on every side."""
    step = weights.shape[0]
    cell, phase = row // step, row % step
    w0, w1, w2, w3 = weights[phase, 0], weights[phase, 1], weights[phase, 2], weights[phase, 3]
    line = np.empty(nodes.shape[1])
    for j in range(nodes.shape[1]):
        line[j] = w0 * nodes[cell, j] + w1 * nodes[cell + 1, j] + w2 * nodes[cell + 2, j]
        line[j] += w3 * nodes[cell + 3, j]
    for first in range(0, len(out), step):
        j = first // step
        a, b, c, d = line[j], line[j + 1], line[j + 2], line[j + 3]
        for k in range(min(step, len(out) - first)):
            out[first + k] = weights[k, 0] * a + weights[k, 1] * b + weights[k, 2] * c + weights[k, 3] * d


@compiled("void(f4[:, ::1], i8, i8, f4[::1])", cache=True, nogil=True, error_model="numpy")
def linear_along(nodes: Image, step: int, row: int, out: Image) -> None:
    """Write a smooth map at every pixel of a row; node (i, j) lies at pixel (j step, i step)."""
    cell = row // step
    t = np.float32(row - cell * step) / np.float32(step)
    for first in range(0, len(out), step):
        j = first // step
        left = nodes[cell, j] + t * (nodes[cell + 1, j] - nodes[cell, j])
        right = nodes[cell, j + 1] + t * (nodes[cell + 1, j + 1] - nodes[cell, j + 1])
        slope = (right - left) / np.float32(step)
        for k in range(min(step, len(out) - first)):
            out[first + k] = left + np.float32(k) * slope


@compiled("void(f4[:, ::1], u2[:, ::1], u2, u1[:, ::1])", cache=True, nogil=True, error_model="numpy")
def mark_windows(image: Image, mask: Mask, bits: int, near: Bytes) -> None:
    """Mark the pixels from which a window of 6 x 6, upward and to the right, holds one that is unusable."""
    ny, nx = image.shape
    ring = np.zeros((TAPS, nx), np.uint8)
    bad = np.zeros(nx + TAPS, np.uint8)
    for y in range(ny - 1, -1, -1):
        for x in range(nx):
            value = image[y, x]
            # Infinity less itself is no number either.
            bad[x] = np.uint8((mask[y, x] & bits) != 0) | np.uint8(value - value != np.float32(0))
        own = ring[y % TAPS]
        for x in range(nx):
            own[x] = bad[x] | bad[x + 1] | bad[x + 2] | bad[x + 3] | bad[x + 4] | bad[x + 5]
        for x in range(nx):
            near[y, x] = ring[0, x] | ring[1, x] | ring[2, x] | ring[3, x] | ring[4, x] | ring[5, x]


@compiled(
    "UniTuple(f4, 2)(f4[:, ::1], u2[:, ::1], u2, f4[::1], f4[::1], i8, i8)",
    cache=True,
    nogil=True,
    error_model="numpy",
    fastmath={"contract", "reassoc", "nsz"},
)
def _kernel_sum(
    image: Image, mask: Mask, bits: int, down: Image, across: Image, y: int, x: int
) -> tuple[np.float32, np.float32]:
    """Return the mean under the kernel of what is usable, and the share of |weight| that is."""
    ny, nx = image.shape
    zero = np.float32(0)
    total = weight = good = high = wide = zero
    for j in range(TAPS):
        row = min(max(y + j, 0), ny - 1)
        line, own, share = zero, zero, zero
        for i in range(TAPS):
            column = min(max(x + i, 0), nx - 1)
            value = image[row, column]
            usable = ((mask[row, column] & bits) == 0) & (value - value == zero) & (column == x + i)
            w = across[i] if usable else zero
            line += w * (value if usable else zero)
            own += w
            share += abs(w)
        wide += abs(across[j])
        high += abs(down[j])
        v = down[j] if row == y + j else zero
        total += v * line
        weight += v * own
        good += abs(v) * share
    # A mean of outskirts and negative lobes says nothing about the middle.
    if weight < LEAST_WEIGHT:
        return np.float32(np.nan), good / (high * wide)
    return total / weight, good / (high * wide)


@compiled(
    "void(f8[::1], f8[::1], i8, i8, i8[::1], i8[::1], i8[::1])", cache=True, nogil=True, error_model="numpy"
)
def _split(
    xs: Floats, ys: Floats, nx: int, ny: int, starts: Places, x_phases: Places, y_phases: Places
) -> None:  # fmt: skip
    """Write the first pixel of each kernel, counted along the image, and the phases.

    PARTLY where the kernel leaves the image, OUTSIDE where its middle does too.
    """
    for k in range(len(xs)):
        x, y = xs[k], ys[k]
        starts[k], x_phases[k], y_phases[k] = OUTSIDE, 0, 0
        if x >= -0.5 and x < nx - 0.5 and y >= -0.5 and y < ny - 0.5:  # false where there is no number
            ix, iy = math.floor(x), math.floor(y)
            x_phases[k] = int((x - ix) * PHASES + 0.5)
            y_phases[k] = int((y - iy) * PHASES + 0.5)
            left, low = int(ix) - LOBES + 1, int(iy) - LOBES + 1
            inside = left >= 0 and low >= 0 and left + TAPS <= nx and low + TAPS <= ny
            starts[k] = low * nx + left if inside else PARTLY


@compiled(
    "void(f4[::1], u1[::1], i8, i8[::1], i8[::1], i8[::1], f4[:, ::1], f4[::1], f4[::1])",
    cache=True,
    nogil=True,
    error_model="numpy",
    fastmath={"contract", "reassoc", "nsz"},
)
def _whole_kernels(
    flat: Image,
    windows: Bytes,
    nx: int,
    starts: Places,
    x_phases: Places,
    y_phases: Places,
    table: Image,
    area: Image,
    out: Image,
) -> None:
    """Write a row of the output where all of the kernel is usable; the start of these becomes `DONE`."""
    one = np.uint64(1)
    for k in range(len(out)):
        start = starts[k]
        if start < 0 or windows[np.uint64(start)] != 0:
            continue
        across, down = table[np.uint64(x_phases[k])], table[np.uint64(y_phases[k])]
        a0, a1, a2, a3, a4, a5 = across[0], across[1], across[2], across[3], across[4], across[5]
        total = np.float32(0)
        at = np.uint64(start)
        for j in range(TAPS):
            # Unsigned places: signed ones are tested for counting from the end.
            b, c, d, e, f = at + one, at + one + one, at + np.uint64(3), at + np.uint64(4), at + np.uint64(5)
            line = a0 * flat[at] + a1 * flat[b] + a2 * flat[c] + a3 * flat[d] + a4 * flat[e] + a5 * flat[f]
            total += down[j] * line
            at += np.uint64(nx)
        out[k] = total * area[k]
        starts[k] = DONE


@compiled(
    "void(f4[:, ::1], u2[:, ::1], u2, u1[:, ::1], f8[:, ::1], f8[:, ::1], f4[:, ::1], f8[:, ::1], f4[:, ::1],"
    " f4, f4[:, ::1], f4[:, ::1])",
    cache=True,
    nogil=True,
    error_model="numpy",
)
def resample(
    image: Image,
    mask: Mask,
    bits: int,
    near: Bytes,
    x_nodes: Floats,
    y_nodes: Floats,
    area: Image,
    cubic: Floats,
    table: Image,
    least: np.float32,
    out: Image,
    coverage: Image,
) -> None:
    """Write the image under the kernel, times the area ratio, and the usable share of the kernel."""
    ny, nx = image.shape
    columns = out.shape[1]
    flat, windows = image.ravel(), near.ravel()
    xs, ys, areas = np.empty(columns), np.empty(columns), np.empty(columns, np.float32)
    starts, x_phases, y_phases = (
        np.empty(columns, np.int64),
        np.empty(columns, np.int64),
        np.empty(columns, np.int64),
    )
    for row in range(out.shape[0]):
        places_along(x_nodes, cubic, row, xs)
        places_along(y_nodes, cubic, row, ys)
        linear_along(area, cubic.shape[0], row, areas)
        _split(xs, ys, nx, ny, starts, x_phases, y_phases)
        _whole_kernels(flat, windows, nx, starts, x_phases, y_phases, table, areas, out[row])
        coverage[row] = np.float32(1)
        for k in range(columns):
            if starts[k] == DONE:
                continue
            value, share = np.float32(np.nan), np.float32(0)
            if starts[k] != OUTSIDE:
                y, x = int(np.floor(ys[k])) - 2, int(np.floor(xs[k])) - 2
                value, share = _kernel_sum(image, mask, bits, table[y_phases[k]], table[x_phases[k]], y, x)
            coverage[row, k] = share
            out[row, k] = value * areas[k] if share >= least else np.float32(np.nan)


@compiled("f4(f4[:, ::1], f8, f8)", cache=True, nogil=True, error_model="numpy")
def _of_four(plane: Image, x: float, y: float) -> np.float32:
    """Return the mean of the four pixels around a place by their weights, those without a number left out.

    NaN beyond the outermost half pixel, and where half of the weight or less is known.
    """
    ny, nx = plane.shape
    if not (x >= -0.5 and x < nx - 0.5 and y >= -0.5 and y < ny - 0.5):
        return np.float32(np.nan)
    ix, iy, one = math.floor(x), math.floor(y), np.float32(1)
    t, u = np.float32(x - ix), np.float32(y - iy)
    x0, x1, y0, y1 = max(ix, 0), min(ix + 1, nx - 1), max(iy, 0), min(iy + 1, ny - 1)
    total = weight = np.float32(0)
    for j in range(2):
        for i in range(2):
            sample = plane[y1 if j else y0, x1 if i else x0]
            w = (u if j else one - u) * (t if i else one - t)
            if not np.isnan(sample):
                total += w * sample
                weight += w
    return total / weight if weight > np.float32(0.5) else np.float32(np.nan)


@compiled(
    "void(f4[:, ::1], f8[:, ::1], f8[:, ::1], f8[:, ::1], f4[:, ::1])",
    cache=True,
    nogil=True,
    error_model="numpy",
)
def interpolate(plane: Image, x_nodes: Floats, y_nodes: Floats, cubic: Floats, out: Image) -> None:
    """Write a map interpolated between four pixels; those without a number are left out of the mean."""
    ny, nx = plane.shape
    columns = out.shape[1]
    flat, one = plane.ravel(), np.float32(1)
    xs, ys = np.empty(columns), np.empty(columns)
    for row in range(out.shape[0]):
        places_along(x_nodes, cubic, row, xs)
        places_along(y_nodes, cubic, row, ys)
        for k in range(columns):
            x, y = xs[k], ys[k]
            value = np.float32(np.nan)
            if x >= 0.0 and x < nx - 1.0 and y >= 0.0 and y < ny - 1.0:  # false where there is no number
                ix, iy = int(x), int(y)
                t, u = np.float32(x - ix), np.float32(y - iy)
                # Unsigned places: signed ones are tested for counting from the end.
                at = np.uint64(iy * nx + ix)
                above, right = at + np.uint64(nx), np.uint64(1)
                lower = (one - t) * flat[at] + t * flat[at + right]
                upper = (one - t) * flat[above] + t * flat[above + right]
                value = (one - u) * lower + u * upper
            if np.isnan(value):
                value = _of_four(plane, x, y)
            out[row, k] = value
