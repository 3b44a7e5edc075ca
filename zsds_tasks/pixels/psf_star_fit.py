"""One star at a time under a given PSF, on its whole stamp: flux, place, and how well it fits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.pixels.psf_model import PsfModel
from zsds_tasks.pixels.psf_splines import MARGIN, MAX_TERMS, mix_tables, sample_table, terms_at

Image = NDArray[np.float32]
Floats = NDArray[np.float64]
FIRST_STEPS, LATER_STEPS = 3, 1
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
    flux : numpy.ndarray (N), float64
        DN.
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
    level: float,
    before: StarFit | None = None,
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
    level : float
        Background of all stamps, DN per pixel. None is fitted: it would take the wings for background.
    before : StarFit, optional
        Of an earlier round: fewer steps do.
    """
    found = np.zeros((len(stamps), 5))
    found[:, 1:3] = shifts
    steps = FIRST_STEPS
    if before is not None:
        found[:, 0], steps = before.flux, LATER_STEPS
    weight = np.zeros_like(stamps)
    u = (2 * places[0] + 1) / model.shape[1] - 1
    v = (2 * places[1] + 1) / model.shape[0] - 1
    sky = np.column_stack([noise, np.full(len(stamps), level)])
    core = CORE_FWHM * model.fwhm
    _fit(model.tables, model.degree, stamps, np.column_stack([u, v]), sky, gain, core, steps, found, weight)
    return StarFit(found[:, 0].copy(), found[:, 1:3].copy(), found[:, 3].copy(), found[:, 4].copy(), weight)


@compiled("void(f4[:, ::1], f8, f4[::1], f4[::1])", cache=True, nogil=True)
def _flatten(stamp: Image, level: float, value: Image, good: Image) -> None:
    """Write the pixels over a level in a row, unusable ones as 0, and 1 for those usable inside a circle."""
    n = stamp.shape[0]
    half = n // 2
    reach = (half + 0.5) ** 2
    for i in range(n):
        for j in range(n):
            inside = (i - half) ** 2 + (j - half) ** 2 <= reach and math.isfinite(stamp[i, j])
            value[i * n + j] = stamp[i, j] - np.float32(level) if inside else np.float32(0.0)
            good[i * n + j] = np.float32(1.0) if inside else np.float32(0.0)


@compiled(
    "void(f4[::1], f4[::1], f4[::1], f8[::1], f8, f8, f4[::1], f4[::1])",
    cache=True,
    nogil=True,
    fastmath=True,
)
def _weigh(
    value: Image,
    good: Image,
    light: Image,
    found: Floats,
    noise: float,
    gain: float,
    weight: Image,
    rest: Image,
) -> None:
    """Write residuals and inverse variances, 0 where unusable or too far off."""
    flux = np.float32(found[0])
    sky, per_dn = np.float32(noise * noise), np.float32(1.0 / gain)
    clip = np.float32(CLIP_SIGMA**2)
    share, clip_share = np.float32(WEIGHT_MODEL_ERROR**2), np.float32(CLIP_MODEL_ERROR**2)
    for k in range(value.size):
        model = flux * light[k]
        r = value[k] - model
        variance = sky + max(model, np.float32(0.0)) * per_dn
        square = model * model
        is_kept = r * r <= clip * (variance + clip_share * square)
        weight[k] = good[k] / (variance + share * square) if is_kept else np.float32(0.0)
        rest[k] = r


@compiled("void(f4[::1], f4[::1], f4[::1], f4[::1], f8[::1])", cache=True, nogil=True, fastmath=True)
def _first_guess(value: Image, good: Image, light: Image, sky: Image, found: Floats) -> None:
    """Write the flux that fits with the pixels' own light as their noise."""
    above = below = np.float32(0.0)
    for k in range(value.size):
        w = good[k] / (sky[0] + max(value[k], np.float32(0.0)) * sky[1])
        above += w * light[k] * value[k]
        below += w * light[k] * light[k]
    found[0] = max(above / max(below, np.float32(1e-30)), np.float32(1e-3))


@compiled(
    "void(f4[::1], f4[::1], f4[::1], f4[::1], f4[::1], f8, f8[:, ::1], f8[::1])",
    cache=True,
    nogil=True,
    fastmath=True,
)
def _sum_normal(
    weight: Image, rest: Image, p: Image, px: Image, py: Image, flux: float, normal: Floats, right: Floats
) -> None:
    """Sum the normal equations of flux, x and y."""
    a00 = a01 = a02 = a11 = a12 = a22 = b0 = b1 = b2 = np.float32(0.0)
    f = np.float32(flux)
    for k in range(weight.size):
        w = weight[k]
        u, v, r = px[k] * f, py[k] * f, rest[k]
        wp, wu, wv = w * p[k], w * u, w * v
        b0 += wp * r
        b1 += wu * r
        b2 += wv * r
        a00 += wp * p[k]
        a01 += wp * u
        a02 += wp * v
        a11 += wu * u
        a12 += wu * v
        a22 += wv * v
    normal[0, 0], normal[0, 1], normal[0, 2] = a00, a01, a02
    normal[1, 0], normal[1, 1], normal[1, 2] = a01, a11, a12
    normal[2, 0], normal[2, 1], normal[2, 2] = a02, a12, a22
    right[0], right[1], right[2] = b0, b1, b2
    for k in range(3):
        normal[k, k] = normal[k, k] * (1.0 + 1e-6) + 1e-12


