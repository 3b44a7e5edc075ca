"""From the curves of a unit to the rows of its tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zsds_tasks.products.tables import load_table, row_schema
from zsds_tasks.sky.heliocentric import heliocentric_mjd
from zsds_tasks.steps.lightcurves.unit import UnitCurves
from zsds_tasks.steps.lightcurves.work import UNITS

SEEDS, EPOCHS, OFFSETS, CURVES = "seeds", "epochs", "photometric_offsets", "lightcurves"
TABLES = (SEEDS, EPOCHS, OFFSETS, CURVES, UNITS)
"""In the order in which they are committed: the last says that a unit is done."""
CARRIED = ("pid", "sourceid", "ra", "dec", "xpos", "ypos", "mag", "chi", "sharp")
Columns = dict[str, Any]


def tables_of(curves: UnitCurves) -> dict[str, pa.Table]:
    """Return the rows of a unit, by table."""
    hmjd = heliocentric_mjd(
        curves.data.detections.mjd[curves.row], curves.seeds.ra[curves.seed], curves.seeds.dec[curves.seed]
    )
    return {
        SEEDS: _table(SEEDS, _seeds(curves)),
        EPOCHS: _table(EPOCHS, _epochs(curves, hmjd)),
        OFFSETS: _table(OFFSETS, _offsets(curves)),
        CURVES: _table(CURVES, _lightcurves(curves, hmjd)),
        UNITS: _table(UNITS, _unit(curves)),
    }


def _table(name: str, columns: Columns) -> pa.Table:
    schema = row_schema(load_table(name))
    arrays = [_array(columns[field.name], field) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def _array(values: Any, field: pa.Field) -> pa.Array:
    if isinstance(values, pa.Array):
        return values
    if isinstance(values, np.ndarray) and field.nullable and values.dtype.kind == "f":
        return pa.array(values, field.type, mask=~np.isfinite(values))
    if isinstance(values, pa.ChunkedArray):
        return values.cast(field.type).combine_chunks()
    return pa.array(values, field.type)


def _key(curves: UnitCurves, count: int) -> Columns:
    field, fid, rcid = curves.data.work.key
    return {"field": np.full(count, field), "fid": np.full(count, fid), "rcid": np.full(count, rcid)}


def _reference(curves: UnitCurves) -> tuple[int, int]:
    reference = curves.data.work.reference
    return (reference["rfid"], reference["version"]) if reference else (0, 0)


def _seeds(curves: UnitCurves) -> Columns:
    seeds, (rfid, version) = curves.seeds, _reference(curves)
    count = len(seeds)
    return _key(curves, count) | {
        "objectid": seeds.objectid,
        "ra": seeds.ra,
        "dec": seeds.dec,
        "mjd0": seeds.mjd0,
        "pmra": seeds.pmra,
        "pmdec": seeds.pmdec,
        "sigpos": seeds.sigma,
        "origin": seeds.origin,
        "refmag": curves.refmag,
        "rfid": np.full(count, rfid),
        "rfversion": np.full(count, version),
    }


def _epochs(curves: UnitCurves, hmjd: NDArray[np.float64]) -> Columns:
    rows, detections, seed = pa.array(curves.row), curves.data.detections, curves.seed
    sources = curves.data.sources.select(list(CARRIED)).take(rows)
    clrcoeff = np.array([image["clrcoeff"] or 0.0 for image in curves.data.work.images])
    return (
        _key(curves, len(seed))
        | {name: sources.column(name) for name in CARRIED}
        | {
            "objectid": curves.seeds.objectid[seed],
            "objra": curves.seeds.ra[seed],
            "objdec": curves.seeds.dec[seed],
            "separation": curves.separation,
            "in_doubt": curves.in_doubt,
            "mjd": detections.mjd[curves.row],
            "hmjd": hmjd,
            "magerr": curves.data.sources.column("sigmag").take(rows),
            "clrcoeff": clrcoeff[curves.image],
            "catflags": curves.flags,
        }
    )


def _offsets(curves: UnitCurves) -> Columns:
    images, offsets = curves.data.work.images, curves.offsets
    return _key(curves, len(images)) | {
        "pid": [image["pid"] for image in images],
        "offset_mag": offsets.offset,
        "offset_error": offsets.error,
        "degree": offsets.order,
        "terms": offsets.terms.tolist(),
        "stars": offsets.n_stars,
        "scatter_before": offsets.scatter_before,
        "scatter_after": offsets.scatter_after,
        "flags": offsets.flags,
    }


def _lightcurves(curves: UnitCurves, hmjd: NDArray[np.float64]) -> Columns:
    """Gather the epochs of each star, in order of time (of equal times by product and source)."""
    detections = curves.data.detections
    order = np.lexsort((detections.row[curves.row], detections.pid[curves.row], hmjd, curves.seed))
    stars, starts = np.unique(curves.seed[order], return_index=True)
    offsets = pa.array(np.append(starts, len(order)), pa.int32())
    clrcoeff = np.array([image["clrcoeff"] or 0.0 for image in curves.data.work.images])
    nested = row_schema(load_table(CURVES)).field("lightcurve").type
    values = {
        "hmjd": hmjd,
        "mag": curves.mag,
        "magerr": curves.magerr,
        "clrcoeff": clrcoeff[curves.image],
        "catflags": curves.flags,
    }
    lists = [
        pa.ListArray.from_arrays(offsets, pa.array(values[field.name][order], field.type.value_type))
        for field in nested
    ]
    lists = [made.cast(field.type) for made, field in zip(lists, nested, strict=True)]
    field, fid, rcid = curves.data.work.key
    count = len(stars)
    return {
        "objectid": curves.seeds.objectid[stars],
        "filterid": np.full(count, fid),
        "fieldid": np.full(count, field),
        "rcid": np.full(count, rcid),
        "objra": curves.seeds.ra[stars],
        "objdec": curves.seeds.dec[stars],
        "nepochs": np.diff(np.append(starts, len(order))),
        "lightcurve": pa.StructArray.from_arrays(lists, fields=list(nested)),
    }


def _unit(curves: UnitCurves) -> Columns:
    work, (rfid, version) = curves.data.work, _reference(curves)
    return _key(curves, 1) | {
        "rfid": [rfid],
        "rfversion": [version],
        "images": [len(work.images)],
        "stars": [len(curves.seeds)],
        "founded": [int(np.sum(curves.seeds.origin))],
        "epochs": [len(curves.row)],
        "night": [max(image["night"] for image in work.images)],
        "state": [work.state],
    }
