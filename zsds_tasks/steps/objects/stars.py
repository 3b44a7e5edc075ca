"""The stars of a pixel: seeds of all units grouped into objects, and the light curves of their members."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.lakehouse.near import read_ranges
from zsds_tasks.science.matching.group import Groups, group
from zsds_tasks.science.matching.rows import Seeds
from zsds_tasks.sky import healpix
from zsds_tasks.steps.objects.columns import numbers
from zsds_tasks.steps.objects.configuration import PixelsConfig
from zsds_tasks.steps.objects.curves import CURVES, SEEDS, STATISTICS, angles_of, vectors_at
from zsds_tasks.steps.objects.pixels import cell_ranges, ranges_around
from zsds_tasks.steps.objects.work import KEY, PixelWork

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
OF_SEED = ("objectid", *KEY, "ra", "dec", "pmra", "pmdec", "mjd0", "sigpos", "origin")
JUDGED = ("objectid", "score", "is_candidate")


@dataclass(frozen=True)
class Grouped:
    """Seeds in and near a pixel, grouped.

    Parameters
    ----------
    seeds : Seeds (s)
        In order of objectid.
    keys : numpy.ndarray (s, 3), int64
        field, fid, rcid.
    offset : numpy.ndarray (s), float64, mag
        Added to the magnitudes of their units.
    vectors : numpy.ndarray (s, 3), float64
        Where they stood at the epoch of comparison.
    groups : Groups
    mine : numpy.ndarray (m), int64
        Rows of those whose leader lies in the pixel.
    ranges : numpy.ndarray (R, 2), int64
        Of the spatial index, that hold rows of these in tables laid out by the place of a seed.
    """

    seeds: Seeds
    keys: Integers
    offset: Floats
    vectors: Floats
    groups: Groups
    mine: Integers
    ranges: Integers


@dataclass(frozen=True)
class Stars:
    """The objects of a pixel.

    Parameters
    ----------
    grouped : Grouped
    objectid : numpy.ndarray (n), int64
        Objects led by a seed of the pixel, of which a member has epochs; ascending.
    object_of : numpy.ndarray (s), int64
        Number of the object a seed is a member of; -1 for none of these.
    curves : pyarrow.Table
        Light curves of members, in order of objectid.
    curve_seed : numpy.ndarray (c), int64
        Row of the seed of each.
    score, is_candidate : numpy.ndarray (c)
        How much each varies.
    """

    grouped: Grouped
    objectid: Integers
    object_of: Integers
    curves: pa.Table
    curve_seed: Integers
    score: Floats
    is_candidate: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.objectid)

    @property
    def members(self) -> Integers:
        """Rows of the seeds that are members."""
        return np.flatnonzero(self.object_of >= 0)


def group_seeds(lakehouse: Lakehouse, work: PixelWork, config: PixelsConfig) -> Grouped:
    """Read the seeds of a pixel and its margin, and group them."""
    seeds, keys, offset = _read_seeds(lakehouse, work, config)
    groups = group(seeds, config.grouping)
    lapse = seeds.mjd0 - config.grouping.epoch_mjd
    vectors = vectors_at(seeds.ra, seeds.dec, seeds.pmra, seeds.pmdec, lapse)
    home = healpix.ancestor(healpix.index_of(*angles_of(vectors)), work.pixel.order)
    mine = np.flatnonzero(home[groups.leader] == work.pixel.number)
    ranges = cell_ranges(healpix.index_of(seeds.ra[mine], seeds.dec[mine]))
    return Grouped(seeds, keys, offset, vectors, groups, mine, ranges)


def gather_stars(lakehouse: Lakehouse, work: PixelWork, config: PixelsConfig) -> Stars:
    """Group the seeds of a pixel and read the light curves of its objects."""
    grouped = group_seeds(lakehouse, work, config)
    names = grouped.seeds.objectid
    curves = rows_of(lakehouse, CURVES, grouped, ("objectid", "lightcurve"))
    judged = rows_of(lakehouse, STATISTICS, grouped, JUDGED)
    known = numbers(judged, "objectid", np.int64)
    # A light curve that is not measured yet makes this pixel due again when it is.
    curves = curves.filter(pa.array(np.isin(numbers(curves, "objectid", np.int64), known)))
    ids = numbers(curves, "objectid", np.int64)
    curve_seed = np.searchsorted(names, ids)
    place = np.searchsorted(known, ids)
    objectid = np.unique(grouped.groups.objectid[curve_seed])
    object_of = np.full(len(names), -1, np.int64)
    if len(objectid):
        wanted = grouped.groups.objectid[grouped.mine]
        slot = np.minimum(np.searchsorted(objectid, wanted), len(objectid) - 1)
        object_of[grouped.mine] = np.where(objectid[slot] == wanted, slot, -1)
    return Stars(
        grouped, objectid, object_of, curves, curve_seed,
        numbers(judged, "score")[place], numbers(judged, "is_candidate", np.bool_)[place],
    )  # fmt: skip


def rows_of(lakehouse: Lakehouse, name: str, grouped: Grouped, columns: Sequence[str]) -> pa.Table:
    """Return the rows that a table has of the seeds of a pixel's objects, in order of objectid."""
    rows = read_ranges(lakehouse.table(name), grouped.ranges, columns)
    wanted = grouped.seeds.objectid[grouped.mine]
    return rows.filter(pa.array(np.isin(numbers(rows, "objectid", np.int64), wanted)))


def _read_seeds(
    lakehouse: Lakehouse, work: PixelWork, config: PixelsConfig
) -> tuple[Seeds, Integers, Floats]:
    """Return the seeds of the work's units in and near its pixel, their units and survey offsets."""
    reach = config.reach_arcsec + max((unit.drift_arcsec for unit in work.units), default=0.0)
    rows = read_ranges(lakehouse.table(SEEDS), ranges_around(work.pixel, reach), OF_SEED)
    units = np.array([unit.key for unit in work.units], np.int64).reshape(-1, len(KEY))
    keys = np.stack([numbers(rows, name, np.int64) for name in KEY], axis=1)
    # One row for each pair of a seed's unit and its own: the units of a pixel are few.
    distinct, number = np.unique(keys, axis=0, return_inverse=True)
    known = {tuple(key): k for k, key in enumerate(units.tolist())}
    unit_of = np.array([known.get(tuple(key), -1) for key in distinct.tolist()], np.int64)[number]
    rows, keys, unit_of = rows.filter(pa.array(unit_of >= 0)), keys[unit_of >= 0], unit_of[unit_of >= 0]
    columns = {"objectid": np.int64, "origin": np.int64}
    seeds = Seeds(
        **{
            name: numbers(rows, "sigpos" if name == "sigma" else name, columns.get(name, np.float64))
            for name in Seeds.__dataclass_fields__
        }
    )
    offset = np.array([unit.offset_mag for unit in work.units], np.float64)
    return seeds, keys, offset[unit_of]
