"""What a packet tells of the past of its position (reference sections 7.2 and 7.4).

Everything is found by position, 1.5 arcsec about the candidate, whatever name the objects there bear. From an
earlier exposure come its detections there, or, if there is none and it covered the place, an upper limit.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field
from scipy.spatial import cKDTree

from zsds_tasks.declarations import Declaration
from zsds_tasks.products.packets import PacketSchema, RecordType
from zsds_tasks.science.alerts.rows import RowStore, StoredRows, require
from zsds_tasks.sky.healpix import unit_vectors

CORNERS: Final = 4
PAIRS_AT_ONCE: Final = 200_000
EXPOSURES_PER_PID: Final = 10_000
"""pid = expid 10^4 + rcid 10^2 + chain (section 1.7)."""
LIMIT_FIELDS: Final = (
    "jd", "fid", "pid", "diffmaglim", "pdiffimfilename", "programpi", "programid", "nid", "rcid", "field",
    "magzpsci", "magzpsciunc", "magzpscirms", "clrcoeff", "clrcounc", "rbversion",
)  # fmt: skip
"""What a row of an upper limit says; everything else in it is null."""

Positive = Annotated[float, Field(gt=0)]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class HistoryConfig(Declaration):
    """How far a packet looks back, and what its readers may see."""

    days: Positive = Field(30.0, description="of detections, upper limits and forced photometry")
    radius_arcsec: Positive = Field(1.5, description="about the candidate")
    visible: dict[int, tuple[int, ...]] = Field(
        {0: (0, 1, 2, 3), 1: (1,), 2: (1, 2), 3: (1, 2, 3)},
        description="programmes whose exposures may appear in a packet of each programme",
    )


class History:
    """The past of the candidates of one exposure.

    Parameters
    ----------
    candidates : pyarrow.Table (n)
        With ra, dec, jd, nid, programid: those that trigger.
    detections : pyarrow.Table
        Earlier candidates near them: the fields of prv_candidate.
    images : pyarrow.Table
        Earlier difference images near them: `LIMIT_FIELDS`, corners ra1, dec1 ... ra4, dec4 in order around.
    forced : pyarrow.Table
        Forced photometry near them: the fields of fp_hist, nid, and the position measured, ra and dec.
    schema : PacketSchema
    config : HistoryConfig
    """

    def __init__(
        self,
        candidates: pa.Table,
        detections: pa.Table,
        images: pa.Table,
        forced: pa.Table,
        schema: PacketSchema,
        config: HistoryConfig,
    ) -> None:
        here = _Here(
            _vectors(candidates, "ra", "dec"),
            _numbers(candidates, "jd", np.nan),
            _numbers(candidates, "nid", 0),
            _numbers(candidates, "programid", -1),
        )
        radius = float(2 * np.sin(np.radians(config.radius_arcsec / 3600) / 2))
        record = schema.record("prv_candidate")
        seen = _Pairs(detections, *_near(here.places, detections, radius))
        said = images.select([name for name in LIMIT_FIELDS if name in images.column_names])
        limits = _Pairs(said, *_covered(here.places, images))
        self._previous = _oldest_first(
            seen.past(here, record, config), limits.past(here, record, config), record
        )
        record = schema.record("fp_hist")
        points = _Pairs(forced, *_near(here.places, forced, radius, nearest_first=True))
        self._forced = _newest_first(points.past(here, record, config), here, record)

    def previous(self, k: int) -> StoredRows:
        """Return detections and upper limits of candidate `k`, the oldest first as in ZTF's packets."""
        return self._previous.of(k)

    def forced(self, k: int) -> StoredRows:
        """Return forced photometry of candidate `k` up to the night before: one per night and filter.

        The newest first; of several in a night and filter the newest, and of several places in one image
        the nearest.
        """
        return self._forced.of(k)


@dataclass(frozen=True)
class _Here:
    """The candidates: unit vectors (n, 3), and (n) each."""

    places: Floats
    jd: Floats
    nid: Integers
    programid: Integers


