"""What came of checks: told, recorded as rows of check_results, shown in Data Docs, and raised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.lakehouse.checks import Finding, TableCheck
from zsds_tasks.lakehouse.datadocs import data_docs

RESULTS = "check_results"
NIGHT = "night"
_NAMED_IN_ERRORS = 3


@dataclass(frozen=True)
class CheckSummary:
    """What came of checking a night, or the catalogues of all nights."""

    night: str
    """Or ``catalogs``."""
    tables: tuple[TableCheck, ...]
    page: str
    """Index of the Data Docs, under the archive's root; empty if nothing was recorded."""
    versions: Mapping[str, int | None] = field(default_factory=dict)
    """Delta versions of the tables that were looked at; None of one never written; nothing of a night."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All of them, over all tables."""
        return tuple(finding for check in self.tables for finding in check.findings)

    @property
    def total(self) -> int:
        """How many expectations were evaluated."""
        return len(self.findings)

    @property
    def passed(self) -> int:
        """How many hold."""
        return sum(finding.success for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for logs and the scheduler."""
        return {
            "night": self.night,
            "tables": len(self.tables),
            "checks": self.total,
            "passed": self.passed,
            "critical": [f"{table}: {f.expected.description}" for table, f in self.failed("critical")],
            "warnings": [f"{table}: {f.expected.description}" for table, f in self.failed("warning")],
            "page": self.page,
            "versions": dict(self.versions),
        }

    def failed(self, severity: str) -> tuple[tuple[str, Finding], ...]:
        """Return (table, finding) of the expectations of a severity that do not hold."""
        return tuple(
            (check.table, finding)
            for check in self.tables
            for finding in check.failed
            if finding.expected.severity == severity
        )


def record(lakehouse: Lakehouse, summary: CheckSummary) -> None:
    """Put results in the place of an earlier check's, and write the Data Docs around the summary's page."""
    lakehouse.table(RESULTS).replace(_result_rows(summary), {NIGHT: summary.night})
    folder = summary.page.rpartition("/")[0]
    for name, content in data_docs(summary.night, summary.tables).items():
        lakehouse.storage.put_bytes_atomically(content.encode(), f"{folder}/{name}")


def raise_if_critical(lakehouse: Lakehouse, summary: CheckSummary) -> None:
    """Refuse rows that break a critical expectation.

    Raises
    ------
    UnusableInputError
        Naming the first few.
    """
    critical: Sequence[tuple[str, Finding]] = summary.failed("critical")
    if not critical:
        return
    named = "; ".join(
        f"{table}: {finding.expected.description} ({finding.observed})"
        for table, finding in critical[:_NAMED_IN_ERRORS]
    )
    if len(critical) > _NAMED_IN_ERRORS:
        named += f"; and {len(critical) - _NAMED_IN_ERRORS} more"
    read = f"read {lakehouse.storage.uri(summary.page)}, " if summary.page else ""
    raise UnusableInputError(
        f"{len(critical)} critical expectation{'s' if len(critical) > 1 else ''} failed: {named}",
        subject=f"night {summary.night}" if summary.night.isdigit() else summary.night,
        remedy=f"{read}mend the rows, and check again",
    )


def _result_rows(summary: CheckSummary) -> list[dict[str, Any]]:
    return [
        {
            NIGHT: summary.night,
            "table_name": check.table,
            "table_version": check.version,
            "expectation_id": finding.expected.id,
            "expectation": finding.expected.type,
            "column_name": finding.expected.column,
            "sentence": finding.expected.description,
            "severity": finding.expected.severity,
            "origin": finding.expected.origin,
            "success": finding.success,
            "rows": finding.rows,
            "unexpected": finding.unexpected,
            "observed": finding.observed,
        }
        for check in summary.tables
        for finding in check.findings
    ]
