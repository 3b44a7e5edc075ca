"""Everything that decides what a master looks like, in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from zsds_tasks.declarations import Declaration, read_declaration
from zsds_tasks.science.calibration.acceptance import AcceptanceConfig
from zsds_tasks.science.calibration.badpixels import BadPixelConfig
from zsds_tasks.science.calibration.masters import BiasConfig, FlatConfig
from zsds_tasks.science.calibration.overscan import OverscanConfig

STAGE = "calibration"


class CalibrationConfig(Declaration):
    """Configuration of calibration masters; ``include/config/calibration.yaml`` overrides the defaults."""

    overscan: OverscanConfig = OverscanConfig()
    bias: BiasConfig = BiasConfig()
    flat: FlatConfig = FlatConfig()
    bad_pixels: BadPixelConfig = BadPixelConfig()
    acceptance: AcceptanceConfig = AcceptanceConfig()
    validity_days: Annotated[int, Field(ge=0, le=365)] = Field(
        7, description="a master serves nights so far away, and is compared with the last one so far back"
    )
    parallel_mb: Annotated[float, Field(ge=0)] = Field(
        400.0, description="work on fewer raw bytes in this process: starting workers would cost more"
    )


def load_calibration_config(include: Path) -> CalibrationConfig:
    """Read ``<include>/config/calibration.yaml``."""
    return read_declaration(include / "config" / "calibration.yaml", CalibrationConfig)
