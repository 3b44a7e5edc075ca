"""The objects divided into parts that fit into memory, for their check: some pixels of the sky each.

Members of an object are of many units: what decides it lies in its pixel or near it. A part reads stars,
light curves and objects in its pixels and around them, so that a star that two objects claim is seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zsds_tasks.products.tables import INDEX_COLUMN
from zsds_tasks.sky import healpix
from zsds_tasks.sky.healpix import Integers, Pixel
from zsds_tasks.steps.catalog_parts import KEY, OF_CURVES, Catalogs
from zsds_tasks.steps.objects.pixels import name_of, named

OBJECTS, PIXELS, STATISTICS = "objects", "object_pixels", "lightcurve_statistics"
SEEDS, CURVES, MEMBERS, CLAIMED = "seeds", "lightcurves", "object_members", "claimed_curves"
DUE_PIXELS, DUE_CURVES = "due_pixels", "due_curves"
RIM_ORDERS = 4
"""Cells around a pixel are so many orders finer than it, unless the reach needs wider ones."""


@dataclass(frozen=True)
class PixelPart:
    """Some pixels.

    Parameters
    ----------
    catalogs : Catalogs
    names : tuple of int
        Of the pixels; see object_pixels.
    reach_arcsec : float
        How far from a pixel stars and objects lie that have to do with its own.
    bands : mapping of str to int
        Filters that objects have columns for: name -> number.
    """

    catalogs: Catalogs
    names: tuple[int, ...]
    reach_arcsec: float
    bands: dict[str, int]

    def read(self, name: str, columns: Sequence[str]) -> pa.Table:
        """Return columns of the pixels' rows of a table, or of one made for lookups."""
        if name in {MEMBERS, CLAIMED}:
            made = self._members if name == MEMBERS else self._claimed
            return made.select(list(columns))
        if name in self.catalogs.due:
            return self.catalogs.due[name].select(list(columns))
        if name in {OBJECTS, PIXELS}:
            return self.catalogs.read(name, columns, {"pixel": list(self.names)})
        return self.catalogs.near(name, columns, self._ranges if name == STATISTICS else self._around)

    @cached_property
    def _ranges(self) -> Integers:
        pixels = [named(name) for name in self.names]
        return healpix.merge_ranges(np.array([(p.first, p.end) for p in pixels], np.int64))

    @cached_property
    def _around(self) -> Integers:
        """Ranges of the pixels and of all within reach."""
        widest = healpix.finest_order_wider_than(self.reach_arcsec / 3600.0)
        found = []
        for pixel in map(named, self.names):
            order = min(pixel.order + RIM_ORDERS, widest)
            down = 2 * (order - pixel.order)
            number = np.array([pixel.number], np.int64)
            cells = (number << down) + np.arange(1 << down) if down >= 0 else number >> -down
            cells = np.append(cells, healpix.neighbours(cells, order))
            shift = 2 * (healpix.INDEX_ORDER - order)
            found.append(np.stack([cells << shift, (cells + 1) << shift], axis=1)[cells >= 0])
        return healpix.merge_ranges(np.unique(np.concatenate(found), axis=0))

    @cached_property
    def _claims(self) -> tuple[Integers, Integers]:
        """Stars that objects in and around the pixels claim, ascending, and how many objects do."""
        own = self.catalogs.read(OBJECTS, ["objectid", "members"], {"pixel": list(self.names)})
        near = self.catalogs.near(OBJECTS, ["objectid", "members"], self._around)
        others = near.filter(pc.invert(pc.is_in(near["objectid"], own["objectid"].combine_chunks())))
        lists = pa.chunked_array(own["members"].chunks + others["members"].chunks, own["members"].type)
        return np.unique(_flat(lists, "objectid"), return_counts=True)

    @cached_property
    def _members(self) -> pa.Table:
        """A row for each member of the pixels' objects, with what other tables say of it."""
        rows = self.catalogs.read(OBJECTS, ["objectid", "pixel", "members"], {"pixel": list(self.names)})
        count = pc.list_value_length(_list(rows["members"], "objectid")).to_numpy(zero_copy_only=False)
        count = np.nan_to_num(count).astype(np.int64)
        member, epochs = _flat(rows["members"], "objectid"), _flat(rows["members"], "nepochs")
        owner = np.repeat(rows["objectid"].to_numpy(), count)
        seeds = self.catalogs.near(SEEDS, ["objectid"], self._around)["objectid"].to_numpy()
        curves = self.catalogs.near(CURVES, ["objectid", "filterid", "nepochs"], self._around)
        known = curves["objectid"].to_numpy()
        of_curve = _taken(known, curves["nepochs"].to_numpy(), member)
        fid = _taken(known, curves["filterid"].to_numpy(), member)
        return pa.table(
            {
                "object": owner,
                "pixel": np.repeat(rows["pixel"].to_numpy(), count),
                "epochs": epochs,
                "is_leader": (member == owner).astype(np.int64),
                "is_star": np.isin(member, seeds).astype(np.int64),
                "is_curve": np.isin(member, known).astype(np.int64),
                "claims": _taken(*self._claims, member),
                "amiss": (epochs != of_curve).astype(np.int64),
            }
            | {f"{band}_epochs": of_curve * (fid == number) for band, number in self.bands.items()}
        )

    @cached_property
    def _claimed(self) -> pa.Table:
        """A row for each light curve in the pixels: how many objects claim it, and whether it is due."""
        rows = self.catalogs.near(STATISTICS, [INDEX_COLUMN, "objectid", *OF_CURVES], self._ranges)
        due = set(self.catalogs.due[DUE_PIXELS]["pixel"].to_pylist())
        orders = sorted({named(name).order for name in (*self.names, *due)})
        late = np.zeros(rows.num_rows, bool)
        for order in orders:
            wanted = np.array([named(name).number for name in due if named(name).order == order], np.int64)
            cells = np.append(wanted, healpix.neighbours(wanted, order)) if len(wanted) else wanted
            late |= np.isin(healpix.ancestor(rows[INDEX_COLUMN].to_numpy(), order), cells)
        units = set(zip(*(self.catalogs.due[DUE_CURVES][name].to_pylist() for name in KEY), strict=True))
        of = zip(*(rows[name].to_pylist() for name in OF_CURVES), strict=True)
        late |= np.fromiter((unit in units for unit in of), bool, rows.num_rows) if units else late
        objectid = rows["objectid"].to_numpy()
        claims = _taken(*self._claims, objectid)
        return pa.table({"objectid": objectid, "claims": claims, "due": late.astype(np.int64)})


