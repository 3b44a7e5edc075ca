"""What a packet tells of the past of its position (reference sections 7.2 and 7.4).

Everything is found by position, 1.5 arcsec about the candidate, whatever name the objects there bear. From an
earlier exposure come its detections there, or, if there is none and it covered the place, an upper limit.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field
from scipy.spatial import cKDTree

from zsds_tasks.declarations import Declaration
from zsds_tasks.products.packets import PacketSchema, RecordType, Row
from zsds_tasks.science.alerts.rows import rows_of
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
        self._config = config
        self._here = {name: candidates.column(name).to_pylist() for name in ("jd", "nid", "programid")}
        places = _vectors(candidates, "ra", "dec")
        radius = float(2 * np.sin(np.radians(config.radius_arcsec / 3600) / 2))
        previous = schema.record("prv_candidate")
        self._detections = _NearRows(detections, previous, _near(places, detections, radius))
        self._images = _NearRows(
            images.select([name for name in LIMIT_FIELDS if name in images.column_names]),
            previous,
            covering(places, images),
        )
        near = _near(places, forced, radius, nearest_first=True)
        self._forced = _NearRows(forced, schema.record("fp_hist"), near)

    def previous(self, k: int) -> list[Row]:
        """Return detections and upper limits of candidate `k`, the oldest first as in ZTF's packets."""
        jd, visible = self._here["jd"][k], self._visible(k)
        seen = [row for row in self._detections.of(k) if self._is_past(row, jd, visible)]
        exposures = {row["pid"] // EXPOSURES_PER_PID for row in seen}
        for row in sorted(self._images.of(k), key=lambda row: row["pid"]):
            exposure = row["pid"] // EXPOSURES_PER_PID
            if exposure not in exposures and self._is_past(row, jd, visible):
                exposures.add(exposure)
                seen.append(row)
        return sorted(seen, key=lambda row: (row["jd"], row["pid"], row["candid"] or 0))

    def forced(self, k: int) -> list[Row]:
        """Return forced photometry of candidate `k` up to the night before: one per night and filter.

        The newest first; of several in a night and filter the newest, and of several places in one image
        the nearest.
        """
        jd, nid, visible = self._here["jd"][k], self._here["nid"][k], self._visible(k)
        rows = [
            (row, night)
            for row, night in zip(self._forced.of(k), self._forced.nights_of(k), strict=True)
            if night < nid and self._is_past(row, jd, visible)
        ]
        rows.sort(key=lambda pair: (pair[0]["jd"], pair[0]["pid"]), reverse=True)
        newest: dict[tuple[int, int], Row] = {}
        for row, night in rows:
            newest.setdefault((night, row["fid"]), row)
        return list(newest.values())

    def _visible(self, k: int) -> tuple[int, ...]:
        return self._config.visible.get(self._here["programid"][k], ())

    def _is_past(self, row: Row, jd: float, visible: tuple[int, ...]) -> bool:
        return jd - self._config.days <= row["jd"] < jd and row["programid"] in visible


class _NearRows:
    """Rows of a table that lie near candidates, made into dicts once though many packets hold them."""

    def __init__(self, table: pa.Table, record: RecordType, near: list[list[int]]) -> None:
        used = sorted({index for indices in near for index in indices})
        rows = table.take(pa.array(used, pa.int64()))
        self._rows = dict(zip(used, rows_of(rows, record), strict=True))
        nights = rows.column("nid").to_pylist() if "nid" in rows.column_names else used
        self._nights = dict(zip(used, nights, strict=True))
        self._near = near

    def of(self, k: int) -> list[Row]:
        return [self._rows[index] for index in self._near[k]]

    def nights_of(self, k: int) -> list[int]:
        return [self._nights[index] for index in self._near[k]]


def _vectors(table: pa.Table, ra: str, dec: str) -> Floats:
    """Return positions as unit vectors (n, 3); a missing one as NaN."""
    angles = [table.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False) for name in (ra, dec)]
    return unit_vectors(*angles)


def _near(places: Floats, table: pa.Table, radius: float, *, nearest_first: bool = False) -> list[list[int]]:
    """Return for each place the rows of a table within a chord of it, in their order or by distance."""
    vectors = _vectors(table, "ra", "dec")
    known = np.flatnonzero(np.isfinite(vectors).all(axis=1))
    if not known.size or not len(places):
        return [[] for _ in places]
    found: Iterable[list[int]] = cKDTree(vectors[known]).query_ball_point(places, radius)
    rows = [np.sort(known[indices]) if indices else known[:0] for indices in found]
    if nearest_first:
        distances = (
            np.square(vectors[some] - place).sum(axis=1) for some, place in zip(rows, places, strict=True)
        )
        rows = [some[np.argsort(d, kind="stable")] for some, d in zip(rows, distances, strict=True)]
    return [some.tolist() for some in rows]


def covering(places: Floats, images: pa.Table) -> list[list[int]]:
    """Return for each place (unit vectors, n x 3) the images whose four corners enclose it, in order.

    A place is inside if it lies on the same side of the great circle of every edge.
    """
    place, image = _covered(places, images)
    order = np.lexsort((image, place))
    counts = np.bincount(place, minlength=len(places))
    parts = np.split(image[order], np.cumsum(counts)[:-1]) if len(places) else []
    return [part.tolist() for part in parts]


def count_covering(places: Floats, images: pa.Table) -> NDArray[np.int64]:
    """Return for each place (unit vectors, n x 3) how many images enclose it, (n)."""
    return np.bincount(_covered(places, images)[0], minlength=len(places)).astype(np.int64)


def _covered(places: Floats, images: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
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
    place = np.repeat(np.arange(len(places)), [len(found) for found in near])
    image = np.concatenate([np.asarray(found, np.int64) for found in near])
    inside = np.zeros(len(place), bool)
    for start in range(0, len(place), PAIRS_AT_ONCE):
        chunk = slice(start, start + PAIRS_AT_ONCE)
        side = np.einsum("nkx,nx->nk", edges[image[chunk]], places[place[chunk]])
        inside[chunk] = (side >= 0).all(axis=1) | (side <= 0).all(axis=1)
    return place[inside], known[image[inside]]
