"""Two-body motion about the Sun seen from the Earth: elements and states, light time, H-G brightness.

Vectors are heliocentric, au and au/day, on ICRS axes; elements refer to the ecliptic and equinox of J2000.
Planets do not pull: over a few nights from the epoch of the elements that is arcseconds or less for bodies
that stay clear of them. Places are astrometric (light time applied, aberration not), as the MPC reports them.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zsds_tasks.sky import horizon
from zsds_tasks.sky.horizon import Observer
from zsds_tasks.sky.tangent import ARCSEC_PER_RADIAN

Floats = NDArray[np.float64]
GAUSS = 0.017_202_098_95  # the Gaussian constant, au^1.5 / day: GM of the Sun is its square
LIGHT_DAYS_PER_AU = 0.005_775_518_331
OBLIQUITY_DEG = 84_381.448 / 3600.0  # IAU 1976, which JPL and the MPC use for orbital elements
KEPLER_STEPS = 50
KEPLER_TOLERANCE = 1e-13


@dataclasses.dataclass(frozen=True)
class Orbits:
    """Keplerian elements as arrays (N); elliptic orbits only.

    Parameters
    ----------
    epoch_mjd : (N) float64
        Of the mean anomaly, TT.
    a_au, e : (N) float64
        Semi-major axis and eccentricity (below 1).
    inclination_deg, node_deg, perihelion_deg, anomaly_deg : (N) float64
        Inclination, longitude of the ascending node, argument of perihelion, mean anomaly.
    h_mag, g_slope : (N) float64
        Absolute V magnitude and slope of the H-G law.
    """

    epoch_mjd: Floats
    a_au: Floats
    e: Floats
    inclination_deg: Floats
    node_deg: Floats
    perihelion_deg: Floats
    anomaly_deg: Floats
    h_mag: Floats
    g_slope: Floats

    def __len__(self) -> int:
        return len(self.a_au)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Orbits:
        """Return some rows, by number or by truth."""
        return Orbits(**{f.name: getattr(self, f.name)[rows] for f in dataclasses.fields(self)})

    @classmethod
    def concatenate(cls, parts: list[Orbits]) -> Orbits:
        """Return all rows of `parts` in order; at least one part."""
        names = [f.name for f in dataclasses.fields(cls)]
        return cls(**{n: np.concatenate([getattr(p, n) for p in parts]) for n in names})

    @classmethod
    def empty(cls) -> Orbits:
        """Return no orbits."""
        return cls(**{f.name: np.zeros(0) for f in dataclasses.fields(cls)})


@dataclasses.dataclass(frozen=True)
class Ephemeris:
    """Where bodies are seen, as arrays (N).

    Parameters
    ----------
    ra, dec : degrees, ICRS, topocentric, astrometric
    rate_east, rate_north : arcsec per second on the sky
    distance_au, sun_distance_au, phase_deg : topocentric and heliocentric distance, phase angle
    v_mag : apparent V magnitude by the H-G law
    """

    ra: Floats
    dec: Floats
    rate_east: Floats
    rate_north: Floats
    distance_au: Floats
    sun_distance_au: Floats
    phase_deg: Floats
    v_mag: Floats


def eccentric_anomaly(mean_anomaly: ArrayLike, e: ArrayLike) -> Floats:
    """Solve Kepler's equation ``E - e sin E = M`` by Halley's method; radians, in the turn of M.

    Raises
    ------
    ValueError
        If an eccentricity is outside [0, 1), or the iteration does not settle.
    """
    mean, ecc = np.broadcast_arrays(np.asarray(mean_anomaly, float), np.asarray(e, float))
    if np.any(~((ecc >= 0.0) & (ecc < 1.0))):
        raise ValueError(
            f"eccentricity must be in [0, 1) for an ellipse, got {ecc[~((ecc >= 0) & (ecc < 1))][0]}"
        )
    turn = np.round(mean / (2 * np.pi)) * 2 * np.pi
    m = mean - turn
    anomaly = m + 0.85 * ecc * np.sign(m)
    for _ in range(KEPLER_STEPS):
        sin, cos = ecc * np.sin(anomaly), ecc * np.cos(anomaly)
        f, f1 = anomaly - sin - m, 1.0 - cos
        step = f / (f1 - f * sin / (2.0 * f1))
        anomaly = anomaly - step
        if np.all(np.abs(step) <= KEPLER_TOLERANCE * np.maximum(1.0, np.abs(anomaly))):
            return np.asarray(anomaly + turn)
    raise ValueError(f"Kepler's equation did not settle, largest step {np.abs(step).max():.1e} rad")


def states(orbits: Orbits, mjd_tt: ArrayLike) -> tuple[Floats, Floats]:
    """Return heliocentric positions (N, 3; au) and velocities (N, 3; au/day), ICRS axes."""
    motion = GAUSS / orbits.a_au**1.5
    mean = np.radians(orbits.anomaly_deg) + motion * (np.asarray(mjd_tt, float) - orbits.epoch_mjd)
    anomaly = eccentric_anomaly(mean, orbits.e)
    sin, cos = np.sin(anomaly), np.cos(anomaly)
    minor = np.sqrt(1.0 - orbits.e**2)
    rate = motion * orbits.a_au / (1.0 - orbits.e * cos)
    p, q = _axes(orbits)
    position = (orbits.a_au * (cos - orbits.e))[:, None] * p + (orbits.a_au * minor * sin)[:, None] * q
    velocity = (-rate * sin)[:, None] * p + (rate * minor * cos)[:, None] * q
    return position, velocity


def elements(
    position: Floats, velocity: Floats, mjd_tt: ArrayLike, h_mag: ArrayLike, g_slope: ArrayLike
) -> Orbits:
    """Inverse of `states`: elements of heliocentric states (N, 3).

    Raises
    ------
    ValueError
        If a state is not bound to the Sun.
    """
    mu = GAUSS**2
    r, v = _to_ecliptic(position), _to_ecliptic(velocity)
    radius = np.linalg.norm(r, axis=1)
    energy = (v * v).sum(axis=1) / 2.0 - mu / radius
    if np.any(energy >= 0.0):
        raise ValueError(f"{int((energy >= 0).sum())} of {len(energy)} states are not bound to the Sun")
    a = -mu / (2.0 * energy)
    momentum = np.cross(r, v)
    eccentricity = np.cross(v, momentum) / mu - r / radius[:, None]
    e = np.linalg.norm(eccentricity, axis=1)
    h = momentum / np.linalg.norm(momentum, axis=1)[:, None]
    inclination = np.arccos(np.clip(h[:, 2], -1.0, 1.0))
    node = np.arctan2(h[:, 0], -h[:, 1])
    toward_node = np.stack([np.cos(node), np.sin(node), np.zeros_like(node)], axis=1)
    beside_node = np.cross(h, toward_node)
    perihelion = np.arctan2(
        (eccentricity * beside_node).sum(axis=1), (eccentricity * toward_node).sum(axis=1)
    )
    sin_e = (r * v).sum(axis=1) / np.sqrt(mu * a)
    cos_e = 1.0 - radius / a
    mean = np.arctan2(sin_e, cos_e) - sin_e
    count = len(a)
    return Orbits(
        epoch_mjd=np.broadcast_to(np.asarray(mjd_tt, float), count).copy(),
        a_au=a,
        e=e,
        inclination_deg=np.degrees(inclination),
        node_deg=np.degrees(node) % 360.0,
        perihelion_deg=np.degrees(perihelion) % 360.0,
        anomaly_deg=np.degrees(mean) % 360.0,
        h_mag=np.broadcast_to(np.asarray(h_mag, float), count).copy(),
        g_slope=np.broadcast_to(np.asarray(g_slope, float), count).copy(),
    )


def observe(orbits: Orbits, mjd_utc: float, observer: Observer) -> Ephemeris:
    """Return the ephemeris of bodies at one instant from one place on the Earth."""
    now = float(horizon.tt(mjd_utc))
    earth, earth_velocity = horizon.earth(mjd_utc)
    site, site_velocity = horizon.site(mjd_utc, observer)
    sun_velocity = horizon.sun_velocity(mjd_utc)
    delay = np.zeros(len(orbits))
    for _ in range(3):
        position, velocity = states(orbits, now - delay)
        relative = position - sun_velocity * delay[:, None] - (earth + site)
        distance = np.linalg.norm(relative, axis=1)
        delay = distance * LIGHT_DAYS_PER_AU
    ra, dec = np.arctan2(relative[:, 1], relative[:, 0]), np.arcsin(relative[:, 2] / distance)
    moving = velocity - (earth_velocity + site_velocity)
    east = -np.sin(ra) * moving[:, 0] + np.cos(ra) * moving[:, 1]
    north = np.cos(dec) * moving[:, 2] - np.sin(dec) * (np.cos(ra) * moving[:, 0] + np.sin(ra) * moving[:, 1])
    per_second = ARCSEC_PER_RADIAN / 86_400.0 / distance
    sun_distance = np.linalg.norm(position, axis=1)
    cosine = (position * relative).sum(axis=1) / (sun_distance * distance)
    phase = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))
    return Ephemeris(
        ra=np.degrees(ra) % 360.0,
        dec=np.degrees(dec),
        rate_east=east * per_second,
        rate_north=north * per_second,
        distance_au=distance,
        sun_distance_au=sun_distance,
        phase_deg=phase,
        v_mag=orbits.h_mag + reduced_dimming(sun_distance, distance, phase, orbits.g_slope),
    )


def reduced_dimming(
    sun_distance_au: ArrayLike, distance_au: ArrayLike, phase_deg: ArrayLike, g_slope: ArrayLike
) -> Floats:
    """Return V - H of the H-G law (Bowell et al. 1989, Asteroids II, 524), good to a phase of 120 degrees."""
    half_tan = np.tan(np.radians(np.minimum(np.asarray(phase_deg, float), 150.0)) / 2.0)
    first = np.exp(-3.33 * half_tan**0.63)
    second = np.exp(-1.87 * half_tan**1.22)
    slope = np.asarray(g_slope, float)
    light = (1.0 - slope) * first + slope * second
    product = np.asarray(sun_distance_au, float) * np.asarray(distance_au, float)
    return np.asarray(5.0 * np.log10(product) - 2.5 * np.log10(light))


def _axes(orbits: Orbits) -> tuple[Floats, Floats]:
    """Return unit vectors toward perihelion and 90 degrees ahead of it, ICRS axes, each (N, 3)."""
    i, node, peri = (
        np.radians(angle) for angle in (orbits.inclination_deg, orbits.node_deg, orbits.perihelion_deg)
    )
    ci, si, cn, sn, cp, sp = np.cos(i), np.sin(i), np.cos(node), np.sin(node), np.cos(peri), np.sin(peri)
    p = np.stack([cn * cp - sn * sp * ci, sn * cp + cn * sp * ci, sp * si], axis=1)
    q = np.stack([-cn * sp - sn * cp * ci, -sn * sp + cn * cp * ci, cp * si], axis=1)
    return _turn_x(p, OBLIQUITY_DEG), _turn_x(q, OBLIQUITY_DEG)


def _to_ecliptic(vectors: Floats) -> Floats:
    return _turn_x(vectors, -OBLIQUITY_DEG)


def _turn_x(vectors: Floats, angle_deg: float) -> Floats:
    """Turn vectors (N, 3) about the equinox."""
    sin, cos = np.sin(np.radians(angle_deg)), np.cos(np.radians(angle_deg))
    x, y, z = vectors.T
    return np.stack([x, y * cos - z * sin, y * sin + z * cos], axis=1)
