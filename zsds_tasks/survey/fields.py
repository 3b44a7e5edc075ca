"""The field grid: numbered pointings that the survey revisits."""

from __future__ import annotations

from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import Field as Key
from pydantic import model_validator

from zsds_tasks.declarations import Declaration, read_declaration
from zsds_tasks.errors import ConfigurationError

RightAscension = Annotated[float, Key(ge=0, lt=360)]
DeclinationAngle = Annotated[float, Key(ge=-90, le=90)]


class Field(Declaration):
    """One pointing; right ascension and declination of its centre in degrees (ICRS)."""

    id: Annotated[int, Key(ge=1, le=999_999)]
    ra: RightAscension
    dec: DeclinationAngle
    description: str = ""


class FieldRow(Declaration):
    """A declination row: `count` fields evenly spaced in right ascension, numbered eastward from `first`."""

    first: Annotated[int, Key(ge=1)]
    dec: DeclinationAngle
    count: Annotated[int, Key(ge=1)]
    ra0: RightAscension

    def expand(self) -> tuple[Field, ...]:
        """Return the row's fields."""
        return tuple(
            Field(id=self.first + i, ra=(self.ra0 + i * 360 / self.count) % 360, dec=self.dec)
            for i in range(self.count)
        )


class FieldGrid(Declaration):
    """All fields, given one by one or as rows. Obtain one with `load_fields`."""

    name: str
    description: str
    pointing_exact: bool  # whether a telescope pointing can be held against the centre
    fields: tuple[Field, ...] = ()
    rows: tuple[FieldRow, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> FieldGrid:
        ids = [f.id for f in self.all_fields]
        if len(set(ids)) != len(ids):
            raise ValueError(f"field ids repeat: {sorted({i for i in ids if ids.count(i) > 1})[:5]}")
        return self

    @property
    def all_fields(self) -> tuple[Field, ...]:
        """Every field, rows expanded."""
        return (*self.fields, *(field for row in self.rows for field in row.expand()))

    @cached_property
    def by_id(self) -> dict[int, Field]:
        """Fields by number."""
        return {f.id: f for f in self.all_fields}


@lru_cache(maxsize=8)
def load_fields(name: str, include: Path) -> FieldGrid:
    """Read ``<include>/config/survey/fields-<name>.yaml``; a wrong file raises `DeclarationError`."""
    return read_declaration(include / "config" / "survey" / f"fields-{name}.yaml", FieldGrid)


def read_field_list(path: Path) -> FieldGrid:
    """Read ZTF's own grid file: ``%`` comments, then id, RA, Dec and further columns.

    Raises
    ------
    ConfigurationError
        If a line has fewer than three numbers.
    """
    fields = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("%"):
            continue
        try:
            identifier, ra, dec = line.split()[:3]
            fields.append(Field(id=int(identifier), ra=float(ra) % 360, dec=float(dec)))
        except ValueError as error:
            raise ConfigurationError(
                f"line {number} is not 'id ra dec ...'",
                subject=str(path),
                remedy="use the official grid file",
            ) from error
    return FieldGrid(
        name=path.stem, description=f"read from {path.name}", pointing_exact=True, fields=tuple(fields)
    )
