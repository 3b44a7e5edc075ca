"""From light to numbers: noise, bleeding, non-linearity, bias, conversion. Compiled kernels over one CCD."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.simulator.instrument.render import Image
from zsds_tasks.simulator.products import Floats

GRID_STEP = 8  # pixels between the nodes of smooth maps
LARGEST_COUNT = 65535.0
Counts = NDArray[np.uint16]
Truths = NDArray[np.bool_]


@compiled("void(f4[:, ::1], f4[:, ::1], f4[:, ::1], i8, f8)", cache=True, fastmath=True)
def illuminate(light: Image, smooth: Image, throughput: Image, first_row: int, dark: float) -> None:
    """Add smooth light and apply smooth throughput to a block of rows, in place.

    Both maps are given at every `GRID_STEP` pixels of the CCD and interpolated bilinearly:
    light <- (light + smooth) throughput + dark.

    Parameters
    ----------
    light : (n, nx) float32
        Rows `first_row` onward of the CCD; electrons.
    smooth, throughput : (nodes, nodes) float32
        Electrons per pixel; relative.
    first_row : int
        0-based row of the CCD.
    dark : float
        Electrons per pixel.
    """
    for i in range(light.shape[0]):
        v = (first_row + i) / GRID_STEP
        node = int(v)
        f = np.float32(v - node)
        for k in range(smooth.shape[1] - 1):
            s = smooth[node, k] + f * (smooth[node + 1, k] - smooth[node, k])
            s_step = smooth[node, k + 1] + f * (smooth[node + 1, k + 1] - smooth[node, k + 1]) - s
            t = throughput[node, k] + f * (throughput[node + 1, k] - throughput[node, k])
            t_step = throughput[node, k + 1] + f * (throughput[node + 1, k + 1] - throughput[node, k + 1]) - t
            for j in range(k * GRID_STEP, min((k + 1) * GRID_STEP, light.shape[1])):
                w = np.float32(j - k * GRID_STEP) / np.float32(GRID_STEP)
                light[i, j] = (light[i, j] + s + w * s_step) * (t + w * t_step) + np.float32(dark)


@compiled("void(f4[:, ::1], f4[:, ::1], f4[:, ::1], f8[::1], b1)", cache=True, fastmath=True)
def collect(light: Image, response: Image, normal: Image, read_noise: Floats, is_noisy: bool) -> None:
    """Turn expected light into collected electrons, in place, for a block of rows of one half of the CCD.

    With m = light response, s^2 = m + r^2 and z normal: electrons = m + s z + (m / s^2) (z^2 - 1) / 6. That
    has the mean, variance and skewness of a Poisson count read with noise r, from one variate.

    Parameters
    ----------
    light, response, normal : (n, 2 nx) float32
        Expected electrons (overwritten), pixel response, standard normal variates.
    read_noise : (2) float64
        Electrons, of the left and the right half of the columns.
    is_noisy : bool
        False: only the mean.
    """
    half = light.shape[1] // 2
    for side in range(2):
        r2 = np.float32(read_noise[side] ** 2)
        for i in range(light.shape[0]):
            for j in range(side * half, (side + 1) * half):
                mean = max(light[i, j] * response[i, j], np.float32(0))
                if is_noisy:
                    z = normal[i, j]
                    variance = mean + r2
                    skew = mean / variance * (z * z - np.float32(1)) / np.float32(6)
                    mean += np.sqrt(variance) * z + skew
                light[i, j] = mean


@compiled("b1[::1](f4[:, ::1], f8[:, ::1])", cache=True)
def overfull_columns(electrons: Image, full_well: Floats) -> Truths:
    """Say which columns (2 nx) hold a pixel above full well; rows first, as memory lies."""
    height, width = electrons.shape
    overfull = np.zeros(width, np.bool_)
    for i in range(height):
        for j in range(width):
            if electrons[i, j] > full_well[2 * i // height, 2 * j // width]:
                overfull[j] = True
    return overfull


@compiled("i8(f4[:, ::1], f8[:, ::1])", cache=True)
def bleed(electrons: Image, full_well: Floats) -> int:
    """Let pixels above full well spill along their column, in place; return how many pixels were filled.

    The excess of a pixel goes half up and half down, past pixels that are full. No charge is lost but what
    leaves the CCD at its edges.

    Parameters
    ----------
    electrons : (2 ny, 2 nx) float32
        Collected electrons.
    full_well : (2, 2) float64
        What a pixel holds, by half of the CCD.
    """
    height, width = electrons.shape
    filled = 0
    excess = np.zeros(height)
    for j in np.flatnonzero(overfull_columns(electrons, full_well)):
        for i in range(height):
            well = full_well[2 * i // height, 2 * j // width]
            excess[i] = max(electrons[i, j] - well, 0.0)
            if excess[i] > 0:
                electrons[i, j] = well
        for direction in (1, -1):
            carried = 0.0
            for step in range(height):
                i = step if direction == 1 else height - 1 - step
                carried += excess[i] / 2
                if carried > 0:
                    room = full_well[2 * i // height, 2 * j // width] - electrons[i, j]
                    moved = min(max(room, 0.0), carried)
                    electrons[i, j] += np.float32(moved)
                    carried -= moved
                    filled += moved >= room
    return filled


@compiled("void(f4[:, :], u2[:, ::1], f8[::1], f8[::1], f8[::1], f8[::1], f8[::1])", cache=True)
def digitise(
    electrons: Image,
    counts: Counts,
    amplifier: Floats,
    row_bias: Floats,
    column_bias: Floats,
    glow_row: Floats,
    glow_column: Floats,
) -> None:
    """Read one channel: gain, non-linearity, bias, rounding and clipping to 16 bits.

    The overscan-subtracted signal x obeys DN_true = x / (a x^2 + b x + 1); solved for x it is
    2 D / (1 - b D + sqrt((1 - b D)^2 - 4 a D^2)).

    Parameters
    ----------
    electrons : (ny, nx) float32
        Collected electrons of the channel.
    counts : (ny, nx) uint16
        The raw image; overwritten.
    amplifier : (3) float64
        Gain (electrons per DN), a, b.
    row_bias, column_bias, glow_row, glow_column : (ny), (nx), (ny), (nx) float64
        Added DN: row_bias[y] + column_bias[x] + glow_row[y] glow_column[x].
    """
    gain, a, b = amplifier[0], amplifier[1], amplifier[2]
    for i in range(counts.shape[0]):
        for j in range(counts.shape[1]):
            dn = electrons[i, j] / gain
            s = 1.0 - b * dn
            dn = 2.0 * dn / (s + math.sqrt(s * s - 4.0 * a * dn * dn))
            dn += row_bias[i] + column_bias[j] + glow_row[i] * glow_column[j] + 0.5
            counts[i, j] = np.uint16(min(max(dn, 0.0), LARGEST_COUNT))
