"""Data Docs: what was expected of each table and what was found, as a static site that needs no network.

Great Expectations' own renderer loads its styles from the network, so these pages are ours. They hold the
same: an index of suites, one page per table with every expectation, and the results as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape

from zsds_tasks.lakehouse.checks import Finding, TableCheck
from zsds_tasks.lakehouse.suites import RELATION
from zsds_tasks.products.pages import card, page, section, table, tag

INDEX = "index.html"


def data_docs(night: str, checks: Sequence[TableCheck]) -> dict[str, str]:
    """Render the site.

    Parameters
    ----------
    night : str
        Observing night, YYYYMMDD; or a word for rows of all nights.
    checks : sequence of TableCheck

    Returns
    -------
    dict of str to str
        File name to content: ``index.html``, ``<table>.html`` and ``<table>.json``.
    """
    site = {INDEX: _index(night, checks)}
    for check in checks:
        site[f"{check.table}.html"] = _table_page(night, check)
        site[f"{check.table}.json"] = json.dumps(_as_json(night, check), indent=1) + "\n"
    return site


def verdict(findings: Sequence[Finding]) -> str:
    """Return findings in one sentence, such as ``41 of 42 expectations hold; 1 warning``."""
    broken = [f.expected.severity for f in findings if not f.success]
    if not broken:
        return f"All {len(findings)} expectations hold"
    parts = [f"{len(findings) - len(broken)} of {len(findings)} expectations hold"]
    if critical := broken.count("critical"):
        parts.append(f"{critical} critical {'failure' if critical == 1 else 'failures'}")
    if warning := broken.count("warning"):
        parts.append(f"{warning} {'warning' if warning == 1 else 'warnings'}")
    return "; ".join(parts)


def status_tag(finding: Finding) -> str:
    """Return the coloured word for one finding."""
    if finding.success:
        return tag("holds", "good")
    return tag("fails", "bad") if finding.expected.severity == "critical" else tag("warning", "warn")


def _index(night: str, checks: Sequence[TableCheck]) -> str:
    everything = [finding for check in checks for finding in check.findings]
    rows = [
        (
            f'<a href="{escape(check.table)}.html"><code>{escape(check.table)}</code></a>',
            f"{check.version}",
            f"{check.rows:,}",
            f"{len(check.findings)}",
            f"{len(check.findings) - len(check.failed)}",
            _tone_of(check),
        )
        for check in checks
    ]
    broken = [(check.table, finding) for check in checks for finding in check.failed]
    body = _heading(night, "Data Docs", verdict(everything)) + _cards(everything)
    if broken:
        body += section("What does not hold", "".join(_case(f, where) for where, f in broken))
    columns = ("Table", "Version", "Rows", "Expectations", "Hold", "")
    body += section("Tables", table(columns, rows, numeric=(1, 2, 3, 4)))
    link = '<a href="../index.html">Night report</a>' if night.isdigit() else ""
    return page(f"Data Docs, {_of(night)}", body + _footer(link))


def _table_page(night: str, check: TableCheck) -> str:
    body = _heading(night, check.table, verdict(check.findings)) + _cards(check.findings)
    if check.failed:
        body += section("What does not hold", "".join(_case(f) for f in check.failed))
    for origin, heading, note in (
        (
            "suite",
            "Written by hand",
            f"Invariants of the survey, from include/expectations/{check.table}.json.",
        ),
        (
            "declaration",
            "Derived from the declaration",
            f"Columns, types, ranges and key, from include/schemas/tables/{check.table}.yaml.",
        ),
        ("comparison", "Compared", "With earlier nights, or with what there is to be done."),
    ):
        rows = [_row(finding) for finding in check.findings if finding.expected.origin == origin]
        if rows:
            columns = ("", "Expectation", "Column or relation", "Severity", "Rows off")
            body += section(heading, table(columns, rows, numeric=(4,)), note=note)
    links = f'<a href="{INDEX}">All tables</a> · <a href="{escape(check.table)}.json">Results as JSON</a>'
    of = " of this night" if night.isdigit() else ""
    words = f"Version {check.version} of the table, {check.rows:,} rows{of}. {links}"
    return page(f"{check.table}, {_of(night)}", body + _footer(words))


def _of(night: str) -> str:
    return f"night {night}" if night.isdigit() else night


def _heading(night: str, title: str, sentence: str) -> str:
    return (
        f'<header><div class="over">{escape(_of(night).capitalize())} · checks</div><h1>{escape(title)}</h1>'
        f'<p class="lead">{escape(sentence)}.</p></header>'
    )


def _cards(findings: Sequence[Finding]) -> str:
    broken = [f.expected.severity for f in findings if not f.success]
    critical, warning = broken.count("critical"), broken.count("warning")
    held = len(findings) - len(broken)
    return (
        '<div class="cards">'
        + card(f"{held:,}", "Hold", f"of {len(findings):,} expectations", "" if broken else "good")
        + card(f"{critical}", "Critical failures", "stop what depends on them", "bad" if critical else "good")
        + card(f"{warning}", "Warnings", "worth a look", "warn" if warning else "good")
        + "</div>"
    )


def _tone_of(check: TableCheck) -> str:
    severities = {f.expected.severity for f in check.failed}
    if "critical" in severities:
        return tag("critical failure", "bad")
    return tag("warnings", "warn") if severities else tag("all hold", "good")


def _case(finding: Finding, where: str = "") -> str:
    place = f" <code>{escape(where)}</code>" if where else ""
    text = (
        f"<h3>{status_tag(finding)}{place} {escape(finding.expected.description)}</h3>"
        f'<p class="note">{escape(finding.observed or "")} (<code>{escape(finding.expected.type)}</code>)</p>'
    )
    if finding.examples:
        names = list(dict.fromkeys(name for example in finding.examples for name in example))
        rows = [
            tuple(f"<code>{escape(example.get(name, ''))}</code>" for name in names)
            for example in finding.examples
        ]
        text += table(names, rows)
    return f'<div class="case">{text}</div>'


def _row(finding: Finding) -> tuple[str, ...]:
    expected = finding.expected
    subject = expected.kwargs["relation"] if expected.type == RELATION else expected.column or "whole table"
    return (
        status_tag(finding),
        f'{escape(expected.description)}<br><span class="note"><code>{escape(expected.type)}</code></span>',
        f"<code>{escape(subject)}</code>",
        expected.severity,
        f"{finding.unexpected:,}" if not finding.success else "0",
    )


def _footer(words: str) -> str:
    return f"<footer>{words}</footer>"


def _as_json(night: str, check: TableCheck) -> dict[str, object]:
    return {
        "night": night,
        "table": check.table,
        "version": check.version,
        "rows": check.rows,
        "results": [
            {
                "id": f.expected.id,
                "type": f.expected.type,
                "kwargs": f.expected.kwargs,
                "sentence": f.expected.description,
                "severity": f.expected.severity,
                "origin": f.expected.origin,
                "success": f.success,
                "unexpected": f.unexpected,
                "observed": f.observed,
                "examples": list(f.examples),
            }
            for f in check.findings
        ],
    }
