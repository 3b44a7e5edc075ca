"""A raw readout becomes a calibrated image and its first mask in one pass; and its uncertainty at the end.

Nothing of the size of the image is made on the way: raw counts are read once, image and mask are written
once, into buffers that a worker keeps from one readout to the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.pixels.mesh_rows import MeshRows
from zsds_tasks.products.masks import UNUSABLE, MaskBit

Image = NDArray[np.float32]
Mask = NDArray[np.uint16]
Counts = NDArray[np.int64]
_DEAD, _FULL, _VOID = MaskBit.DEAD.flag, MaskBit.SATURATED.flag, MaskBit.NAN.flag


class ReduceConfig(Declaration):
    """Where a pixel has no number any more."""

    least_response: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        0.01, description="flat times smooth response; nothing is divided by less"
    )


@dataclass(frozen=True)
class ReadoutFacts:
    """What has to be known of a readout channel.

    Parameters
    ----------
    gain : float
        Electrons per DN.
    saturation : float
        Raw counts (DN, overscan included) from which on a pixel is saturated.
    linearity : (a, b)
        Signal x over the overscan becomes x / (a x^2 + b x + 1).
    """

    gain: float
    saturation: float
    linearity: tuple[float, float] = (0.0, 0.0)

    def linearised(self, signal: float) -> float:
        """Return the true signal of one over the overscan, DN."""
        a, b = self.linearity
        return signal / (a * signal * signal + b * signal + 1)


@dataclass(frozen=True)
class ReduceStats:
    """What one pass found.

    Parameters
    ----------
    dead, saturated, no_number : int
        Pixels with that bit.
    unusable : int
        Pixels that have one bit or more of `UNUSABLE`.
    saturation_level : float
        DN of the calibrated image, pixel response 1: the least a saturated pixel of this readout can have.
    """

    dead: int
    saturated: int
    no_number: int
    unusable: int
    saturation_level: float


def reduce_quadrant(
    raw: NDArray[np.uint16],
    level: Image,
    facts: ReadoutFacts,
    *,
    bias: Image,
    flat: Image,
    smooth: Mesh | None,
    static_mask: Mask,
    out_image: Image,
    out_mask: Mask,
    config: ReduceConfig,
) -> ReduceStats:
    """Calibrate a raw readout in the order of reference section 3.

    image = (linearised(raw - level) - bias) / (flat smooth). Saturated pixels keep their value. A pixel
    without a response or whose value is not finite becomes NaN.

    Parameters
    ----------
    raw : numpy.ndarray (ny, nx), uint16, DN
    level : numpy.ndarray (ny), float32, DN
        Of the overscan; see `fit_overscan`.
    facts : ReadoutFacts
    bias : numpy.ndarray (ny, nx), float32, DN
    flat : numpy.ndarray (ny, nx), float32
        High-frequency response.
    smooth : Mesh or None
        Smooth relative response, of illumination and shutter; None is 1 everywhere.
    static_mask : numpy.ndarray (ny, nx), uint16
        Bits of the channel's bad pixels; they are kept.
    out_image : numpy.ndarray (ny, nx), float32
        Overwritten: DN.
    out_mask : numpy.ndarray (ny, nx), uint16
        Overwritten: the static bits, SATURATED and NAN. May be `static_mask` itself.
    config : ReduceConfig

    Returns
    -------
    ReduceStats

    Raises
    ------
    ValueError
        If shapes do not agree or are empty.
    """
    shapes: dict[str, tuple[int, ...]] = {
        "bias": bias.shape,
        "flat": flat.shape,
        "static mask": static_mask.shape,
        "image": out_image.shape,
        "mask": out_mask.shape,
    }
    if smooth is not None:
        shapes["smooth"] = smooth.shape
    for name, shape in shapes.items():
        if shape != raw.shape:
            raise ValueError(f"{name} of {shape} pixels for a readout of {raw.shape}")
    if raw.size == 0:
        raise ValueError("a readout without pixels")
    if level.shape != raw.shape[:1]:
        raise ValueError(f"levels of {level.shape} rows for a readout of {raw.shape}")
    response = Mesh.constant(1.0, (raw.shape[0], raw.shape[1])) if smooth is None else smooth
    rows = MeshRows.of(response)
    found = np.zeros(4, np.int64)
    _reduce(
        np.ascontiguousarray(raw),
        level,
        np.array([*facts.linearity, facts.saturation, config.least_response], np.float32),
        bias,
        flat,
        rows.across,
        rows.node,
        rows.weight,
        static_mask,
        out_image,
        out_mask,
        found,
    )
    least = facts.linearised(facts.saturation - float(level.max()))
    dead, saturated, no_number, unusable = (int(n) for n in found)
    return ReduceStats(dead, saturated, no_number, unusable, float(least / response.values.max()))


@compiled(
    "void(u2[:, ::1], f4[::1], f4[::1], f4[:, ::1], f4[:, ::1], f4[:, ::1], i8[::1], f4[::1], u2[:, ::1],"
    " f4[:, ::1], u2[:, ::1], i8[::1])",
    cache=True,
    nogil=True,
    error_model="numpy",  # a test for zero in the loop would keep it from being vectorised
    fastmath={"contract", "reassoc", "nsz", "arcp"},  # NaN and infinity keep their meaning
)
def _reduce(
    raw: NDArray[np.uint16],
    level: Image,
    numbers: Image,
    bias: Image,
    flat: Image,
    across: Image,
    node: Counts,
    weight: Image,
    static_mask: Mask,
    image: Image,
    mask: Mask,
    found: Counts,
) -> None:
    """Fill image and mask; `numbers` are a, b, saturation and the least response."""
    a, b, saturation, least = numbers[0], numbers[1], numbers[2], numbers[3]
    zero, one, largest, no_number = np.float32(0), np.float32(1), np.float32(3e38), np.float32(np.nan)
    is_full, is_void, is_free = np.uint16(_FULL), np.uint16(_VOID), np.uint16(0)
    counted = np.array([_DEAD, _FULL, _VOID, UNUSABLE], np.uint16)
    response = np.empty(raw.shape[1], np.float32)
    for i in range(raw.shape[0]):
        # Short loops over one row, which stays in the cache: one over all arrays at once is not vectorised.
        w, row_level = weight[i], level[i]
        for j in range(raw.shape[1]):
            r = flat[i, j] * (across[node[i], j] * (one - w) + across[node[i] + 1, j] * w)
            response[j] = r if r >= least else no_number
        for j in range(raw.shape[1]):
            x = np.float32(raw[i, j]) - row_level
            x = (x / ((a * x + b) * x + one) - bias[i, j]) / response[j]
            image[i, j] = x if abs(x) < largest else no_number
        for j in range(raw.shape[1]):
            bits = static_mask[i, j]
            bits |= is_full if np.float32(raw[i, j]) >= saturation else is_free
            bits |= is_void if np.isnan(image[i, j]) else is_free
            mask[i, j] = bits
        for k in range(4):
            n = zero  # a float: numba would count in 64 bits, in half the lanes
            for j in range(raw.shape[1]):
                n += one if mask[i, j] & counted[k] else zero
            found[k] += np.int64(n)


def uncertainty(image: Image, mask: Mask, noise: Mesh, gain: float, out: Image) -> Image:
    """Return the 1-sigma map of a background-subtracted image, DN (reference section 3.11).

    sigma^2 = noise^2 + max(I, 0) / gain. The noise is measured in blank sky, so it holds read noise, sky and
    whatever else scatters there, and the reduced chi-square of blank sky is 1.

    Parameters
    ----------
    image : numpy.ndarray (ny, nx), float32, DN
    mask : numpy.ndarray (ny, nx), uint16
        Bits of `MaskBit`; unusable pixels become NaN.
    noise : Mesh
        1 sigma of blank sky, DN.
    gain : float
        Electrons per DN.
    out : numpy.ndarray (ny, nx), float32
        Written into and returned.

    Raises
    ------
    ValueError
        If shapes do not agree, or the gain is not positive.
    """
    if not image.shape == mask.shape == noise.shape == out.shape:
        shapes = (image.shape, mask.shape, noise.shape, out.shape)
        raise ValueError(f"image, mask, noise and out of {shapes} pixels")
    if not gain > 0:
        raise ValueError(f"a gain of {gain} electrons per DN")
    rows = MeshRows.of(noise)
    _uncertainty(image, mask, rows.across, rows.node, rows.weight, np.float32(1 / gain), out)
    return out


@compiled(
    "void(f4[:, ::1], u2[:, ::1], f4[:, ::1], i8[::1], f4[::1], f4, f4[:, ::1])",
    cache=True,
    nogil=True,
    error_model="numpy",  # a test for zero in the loop would keep it from being vectorised
    fastmath={"contract", "reassoc", "nsz", "arcp"},
)
def _uncertainty(
    image: Image, mask: Mask, across: Image, node: Counts, weight: Image, per_gain: np.float32, out: Image
) -> None:
    is_bad = np.uint16(UNUSABLE)
    for i in range(image.shape[0]):
        lower, upper, w = across[node[i]], across[node[i] + 1], weight[i]
        for j in range(image.shape[1]):
            value = image[i, j]
            sigma = lower[j] + w * (upper[j] - lower[j])
            positive = np.float32(0) if value < 0 else value  # NaN stays
            sigma = np.sqrt(sigma * sigma + positive * per_gain)
            out[i, j] = np.float32(np.nan) if mask[i, j] & is_bad else sigma
