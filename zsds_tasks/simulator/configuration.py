"""The whole configuration of the simulator: `include/config/simulator.yaml` as one frozen model.

Each section is declared beside the code that uses it; this module only puts them together.
"""

from __future__ import annotations

import hashlib
from functools import cached_property, lru_cache
from pathlib import Path

from zsds_tasks.declarations import Declaration, read_declaration
from zsds_tasks.simulator.delivery.faults import FaultsConfig
from zsds_tasks.simulator.effects import Effects
from zsds_tasks.simulator.instrument.instrument import InstrumentConfig
from zsds_tasks.simulator.observing.conditions import ConditionsConfig
from zsds_tasks.simulator.observing.exposures import PointingConfig
from zsds_tasks.simulator.observing.schedule import ScheduleConfig
from zsds_tasks.simulator.sky.asteroids import AsteroidsConfig
from zsds_tasks.simulator.sky.galaxies import GalaxiesConfig
from zsds_tasks.simulator.sky.light import LightConfig
from zsds_tasks.simulator.sky.satellites import SatellitesConfig
from zsds_tasks.simulator.sky.stars import StarsConfig
from zsds_tasks.simulator.sky.transients import TransientsConfig
from zsds_tasks.simulator.sky.variables import VariablesConfig


class SimulatorConfig(Declaration):
    """Everything that can be set. Obtain one with `load_simulator`."""

    effects: Effects
    schedule: ScheduleConfig
    pointing: PointingConfig
    conditions: ConditionsConfig
    stars: StarsConfig
    galaxies: GalaxiesConfig
    instrument: InstrumentConfig
    faults: FaultsConfig
    variables: VariablesConfig
    transients: TransientsConfig
    asteroids: AsteroidsConfig
    satellites: SatellitesConfig
    light: LightConfig

    @cached_property
    def digest(self) -> str:
        """SHA-256 of every value: two configurations with the same digest make the same world."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    def __hash__(self) -> int:
        # The generated hash would walk, and fail on, the dictionaries inside; caches of tiles need one.
        return hash(self.digest)

    def without(self, *effects: str) -> SimulatorConfig:
        """Return a copy with some effects switched off; an unknown name raises `ValueError`."""
        unknown = sorted(set(effects) - set(Effects.model_fields))
        if unknown:
            raise ValueError(f"no such effect: {unknown}; known: {sorted(Effects.model_fields)}")
        # Built anew: a model's copy would carry the cached digest of the original along.
        sections = {name: getattr(self, name) for name in type(self).model_fields}
        sections["effects"] = self.effects.model_copy(update=dict.fromkeys(effects, False))
        return type(self)(**sections)


@lru_cache(maxsize=4)
def load_simulator(include: Path) -> SimulatorConfig:
    """Read ``<include>/config/simulator.yaml``; a wrong file raises `DeclarationError`."""
    return read_declaration(include / "config" / "simulator.yaml", SimulatorConfig)
