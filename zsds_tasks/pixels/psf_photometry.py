"""PSF photometry of a whole image: all sources at once, and again with those that the first pass reveals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from zsds_tasks.pixels import psf_fit_kernels as kernels
from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.pixels.peaks import Peaks, PeaksConfig, detect_peaks
from zsds_tasks.pixels.psf_clean import believable, distinct, undetermined
from zsds_tasks.pixels.psf_config import PsfPhotometryConfig
from zsds_tasks.pixels.psf_extent import is_extended
from zsds_tasks.pixels.psf_model import PsfModel
from zsds_tasks.pixels.psf_scene import Scene
from zsds_tasks.pixels.psf_sky import remaining_sky

Image = NDArray[np.float32]
Mask = NDArray[np.uint16]
Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
ISOLATING_SWEEPS = 2
GALAXY_FWHM = 1.5


@dataclass(frozen=True)
class PsfSources:
    """Sources as fitted, in order of y, then x.

    Parameters
    ----------
    x, y : numpy.ndarray (N), float64
        0-based, px.
    flux : numpy.ndarray (N), float64
        DN.
    x_error, y_error, flux_error : numpy.ndarray (N), float64
        1 sigma.
    chi : numpy.ndarray (N), float64
        RMS residual over that expected.
    sharp : numpy.ndarray (N), float64
        Variance of the profile beyond the PSF's, square px: 0 for points, above for extended sources.
    n_pixels : numpy.ndarray (N), int32
        Usable pixels in the fit.
    is_hidden : numpy.ndarray (N), bool
        The core is unusable (a saturated star): fitted on its wings.
    """

    x: Floats
    y: Floats
    flux: Floats
    x_error: Floats
    y_error: Floats
    flux_error: Floats
    chi: Floats
    sharp: Floats
    n_pixels: NDArray[np.int32]
    is_hidden: NDArray[np.bool_]

    def __len__(self) -> int:
        """Return how many."""
        return len(self.x)


@dataclass(frozen=True)
class PsfPhotometry:
    """What PSF photometry gives.

    Parameters
    ----------
    sources : PsfSources
    residual : numpy.ndarray (ny, nx), float32
        The image without sources and without `sky`; NaN where unusable.
    sky : Mesh
        Level that was left under the sources, DN per pixel.
    """

    sources: PsfSources
    residual: Image
    sky: Mesh


def measure_sources(
    image: Image,
    mask: Mask,
    bits: int,
    noise: Mesh,
    gain: float,
    model: PsfModel,
    peaks: Peaks,
    peaks_config: PeaksConfig,
    config: PsfPhotometryConfig,
    out: Image | None = None,
) -> PsfPhotometry:
    """Fit a PSF to all sources of an image, and to those that appear once these are subtracted.

    Parameters
    ----------
    image, mask, bits, noise, gain
        See `zsds_tasks.pixels.peaks.detect_peaks`.
    model : PsfModel
    peaks : Peaks
        Where to begin.
    peaks_config : PeaksConfig
        For detection on the residual image.
    config : PsfPhotometryConfig
    out : numpy.ndarray (ny, nx), float32, optional
        Becomes the residual image.

    Returns
    -------
    PsfPhotometry
    """
    scene = Scene(image, mask, bits, noise, gain, model, config, out)
    scene.add(peaks)
    scene.settle(scene.all_groups(), config.first_sweeps, config.rough_sigma)
    sky = _less_sky(scene, 0.0)
    scene.drop(distinct(scene, config.separation_fwhm * model.fwhm))
    scene.add(_revealed(scene, mask, bits, peaks_config), is_revealed=True)
    scene.settle(scene.all_groups(), config.second_sweeps)
    more = _less_sky(scene, config.sky_again_share)
    if more.values.any():  # in a crowded image the first pass left much light under what was then seen as sky
        sky = Mesh(sky.values + more.values, sky.cell, sky.shape)
        scene.settle(scene.all_groups(), config.second_sweeps)
    results = np.empty((len(scene), kernels.RESULT_COLUMNS))
    scene.judge(scene.all_groups(), results)
    kept = believable(scene, results) & distinct(scene, config.separation_fwhm * model.fwhm)
    results = _without(scene, ~kept, results)
    while (lost := undetermined(scene, results)).any():
        results = _without(scene, lost, results)
    return PsfPhotometry(_sources(scene, results), scene.residual, sky)


def _without(scene: Scene, gone: NDArray[np.bool_], results: Floats) -> Floats:
    """Take sources away and fit what was near them again; return the results of those that stay."""
    x, y = scene.x[gone], scene.y[gone]
    scene.drop(~gone)
    results = np.ascontiguousarray(results[~gone])
    touched = scene.groups_near(x, y)
    scene.settle(touched, scene.config.second_sweeps)
    scene.judge(touched, results)
    return results


def _less_sky(scene: Scene, share: float) -> Mesh:
    """Subtract what is left under the sources, where it is above a share of the noise anywhere; return it."""
    cell = scene.config.sky_cell_px
    nothing = Mesh.constant(0.0, scene.noise.shape, cell or 256)
    if cell == 0:
        return nothing
    sky = remaining_sky(scene.residual, scene.noise, cell)
    if np.abs(sky.values).max() <= share * np.median(scene.noise.values):
        return nothing
    sky.add_to(scene.residual, -1.0)
    return sky


def isolated_stamps(
    image: Image,
    mask: Mask,
    bits: int,
    noise: Mesh,
    gain: float,
    peaks: Peaks,
    config: PsfPhotometryConfig,
    out: Image | None = None,
) -> Callable[[PsfModel, NDArray[np.intp]], tuple[Image, Floats, Floats]]:
    """Return a function that cuts stars out of an image without their neighbours, given a first PSF.

    Parameters
    ----------
    image, mask, bits, noise, gain
        See `zsds_tasks.pixels.peaks.detect_peaks`.
    peaks : Peaks
        All that were detected.
    config : PsfPhotometryConfig
    out : numpy.ndarray (ny, nx), float32, optional
        Scratch.

    Returns
    -------
    callable
        Takes a PsfModel and rows of the peaks; returns stamps (N, n, n) around the pixels nearest to the
        places found, and these places x, y (N). What `psf_build.build_psf` takes.
    """

    def isolate(model: PsfModel, rows: NDArray[np.intp]) -> tuple[Image, Floats, Floats]:
        places = np.column_stack([peaks.x, peaks.y])
        reach = model.half * 1.5 + config.fit_fwhm * model.fwhm
        near = np.isfinite(cKDTree(places[rows]).query(places, distance_upper_bound=reach)[0])
        chosen = np.flatnonzero(near)
        scene = Scene(image, mask, bits, noise, gain, model, config, out)
        taken = np.flatnonzero(scene.add(peaks.take(chosen)))
        scene.settle(scene.all_groups(), ISOLATING_SWEEPS)
        wanted = np.searchsorted(chosen, rows)
        own = np.minimum(np.searchsorted(taken, wanted), len(taken) - 1)
        stamps = scene.own_stamps(own)
        stamps[taken[own] != wanted] = np.nan  # swallowed by the patch of a saturated star
        return stamps, scene.x[own].copy(), scene.y[own].copy()

    return isolate


def _revealed(scene: Scene, mask: Mask, bits: int, peaks_config: PeaksConfig) -> Peaks:
    """Return the peaks of the residual image that are no ripples of what was subtracted."""
    fwhm, config = scene.model.fwhm, scene.config
    peaks = detect_peaks(scene.residual, mask, bits, scene.noise, scene.gain, fwhm, peaks_config)
    ny, nx = scene.image.shape
    column = np.clip(np.rint(peaks.x).astype(np.intp), 1, nx - 2)
    row = np.clip(np.rint(peaks.y).astype(np.intp), 1, ny - 2)
    light = np.zeros(len(peaks))
    for i in (-1, 0, 1):
        for j in (-1, 0, 1):
            light += np.nan_to_num(scene.image[row + i, column + j] - scene.residual[row + i, column + j])
    light = np.maximum(light / 9, 0.0)
    sky = scene.noise.at(peaks.x, peaks.y).astype(np.float64)
    expected = np.sqrt(sky**2 + light / scene.gain + (config.model_error * light) ** 2)
    kept = ~peaks.is_hidden & (peaks.significance * sky / expected >= peaks_config.threshold_sigma)
    peaks = peaks.take(kept)
    if len(scene) == 0 or len(peaks) == 0:
        return peaks
    distance, near = cKDTree(np.column_stack([scene.x, scene.y])).query(np.column_stack([peaks.x, peaks.y]))
    kept = distance >= config.separation_fwhm * fwhm
    crowding = len(scene) * np.pi * (GALAXY_FWHM * fwhm) ** 2 / (nx * ny)
    if crowding < config.crowded_neighbours:
        wide = is_extended(scene, near.astype(np.int64), config.fragment_sharp)
        kept &= ~(wide & (distance < GALAXY_FWHM * fwhm))
    return peaks.take(kept)


def _sources(scene: Scene, results: Floats) -> PsfSources:
    order = np.lexsort((scene.x, scene.y))
    errors = results[order]
    x_error, y_error = (
        np.hypot(errors[:, k], scene.config.position_error_px) for k in (kernels.X_ERROR, kernels.Y_ERROR)
    )
    flux_error = np.hypot(errors[:, kernels.FLUX_ERROR], scene.config.flux_error_share * scene.flux[order])
    # Wings alone depend on the PSF far out, which no star measures well: chi tells how badly.
    scale = np.where(scene.is_hidden[order], np.maximum(errors[:, kernels.CHI], 1.0), 1.0)
    return PsfSources(
        x=scene.x[order],
        y=scene.y[order],
        flux=scene.flux[order],
        x_error=x_error * scale,
        y_error=y_error * scale,
        flux_error=flux_error * scale,
        chi=errors[:, kernels.CHI].copy(),
        sharp=errors[:, kernels.SHARP].copy(),
        n_pixels=errors[:, kernels.PIXELS].astype(np.int32),
        is_hidden=scene.is_hidden[order],
    )
