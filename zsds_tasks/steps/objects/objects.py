"""The objects of one pixel, from seeds and light curves to rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.products.tables import load_table, row_schema
from zsds_tasks.settings import Settings
from zsds_tasks.steps.objects import neighbours
from zsds_tasks.steps.objects.bands import Epochs, band_statistics, epochs_of, periods_of
from zsds_tasks.steps.objects.columns import table_of
from zsds_tasks.steps.objects.configuration import ObjectsConfig, PixelsConfig
from zsds_tasks.steps.objects.curves import angles_of, vectors_at
from zsds_tasks.steps.objects.pixels import centre_of, name_of, radius_of
from zsds_tasks.steps.objects.stars import Stars, gather_stars
from zsds_tasks.steps.objects.work import PIXELS, PixelWork
from zsds_tasks.survey.camera import load_camera
from zsds_tasks.survey.survey import load_survey

OBJECTS, MEMBERS = "objects", "members"
BAND_COLUMNS = {
    "nobs": "nobs", "ngoodobs": "ngoodobs", "meanmag": "weightedmeanmag", "medianmag": "medianmag",
    "magrms": "magrms", "minmag": "minmag", "maxmag": "maxmag", "chisq": "chisq", "stetsonj": "stetsonj",
    "stetsonk": "stetsonk", "vonneumannratio": "vonneumannratio",
}  # fmt: skip
"""Column of an object's band -> statistic."""
ALIAS_COLUMNS = ("alias_periods", "alias_scores")
PERIOD_COLUMNS = {
    "period": "period", "period_error": "period_error", "period_shape": "shape",
    "period_harmonics": "harmonics", "period_amplitude": "amplitude", "period_score": "score",
    "second_period": "second_period", "second_score": "second_score", "log_false_alarm": "log_false_alarm",
    "is_suspect": "is_suspect", "period_epochs": "nepochs",
}  # fmt: skip
SIGMA_FLOOR_ARCSEC = 1e-4  # of a position, so that one of error zero has a finite weight
LOWEST, HIGHEST = 0, -1  # of the percentiles: 5 and 95 per cent
Columns = dict[str, Any]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def make_objects(
    lakehouse: Lakehouse, settings: Settings, work: PixelWork, config: ObjectsConfig
) -> dict[str, pa.Table]:
    """Make the objects of a pixel.

    Parameters
    ----------
    lakehouse : Lakehouse
    settings : Settings
        Where the catalogues are.
    work : PixelWork
    config : ObjectsConfig

    Returns
    -------
    dict of pyarrow.Table
        Rows of objects and of object_pixels: a function of what the work's state is made of, and of nothing
        else.
    """
    stars = gather_stars(lakehouse, work, config.pixels)
    epochs = epochs_of(stars)
    columns = _places(stars) | {"pixel": np.full(len(stars), name_of(work.pixel))}
    columns |= _bands(stars, epochs, settings, config)
    columns |= _neighbours(stars, columns, settings, work, config.pixels)
    columns |= _variability(stars, epochs, columns["sgscore"] < config.pixels.extended_below, config)
    columns[MEMBERS] = _members(stars, epochs)
    objects = table_of(OBJECTS, columns)
    return {OBJECTS: objects, PIXELS: table_of(PIXELS, _pixel(work, stars, objects))}


def _places(stars: Stars) -> Columns:
    """Return the mean places of objects, weighted by 1/sigma^2, each at the mean epoch of its members."""
    rows, n = stars.members, len(stars)
    obj, seeds = stars.object_of[rows], stars.grouped.seeds.take(rows)
    weight = np.maximum(seeds.sigma, SIGMA_FLOOR_ARCSEC) ** -2.0
    total = np.bincount(obj, weight, n)
    mjd0 = np.bincount(obj, weight * seeds.mjd0, n) / total
    moved = vectors_at(seeds.ra, seeds.dec, seeds.pmra, seeds.pmdec, seeds.mjd0 - mjd0[obj])
    mean: Floats = np.stack([1.0 * np.bincount(obj, weight * moved[:, axis], n) for axis in range(3)], axis=1)
    ra, dec = angles_of(mean)
    moves = weight * ((seeds.pmra != 0) | (seeds.pmdec != 0))
    of_movers = np.maximum(np.bincount(obj, moves, n), np.finfo(np.float64).tiny)
    motion = {
        name: np.bincount(obj, moves * getattr(seeds, name), n) / of_movers for name in ("pmra", "pmdec")
    }
    return {
        "objectid": stars.objectid,
        "ra": ra,
        "dec": dec,
        "mjd0": mjd0,
        **motion,
        "sigpos": total**-0.5,
        "nmembers": np.bincount(obj, minlength=n),
    }


def _bands(stars: Stars, epochs: Epochs, settings: Settings, config: ObjectsConfig) -> Columns:
    names, columns = set(load_table(OBJECTS).names), Columns()
    survey = load_survey(load_camera(settings.camera, settings.include).survey, settings.include)
    for band in survey.filters:
        if f"{band.name}_nobs" not in names:
            continue  # a filter the table has no columns for: its epochs count in the totals
        found = band_statistics(epochs, len(stars), band.fid, config.curves.statistics)
        columns |= {f"{band.name}_{name}": getattr(found, of) for name, of in BAND_COLUMNS.items()}
        columns[f"{band.name}_amplitude"] = found.percentiles[:, HIGHEST] - found.percentiles[:, LOWEST]
    good = epochs.curves.is_good
    counts = {"nobs": epochs.object_of, "ngoodobs": epochs.object_of[good]}
    return columns | {name: np.bincount(rows, minlength=len(stars)) for name, rows in counts.items()}


