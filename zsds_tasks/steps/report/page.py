"""From the facts of a night to one HTML page: the sections, in reading order."""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd

from zsds_tasks.products.pages import page, section, table, tag
from zsds_tasks.steps.report import trends
from zsds_tasks.steps.report.gather import NightFacts, quality_medians, summarise
from zsds_tasks.steps.report.timeline import colour, timeline
from zsds_tasks.steps.report.versions import footer
from zsds_tasks.steps.report.words import cards, headline, night_name, plural, size

_SHOWN = 40
"""Rows of a table shown at once; the others are counted."""


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
    parts = [
        '<header><div class="over">'
        f"{escape(facts.camera.site.name)} · {escape(facts.camera.observatory.instrument)} · night {facts.night}</div>"
        f"<h1>{escape(night_name(facts))}</h1>"
        f'<p class="lead">{escape(headline(facts, numbers))}</p></header>',
        cards(numbers),
        _timeline(facts),
        _picture(facts, picture),
        _coverage(facts, sky),
        _trends(facts),
        _incomplete(facts),
        _quarantine(facts),
        _checks(facts),
        _score(score),
        _earlier(facts, numbers, earlier),
        footer(facts, now),
    ]
    return page(f"{night_name(facts)} · night report", "\n".join(part for part in parts if part))


def _timeline(facts: NightFacts) -> str:
    if facts.exposures.empty:
        return section("The night", timeline(facts) + _empty("No exposure was archived."), anchor="night")
    kinds = [k for k in facts.kinds if (facts.exposures["kind"] == k).any()]
    legend = "".join(
        f'<span><i style="background:{colour(kind)}"></i>{escape(facts.kind_name(kind))}</span>' for kind in kinds
    )
    note = "Every exposure at its time, darker where the Sun is lower; point at a bar for its number and field."
    drawing = f'<figure>{timeline(facts)}</figure><div class="legend">{legend}</div>'
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
        "The focal plane", f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>",
        note="North is up, east is left; every quadrant lies where the camera's declaration puts it.",
        anchor="focal-plane",
    )  # fmt: skip


def _coverage(facts: NightFacts, sky: bytes | None) -> str:
    if sky is None:
        return ""
    by_field = facts.science.groupby("field")
    words = f"{plural(by_field.ngroups, 'field')}, visited {by_field.size().min()} to {by_field.size().max()} times."
    return section(
        "The sky", f"<figure>{_image(sky, 'Map of the fields visited')}</figure>",
        note=f"{words} One slice of a marker per filter, larger for more visits.", anchor="sky",
    )  # fmt: skip


def _trends(facts: NightFacts) -> str:
    drawings = (
        ("Bias level of each channel", trends.bias_trend(facts)),
        ("Read noise: measured (dots, 5th to 95th percentile) and from headers (ticks)", trends.read_noise(facts)),
        ("Sky level by filter", trends.sky_trend(facts)),
        ("Noise against level; the dashed line is pure photon noise at the header's gain", trends.noise_curve(facts)),
    )
    figures = [
        f"<figure><h3>{escape(name)}</h3>{drawing}</figure>" for name, drawing in drawings if drawing is not None
    ]
    if not figures:
        return section("Detectors and sky", _empty("No raw frame has been measured yet."), anchor="trends")
    note = f"Quick-look measures of {plural(len(facts.quality), 'readout channel')}, before any calibration."
    return section("Detectors and sky", f'<div class="pair">{"".join(figures)}</div>', note=note, anchor="trends")


def _incomplete(facts: NightFacts) -> str:
    if facts.incomplete.empty:
        return ""
    rows = [
        (
            f"<code>{row.expid}</code>", f"{row.obsdate:%H:%M:%S}", escape(facts.kind_name(row.kind)),
            str(row.field) if row.field else "", ", ".join(map(str, facts.missing_ccds(row.expid))),
            f"{row.last_received:%H:%M:%S}",
        )
        for row in facts.incomplete.head(_SHOWN).itertuples()
    ]  # fmt: skip
    return section(
        "Exposures with missing CCDs",
        table(("Exposure", "Shutter open (UT)", "Kind", "Field", "Missing CCDs", "Last received (UT)"), rows)
        + _more(len(facts.incomplete)),
        note="Processed with the CCDs there are after the grace period, and completed when the others come.",
        anchor="incomplete",
    )


