"""A Moffat profile fitted to many stars at once: what a PSF table starts from and falls back to in its wings."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

Image = NDArray[np.float32]
Floats = NDArray[np.float64]
ITERATIONS = 25
MODEL_ERROR = 0.03  # what a Moffat profile is off by, of itself: keeps the brightest star from ruling the fit
CLIP_SIGMA = 4.0
CLIP_MODEL_ERROR = 0.1
SHAPE, LOCAL = 4, 4
SLOPE_RANGE = (1.3, 12.0)


@dataclass(frozen=True)
class Moffat:
    """Light (1 + a dx^2 + 2 b dx dy + c dy^2)^-beta, not normalised.

    Parameters
    ----------
    a, b, c : float
        px^-2.
    beta : float
    """

    a: float
    b: float
    c: float
    beta: float

    @classmethod
    def round(cls, fwhm_px: float, beta: float = 3.0) -> Moffat:
        """Return a round profile of a width."""
        a = (2 ** (1 / beta) - 1) / (fwhm_px / 2) ** 2
        return cls(a, 0.0, a, beta)

    @property
    def fwhm(self) -> float:
        """Geometric mean of the FWHM of both axes, px."""
        return 2 * math.sqrt((2 ** (1 / self.beta) - 1) / math.sqrt(self.a * self.c - self.b**2))

    def at(self, dx: Floats, dy: Floats) -> Floats:
        """Return the light at offsets, px."""
        power = self.a * dx * dx + 2 * self.b * dx * dy + self.c * dy * dy
        return np.asarray((1 + power) ** -self.beta)


def fit_moffat(stamps: Image, shifts: Floats, noise: Floats, gain: float, fwhm_px: float) -> Moffat:
    """Fit one profile to stars, each with its own brightness, place and background.

    Parameters
    ----------
    stamps : numpy.ndarray (N, n, n), float32
        Stars close to the middle pixel, DN; NaN where unusable.
    shifts : numpy.ndarray (N, 2), float64
        Guess of (x, y) from the middle pixel, px.
    noise : numpy.ndarray (N), float64
        Of the sky, DN per pixel.
    gain : float
        Electrons per DN.
    fwhm_px : float
        Guess.

    Returns
    -------
    Moffat
    """
    start = Moffat.round(fwhm_px)
    shape = np.array([start.a, start.b, start.c, start.beta])
    middle = stamps.shape[1] // 2
    peaks = np.nan_to_num(np.nanmax(stamps[:, middle - 1 : middle + 2, middle - 1 : middle + 2], axis=(1, 2)))
    local = np.column_stack([np.maximum(peaks, 1e-3), np.zeros(len(stamps)), shifts])
    best, cost, damping = shape, np.inf, 1e-3
    normal, right = np.empty((SHAPE, SHAPE)), np.empty(SHAPE)
    kept = local.copy()
    for number in range(ITERATIONS):
        trial = local.copy()
        now = _accumulate(stamps, noise, gain, shape, trial, number >= 3, normal, right)
        # Clipping starts anew at the fourth step: costs before and after do not compare.
        if now > cost and number != 3:
            damping *= 10
            shape, local = (best + shape) / 2, kept.copy()
            if damping > 1e6:
                break
            continue
        is_done = number > 4 and cost - now < 1e-4 * cost
        best, cost, kept, local = shape, now, local, trial
        if is_done:
            break
        damping = max(damping / 10, 1e-6)
        step = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), right)
        shape = _inside(best, best + step)
    return Moffat(*(float(p) for p in best))


def _inside(old: Floats, new: Floats) -> Floats:
    """Return a step that keeps the profile a profile: widths change by a factor, beta stays in its range."""
    new = new.copy()
    for k in (0, 2):
        new[k] = min(max(new[k], 0.4 * old[k]), 2.5 * old[k])
    limit = 0.8 * math.sqrt(new[0] * new[2])
    new[1] = min(max(new[1], -limit), limit)
    new[3] = min(max(new[3], old[3] / 1.5, SLOPE_RANGE[0]), old[3] * 1.5, SLOPE_RANGE[1])
    return new


@njit("f8(f4[:, :, ::1], f8[::1], f8, f8[::1], f8[:, ::1], b1, f8[:, ::1], f8[::1])", cache=True, nogil=True)
def _accumulate(
    stamps: Image,
    noise: Floats,
    gain: float,
    shape: Floats,
    local: Floats,
    is_clipped: bool,
    normal: Floats,
    right: Floats,
) -> float:
    """Sum the normal equations of the shape, the stars' own parameters eliminated; these are stepped in place.

    Returns the robust mean of squared residuals over their variance.
    """
    a, b, c, beta = shape[0], shape[1], shape[2], shape[3]
    n = stamps.shape[1]
    middle = n // 2
    normal[:] = 0.0
    right[:] = 0.0
    cost, used = 0.0, 0
    column = np.empty(LOCAL + SHAPE)
    for star in range(stamps.shape[0]):
        amplitude, level, x, y = local[star, 0], local[star, 1], local[star, 2], local[star, 3]
        full = np.zeros((LOCAL + SHAPE, LOCAL + SHAPE))
        side = np.zeros(LOCAL + SHAPE)
        for i in range(n):
            for j in range(n):
                value = stamps[star, i, j]
                dx, dy = j - middle - x, i - middle - y
                if not math.isfinite(value) or dx * dx + dy * dy > middle * middle:
                    continue
                base = 1.0 + a * dx * dx + 2.0 * b * dx * dy + c * dy * dy
                light = base**-beta
                model = amplitude * light
                r = value - level - model
                variance = noise[star] ** 2 + max(model, 0.0) / gain
                w = 1.0 / (variance + (MODEL_ERROR * model) ** 2)
                if is_clipped and r * r > CLIP_SIGMA**2 * (variance + (CLIP_MODEL_ERROR * model) ** 2):
                    cost += CLIP_SIGMA**2
                    used += 1
                    continue
                slope = -beta * model / base
                column[0], column[1] = light, 1.0
                column[2] = -slope * 2.0 * (a * dx + b * dy)
                column[3] = -slope * 2.0 * (b * dx + c * dy)
                column[4], column[5], column[6] = slope * dx * dx, slope * 2.0 * dx * dy, slope * dy * dy
                column[7] = -model * math.log(base)
                cost += w * r * r
                used += 1
                for p in range(LOCAL + SHAPE):
                    side[p] += w * column[p] * r
                    for q in range(p + 1):
                        full[p, q] += w * column[p] * column[q]
        for p in range(LOCAL + SHAPE):
            for q in range(p):
                full[q, p] = full[p, q]
        for p in range(LOCAL):
            full[p, p] = full[p, p] * (1.0 + 1e-6) + 1e-12
        mixed = np.linalg.solve(full[:LOCAL, :LOCAL], full[:LOCAL, LOCAL:])
        own = np.linalg.solve(full[:LOCAL, :LOCAL], side[:LOCAL])
        for p in range(SHAPE):
            for k in range(LOCAL):
                right[p] -= full[LOCAL + p, k] * own[k]
            right[p] += side[LOCAL + p]
            for q in range(SHAPE):
                normal[p, q] += full[LOCAL + p, LOCAL + q]
                for k in range(LOCAL):
                    normal[p, q] -= full[LOCAL + p, k] * mixed[k, q]
        local[star, 0] = max(amplitude + own[0], 1e-3)
        local[star, 1] += own[1]
        local[star, 2] = min(max(x + min(max(own[2], -0.3), 0.3), -1.5), 1.5)
        local[star, 3] = min(max(y + min(max(own[3], -0.3), 0.3), -1.5), 1.5)
    return cost / max(used, 1)
