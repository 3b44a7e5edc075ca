"""From the facts of a night to one HTML page: the sections, in reading order."""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import cycle
from typing import Any

import pandas as pd

from zsds_tasks.products.pages import nothing, page, section
from zsds_tasks.steps.report import calibration, listings, trends
from zsds_tasks.steps.report.coverage import FILTER_COLOURS
from zsds_tasks.steps.report.gather import NightFacts, summarise
from zsds_tasks.steps.report.science_curves import curves_section
from zsds_tasks.steps.report.timeline import colour, timeline
from zsds_tasks.steps.report.versions import footer
from zsds_tasks.steps.report.words import cards, headline, night_name, plural, visits


@dataclass(frozen=True)
class Picture:
    """The focal plane of one exposure, or why there is none."""

    png: bytes | None
    exposure: pd.Series
    note: str


def render(
    facts: NightFacts,
    *,
    picture: Picture | None,
    sky: bytes | None,
    science: str,
    masters: bytes | None,
    earlier: Sequence[Mapping[str, Any]],
    score: Mapping[str, Any] | None,
    now: dt.datetime,
) -> str:
    """Return the page.

    Parameters
    ----------
    facts : NightFacts
    picture : Picture, optional
        Focal plane of one exposure.
    sky : bytes, optional
        PNG of the sky coverage.
    science : str
        Sections of calibrated images, as HTML; see `zsds_tasks.steps.report.science`.
    masters : bytes, optional
        PNG of calibration masters on the focal plane.
    earlier : sequence of Mapping
        Key numbers of earlier nights, newest first.
    score : Mapping, optional
        See `zsds_tasks.steps.report.build.build_report`.
    now : datetime.datetime
        UTC.

    Returns
    -------
    str
        HTML that loads nothing from anywhere.
    """
    numbers = summarise(facts)
    over = f"{facts.camera.site.name} · {facts.camera.observatory.instrument} · night {facts.night}"
    parts = [
        f'<header><div class="over">{escape(over)}</div><h1>{escape(night_name(facts))}</h1>',
        f'<p class="lead">{escape(headline(facts, numbers))}</p></header>',
        cards(numbers),
        _timeline(facts),
        _picture(facts, picture),
        _coverage(facts, sky),
        science,
        _trends(facts),
        calibration.masters(facts, masters),
        listings.incomplete(facts),
        listings.quarantine(facts),
        listings.checks(facts),
        listings.score(score),
        curves_section(facts, score),
        listings.beside(facts, numbers, earlier),
        footer(facts, now),
    ]
    return page(f"{night_name(facts)} · night report", "\n".join(part for part in parts if part))


def _timeline(facts: NightFacts) -> str:
    if facts.exposures.empty:
        return section("The night", timeline(facts) + nothing("No exposure was archived."), anchor="night")
    kinds = [k for k in facts.kinds if (facts.exposures["kind"] == k).any()]
    legend = "".join(
        f'<span><i style="background:{colour(kind)}"></i>{escape(facts.kind_name(kind))}</span>'
        for kind in kinds
    )
    note = (
        "Every exposure at its time, darker where the Sun is lower; point at a bar for its number and field."
    )
    drawing = f'<figure class="strip">{timeline(facts)}</figure><div class="legend">{legend}</div>'
    return section("The night", drawing, note=note, anchor="night")


def _picture(facts: NightFacts, picture: Picture | None) -> str:
    if picture is None:
        return ""
    row = picture.exposure
    where = f", field {row['field']}" if row["field"] else ""
    caption = (
        f"Exposure {row['expid']}: {facts.kind_name(row['kind'])}{where}, {row['exptime']:g} s "
        f"at {row['obsdate']:%H:%M:%S} UT. {picture.note}"
    )
    image = _image(picture.png, caption) if picture.png else ""
    return section(
        "The focal plane",
        f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>",
        note="North is up, east is left; every quadrant lies where the camera's declaration puts it.",
        anchor="focal-plane",
    )


def _coverage(facts: NightFacts, sky: bytes | None) -> str:
    if sky is None:
        return ""
    by_field = facts.science.groupby("field")
    words = f"{plural(by_field.ngroups, 'field')}, visited {visits(by_field.size())}."
    legend = "".join(
        f'<span><i style="background:{chosen}"></i>{escape(f.name)}</span>'
        for f, chosen in zip(facts.survey.filters, cycle(FILTER_COLOURS), strict=False)
    )
    image = _image(sky, "Map of the fields visited")
    return section(
        "The sky",
        f'<figure>{image}</figure><div class="legend">{legend}</div>',
        note=f"{words} One slice of a marker per filter, larger for more visits.",
        anchor="sky",
    )


def _trends(facts: NightFacts) -> str:
    bias_drawing, bias_words = trends.bias_trend(facts) or (None, "")
    drawings = (
        ("Bias level", bias_words, bias_drawing),
        (
            "Read noise",
            "Dot: median of the night; bar: 5th to 95th percentile; tick: what the headers say.",
            trends.read_noise(facts),
        ),
        ("Sky level", "One dot per science exposure, in the colour of its filter.", trends.sky_trend(facts)),
        (
            "Noise against level",
            "Dashed: photon noise alone at the header's gain; pixel response lifts bright flats above it.",
            trends.noise_curve(facts),
        ),
    )
    figures = [
        f"<figure><h3>{escape(name)}</h3>{drawing}<figcaption>{escape(words)}</figcaption></figure>"
        for name, words, drawing in drawings
        if drawing is not None
    ]
    if not figures:
        return section("Detectors and sky", nothing("No raw frame has been measured yet."), anchor="trends")
    note = f"Quick-look measures of {plural(len(facts.quality), 'readout')}, before any calibration."
    return section(
        "Detectors and sky", f'<div class="pair">{"".join(figures)}</div>', note=note, anchor="trends"
    )


def _image(png: bytes, words: str) -> str:
    data = base64.b64encode(png).decode("ascii")
    return f'<img alt="{escape(words)}" src="data:image/png;base64,{data}">'
