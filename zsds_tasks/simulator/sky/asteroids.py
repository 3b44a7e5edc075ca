"""Asteroids from orbits: a main belt, near-Earth objects, and each night some that streak by."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.simulator.products import Exposure
from zsds_tasks.simulator.randomness import generator
from zsds_tasks.simulator.sky.identities import Family, object_ids
from zsds_tasks.sky import ephemeris, healpix, horizon
from zsds_tasks.sky.ephemeris import Ephemeris, Orbits
from zsds_tasks.sky.horizon import Observer
from zsds_tasks.sky.tangent import ARCSEC_PER_RADIAN, deproject
from zsds_tasks.survey.camera import Camera
from zsds_tasks.survey.nights import ObservingNight, mjd

Floats = NDArray[np.float64]
Count = Annotated[int, Field(ge=0)]
FAST_ATTEMPTS = 1000
V_MINUS_R_PER_COLOUR = 0.44  # V - r is this times g - r for the colours of asteroids


class Belt(Declaration):
    """One population of orbits."""

    count: Count
    h_range: tuple[float, float]
    h_slope: Annotated[float, Field(gt=0)]  # of log10 number per magnitude
    a_range_au: tuple[float, float]
    eccentricity_sigma: Annotated[float, Field(gt=0)]  # Rayleigh
    inclination_sigma_deg: Annotated[float, Field(gt=0)]  # Rayleigh
    max_perihelion_au: float


class AsteroidsConfig(Declaration):
    """Populations and light of the small bodies."""

    epoch_mjd: float
    main_belt: Belt
    near_earth: Belt
    known_fraction: Annotated[float, Field(ge=0, le=1)]
    gaps_au: tuple[tuple[float, float], ...]
    slope: tuple[float, float]  # G, mean and scatter
    types: tuple[tuple[float, float, float, float], ...]  # share, g-r, r-i, i-z
    rotation_hours: tuple[float, float]
    rotation_amplitude: tuple[float, float]
    faint_limit: float
    fast_per_night: Count
    fast_v_mag: tuple[float, float]
    fast_rate_arcsec_min: tuple[float, float]
    fast_distance_au: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Asteroids:
    """Small bodies as arrays (N).

    Parameters
    ----------
    object_id : (N) int64
    orbits : Orbits
    is_known : (N) bool
        Whether the catalogue of orbits lists the body.
    colours : (3, N) float64
        g-r, r-i, i-z.
    period_hours, amplitude_mag, phase : (N) float64
        Double-peaked rotation: peak-to-peak amplitude, phase (0 to 1) at the orbits' epoch.
    """

    object_id: NDArray[np.int64]
    orbits: Orbits
    is_known: NDArray[np.bool_]
    colours: Floats
    period_hours: Floats
    amplitude_mag: Floats
    phase: Floats

    def __len__(self) -> int:
        return len(self.object_id)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Asteroids:
        """Return some rows, by number or by truth."""
        columns = {n: getattr(self, n)[..., rows] for n in _COLUMNS}
        return Asteroids(orbits=self.orbits.take(rows), **columns)

    @classmethod
    def concatenate(cls, parts: list[Asteroids]) -> Asteroids:
        """Return all rows of `parts` in order; at least one part."""
        columns = {n: np.concatenate([getattr(p, n) for p in parts], axis=-1) for n in _COLUMNS}
        return cls(orbits=Orbits.concatenate([p.orbits for p in parts]), **columns)

    def mags(self, seen: Ephemeris, when_mjd: float) -> Floats:
        """Return apparent magnitudes (4, N) in g, r, i, z, rotation included."""
        turns = (when_mjd - self.orbits.epoch_mjd) * 24.0 / self.period_hours + self.phase
        v = seen.v_mag + self.amplitude_mag / 2.0 * np.sin(4.0 * np.pi * turns)
        gr, ri, iz = self.colours
        r = v - V_MINUS_R_PER_COLOUR * gr
        return np.stack([r + gr, r, r - ri, r - ri - iz])


_COLUMNS = ("object_id", "is_known", "colours", "period_hours", "amplitude_mag", "phase")


@lru_cache(maxsize=2)
def population(config: AsteroidsConfig, seed: int) -> Asteroids:
    """Return every asteroid of the world but the nights' fast ones: main belt, then near-Earth objects."""
    parts, first = [], 0
    for name, belt in (("main belt", config.main_belt), ("near earth", config.near_earth)):
        random = generator(seed, "asteroids", name)
        identity = object_ids(Family.ASTEROID, 0, belt.count, start=first)
        parts.append(_dress(config, random, identity, _belt_orbits(belt, config, random)))
        first += belt.count
    return Asteroids.concatenate(parts)


