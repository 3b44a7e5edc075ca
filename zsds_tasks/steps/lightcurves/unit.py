"""One unit from its detections to its light curves, in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.products.infobits import InfoBit
from zsds_tasks.science.matching.crowding import doubtful
from zsds_tasks.science.matching.found import found, founded_seeds
from zsds_tasks.science.matching.match import match
from zsds_tasks.science.matching.rows import Seeds
from zsds_tasks.science.relative.epochs import UnitEpochs
from zsds_tasks.science.relative.error_model import catflags, epoch_errors, fit_error_model
from zsds_tasks.science.relative.offsets import ImageOffsets
from zsds_tasks.science.relative.refine import refine_unit
from zsds_tasks.science.relative.scatter import good_epochs, seed_scatter
from zsds_tasks.steps.lightcurves.configuration import LightCurvesConfig
from zsds_tasks.steps.lightcurves.gather import UnitData

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class UnitCurves:
    """Stars of a unit and their epochs.

    Parameters
    ----------
    data : UnitData
    seeds : Seeds (s)
        Of the reference, then those that detections founded.
    refmag : numpy.ndarray (s), float64
    row : numpy.ndarray (e), int64
        Row of each epoch among the unit's sources.
    seed : numpy.ndarray (e), int64
        Its star.
    separation : numpy.ndarray (e), float64, arcsec
    in_doubt : numpy.ndarray (e), bool
        The detection may be of another star.
    flags : numpy.ndarray (e), int64
        `catflags`.
    image : numpy.ndarray (e), int64
        Row of its image among those of the work.
    offsets : ImageOffsets
        Of the images of the work.
    mag, magerr : numpy.ndarray (e), float64
        Offsets applied; errors of the unit's error model.
    """

    data: UnitData
    seeds: Seeds
    refmag: Floats
    row: Integers
    seed: Integers
    separation: Floats
    in_doubt: NDArray[np.bool_]
    flags: Integers
    image: Integers
    offsets: ImageOffsets
    mag: Floats
    magerr: Floats


def make_curves(data: UnitData, config: LightCurvesConfig) -> UnitCurves:
    """Match the detections of a unit, found stars for what its reference lacks, refine its zero points.

    Parameters
    ----------
    data : UnitData
    config : LightCurvesConfig

    Returns
    -------
    UnitCurves
        A function of the set of images and the reference alone.
    """
    seeds, refmag, row, seed, separation, in_doubt = _matched(data, config)
    pids = np.array([image["pid"] for image in data.work.images], np.int64)
    order = np.argsort(pids)
    image = order[np.searchsorted(pids[order], data.detections.pid[row])]
    bad = np.array([bool(i["infobits"] & InfoBit.BAD_PHOTOMETRY.flag) for i in data.work.images], bool)
    epochs = UnitEpochs(
        seed=seed,
        image=image,
        mag=_column(data, "mag", row),
        magerr=_column(data, "sigmag", row),
        x=_column(data, "xpos", row),
        y=_column(data, "ypos", row),
        flags=_column(data, "flags", row).astype(np.int64),
        n_seeds=len(seeds),
        n_images=len(pids),
        shape=data.shape,
        excluded=bad,
    )
    offsets = refine_unit(epochs, config.relative).images
    mag = offsets.applied(epochs)
    flags = catflags(epochs.flags, (offsets.bad | bad)[image]).astype(np.int64)
    return UnitCurves(
        data, seeds, refmag, row, seed, separation, in_doubt, flags, image, offsets, mag,
        _errors(epochs, mag, offsets, _column(data, "chi", row), config),
    )  # fmt: skip


def _matched(
    data: UnitData, config: LightCurvesConfig
) -> tuple[Seeds, Floats, Integers, Integers, Floats, NDArray[np.bool_]]:
    """Return stars, their magnitudes, and of each epoch its source, star, separation and doubt."""
    matches = match(data.seeds, data.detections, config.matching)
    in_doubt = doubtful(matches, data.seeds, data.detections, config.matching)
    free = np.flatnonzero((matches.seed < 0) & (_column(data, "snr") >= config.founding_snr))
    unmatched = data.detections.take(free)
    founding = found(unmatched, config.matching)
    new, seed_of_free = founded_seeds(unmatched, founding, data.unit, config.matching)
    names = Seeds.__dataclass_fields__
    seeds = Seeds(**{name: np.append(getattr(data.seeds, name), getattr(new, name)) for name in names})
    first = free[founding.founders]
    of_founders = np.full(len(new), np.nan)
    of_founders[seed_of_free[founding.founders]] = _column(data, "mag", first)
    seed = matches.seed.copy()
    separation = matches.separation.copy()
    seed[free] = seed_of_free + len(data.seeds)
    separation[free] = founding.separation
    row = np.flatnonzero(seed >= 0)
    return seeds, np.append(data.refmag, of_founders), row, seed[row], separation[row], in_doubt[row]


def _errors(
    epochs: UnitEpochs, mag: Floats, offsets: ImageOffsets, chi: Floats, config: LightCurvesConfig
) -> Floats:
    """Return the errors of epochs by the error model or their own; formal ones where there is no model."""
    use = good_epochs(epochs, offsets, config.relative.ensemble.unusable_flags)
    fitted = fit_error_model(seed_scatter(epochs, mag, use), config.errors)
    if fitted is None:
        return epochs.magerr
    return epoch_errors(fitted[0].sigma(mag), epochs.magerr, chi, config.errors)


def _column(data: UnitData, name: str, rows: Integers | None = None) -> Floats:
    values = np.asarray(data.sources.column(name).to_numpy(), np.float64)
    return values if rows is None else values[rows]