def _variability(
    stars: Stars, epochs: Epochs, is_extended: NDArray[np.bool_], config: ObjectsConfig
) -> Columns:
    """Return how much objects vary, as their most telling light curve has it, and periods of candidates."""
    obj, n = stars.object_of[stars.curve_seed], len(stars)
    score = np.full(n, -np.inf)
    np.maximum.at(score, obj, np.where(np.isfinite(stars.score), stars.score, -np.inf))
    is_candidate = np.zeros(n, bool)
    is_candidate[obj[stars.is_candidate]] = True
    is_candidate &= ~is_extended
    chosen = np.flatnonzero(is_candidate)
    found = periods_of(epochs, chosen, config)
    columns: Columns = {"variability": score, "is_candidate": is_candidate}
    for name, of in PERIOD_COLUMNS.items():
        values = getattr(found, of)
        columns[name] = np.full(n, np.nan if values.dtype.kind == "f" else 0, values.dtype)
        columns[name][chosen] = values
    for name in ALIAS_COLUMNS:
        columns[name] = _lists(getattr(found, name), found.period, chosen, n)
    return columns


def _lists(values: Floats, period: Floats, chosen: Integers, n: int) -> list[list[float] | None]:
    """Return rows (c, k) of the chosen of n objects without what is not finite; None where no period is."""
    lists: list[list[float] | None] = [None] * n
    for place, row, known in zip(chosen.tolist(), values, np.isfinite(period), strict=True):
        if known:
            lists[place] = row[np.isfinite(row)].tolist()
    return lists


def _neighbours(
    stars: Stars, columns: Columns, settings: Settings, work: PixelWork, config: PixelsConfig
) -> Columns:
    reach = config.neighbours
    n = len(stars)
    places = np.zeros((n, 3)) if not n else _directions(columns["ra"], columns["dec"])
    far = (
        3600.0 * radius_of(work.pixel)
        + config.reach_arcsec
        + max((u.drift_arcsec for u in work.units), default=0)
    )
    cone = (*centre_of(work.pixel), far)
    when = float(columns["mjd0"].mean()) if n else config.grouping.epoch_mjd
    found: Columns = dict(neighbours.astrometric(settings, places, when, cone, reach.astrometric_arcsec))
    found |= neighbours.photometric(settings, places, cone, reach.photometric_arcsec)
    for name in ("gaia_id", "ps1_id"):
        found[name] = pa.array(found[name], pa.int64(), mask=found[name] == 0)
    found["alert_name"] = neighbours.alerted(places, work.alerts, reach.alert_arcsec)
    leaders = stars.grouped.vectors[np.searchsorted(stars.grouped.seeds.objectid, stars.objectid)]
    found["neighbour_distance"] = neighbours.other_stars(
        leaders, stars.grouped.vectors, stars.object_of, reach.star_arcsec
    )
    return found


def _directions(ra: Floats, dec: Floats) -> Floats:
    still = np.zeros(len(ra))
    return vectors_at(ra, dec, still, still, still)


def _members(stars: Stars, epochs: Epochs) -> pa.Array:
    """Return the nested column of members, by filter, field and channel."""
    rows, (seeds, keys) = stars.members, (stars.grouped.seeds, stars.grouped.keys)
    field, fid, rcid = keys[rows].T
    rows = rows[np.lexsort((seeds.objectid[rows], rcid, field, fid, stars.object_of[rows]))]
    nepochs = np.zeros(len(seeds), np.int64)
    nepochs[stars.curve_seed] = np.diff(epochs.of_curves)
    values = {
        "objectid": seeds.objectid,
        "filterid": keys[:, 1],
        "fieldid": keys[:, 0],
        "rcid": keys[:, 2],
        "separation": stars.grouped.groups.separation,
        "nepochs": nepochs,
    }
    nested = row_schema(load_table(OBJECTS)).field(MEMBERS).type
    offsets = pa.array(np.searchsorted(stars.object_of[rows], np.arange(len(stars) + 1)), pa.int32())
    parts = [
        pa.ListArray.from_arrays(offsets, pa.array(values[field.name][rows], field.type.value_type)).cast(
            field.type
        )
        for field in nested
    ]
    return pa.StructArray.from_arrays(parts, fields=list(nested))


def _pixel(work: PixelWork, stars: Stars, objects: pa.Table) -> Columns:
    ra, dec = centre_of(work.pixel)
    return {
        "pixel": [name_of(work.pixel)],
        "healpix_order": [work.pixel.order],
        "ra": [ra],
        "dec": [dec],
        "units": [len(work.units)],
        "objects": [len(stars)],
        "curves": [stars.curves.num_rows],
        "candidates": [int(np.sum(objects["is_candidate"].to_numpy()))],
        "periods": [objects.num_rows - objects["period"].null_count],
        "night": [max(unit.night for unit in work.units)],
        "state": [work.state],
    }