@dataclass(frozen=True)
class _Pairs:
    """Pairs of a candidate and a row of a table, (m) each."""

    table: pa.Table
    place: Integers
    row: Integers

    def column(self, name: str, missing: float) -> NDArray[Any]:
        """Return a column of the table for each pair (m)."""
        return _numbers(self.table, name, missing)[self.row]

    def take(self, which: NDArray[Any]) -> _Pairs:
        return _Pairs(self.table, self.place[which], self.row[which])

    def past(self, here: _Here, record: RecordType, config: HistoryConfig) -> _Pairs:
        """Return the pairs whose row is neither too old, nor of now, nor closed to the readers."""
        names = set(self.table.column_names)
        if any(name not in names or self.table.column(name).null_count for name in record.required):
            require(self.table.take(np.unique(self.row)), record)
        jd, programid = self.column("jd", np.nan), self.column("programid", -1)
        now, own = here.jd[self.place], here.programid[self.place]
        is_visible = np.zeros(len(own), bool)
        for programme, open_to_it in config.visible.items():
            is_visible |= (own == programme) & np.isin(programid, open_to_it)
        return self.take(is_visible & (now - config.days <= jd) & (jd < now))

    def compact(self) -> _Pairs:
        """Return the same with a table of no other rows."""
        used, row = np.unique(self.row, return_inverse=True)
        return _Pairs(self.table.take(pa.array(used, pa.int64())), self.place, row)


class _Told:
    """Rows of a store by candidate; pairs in the order of the candidates."""

    def __init__(
        self, record: RecordType, tables: Sequence[pa.Table], place: Integers, row: Integers
    ) -> None:
        self._store = RowStore(record, tables)
        ends = np.cumsum(np.bincount(place)).tolist()
        self._bounds = [0, *ends]
        self._rows = row.tolist()

    def of(self, k: int) -> StoredRows:
        # Candidates behind the last that has a past are not counted.
        bounds = self._bounds[k : k + 2]
        return StoredRows(self._store, self._rows[slice(*bounds)] if len(bounds) > 1 else [])


