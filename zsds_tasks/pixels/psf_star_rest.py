"""What a PSF leaves of its stars: background that all share, light that all have at a distance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.pixels.psf_model import PsfModel
from zsds_tasks.pixels.psf_splines import MARGIN, mix_tables, sample_table
from zsds_tasks.pixels.psf_star_fit import StarFit

Image = NDArray[np.float32]
Floats = NDArray[np.float64]
RING_SHARE = 0.75  # of the stamp's half side


def residual_pixels(model: PsfModel, stamps: Image, terms: Floats, fit: StarFit, level: float) -> Image:
    """Return stars' pixels without level and without `model` at the fitted fluxes and places; 0 if unused.

    Parameters
    ----------
    model : PsfModel
        Any; not necessarily that of the fit.
    stamps : numpy.ndarray (N, n, n), float32
    terms : numpy.ndarray (N, T), float64
        Polynomial terms at the stars.
    fit : StarFit
    level : float
        DN per pixel.
    """
    out = np.zeros_like(stamps)
    _subtract(model.tables, stamps, terms, fit.flux, level, fit.shifts, fit.weight, out)
    return out


@compiled(
    "void(f4[:, :, :, :, ::1], f4[:, :, ::1], f8[:, ::1], f8[::1], f8, f8[:, ::1], f4[:, :, ::1], "
    "f4[:, :, ::1])",
    cache=True,
    nogil=True,
)
def _subtract(
    tables: Image,
    stamps: Image,
    terms: Floats,
    flux: Floats,
    level: float,
    shifts: Floats,
    weight: Image,
    out: Image,
) -> None:
    s, m, n = tables.shape[1], tables.shape[3], stamps.shape[1]
    mixed, work = np.empty((s, s, m, m), np.float32), np.empty((s, n, n + 2 * MARGIN), np.float32)
    light = np.empty((n, n), np.float32)
    for star in range(stamps.shape[0]):
        mix_tables(tables, terms[star], n // 2, mixed)
        sample_table(mixed, shifts[star, 0], shifts[star, 1], n // 2, n // 2, 0, 0, light, work)
        for i in range(n):
            for j in range(n):
                if weight[star, i, j] > 0.0:
                    out[star, i, j] = stamps[star, i, j] - level - flux[star] * light[i, j]


def common_level(residual: Image, fit: StarFit) -> float:
    """Return the background that all stars share, DN per pixel: from the outskirts of the fainter ones.

    Parameters
    ----------
    residual : numpy.ndarray (N, n, n), float32
        Of `residual_pixels` under the model of the fit, level 0.
    fit : StarFit
    """
    faint = fit.flux <= np.median(fit.flux)
    half = residual.shape[1] // 2
    offsets = np.arange(-half, half + 1)
    ring = np.hypot(offsets[:, None], offsets[None, :]) > RING_SHARE * half
    used = (fit.weight[faint] > 0) & ring
    counts = used.sum(axis=(1, 2))
    sums = np.asarray(np.sum(residual[faint], axis=(1, 2), where=used, dtype=np.float64))
    means = sums[counts > 0] / counts[counts > 0]
    return float(np.median(means)) if len(means) else 0.0


def radial_excess(residual: Image, fit: StarFit) -> Floats:
    """Return what stars have beyond a model at whole distances from their middles, per unit of flux.

    Parameters
    ----------
    residual : numpy.ndarray (N, n, n), float32
    fit : StarFit

    Returns
    -------
    numpy.ndarray (half + 2), float64
        At 0, 1, ... px; each is the weighted mean of the pixels half a pixel around.
    """
    half = residual.shape[1] // 2
    offsets = np.arange(-half, half + 1.0)
    dx = offsets[None, None, :] - fit.shifts[:, 0, None, None]
    dy = offsets[None, :, None] - fit.shifts[:, 1, None, None]
    bins = np.minimum(np.rint(np.hypot(dx, dy)).astype(np.intp), half + 1).ravel()
    weighted = fit.weight * fit.flux[:, None, None]
    above = np.bincount(bins, (weighted * residual).ravel(), minlength=half + 2)
    below = np.bincount(bins, (weighted * fit.flux[:, None, None]).ravel(), minlength=half + 2)
    return np.asarray(above / np.maximum(below, 1e-30))
