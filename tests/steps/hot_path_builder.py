"""A small observatory with a reference of one channel, and one exposure more that waits to be processed."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import reference_builder
import science_builder

from zsds_tasks.steps.exposure import process_exposures
from zsds_tasks.steps.references import build_references

EPOCHS = 4
RCID = 0
LATER = science_builder.NOW + dt.timedelta(hours=2)  # the other CCD is no longer waited for
VARIABLES = {"rr_lyrae: {per_square_degree: 8.0": "rr_lyrae: {per_square_degree: 4000.0"}
"""So many that something changes within the hour in every quadrant."""


def observatory(folder: Path) -> science_builder.Observatory:
    """Make one whose last exposure is not processed; everything else is."""
    include = reference_builder.include_of_one_field(folder)
    simulator = include / "config" / "simulator.yaml"
    text = simulator.read_text()
    for old, new in VARIABLES.items():
        assert old in text
        text = text.replace(old, new)
    simulator.write_text(text)
    made = science_builder.template(folder, science=EPOCHS + 1, include=include, ccdids=(1,))
    made.lakehouse.table("raw_quadrants").delete({"rcid": [1, 2, 3]})
    process_exposures(made.lakehouse, made.settings, LATER, expids=made.expids[:-1])
    built = build_references(made.lakehouse, made.settings, LATER, rcids=[RCID])
    assert (built.built, built.failed) == (1, ()), built
    return made