def _oldest_first(seen: _Pairs, limits: _Pairs, record: RecordType) -> _Told:
    """Join detections with one upper limit for each exposure that covered a place and has none there."""
    place = np.concatenate((seen.place, limits.place))
    pid = np.concatenate((seen.column("pid", 0), limits.column("pid", 0)))
    row = np.concatenate((seen.row, limits.row))
    is_limit = np.arange(len(place)) >= len(seen.place)
    order = np.lexsort((row, pid, is_limit, place))
    is_told = ~is_limit
    is_told[order[_firsts(place[order], pid[order] // EXPOSURES_PER_PID)]] = True
    seen, limits = seen.compact(), limits.take(is_told[is_limit]).compact()
    both = [
        np.concatenate((seen.column(name, missing), limits.column(name, missing)))
        for name, missing in (("candid", 0), ("pid", 0), ("jd", np.nan))
    ]
    place = np.concatenate((seen.place, limits.place))
    row = np.concatenate((seen.row, limits.row + seen.table.num_rows))
    order = np.lexsort((*both, place))
    return _Told(record, (seen.table, limits.table), place[order], row[order])


def _newest_first(points: _Pairs, here: _Here, record: RecordType) -> _Told:
    """Choose forced points of earlier nights, one for each place, night and filter."""
    night = points.column("nid", np.iinfo(np.int64).max)
    points = points.take(night < here.nid[points.place])
    # Stable: of one image the nearest stays first.
    points = points.take(np.lexsort((~points.column("pid", 0), -points.column("jd", np.nan), points.place)))
    points = points.take(_firsts(points.place, points.column("nid", 0), points.column("fid", -1))).compact()
    return _Told(record, (points.table,), points.place, points.row)


def _firsts(*keys: Integers) -> Integers:
    """Return where each combination of keys comes first, in order."""
    order = np.lexsort(keys)
    is_new = np.ones(len(order), bool)
    is_new[1:] = np.any([key[order][1:] != key[order][:-1] for key in keys], axis=0)
    return np.sort(order[is_new])


def _numbers(table: pa.Table, name: str, missing: float) -> NDArray[Any]:
    """Return a column as float64 if what stands for a missing value is one, else as int64."""
    type_ = pa.float64() if isinstance(missing, float) else pa.int64()
    if name not in table.column_names:
        return np.full(table.num_rows, missing)
    column = table.column(name).combine_chunks().cast(type_)
    if column.null_count:
        column = column.fill_null(missing)
    numbers: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return numbers


def _vectors(table: pa.Table, ra: str, dec: str) -> Floats:
    """Return positions as unit vectors (n, 3); a missing one as NaN."""
    angles = [table.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False) for name in (ra, dec)]
    return unit_vectors(*angles)


def _near(
    places: Floats, table: pa.Table, radius: float, *, nearest_first: bool = False
) -> tuple[Integers, Integers]:
    """Return pairs of a place and a row within a chord of it: by place, then by row or by distance."""
    vectors = _vectors(table, "ra", "dec")
    known = np.flatnonzero(np.isfinite(vectors).all(axis=1))
    if not known.size or not len(places):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    place, row = _flattened(cKDTree(vectors[known]).query_ball_point(places, radius))
    row = known[row]
    distance = np.square(vectors[row] - places[place]).sum(axis=1) if nearest_first else row
    order = np.lexsort((row, distance, place))
    return place[order], row[order]


def _flattened(found: Sequence[list[int]]) -> tuple[Integers, Integers]:
    """Return lists of neighbours as pairs."""
    counts = [len(neighbours) for neighbours in found]
    rows = np.fromiter(itertools.chain.from_iterable(found), np.int64, sum(counts))
    return np.repeat(np.arange(len(counts)), counts), rows


def covering(places: Floats, images: pa.Table) -> list[list[int]]:
    """Return for each place (unit vectors, n x 3) the images whose four corners enclose it, in order.

    A place is inside if it lies on the same side of the great circle of every edge.
    """
    place, image = _covered(places, images)
    order = np.lexsort((image, place))
    counts = np.bincount(place, minlength=len(places))
    parts = np.split(image[order], np.cumsum(counts)[:-1]) if len(places) else []
    return [part.tolist() for part in parts]


def count_covering(places: Floats, images: pa.Table) -> Integers:
    """Return for each place (unit vectors, n x 3) how many images enclose it, (n)."""
    return np.bincount(_covered(places, images)[0], minlength=len(places)).astype(np.int64)


def _covered(places: Floats, images: pa.Table) -> tuple[Integers, Integers]:
    """Return all pairs of a place and an image whose four corners enclose it, as two arrays."""
    nothing = np.zeros(0, np.int64)
    if not images.num_rows or not len(places):
        return nothing, nothing
    corners = np.stack([_vectors(images, f"ra{i}", f"dec{i}") for i in range(1, CORNERS + 1)], axis=1)
    centres = corners.mean(axis=1)
    reach = np.linalg.norm(corners - centres[:, None], axis=-1).max(axis=1)
    known = np.flatnonzero(np.isfinite(reach))
    if not known.size:
        return nothing, nothing
    corners, centres, reach = corners[known], centres[known], reach[known]
    edges = np.cross(corners, np.roll(corners, -1, axis=1))
    near = cKDTree(centres).query_ball_point(places, float(reach.max()))
    place, image = _flattened(near)
    inside = np.zeros(len(place), bool)
    for start in range(0, len(place), PAIRS_AT_ONCE):
        chunk = slice(start, start + PAIRS_AT_ONCE)
        side = np.einsum("nkx,nx->nk", edges[image[chunk]], places[place[chunk]])
        inside[chunk] = (side >= 0).all(axis=1) | (side <= 0).all(axis=1)
    return place[inside], known[image[inside]]
