"""The night in words and single numbers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from zsds_tasks.products.pages import card, tag
from zsds_tasks.steps.report.gather import NightFacts


def night_name(facts: NightFacts) -> str:
    """Return the night as people say it, such as ``Night of 12 to 13 October 2018``."""
    morning = facts.night.date
    start, _ = facts.night.bounds(facts.camera.site.noon_utc_hour)
    evening = start.date()
    if evening == morning:
        evening -= dt.timedelta(days=1)
    if evening.year != morning.year:
        return f"Night of {evening.day} {evening:%B %Y} to {morning.day} {morning:%B %Y}"
    if evening.month != morning.month:
        return f"Night of {evening.day} {evening:%B} to {morning.day} {morning:%B %Y}"
    return f"Night of {evening.day} to {morning.day} {morning:%B %Y}"


def headline(facts: NightFacts, numbers: Mapping[str, Any]) -> str:
    """Return how the night went, in one or two sentences."""
    if not numbers["exposures"]:
        if numbers["quarantined"]:
            return f"Nothing was archived; refused: {plural(numbers['quarantined'], 'file')}."
        return "Nothing arrived this night."
    if numbers["science"]:
        fields = plural(numbers["fields"], "field")
        filters = enumerated(list(numbers["science_by_filter"]))
        told = f"{plural(numbers['science'], 'science exposure')} of {fields} in {filters}"
    else:
        told = f"No science exposure, {plural(numbers['exposures'], 'other frame')}"
    refused = numbers["quarantined"]
    files = f"{plural(numbers['files'], 'file')} archived" + (
        f" and {refused} refused" if refused else ", none refused"
    )
    return f"{told}; {files}. {verdict(facts, numbers)}"


def verdict(facts: NightFacts, numbers: Mapping[str, Any]) -> str:
    """Return what the checks say, and which exposures are incomplete."""
    if not numbers["checks"]:
        told = "The night has not been checked yet"
    elif numbers["checks_critical"]:
        told = f"{plural(numbers['checks_critical'], 'critical check')} failed"
    elif numbers["checks_warning"]:
        told = f"All critical checks hold, with {plural(numbers['checks_warning'], 'warning')}"
    else:
        told = f"All {numbers['checks']} checks hold"
    missing = len(facts.incomplete)
    return told + (
        f"; {plural(missing, 'exposure')} {'lacks' if missing == 1 else 'lack'} CCDs." if missing else "."
    )


def cards(numbers: Mapping[str, Any]) -> str:
    """Return the key numbers as a grid."""
    fraction = numbers["open_shutter_fraction"]
    calibration = numbers["calibration"]
    broken = numbers["checks"] - numbers["checks_passed"]
    checks_tone = (
        "bad" if numbers["checks_critical"] else "warn" if broken or not numbers["checks"] else "good"
    )
    incomplete = numbers["incomplete"]
    filled = [
        card(
            f"{numbers['exposures']:,}",
            "Exposures",
            f"{incomplete} incomplete" if incomplete else "all complete" if numbers["exposures"] else "",
            "warn" if incomplete else "",
        ),
        card(f"{numbers['science']:,}", "Science exposures", _listed(numbers["science_by_filter"])),
        card(f"{sum(calibration.values()):,}", "Calibration frames", _listed(calibration)),
        card(f"{numbers['fields']:,}", "Fields", "visited by science"),
        card(f"{numbers['engineering']:,}", "Engineering frames", "archived, not processed"),
        card(f"{numbers['files']:,}", "Raw files archived", "one per CCD and exposure"),
        card(
            f"{numbers['quarantined']:,}",
            "Files refused",
            ", ".join(code.replace("_", " ") for code in list(numbers["quarantined_by_code"])[:3]) or "none",
            "warn" if numbers["quarantined"] else "good",
        ),
        card(
            f"{numbers['checks_passed']:,}",
            "Checks passed",
            f"of {numbers['checks']:,}" if numbers["checks"] else "not checked yet",
            checks_tone,
        ),
        card(size(numbers["bytes"]), "Raw data", f"{size(numbers['quarantined_bytes'])} in quarantine"),
        card(
            "none" if fraction is None else f"{fraction:.0%}",
            "Shutter open",
            "first to last science exposure",
        ),
    ]
    return f'<div class="cards">{"".join(filled)}</div>'


def plural(count: int, noun: str) -> str:
    """Return a count with its noun, such as ``3 files``."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def enumerated(words: Sequence[str]) -> str:
    """Return words as in a sentence: ``g, r and i``."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def visits(counts: pd.Series) -> str:
    """Return how often, such as ``4 to 6 times``."""
    low, high = int(counts.min()), int(counts.max())
    times = {1: "once", 2: "twice"}
    return times.get(low, f"{low} times") if low == high else f"{low} to {high} times"


def size(count: int) -> str:
    """Return bytes as people read them: decimal units."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def really(words: str) -> str:
    """Return what truth says as a coloured word, such as ``star`` in red for ``bogus: star``; or nothing."""
    if not words:
        return ""
    tone = "bad" if words.startswith("bogus") else "good"
    return tag(words.removeprefix("bogus: "), tone)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())