def candidates(
    config: AsteroidsConfig,
    seed: int,
    observer: Observer,
    exposures: tuple[Exposure, ...],
    radius_deg: float,
) -> Asteroids:
    """Return the asteroids that may cross one of the on-sky exposures, so that the rest need no ephemeris.

    A body counts if its place at the middle of the night is nearer to a boresight than the camera's radius
    plus half a night of its own motion.
    """
    everything = population(config, seed)
    sky = [e for e in exposures if e.is_sky]
    if not sky:
        return everything.take(np.zeros(0, np.intp))
    times = [mjd(e.middle) for e in sky]
    middle, half = (min(times) + max(times)) / 2, (max(times) - min(times)) / 2
    seen = ephemeris.observe(everything.orbits, middle, observer)
    motion = np.hypot(seen.rate_east, seen.rate_north) * 86400.0 / 3600.0 * (half + 0.01)
    reach = np.cos(np.radians(np.minimum(radius_deg + 1.3 * motion + 0.05, 180.0)))
    places = healpix.unit_vectors(seen.ra, seen.dec)
    pointings = np.unique(np.round([(e.boresight_ra, e.boresight_dec) for e in sky], 2), axis=0)
    near = np.zeros(len(everything), bool)
    for ra, dec in pointings:
        near |= places @ healpix.unit_vectors(ra, dec) > reach
    # Rotation and the night's small change of geometry can brighten a body by a few tenths.
    return everything.take(near & (seen.v_mag < config.faint_limit + 0.5))


def fast_asteroids(
    config: AsteroidsConfig,
    seed: int,
    night: ObservingNight,
    camera: Camera,
    observer: Observer,
    exposures: tuple[Exposure, ...],
) -> Asteroids:
    """Return bodies that streak through exposures of this night: orbits found backward from what is seen.

    A place on a detector, a distance of hundredths of an au and an angular rate make a topocentric state;
    with the Earth's it becomes a heliocentric one, kept if it is an ellipse that a near-Earth object may
    have.
    """
    science = [e for e in exposures if e.is_sky and not e.is_engineering]
    random = generator(seed, "fast asteroids", camera.name, night)
    orbits = [_passing_orbit(config, random, camera, observer, science) for _ in range(config.fast_per_night)]
    bodies = Orbits.concatenate(orbits) if science and orbits else Orbits.empty()
    identity = object_ids(Family.FAST_ASTEROID, night.date.toordinal(), len(bodies))
    found = _dress(config, random, identity, bodies)
    return dataclasses.replace(found, is_known=np.zeros(len(found), bool))


