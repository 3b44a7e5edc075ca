"""How the images of a unit, and of a survey, are brought to one scale."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.products.masks import UNUSABLE

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class EnsembleConfig(Declaration):
    """Which stars tell how far an image is off."""

    unusable_flags: Annotated[int, Field(ge=0)] = Field(
        UNUSABLE, description="mask bits that exclude an epoch"
    )
    max_error_mag: Positive = Field(
        0.04, description="mean formal error of a star; fainter ones say little, and hide clouds"
    )
    min_epochs: Annotated[int, Field(ge=2)] = Field(
        3, description="of a star, or all images if there are less"
    )
    floor_mag: Positive = Field(
        0.003, description="scatter of the best stars, at least: a few bright ones must not decide alone"
    )
    bin_stars: Annotated[int, Field(ge=5)] = Field(
        40, description="stars as bright whose median scatter is what a stable star's is expected to be"
    )
    stable_sigma: Positive = Field(
        3.0, description="scatter above the expected by more, in its error: unstable"
    )
    locus_width: Annotated[float, Field(ge=0)] = Field(
        0.15,
        description="relative spread of the scatter of stable stars as bright, beyond that of few epochs",
    )


class ImageConfig(Declaration):
    """How an image is corrected, and when it is bad."""

    max_order: Annotated[int, Field(ge=0, le=2)] = Field(2, description="highest total degree over the image")
    stars_per_coefficient: Positive = Field(5.0, description="fewer stable stars do not allow an order")
    evidence: Annotated[float, Field(ge=0)] = Field(
        6.0, description="gain in the Bayesian information criterion that proves an order"
    )
    min_rms_mag: Annotated[float, Field(ge=0)] = Field(
        0.0015, description="RMS of the spatial terms over the image; less is not applied"
    )
    term_sigma_mag: Positive = Field(0.1, description="size of a spatial term expected beforehand, 1 sigma")
    min_stars: Count = Field(5, description="stable stars; fewer tell no correction and the image is bad")
    max_scatter_ratio: Positive = Field(
        1.4,
        description="scatter after the correction, in that expected of its stars; more, by three times its "
        "error, is a structured cloud",
    )
    cloud_rms_mag: Positive = Field(
        0.02, description="RMS of the spatial terms; more is flagged, yet not bad"
    )
    photometric_sigma: Positive = Field(
        3.0, description="offset from the others, in their spread; farther ones do not fix the gauge"
    )
    photometric_mag: Positive = Field(
        0.01, description="within it of the others an image always fixes the gauge"
    )


class SolverConfig(Declaration):
    """When to stop, and what is an outlier."""

    outlier_sigma: Positive = Field(4.685, description="Tukey's bisquare forgets residuals beyond it")
    rounds: Annotated[int, Field(ge=1, le=10)] = Field(3, description="of weights, stable stars and orders")
    sweeps: Count = Field(60, description="over all epochs to the end, at most")
    tolerance_mag: Positive = Field(1e-6, description="change of offsets that ends it")


class RelativeConfig(Declaration):
    """Relative photometry of one unit."""

    ensemble: EnsembleConfig = EnsembleConfig()
    images: ImageConfig = ImageConfig()
    solver: SolverConfig = SolverConfig()


class ErrorModelConfig(Declaration):
    """How the scatter of stars becomes an error (reference section 11.1)."""

    linear_above_mag: float = Field(20.5, description="a straight line continues the model above")
    min_epochs: Annotated[int, Field(ge=2)] = Field(8, description="of a star whose scatter counts")
    min_stars: Count = Field(
        40, description="with so many epochs; fewer: scaled formal errors are fitted instead"
    )
    stars_per_coefficient: Count = Field(15, description="fewer leave the highest terms out")
    outlier_sigma: Positive = Field(5.0, description="epochs farther from their star do not count")
    variable_sigma: Positive = Field(
        3.0, description="scatter farther from the model, in its spread: variable"
    )
    floor_mag: Positive = Field(0.002, description="no error is less")
    rounds: Count = Field(15, description="of weights and variables")
    own_excess: Annotated[float, Field(ge=1)] = Field(
        1.5,
        description="the error of a fit itself, times its chi, counts where it is so many times the model's: "
        "in close pairs, and where the fit went wrong",
    )


class SurveyConfig(Declaration):
    """The global solution over overlapping images."""

    image_sigma_mag: Positive | None = Field(
        0.03, description="offset of an image expected beforehand, 1 sigma; null: nothing is known"
    )
    zone_sigma_mag: Positive = Field(
        0.02, description="error of the catalogue common to all images of a place of the sky, 1 sigma"
    )
    night_sigma_mag: Positive = Field(0.05, description="zero point of a night expected beforehand, 1 sigma")
    extinction_sigma_mag: Positive = Field(0.05, description="error of the extinction assumed, per airmass")
    flat_sigma_mag: Positive = Field(0.02, description="error of the flat in a cell, expected beforehand")
    floor_mag: Annotated[float, Field(ge=0)] = Field(0.005, description="added to every error in squares")
    outlier_sigma: Positive = Field(4.685, description="Tukey's bisquare forgets residuals beyond it")
    rounds: Annotated[int, Field(ge=1, le=10)] = Field(3, description="solutions, with new weights each")
    max_star_chi: Positive = Field(
        2.5, description="RMS residual of a star in its errors; more is a variable"
    )
    tolerance: Positive = Field(1e-6, description="residual of the normal equations that ends it, relative")
    iterations: Count = Field(2000, description="of conjugate gradients, at most")
