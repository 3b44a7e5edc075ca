"""Which mixture of lamps is most like the sky: weights of LEDs against star flats (reference 3.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from zsds_tasks.errors import UnusableInputError

Floats = NDArray[np.float64]
SUM_IS_ONE = 1e4
"""How much more the sum of the weights counts than any cell: it is one to 1e-6."""


@dataclass(frozen=True)
class LampMix:
    """Lamps of one filter against stars.

    Parameters
    ----------
    leds : tuple of int
    alone : tuple of float
        RMS of each LED's flat over the star flat, relative.
    equal, best : float
        RMS of equal weights and of the best ones.
    weights : tuple of float
        The best: none negative, sum 1; in order of `leds`.
    noise : float
        RMS that the uncertainty of the star flat alone makes.
    cells : int
        That were compared.
    """

    leds: tuple[int, ...]
    alone: tuple[float, ...]
    equal: float
    best: float
    weights: tuple[float, ...]
    noise: float
    cells: int


def mix_lamps(lamps: Mapping[int, Floats], stars: Floats, error: Floats) -> LampMix:
    """Find the weights w >= 0 of sum 1 that minimise the RMS of (sum of w lamp) / stars - 1 over cells.

    Parameters
    ----------
    lamps : mapping of numpy.ndarray (n)
        By LED: smooth flat in cells, mean 1 in every channel; NaN: no number.
    stars : numpy.ndarray (n)
        Star flat in the same cells, mean 1 in every channel.
    error : numpy.ndarray (n)
        Its uncertainty.

    Returns
    -------
    LampMix

    Raises
    ------
    UnusableInputError
        If there is no lamp, or fewer cells than lamps.
    """
    leds = tuple(sorted(lamps))
    light = np.stack([lamps[led] for led in leds], axis=1) if leds else np.empty((len(stars), 0))
    known = np.isfinite(light).all(axis=1) & np.isfinite(stars) & (stars > 0)
    if not leds or known.sum() <= len(leds):
        raise UnusableInputError(f"{known.sum()} cells cannot tell {len(leds)} lamps apart")
    ratio = light[known] / stars[known, None]
    # With the sum at one, sum of w ratio - 1 = sum of w (ratio - 1): small numbers, well told apart.
    off = ratio - 1.0
    scale = float(np.sqrt(np.mean(off**2))) or 1.0
    matrix = np.vstack([off / (scale * np.sqrt(len(off))), np.full(len(leds), SUM_IS_ONE)])
    weights, _ = nnls(matrix, np.append(np.zeros(len(off)), SUM_IS_ONE))
    weights = weights / weights.sum()
    equal = np.full(len(leds), 1.0 / len(leds))

    def rms(mixture: Floats) -> float:
        return float(np.sqrt(np.mean((off @ mixture) ** 2)))

    return LampMix(
        leds,
        tuple(rms(row) for row in np.eye(len(leds))),
        rms(equal),
        rms(weights),
        tuple(float(w) for w in weights),
        float(np.sqrt(np.mean((error[known] / stars[known]) ** 2))),
        int(known.sum()),
    )
