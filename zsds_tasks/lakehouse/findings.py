"""What came of expectations, as plain values, and the findings on parts of a table put together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from zsds_tasks.lakehouse.suites import Expected

EXAMPLES = 5
"""How many rows that break an expectation are kept as examples."""
NAMED = 3
"""How many of their values the sentence of a finding names."""


@dataclass(frozen=True)
class Finding:
    """What came of one expectation."""

    expected: Expected
    success: bool
    rows: int
    unexpected: int
    observed: str | None
    """What was found instead, in words; None when the expectation holds."""
    examples: tuple[dict[str, str], ...] = ()
    """Some of the offending rows: key columns and the columns concerned."""
    values: tuple[str, ...] = ()
    """What some of them hold, where rows were counted."""


@dataclass(frozen=True)
class TableCheck:
    """What came of all expectations on one table."""

    table: str
    version: int
    rows: int
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> tuple[Finding, ...]:
        """Findings that do not hold, critical ones first."""
        broken = [f for f in self.findings if not f.success]
        return tuple(sorted(broken, key=lambda f: f.expected.severity))


def off(unexpected: int, rows: int, values: Sequence[str]) -> str:
    """Say how many rows break an expectation, and what some of them hold."""
    return f"{unexpected} of {rows} rows" + (f", such as {'; '.join(values[:NAMED])}" if values else "")


def with_findings(check: TableCheck, more: Iterable[Finding]) -> TableCheck:
    """Return a check of a table with findings that were made otherwise."""
    return replace(check, findings=(*check.findings, *more))


def put_together(parts: Sequence[TableCheck]) -> TableCheck:
    """Return the check of a table that was checked in parts.

    Parameters
    ----------
    parts : sequence of TableCheck
        At least one; all with the same expectations in the same order.

    Returns
    -------
    TableCheck
        Rows and rows off added up; of examples, the first few.
    """
    first = parts[0]
    findings = zip(*(part.findings for part in parts), strict=True)
    return replace(first, rows=sum(part.rows for part in parts), findings=tuple(map(_together, findings)))


def _together(findings: Sequence[Finding]) -> Finding:
    rows = sum(finding.rows for finding in findings)
    broken = [finding for finding in findings if not finding.success]
    if not broken:
        return replace(findings[0], rows=rows)
    unexpected = sum(finding.unexpected for finding in broken)
    values = tuple(dict.fromkeys(value for finding in broken for value in finding.values))
    # Where rows could not be counted, all parts tell the same: the first stands for them.
    uncounted = next((f.observed for f in broken if not f.values), None)
    return replace(
        broken[0],
        rows=rows,
        unexpected=unexpected,
        observed=uncounted or off(unexpected, rows, values),
        values=values,
        examples=tuple(example for finding in broken for example in finding.examples)[:EXAMPLES],
    )