@compiled("void(f4[::1], f4[::1], f4[::1], f4[::1], f4[::1], f8, f8[::1])", cache=True, nogil=True)
def _judge(
    weight: Image, rest: Image, light: Image, xx: Image, yy: Image, core: float, found: Floats
) -> None:
    """Write chi and sharp from the residuals in the core."""
    n = round(math.sqrt(weight.size))
    half, flux = n // 2, found[0]
    chi2 = used = pp = pq = qq = pr = qr = 0.0
    for i in range(n):
        for j in range(n):
            k = i * n + j
            w = weight[k]
            if w == 0.0 or (i - half - found[2]) ** 2 + (j - half - found[1]) ** 2 > core * core:
                continue
            r, p, q = rest[k], flux * light[k], 0.5 * flux * (xx[k] + yy[k])
            chi2 += w * r * r
            used += 1.0
            pp += w * p * p
            pq += w * p * q
            qq += w * q * q
            pr += w * p * r
            qr += w * q * r
    found[3] = math.sqrt(chi2 / max(used - 3.0, 1.0))
    determinant = pp * qq - pq * pq
    found[4] = (pp * qr - pq * pr) / determinant if determinant > 0.0 else 0.0


@compiled(
    "void(f4[:, :, :, :, ::1], i8, f4[:, :, ::1], f8[:, ::1], f8[:, ::1], f8, f8, i8, f8[:, ::1], "
    "f4[:, :, ::1])",
    cache=True,
    nogil=True,
)
def _fit(
    tables: Image,
    degree: int,
    stamps: Image,
    uv: Floats,
    sky: Floats,
    gain: float,
    core: float,
    steps: int,
    found: Floats,
    weights: Image,
) -> None:
    """Fill flux, x, y, chi, sharp and the weights of every star; `sky` holds noise and level of each."""
    s, m, n = tables.shape[1], tables.shape[3], stamps.shape[1]
    half = n // 2
    terms, guess = np.zeros(MAX_TERMS), np.empty(2, np.float32)
    mixed, work = np.empty((s, s, m, m), np.float32), np.empty((s, n, n + 2 * MARGIN), np.float32)
    square, by_x, by_y = (
        np.empty((n, n), np.float32),
        np.empty((n, n), np.float32),
        np.empty((n, n), np.float32),
    )
    light, px, py = square.reshape(n * n), by_x.reshape(n * n), by_y.reshape(n * n)
    value, good, rest = np.empty(n * n, np.float32), np.empty(n * n, np.float32), np.empty(n * n, np.float32)
    normal, right = np.empty((3, 3)), np.empty(3)
    for star in range(stamps.shape[0]):
        terms_at(uv[star, 0], uv[star, 1], degree, terms)
        mix_tables(tables, terms, half, mixed)
        _flatten(stamps[star], sky[star, 1], value, good)
        weight, own = weights[star].reshape(n * n), found[star]
        guess[0], guess[1] = sky[star, 0] ** 2, 1.0 / gain
        for step in range(steps + 1):
            sample_table(mixed, own[1], own[2], half, half, 0, 0, square, work)
            if step == 0 and own[0] <= 0.0:
                _first_guess(value, good, light, guess, own)
            _weigh(value, good, light, own, sky[star, 0], gain, weight, rest)
            if step == steps:
                break
            sample_table(mixed, own[1], own[2], half, half, 1, 0, by_x, work)
            sample_table(mixed, own[1], own[2], half, half, 0, 1, by_y, work)
            _sum_normal(weight, rest, light, px, py, own[0], normal, right)
            change = np.linalg.solve(normal, right)
            own[0] = max(own[0] + change[0], 0.1 * own[0])
            for k in range(1, 3):
                own[k] = min(max(own[k] + min(max(change[k], -0.3), 0.3), -1.0), 1.0)
        sample_table(mixed, own[1], own[2], half, half, 2, 0, by_x, work)
        sample_table(mixed, own[1], own[2], half, half, 0, 2, by_y, work)
        _judge(weight, rest, light, px, py, core, own)
