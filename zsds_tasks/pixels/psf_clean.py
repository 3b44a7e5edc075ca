"""Which fitted sources are kept: bright enough, on enough pixels, and no artefact of a brighter neighbour."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from zsds_tasks.pixels import psf_draw as columns
from zsds_tasks.pixels import psf_fit_kernels as kernels
from zsds_tasks.pixels.psf_model import SIGMA_OF_FWHM
from zsds_tasks.pixels.psf_scene import Scene

Floats = NDArray[np.float64]
Kept = NDArray[np.bool_]
RIPPLE_NOISE = 0.1
"""A star is bright if its PSF at the stamp's edge is above this share of the sky noise."""
RIPPLE_STAMPS = 4.0  # half stamps around a bright star


def distinct(scene: Scene, separation: float) -> Kept:
    """Tell which sources are not the fainter of two that are closer than a distance."""
    kept = np.ones(len(scene), np.bool_)
    if len(scene) < 2:
        return kept
    tree = cKDTree(np.column_stack([scene.x, scene.y]))
    pairs = tree.query_pairs(separation, output_type="ndarray")
    rank = np.where(scene.is_hidden, np.inf, scene.flux)  # a star seen by its wings is no rim's companion
    fainter = np.where(rank[pairs[:, 0]] < rank[pairs[:, 1]], pairs[:, 0], pairs[:, 1])
    kept[fainter] = False
    return kept


def believable(scene: Scene, results: Floats) -> Kept:
    """Tell which sources are bright against their errors and rest on enough pixels inside the image."""
    ny, nx = scene.image.shape
    kept = scene.flux >= scene.config.least_snr * results[:, kernels.FLUX_ERROR]
    kept &= results[:, kernels.PIXELS] >= scene.config.least_pixels
    kept &= (scene.x > -0.5) & (scene.y > -0.5) & (scene.x < nx - 0.5) & (scene.y < ny - 0.5)
    return np.asarray(kept & ~_is_fragment(scene, results) & ~_is_ripple(scene))


def undetermined(scene: Scene, results: Floats) -> Kept:
    """Tell which sources to take away where pixels do not determine a group: of each such group the faintest.

    Two that were told apart when they were found may have drawn together since. Errors without bound are no
    measurement, and of two in one place the brighter one holds the light of both.
    """
    out = np.zeros(len(scene), np.bool_)
    open_ones = np.flatnonzero(~np.isfinite(results[:, kernels.FLUX_ERROR]))
    group = scene.groups.of_sources()[open_ones]
    order = np.lexsort((scene.flux[open_ones], group))
    _, first = np.unique(group[order], return_index=True)
    out[open_ones[order[first]]] = True
    return out


def _is_fragment(scene: Scene, results: Floats) -> Kept:
    """Tell which sources were revealed beside a brighter one but are no points: the outskirts of a galaxy."""
    config, fwhm = scene.config, scene.model.fwhm
    suspects = scene.is_revealed & (results[:, kernels.CHI] > config.fragment_chi)
    suspects &= results[:, kernels.SHARP] > config.fragment_sharp * (fwhm * SIGMA_OF_FWHM) ** 2
    rows = np.flatnonzero(suspects)
    places = np.column_stack([scene.x, scene.y])
    for row, near in zip(rows, cKDTree(places).query_ball_point(places[rows], 2 * fwhm), strict=True):
        suspects[row] = bool(np.any(scene.flux[near] > scene.flux[row]))
    return np.asarray(suspects)


def _is_ripple(scene: Scene) -> Kept:
    """Tell which sources are faint against what the wings of a bright star may be off by.

    Those of a saturated star rest on a PSF used where no star measured it, and beyond its stamp no star is
    subtracted at all.
    """
    config, half = scene.config, scene.model.half
    found = np.zeros(len(scene), np.bool_)
    places = np.column_stack([scene.x, scene.y])
    is_bright = scene.flux * scene.wing(np.array([half])) > RIPPLE_NOISE * scene.sources[:, columns.NOISE]
    stars = np.flatnonzero(scene.is_hidden | is_bright)
    if len(stars) == 0:
        return found
    share = np.where(scene.is_hidden[stars], config.hidden_error, config.model_error)
    near = cKDTree(places).query_ball_point(places[stars], RIPPLE_STAMPS * half)
    for star, error, around in zip(stars, share, near, strict=True):
        rows = np.array(around, np.intp)
        distance = np.hypot(*(places[rows] - places[star]).T)
        light = scene.wing(distance)
        if scene.is_hidden[star]:
            light = np.maximum(light, config.wing_floor * (half / np.maximum(distance, half)) ** 2)
        wing = scene.flux[star] * light * np.where(distance > half, config.beyond_error, error)
        found[rows] |= (scene.flux[rows] * scene.wing(np.zeros(1)) < wing) & (rows != star)
    found[stars[scene.is_hidden[stars]]] = False
    return found
