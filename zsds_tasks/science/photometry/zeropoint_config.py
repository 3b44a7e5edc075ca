"""What a calibrator is, how a filter is tied to the catalogue, and how the zero point is fitted."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.products.masks import UNUSABLE
from zsds_tasks.science.photometry.spatial import SpatialConfig

Positive = Annotated[float, Field(gt=0)]


class CalibratorConfig(Declaration):
    """What a calibrator must be."""

    match_radius_arcsec: Positive = Field(1.5, description="between source and catalogue entry")
    bright_mag: float = Field(14.0, description="brighter stars are saturated in the catalogue")
    faint_mag: float = Field(19.5, description="fainter ones say little")
    min_star_score: float = Field(0.5, description="star-galaxy score of the catalogue, 1 for stars")
    max_mag_error: Positive = Field(0.05, description="of the catalogue in the band and both of the colour")
    min_snr: Positive = Field(10.0, description="that a star of its catalogue magnitude has in the image")
    isolation_arcsec: Positive = Field(5.0, description="within it neighbours in the catalogue count")
    max_neighbour_flux: Positive = Field(0.03, description="of them all, over the calibrator's own flux")
    max_chi_ratio: Positive = Field(3.0, description="chi over the median of calibrators as bright")
    unusable_flags: Annotated[int, Field(ge=0)] = Field(UNUSABLE, description="mask bits that exclude")


class FilterCalibration(Declaration):
    """How a filter of the camera is tied to the catalogue."""

    band: str = Field(description="of the catalogue: its magnitudes are the standard")
    colour: tuple[str, str] = Field(description="bands whose difference is the colour")
    colour_range: tuple[float, float] = Field((-0.3, 1.6), description="calibrators lie inside, mag")
    coefficient: float = Field(description="colour coefficient expected beforehand")
    coefficient_error: Positive = Field(0.03, description="how far off it may be, 1 sigma")

    @property
    def pcolor(self) -> str:
        """The colour in words, the keyword PCOLOR."""
        return "-".join(self.colour)


class ZeroPointConfig(Declaration):
    """How a zero point is found."""

    filters: dict[str, FilterCalibration] = Field(
        default={
            "g": FilterCalibration(band="g", colour=("g", "r"), coefficient=-0.06),
            "r": FilterCalibration(band="r", colour=("g", "r"), coefficient=0.11),
            "i": FilterCalibration(band="i", colour=("r", "i"), coefficient=0.0, coefficient_error=0.1),
        },
        description="by the name of the filter in the survey's declaration",
    )
    calibrators: CalibratorConfig = CalibratorConfig()
    spatial: SpatialConfig = SpatialConfig()
    outlier_range_mag: Annotated[float, Field(gt=0)] = Field(
        2.0, description="over which calibrators that do not belong are spread"
    )
    scatter_mag: Annotated[float, Field(ge=0)] = Field(
        0.01, description="of calibrators beyond their errors, expected beforehand"
    )
    scatter_calibrators: Annotated[float, Field(ge=0)] = Field(
        4.0, description="how many calibrators that expectation counts for"
    )
    min_calibrators: Annotated[int, Field(ge=1)] = Field(3, description="fewer give no zero point")
    min_colour_calibrators: Annotated[int, Field(ge=3)] = Field(
        12, description="fewer do not move the colour coefficient from the one expected"
    )
    min_colour_spread_mag: Annotated[float, Field(ge=0)] = Field(
        0.10, description="standard deviation of the colours; less does not move it either"
    )
