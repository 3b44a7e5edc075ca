"""What is expected of a table: derived from its declaration, and written by hand in include/expectations.

Nothing here imports Great Expectations; `zsds_tasks.lakehouse.checks` hands these over to it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from zsds_tasks.declarations import Declaration, check_declaration
from zsds_tasks.errors import DeclarationError
from zsds_tasks.lakehouse.relations import names_in
from zsds_tasks.products.tables import INDEX_COLUMN, ColumnDeclaration, TableDeclaration

RELATION = "expect_rows_to_satisfy"
"""Our own type of expectation: a relation between the columns of every row."""

_PANDAS_TYPES = {"string": "str", "timestamp": "Timestamp"}

Severity = Literal["critical", "warning"]
Origin = Literal["declaration", "suite", "comparison"]
"""Derived from the declaration, written by hand, or made by comparing whole tables (see steps.drift)."""


class Expected(Declaration):
    """One expectation in the words of Great Expectations' suite files."""

    type: str = Field(pattern=r"^expect_[a-z_]+$")
    kwargs: dict[str, Any] = Field(default_factory=dict)
    severity: Severity = "critical"
    description: str = Field(min_length=1)
    origin: Origin = "suite"

    @property
    def column(self) -> str | None:
        """The one column concerned, or None."""
        return self.kwargs.get("column")

    @property
    def id(self) -> str:
        """Digest of type and arguments: the same for the same expectation on every night."""
        text = json.dumps([self.type, self.kwargs], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @model_validator(mode="after")
    def _check_relation(self) -> Expected:
        if self.type == RELATION:
            if not isinstance(self.kwargs.get("relation"), str):
                raise ValueError(f"kwargs.relation is missing: {RELATION} needs one")
            try:
                names_in(self.kwargs["relation"])
            except DeclarationError as error:
                raise ValueError(str(error)) from error
        return self


class Lookup(Declaration):
    """A column added to the rows before they are judged, from the rows of another table (or of the same).

    Alone it counts the rows that agree in `by`. With one of the others it takes that column of the row that
    does, or adds it up over the rows that do (0 for none), or takes the smallest or largest.
    A column that the other table calls otherwise is written ``here=there``.
    """

    column: str
    table: str = Field(alias="from")
    by: tuple[str, ...] = Field(min_length=1)
    take: str | None = None
    sum: str | None = None
    smallest: str | None = None
    largest: str | None = None

    @property
    def wanted(self) -> tuple[str, str] | None:
        """What is done with which column of the other table; None where rows are counted."""
        for kind in ("take", "sum", "smallest", "largest"):
            if name := getattr(self, kind):
                return kind, name
        return None

    @property
    def there(self) -> set[str]:
        """Columns of the other table that are needed."""
        return {*self.pairs.values(), *([self.wanted[1]] if self.wanted else [])}

    @model_validator(mode="after")
    def _check(self) -> Lookup:
        if sum(getattr(self, kind) is not None for kind in ("take", "sum", "smallest", "largest")) > 1:
            raise ValueError(f"lookup {self.column!r} can do one thing only: take, sum, smallest or largest")
        return self

    @property
    def pairs(self) -> dict[str, str]:
        """Names of the columns that must agree: here, and in the other table."""
        parts = (name.partition("=") for name in self.by)
        return {here: there or here for here, _, there in parts}


class SuiteNotes(Declaration):
    """The part of a suite's ``meta`` that we read."""

    lookups: tuple[Lookup, ...] = ()


class Suite(Declaration):
    """Expectations on one table."""

    name: str
    expectations: tuple[Expected, ...]
    meta: SuiteNotes = SuiteNotes()

    @model_validator(mode="after")
    def _check(self) -> Suite:
        ids = [expected.id for expected in self.expectations]
        twice = {e.description for e in self.expectations if ids.count(e.id) > 1}
        if twice:
            raise ValueError(f"expected twice: {'; '.join(sorted(twice))}")
        return self


def expectations_folder(include: Path) -> Path:
    """Return ``<include>/expectations``."""
    return include / "expectations"


def handwritten_suite(table: str, include: Path) -> Suite:
    """Read ``<include>/expectations/<table>.json``; a table without one has an empty suite.

    Raises
    ------
    DeclarationError
        If the file is not JSON, says something wrong, or is named after another table.
    """
    path = expectations_folder(include) / f"{table}.json"
    if not path.exists():
        return Suite(name=table, expectations=())
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise DeclarationError(f"not JSON: {error}", subject=str(path), remedy="mend the syntax") from error
    suite = check_declaration(content, Suite, subject=str(path))
    if suite.name != table:
        raise DeclarationError(
            f"name says {suite.name!r}, but the file is called {path.name!r}",
            subject=str(path),
            remedy="give the suite and its file the same name",
        )
    return suite


def declared_suite(declaration: TableDeclaration, *, indexed: bool = False) -> Suite:
    """Derive what the declaration already promises: columns, types, nulls, ranges, values, patterns, key.

    Parameters
    ----------
    declaration : TableDeclaration
    indexed : bool
        The rows are as stored, with their spatial index: it must be that of the position.
    """
    partition = declaration.healpix if indexed else None
    table = [
        _declared(
            "expect_table_columns_to_match_set",
            "The table has the declared columns and no others",
            column_set=[*([INDEX_COLUMN] if partition else []), *declaration.names],
            exact_match=True,
        ),
        _unique(declaration.key),
    ]
    if partition:
        table.append(
            _declared(
                RELATION,
                f"The spatial index is that of {partition.ra}, {partition.dec}",
                relation=f"{INDEX_COLUMN} == healpix({partition.ra}, {partition.dec})",
            )
        )
    columns = [e for column in declaration.columns for e in _of_column(column)]
    return Suite(
        name=declaration.table, expectations=tuple(Expected.model_validate(e) for e in [*table, *columns])
    )


def _declared(expectation: str, description: str, /, **kwargs: Any) -> dict[str, Any]:
    return {"type": expectation, "kwargs": kwargs, "description": description, "origin": "declaration"}


def _unique(key: tuple[str, ...]) -> dict[str, Any]:
    if len(key) == 1:
        return _declared("expect_column_values_to_be_unique", f"No {key[0]} appears twice", column=key[0])
    words = f"No combination of {', '.join(key)} appears twice"
    return _declared("expect_compound_columns_to_be_unique", words, column_list=list(key))


def _of_column(column: ColumnDeclaration) -> list[dict[str, Any]]:
    name = column.name
    expected = []
    # Arrow's schema already vouches for the others.
    if not (column.is_list or column.is_nested or column.type == "binary"):
        kind = _PANDAS_TYPES.get(column.type, column.type)
        expected.append(
            _declared(
                "expect_column_values_to_be_of_type", f"{name} is {column.type}", column=name, type_=kind
            )
        )
    if not column.nullable:
        expected.append(
            _declared("expect_column_values_to_not_be_null", f"{name} is never missing", column=name)
        )
    if column.is_list or column.is_nested:
        return expected
    if column.range is not None:
        low, high = column.range
        unit = f" {column.unit}" if column.unit else ""
        expected.append(
            _declared(
                "expect_column_values_to_be_between",
                f"{name} is {_interval(low, high)}{unit}",
                column=name,
                min_value=low,
                max_value=high,
            )
        )
    if column.values is not None:
        words = f"{name} is one of {', '.join(map(str, column.values))}"
        expected.append(
            _declared("expect_column_values_to_be_in_set", words, column=name, value_set=list(column.values))
        )
    if column.pattern is not None:
        words = f"{name} has the form {column.pattern}"
        expected.append(
            _declared("expect_column_values_to_match_regex", words, column=name, regex=column.pattern)
        )
    return expected


def _interval(low: float | None, high: float | None) -> str:
    if low is None:
        return f"at most {high:g}"
    if high is None:
        return f"at least {low:g}"
    return f"between {_plain(low)} and {_plain(high)}"


def _plain(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:g}"
