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
        self._forced = _NearRows(forced, schema.record("fp_hist"), _near(places, forced, radius))

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

        The newest first; of several in a night and filter the newest.
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


def _near(places: Floats, table: pa.Table, radius: float) -> list[list[int]]:
    """Return for each place the rows of a table within a chord of it, in order."""
    vectors = _vectors(table, "ra", "dec")
    known = np.flatnonzero(np.isfinite(vectors).all(axis=1))
    if not known.size or not len(places):
        return [[] for _ in places]
    found: Iterable[list[int]] = cKDTree(vectors[known]).query_ball_point(places, radius)
    return [sorted(known[indices].tolist()) if indices else [] for indices in found]


def covering(places: Floats, images: pa.Table) -> list[list[int]]:
    """Return for each place (unit vectors, n x 3) the images whose four corners enclose it, in order.

    A place is inside if it lies on the same side of the great circle of every edge.
    """
    inside: list[list[int]] = [[] for _ in places]
    if not images.num_rows or not len(places):
        return inside
    corners = np.stack([_vectors(images, f"ra{i}", f"dec{i}") for i in range(1, CORNERS + 1)], axis=1)
    centres = corners.mean(axis=1)
    reach = np.linalg.norm(corners - centres[:, None], axis=-1).max(axis=1)
    edges = np.cross(corners, np.roll(corners, -1, axis=1))
    tree = cKDTree(places)
    for index in np.flatnonzero(np.isfinite(reach)):
        near = np.asarray(tree.query_ball_point(centres[index], reach[index]), np.int64)
        side = places[near] @ edges[index].T
        for k in near[(side >= 0).all(axis=1) | (side <= 0).all(axis=1)]:
            inside[k].append(int(index))
    return inside
