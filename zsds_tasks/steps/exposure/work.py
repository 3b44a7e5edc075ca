"""What is to be done: channels of science exposures that have no row of the present version."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.lakehouse.hats_reader import HatsReader
from zsds_tasks.products.provenance import processing_version
from zsds_tasks.settings import Settings
from zsds_tasks.steps import images
from zsds_tasks.steps.exposure.calibration import CalibrationShelf, ChannelCalibration
from zsds_tasks.steps.exposure.configuration import STAGE, ExposureConfig
from zsds_tasks.steps.raw import ready_exposures
from zsds_tasks.survey.camera import load_camera
from zsds_tasks.survey.identifiers import ExposureId, ProductId

if TYPE_CHECKING:
    from zsds_tasks.steps.difference import ReferenceChoice

IMAGES = images.IMAGES
Row = dict[str, Any]


@dataclass(frozen=True)
class QuadrantWork:
    """What one worker is given: rows and identifiers, no pixels.

    Parameters
    ----------
    exposure, quadrant : dict
        Rows of raw_exposures and raw_quadrants.
    calibration : ChannelCalibration
        Which masters to use, and why.
    version : str
        Processing version.
    reference : ReferenceChoice or None
        What is to be subtracted once the image is calibrated; None for nothing.
    """

    exposure: Row
    quadrant: Row
    calibration: ChannelCalibration
    version: str
    reference: ReferenceChoice | None = None

    @property
    def pid(self) -> int:
        """Product id of the channel of the exposure."""
        return int(ProductId(ExposureId.parse(self.exposure["expid"]), self.quadrant["rcid"]))


@dataclass(frozen=True)
class ExposureWork:
    """The channels of one exposure that are to be processed, in order of rcid."""

    expid: int
    quadrants: tuple[QuadrantWork, ...]


def work_list(
    lakehouse: Lakehouse,
    settings: Settings,
    config: ExposureConfig,
    now: dt.datetime,
    *,
    night: str | None = None,
    expids: Sequence[int] | None = None,
) -> list[ExposureWork]:
    """Return what is to be done, exposures in order of time.

    Parameters
    ----------
    lakehouse : Lakehouse
    settings : Settings
        Camera, reference catalogues, and how long missing CCDs are waited for.
    config : ExposureConfig
    now : datetime.datetime
        UTC.
    night : str, optional
        Only this night, YYYYMMDD.
    expids : sequence of int, optional
        Only these exposures.

    Returns
    -------
    list of ExposureWork
        Exposures with at least one channel whose row is missing, or of another version or raw file.
    """
    grace = dt.timedelta(minutes=settings.grace_minutes)
    ready = set(ready_exposures(lakehouse, now, grace, night=night))
    if expids is not None:
        ready &= set(expids)
    if not ready:
        return []
    where: dict[str, Any] = {"expid": sorted(ready), **({"night": night} if night else {})}
    exposures = {row["expid"]: row for row in lakehouse.table("raw_exposures").read(where=where).to_pylist()}
    columns = ["expid", "rcid", "raw_sha256", "processing_version"]
    done = {tuple(row.values()) for row in lakehouse.table(IMAGES).read(columns, where).to_pylist()}
    versions = _Versions(lakehouse, settings, config)
    todo: dict[int, list[QuadrantWork]] = {}
    for row in lakehouse.table("raw_quadrants").read(where=where).to_pylist():
        exposure = exposures[row["expid"]]
        calibration, version = versions.of(exposure, row)
        if (row["expid"], row["rcid"], row["sha256"], version) not in done:
            work = QuadrantWork(exposure, row, calibration, version)
            todo.setdefault(row["expid"], []).append(work)
    return [ExposureWork(expid, tuple(todo[expid])) for expid in _in_time(todo, exposures)]


def _in_time(todo: dict[int, list[QuadrantWork]], exposures: dict[int, Row]) -> Iterator[int]:
    yield from sorted(todo, key=lambda expid: (exposures[expid]["obsjd"], expid))


class _Versions:
    """Masters and version of each channel and night, asked for once."""

    def __init__(self, lakehouse: Lakehouse, settings: Settings, config: ExposureConfig) -> None:
        self.lakehouse, self.settings, self.config = lakehouse, settings, config
        self.camera = load_camera(settings.camera, settings.include)
        self.shelves: dict[str, CalibrationShelf] = {}
        self.known: dict[tuple[str, int, int, float], tuple[ChannelCalibration, str]] = {}
        self.fixed = [self.camera.model_dump_json(), *catalog_identities(settings)]

    def of(self, exposure: Row, quadrant: Row) -> tuple[ChannelCalibration, str]:
        night, rcid, fid = exposure["night"], quadrant["rcid"], exposure["fid"]
        key = (night, rcid, fid, float(exposure["exptime"]))
        if key not in self.known:
            if night not in self.shelves:
                shelf = CalibrationShelf(self.lakehouse, self.settings, night, self.config.ghosts)
                self.shelves[night] = shelf
            calibration = self.shelves[night].of_channel(rcid, fid, key[3])
            inputs = [*self.fixed, *calibration.ids]
            decisive = self.config.model_copy(update={"parallel_mb": 0.0})  # where it runs changes no pixel
            self.known[key] = (calibration, processing_version(STAGE, decisive, inputs))
        return self.known[key]


def catalog_identities(settings: Settings) -> list[str]:
    """Return which editions of the reference catalogues are used; one that cannot be read has none."""
    found = []
    for name in ("gaia", "ps1"):
        facts = HatsReader(f"{settings.catalogs_uri}/{name}", settings).properties
        words = ("obs_collection", "hats_nrows", "hats_creation_date", "hats_release_date")
        found.append(" ".join([name, *(facts.get(word, "") for word in words)]))
    return found
