"""The stars that may tell about images: their epochs, a first guess, and which of them are stable."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zsds_tasks.science.relative.config import EnsembleConfig, RelativeConfig
from zsds_tasks.science.relative.epochs import (
    Bools,
    Floats,
    Rows,
    UnitEpochs,
    canonical_order,
    counting_sort,
    segment_starts,
)
from zsds_tasks.science.relative.kernels import segment_medians

SIGMA_PER_MAD = 1.4826
MAD_ERROR = 1.17  # relative error of a MAD of n normal values, times root n


@dataclass(frozen=True)
class Ensemble:
    """Epochs of the stars that may tell, in canonical order.

    Parameters
    ----------
    rows : (n) int64
        Rows of the unit's epochs.
    starts : (n_images + 1) int64
        Where each image begins.
    star, image : (n) int64
        Star counted within the ensemble.
    mag, variance, u, v : (n) float64
    by_star : (n) int64
        Order by star, then image.
    star_starts : (n_stars + 1) int64
        Where each star begins in it.
    seeds : (n_stars) int64
        Of the stars.
    mean_variance : (n_stars) float64
        Mean formal variance of each star.
    telling : (n_images) bool
        Images not excluded.
    """

    rows: Rows
    starts: Rows
    star: Rows
    image: Rows
    mag: Floats
    variance: Floats
    u: Floats
    v: Floats
    by_star: Rows
    star_starts: Rows
    seeds: Rows
    mean_variance: Floats
    telling: Bools

    @property
    def n_images(self) -> int:
        """Number of images of the unit."""
        return len(self.starts) - 1

    @property
    def counts(self) -> Rows:
        """Epochs of each star."""
        return np.diff(self.star_starts)


def gather_ensemble(epochs: UnitEpochs, config: EnsembleConfig) -> Ensemble:
    """Take the usable epochs of stars that are bright enough and seen often enough."""
    excluded = np.zeros(epochs.n_images, np.bool_) if epochs.excluded is None else epochs.excluded
    good = np.flatnonzero(epochs.usable(config.unusable_flags))
    seed = np.ascontiguousarray(epochs.seed[good], np.int64)
    image = np.ascontiguousarray(epochs.image[good], np.int64)
    order, _ = canonical_order(seed, image, epochs.n_seeds, epochs.n_images)
    rows, seed, image = good[order], seed[order], image[order]
    error = np.asarray(epochs.magerr[rows], np.float64)
    weight = (~excluded[image]).astype(np.float64)
    n = np.bincount(seed, weight, epochs.n_seeds)
    mean = np.bincount(seed, weight * error, epochs.n_seeds) / np.maximum(n, 1.0)
    least = min(config.min_epochs, max(1, int(np.count_nonzero(~excluded))))
    bright = (n >= least) & (mean <= config.max_error_mag)
    keep = bright[seed]
    rows, seed, image, error = rows[keep], seed[keep], image[keep], error[keep]
    seeds = np.flatnonzero(bright)
    star = (np.cumsum(bright) - 1)[seed].astype(np.int64)
    by_star = counting_sort(star, np.arange(len(star)), len(seeds))
    star_starts = segment_starts(star[by_star], len(seeds))
    variance = error**2
    mean_variance = np.bincount(star, variance, len(seeds)) / np.maximum(np.diff(star_starts), 1)
    u, v = epochs.normalised(rows)
    return Ensemble(
        rows=rows, starts=segment_starts(image, epochs.n_images), star=star, image=image,
        mag=np.asarray(epochs.mag[rows], np.float64), variance=variance, u=u, v=v, by_star=by_star,
        star_starts=star_starts, seeds=seeds, mean_variance=mean_variance, telling=~excluded,
    )  # fmt: skip


def first_guess(ensemble: Ensemble, config: RelativeConfig) -> tuple[Floats, Floats, Bools]:
    """Tie every image by medians to the one with most stars, directly or through others.

    Differences of magnitudes alone are used, so a constant added to an image goes into its own offset,
    however large it is.

    Returns
    -------
    offset : (n_images) float64, mag
        By which the image is too faint.
    star_mag : (n_stars) float64, mag
    tied : (n_images) bool
    """
    offset, tied = np.zeros(ensemble.n_images), np.zeros(ensemble.n_images, np.bool_)
    sizes = np.where(ensemble.telling, np.diff(ensemble.starts), -1)
    if not len(sizes) or sizes.max() < config.images.min_stars:
        return offset, np.full(len(ensemble.seeds), np.nan), tied
    tied[int(np.argmax(sizes))] = True
    while True:
        told = (tied & ensemble.telling)[ensemble.image]
        star_mag = _star_medians(ensemble, ensemble.mag - offset[ensemble.image], told)
        known = np.isfinite(star_mag)[ensemble.star]
        starts = np.concatenate([[0], np.cumsum(known)])[ensemble.starts]
        medians = segment_medians((ensemble.mag - star_mag[ensemble.star])[known], starts)
        fresh = ~tied & (np.diff(starts) >= config.images.min_stars)
        if not fresh.any():
            return offset, star_mag, tied
        offset[fresh] = medians[fresh]
        tied |= fresh


def _star_medians(ensemble: Ensemble, mag: Floats, keep: Bools) -> Floats:
    kept = keep[ensemble.by_star]
    starts = np.concatenate([[0], np.cumsum(kept)])[ensemble.star_starts]
    return segment_medians(mag[ensemble.by_star][kept], starts)


def star_scatter(ensemble: Ensemble, residuals: Floats, inflation: Floats) -> Floats:
    """Return (n_stars) the scatter of each star, on images like the usual one; NaN for two epochs or less.

    Parameters
    ----------
    ensemble : Ensemble
    residuals : (n) float64, mag
        Of its epochs.
    inflation : (n_images) float64
        Factor on the squared errors of an image.
    """
    keep = ensemble.telling[ensemble.image]
    scaled = np.abs(residuals) / np.sqrt(inflation[ensemble.image])
    n = np.bincount(ensemble.star, keep, len(ensemble.seeds))
    few = np.sqrt(n / np.maximum(n - 1.0, 1.0))  # the star's mean follows its own epochs
    return np.where(n > 2, SIGMA_PER_MAD * few * _star_medians(ensemble, scaled, keep), np.nan)


def choose_stable(star_mag: Floats, scatter: Floats, counts: Rows, config: EnsembleConfig) -> Bools:
    """Tell which stars scatter as most stars of their brightness do.

    The expected scatter is the running median over stars as bright, never more than that of fainter stars:
    saturated stars alone scatter more than those below them.

    Returns
    -------
    (n_stars) bool
    """
    stable = np.zeros(len(scatter), np.bool_)
    known = np.flatnonzero(np.isfinite(scatter) & np.isfinite(star_mag))
    if not len(known):
        return stable
    ranked = known[np.argsort(star_mag[known], kind="stable")]
    n_bins = max(1, len(ranked) // config.bin_stars)
    edges = np.linspace(0, len(ranked), n_bins + 1).astype(np.int64)
    medians = segment_medians(np.ascontiguousarray(scatter[ranked]), edges)
    medians = np.minimum.accumulate(medians[::-1])[::-1]
    middles = (edges[1:] + edges[:-1] - 1) / 2
    expected = np.maximum(np.interp(np.arange(len(ranked)), middles, medians), config.floor_mag)
    width = np.hypot(MAD_ERROR / np.sqrt(counts[ranked]), config.locus_width)
    stable[ranked] = scatter[ranked] <= expected * (1.0 + config.stable_sigma * width)
    return stable
