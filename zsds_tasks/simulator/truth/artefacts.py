"""What is planted beside the sky itself: ghosts, halos, trails, cosmic rays, bleeds; as rows of truth."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa

from zsds_tasks.simulator.instrument.detector import BAD_KINDS, DetectorConfig, bad_pixels
from zsds_tasks.simulator.instrument.optics import quadrant_origin
from zsds_tasks.survey.camera import Camera, rcid_of

NOBODY = -1  # object_id of what belongs to no source
Point = tuple[float, float]

ARTEFACT_SCHEMA = pa.schema(
    [
        pa.field("expid", pa.int64(), nullable=False),
        pa.field("rcid", pa.int16(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("object_id", pa.int64(), nullable=False),
        pa.field("x", pa.float64(), nullable=False),
        pa.field("y", pa.float64(), nullable=False),
        pa.field("x_end", pa.float64(), nullable=False),
        pa.field("y_end", pa.float64(), nullable=False),
        pa.field("radius", pa.float64(), nullable=False),
        pa.field("electrons", pa.float64(), nullable=False),
    ]
)
DEFECT_SCHEMA = pa.schema(
    [
        pa.field("rcid", pa.int16(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("x", pa.int32(), nullable=False),
        pa.field("y", pa.int32(), nullable=False),
        pa.field("value", pa.float64(), nullable=False),
    ]
)


@dataclasses.dataclass(frozen=True)
class Artefact:
    """One artefact on one CCD; (column, row) are FITS 1-based on the CCD.

    `radius` is a disc's radius or a trail's half width, pixels; `electrons` what it adds (of a bleed: the
    number of full pixels).
    """

    expid: int
    ccdid: int
    kind: str
    column: float
    row: float
    column_end: float
    row_end: float
    radius: float
    electrons: float
    object_id: int = NOBODY

    @classmethod
    def around(
        cls, camera: Camera, expid: int, ccdid: int, kind: str, centre: Point, radius: float, electrons: float
    ) -> Artefact | None:
        """Return a disc, or None if it does not touch the CCD."""
        column, row = (float(c) for c in centre)
        width, height = 2 * camera.quadrant.nx, 2 * camera.quadrant.ny
        beside = np.hypot(column - np.clip(column, 0.5, width + 0.5), row - np.clip(row, 0.5, height + 0.5))
        if not beside < radius:
            return None
        return cls(expid, ccdid, kind, column, row, column, row, radius, float(electrons))

    @classmethod
    def along(
        cls,
        camera: Camera,
        expid: int,
        ccdid: int,
        kind: str,
        ends: tuple[Point, Point],
        width: float,
        electrons: float,
        object_id: int,
    ) -> list[Artefact]:
        """Return a line cut to the CCD, or nothing if it does not cross it."""
        cut = cut_to_box(ends, (2 * camera.quadrant.nx, 2 * camera.quadrant.ny))
        if cut is None:
            return []
        (x0, y0), (x1, y1) = cut
        return [cls(expid, ccdid, kind, x0, y0, x1, y1, width / 2, electrons, object_id)]

    def of(self, object_id: int) -> Artefact:
        """Return the same, belonging to a source."""
        return dataclasses.replace(self, object_id=object_id)

    def rows(self, camera: Camera) -> list[dict[str, object]]:
        """Return one truth row per readout channel it touches, in that channel's pixels."""
        nx, ny = camera.quadrant.nx, camera.quadrant.ny
        rows = []
        for qid in range(1, 5):
            x0, y0 = quadrant_origin(camera, qid)
            start, end = (self.column - x0, self.row - y0), (self.column_end - x0, self.row_end - y0)
            low_x, high_x = sorted((start[0], end[0]))
            low_y, high_y = sorted((start[1], end[1]))
            r = self.radius
            if high_x + r < 0.5 or low_x - r > nx + 0.5 or high_y + r < 0.5 or low_y - r > ny + 0.5:
                continue
            rows.append(
                {
                    "expid": self.expid,
                    "rcid": rcid_of(self.ccdid, qid),
                    "kind": self.kind,
                    "object_id": self.object_id,
                    "x": start[0],
                    "y": start[1],
                    "x_end": end[0],
                    "y_end": end[1],
                    "radius": r,
                    "electrons": self.electrons,
                }
            )
        return rows


def artefact_table(camera: Camera, artefacts: list[Artefact]) -> pa.Table:
    """Return the truth rows of artefacts."""
    rows = [row for artefact in artefacts for row in artefact.rows(camera)]
    return pa.Table.from_pylist(rows, schema=ARTEFACT_SCHEMA)


def defect_table(camera: Camera, config: DetectorConfig, seed: int) -> pa.Table:
    """Return the defects of every readout channel, FITS 1-based; see `detector.BadPixels`."""
    rows = []
    for ccdid in camera.ccdids:
        bad = bad_pixels(camera, config, seed, ccdid)
        for row, column, kind, value in zip(bad.row, bad.column, bad.kind, bad.value, strict=True):
            for qid in range(1, 5):
                x0, y0 = quadrant_origin(camera, qid)
                x, y = int(column) + 1 - x0, int(row) + 1 - y0
                if 1 <= x <= camera.quadrant.nx and 1 <= y <= camera.quadrant.ny:
                    defect = {"rcid": rcid_of(ccdid, qid), "kind": BAD_KINDS[kind], "x": x, "y": y}
                    rows.append(defect | {"value": float(value)})
    return pa.Table.from_pylist(rows, schema=DEFECT_SCHEMA)


def cut_to_box(ends: tuple[Point, Point], size: Point) -> tuple[Point, Point] | None:
    """Return the part of a segment inside pixels 0.5 to size + 0.5, or None (Liang and Barsky's way)."""
    (x0, y0), (x1, y1) = ((float(x), float(y)) for x, y in ends)
    dx, dy, low, high = x1 - x0, y1 - y0, 0.0, 1.0
    for start, step, limit in ((x0, dx, size[0]), (y0, dy, size[1])):
        if step == 0:
            if not 0.5 <= start <= limit + 0.5:
                return None
            continue
        a, b = sorted(((0.5 - start) / step, (limit + 0.5 - start) / step))
        low, high = max(low, a), min(high, b)
    if low >= high:
        return None
    return (x0 + low * dx, y0 + low * dy), (x0 + high * dx, y0 + high * dy)
