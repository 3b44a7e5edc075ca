"""Everything that decides what a light curve is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from zsds_tasks.declarations import Declaration, read_declaration
from zsds_tasks.science.matching.config import MatchingConfig
from zsds_tasks.science.relative.config import ErrorModelConfig, RelativeConfig

STAGE = "lightcurves"


class LightCurvesConfig(Declaration):
    """Configuration of light curves; ``include/config/lightcurves.yaml`` overrides the defaults."""

    matching: MatchingConfig = MatchingConfig()
    relative: RelativeConfig = RelativeConfig()
    errors: ErrorModelConfig = ErrorModelConfig()
    motion_radius_arcsec: Annotated[float, Field(gt=0)] = Field(
        1.0, description="a star of the astrometric catalogue nearer to a seed lends it its proper motion"
    )
    founding_snr: Annotated[float, Field(ge=0)] = Field(
        5.0,
        description="fainter detections that the reference does not explain found no star",
    )
    rows_at_once: Annotated[int, Field(ge=1)] = Field(
        3_000_000, description="detections of units worked on before they are committed"
    )


def load_lightcurves_config(include: Path) -> LightCurvesConfig:
    """Read ``<include>/config/lightcurves.yaml``."""
    return read_declaration(include / "config" / f"{STAGE}.yaml", LightCurvesConfig)
