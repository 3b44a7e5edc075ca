"""Difference images: reference subtracted from calibrated image, candidates measured, rows and files."""

from zsds_tasks.steps.difference.build import DifferenceOutcome, subtract_in_memory
from zsds_tasks.steps.difference.configuration import DifferencingConfig, load_differencing_config
from zsds_tasks.steps.difference.run import DifferenceSummary, commit, subtract_references
from zsds_tasks.steps.difference.sides import JustWritten
from zsds_tasks.steps.difference.work import (
    DifferenceWork,
    ReferenceChoice,
    ReferenceShelf,
    difference_work,
)

__all__ = [
    "DifferenceOutcome",
    "DifferenceSummary",
    "DifferenceWork",
    "DifferencingConfig",
    "JustWritten",
    "ReferenceChoice",
    "ReferenceShelf",
    "commit",
    "difference_work",
    "load_differencing_config",
    "subtract_in_memory",
    "subtract_references",
]
