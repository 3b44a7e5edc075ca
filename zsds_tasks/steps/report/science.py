"""The sections of a night report on calibrated images and their sources."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.products.pages import card, nothing, section
from zsds_tasks.steps.report.gather import NightFacts
from zsds_tasks.steps.report.science_colours import colour_magnitude, colour_magnitude_png
from zsds_tasks.steps.report.science_data import ScienceFacts, gather_science
from zsds_tasks.steps.report.science_focal_plane import mosaics
from zsds_tasks.steps.report.science_picture import LAYERS, calibrated_picture
from zsds_tasks.steps.report.science_plot import figure, inline, legend
from zsds_tasks.steps.report.science_residuals import (
    astrometric_map,
    photometric_maps,
    photometric_png,
    typical_size,
)
from zsds_tasks.steps.report.science_trends import entries, trends
from zsds_tasks.steps.report.science_verdicts import verdicts
from zsds_tasks.steps.report.words import plural

CALIBRATED, MASKED = "calibrated.png", "masked.png"
PHOTOMETRY, COLOURS = "photometry.png", "colour-magnitude.png"


@dataclass(frozen=True)
class SciencePages:
    """Sections of the page in reading order, and the pictures that lie beside it.

    Parameters
    ----------
    html : str
        Empty if no channel of the night was processed.
    files : dict
        PNG by file name.
    """

    html: str
    files: dict[str, bytes]


def science_pages(lakehouse: Lakehouse, night: NightFacts) -> SciencePages:
    """Return what a night report shows of calibrated images.

    Parameters
    ----------
    lakehouse : Lakehouse
    night : NightFacts

    Returns
    -------
    SciencePages

    Raises
    ------
    TransientError
        If the storage is in the way.
    """
    facts = gather_science(lakehouse, night)
    if facts is None:
        return SciencePages("", {})
    files: dict[str, bytes] = {}
    parts = (
        _images(lakehouse, facts, files),
        _over_the_focal_plane(facts),
        _through_the_night(facts),
        _residuals(facts, files),
        _colours(lakehouse, facts, files),
        section("Verdicts", verdicts(facts), anchor="verdicts"),
    )
    return SciencePages("\n".join(part for part in parts if part), files)


def _images(lakehouse: Lakehouse, facts: ScienceFacts, files: dict[str, bytes]) -> str:
    good = facts.good
    body = _cards(facts)
    if good.empty:
        body += nothing("No quadrant could be calibrated; the reasons are listed under Verdicts.")
        return section("Calibrated images", body, anchor="science")
    picture = calibrated_picture(lakehouse, facts)
    if picture.image is None:
        return section("Calibrated images", body + nothing(picture.caption), anchor="science")
    files[CALIBRATED] = picture.image
    body += figure("", inline(picture.image, picture.caption), picture.caption)
    if picture.mask is not None:
        files[MASKED] = picture.mask
        named = legend([(colour, name) for name, colour, _ in LAYERS])
        masks = inline(picture.mask, "What the masks of this exposure cover") + named
        body += figure("What is masked", masks, f"The same exposure. {picture.masked} Marks are enlarged.")
    return section("Calibrated images", body, anchor="science")


def _cards(facts: ScienceFacts) -> str:
    good, failed = facts.good, facts.failed
    share = len(good) / len(facts.images)
    tone = "good" if failed.empty else "warn" if share > 0.5 else "bad"
    filled = [
        card(
            f"{len(good):,}",
            "Quadrants calibrated",
            f"{len(failed):,} failed" if len(failed) else "none failed",
            tone,
        ),
        card(_number(good["n_sources"].sum(), 0), "Sources", "PSF-fitted"),
        card(_number(good["seeing"].median(), 2, "″"), "Seeing", _by_filter(facts, "seeing", 2)),
        card(_number(good["maglimit"].median(), 2), "Depth, 5 sigma", _by_filter(facts, "maglimit", 2)),
        card(
            _number(1000 * good["rms_bright"].median(), 0, " mas"), "Astrometry", "RMS per axis, bright stars"
        ),
    ]
    return f'<div class="cards" style="margin-top:14px">{"".join(filled)}</div>'


def _number(value: float, digits: int, unit: str = "") -> str:
    return "unknown" if pd.isna(value) else f"{value:,.{digits}f}{unit}"


def _by_filter(facts: ScienceFacts, column: str, digits: int) -> str:
    good = facts.good
    medians = ((f.name, good.loc[good["fid"] == f.fid, column].median()) for f in facts.filters)
    return ", ".join(f"{name} {value:.{digits}f}" for name, value in medians if pd.notna(value))


def _over_the_focal_plane(facts: ScienceFacts) -> str:
    drawing = mosaics(facts)
    if drawing is None:
        return ""
    note = (
        "Medians of the night, quadrant by quadrant; zero points from the median of their filter. "
        "Point at a quadrant for its value; dashed ones have no usable image."
    )
    return section(
        "Over the focal plane", f'<figure class="strip">{drawing}</figure>', note=note, anchor="quadrants"
    )


def _through_the_night(facts: ScienceFacts) -> str:
    found = trends(facts)
    if not found:
        return ""
    figures = "".join(figure(trend.heading, trend.drawing, trend.caption) for trend in found)
    body = f'<div class="pair">{figures}</div>{legend(entries(facts)) if facts.filters else ""}'
    note = f"{plural(len(facts.good), 'image')} of {plural(facts.images['expid'].nunique(), 'exposure')}."
    return section("Air, optics and cost", body, note=note, anchor="air")


def _residuals(facts: ScienceFacts, files: dict[str, bytes]) -> str:
    body = ""
    arrows = astrometric_map(facts)
    if arrows:
        body += figure("Places", arrows[0], arrows[1])
    maps = photometric_maps(facts)
    if maps:
        files[PHOTOMETRY] = photometric_png(maps)
        words = (
            f"Scatter of the cells: {typical_size(maps)}. Calibrators before the spatial term is taken away: "
            "what flat field and illumination left behind."
        )
        body += figure("Magnitudes", inline(files[PHOTOMETRY], "Photometric residuals by filter"), words)
    if not body:
        return ""
    note = f"Median residuals against the reference catalogues in {4 * 4} cells of every quadrant."
    return section("Residuals", body, note=note, anchor="residuals")


def _colours(lakehouse: Lakehouse, facts: ScienceFacts, files: dict[str, bytes]) -> str:
    diagram = colour_magnitude(lakehouse, facts)
    if diagram is None:
        return ""
    files[COLOURS] = colour_magnitude_png(diagram)
    drawing = figure("", inline(files[COLOURS], "Colour-magnitude diagram"), diagram.caption)
    return section("Colours", drawing, anchor="colours")
