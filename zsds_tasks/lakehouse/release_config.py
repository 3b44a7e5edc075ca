"""What every release is made of and says about itself: ``include/config/releases.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from zsds_tasks.declarations import Declaration, read_declaration

STAGE = "releases"


class Creator(Declaration):
    """Who is to be cited."""

    name: Annotated[str, Field(min_length=1)] = Field(description="as cited; of a person 'Family, Given'")
    kind: Literal["Personal", "Organizational"] = Field(
        "Organizational", description="a person or a body, as DataCite calls them"
    )
    affiliation: str = Field("", description="institute of a person")
    orcid: str = Field("", pattern=r"^$|^([0-9]{4}-){3}[0-9]{3}[0-9X]$", description="of a person")


class ReleasesConfig(Declaration):
    """Tables and metadata of releases."""

    tables: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        (
            "lightcurves",
            "objects",
            "lightcurve_statistics",
            "difference_lightcurves",
            "photometric_offsets",
            "survey_offsets",
        ),
        description="tables of a release; those over the sky as HATS, the others as one Parquet file each",
    )
    mapped: str = Field(
        "objects", description="table whose rows sky.png counts; where it is left out, the first over the sky"
    )
    title: str = Field("ZSDS light curves and objects", description="of the data; the number is added")
    description: str = Field(
        "Light curves and objects of a time-domain survey, reduced by ZSDS: relative photometry of point "
        "sources, their statistics and periods.",
        description="abstract",
    )
    creators: Annotated[tuple[Creator, ...], Field(min_length=1)] = Field(
        (Creator(name="ZSDS founders"),), description="who made the data, in the order of citation"
    )
    publisher: str = Field("ZSDS", description="who keeps and gives out the data")
    rights: str = Field("Creative Commons Attribution 4.0 International", description="licence of the data")
    rights_identifier: str = Field("CC-BY-4.0", description="its SPDX name")
    rights_uri: str = Field(
        "https://creativecommons.org/licenses/by/4.0/legalcode", description="where its text is"
    )
    subjects: tuple[str, ...] = Field(
        ("astronomy", "time-domain astronomy", "light curves", "photometry"), description="keywords"
    )


def load_releases_config(include: Path) -> ReleasesConfig:
    """Read ``<include>/config/releases.yaml``."""
    return read_declaration(include / "config" / f"{STAGE}.yaml", ReleasesConfig)
