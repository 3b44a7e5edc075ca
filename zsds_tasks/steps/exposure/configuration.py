"""Everything that decides what a calibrated image and its catalogues look like, in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from zsds_tasks.declarations import Declaration, read_declaration
from zsds_tasks.pixels.background import BackgroundConfig
from zsds_tasks.science.astrometry import AstrometryConfig
from zsds_tasks.science.calibration.overscan import OverscanConfig
from zsds_tasks.science.calibration.reduce import ReduceConfig
from zsds_tasks.science.masking.saturation import SaturationConfig
from zsds_tasks.science.masking.spikes import SpikeMaskConfig
from zsds_tasks.science.masking.tracks import TrackConfig
from zsds_tasks.science.photometry.apertures import ApertureConfig
from zsds_tasks.science.photometry.depth import DepthConfig
from zsds_tasks.science.photometry.psf_sources import PointSourcesConfig
from zsds_tasks.science.photometry.zeropoint_config import ZeroPointConfig
from zsds_tasks.science.quality.verdict import VerdictConfig
from zsds_tasks.steps.ghosts import GhostsConfig, load_ghosts_config

STAGE = "exposure"


class ExposureConfig(Declaration):
    """Configuration of the hot path; ``include/config/exposure.yaml`` overrides the defaults."""

    overscan: OverscanConfig = OverscanConfig()
    reduce: ReduceConfig = ReduceConfig()
    background: BackgroundConfig = BackgroundConfig()
    saturation: SaturationConfig = SaturationConfig()
    spikes: SpikeMaskConfig = SpikeMaskConfig()
    tracks: TrackConfig = TrackConfig()
    psf: PointSourcesConfig = PointSourcesConfig()
    astrometry: AstrometryConfig = AstrometryConfig()
    zero_point: ZeroPointConfig = ZeroPointConfig()
    apertures: ApertureConfig = ApertureConfig()
    depth: DepthConfig = DepthConfig()
    verdict: VerdictConfig = VerdictConfig()
    ghosts: GhostsConfig = Field(GhostsConfig(), description="declared in ghosts.yaml, not here")
    least_usable: Annotated[float, Field(ge=0, le=1)] = Field(
        0.3, description="share of usable pixels without which an image is not worked on"
    )
    catalog_margin_arcsec: Annotated[float, Field(ge=0)] = Field(
        30.0, description="the photometric catalogue is read so far beyond the image"
    )
    partner_radius_px: Annotated[float, Field(gt=0)] = Field(
        1.5, description="between a point source and its entry of the aperture catalogue"
    )
    write_products: bool = Field(True, description="write images and catalogues as FITS besides the rows")
    parallel_mb: Annotated[float, Field(ge=0)] = Field(
        30.0, description="work on fewer raw bytes in this process: starting workers would cost more"
    )


def load_exposure_config(include: Path) -> ExposureConfig:
    """Read ``<include>/config/exposure.yaml``, and that of ghosts."""
    config = read_declaration(include / "config" / "exposure.yaml", ExposureConfig)
    return config.model_copy(update={"ghosts": load_ghosts_config(include)})
