"""What a table declaration may say: frozen models that refuse whatever is wrong with a YAML file.

`zsds_tasks.products.tables` reads the files and derives Arrow schemas from these models.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Scalar = bool | int | float | str
"""What a declaration may list as a permitted value or a bound."""

BASE_TYPES = (
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "float32",
    "float64",
    "string",
    "binary",
    "timestamp",
)
NUMERIC_TYPES = BASE_TYPES[1:7]
INTEGER_TYPES = BASE_TYPES[1:5]
INDEX_COLUMN = "_healpix_29"
"""HATS's spatial index: the nested HEALPix number of (ra, dec) at order 29; the lakehouse computes it."""
PARTITION_COLUMNS = ("Norder", "Dir", "Npix")
"""The levels of a HATS folder tree; they are Delta partition columns and never columns of a declaration."""

_NAME = re.compile(r"^[a-z][a-z0-9_]*$")
NESTED = "nested"
"""A table in each cell: lists of one length, side by side; nested-pandas and LSDB read it as such."""
_TYPE = re.compile(rf"^(?:list<(?P<element>{'|'.join(BASE_TYPES)})>|{'|'.join(BASE_TYPES)}|{NESTED})$")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ColumnDeclaration(_Frozen):
    """One column: what it holds, in which unit, and what a right value looks like."""

    name: str
    type: str
    description: str = Field(min_length=1)
    unit: str = ""
    ucd: str = ""
    nullable: bool = False
    range: tuple[float | None, float | None] | None = None
    values: tuple[Scalar, ...] | None = None
    pattern: str | None = None
    columns: tuple[ColumnDeclaration, ...] = ()

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if name.lower() in {column.lower() for column in PARTITION_COLUMNS}:
            raise ValueError("is a level of the HATS folder tree; the lakehouse adds it")
        if not _NAME.match(name):
            raise ValueError("column names are lower case letters, digits and _, starting with a letter")
        return name

    @field_validator("type")
    @classmethod
    def _check_type(cls, type_: str) -> str:
        if not _TYPE.match(type_):
            known = f"{', '.join(BASE_TYPES)}, list<...> of those, and {NESTED}"
            raise ValueError(f"unknown type {type_!r}; known: {known}")
        return type_

    @field_validator("unit")
    @classmethod
    def _check_unit(cls, unit: str) -> str:
        return _known_unit(unit)

    @field_validator("ucd")
    @classmethod
    def _check_ucd(cls, ucd: str) -> str:
        return _known_ucd(ucd)

    @field_validator("range", "values", "columns", mode="before")
    @classmethod
    def _sequence(cls, given: object) -> object:
        return tuple(given) if isinstance(given, list) else given  # YAML knows lists only

    @field_validator("pattern")
    @classmethod
    def _check_pattern(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error
        return pattern

    @model_validator(mode="after")
    def _check_nesting(self) -> ColumnDeclaration:
        if self.is_nested != bool(self.columns):
            raise ValueError(f"type {NESTED} and `columns` go together")
        names = [column.name for column in self.columns]
        if len(set(names)) < len(names):
            raise ValueError(f"nests a column twice: {', '.join(names)}")
        for column in self.columns:
            if column.is_list or column.is_nested or column.nullable:
                raise ValueError(f"nested column {column.name} must be of a base type and not nullable")
        if self.is_nested and self.nullable:
            raise ValueError("a nested column without rows is empty, never null")
        return self

    @model_validator(mode="after")
    def _check_constraints(self) -> ColumnDeclaration:
        if self.range is not None:
            low, high = self.range
            if self.element_type not in NUMERIC_TYPES:
                raise ValueError(f"a range needs a numeric type, not {self.type}")
            if low is not None and high is not None and low > high:
                raise ValueError(f"the range starts at {low:g} and ends below it, at {high:g}")
        if self.pattern is not None and self.element_type != "string":
            raise ValueError(f"a pattern needs type string, not {self.type}")
        if self.values is not None:
            self._check_values(self.values)
        return self

    def _check_values(self, values: tuple[Scalar, ...]) -> None:
        if not values:
            raise ValueError("values is empty: no row could ever be right")
        accepted: dict[str, tuple[type, ...]] = {"bool": (bool,), "string": (str,)}
        for value in values:
            allowed = accepted.get(
                self.element_type, (int,) if self.element_type in INTEGER_TYPES else (int, float)
            )
            if not isinstance(value, allowed) or (isinstance(value, bool) and self.element_type != "bool"):
                raise ValueError(f"value {value!r} does not fit type {self.type}")

    @property
    def element_type(self) -> str:
        """The base type: that of the elements for a list."""
        match = _TYPE.match(self.type)
        return (match["element"] or self.type) if match else self.type

    @property
    def is_list(self) -> bool:
        """Whether a cell holds a list."""
        return self.type.startswith("list<")

    @property
    def is_nested(self) -> bool:
        """Whether a cell holds a table: a list in each of `columns`, all of one length."""
        return self.type == NESTED


class NoPartition(_Frozen):
    """A table small enough, or without a place on the sky: no partition columns."""

    kind: Literal["none"] = "none"


class HealpixPartition(_Frozen):
    """A table laid out over the sky as ``Norder=/Dir=/Npix=``; the order follows the density of rows."""

    kind: Literal["healpix"]
    ra: str
    dec: str
    order: int = Field(ge=0, le=10, description="the coarsest order used")
    max_rows: int = Field(1_000_000, ge=1, description="a pixel with more rows is split into four")


Partition = Annotated[HealpixPartition | NoPartition, Field(discriminator="kind")]


class TableDeclaration(_Frozen):
    """One table of the lakehouse, as ``include/schemas/tables/<table>.yaml`` declares it."""

    table: str
    description: str = Field(min_length=1)
    key: tuple[str, ...] = Field(min_length=1)
    partition: Partition = NoPartition()
    columns: tuple[ColumnDeclaration, ...] = Field(min_length=1)

    @field_validator("key", "columns", mode="before")
    @classmethod
    def _sequence(cls, given: object) -> object:
        return tuple(given) if isinstance(given, list) else given

    @field_validator("table")
    @classmethod
    def _check_table(cls, table: str) -> str:
        if not _NAME.match(table):
            raise ValueError("table names are lower case letters, digits and _, starting with a letter")
        return table

    @field_validator("columns")
    @classmethod
    def _check_duplicates(cls, columns: tuple[ColumnDeclaration, ...]) -> tuple[ColumnDeclaration, ...]:
        names = [column.name for column in columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"declared twice: {', '.join(twice)}")
        return columns

    @model_validator(mode="after")
    def _check_references(self) -> TableDeclaration:
        if len(set(self.key)) < len(self.key):
            raise ValueError(f"key names a column twice: {', '.join(self.key)}")
        for name in self.key:
            column = self._referred(name, "key")
            if column.nullable:
                raise ValueError(f"key column {name} is nullable; a key must identify every row")
            if column.is_list or column.type in {"float32", "float64", "binary", NESTED}:
                raise ValueError(
                    f"key column {name} has type {column.type}, which cannot be compared exactly"
                )
        if isinstance(self.partition, HealpixPartition):
            for role in ("ra", "dec"):
                column = self._referred(getattr(self.partition, role), f"partition.{role}")
                if column.type != "float64" or column.nullable or column.unit != "deg":
                    raise ValueError(
                        f"partition.{role} column {column.name} must be float64, in deg, not nullable"
                    )
        return self

    def _referred(self, name: str, role: str) -> ColumnDeclaration:
        for column in self.columns:
            if column.name == name:
                return column
        raise ValueError(f"{role} names column {name!r}, which is not declared")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the declared columns, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def healpix(self) -> HealpixPartition | None:
        """The partition, when it follows the sky."""
        return self.partition if isinstance(self.partition, HealpixPartition) else None

    def column(self, name: str) -> ColumnDeclaration:
        """Return the column called `name`.

        Raises
        ------
        KeyError
            If the table declares no such column.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)


@cache
def _known_unit(unit: str) -> str:
    from astropy import units  # noqa: PLC0415 - 0.5 s that only a declaration with units pays

    if unit:
        try:
            units.Unit(unit)
        except ValueError as error:
            raise ValueError(f"{unit!r} is not a unit astropy knows: {error}") from error
    return unit


@cache
def _known_ucd(ucd: str) -> str:
    from astropy.io.votable.ucd import parse_ucd  # noqa: PLC0415 - as above; it carries IVOA's word list

    if ucd:
        try:
            parse_ucd(ucd, check_controlled_vocabulary=True)
        except ValueError as error:
            raise ValueError(f"{ucd!r} is not a UCD1+ (IVOA word list): {error}") from error
    return ucd
