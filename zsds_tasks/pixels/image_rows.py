"""Rows of an image made when they are needed: with a smooth map added, or the uncertainty of its pixels.

A full frame made only to be written costs its page faults; a few rows stay in the cache.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.pixels.mesh_rows import MeshRows

Image = NDArray[np.float32]
Rows = Callable[[int, Image], None]
"""Write the rows of an image from one on into (n, nx) float32."""


def image_rows(image: Image, add: Mesh | None = None) -> Rows:
    """Return the rows of an image (ny, nx) float32, plus a smooth map of the same shape."""
    if add is None:
        return lambda first, out: np.copyto(out, image[first : first + len(out)])
    _check_shapes(image, add.shape)
    spread = MeshRows.of(add)

    def rows(first: int, out: Image) -> None:
        np.copyto(out, image[first : first + len(out)])
        _add_rows(spread.across, spread.node, spread.weight, first, out)

    return rows


def uncertainty_rows(
    image: Image, noise: Mesh, gain: float, mask: NDArray[np.uint16] | None, bits: int
) -> Rows:
    """Return the rows of the 1-sigma uncertainties of a sky-subtracted image.

    Parameters
    ----------
    image : (ny, nx) float32
        DN above the sky.
    noise : Mesh
        1-sigma noise of a sky pixel, DN.
    gain : float
        e-/DN.
    mask : (ny, nx) uint16, optional
    bits : int
        Pixels with any of them in the mask are NaN, as are those that are NaN in the image.
    """
    _check_shapes(image, noise.shape)
    used = np.zeros((0, 0), np.uint16) if mask is None else mask
    if mask is not None:
        _check_shapes(image, mask.shape)
    spread = MeshRows.of(noise)

    def rows(first: int, out: Image) -> None:
        out.fill(0.0)
        _add_rows(spread.across, spread.node, spread.weight, first, out)
        _photon_noise(image, np.float32(1.0 / gain), used, bits, first, out)

    return rows


def _check_shapes(image: Image, other: tuple[int, ...]) -> None:
    if image.shape != other:
        raise ValueError(f"a map of {other} pixels for an image of {image.shape}")


@compiled("void(f4[:, ::1], i8[::1], f4[::1], i8, f4[:, ::1])", cache=True, nogil=True, fastmath=True)
def _add_rows(
    across: Image, node: NDArray[np.int64], weight: NDArray[np.float32], first: int, out: Image
) -> None:
    for row in range(len(out)):
        lower, upper = across[node[first + row]], across[node[first + row] + 1]
        share = weight[first + row]
        for column in range(out.shape[1]):
            out[row, column] += lower[column] + share * (upper[column] - lower[column])


@compiled("void(f4[:, ::1], f4, u2[:, ::1], i8, i8, f4[:, ::1])", cache=True, nogil=True)
def _photon_noise(
    image: Image, inverse_gain: np.float32, mask: NDArray[np.uint16], bits: int, first: int, out: Image
) -> None:
    """Turn the noise of the sky in `out` into that of every pixel."""
    ny, nx = out.shape
    for row in range(ny):
        for column in range(nx):
            value = image[first + row, column]
            light = np.float32(0) if value < 0 else value  # NaN stays
            out[row, column] = np.sqrt(out[row, column] ** 2 + light * inverse_gain)
        if mask.size:
            for column in range(nx):
                if mask[first + row, column] & bits:
                    out[row, column] = np.nan
