"""A world with few asteroids, one of its nights, and shortcuts for tests of the scene."""

from __future__ import annotations

import datetime as dt
from functools import lru_cache

from zsds_tasks.settings import REPOSITORY
from zsds_tasks.simulator.configuration import SimulatorConfig, load_simulator
from zsds_tasks.simulator.world import Night, World
from zsds_tasks.survey.nights import ObservingNight

INCLUDE = REPOSITORY / "include"
NIGHT = ObservingNight(dt.date(2025, 11, 15))
MJD = 60994.25  # in the middle of it


@lru_cache(maxsize=1)
def light_config() -> SimulatorConfig:
    """Everything as declared, but a belt of a few thousand."""
    config = load_simulator(INCLUDE)
    belt = config.asteroids.main_belt.model_copy(update={"count": 5000})
    near = config.asteroids.near_earth.model_copy(update={"count": 200})
    asteroids = config.asteroids.model_copy(update={"main_belt": belt, "near_earth": near})
    return config.model_copy(update={"asteroids": asteroids})


def make_world(camera: str = "mini", seed: int = 5, *without: str) -> World:
    return World.of(camera, INCLUDE, seed, light_config().without(*without))


@lru_cache(maxsize=8)
def make_night(
    camera: str = "mini", seed: int = 5, without: tuple[str, ...] = (), exposures: int = 24
) -> Night:
    return make_world(camera, seed, *without).night(NIGHT, exposures=exposures)


def science(night: Night):
    return [e for e in night.exposures if e.imgtypecode == "o"]
