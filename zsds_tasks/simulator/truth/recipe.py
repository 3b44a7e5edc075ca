"""From what a night was made, so that scoring can build the same instrument again."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from zsds_tasks.simulator.configuration import load_simulator
from zsds_tasks.simulator.instrument.instrument import Instrument
from zsds_tasks.simulator.truth.tables import read_truth
from zsds_tasks.survey.camera import load_camera
from zsds_tasks.survey.nights import ObservingNight

TABLE = "recipe"
SCHEMA = pa.schema(
    [
        pa.field("camera", pa.string(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("without", pa.list_(pa.string()), nullable=False),
    ]
)


def recipe_table(camera: str, seed: int, without: tuple[str, ...]) -> pa.Table:
    """Return one row: camera, seed, effects left out."""
    return pa.Table.from_pylist([{"camera": camera, "seed": seed, "without": list(without)}], schema=SCHEMA)


def instrument_of(truth: Path, night: ObservingNight, include: Path) -> Instrument:
    """Build the instrument that took a simulated night, as configured now.

    Raises
    ------
    NothingToDoError
        If the night was not simulated here.
    """
    row = read_truth(truth, night, TABLE).to_pylist()[0]
    config = load_simulator(include).without(*row["without"])
    return Instrument(load_camera(row["camera"], include), config.instrument, config.effects, row["seed"])
