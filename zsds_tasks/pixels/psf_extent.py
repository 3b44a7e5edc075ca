"""Which fitted sources are wider than the PSF in every direction: galaxies, whose outskirts are no sources.

A close pair fitted as one star is too wide along one axis only. So the excess is measured as a tensor: light
that is spread by a variance t changes by half of t times its second derivatives.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.pixels.psf_draw import FIT, FLUX, sample_source
from zsds_tasks.pixels.psf_equations import REST, STAMPS, WEIGHT, factor, solve, weigh_disc
from zsds_tasks.pixels.psf_model import SIGMA_OF_FWHM
from zsds_tasks.pixels.psf_scene import Scene

Image = NDArray[np.float32]
Floats = NDArray[np.float64]
Indexes = NDArray[np.int64]
TERMS = 4  # flux and three second derivatives
BELIEVED_SIGMA = 3.0


def is_extended(scene: Scene, rows: Indexes, share: float) -> NDArray[np.bool_]:
    """Tell which of some sources are significantly wider than the PSF even across their narrowest direction.

    Parameters
    ----------
    scene : Scene
        Settled.
    rows : numpy.ndarray (N), int64
    share : float
        Least excess variance, as a share of the PSF's own.

    Returns
    -------
    numpy.ndarray (N), bool
    """
    excess = np.zeros((len(rows), 4))
    _excess_variances(
        scene.image, scene.residual, scene.sources, scene.plan, scene.tables, rows, scene.gain, excess
    )
    xx, xy, yy, error = excess.T
    narrow = (xx + yy) / 2 - np.hypot((xx - yy) / 2, xy)
    least = share * (scene.model.fwhm * SIGMA_OF_FWHM) ** 2
    return np.asarray((narrow > least) & (narrow > BELIEVED_SIGMA * error))


@compiled(
    "void(f4[:, ::1], f4[:, ::1], f8[:, ::1], i8[:, ::1], f4[:, :, :, :, ::1], i8[::1], f8, f8[:, ::1])",
    cache=True,
    nogil=True,
)
def _excess_variances(
    image: Image,
    residual: Image,
    sources: Floats,
    plan: Indexes,
    tables: Image,
    rows: Indexes,
    gain: float,
    out: Floats,
) -> None:
    """Write the excess variances xx, xy, yy of sources, square px, and the largest of their errors."""
    s, m = tables.shape[1], tables.shape[3]
    stamps, work = np.empty((STAMPS, m * m), np.float32), np.empty((s, m, m), np.float32)
    light = np.empty((TERMS, m * m), np.float32)
    normal, right, unit = np.empty((TERMS, TERMS)), np.empty(TERMS), np.empty(TERMS)
    for number in range(len(rows)):
        source, own = sources[rows[number]], plan[rows[number]]
        size = 2 * own[FIT] + 1
        for p, order_x, order_y in ((0, 0, 0), (1, 2, 0), (2, 1, 1), (3, 0, 2)):
            square = light[p, : size * size].reshape(size, size)
            sample_source(tables, source, own, own[FIT], order_x, order_y, square, work)
        weigh_disc(image, residual, source, own[FIT], gain, stamps)
        normal[:] = 0.0
        right[:] = 0.0
        for k in range(size * size):
            w = stamps[WEIGHT, k]
            for p in range(TERMS):
                right[p] += w * light[p, k] * stamps[REST, k]
                for q in range(p + 1):
                    normal[p, q] += w * light[p, k] * light[q, k]
        if source[FLUX] <= 0.0 or not factor(normal, TERMS):
            continue
        solve(normal, right, TERMS)
        half_flux = 0.5 * source[FLUX]
        out[number, 0], out[number, 2] = right[1] / half_flux, right[3] / half_flux
        out[number, 1] = right[2] / source[FLUX]
        for p in range(1, TERMS):
            unit[:] = 0.0
            unit[p] = 1.0
            solve(normal, unit, TERMS)
            out[number, 3] = max(out[number, 3], np.sqrt(max(unit[p], 0.0)) / half_flux)
