"""One difference image: read both sides, subtract, find and measure candidates, write files, return rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import pyarrow as pa

from zsds_tasks.lakehouse import Lakehouse, open_lakehouse
from zsds_tasks.pixels.background import BackgroundConfig
from zsds_tasks.pixels.subtraction import Buffers
from zsds_tasks.products.tables import conform, load_table
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
from zsds_tasks.steps.difference.reference_cache import references
from zsds_tasks.steps.difference.rows import DONE, candidate_rows, difference_row, measured_row
from zsds_tasks.steps.difference.scores import score
from zsds_tasks.steps.difference.sides import (
    JustWritten,
    ScienceGiven,
    read_science,
    reference_side,
    science_side,
)
from zsds_tasks.steps.difference.work import DifferenceWork
from zsds_tasks.steps.exposure import catalogs
from zsds_tasks.steps.exposure.configuration import load_exposure_config
from zsds_tasks.steps.exposure.work import IMAGES
from zsds_tasks.steps.outcomes import reason_of
from zsds_tasks.steps.science_frames import ScienceFrame
from zsds_tasks.survey.nights import JD_OF_MJD_ZERO

Row = dict[str, Any]


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
    """Subtract the reference from one stored science image.

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
    return _outcome(partial(read_science, lakehouse, work.image), work, settings, config, lakehouse)


def subtract_in_memory(
    written: JustWritten,
    work: DifferenceWork,
    settings: Settings,
    config: DifferencingConfig,
    lakehouse: Lakehouse,
) -> DifferenceOutcome:
    """Subtract the reference from a science image that was just calibrated and written.

    Parameters
    ----------
    written : JustWritten
        Its pixels are changed.
    work, settings, config, lakehouse
        As of `subtract_one`, as are returns and errors. Rows and files are the same, bit by bit.
    """
    # As the table will give it back: a float64 in a column of float32 is not what will be read.
    row = conform([work.image], load_table(IMAGES)).to_pylist()[0]
    work = replace(work, image=row)
    return _outcome(partial(written.given, lakehouse, row), work, settings, config, lakehouse)


def _outcome(
    given: Callable[[BackgroundConfig], ScienceGiven],
    work: DifferenceWork,
    settings: Settings,
    config: DifferencingConfig,
    lakehouse: Lakehouse,
) -> DifferenceOutcome:
    """Return whatever came of a difference."""
    began = time.process_time()
    try:
        science = given(load_exposure_config(settings.include).background)
        done = _subtracted(science, work, settings, config, lakehouse)
    except Exception as error:  # noqa: BLE001 - one image must not stop the others; its row tells
        reason = reason_of(error, f"pid {work.image['pid']}")
        row = difference_row(work, config.difference.engine.name, "subtract", reason)
        done = DifferenceOutcome(row, None)
    seconds = time.process_time() - began
    return DifferenceOutcome(done.row | {"core_seconds": seconds}, done.candidates)


def _subtracted(
    given: ScienceGiven,
    work: DifferenceWork,
    settings: Settings,
    config: DifferencingConfig,
    lakehouse: Lakehouse,
) -> DifferenceOutcome:
    frame = given.frame
    reference, sources = references.of(lakehouse, work.reference, config.reference_cache_mb)
    science = science_side(given, work)
    template = reference_side(reference, frame, sources, config)
    subject = f"pid {work.image['pid']}"
    done = subtract(science, template, config.difference, _buffers(frame.shape), subject=subject)
    least = min(config.stored_sigma, config.detect.threshold_sigma)
    peaks = detect(done.subtraction.score, config.detect, least)
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
    rows = candidate_rows(work, found, _on_the_sky(work, frame, found, sources, settings, config))
    images = (science.image, template.image, done.image)
    rows = score(rows, images, settings)
    is_positive = np.asarray(found["isdiffpos"], bool)
    row |= {"n_positive": int(np.sum(is_positive)), "n_negative": int(np.sum(~is_positive))}
    if config.write_products:
        row |= write_difference(work, frame, images, done, rows, config, lakehouse)
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
