"""When two detections are of one star."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from zsds_tasks.declarations import Declaration

Positive = Annotated[float, Field(gt=0)]
Arcsec = Annotated[float, Field(ge=0.2, le=60)]


class MatchingConfig(Declaration):
    """Of the detections of a unit to its seeds."""

    radius_arcsec: Arcsec = Field(1.5, description="no detection farther from a seed is of its star, arcsec")
    doubtful_chance: Annotated[float, Field(gt=0, le=1)] = Field(
        0.01,
        description="a match is in doubt beyond the radius within which this many strangers are expected",
    )
    doubtful_sigmas: Annotated[float, Field(ge=0)] = Field(
        5.0, description="no match is in doubt within this many errors of both positions"
    )
    density_radius_arcsec: Arcsec = Field(
        20.0, description="radius within which seeds of the reference are counted for their density, arcsec"
    )
    cell_arcsec: Positive = Field(
        0.5, description="side of the cells in the tangent plane that number founded seeds, arcsec"
    )


class GroupingConfig(Declaration):
    """Of the seeds of all units to objects."""

    radius_arcsec: Arcsec = Field(1.0, description="no seed farther from its object's leader, arcsec")
    rounds: Annotated[int, Field(ge=1, le=20)] = Field(
        4, description="rounds in which leaders are elected; bounds how far a seed can reach"
    )
    epoch_mjd: float = Field(
        57388.5, description="seeds are compared where they stood at this time, MJD: that of Gaia, J2016.0"
    )

    @property
    def margin_arcsec(self) -> float:
        """How far from a seed other seeds can change its object; see `group`."""
        return (2 * self.rounds + 1) * self.radius_arcsec
