"""One difference image: read both sides, subtract, find and measure candidates, write files, return rows."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from zsds_tasks.lakehouse import Lakehouse, open_lakehouse
from zsds_tasks.pixels.subtraction import Buffers
from zsds_tasks.science.candidates.detect import Detections, detect
from zsds_tasks.science.candidates.measure import Candidates, measure
from zsds_tasks.science.difference.assess import judge, measure_difference
from zsds_tasks.science.difference.subtract import subtract
from zsds_tasks.settings import Settings
from zsds_tasks.steps.difference.configuration import DifferencingConfig
from zsds_tasks.steps.difference.files import write_difference
from zsds_tasks.steps.difference.neighbours import (
    Plane,
    gaia_neighbours,
    ps1_neighbours,
    reference_neighbours,
)
from zsds_tasks.steps.difference.reference_frames import open_reference
from zsds_tasks.steps.difference.rows import DONE, candidate_rows, difference_row, measured_row
from zsds_tasks.steps.difference.sides import STAR_COLUMNS, reference_side, science_side
from zsds_tasks.steps.difference.work import DifferenceWork
from zsds_tasks.steps.exposure import catalogs
from zsds_tasks.steps.exposure.configuration import load_exposure_config
from zsds_tasks.steps.outcomes import reason_of
from zsds_tasks.steps.references.rows import SOURCES as REFERENCE_SOURCES
from zsds_tasks.steps.science_frames import ScienceFrame, open_frame
from zsds_tasks.survey.nights import JD_OF_MJD_ZERO

Row = dict[str, Any]
REFERENCE_COLUMNS = (*STAR_COLUMNS, "sigmag", "chi", "sharp")


@dataclass(frozen=True)
class DifferenceOutcome:
    """What came of one difference image.

    Parameters
    ----------
    row : dict
        Of difference_images.
    candidates : pyarrow.Table or None
        Rows of candidates; None if it failed.
    """

    row: Row
    candidates: pa.Table | None


def subtract_one(
    work: DifferenceWork, settings: Settings, config: DifferencingConfig, lakehouse: Lakehouse | None = None
) -> DifferenceOutcome:
    """Subtract the reference from one science image.

    Parameters
    ----------
    work : DifferenceWork
    settings : Settings
    config : DifferencingConfig
    lakehouse : Lakehouse, optional
        By default the one of the settings is opened: a parallel worker does so.

    Returns
    -------
    DifferenceOutcome
        One that fails has a row that says why.

    Raises
    ------
    TransientError, ConfigurationError
        If the world is in the way or a declaration is wrong.
    """
    lakehouse = lakehouse or open_lakehouse(settings)
    began = time.process_time()
    engine = config.difference.engine.name
    try:
        done = _subtracted(work, settings, config, lakehouse)
    except Exception as error:  # noqa: BLE001 - one image must not stop the others; its row tells
        reason = reason_of(error, f"pid {work.image['pid']}")
        done = DifferenceOutcome(difference_row(work, engine, "subtract", reason), None)
    seconds = time.process_time() - began
    return DifferenceOutcome(done.row | {"core_seconds": seconds}, done.candidates)


def _subtracted(
    work: DifferenceWork, settings: Settings, config: DifferencingConfig, lakehouse: Lakehouse
) -> DifferenceOutcome:
    subject = f"pid {work.image['pid']}"
    frame = open_frame(lakehouse, work.image, load_exposure_config(settings.include).background)
    reference = open_reference(lakehouse, work.reference)
    own = lakehouse.table("sources").read(STAR_COLUMNS, {"pid": work.image["pid"]})
    which = {name: work.reference[name] for name in ("rfid", "version")}
    theirs = lakehouse.table(REFERENCE_SOURCES).read(REFERENCE_COLUMNS, which)
    science = science_side(lakehouse, work, frame, own)
    template = reference_side(reference, frame, theirs, config)
    done = subtract(
        science,
        template,
        config.difference,
        _buffers(frame.shape),
        subject=subject,
    )
    peaks = detect(done.subtraction.score, config.detect)
    strong = peaks.brighter_than(config.detect.threshold_sigma)
    scores = (strong.score[strong.sign > 0], strong.score[strong.sign < 0])
    metrics = measure_difference(done, scores, config.assess)
    verdict = judge(metrics, config.assess)
    row = difference_row(work, config.difference.engine.name, DONE, "; ".join(verdict.reasons))
    row = measured_row(row, metrics, done.zero_point) | {"status": int(verdict.status != "fail")}
    if not row["status"]:
        return DifferenceOutcome(row, None)
    kept = _kept(peaks, config)
    found = measure(done.subtraction, done.mask, kept, done.zero_point, metrics.diffmaglim, config.measure)
    rows = candidate_rows(work, found, _on_the_sky(work, frame, found, theirs, settings, config))
    row |= {"n_positive": int(np.sum(kept.sign > 0)), "n_negative": int(np.sum(kept.sign < 0))}
    if config.write_products:
        row |= write_difference(work, frame, (science.image, template.image), done, rows, config, lakehouse)
    return DifferenceOutcome(row, rows)


@lru_cache(maxsize=1)
def _buffers(shape: tuple[int, int]) -> Buffers:
    """Return this worker's buffers: allocated once, page faults paid once."""
    return Buffers.of(shape)


def _kept(peaks: Detections, config: DifferencingConfig) -> Detections:
    """Return the peaks that become rows: high enough, and not more of a sign than can be numbered."""
    kept = peaks.brighter_than(config.stored_sigma)
    rows = []
    for sign in (1.0, -1.0):
        of_sign = np.flatnonzero(kept.sign == sign)
        highest = of_sign[np.argsort(-kept.score[of_sign], kind="stable")][: config.most_candidates]
        rows.append(highest)
    return kept.take(np.sort(np.concatenate(rows)))


def _on_the_sky(
    work: DifferenceWork,
    frame: ScienceFrame,
    found: Candidates,
    sources: pa.Table,
    settings: Settings,
    config: DifferencingConfig,
) -> Row:
    """Return places of candidates, and what lies near them."""
    ra, dec = frame.wcs.pixel_to_sky(found["xpos"], found["ypos"])
    scale = frame.wcs.pixel_scale_arcsec
    centre = (float(work.image["ra"]), float(work.image["dec"]))
    plane = Plane(centre, np.asarray(ra), np.asarray(dec))
    ny, nx = frame.shape
    reach = np.hypot(ny, nx) / 2 * scale + config.near_gaia_arcsec
    stars = catalogs.astrometric_stars(settings, centre, reach / 3600)
    mjd = work.image["obsjd"] - JD_OF_MJD_ZERO + work.image["exptime"] / 2 / 86_400
    objects = catalogs.photometric_stars(settings, centre, reach / 3600)
    sigma = np.hypot(found["sigx"], found["sigy"]) / np.sqrt(2) * scale
    return {
        "ra": ra,
        "dec": dec,
        "sigpos": pa.array(sigma, mask=~np.isfinite(sigma)),
        **reference_neighbours(plane, sources, config.near_arcsec, scale),
        **ps1_neighbours(plane, objects, config.near_arcsec),
        **gaia_neighbours(plane, *stars.at(mjd), stars.mag, config.near_gaia_arcsec, config.bright_gaia_mag),
    }
