"""Relative photometry of a unit: corrections of its images by the stars that do not vary.

    m_ij = M_i + z_j + sum_k c_jk P_k(u_ij, v_ij) + noise

for star i on image j. Alternating least squares: each image is fitted to the stars, each star to the images,
until nothing moves (the idea of ensemble photometry: Honeycutt 1992, PASP 104, 435). Stars are observed on
nearly all images of a unit, so a few sweeps are enough. Weights are Tukey's bisquare over the variance, which
is the formal one, plus what the star scatters beyond it, times what the image scatters beyond both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zsds_tasks.science.relative.config import RelativeConfig
from zsds_tasks.science.relative.ensemble import (
    MAD_ERROR,
    SIGMA_PER_MAD,
    Ensemble,
    choose_stable,
    first_guess,
    gather_ensemble,
    star_scatter,
)
from zsds_tasks.science.relative.epochs import Bools, Floats, UnitEpochs
from zsds_tasks.science.relative.kernels import (
    MEAN_SQUARES,
    TERMS,
    Small,
    corrected,
    segment_medians,
    sweep,
)
from zsds_tasks.science.relative.offsets import (
    EnsembleStars,
    ImageFlag,
    ImageOffsets,
    RelativeSolution,
)

RATIO_SIGMA = 3.0  # errors of a scatter by which it must be over its limit
CHOICES = 2  # sweeps in which degrees are chosen, per round: stars must follow


@dataclass
class _State:
    """What the sweeps change; see `kernels.sweep`."""

    star_mag: Floats
    star_variance: Floats
    scatter: Floats
    stable: Bools
    inflation: Floats
    order: Small
    coefficients: Floats
    errors: Floats
    sweeps: int = 0
    moved: float = 0.0


def refine_unit(epochs: UnitEpochs, config: RelativeConfig) -> RelativeSolution:
    """Find the corrections of all images of a unit.

    The result is a function of the set of epochs: not of their order, nor of earlier results.

    Parameters
    ----------
    epochs : UnitEpochs
    config : RelativeConfig

    Returns
    -------
    RelativeSolution
        Offsets are added to magnitudes; their mean over good photometric images is zero. Adding a constant to
        the magnitudes of an image changes its own offset, and the zero of all alike.
    """
    ensemble = gather_ensemble(epochs, config.ensemble)
    offset, star_mag, tied = first_guess(ensemble, config)
    floor = np.full(len(star_mag), config.ensemble.floor_mag**2)
    coefficients = np.zeros((ensemble.n_images, TERMS))
    coefficients[:, 0] = offset
    state = _State(
        star_mag=star_mag, star_variance=floor, scatter=np.full(len(star_mag), np.nan),
        stable=np.isfinite(star_mag), inflation=np.ones(ensemble.n_images),
        order=np.where(tied, 0, -1).astype(np.int8), coefficients=coefficients,
        errors=np.full(ensemble.n_images, np.nan),
    )  # fmt: skip
    for _ in range(config.solver.rounds):
        _weigh(ensemble, state, config)
        for _ in range(CHOICES):
            _sweep(ensemble, state, config, choose=True)
    while state.sweeps < config.solver.sweeps:
        _sweep(ensemble, state, config, choose=False)
        if state.moved < config.solver.tolerance_mag:
            break
    return _solution(epochs, ensemble, state, config)


def _sweep(ensemble: Ensemble, state: _State, config: RelativeConfig, *, choose: bool) -> None:
    images = config.images
    settings = np.array([
        config.solver.outlier_sigma, images.term_sigma_mag**-2, images.evidence, images.stars_per_coefficient,
        images.min_rms_mag, images.max_order,
    ])  # fmt: skip
    state.moved = sweep(
        ensemble.starts, ensemble.star, ensemble.mag, ensemble.variance, ensemble.u, ensemble.v,
        state.star_mag, state.star_variance, state.stable, ensemble.telling, state.inflation, state.order,
        state.coefficients, state.errors, settings, choose,
    )  # fmt: skip
    state.sweeps += 1


def _residuals(ensemble: Ensemble, state: _State) -> Floats:
    mag = corrected(
        ensemble.image, ensemble.mag, ensemble.u, ensemble.v, state.coefficients, state.order
    )  # fmt: skip
    return np.where(state.order[ensemble.image] >= 0, mag - state.star_mag[ensemble.star], 0.0)


def _weigh(ensemble: Ensemble, state: _State, config: RelativeConfig) -> None:
    """Find what stars and images scatter beyond their errors, and which stars are stable."""
    residuals = _residuals(ensemble, state)
    residuals[~np.isfinite(residuals)] = 0.0  # stars that no tied image holds
    state.scatter = star_scatter(ensemble, residuals, state.inflation)
    beyond = np.maximum(state.scatter**2 - ensemble.mean_variance, config.ensemble.floor_mag**2)
    state.star_variance = np.where(np.isfinite(beyond), beyond, config.ensemble.floor_mag**2)
    counts = ensemble.counts
    state.stable = choose_stable(state.star_mag, state.scatter, counts, config.ensemble)
    if np.count_nonzero(state.stable) < config.images.min_stars:
        # Two images or so: nothing is known about stars, and all must do.
        state.stable = np.isfinite(state.star_mag)
    ratio = _image_scatter(ensemble, state, residuals / _sigma(ensemble, state))
    state.inflation = np.maximum(np.where(np.isfinite(ratio), ratio, 1.0), 1.0) ** 2


def _sigma(ensemble: Ensemble, state: _State) -> Floats:
    return np.asarray(np.sqrt(ensemble.variance + state.star_variance[ensemble.star]), np.float64)


def _image_scatter(ensemble: Ensemble, state: _State, values: Floats) -> Floats:
    """Return (n_images) 1.4826 median |value| of the stable stars; NaN without one."""
    keep = state.stable[ensemble.star] & np.isfinite(values)
    starts = np.concatenate([[0], np.cumsum(keep)])[ensemble.starts]
    return SIGMA_PER_MAD * segment_medians(np.abs(values[keep]), starts)


def _solution(
    epochs: UnitEpochs, ensemble: Ensemble, state: _State, config: RelativeConfig
) -> RelativeSolution:
    residuals = _residuals(ensemble, state)
    keep = state.stable[ensemble.star]
    n_stars = np.bincount(ensemble.image[keep], minlength=ensemble.n_images)
    # A tied image of few stable stars (its others vary) has no correction either.
    least = config.images.min_stars
    few = np.where(state.order >= 0, n_stars, np.diff(ensemble.starts)) < least
    state.order[few] = -1
    solved = state.order >= 0
    ratio = _image_scatter(ensemble, state, residuals / _sigma(ensemble, state))
    scatter = _image_scatter(ensemble, state, residuals)
    ratio -= RATIO_SIGMA * MAD_ERROR / np.sqrt(np.maximum(n_stars, 1))
    flags = _judge(ensemble, state, few, ratio, config)
    z = np.where(solved, state.coefficients[:, 0], 0.0)
    zero = _gauge(z, solved, flags, config)
    star_mag = state.star_mag + zero
    images = ImageOffsets(
        offset=np.where(solved, zero - z, 0.0),
        terms=np.where(solved[:, None], -state.coefficients[:, 1:], 0.0),
        order=np.maximum(state.order, 0), error=np.where(solved, state.errors, np.nan),
        n_stars=n_stars.astype(np.int32),
        scatter_before=_image_scatter(ensemble, state, ensemble.mag - star_mag[ensemble.star]),
        scatter_after=np.where(solved, scatter, np.nan), flags=flags,
    )  # fmt: skip
    seeds = ensemble.seeds
    mag, spread = np.full(epochs.n_seeds, np.nan), np.full(epochs.n_seeds, np.nan)
    stable = np.zeros(epochs.n_seeds, np.bool_)
    mag[seeds], spread[seeds] = star_mag, star_scatter(ensemble, residuals, np.ones(ensemble.n_images))
    stable[seeds] = state.stable
    return RelativeSolution(images, EnsembleStars(mag, spread, stable), state.sweeps, state.moved)


def _judge(
    ensemble: Ensemble, state: _State, few: Bools, ratio: Floats, config: RelativeConfig
) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    """Return all flags but NOT_PHOTOMETRIC."""
    rms = np.sqrt(np.square(state.coefficients[:, 1:]) @ np.array(MEAN_SQUARES[1:]))
    marks = (
        (ImageFlag.TOO_FEW_STARS, few),
        (ImageFlag.UNCONNECTED, (state.order < 0) & ~few),
        (ImageFlag.SCATTER, (state.order >= 0) & (ratio > config.images.max_scatter_ratio)),
        (ImageFlag.CLOUD, (state.order > 0) & (rms > config.images.cloud_rms_mag)),
        (ImageFlag.EXCLUDED, ~ensemble.telling),
    )
    flags = np.zeros(ensemble.n_images, np.int16)
    for flag, where in marks:
        flags[where] |= int(flag)
    return flags


def _gauge(
    z: Floats, solved: Bools, flags: np.ndarray[tuple[int], np.dtype[np.int16]], config: RelativeConfig
) -> float:
    """Mark images that are not photometric, and return the mean of the others that are good."""
    good = solved & ((flags & int(ImageFlag.bad() | ImageFlag.CLOUD)) == 0)
    if not good.any():
        good = solved
    if not good.any():
        return 0.0
    middle = float(np.median(z[good]))
    spread = SIGMA_PER_MAD * float(np.median(np.abs(z[good] - middle)))
    limit = max(config.images.photometric_sigma * spread, config.images.photometric_mag)
    off = np.abs(z - middle) > limit
    flags[(off | ~good) & solved] |= int(ImageFlag.NOT_PHOTOMETRIC)
    return float(np.mean(z[good & ~off]))