def _quarantine(facts: NightFacts) -> str:
    if facts.quarantine.empty:
        return section("Quarantine", _empty("No file was refused."), anchor="quarantine")
    rows = [
        (
            f"{tag(row.code.replace('_', ' '), 'bad')}<br><code>{escape(row.filename)}</code>",
            f'{escape(row.reason)}<br><span class="note">{escape(row.remedy)}</span>',
            size(int(row.file_size)),
        )
        for row in facts.quarantine.head(_SHOWN).itertuples()
    ]
    return section(
        "Quarantine", table(("File", "Reason and remedy", "Size"), rows, numeric=(2,)) + _more(len(facts.quarantine)),
        note="Refused files, kept with their reason; nothing is thrown away.", anchor="quarantine",
    )  # fmt: skip


def _checks(facts: NightFacts) -> str:
    if facts.checks.empty:
        return section("Checks", _empty("This night has not been checked."), anchor="checks")
    rows = []
    for name, found in facts.checks.groupby("table_name"):
        broken = found[~found["success"].astype(bool)].sort_values("severity")
        told = "<br>".join(
            f"{tag('critical', 'bad') if row.severity == 'critical' else tag('warning', 'warn')} "
            f'{escape(row.sentence)} <span class="note">({escape(str(row.observed))})</span>'
            for row in broken.itertuples()
        )
        rows.append(
            (
                f'<a href="checks/{escape(str(name))}.html"><code>{escape(str(name))}</code></a>',
                f"{int(found['rows'].max()):,}", f"{len(found) - len(broken)} of {len(found)}",
                told or tag("all hold", "good"),
            )
        )  # fmt: skip
    link = '<p><a href="checks/index.html">All expectations, one by one</a></p>'
    columns = ("Table", "Rows", "Hold", "What does not")
    return section("Checks", table(columns, rows, numeric=(1, 2)) + link, anchor="checks")


def _score(score: Mapping[str, Any] | None) -> str:
    if score is None:
        return ""
    rows = [
        (
            tag("met", "good") if measure["ok"] else tag("missed", "bad"), escape(str(measure["measure"])),
            escape(str(measure["value"])), escape(str(measure["target"])), escape(str(measure["sentence"])),
        )
        for measure in score.get("measures", ())
    ]  # fmt: skip
    body = table(("", "Measure", "Value", "Target", "In words"), rows, numeric=(2, 3)) if rows else ""
    sentence = str(score.get("sentence", "What was planted in this simulated night, and what came out."))
    return section("Against the truth", body, note=sentence, anchor="truth")


def _earlier(facts: NightFacts, numbers: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]]) -> str:
    if not earlier:
        return ""
    filters = [f.name for f in facts.survey.filters]
    rows = []
    for entry in (dict(numbers) | quality_medians(facts), *earlier):
        sky, noise = entry["sky_level"], entry["read_noise"]
        rows.append(
            (
                f"<b>{entry['night']}</b>" if entry["night"] == str(facts.night)
                else f'<a href="../{entry["night"]}/index.html">{entry["night"]}</a>',
                f"{entry['science']}", f"{entry['files']}", f"{entry['quarantined']}",
                f"{entry['checks_passed']} of {entry['checks']}" if entry["checks"] else "",
                f"{noise:.2f}" if noise is not None else "",
                *(f"{sky[name]:.0f}" if name in sky else "" for name in filters),
            )
        )  # fmt: skip
    columns = ("Night", "Science", "Files", "Refused", "Checks", "Read noise, e-", *(f"Sky {n}, DN" for n in filters))
    numeric = tuple(range(1, len(columns)))
    note = "Medians over all channels; up to seven nights of the thirty days before."
    return section("Beside earlier nights", table(columns, rows, numeric=numeric), note=note, anchor="earlier")


def _image(png: bytes, words: str) -> str:
    data = base64.b64encode(png).decode("ascii")
    return f'<img alt="{escape(words)}" src="data:image/png;base64,{data}">'


def _empty(words: str) -> str:
    return f'<p class="empty">{escape(words)}</p>'


def _more(count: int) -> str:
    return f'<p class="note">and {count - _SHOWN} more</p>' if count > _SHOWN else ""


