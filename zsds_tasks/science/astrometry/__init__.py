"""Astrometry: sources + catalogue stars + approximate pointing -> WCS with its residuals and verdict."""

from zsds_tasks.science.astrometry.config import AstrometryConfig, FitConfig, QualityCuts, SearchConfig
from zsds_tasks.science.astrometry.distortion import (
    DistortionModel,
    learn_model,
    mean_model,
    model_of_plane,
    nominal_model,
    pixel_grid,
)
from zsds_tasks.science.astrometry.inputs import (
    Cause,
    DetectedSources,
    Pointing,
    QuadrantView,
    ReferenceStars,
)
from zsds_tasks.science.astrometry.solution import AstrometricSolution, Attempt, Rung, Verdict
from zsds_tasks.science.astrometry.solve import solve

__all__ = [
    "AstrometricSolution",
    "AstrometryConfig",
    "Attempt",
    "Cause",
    "DetectedSources",
    "DistortionModel",
    "FitConfig",
    "Pointing",
    "QuadrantView",
    "QualityCuts",
    "ReferenceStars",
    "Rung",
    "SearchConfig",
    "Verdict",
    "learn_model",
    "mean_model",
    "model_of_plane",
    "nominal_model",
    "pixel_grid",
    "solve",
]
