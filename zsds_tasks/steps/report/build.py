"""Build a night's report and put it into the archive."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import numpy as np

from zsds_tasks.lakehouse import Lakehouse, paths
from zsds_tasks.settings import Settings
from zsds_tasks.steps.report.alerts import alert_pages
from zsds_tasks.steps.report.calibration import master_maps, masters_png
from zsds_tasks.steps.report.coverage import coverage_png
from zsds_tasks.steps.report.curves import curve_pages
from zsds_tasks.steps.report.focal_plane import choose_exposure, focal_plane_png, read_mosaic
from zsds_tasks.steps.report.gather import NightFacts, baseline, earlier_nights, gather
from zsds_tasks.steps.report.page import Picture, render
from zsds_tasks.steps.report.science import science_pages
from zsds_tasks.survey.nights import utc

PAGE, FOCAL_PLANE, COVERAGE, MASTERS = "index.html", "focal-plane.png", "coverage.png", "masters.png"


def build_report(
    lakehouse: Lakehouse,
    settings: Settings,
    night: str,
    *,
    now: dt.datetime,
    score: Mapping[str, Any] | None = None,
) -> str:
    """Write the report of a night: one self-contained page, and its pictures beside it.

    Parameters
    ----------
    lakehouse : Lakehouse
    settings : Settings
        Name the camera of a night without exposures.
    night : str
        Observing night, YYYYMMDD or YYYY-MM-DD; it may have no rows at all.
    now : datetime.datetime
        When the report is made, aware.
    score : Mapping, optional
        Of a simulated night: ``measures``, a list of mappings with ``measure``, ``value``, ``target``, ``ok``
        and ``sentence``, a ``sentence`` over all, and perhaps ``curves``, ``alerts`` and ``variables``; see
        `zsds_tasks.steps.report.science_curves`, `zsds_tasks.steps.report.alerts` and
        `zsds_tasks.steps.report.curves`.

    Returns
    -------
    str
        Path of the page under the archive's root: ``reports/<YYYYMMDD>/index.html``.

    Raises
    ------
    TransientError
        If the storage is in the way.
    """
    facts = gather(lakehouse, night, camera=settings.camera)
    name = str(facts.night)
    earlier = [
        numbers | {"has_report": lakehouse.storage.exists(paths.report(numbers["night"], PAGE))}
        for numbers in baseline(lakehouse, earlier_nights(lakehouse, facts.night))
    ]
    picture = _focal_plane(lakehouse, facts)
    sky = coverage_png(facts) if len(facts.science) else None
    maps = master_maps(lakehouse, facts)
    masters = masters_png(maps) if maps else None
    science, alerts = science_pages(lakehouse, facts), alert_pages(lakehouse, facts, score)
    curves = curve_pages(lakehouse, facts, score)
    files = {FOCAL_PLANE: picture.png if picture else None, COVERAGE: sky, MASTERS: masters}
    files |= science.files | alerts.files
    for file, data in files.items():
        if data is not None:
            lakehouse.storage.put_bytes_atomically(data, paths.report(name, file))
    html = render(
        facts,
        picture=picture,
        sky=sky,
        science="\n".join(part for part in (alerts.html, curves, science.html) if part),
        masters=masters,
        earlier=earlier,
        score=score,
        now=utc(now),
    )
    place = paths.report(name, PAGE)
    lakehouse.storage.put_bytes_atomically(html.encode(), place)
    return place


def _focal_plane(lakehouse: Lakehouse, facts: NightFacts) -> Picture | None:
    exposure = choose_exposure(facts)
    if exposure is None:
        return None
    mosaic = read_mosaic(lakehouse, facts, int(exposure["expid"]))
    gone = f" Gone from the archive or spoilt: {', '.join(mosaic.unreadable)}." if mosaic.unreadable else ""
    if np.isnan(mosaic.pixels).all():
        return Picture(None, exposure, f"It cannot be shown.{gone}")
    drawn = focal_plane_png(mosaic, facts.camera)
    size = "" if mosaic.binning == 1 else f", binned {mosaic.binning} x {mosaic.binning}"
    return Picture(
        drawn, exposure, f"Electrons above the overscan{size}, asinh stretch around the sky.{gone}"
    )
