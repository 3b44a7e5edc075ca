"""One star at a time under a given PSF, on its whole stamp: flux, place, background, and how well it fits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from zsds_tasks.pixels.psf_model import PsfModel
from zsds_tasks.pixels.psf_splines import MARGIN, MAX_TERMS, mix_tables, sample_table, terms_at

Image = NDArray[np.float32]
Floats = NDArray[np.float64]
STEPS = 3
CLIP_SIGMA = 5.0
CLIP_MODEL_ERROR = 0.05
"""Pixels further off than five sigma, and 5 % of the star's light there, belong to something else."""
WEIGHT_MODEL_ERROR = 0.01
"""Share of the star's light added to the noise of a pixel, so that a few bright stars do not rule a PSF."""
CORE_FWHM = 1.25


@dataclass(frozen=True)
class StarFit:
    """Stars as fitted under a PSF.

    Parameters
    ----------
    flux, level : numpy.ndarray (N), float64
        DN, and DN per pixel of background.
    shifts : numpy.ndarray (N, 2), float64
        (x, y) from the middle pixel, px.
    chi : numpy.ndarray (N), float64
        RMS residual over that expected.
    sharp : numpy.ndarray (N), float64
        Excess of the variance of the profile over the PSF's, square px.
    weight : numpy.ndarray (N, n, n), float32
        Inverse variance of the pixels, 0 where unusable or clipped.
    """

    flux: Floats
    level: Floats
    shifts: Floats
    chi: Floats
    sharp: Floats
    weight: Image


def fit_stars(
    model: PsfModel,
    stamps: Image,
    shifts: Floats,
    places: tuple[Floats, Floats],
    noise: Floats,
    gain: float,
) -> StarFit:
    """Fit every star by itself.

    Parameters
    ----------
    model : PsfModel
    stamps : numpy.ndarray (N, n, n), float32
        DN, NaN where unusable; n is the side of the model's stamp.
    shifts : numpy.ndarray (N, 2), float64
        Guess, px.
    places : (x, y), numpy.ndarray (N), float64
        0-based in the image.
    noise : numpy.ndarray (N), float64
        Of the sky, DN per pixel.
    gain : float
        Electrons per DN.
    """
    n = len(stamps)
    found = np.zeros((n, 6))
    found[:, 2:4] = shifts
    weight = np.zeros_like(stamps)
    u = (2 * places[0] + 1) / model.shape[1] - 1
    v = (2 * places[1] + 1) / model.shape[0] - 1
    core = CORE_FWHM * model.fwhm
    _fit(model.tables, model.degree, stamps, np.column_stack([u, v]), noise, gain, core, found, weight)
    return StarFit(found[:, 0], found[:, 1], found[:, 2:4].copy(), found[:, 4], found[:, 5], weight)


@njit("f8(f4[:, ::1], f4[:, ::1], f4[:, ::1])", cache=True, nogil=True)
def _scaled(stamp: Image, light: Image, weight: Image) -> float:
    """Return the flux that fits alone."""
    above = below = 0.0
    for i in range(stamp.shape[0]):
        for j in range(stamp.shape[1]):
            if weight[i, j] > 0.0:
                above += weight[i, j] * light[i, j] * stamp[i, j]
                below += weight[i, j] * light[i, j] ** 2
    return above / max(below, 1e-30)


@njit("void(f4[:, ::1], f4[:, ::1], f8, f8, f8, f8, f4[:, ::1])", cache=True, nogil=True)
def _set_weights(
    stamp: Image, light: Image, flux: float, level: float, noise: float, gain: float, weight: Image
) -> None:
    """Write inverse variances; a negative flux means that it is not yet known and nothing is clipped."""
    half = stamp.shape[0] // 2
    reach = (half + 0.5) ** 2
    for i in range(stamp.shape[0]):
        for j in range(stamp.shape[1]):
            value = stamp[i, j]
            weight[i, j] = 0.0
            if not math.isfinite(value) or (i - half) ** 2 + (j - half) ** 2 > reach:
                continue
            model = flux * light[i, j] if flux > 0.0 else max(np.float64(value), 0.0)
            variance = noise * noise + max(model, 0.0) / gain
            r = value - level - model
            if r * r > CLIP_SIGMA**2 * (variance + (CLIP_MODEL_ERROR * model) ** 2):
                continue
            weight[i, j] = 1.0 / (variance + (WEIGHT_MODEL_ERROR * model) ** 2)


