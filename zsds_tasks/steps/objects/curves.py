"""The light curves of one unit: their statistics, which of them vary, and which pixels its stars lie in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.science.matching.cells import directions, motions, move
from zsds_tasks.science.variability.candidates import find_candidates
from zsds_tasks.science.variability.curves import LightCurves
from zsds_tasks.science.variability.statistics import measure_statistics
from zsds_tasks.sky import healpix
from zsds_tasks.sky.healpix import Pixel
from zsds_tasks.steps.objects.columns import numbers, table_of
from zsds_tasks.steps.objects.configuration import ObjectsConfig, PixelsConfig
from zsds_tasks.steps.objects.pixels import name_of, touched
from zsds_tasks.steps.objects.work import KEY, MEASURED, CurvesWork

CURVES, SEEDS, STATISTICS = "lightcurves", "seeds", "lightcurve_statistics"
OF_CURVE = ("objectid", "filterid", "fieldid", "rcid")
OF_SEED = ("objectid", "ra", "dec", "mjd0", "pmra", "pmdec", "refmag")
DAYS_PER_YEAR, MAS_PER_ARCSEC = 365.25, 1000.0
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """What came of a unit.

    Parameters
    ----------
    statistics, unit : pyarrow.Table
        Rows of lightcurve_statistics and of measured_units.
    """

    statistics: pa.Table
    unit: pa.Table


def measure_curves(lakehouse: Lakehouse, work: CurvesWork, config: ObjectsConfig) -> Measured:
    """Measure all light curves of a unit.

    Parameters
    ----------
    lakehouse : Lakehouse
    work : CurvesWork
    config : ObjectsConfig

    Returns
    -------
    Measured
        A function of the unit's seeds and light curves alone.
    """
    field, fid, rcid = work.key
    rows = lakehouse.table(CURVES).read(where={"fieldid": field, "filterid": fid, "rcid": rcid})
    seeds = lakehouse.table(SEEDS).read(OF_SEED, dict(zip(KEY, work.key, strict=True)))
    statistics = measure_statistics(LightCurves.of_rows(rows), config.curves.statistics)
    judged = find_candidates(statistics, config.curves.candidates)
    order = np.searchsorted(numbers(seeds, "objectid", np.int64), numbers(rows, "objectid", np.int64))
    table = table_of(
        STATISTICS,
        {name: rows.column(name) for name in OF_CURVE}
        | {"ra": rows.column("objra"), "dec": rows.column("objdec")}
        | {"refmag": numbers(seeds, "refmag")[order]}
        | statistics.columns()
        | judged.columns(),
    )
    pixels, drift = whereabouts(seeds, config.pixels)
    unit = table_of(MEASURED, {
        **dict(zip(KEY, ([value] for value in work.key), strict=True)),
        "curves": [len(statistics)],
        "candidates": [int(judged.is_candidate.sum())],
        "drift_arcsec": [drift],
        "pixels": [pixels],
        "night": [work.night],
        "state": [work.state],
    })  # fmt: skip
    return Measured(table, unit)


def whereabouts(seeds: pa.Table, config: PixelsConfig) -> tuple[list[int], float]:
    """Return the pixels that seeds have a say in, by name, and how far the fastest of them moves, arcsec."""
    if not seeds.num_rows:
        return [], 0.0
    epoch = config.grouping.epoch_mjd
    mjd0, pmra, pmdec = (numbers(seeds, name) for name in ("mjd0", "pmra", "pmdec"))
    ra, dec = places_at(numbers(seeds, "ra"), numbers(seeds, "dec"), pmra, pmdec, mjd0 - epoch)
    _, found = touched(healpix.index_of(ra, dec), config.reach_arcsec, config.healpix_order)
    names = [name_of(Pixel(config.healpix_order, int(number))) for number in np.unique(found)]
    drift = np.hypot(pmra, pmdec) * np.abs(mjd0 - epoch) / DAYS_PER_YEAR / MAS_PER_ARCSEC
    return names, float(drift.max())


def places_at(ra: Floats, dec: Floats, pmra: Floats, pmdec: Floats, lapse: Floats) -> tuple[Floats, Floats]:
    """Return ra and dec (degrees) of stars some days (n) before the epoch of their positions."""
    return angles_of(vectors_at(ra, dec, pmra, pmdec, lapse))


def vectors_at(ra: Floats, dec: Floats, pmra: Floats, pmdec: Floats, lapse: Floats) -> Floats:
    """Return the directions (n, 3) of stars some days (n) before the epoch of their positions."""
    vectors = directions(ra, dec)
    move(vectors.copy(), motions(ra, dec, pmra, pmdec), lapse, 0.0, vectors)
    return vectors


def angles_of(vectors: Floats) -> tuple[Floats, Floats]:
    """Return ra and dec, degrees, of directions (n, 3)."""
    x, y, z = vectors.T
    return np.degrees(np.arctan2(y, x)) % 360.0, np.degrees(np.arctan2(z, np.hypot(x, y)))
