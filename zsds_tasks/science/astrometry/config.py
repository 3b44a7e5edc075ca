"""How a quadrant is solved, and what its solution must reach to be believed."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.products.masks import UNUSABLE

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class SearchConfig(Declaration):
    """The three rungs of the ladder: where and how hard a first match is looked for."""

    shift_radius_arcsec: Positive = Field(300.0, description="of the first rung, prior model and shift")
    wide_radius_arcsec: Positive = Field(900.0, description="of the rungs that also turn")
    max_turn_deg: Positive = Field(2.0, description="either way, of the second rung")
    turn_step_deg: Positive = Field(0.15, description="smears the peak by 2 arcsec half way to a ZTF corner")
    cell_arcsec: Positive = Field(2.0, description="side of a cell of the shift histogram; 3 x 3 are counted")
    voters: tuple[Count, ...] = Field(
        (300, 100, 30), description="brightest sources that vote; fewer are asked while no peak is certain"
    )
    certain_chance: Positive = Field(1e-12, description="of a peak that needs no second vote")
    catalog_per_source: Positive = Field(
        2.5, description="catalogue stars that vote, per source and equal area: some are saturated or missing"
    )
    min_catalog: Count = Field(
        400, description="catalogue stars that vote at least, were sources ever so few"
    )
    max_chance: Positive = Field(1e-4, description="probability of such a peak among unrelated positions")
    pattern_sources: Count = Field(40, description="sources that make triangles")
    pattern_catalog: Count = Field(80, description="catalogue stars that make triangles")
    pattern_scale_tolerance: Positive = Field(0.03, description="of the pixel scale, third rung")
    pattern_shape_tolerance: Positive = Field(0.004, description="of logarithms of ratios of sides")
    pattern_cluster_arcsec: Positive = Field(8.0, description="agreeing triangles lie this close")
    pattern_min_votes: Count = Field(6, description="triangles that must agree")


class FitConfig(Declaration):
    """From a first match to the polynomial."""

    degree: Annotated[int, Field(ge=1, le=5)] = Field(4, description="highest, with enough stars")
    stars_per_coefficient: Positive = Field(30.0, description="of one axis: so many allow a degree unasked")
    fewest_stars_per_coefficient: Positive = Field(
        2.0, description="enough for a degree that the Bayesian information criterion prefers"
    )
    start_radius_arcsec: Positive = Field(10.0, description="of the first matching after a search")
    final_radius_arcsec: Positive = Field(1.5, description="largest of the last matching")
    bright_sources: Count = Field(500, description="sources of the first matchings")
    max_sources: Count = Field(12_000, description="brightest sources of the last matchings")
    clip_sigma: Positive = Field(4.0, description="residuals beyond it do not count")
    floor_arcsec: Annotated[float, Field(ge=0)] = Field(
        0.010, description="added to centroid errors in quadrature: turbulence, catalogue, pixel structure"
    )
    min_matches: Count = Field(6, description="fewer are no solution")
    unusable_flags: Annotated[int, Field(ge=0)] = Field(
        UNUSABLE, description="sources with any of these mask bits are left out (the unusable template)"
    )


class QualityCuts(Declaration):
    """When a solution is good, doubtful, or not to be used."""

    min_matches: Count = Field(20, description="fail below")
    rms_warn_arcsec: Positive = Field(0.20, description="per axis, warn above")
    rms_fail_arcsec: Positive = Field(0.50, description="per axis, fail above")
    scale_tolerance: Positive = Field(0.002, description="of the pixel scale against nominal, fail above")
    rotation_tolerance_deg: Positive = Field(0.3, description="against the rotator, warn above")
    pointing_tolerance_arcsec: Positive = Field(180.0, description="against the telescope, warn above")
    median_tolerance_arcsec: Positive = Field(0.03, description="median residual per axis, warn above")
    cell_tolerance_arcsec: Positive = Field(0.15, description="median residual of a cell, warn above")
    cells: Count = Field(4, description="along each side of the grid of cells")
    min_cell_stars: Count = Field(8, description="cells of fewer stars do not judge")
    measured_snr: Positive = Field(10.0, description="sources of at least this count for the RMS")
    bright_snr: Positive = Field(100.0, description="and of at least this for the RMS of bright stars")


class AstrometryConfig(Declaration):
    """Everything that can be tuned."""

    search: SearchConfig = SearchConfig()
    fit: FitConfig = FitConfig()
    cuts: QualityCuts = QualityCuts()
