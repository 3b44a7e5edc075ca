"""Star or galaxy: the probability of being a point, from how extended a source is and its error."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import expit

from zsds_tasks.declarations import Declaration

Floats = NDArray[np.float64]


class ClassConfig(Declaration):
    """How extended galaxies are expected to be; extent 1 is a disc of 0.35 FWHM half-light radius."""

    galaxy_extent: Annotated[float, Field(gt=0)] = Field(1.4, description="mean of galaxies")
    galaxy_spread: Annotated[float, Field(gt=0)] = Field(0.7, description="their standard deviation")
    star_spread: Annotated[float, Field(gt=0)] = Field(
        0.15, description="of stars beyond noise: companions, errors of the PSF"
    )
    star_share: Annotated[float, Field(gt=0, lt=1)] = Field(0.5, description="prior probability of a star")
    psf_floor: Annotated[float, Field(ge=0)] = Field(0.012, description="relative error of the PSF's profile")


def star_probability(extent: Floats, error: Floats, config: ClassConfig) -> Floats:
    """Return the probability (N) that a source is a point.

    Both kinds have a normal distribution of extents, widened by the error; without information the answer is
    the prior. A source narrower than the PSF counts as a point. NaN stays.
    """
    star = error**2 + config.star_spread**2
    galaxy = error**2 + config.galaxy_spread**2
    wide = np.maximum(extent, 0.0)
    log_ratio = 0.5 * ((wide - config.galaxy_extent) ** 2 / galaxy - wide**2 / star + np.log(galaxy / star))
    prior = np.log(config.star_share / (1 - config.star_share))
    return np.asarray(expit(log_ratio + prior))
