"""The hot path: raw channels of science exposures to calibrated images, catalogues, scored candidates."""

from zsds_tasks.steps.exposure.commit import commit_exposure
from zsds_tasks.steps.exposure.configuration import ExposureConfig, load_exposure_config
from zsds_tasks.steps.exposure.outcome import QuadrantOutcome
from zsds_tasks.steps.exposure.run import process_exposures, process_waiting
from zsds_tasks.steps.exposure.summary import ExposureSummary
from zsds_tasks.steps.exposure.work import ExposureWork, QuadrantWork, work_list

__all__ = [
    "ExposureConfig",
    "ExposureSummary",
    "ExposureWork",
    "QuadrantOutcome",
    "QuadrantWork",
    "commit_exposure",
    "load_exposure_config",
    "process_exposures",
    "process_waiting",
    "work_list",
]
