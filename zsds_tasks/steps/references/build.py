"""One reference: read its epochs, stack them, measure it, write its files, return its rows."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from zsds_tasks.lakehouse import Lakehouse, open_lakehouse
from zsds_tasks.science.reference.build import Epoch, build_reference
from zsds_tasks.science.reference.quality import measure_reference
from zsds_tasks.settings import Settings
from zsds_tasks.steps.exposure.configuration import ExposureConfig, load_exposure_config
from zsds_tasks.steps.outcomes import reason_of
from zsds_tasks.steps.references.configuration import ReferencesConfig
from zsds_tasks.steps.references.files import write_reference
from zsds_tasks.steps.references.measure import measure
from zsds_tasks.steps.references.rows import judged, measured_row, reference_row, source_table
from zsds_tasks.steps.references.work import ReferenceWork
from zsds_tasks.steps.science_frames import open_frame
from zsds_tasks.survey.camera import load_camera
from zsds_tasks.survey.survey import load_survey

Row = dict[str, Any]


@dataclass(frozen=True)
class ReferenceOutcome:
    """What came of building one reference.

    Parameters
    ----------
    row : dict
        Of references.
    sources : pyarrow.Table or None
        Rows of reference_sources; None if it failed.
    core_seconds : float
    """

    row: Row
    sources: pa.Table | None
    core_seconds: float


def build_one(
    work: ReferenceWork,
    settings: Settings,
    config: ReferencesConfig,
    now: dt.datetime,
    lakehouse: Lakehouse | None = None,
) -> ReferenceOutcome:
    """Build one reference.

    Parameters
    ----------
    work : ReferenceWork
    settings : Settings
    config : ReferencesConfig
    now : datetime.datetime
        UTC; written down as the time of creation.
    lakehouse : Lakehouse, optional
        By default the one of the settings is opened: a parallel worker does so.

    Returns
    -------
    ReferenceOutcome
        One that cannot be built has a row that says why.

    Raises
    ------
    TransientError, ConfigurationError
        If the world is in the way or a declaration is wrong.
    """
    lakehouse = lakehouse or open_lakehouse(settings)
    began = time.process_time()
    try:
        row, sources = _built(work, settings, config, reference_row(work, now, work.why), lakehouse)
    except Exception as error:  # noqa: BLE001 - one reference must not stop the others; its row tells
        reason = reason_of(error, f"reference {work.rfid}")
        row, sources = reference_row(work, now, reason), None
    return ReferenceOutcome(row, sources, time.process_time() - began)


def _built(
    work: ReferenceWork, settings: Settings, config: ReferencesConfig, row: Row, lakehouse: Lakehouse
) -> tuple[Row, pa.Table | None]:
    hot_path = load_exposure_config(settings.include)
    camera = load_camera(settings.camera, settings.include)
    filter_name = load_survey(camera.survey, settings.include).filter_by_fid(work.rfid.fid).name
    epochs = [_epoch(lakehouse, epoch, hot_path) for epoch in work.epochs]
    reference = build_reference(epochs, filter_name, config.build)
    before = measure_reference(reference, epochs, config.quality)
    found = measure(reference, work, settings, hot_path)
    measures, verdict = judged(before, found, config.quality)
    row = measured_row(row, reference, found, measures, verdict)
    if not verdict.status:
        return row, None
    products, path = write_reference(work, reference, found, settings, lakehouse)
    row |= {"path": path, "products": [f"{digest} {suffix}" for suffix, digest in products.items()]}
    return row, source_table(row, found)


def _epoch(lakehouse: Lakehouse, row: Row, config: ExposureConfig) -> Epoch:
    frame = open_frame(lakehouse, row, config.background)
    return Epoch(
        pid=row["pid"],
        wcs=frame.wcs,
        shape=frame.shape,
        zero_point=row["magzp"],
        noise=frame.noise,
        gain=frame.gain,
        fwhm_arcsec=row["seeing"],
        maglimit=row["maglimit"],
        load=frame.load,
    )
