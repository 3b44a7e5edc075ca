"""Everything that decides what a difference image and its candidates look like."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from zsds_tasks.declarations import Declaration, read_declaration
from zsds_tasks.pixels.warp import WarpConfig
from zsds_tasks.science.alerts.cutouts import CutoutConfig
from zsds_tasks.science.candidates.detect import DetectConfig
from zsds_tasks.science.candidates.measure import MeasureConfig
from zsds_tasks.science.difference.assess import AssessConfig
from zsds_tasks.science.difference.subtract import DifferenceConfig

STAGE = "difference"


class DifferencingConfig(Declaration):
    """Configuration of differences; ``include/config/difference.yaml`` overrides the defaults."""

    warp: WarpConfig = WarpConfig()
    node_step_px: Annotated[int, Field(ge=4)] = Field(32, description="between exact places of the pixel map")
    difference: DifferenceConfig = DifferenceConfig()
    assess: AssessConfig = AssessConfig()
    detect: DetectConfig = DetectConfig()
    measure: MeasureConfig = MeasureConfig()
    cutouts: CutoutConfig = CutoutConfig()
    only_later: bool = Field(
        True, description="compare only with references all of whose epochs are earlier, as ZTF does"
    )
    stored_sigma: Annotated[float, Field(gt=0)] = Field(
        4.0, description="least score of a row of candidates; at 3 ten thousand rows a quadrant are noise"
    )
    most_candidates: Annotated[int, Field(ge=1, le=4999)] = Field(
        4999, description="of one sign, the highest; the number of a candidate has no room for more"
    )
    near_arcsec: Annotated[float, Field(gt=0)] = Field(
        30.0, description="reference and Pan-STARRS sources are looked for so far away"
    )
    near_gaia_arcsec: Annotated[float, Field(gt=0)] = Field(90.0, description="and Gaia sources so far")
    bright_gaia_mag: float = Field(14.0, description="G of a bright one")
    reference_cache_mb: Annotated[float, Field(ge=0)] = Field(
        100.0, description="decoded references that a worker keeps for its next image of the same channel"
    )
    write_products: bool = Field(True, description="write difference image and PSF besides the rows")


def load_differencing_config(include: Path) -> DifferencingConfig:
    """Read ``<include>/config/difference.yaml``."""
    return read_declaration(include / "config" / f"{STAGE}.yaml", DifferencingConfig)
