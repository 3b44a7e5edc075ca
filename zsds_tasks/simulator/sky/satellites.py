"""Satellites: straight trails across the camera, a few per hundred exposures and degree of field."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.simulator.products import Exposure, Trail
from zsds_tasks.simulator.randomness import generator
from zsds_tasks.simulator.sky.identities import Family, object_ids
from zsds_tasks.survey.camera import Camera

Positive = Annotated[float, Field(gt=0)]
TWILIGHT_SUN_DEG = -20.0


class SatellitesConfig(Declaration):
    """Traffic."""

    per_degree_and_exposure: Annotated[float, Field(ge=0)]  # crossings of a disc one degree wide in 30 s
    twilight_factor: Positive  # more while the Sun still reaches low orbits
    mag: tuple[float, float]  # in the exposure's filter, as a resting source would have
    rate_arcsec_s: tuple[float, float]
    width_arcsec: tuple[float, float]
    tumbling_fraction: Annotated[float, Field(ge=0, le=1)]
    tumble_period_s: tuple[float, float]


def trails(config: SatellitesConfig, seed: int, camera: Camera, exposure: Exposure) -> tuple[Trail, ...]:
    """Return the trails of one exposure, as chords of the circle around the camera."""
    if exposure.filter is None:
        return ()
    random = generator(seed, "satellites", camera.name, exposure.expid)
    radius = float(np.hypot(*camera.half_size_arcsec)) + 120.0
    rate = config.per_degree_and_exposure * 2.0 * radius / 3600.0 * exposure.exptime_s / 30.0
    if exposure.sun_altitude_deg > TWILIGHT_SUN_DEG:
        rate *= config.twilight_factor
    count = int(random.poisson(rate))
    return tuple(
        _trail(config, random, exposure, radius, int(identity))
        for identity in object_ids(Family.SATELLITE, exposure.expid % (1 << 32), count)
    )


def _trail(
    config: SatellitesConfig, random: np.random.Generator, exposure: Exposure, radius: float, identity: int
) -> Trail:
    direction, offset = random.uniform(0.0, np.pi), random.uniform(-radius, radius)
    half = np.sqrt(radius**2 - offset**2)
    along = np.array([np.sin(direction), np.cos(direction)])
    across = np.array([np.cos(direction), -np.sin(direction)])
    start, end = offset * across - half * along, offset * across + half * along
    speed = float(np.exp(random.uniform(*np.log(config.rate_arcsec_s))))
    mag = random.uniform(*config.mag)
    total = exposure.nominal_gain * 10 ** (-0.4 * (mag - exposure.zero_point))
    tumbles = random.random() < config.tumbling_fraction
    period = float(random.uniform(*config.tumble_period_s)) * speed
    return Trail(
        object_id=identity,
        east0=float(start[0]),
        north0=float(start[1]),
        east1=float(end[0]),
        north1=float(end[1]),
        electrons_per_arcsec=float(total / exposure.exptime_s / speed),
        width_arcsec=float(random.uniform(*config.width_arcsec)),
        period_arcsec=period if tumbles else 0.0,
        modulation=float(random.uniform(0.3, 0.9)) if tumbles else 0.0,
    )