def _passing_orbit(
    config: AsteroidsConfig,
    random: np.random.Generator,
    camera: Camera,
    observer: Observer,
    science: list[Exposure],
) -> Orbits:
    if not science:
        return Orbits.empty()
    exposure = science[int(random.integers(len(science)))]
    east, north = camera.focal_plane(
        int(random.integers(camera.n_quadrants)),
        float(random.uniform(0.1, 0.9)) * camera.quadrant.nx,
        float(random.uniform(0.1, 0.9)) * camera.quadrant.ny,
    )
    ra, dec = deproject(east, north, (exposure.boresight_ra, exposure.boresight_dec), exposure.rotation_deg)
    when = mjd(exposure.middle)
    toward = healpix.unit_vectors(ra, dec)
    sideways = np.cross([0.0, 0.0, 1.0], toward)
    sideways /= np.linalg.norm(sideways)
    upward = np.cross(toward, sideways)
    observer_position = horizon.earth(when)[0] + horizon.site(when, observer)[0]
    observer_velocity = horizon.earth(when)[1] + horizon.site(when, observer)[1]
    v_mag = random.uniform(*config.fast_v_mag)
    for _ in range(FAST_ATTEMPTS):
        distance = np.exp(random.uniform(*np.log(config.fast_distance_au)))
        rate = np.exp(random.uniform(*np.log(config.fast_rate_arcsec_min))) * 1440.0 / ARCSEC_PER_RADIAN
        angle = random.uniform(0.0, 2 * np.pi)
        across = rate * distance * (np.sin(angle) * sideways + np.cos(angle) * upward)
        velocity = observer_velocity + across + random.normal(0.0, 0.004) * toward
        position = observer_position + distance * toward
        if np.dot(velocity, velocity) / 2.0 >= ephemeris.GAUSS**2 / np.linalg.norm(position):
            continue
        # The light left earlier: the state belongs to that instant.
        left = float(horizon.tt(when)) - distance * ephemeris.LIGHT_DAYS_PER_AU
        orbit = ephemeris.elements(position[None], velocity[None], left, 0.0, config.slope[0])
        if 0.6 < orbit.a_au[0] < 4.0 and orbit.e[0] < 0.9:
            dimming = ephemeris.observe(orbit, when, observer).v_mag[0]
            return dataclasses.replace(orbit, h_mag=np.array([v_mag - dimming]))
    raise ValueError("no bound orbit has the asked rates and distances: widen fast_* in the configuration")


def _belt_orbits(belt: Belt, config: AsteroidsConfig, random: np.random.Generator) -> Orbits:
    """Draw elements; those in gaps of the belt or with too distant a perihelion are drawn again."""
    kept: list[Floats] = []
    have = 0
    while have < belt.count:
        n = belt.count - have
        a = random.uniform(*belt.a_range_au, n)
        e = np.minimum(random.rayleigh(belt.eccentricity_sigma, n), 0.9)
        good = a * (1.0 - e) < belt.max_perihelion_au
        for low, high in config.gaps_au:
            good &= ~((a > low) & (a < high))
        kept.append(np.stack([a[good], e[good]]))
        have += int(good.sum())
    a, e = np.concatenate(kept, axis=1) if kept else np.zeros((2, 0))
    count = belt.count
    slope = belt.h_slope * np.log(10.0)
    low, high = (np.exp(slope * (h - belt.h_range[1])) for h in belt.h_range)
    angles = random.uniform(0.0, 360.0, (3, count))
    return Orbits(
        epoch_mjd=np.full(count, config.epoch_mjd),
        a_au=a,
        e=e,
        inclination_deg=np.minimum(random.rayleigh(belt.inclination_sigma_deg, count), 80.0),
        node_deg=angles[0],
        perihelion_deg=angles[1],
        anomaly_deg=angles[2],
        h_mag=belt.h_range[1] + np.log(low + random.random(count) * (high - low)) / slope,
        g_slope=np.clip(random.normal(*config.slope, count), 0.02, 0.45),
    )


def _dress(
    config: AsteroidsConfig, random: np.random.Generator, identity: NDArray[np.int64], orbits: Orbits
) -> Asteroids:
    """Give orbits colours, rotation and fame."""
    count = len(orbits)
    types = np.array(config.types)
    which = random.choice(len(types), count, p=types[:, 0] / types[:, 0].sum())
    shortest, longest = np.log(config.rotation_hours)
    return Asteroids(
        object_id=identity,
        orbits=orbits,
        is_known=random.random(count) < config.known_fraction,
        colours=types[which, 1:].T + random.normal(0.0, 0.03, (3, count)),
        period_hours=np.exp(random.uniform(shortest, longest, count)),
        amplitude_mag=random.uniform(*config.rotation_amplitude, count),
        phase=random.random(count),
    )
