"""Star flats of a night: the smooth response of every channel and filter, for the nights that follow."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import time
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np

from zsds_tasks.errors import ConfigurationError, TransientError, UnusableInputError
from zsds_tasks.lakehouse import Lakehouse, open_lakehouse
from zsds_tasks.lakehouse.hats_reader import HatsReader
from zsds_tasks.parallel import map_ordered
from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.products.provenance import processing_version
from zsds_tasks.science.calibration.acceptance import Verdict, judge_map
from zsds_tasks.science.calibration.starflat import StarFlat, fit_star_flat
from zsds_tasks.settings import Settings
from zsds_tasks.steps.archiving import Progress
from zsds_tasks.steps.calibration.build import CalibrationSummary
from zsds_tasks.steps.calibration.configuration import STAGE, CalibrationConfig, load_calibration_config
from zsds_tasks.steps.calibration.lamprows import map_facts
from zsds_tasks.steps.calibration.mapfiles import map_cards, map_images, read_smooth_map
from zsds_tasks.steps.calibration.residuals import Catalog, star_residuals
from zsds_tasks.steps.calibration.selection import TABLE, Row, nights_around
from zsds_tasks.steps.calibration.writing import Label, Office
from zsds_tasks.survey.camera import load_camera
from zsds_tasks.survey.filenames import CalibrationKind
from zsds_tasks.survey.nights import ObservingNight
from zsds_tasks.survey.survey import load_survey

STAR_FLAT = CalibrationKind.STAR_FLAT
IMAGE_COLUMNS = (
    "expid", "rcid", "pid", "night", "fid", "status", "ra", "dec", "magzp", "clrcoeff", "masters",
    "raw_sha256", "processing_version",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class StarWork:
    """One channel and filter: rows, no pixels.

    Parameters
    ----------
    night : str
    rcid, fid : int
    images : tuple of dict
        Good rows of science_images.
    digest, version : str
    known : tuple of dict
        Rows of star flats of this channel and filter, of the nights before.
    """

    night: str
    rcid: int
    fid: int
    images: tuple[Row, ...]
    digest: str
    version: str
    known: tuple[Row, ...]


def build_star_flats(
    lakehouse: Lakehouse,
    settings: Settings,
    night: str,
    now: dt.datetime,
    *,
    progress: Progress | None = None,
    config: CalibrationConfig | None = None,
) -> CalibrationSummary:
    """Build the star flats of a night whose images or catalogue have changed.

    Parameters
    ----------
    lakehouse : Lakehouse
    settings : Settings
        The catalogue is `config.stars.stars.catalog` under `settings.catalogs_uri`.
    night : str
        YYYYMMDD; its science images and sources should be complete.
    now : datetime.datetime
        UTC; a night that is not over has no star flats yet.
    progress : callable, optional
    config : CalibrationConfig, optional

    Returns
    -------
    CalibrationSummary
        A refused star flat is no failure: its row says why.

    Raises
    ------
    ConfigurationError
        If there is no catalogue.
    UnusableInputError
        If the file of a star flat is spoilt; names each channel. All others are recorded.
    """
    this = ObservingNight.parse(night)
    config = config or load_calibration_config(settings.include)
    started = time.perf_counter()
    camera = load_camera(settings.camera, settings.include)
    version = processing_version(f"{STAGE} stars", config.for_star_flats(), [camera.model_dump_json()])
    _, end = this.bounds(camera.site.noon_utc_hour)
    work = list(_work(lakehouse, settings, this, version, config)) if now >= end else []
    rows, failures = [], []
    for number, outcome in enumerate(_made(work, lakehouse, settings, config), start=1):
        if isinstance(outcome, str):
            failures.append(outcome)
        else:
            rows.append(outcome)
        if progress:
            progress("channels and filters", number, len(work))
    if rows:
        lakehouse.table(TABLE).merge(rows)
    if failures:
        raise UnusableInputError(
            f"{len(failures)} star flats could not be built: {'; '.join(failures[:10])}",
            subject=f"night {night}",
            remedy="restore the named files; the others are recorded",
        )
    refused = tuple(
        f"channel {r['rcid']} {r['kind']} {r['filtercode']}: {r['reason']}" for r in rows if not r["accepted"]
    )
    idle = "every star flat is built, or no images" if now >= end else "the night is not over"
    return CalibrationSummary(
        str(this),
        len(rows),
        len(rows) - len(refused),
        refused,
        len(work),
        time.perf_counter() - started,
        version,
        "" if work else idle,
    )


def _made(
    work: list[StarWork], lakehouse: Lakehouse, settings: Settings, config: CalibrationConfig
) -> Iterable[Row | str]:
    few = sum(len(item.images) for item in work) < 1000
    function = partial(make_star_flat, settings=settings, config=config)
    if few:
        function = partial(function, lakehouse=lakehouse)
    return map_ordered(function, work, workers=1 if few else None, settings=settings)


def make_star_flat(
    work: StarWork, settings: Settings, config: CalibrationConfig, lakehouse: Lakehouse | None = None
) -> Row | str:
    """Fit, judge and write the star flat of one channel and filter.

    Returns
    -------
    dict or str
        Row of master_frames; a sentence if a star flat that the images had cannot be read.
    """
    lakehouse = lakehouse or open_lakehouse(settings)
    try:
        return _StarFlatMaker(work, settings, config, lakehouse).row()
    except (TransientError, ConfigurationError):
        raise
    except Exception as error:  # noqa: BLE001 - one channel must not stop the night; the caller reports it
        return f"channel {work.rcid}, filter {work.fid}: {type(error).__name__}: {error}"


class _StarFlatMaker:
    def __init__(
        self, work: StarWork, settings: Settings, config: CalibrationConfig, lakehouse: Lakehouse
    ) -> None:
        self.work, self.config, self.lakehouse = work, config.stars, lakehouse
        self.camera = load_camera(settings.camera, settings.include)
        survey = load_survey(self.camera.survey, settings.include)
        self.shape = (self.camera.quadrant.ny, self.camera.quadrant.nx)
        self.office = Office(lakehouse, self.camera, survey, work.version, self.config.validity_days)
        scale = self.camera.mosaic.pixel_scale_arcsec
        self.catalog = Catalog(
            HatsReader(f"{settings.catalogs_uri}/{self.config.stars.catalog}", settings),
            self.config.stars,
            survey.filter_by_fid(work.fid).name,
            0.5 * scale * float(np.hypot(*self.shape)) + 60.0,
        )

    def row(self) -> Row:
        """Return the row, after its file is written."""
        work, limits = self.work, self.config.fit.limits
        label = Label(
            ObservingNight.parse(work.night),
            self.camera.quadrants[work.rcid],
            STAR_FLAT,
            work.fid,
            work.digest,
        )
        images, applied = self._with_star_flats()
        facts: dict[str, Any] = {"n_frames": len(images)}
        if lost := len(work.images) - len(images):
            facts |= {"n_rejected": lost, "rejections": f"{lost} images: the star flat they had is gone"}
        stars = star_residuals(self.lakehouse, images, self.catalog, applied)
        try:
            flat = fit_star_flat(stars, self.shape, self.config.fit)
        except UnusableInputError as few:
            return self.office.maps(label, {}, Verdict(False, few.reason), **facts)
        earlier = max((r for r in work.known if r["accepted"]), key=lambda r: r["night"], default=None)
        previous = read_smooth_map(self.lakehouse, earlier, self.shape) if earlier else None
        values, error = flat.response.values.values, flat.response.error.values
        compared = (previous.values.values, previous.error.values) if previous else None
        verdict = judge_map(values, error, limits, compared)
        if flat.faults:
            words = [*flat.faults, *([] if verdict.accepted else [verdict.reason])]
            verdict = dataclasses.replace(verdict, accepted=False, reason="; ".join(words))
        facts |= map_facts(flat.response, earlier) | _measures(flat)
        return self.office.maps(label, map_images(flat.response), verdict, map_cards(flat.response), **facts)

    def _with_star_flats(self) -> tuple[list[Row], dict[int, Mesh]]:
        """Return the images of which is known what they were divided by, and their star flats by pid."""
        rows = {row["sha256"]: row for row in self.work.known if row["sha256"]}
        meshes: dict[str, Mesh] = {}
        images, applied = [], {}
        for image in self.work.images:
            digest = applied_star_flat(image["masters"])
            if digest is not None:
                if digest not in rows:
                    continue
                if digest not in meshes:
                    meshes[digest] = read_smooth_map(self.lakehouse, rows[digest], self.shape).values
                applied[image["pid"]] = meshes[digest]
            images.append(image)
        return images, applied


def applied_star_flat(masters: Iterable[str]) -> str | None:
    """Return the SHA-256 of the star flat among the calibration files of an image ('kind night SHA-256')."""
    words = [master.split() for master in masters]
    return next((w[-1] for w in words if w and w[0] == STAR_FLAT.value), None)


def _measures(flat: StarFlat) -> Row:
    return {
        "n_stars": flat.n_stars,
        "rms_before": flat.rms_before,
        "rms_after": flat.rms_after if np.isfinite(flat.rms_after) else None,
    }


def _work(
    lakehouse: Lakehouse, settings: Settings, night: ObservingNight, version: str, config: CalibrationConfig
) -> Iterable[StarWork]:
    """Yield channels and filters whose star flat has no row of these images and this version."""
    where = {"night": str(night), "status": 1}
    images: dict[tuple[int, int], list[Row]] = {}
    for row in lakehouse.table("science_images").read(list(IMAGE_COLUMNS), where).to_pylist():
        if row["magzp"] is not None and row["clrcoeff"] is not None:
            images.setdefault((row["rcid"], row["fid"]), []).append(row)
    if not images:
        return
    colours = config.stars.stars.colours
    survey = load_survey(load_camera(settings.camera, settings.include).survey, settings.include)
    reader = HatsReader(f"{settings.catalogs_uri}/{config.stars.stars.catalog}", settings)
    catalog = hashlib.sha256(repr(sorted(reader.properties.items())).encode()).hexdigest()
    around = nights_around(night, max(config.stars.validity_days, 1))
    rows: dict[tuple[int, int], list[Row]] = {}
    for row in lakehouse.table(TABLE).read(where={"night": around, "kind": STAR_FLAT.value}).to_pylist():
        rows.setdefault((row["rcid"], row["fid"]), []).append(row)
    for (rcid, fid), group in sorted(images.items()):
        if survey.filter_by_fid(fid).name not in colours:
            continue
        words = [f"{r['pid']} {r['raw_sha256']} {r['processing_version']}" for r in group]
        digest = hashlib.sha256("\n".join([catalog, *sorted(words)]).encode()).hexdigest()
        known = rows.get((rcid, fid), [])
        tonight = next((row for row in known if row["night"] == str(night)), None)
        if tonight and (tonight["inputs_digest"], tonight["processing_version"]) == (digest, version):
            continue
        before = tuple(row for row in known if row["night"] < str(night))
        yield StarWork(str(night), rcid, fid, tuple(group), digest, version, before)
