"""A small observatory whose night is spent on one field in one filter: epochs of a reference."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

import science_builder
import yaml

from zsds_tasks.settings import REPOSITORY
from zsds_tasks.steps.exposure import process_exposures

EPOCHS = 6
FIELD = 1004  # rich


def include_of_one_field(folder: Path) -> Path:
    """Copy the declarations; of the fields one is left, of the filters r."""
    include = folder / "include"
    shutil.copytree(REPOSITORY / "include", include)
    grid = include / "config" / "survey" / "fields-mini.yaml"
    fields = yaml.safe_load(grid.read_text())
    fields["fields"] = [field for field in fields["fields"] if field["id"] == FIELD]
    grid.write_text(yaml.safe_dump(fields))
    simulator = include / "config" / "simulator.yaml"
    simulator.write_text(simulator.read_text().replace("filter_sequence: [i, r, g]", "filter_sequence: [r]"))
    return include


def epochs(folder: Path) -> science_builder.Observatory:
    """Make the observatory and calibrate its epochs."""
    made = science_builder.template(folder, science=EPOCHS, include=include_of_one_field(folder), ccdids=(1,))
    later = science_builder.NOW + dt.timedelta(hours=2)  # the other CCD is no longer waited for
    process_exposures(made.lakehouse, made.settings, later)
    return made
