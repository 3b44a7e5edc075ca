"""What was planted, as Parquet tables: `<truth>/<YYYYMMDD>/<table>.parquet`. Only scoring reads them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from zsds_tasks.errors import NothingToDoError, TransientError
from zsds_tasks.simulator.instrument.optics import Optics
from zsds_tasks.simulator.products import Exposure, Kind, Scene
from zsds_tasks.survey.camera import Camera
from zsds_tasks.survey.nights import ObservingNight, mjd

Floats = NDArray[np.float64]
DETECTION_LIMIT_MAG = 22.0  # fainter sources shine in the frames but are no longer written down


def _required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


DETECTION_SCHEMA = pa.schema(
    [
        _required("expid", pa.int64()),
        _required("rcid", pa.int16()),
        _required("object_id", pa.int64()),
        _required("kind", pa.string()),
        _required("x", pa.float64()),  # FITS 1-based, on the readout channel
        _required("y", pa.float64()),
        _required("ra", pa.float64()),  # ICRS at mid-exposure, degrees
        _required("dec", pa.float64()),
        _required("mag", pa.float64()),  # calibrated
        _required("electrons", pa.float64()),  # before vignetting: what a perfectly flattened image holds
        _required("flux_dn", pa.float64()),
        _required("rate_east", pa.float32()),  # camera frame, arcsec per second
        _required("rate_north", pa.float32()),
    ]
)

EXPOSURE_FLOATS = (
    "exptime_s",
    "requested_ra",
    "requested_dec",
    "boresight_ra",
    "boresight_dec",
    "rotation_deg",
    "header_ra",
    "header_dec",
    "airmass",
    "hour_angle_deg",
    "azimuth_deg",
    "elevation_deg",
    "moon_altitude_deg",
    "moon_illumination",
    "sun_altitude_deg",
    "seeing_fwhm_arcsec",
    "psf_ellipticity",
    "psf_angle_deg",
    "sky_mag_per_arcsec2",
    "extinction_mag",
    "zero_point",
    "nominal_gain",
    "lamp_dn_per_s",
)
EXPOSURE_SCHEMA = pa.schema(
    [
        _required("expid", pa.int64()),
        _required("nid", pa.int32()),
        _required("obsmjd", pa.float64()),
        _required("imgtypecode", pa.string()),
        _required("is_sky", pa.bool_()),
        _required("is_science", pa.bool_()),
        _required("field", pa.int32()),
        _required("fid", pa.int8()),
        _required("programid", pa.int16()),
        pa.field("led", pa.int16()),
        *(_required(name, pa.float64()) for name in EXPOSURE_FLOATS),
        _required("extinction_gradient_east", pa.float64()),
        _required("extinction_gradient_north", pa.float64()),
    ]
)

QUADRANT_SCHEMA = pa.schema(
    [
        _required("expid", pa.int64()),
        _required("rcid", pa.int16()),
        _required("crpix1", pa.float64()),
        _required("crpix2", pa.float64()),
        _required("crval1", pa.float64()),
        _required("crval2", pa.float64()),
        *(_required(name, pa.float64()) for name in ("cd11", "cd12", "cd21", "cd22")),
        *(_required(f"{axis}{corner}", pa.float64()) for corner in range(1, 5) for axis in ("ra", "dec")),
    ]
)


def detection_table(camera: Camera, optics: Optics, scene: Scene) -> pa.Table:
    """Return one row per source of a scene on a readout channel, to `DETECTION_LIMIT_MAG`."""
    sources = scene.sources.take(scene.sources.mag < DETECTION_LIMIT_MAG)
    places = optics.pixels(scene.exposure, sources.east, sources.north)
    hit = places.rcid >= 0
    sources, rcid = sources.take(hit), places.rcid[hit]
    gains = np.array([quadrant.detector.gain for quadrant in camera.quadrants])
    names = np.array([kind.name.lower() for kind in Kind])
    columns = {
        "expid": np.full(len(sources), scene.exposure.expid),
        "rcid": rcid,
        "object_id": sources.object_id,
        "kind": names[sources.kind],
        "x": places.x[hit],
        "y": places.y[hit],
        "ra": sources.ra,
        "dec": sources.dec,
        "mag": sources.mag,
        "electrons": sources.electrons,
        "flux_dn": sources.electrons / gains[rcid],
        "rate_east": sources.rate_east,
        "rate_north": sources.rate_north,
    }
    return _table(columns, DETECTION_SCHEMA)


def exposure_table(exposures: Sequence[Exposure], science: Iterable[bool]) -> pa.Table:
    """Return what was true of each exposure; `science` says which ones the survey calls science."""
    rows = [
        {
            "expid": e.expid,
            "nid": e.nid,
            "obsmjd": mjd(e.start),
            "imgtypecode": e.imgtypecode,
            "is_sky": e.is_sky,
            "is_science": bool(is_science),
            "field": e.field,
            "fid": e.fid,
            "programid": e.programid,
            "led": e.led,
            **{name: getattr(e, name) for name in EXPOSURE_FLOATS},
            "extinction_gradient_east": e.extinction_gradient[0],
            "extinction_gradient_north": e.extinction_gradient[1],
        }
        for e, is_science in zip(exposures, science, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=EXPOSURE_SCHEMA)


def quadrant_table(camera: Camera, optics: Optics, exposures: Sequence[Exposure]) -> pa.Table:
    """Return the true world coordinates of every readout channel of the on-sky exposures.

    Linear terms at the channel's middle; four corners in the order (1, 1), (nx, 1), (nx, ny), (1, ny).
    """
    nx, ny = camera.quadrant.nx, camera.quadrant.ny
    middle = ((nx + 1) / 2, (ny + 1) / 2)
    x = np.array([middle[0], middle[0] + 1, middle[0], 1, nx, nx, 1])
    y = np.array([middle[1], middle[1], middle[1] + 1, 1, 1, ny, ny])
    rows = []
    for exposure in exposures:
        for rcid in range(camera.n_quadrants) if exposure.is_sky else ():
            ra, dec = optics.pixels_to_sky(exposure, rcid, x, y)
            turn = (ra - ra[0] + 180.0) % 360.0 - 180.0
            cos = np.cos(np.radians(dec[0]))
            row = {"expid": exposure.expid, "rcid": rcid, "crpix1": middle[0], "crpix2": middle[1]}
            row |= {"crval1": ra[0], "crval2": dec[0], "cd11": turn[1] * cos, "cd12": turn[2] * cos}
            row |= {"cd21": dec[1] - dec[0], "cd22": dec[2] - dec[0]}
            row |= {f"ra{k}": ra[2 + k] for k in range(1, 5)} | {f"dec{k}": dec[2 + k] for k in range(1, 5)}
            rows.append(row)
    return pa.Table.from_pylist(rows, schema=QUADRANT_SCHEMA)


def truth_path(truth: Path, night: ObservingNight, table: str) -> Path:
    """``<truth>/<YYYYMMDD>/<table>.parquet``."""
    return truth / str(night) / f"{table}.parquet"


def write_truth(truth: Path, night: ObservingNight, tables: dict[str, pa.Table]) -> None:
    """Write tables of a night; each appears whole or not at all, and replaces its predecessor.

    Raises
    ------
    TransientError
        If the disk refuses.
    """
    for name, table in tables.items():
        path = truth_path(truth, night, name)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, temporary, compression="zstd")
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise TransientError(
                f"cannot write truth: {error.strerror}",
                subject=str(path),
                remedy="free space on its disk or set ZSDS_TRUTH elsewhere",
            ) from error


def read_truth(truth: Path, night: ObservingNight, table: str) -> pa.Table:
    """Read a truth table of a night.

    Raises
    ------
    NothingToDoError
        If the night has no truth: it was not simulated here.
    """
    path = truth_path(truth, night, table)
    if not path.exists():
        raise NothingToDoError(
            "no truth for this night", subject=str(path), remedy="simulate the night: zsds simulate"
        )
    return pq.read_table(path)


def _table(columns: dict[str, NDArray[np.generic]], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_arrays([pa.array(columns[f.name]).cast(f.type) for f in schema], schema=schema)
