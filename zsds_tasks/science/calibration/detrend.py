"""One pass over a raw readout: overscan, non-linearity, bias, flat; what cannot be used becomes NaN."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled

Image = NDArray[np.float32]


@compiled(
    "void(u2[:, ::1], f4[::1], f4, f4, f4, f4[:, ::1], f4[:, ::1], f4[:, ::1])",
    cache=True,
    nogil=True,
    fastmath={"contract", "reassoc", "nsz", "arcp"},  # NaN and infinity keep their meaning
)
def _detrend(
    raw: NDArray[np.uint16],
    level: Image,
    a: np.float32,
    b: np.float32,
    saturation: np.float32,
    bias: Image,
    flat: Image,
    out: Image,
) -> None:
    one = np.float32(1)
    has_bias, has_flat = bias.shape[0] > 0, flat.shape[0] > 0
    for i in range(raw.shape[0]):
        for j in range(raw.shape[1]):
            count = np.float32(raw[i, j])
            x = count - level[i]
            x /= (a * x + b) * x + one
            if has_bias:
                x -= bias[i, j]
            if has_flat:
                x /= flat[i, j]
            out[i, j] = x if count < saturation else np.nan


def detrend(
    raw: NDArray[np.uint16],
    level: NDArray[np.float32],
    *,
    linearity: tuple[float, float] = (0.0, 0.0),
    saturation: float = np.inf,
    bias: Image | None = None,
    flat: Image | None = None,
    out: Image | None = None,
) -> Image:
    """Return the signal of a raw readout, in the order of reference section 3.

    Parameters
    ----------
    raw : numpy.ndarray (ny, nx), uint16, DN
    level : numpy.ndarray (ny), float32
        Bias level of the rows, DN; see `fit_overscan`.
    linearity : (a, b)
        Signal x over the level becomes x / (a x^2 + b x + 1); the default leaves it as it is.
    saturation : float
        Pixels at or above become NaN, DN before any subtraction.
    bias, flat : numpy.ndarray (ny, nx), float32, optional
        Subtracted (DN), then divided by (relative); left out by default.
    out : numpy.ndarray (ny, nx), float32, optional
        Written into and returned.

    Returns
    -------
    numpy.ndarray (ny, nx), float32
        DN.

    Raises
    ------
    ValueError
        If shapes do not agree.
    """
    for name, shape in (("bias", bias), ("flat", flat), ("out", out)):
        if shape is not None and shape.shape != raw.shape:
            raise ValueError(f"{name} of {shape.shape} pixels for a readout of {raw.shape}")
    if level.shape != raw.shape[:1]:
        raise ValueError(f"levels of {level.shape} rows for a readout of {raw.shape}")
    nothing = np.empty((0, raw.shape[1]), np.float32)
    out = np.empty(raw.shape, np.float32) if out is None else out
    _detrend(
        np.ascontiguousarray(raw),
        level,
        np.float32(linearity[0]),
        np.float32(linearity[1]),
        np.float32(saturation),
        nothing if bias is None else bias,
        nothing if flat is None else flat,
        out,
    )
    return out
