"""Calibration masters: built once per night and channel, and found again by who needs them."""

from zsds_tasks.steps.calibration.build import CalibrationSummary, build_masters
from zsds_tasks.steps.calibration.configuration import CalibrationConfig, load_calibration_config
from zsds_tasks.steps.calibration.selection import MasterChoice, master_for, read_master

__all__ = [
    "CalibrationConfig",
    "CalibrationSummary",
    "MasterChoice",
    "build_masters",
    "load_calibration_config",
    "master_for",
    "read_master",
]