@njit(
    "void(f4[:, ::1], f4[:, ::1], f4[:, ::1], f4[:, ::1], f4[:, ::1], f8, f8[::1])", cache=True, nogil=True
)
def _judge(
    stamp: Image, light: Image, xx: Image, yy: Image, weight: Image, core: float, found: Floats
) -> None:
    """Write chi and sharp from the residuals in the core."""
    half = stamp.shape[0] // 2
    flux, level = found[0], found[1]
    chi2 = n = 0.0
    pp = pq = qq = pr = qr = 0.0
    for i in range(stamp.shape[0]):
        for j in range(stamp.shape[1]):
            w = weight[i, j]
            if w == 0.0 or (i - half - found[3]) ** 2 + (j - half - found[2]) ** 2 > core * core:
                continue
            r = stamp[i, j] - level - flux * light[i, j]
            p, q = flux * light[i, j], 0.5 * flux * (xx[i, j] + yy[i, j])
            chi2 += w * r * r
            n += 1.0
            pp += w * p * p
            pq += w * p * q
            qq += w * q * q
            pr += w * p * r
            qr += w * q * r
    found[4] = math.sqrt(chi2 / max(n - 3.0, 1.0))
    determinant = pp * qq - pq * pq
    found[5] = (pp * qr - pq * pr) / determinant if determinant > 0.0 else 0.0


@njit(
    "void(f4[:, :, :, :, ::1], i8, f4[:, :, ::1], f8[:, ::1], f8[::1], f8, f8, f8[:, ::1], f4[:, :, ::1])",
    cache=True,
    nogil=True,
)
def _fit(
    tables: Image,
    degree: int,
    stamps: Image,
    uv: Floats,
    noise: Floats,
    gain: float,
    core: float,
    found: Floats,
    weight: Image,
) -> None:
    """Fill flux, level, x, y, chi, sharp and the weights of every star."""
    s, m = tables.shape[1], tables.shape[3]
    n = stamps.shape[1]
    half = n // 2
    terms = np.zeros(MAX_TERMS)
    mixed = np.empty((s, s, m, m), np.float32)
    work = np.empty((s, n, n + 2 * MARGIN), np.float32)
    light, by_x, by_y = np.empty((n, n), np.float32), np.empty((n, n), np.float32), np.empty((n, n), np.float32)
    normal, right = np.empty((4, 4)), np.empty(4)
    for star in range(stamps.shape[0]):
        terms_at(uv[star, 0], uv[star, 1], degree, terms)
        mix_tables(tables, terms, half, mixed)
        for step in range(STEPS + 1):
            x, y = found[star, 2], found[star, 3]
            sample_table(mixed, x, y, half, half, 0, 0, light, work)
            if step == 0:
                _set_weights(stamps[star], light, -1.0, 0.0, noise[star], gain, weight[star])
                found[star, 0] = max(_scaled(stamps[star], light, weight[star]), 1e-3)
            flux, level = found[star, 0], found[star, 1]
            _set_weights(stamps[star], light, flux, level, noise[star], gain, weight[star])
            if step == STEPS:
                break
            sample_table(mixed, x, y, half, half, 1, 0, by_x, work)
            sample_table(mixed, x, y, half, half, 0, 1, by_y, work)
            normal[:] = 0.0
            right[:] = 0.0
            for i in range(n):
                for j in range(n):
                    w = weight[star, i, j]
                    if w == 0.0:
                        continue
                    p, px, py = light[i, j], by_x[i, j] * flux, by_y[i, j] * flux
                    r = stamps[star, i, j] - level - flux * p
                    right[0] += w * p * r
                    right[1] += w * px * r
                    right[2] += w * py * r
                    right[3] += w * r
                    normal[0, 0] += w * p * p
                    normal[0, 1] += w * p * px
                    normal[0, 2] += w * p * py
                    normal[0, 3] += w * p
                    normal[1, 1] += w * px * px
                    normal[1, 2] += w * px * py
                    normal[1, 3] += w * px
                    normal[2, 2] += w * py * py
                    normal[2, 3] += w * py
                    normal[3, 3] += w
            for p_ in range(4):
                for q in range(p_):
                    normal[p_, q] = normal[q, p_]
                normal[p_, p_] = normal[p_, p_] * (1.0 + 1e-9) + 1e-12
            change = np.linalg.solve(normal, right)
            found[star, 0] = max(flux + change[0], 0.1 * flux)
            found[star, 1] = level + change[3]
            found[star, 2] = min(max(x + min(max(change[1], -0.3), 0.3), -1.0), 1.0)
            found[star, 3] = min(max(y + min(max(change[2], -0.3), 0.3), -1.0), 1.0)
        sample_table(mixed, found[star, 2], found[star, 3], half, half, 2, 0, by_x, work)
        sample_table(mixed, found[star, 2], found[star, 3], half, half, 0, 2, by_y, work)
        _judge(stamps[star], light, by_x, by_y, weight[star], core, found[star])
