"""Quick-look of raw frames: every archived channel is measured once per file and processing version."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Annotated, Any

from pydantic import Field

from zsds_tasks.declarations import Declaration, read_declaration
from zsds_tasks.errors import ConfigurationError, NothingToDoError, TransientError, UnusableInputError
from zsds_tasks.lakehouse import Lakehouse, open_lakehouse
from zsds_tasks.parallel import map_ordered
from zsds_tasks.pixels.fits import scan
from zsds_tasks.pixels.images import image_shape, read_image
from zsds_tasks.products.provenance import processing_version
from zsds_tasks.science.quality.raw import QuickLookConfig, measure
from zsds_tasks.settings import Settings
from zsds_tasks.steps.archiving import Progress
from zsds_tasks.steps.raw import ready_exposures
from zsds_tasks.survey.camera import QUADRANTS_PER_CCD, load_camera

STAGE = "raw_quality"
CARRIED = ("expid", "rcid", "night", "obsjd", "ra", "dec", "imgtypecode", "fid", "sha256")
"""Columns of raw_quadrants that go into raw_quality as they are."""
NEEDED = (*CARRIED, "qid", "hdu", "path", "file_size", "gain", "saturation")


class QualityConfig(Declaration):
    """Configuration of quality measures; ``include/config/quality.yaml`` overrides the defaults."""

    raw: QuickLookConfig = QuickLookConfig()
    batch_files: Annotated[int, Field(ge=1)] = Field(128, description="files per commit")
    parallel_mb: Annotated[float, Field(ge=0)] = Field(
        300.0, description="measure smaller batches in this process: starting workers would cost more"
    )


@dataclasses.dataclass(frozen=True)
class QualitySummary:
    """What one quick-look did."""

    exposures: int
    quadrants: int
    seconds: float
    processing_version: str

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for logs and the scheduler."""
        return dataclasses.asdict(self)


def load_quality_config(settings: Settings) -> QualityConfig:
    """Read ``include/config/quality.yaml``."""
    return read_declaration(settings.include / "config" / "quality.yaml", QualityConfig)


def assess_raw(
    lakehouse: Lakehouse,
    settings: Settings,
    now: dt.datetime,
    *,
    night: str | None = None,
    progress: Progress | None = None,
    config: QualityConfig | None = None,
) -> QualitySummary:
    """Measure what is not measured: every channel of the ready exposures, per file and processing version.

    Parameters
    ----------
    lakehouse : Lakehouse
    settings : Settings
        Camera, grace period, workers.
    now : datetime.datetime
        UTC; decides which incomplete exposures are waited for.
    night : str, optional
        Only this night, YYYYMMDD.
    progress : callable, optional
        Called with what was done, how many, of how many.
    config : QualityConfig, optional
        By default that of ``include/config/quality.yaml``.

    Returns
    -------
    QualitySummary

    Raises
    ------
    NothingToDoError
        If every channel is measured.
    UnusableInputError
        If archived files could not be measured; names each. All others are measured and recorded.
    """
    config = config or load_quality_config(settings)
    started = time.perf_counter()
    version = processing_version(STAGE, config.raw)
    subject = f"night {night}" if night else "raw archive"
    work = _work_list(lakehouse, settings, night, now, version)
    if not work:
        raise NothingToDoError(
            "every channel is measured", subject=f"night {night}" if night else "raw_quality"
        )
    failures: list[str] = []
    rows_done = 0
    for batch in _batches(work, config):
        rows = []
        for number, outcome in enumerate(_measured(batch, lakehouse, settings, config), start=1):
            if isinstance(outcome, str):
                failures.append(outcome)
            else:
                rows += [row | {"processing_version": version} for row in outcome]
            if progress:
                progress("files measured", number, len(batch))
        if rows:
            lakehouse.table("raw_quality").merge(rows)
        rows_done += len(rows)
    if failures:
        raise UnusableInputError(
            f"{len(failures)} archived files could not be measured: {'; '.join(failures[:10])}",
            subject=subject,
            remedy="restore them from a copy, or have them sent again: ingest heals a missing file",
        )
    exposures = len({file[0]["expid"] for file in work})
    return QualitySummary(exposures, rows_done, time.perf_counter() - started, version)


