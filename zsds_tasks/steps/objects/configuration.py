"""Everything that decides what an object is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from zsds_tasks.declarations import Declaration, read_declaration
from zsds_tasks.science.matching.config import GroupingConfig
from zsds_tasks.science.relative.config import SurveyConfig
from zsds_tasks.science.variability.candidates import CandidateConfig
from zsds_tasks.science.variability.period_config import PeriodConfig
from zsds_tasks.science.variability.statistics import StatisticsConfig

STAGE = "objects"
Arcsec = Annotated[float, Field(gt=0, le=60)]


class CurvesConfig(Declaration):
    """What is measured of the light curves of a unit."""

    statistics: StatisticsConfig = StatisticsConfig()
    candidates: CandidateConfig = CandidateConfig()


class NeighboursConfig(Declaration):
    """How far from an object what is known of its place may lie."""

    astrometric_arcsec: Arcsec = Field(1.5, description="a source of the astrometric catalogue, at most")
    photometric_arcsec: Arcsec = Field(1.5, description="a source of the photometric catalogue, at most")
    alert_arcsec: Arcsec = Field(1.5, description="the place of an object that alerted, at most")
    star_arcsec: Arcsec = Field(9.0, description="another star, at most; no more than the grouping's margin")


class PixelsConfig(Declaration):
    """How the stars of a pixel of the sky become objects."""

    healpix_order: Annotated[int, Field(ge=0, le=10)] = Field(
        6, description="order of the HEALPix pixels that are worked on as one; 6: 0.9 degrees wide"
    )
    grouping: GroupingConfig = GroupingConfig()
    periods: PeriodConfig = PeriodConfig()
    neighbours: NeighboursConfig = NeighboursConfig()
    extended_below: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5,
        description="star-galaxy score under which an object is extended: its PSF magnitudes follow the "
        "seeing, and it is no candidate; alerts find what changes in galaxies",
    )

    @model_validator(mode="after")
    def _check(self) -> PixelsConfig:
        if self.neighbours.star_arcsec > self.grouping.margin_arcsec:
            raise ValueError(
                f"neighbours.star_arcsec is over the margin of {self.grouping.margin_arcsec} arcsec"
            )
        return self

    @property
    def reach_arcsec(self) -> float:
        """How far from a pixel seeds can be that have a say in its objects: a member, and what decides it."""
        return self.grouping.margin_arcsec + self.grouping.radius_arcsec


class CalibrationConfig(Declaration):
    """The survey-wide calibration: which stars tie units to each other, and how they are solved for."""

    solver: SurveyConfig = SurveyConfig()
    least_epochs: Annotated[int, Field(ge=2)] = Field(
        3, description="good epochs of a light curve that counts"
    )
    most_error_mag: Annotated[float, Field(gt=0)] = Field(
        0.015, description="error of its mean magnitude; larger ones say little"
    )
    stars_per_pixel: Annotated[int, Field(ge=1)] = Field(
        1000,
        description="of each filter, those of the smallest errors: what bounds the memory of a large survey",
    )
    draws: Annotated[int, Field(ge=2)] = Field(
        16, description="random solutions that tell the errors, to 1 / sqrt(2 draws)"
    )
    seed: int = Field(20170101, description="of these")


class ObjectsConfig(Declaration):
    """Configuration of objects; ``include/config/objects.yaml`` overrides the defaults."""

    curves: CurvesConfig = CurvesConfig()
    pixels: PixelsConfig = PixelsConfig()
    calibration: CalibrationConfig = CalibrationConfig()
    rows_at_once: Annotated[int, Field(ge=1)] = Field(
        300_000, description="light curves, or objects, worked on before they are committed"
    )


def load_objects_config(include: Path) -> ObjectsConfig:
    """Read ``<include>/config/objects.yaml``."""
    return read_declaration(include / "config" / f"{STAGE}.yaml", ObjectsConfig)
