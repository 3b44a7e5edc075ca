"""What a night report lists: missing CCDs, refused files, checks, truth, earlier nights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from zsds_tasks.products.pages import nothing, section, table, tag
from zsds_tasks.steps.report.gather import NightFacts, quality_medians, records
from zsds_tasks.steps.report.words import size

_SHOWN = 40
"""Rows of a table shown at once; the others are counted."""


def incomplete(facts: NightFacts) -> str:
    """Return the section of exposures that miss CCDs; empty if none does."""
    if facts.incomplete.empty:
        return ""
    rows = [
        (
            f"<code>{row.expid}</code>",
            f"{row.obsdate:%H:%M:%S}",
            escape(facts.kind_name(row.kind)),
            str(row.field) if row.field else "",
            ", ".join(map(str, facts.missing_ccds(row.expid))),
            f"{row.last_received:%H:%M:%S}",
        )
        for row in records(facts.incomplete.head(_SHOWN))
    ]
    return section(
        "Exposures with missing CCDs",
        table(("Exposure", "Shutter open (UT)", "Kind", "Field", "Missing CCDs", "Last received (UT)"), rows)
        + _more(len(facts.incomplete)),
        note="Processed with the CCDs there are after the grace period, and completed when the others come.",
        anchor="incomplete",
    )


def quarantine(facts: NightFacts) -> str:
    """Return the section of refused files, each with reason and remedy."""
    if facts.quarantine.empty:
        return section("Quarantine", nothing("No file was refused."), anchor="quarantine")
    rows = [
        (
            f'{tag(row.code.replace("_", " "), "bad")}<br><code class="whole">{escape(row.filename)}</code>',
            f'{escape(row.reason)}<br><span class="note">{escape(row.remedy)}</span>',
            size(int(row.file_size)),
        )
        for row in records(facts.quarantine.head(_SHOWN))
    ]
    return section(
        "Quarantine",
        table(("File", "Reason and remedy", "Size"), rows, numeric=(2,)) + _more(len(facts.quarantine)),
        note="Refused files, kept with their reason; nothing is thrown away.",
        anchor="quarantine",
    )


def checks(facts: NightFacts) -> str:
    """Return the section of checks, by table, with what does not hold."""
    if facts.checks.empty:
        return section("Checks", nothing("This night has not been checked."), anchor="checks")
    rows = []
    for name, found in facts.checks.groupby("table_name"):
        broken = found[~found["success"].astype(bool)].sort_values("severity")
        told = "<br>".join(
            f"{tag('critical', 'bad') if row.severity == 'critical' else tag('warning', 'warn')} "
            f'{escape(row.sentence)} <span class="note">({escape(str(row.observed))})</span>'
            for row in records(broken)
        )
        rows.append(
            (
                f'<a href="checks/{escape(str(name))}.html"><code>{escape(str(name))}</code></a>',
                f"{int(found['rows'].max()):,}",
                f"{len(found) - len(broken)} of {len(found)}",
                told or tag("all hold", "good"),
            )
        )
    link = '<p><a href="checks/index.html">All expectations, one by one</a></p>'
    columns = ("Table", "Rows", "Hold", "What does not")
    return section("Checks", table(columns, rows, numeric=(1, 2)) + link, anchor="checks")


def score(result: Mapping[str, Any] | None) -> str:
    """Return the section that compares a simulated night with its truth; empty without a score."""
    if result is None:
        return ""
    rows = [
        (
            tag("met", "good") if measure["ok"] else tag("missed", "bad"),
            escape(str(measure["measure"])),
            escape(str(measure["value"])),
            escape(str(measure["target"])),
            escape(str(measure["sentence"])),
        )
        for measure in result.get("measures", ())
    ]
    body = table(("", "Measure", "Value", "Target", "In words"), rows, numeric=(2, 3)) if rows else ""
    sentence = str(result.get("sentence", "What was planted in this simulated night, and what came out."))
    return section("Against the truth", body, note=sentence, anchor="truth")


def beside(facts: NightFacts, numbers: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]]) -> str:
    """Return the section that sets the night beside earlier ones; empty without any."""
    if not earlier:
        return ""
    filters = [f.name for f in facts.survey.filters]
    rows = []
    for entry in (dict(numbers) | quality_medians(facts), *earlier):
        sky, noise = entry["sky_level"], entry["read_noise"]
        rows.append(
            (
                _linked(entry),
                f"{entry['science']}",
                f"{entry['files']}",
                f"{entry['quarantined']}",
                f"{entry['checks_passed']} of {entry['checks']}" if entry["checks"] else "",
                f"{noise:.2f}" if noise is not None else "",
                *(f"{sky[name]:.0f}" if name in sky else "" for name in filters),
            )
        )
    columns = (
        "Night",
        "Science",
        "Files",
        "Refused",
        "Checks",
        "Read noise, e-",
        *(f"Sky {n}, DN" for n in filters),
    )
    numeric = tuple(range(1, len(columns)))
    note = "Medians over all channels; up to seven nights of the thirty days before."
    return section(
        "Beside earlier nights", table(columns, rows, numeric=numeric), note=note, anchor="earlier"
    )


def _linked(entry: Mapping[str, Any]) -> str:
    """Return a night's name: a link where it has a report, bold for the night of this page itself."""
    if "has_report" not in entry:
        return f"<b>{entry['night']}</b>"
    name = str(entry["night"])
    return f'<a href="../{name}/index.html">{name}</a>' if entry["has_report"] else name


def _more(count: int) -> str:
    return f'<p class="note">and {count - _SHOWN} more</p>' if count > _SHOWN else ""