def assess_rest(lakehouse: Lakehouse, settings: Settings, night: str, now: dt.datetime) -> dict[str, Any]:
    """Measure what is left of a night that is over: nobody waits for missing CCDs any more; see `assess_raw`.

    Raises
    ------
    NothingToDoError
        If the night has no frames; a night that is all measured is no such case.
    """
    if not lakehouse.table("raw_exposures").count({"night": night}):
        raise NothingToDoError("no raw frames", subject=f"night {night}")
    over = settings.model_copy(update={"grace_minutes": 0.0})
    try:
        return assess_raw(lakehouse, over, now, night=night).as_dict()
    except NothingToDoError as error:
        return {"exposures": 0, "quadrants": 0, "reason": str(error)}


def _work_list(
    lakehouse: Lakehouse, settings: Settings, night: str | None, now: dt.datetime, version: str
) -> list[list[dict[str, Any]]]:
    """Return the unmeasured rows of raw_quadrants, grouped by file."""
    grace = dt.timedelta(minutes=settings.grace_minutes)
    ready = set(ready_exposures(lakehouse, now, grace, night=night, science_only=False))
    where = {"night": night} if night else None
    measured = lakehouse.table("raw_quality").read(["expid", "rcid", "sha256", "processing_version"], where)
    done = {tuple(row.values()) for row in measured.to_pylist()}
    files: dict[str, list[dict[str, Any]]] = {}
    for row in lakehouse.table("raw_quadrants").read(list(NEEDED), where).to_pylist():
        key = (row["expid"], row["rcid"], row["sha256"], version)
        if row["expid"] in ready and key not in done:
            files.setdefault(row["path"], []).append(row)
    return list(files.values())


def _batches(work: list[list[dict[str, Any]]], config: QualityConfig) -> Iterator[list[list[dict[str, Any]]]]:
    for start in range(0, len(work), config.batch_files):
        yield work[start : start + config.batch_files]


def _measured(
    batch: Sequence[list[dict[str, Any]]], lakehouse: Lakehouse, settings: Settings, config: QualityConfig
) -> Iterator[list[dict[str, Any]] | str]:
    small = sum(file[0]["file_size"] for file in batch) < config.parallel_mb * 1e6
    function = partial(measure_file, settings=settings, config=config.raw)
    if small:
        function = partial(function, lakehouse=lakehouse)
    return map_ordered(function, batch, workers=1 if small else None, settings=settings)


def measure_file(
    quadrants: Sequence[dict[str, Any]],
    settings: Settings,
    config: QuickLookConfig,
    lakehouse: Lakehouse | None = None,
) -> list[dict[str, Any]] | str:
    """Measure channels of one archived file.

    Parameters
    ----------
    quadrants : sequence of dict
        Rows of raw_quadrants of one file.
    settings : Settings
    config : QuickLookConfig
    lakehouse : Lakehouse, optional
        By default the one of the settings is opened: a parallel worker does so.

    Returns
    -------
    list of dict, or str
        Rows of raw_quality without the version; a sentence if the file cannot be measured.
    """
    path = quadrants[0]["path"]
    lakehouse = lakehouse or open_lakehouse(settings)
    camera = load_camera(settings.camera, settings.include)
    try:
        data = lakehouse.storage.read_bytes(path)
        if hashlib.sha256(data).hexdigest() != quadrants[0]["sha256"]:
            return f"{path} has changed since it was archived"
        hdus = scan(data)
        rows = []
        for row in quadrants:
            image, overscan = (
                read_image(data, hdus[number], image_shape(hdus[number]))
                for number in (row["hdu"], row["hdu"] + QUADRANTS_PER_CCD)
            )
            read_x = camera.quadrants[row["rcid"]].amplifier.read_x
            found = measure(image, overscan, read_x, row["gain"], row["saturation"], config)
            rows.append({name: row[name] for name in CARRIED} | dataclasses.asdict(found))
    except FileNotFoundError:
        return f"{path} is gone"
    except (TransientError, ConfigurationError):
        raise
    except Exception as error:  # noqa: BLE001 - one file must not stop the night; the caller reports it
        return f"{path}: {type(error).__name__}: {error}"
    return rows
