"""What the image model sees: three stamps, each over its own norm (reference section 8.2)."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.float32]
SIZE: Final = 63
N_CHANNELS: Final = 3
MIDDLE_PX: Final = 2
LEAST_NORM: Final = 1e-9


def normalise_triplets(stamps: NDArray[np.floating]) -> Images:
    """Return triplets as the network takes them.

    The level of the science and reference stamps (their median) is taken off: ours carry no sky, those in
    ZTF's packets do, and a score must not depend on it. Nothing is 0; each channel is divided by its L2 norm.
    The difference is turned so that its middle is positive, as it is in packets: brighter and fainter look
    alike, whether the caller has turned it or not.

    Parameters
    ----------
    stamps : numpy.ndarray (n, 3, 63, 63)
        Science, reference, difference; NaN where there is nothing.

    Returns
    -------
    numpy.ndarray (n, 3, 63, 63), float32

    Raises
    ------
    ValueError
        If they have another shape.
    """
    if stamps.ndim != 4 or stamps.shape[1:] != (N_CHANNELS, SIZE, SIZE):
        raise ValueError(f"triplets of shape {stamps.shape}, not (n, {N_CHANNELS}, {SIZE}, {SIZE})")
    out = np.array(stamps, np.float32)
    middle = slice(SIZE // 2 - MIDDLE_PX, SIZE // 2 + MIDDLE_PX + 1)
    for triplet in out:
        known = np.isfinite(triplet)
        whole = bool(known.all())
        for channel, there in zip(triplet[:2], known, strict=False):
            values = channel if whole else channel[there]
            if values.size:
                np.subtract(channel, np.median(values), out=channel)
        if not whole:
            triplet[~known] = 0.0
        if triplet[2, middle, middle].sum() < 0:
            np.negative(triplet[2], out=triplet[2])
        for channel in triplet:
            norm = np.sqrt(np.vdot(channel, channel))
            np.divide(channel, max(norm, LEAST_NORM), out=channel)
    return out
