"""The static mask of a readout channel from its masters (reference sections 3.4 and 3.6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.products.masks import MaskBit
from zsds_tasks.science.calibration.masters import Image, Master
from zsds_tasks.science.calibration.robust import sampled_median

Mask = NDArray[np.uint16]
Positive = Annotated[float, Field(gt=0)]


class BadPixelConfig(Declaration):
    """Where a pixel stops being a good one."""

    dead_below: Positive = Field(0.1, description="of the high-frequency flat: dead")
    low_below: Positive = Field(0.6, description="of the high-frequency flat: low responsivity")
    high_above: Positive = Field(1.4, description="of the high-frequency flat: high responsivity")
    noisy_above: Positive = Field(5.0, description="scatter over a stack, in medians of the channel: noisy")
    hot_above: Positive = Field(
        3.0, description="bias over that of neighbours in the column, in read noises: noisy, as dark current"
    )
    constant_frames: Annotated[int, Field(ge=2)] = Field(
        5, description="a pixel that reads the same in so many flats is dead"
    )


def flag_bad_pixels(bias: Master, flats: Sequence[Master], config: BadPixelConfig) -> Mask:
    """Return the static mask: each pixel with the bits of what is wrong with it in any of the masters.

    The bits of responsivity exclude one another: a dead pixel does not carry the bit of a low one.

    Parameters
    ----------
    bias : Master
    flats : sequence of Master
        High-frequency flats of any number of filters.
    config : BadPixelConfig

    Returns
    -------
    numpy.ndarray (ny, nx), uint16
        Bits of `MaskBit`.
    """
    mask = np.zeros(bias.image.shape, np.uint16)
    _set(mask, column_excess(bias.image) > config.hot_above * bias.frame_noise, MaskBit.NOISY)
    for master in (bias, *flats):
        usual = sampled_median(master.excess)
        _set(mask, master.excess > config.noisy_above * usual, MaskBit.NOISY)
        _set(mask, ~np.isfinite(master.image), MaskBit.NAN)
    for flat in flats:
        constant = flat.is_constant & (len(flat.used) >= config.constant_frames)
        dead = (flat.image < config.dead_below) | constant
        _set(mask, dead, MaskBit.DEAD)
        _set(mask, (flat.image < config.low_below) & ~dead, MaskBit.LOW_RESPONSE)
        _set(mask, (flat.image > config.high_above) & ~dead, MaskBit.HIGH_RESPONSE)
    dead = (mask & MaskBit.DEAD.flag) > 0
    mask[dead] &= np.uint16(~(MaskBit.LOW_RESPONSE.flag | MaskBit.HIGH_RESPONSE.flag) & 0xFFFF)
    return mask


def _set(mask: Mask, where: NDArray[np.bool_], bit: MaskBit) -> None:
    mask[where] |= np.uint16(bit.flag)


@compiled("f4[:, ::1](f4[:, ::1])", cache=True, nogil=True)
def column_excess(image: Image) -> Image:
    """Return each pixel less the median of the up to six pixels next to it in its column.

    A pattern of columns cancels, a glow over tens of pixels nearly so.

    Parameters
    ----------
    image : numpy.ndarray (ny, nx), float32

    Returns
    -------
    numpy.ndarray (ny, nx), float32
        NaN where the image is, or where no neighbour has a number.
    """
    reach = 3
    ny, nx = image.shape
    out = np.empty((ny, nx), np.float32)
    near = np.empty(2 * reach, np.float32)
    for y in range(ny):
        for x in range(nx):
            n = 0
            for k in range(max(0, y - reach), min(ny, y + reach + 1)):
                value = image[k, x]
                if k != y and np.isfinite(value):
                    j = n - 1
                    while j >= 0 and near[j] > value:
                        near[j + 1] = near[j]
                        j -= 1
                    near[j + 1] = value
                    n += 1
            if n == 0:
                out[y, x] = np.nan
            elif n % 2:
                out[y, x] = image[y, x] - near[n // 2]
            else:
                out[y, x] = image[y, x] - np.float32(0.5) * (near[n // 2 - 1] + near[n // 2])
    return out
