"""What a unit is made of, read from the tables: stars of its reference, sources of its images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.science.matching.rows import REFERENCE, Detections, Seeds, Unit
from zsds_tasks.settings import Settings
from zsds_tasks.sky.tangent import deproject
from zsds_tasks.steps.exposure import catalogs
from zsds_tasks.steps.lightcurves.configuration import LightCurvesConfig
from zsds_tasks.steps.lightcurves.motions import motions_of
from zsds_tasks.steps.lightcurves.work import UnitWork
from zsds_tasks.steps.references.rows import SOURCES as REFERENCE_SOURCES
from zsds_tasks.survey.camera import Camera, load_camera
from zsds_tasks.survey.fields import load_fields
from zsds_tasks.survey.identifiers import ObjectId
from zsds_tasks.survey.nights import JD_OF_MJD_ZERO

Floats = NDArray[np.float64]
SOURCES = "sources"
OF_SOURCES = (
    "pid", "sourceid", "xpos", "ypos", "ra", "dec", "sigpos", "mag", "sigmag", "snr", "chi", "sharp", "flags",
)  # fmt: skip
OF_REFERENCE = ("sourceid", "ra", "dec", "sigpos", "mag", "snr")
SECONDS_PER_DAY = 86_400.0


@dataclass(frozen=True)
class UnitData:
    """A unit in memory.

    Parameters
    ----------
    work : UnitWork
    unit : Unit
    shape : tuple of int
        (ny, nx) of its images.
    seeds : Seeds
        Of the reference; none without one.
    refmag : numpy.ndarray, float64
        Magnitudes of those.
    sources : pyarrow.Table
        Of all images, those with a magnitude and a position.
    detections : Detections
        The same rows.
    """

    work: UnitWork
    unit: Unit
    shape: tuple[int, int]
    seeds: Seeds
    refmag: Floats
    sources: pa.Table
    detections: Detections


def gather_unit(
    lakehouse: Lakehouse, settings: Settings, work: UnitWork, config: LightCurvesConfig
) -> UnitData:
    """Read a unit.

    Raises
    ------
    UnusableInputError
        If the field grid has no such field.
    TransientError, ConfigurationError
        If storage or a catalogue is in the way.
    """
    camera = load_camera(settings.camera, settings.include)
    unit = _unit(camera, settings, work)
    which = work.where | {"pid": [row["pid"] for row in work.images]}
    sources = lakehouse.table(SOURCES).read(OF_SOURCES, which)
    known = np.isfinite(_floats(sources, "mag")) & np.isfinite(_floats(sources, "sigpos"))
    sources = sources.filter(pa.array(known & (_floats(sources, "sigmag") > 0)))
    middle = {row["pid"]: _middle(row) for row in work.images}
    detections = Detections(
        pid=sources["pid"].to_numpy(),
        row=sources["sourceid"].to_numpy(),
        mjd=np.array([middle[pid] for pid in sources["pid"].to_pylist()], np.float64),
        ra=_floats(sources, "ra"),
        dec=_floats(sources, "dec"),
        sigma=_floats(sources, "sigpos"),
    )
    seeds, refmag = _seeds(lakehouse, settings, work, unit, camera, config)
    shape = (camera.quadrant.ny, camera.quadrant.nx)
    return UnitData(work, unit, shape, seeds, refmag, sources, detections)


def _unit(camera: Camera, settings: Settings, work: UnitWork) -> Unit:
    """Return the unit with its nominal centre, which no measurement moves."""
    field, fid, rcid = work.key
    quadrant = camera.quadrants[rcid]
    pointing = load_fields(camera.fields, settings.include).by_id.get(field)
    if pointing is None:
        raise UnusableInputError(
            f"grid {camera.fields} has no field {field}, whose place numbers the stars that it founds",
            subject=f"field, filter, channel {work.key}",
            remedy=f"declare it in include/config/survey/fields-{camera.fields}.yaml",
        )
    offsets = (np.array([quadrant.centre_east_arcsec]), np.array([quadrant.centre_north_arcsec]))
    ra, dec = deproject(*offsets, (pointing.ra, pointing.dec))
    return Unit(field, fid, quadrant.ccdid, quadrant.qid, float(ra[0]), float(dec[0]))


def _seeds(
    lakehouse: Lakehouse,
    settings: Settings,
    work: UnitWork,
    unit: Unit,
    camera: Camera,
    config: LightCurvesConfig,
) -> tuple[Seeds, Floats]:
    reference = work.reference
    if reference is None:
        empty = np.zeros(0)
        none = empty.astype(np.int64)
        return Seeds(none, empty, empty, empty, empty, empty, empty, none), empty
    which = {"rfid": reference["rfid"], "version": reference["version"]}
    rows = lakehouse.table(REFERENCE_SOURCES).read(OF_REFERENCE, which)
    rows = rows.filter(pa.array(np.isfinite(_floats(rows, "mag")) & np.isfinite(_floats(rows, "sigpos"))))
    ra, dec = _floats(rows, "ra"), _floats(rows, "dec")
    mjd = (reference["jdstart"] + reference["jdend"]) / 2 - JD_OF_MJD_ZERO
    ny, nx = camera.quadrant.ny, camera.quadrant.nx
    reach = 0.75 * float(np.hypot(ny, nx)) * camera.mosaic.pixel_scale_arcsec / 3600.0
    stars = catalogs.astrometric_stars(settings, (unit.ra, unit.dec), reach)
    pmra, pmdec = motions_of(ra, dec, mjd, stars, config.motion_radius_arcsec)
    number = rows["sourceid"].to_numpy().astype(np.int64)
    first = int(ObjectId(unit.field, unit.fid, unit.ccdid, unit.qid, 0))
    seeds = Seeds(
        objectid=first + number,
        ra=ra,
        dec=dec,
        pmra=pmra,
        pmdec=pmdec,
        mjd0=np.full(len(ra), mjd),
        sigma=_floats(rows, "sigpos"),
        origin=np.full(len(ra), REFERENCE),
    )
    return seeds, _floats(rows, "mag")


def _middle(row: dict[str, float]) -> float:
    return float(row["obsjd"] - JD_OF_MJD_ZERO + row["exptime"] / 2 / SECONDS_PER_DAY)


def _floats(rows: pa.Table, name: str) -> Floats:
    return np.asarray(rows.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)
