"""Difference images: reference subtracted from calibrated image, candidates measured, rows and files."""

from zsds_tasks.steps.difference.configuration import DifferencingConfig, load_differencing_config
from zsds_tasks.steps.difference.run import DifferenceSummary, subtract_references
from zsds_tasks.steps.difference.work import DifferenceWork, difference_work

__all__ = [
    "DifferenceSummary",
    "DifferenceWork",
    "DifferencingConfig",
    "difference_work",
    "load_differencing_config",
    "subtract_references",
]
