"""The survey as its YAML file describes it: filters, image types, programmes, the zero of night numbers."""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from zsds_tasks.declarations import Declaration, read_declaration


class Filter(Declaration):
    """One filter under all its names."""

    name: str
    fid: Annotated[int, Field(ge=1, le=99)]
    code: Annotated[str, Field(pattern=r"^[A-Za-z]{2}$")]
    header: str
    wavelength_um: Annotated[float, Field(gt=0)]
    electrons_per_s_at_20: Annotated[float, Field(gt=0)]
    leds: tuple[int, ...]


class ImageType(Declaration):
    """One kind of frame; only on-sky frames of science programmes enter the science pipeline."""

    code: Annotated[str, Field(pattern=r"^[a-z]$")]
    name: str
    description: str
    sky: bool = False
    lamp: bool = False
    dark: bool = False
    science: bool = False


class Program(Declaration):
    """Who owns an exposure and for how long (null: never public)."""

    id: Annotated[int, Field(ge=0)]
    name: str
    group: int
    proprietary_days: Annotated[int, Field(ge=0)] | None
    science: bool
    pi: str = Field(
        "", description="principal investigator, as packets name him; empty: the programme's name"
    )

    def public_from(self, observed: dt.datetime) -> dt.datetime | None:
        """Return when an exposure of this programme becomes public; None means never."""
        if self.proprietary_days is None:
            return None
        return observed + dt.timedelta(days=self.proprietary_days)


class Survey(Declaration):
    """The survey. Obtain one with `load_survey`."""

    name: str
    file_prefix: Annotated[str, Field(pattern=r"^[a-z]+$")]
    night_zero: dt.date
    filters: tuple[Filter, ...]
    dark_filter_code: Annotated[str, Field(pattern=r"^[A-Za-z]{2}$")]
    image_types: tuple[ImageType, ...]
    programs: tuple[Program, ...]

    @model_validator(mode="after")
    def _check(self) -> Survey:
        for what, values in (
            ("filters: fid", [f.fid for f in self.filters]),
            ("filters: code", [f.code for f in self.filters] + [self.dark_filter_code]),
            ("image_types: code", [t.code for t in self.image_types]),
            ("programs: id", [p.id for p in self.programs]),
        ):
            if len(set(values)) != len(values):
                raise ValueError(f"{what} must not repeat: {values}")
        return self

    @property
    def filter_codes(self) -> tuple[str, ...]:
        """Every code a file name may carry, the dark one included."""
        return (*(f.code for f in self.filters), self.dark_filter_code)

    def filter_by_code(self, code: str) -> Filter:
        """Return the filter with this file-name code."""
        return next(f for f in self.filters if f.code == code)

    def filter_by_fid(self, fid: int) -> Filter:
        """Return the filter with this number."""
        return next(f for f in self.filters if f.fid == fid)

    def image_type(self, code: str) -> ImageType:
        """Return the image type with this letter."""
        return next(t for t in self.image_types if t.code == code)

    def program(self, programid: int) -> Program:
        """Return the programme with this number."""
        return next(p for p in self.programs if p.id == programid)

    def investigator(self, programid: int) -> str | None:
        """Return what packets call ``programpi``; None for a programme that is not declared."""
        found = next((p for p in self.programs if p.id == programid), None)
        return None if found is None else found.pi or found.name

    def is_science(self, imgtypecode: str, programid: int) -> bool:
        """Whether frames of this type and programme enter the science pipeline (reference 2.1)."""
        types = {t.code for t in self.image_types if t.science}
        programs = {p.id for p in self.programs if p.science}
        return imgtypecode in types and programid in programs


@lru_cache(maxsize=8)
def load_survey(name: str, include: Path) -> Survey:
    """Read ``<include>/config/survey/<name>.yaml``; a wrong file raises `DeclarationError`."""
    return read_declaration(include / "config" / "survey" / f"{name}.yaml", Survey)
