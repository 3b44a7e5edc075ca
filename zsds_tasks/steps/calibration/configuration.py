"""Everything that decides what a master looks like, in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from zsds_tasks.declarations import Declaration, read_declaration
from zsds_tasks.science.calibration.acceptance import AcceptanceConfig
from zsds_tasks.science.calibration.badpixels import BadPixelConfig
from zsds_tasks.science.calibration.lampcells import LampConfig
from zsds_tasks.science.calibration.linearity import LinearityConfig
from zsds_tasks.science.calibration.masters import BiasConfig, FlatConfig
from zsds_tasks.science.calibration.overscan import OverscanConfig
from zsds_tasks.science.calibration.ramps import RampConfig
from zsds_tasks.science.calibration.shutter import ShutterConfig
from zsds_tasks.science.calibration.starflat import StarFlatConfig

STAGE = "calibration"
Positive = Annotated[float, Field(gt=0)]
Days = Annotated[int, Field(ge=0, le=365)]


class LampMapsConfig(Declaration):
    """What is made of the night's flats besides the high-frequency flat."""

    cells: LampConfig = LampConfig()
    ramp: RampConfig = RampConfig()
    linearity: LinearityConfig = LinearityConfig()
    shutter: ShutterConfig = ShutterConfig()
    max_led_noise: Positive = Field(1e-3, description="of a LED flat: error of a cell, median, relative")


class StarSelection(Declaration):
    """Which measured stars say something about the response."""

    catalog: str = Field("ps1", description="HATS catalogue under settings.catalogs_uri")
    colours: dict[str, tuple[str, str]] = Field(
        {"g": ("g", "r"), "r": ("g", "r"), "i": ("r", "i")},
        description="by name of the filter: bands of the colour that the colour coefficient multiplies",
    )
    magnitudes: tuple[float, float] = Field((14.0, 19.5), description="of the catalogue in the filter's band")
    max_catalog_error_mag: Positive = Field(0.03, description="in the filter's band")
    min_star_score: float = Field(0.8, description="sgscore of the catalogue: 1 is a star")
    min_snr: Positive = Field(30.0, description="of the measured flux")
    match_arcsec: Positive = Field(1.0, description="farthest catalogue star that a source may be")
    isolation_arcsec: Positive = Field(6.0, description="nearest neighbour in the catalogue that may matter")
    isolation_mag: Positive = Field(3.0, description="fainter neighbours do not matter")


class StarMapsConfig(Declaration):
    """How star flats are made and how long they serve."""

    fit: StarFlatConfig = StarFlatConfig()
    stars: StarSelection = StarSelection()
    validity_days: Days = Field(30, description="a star flat serves nights so long after its own")


class CalibrationConfig(Declaration):
    """Configuration of calibration masters; ``include/config/calibration.yaml`` overrides the defaults."""

    overscan: OverscanConfig = OverscanConfig()
    bias: BiasConfig = BiasConfig()
    flat: FlatConfig = FlatConfig()
    bad_pixels: BadPixelConfig = BadPixelConfig()
    acceptance: AcceptanceConfig = AcceptanceConfig()
    lamps: LampMapsConfig = LampMapsConfig()
    stars: StarMapsConfig = StarMapsConfig()
    validity_days: Days = Field(
        7, description="a master serves nights so far away, and is compared with the last one so far back"
    )
    parallel_mb: Annotated[float, Field(ge=0)] = Field(
        400.0, description="work on fewer raw bytes in this process: starting workers would cost more"
    )

    def for_masters(self) -> CalibrationConfig:
        """Return what decides bias, flats and bad pixels; where it runs changes no pixel."""
        return self.model_copy(
            update={"parallel_mb": 0.0, "lamps": LampMapsConfig(), "stars": StarMapsConfig()}
        )

    def for_lamp_maps(self) -> CalibrationConfig:
        """Return what decides linearity, shutter and LED flats."""
        return self.model_copy(update={"parallel_mb": 0.0, "stars": StarMapsConfig()})

    def for_star_flats(self) -> StarMapsConfig:
        """Return what decides star flats."""
        return self.stars


def load_calibration_config(include: Path) -> CalibrationConfig:
    """Read ``<include>/config/calibration.yaml``."""
    return read_declaration(include / "config" / "calibration.yaml", CalibrationConfig)