def parts_of_pixels(
    catalogs: Catalogs, order: int, reach_arcsec: float, bands: dict[str, int], rows_at_once: int
) -> list[PixelPart]:
    """Divide the sky into parts of whole pixels that have objects or light curves, in the order of the sky.

    Parameters
    ----------
    catalogs : Catalogs
    order : int
        Of the pixels in which objects are made.
    reach_arcsec : float
    bands : mapping of str to int
    rows_at_once : int
        No part has more light curves, or objects, but for a pixel that has more by itself.

    Returns
    -------
    list of PixelPart
    """
    rows: Counter[int] = Counter()
    for batch in catalogs.batches(STATISTICS, [INDEX_COLUMN]):
        cells, counts = np.unique(healpix.ancestor(batch[INDEX_COLUMN].to_numpy(), order), return_counts=True)
        for cell, count in zip(cells.tolist(), counts.tolist(), strict=True):
            rows[name_of(Pixel(order, cell))] += count
    for (name,), count in (catalogs.tally(OBJECTS, ["pixel"]) + catalogs.tally(PIXELS, ["pixel"])).items():
        rows[name] = max(rows[name], count)
    parts: list[list[int]] = []
    total = 0
    for name in sorted(rows, key=lambda name: (named(name).first, name)):
        if not parts or total + rows[name] > rows_at_once:
            parts, total = [*parts, []], 0
        parts[-1].append(name)
        total += rows[name]
    return [PixelPart(catalogs, tuple(names), reach_arcsec, bands) for names in parts]


def _list(nested: pa.ChunkedArray, name: str) -> pa.Array:
    column = nested.combine_chunks()
    column = pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column
    return pc.struct_field(column, name)


def _flat(nested: pa.ChunkedArray, name: str) -> Integers:
    if not len(nested):
        return np.zeros(0, np.int64)
    return np.asarray(pc.fill_null(pc.list_flatten(_list(nested, name)), -1).to_numpy(), np.int64)


def _taken(known: Integers, values: Integers, wanted: Integers) -> Integers:
    """Return the values of wanted keys, 0 where a key is not known."""
    if not len(known):
        return np.zeros(len(wanted), np.int64)
    order = np.argsort(known, kind="stable")
    place = np.minimum(np.searchsorted(known[order], wanted), len(known) - 1)
    hit = known[order][place] == wanted
    return np.where(hit, values[order][place], 0).astype(np.int64)
