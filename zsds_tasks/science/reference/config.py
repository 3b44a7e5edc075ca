"""What a reference is made of, how, and when it is good: the numbers of reference section 5."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from zsds_tasks.declarations import Declaration
from zsds_tasks.pixels.coadd import CoaddConfig
from zsds_tasks.pixels.warp import WarpConfig
from zsds_tasks.products.masks import UNUSABLE

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class SelectionConfig(Declaration):
    """Which epochs a reference is made of."""

    min_frames: Count = Field(15, description="fewer make no reference; a new survey may begin with less")
    max_frames: Count = Field(40, description="the deepest are taken")
    max_per_night: Count = Field(5, description="the deepest of each night")
    min_nights: Count = Field(3, description="fewer make no reference: what moves must not stay")
    least_fwhm_arcsec: Positive = Field(1.5, description="sharper ones are undersampled or not stars")
    most_fwhm_arcsec: Positive = Field(3.5, description="of the PSF")
    fwhm_quantile: Share = Field(0.70, description="of the field's epochs, over it refused")
    background_quantile: Share = Field(0.75, description="of the field's epochs, over it refused")
    below_median_limit_mag: Positive = Field(
        0.3, description="MAGLIM under the field's median by more: refused"
    )
    below_best_zp_mag: Positive = Field(0.3, description="zero point under the field's best by more: refused")
    best_zp_quantile: Share = Field(
        1.0, description="which zero point counts as the field's best; 1: the highest"
    )
    most_airmass: Positive = Field(1.8, description="where it is known")
    most_astrometric_rms_arcsec: Positive = Field(0.1, description="per axis")
    readmit: bool = Field(
        default=False,
        description="where the two quantiles leave too few frames or nights, take the deepest refused "
        "for nothing else: for a survey's first nights",
    )

    @model_validator(mode="after")
    def _check(self) -> SelectionConfig:
        if self.max_frames < self.min_frames:
            raise ValueError(f"at most {self.max_frames} frames and at least {self.min_frames}")
        if self.most_fwhm_arcsec <= self.least_fwhm_arcsec:
            raise ValueError(f"FWHM from {self.least_fwhm_arcsec} to {self.most_fwhm_arcsec} arcsec")
        return self


class ReplacementConfig(Declaration):
    """When a new reference is clearly better than the present one: every light curve changes with it."""

    depth_gain_mag: Positive = Field(0.4, description="of expected depth, enough if the seeing is not worse")
    seeing_gain: Share = Field(0.85, description="new over present FWHM, enough if the depth is not worse")
    depth_tolerance_mag: Annotated[float, Field(ge=0)] = Field(0.1, description="is not worse")
    seeing_tolerance: Annotated[float, Field(ge=1)] = Field(
        1.05, description="new over present, is not worse"
    )


class BuildConfig(Declaration):
    """How epochs become a reference."""

    pixel_scale_arcsec: Positive = Field(1.01, description="of the north-up grid")
    margin_px: Annotated[int, Field(ge=0)] = Field(0, description="around all footprints")
    most_side: Positive = Field(
        1.6,
        description="largest side of the grid, in sides of a channel: over it epochs are not of one field",
    )
    zero_points: dict[str, float] = Field(
        {"g": 26.325, "r": 26.275, "i": 25.660}, description="fixed zero point by filter name, mag"
    )
    weight: Literal["depth", "noise"] = Field(
        "depth",
        description="inverse variance of a point source's flux (noise and seeing), or of the sky in a pixel",
    )
    unusable_bits: Annotated[int, Field(ge=0, lt=1 << 16)] = Field(
        UNUSABLE, description="a pixel of an epoch with any of these mask bits is no sample"
    )
    node_step_px: Annotated[int, Field(ge=4)] = Field(32, description="between exact places of the pixel map")
    memory_mb: Positive = Field(
        900.0, description="for the stack; larger ones are done in strips, loaded again"
    )
    warp: WarpConfig = WarpConfig()
    coadd: CoaddConfig = CoaddConfig()


class ReferenceQualityConfig(Declaration):
    """What a reference must reach."""

    median_coverage: Positive = Field(15.0, description="frames, at least")
    coverage: Positive = Field(8.0, description="frames over `coverage_area` of the channel, at least")
    coverage_area: Share = Field(0.95, description="share of the channel")
    fwhm_arcsec: Positive = Field(3.0, description="at most")
    depth_gain_mag: float = Field(0.8, description="over the median epoch, at least")
    astrometric_rms_arcsec: Positive = Field(0.060, description="per axis, at most")
    zero_point_rms_mag: Positive = Field(0.03, description="of the calibrators, at most")
    nan_fraction: Share = Field(0.02, description="of the channel, at most")
