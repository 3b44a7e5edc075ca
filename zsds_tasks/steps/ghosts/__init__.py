"""Ghosts and halos: which model masks a night, what its images leave behind, and the fit of the next one."""

from zsds_tasks.steps.ghosts.collect import collect_rows
from zsds_tasks.steps.ghosts.configuration import GhostsConfig, load_ghosts_config
from zsds_tasks.steps.ghosts.fit import GhostSummary, fit_ghosts
from zsds_tasks.steps.ghosts.selection import GhostChoice, ghost_model_for

__all__ = [
    "GhostChoice",
    "GhostSummary",
    "GhostsConfig",
    "collect_rows",
    "fit_ghosts",
    "ghost_model_for",
    "load_ghosts_config",
]
