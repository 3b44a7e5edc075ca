"""Calibration masters: built once per night and channel, and found again by who needs them."""

from zsds_tasks.steps.calibration.build import CalibrationSummary, build_masters
from zsds_tasks.steps.calibration.chosen import ChannelMaps, MapRoom, star_flat_for
from zsds_tasks.steps.calibration.configuration import CalibrationConfig, load_calibration_config
from zsds_tasks.steps.calibration.lamps import build_lamp_maps
from zsds_tasks.steps.calibration.ledreport import LedReport, propose_led_weights
from zsds_tasks.steps.calibration.selection import MasterChoice, master_for, read_master
from zsds_tasks.steps.calibration.starflats import build_star_flats

__all__ = [
    "CalibrationConfig",
    "CalibrationSummary",
    "ChannelMaps",
    "LedReport",
    "MapRoom",
    "MasterChoice",
    "build_lamp_maps",
    "build_masters",
    "build_star_flats",
    "load_calibration_config",
    "master_for",
    "propose_led_weights",
    "read_master",
    "star_flat_for",
]
