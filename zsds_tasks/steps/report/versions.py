"""What a report was made with: versions of the code, of libraries, of tables and of processing."""

from __future__ import annotations

import datetime as dt
import platform
from html import escape
from importlib.metadata import PackageNotFoundError, version

from zsds_tasks.steps.report.gather import NightFacts

LIBRARIES = ("zsds", "astropy", "numpy", "pyarrow", "deltalake", "great-expectations")


def library_versions() -> dict[str, str]:
    """Return the versions of what made the numbers; libraries that are not installed are left out."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def footer(facts: NightFacts, now: dt.datetime) -> str:
    """Return the foot of the page.

    Parameters
    ----------
    facts : NightFacts
    now : datetime.datetime
        UTC.

    Returns
    -------
    str
        HTML.
    """
    libraries = ", ".join(f"{name} {number}" for name, number in library_versions().items())
    tables = (
        ", ".join(f"{name} v{number}" for name, number in sorted(facts.versions.items())) or "none written"
    )
    processing = ", ".join(sorted(set(facts.quality["processing_version"]))) or "none"
    return (
        f"<footer>Made {now:%Y-%m-%d %H:%M} UT for camera <code>{escape(facts.camera.name)}</code>. "
        f"Python {platform.python_version()}, {escape(libraries)}.<br>"
        f"Tables: {escape(tables)}. Quick-look processing version: "
        f"<code>{escape(processing)}</code>.</footer>"
    )
