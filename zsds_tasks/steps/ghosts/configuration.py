"""Everything that decides where ghosts and halos are masked and how they are fitted, in one place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field

from zsds_tasks.declarations import Declaration, read_declaration
from zsds_tasks.science.masking.ghost_fit import GhostFitConfig
from zsds_tasks.science.masking.ghost_model import GhostModel, GhostPrior, HaloPrior, prior_model
from zsds_tasks.science.masking.ghost_stamps import StampConfig
from zsds_tasks.science.masking.ghosts import ReflectionMasking

STAGE = "ghosts"


class GhostsConfig(Declaration):
    """Configuration of ghosts and halos; ``include/config/ghosts.yaml`` overrides the defaults."""

    ghost: GhostPrior = GhostPrior()
    halo: HaloPrior = HaloPrior()
    masking: ReflectionMasking = ReflectionMasking()
    stamps: StampConfig = StampConfig()
    fit: GhostFitConfig = GhostFitConfig()
    brighter_than_mag: float = Field(9.0, description="Gaia's G: fainter stars have neither ghost nor halo")
    field_margin_arcsec: Annotated[float, Field(ge=0)] = Field(
        900.0, description="stars are needed this far beside the camera's field"
    )
    gaia_colours: Mapping[str, tuple[float, ...]] = Field(
        default_factory=lambda: {
            "g": (0.2199, -0.6365, -0.1548, 0.0064),
            "r": (-0.09837, 0.08592, 0.1907, -0.1701, 0.02263),
            "i": (-0.293, 0.6404, -0.09609, -0.002104),
        },
        description="G minus the filter's magnitude as a polynomial of BP - RP: Gaia DR3 to SDSS, recalled",
    )
    validity_days: Annotated[int, Field(ge=1)] = Field(365, description="a fitted model serves so long")

    @property
    def prior(self) -> GhostModel:
        """The model before any fit."""
        return prior_model(self.ghost, self.halo, self.fit.cell_arcsec)


def load_ghosts_config(include: Path) -> GhostsConfig:
    """Read ``<include>/config/ghosts.yaml``."""
    return read_declaration(include / "config" / "ghosts.yaml", GhostsConfig)
