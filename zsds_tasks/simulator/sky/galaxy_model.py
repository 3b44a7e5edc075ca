"""How many stars of which luminosity lie at which distance: a three-component Galaxy with a dust layer.

Discs are double exponentials, the halo a power law (shapes after Juric et al. 2008, ApJ 673, 864); the
luminosity function, the main sequence and the kinematics are tables of the configuration.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration

Floats = NDArray[np.float64]
Positive = Annotated[float, Field(gt=0)]

# Rotation from ICRS to Galactic axes (Hipparcos catalogue, volume 1, equation 1.5.11).
TO_GALACTIC = np.array(
    [
        [-0.0548755604162154, -0.8734370902348850, -0.4838350155487132],
        [0.4941094278755837, -0.4448296299600112, 0.7469822444972189],
        [-0.8676661490190047, -0.1980763734312015, 0.4559837761750669],
    ]
)


class Population(Declaration):
    """One component of the Galaxy."""

    local_fraction: Positive  # of the thin disc's local density
    scale_height_pc: Positive  # of the halo: its flattening times the solar radius
    scale_length_pc: Positive
    oldest_bright_mag: float  # main-sequence turn-off: absolute r magnitude
    colour_shift: float  # of g-r against the table, from metallicity
    dispersion_kms: tuple[float, float, float]  # toward the centre, rotation, the pole
    lag_kms: float


class GalaxyModelConfig(Declaration):
    """Tables of the Galaxy; `sequence` rows are (M_r, log10 of stars per pc^3 and mag, g-r, r-i)."""

    solar_radius_pc: Positive
    solar_height_pc: float
    halo_slope: Positive
    giant_suppression: Positive  # of the luminosity function above the turn-off of old components
    thin: Population
    thick: Population
    halo: Population
    sequence: tuple[tuple[float, float, float, float], ...]
    dust_reddening_per_kpc: Annotated[float, Field(ge=0)]  # E(B-V) in the plane
    dust_scale_height_pc: Positive
    dust_scale_length_pc: Positive
    extinction_coefficients: dict[str, float]  # A / E(B-V), by filter
    solar_motion_kms: tuple[float, float, float]

    @property
    def populations(self) -> tuple[Population, Population, Population]:
        """Thin disc, thick disc, halo."""
        return self.thin, self.thick, self.halo


STEP_MAG = 0.25


class SightLine:
    """Star counts along one direction, as cells of population, luminosity and distance.

    Parameters
    ----------
    config : GalaxyModelConfig
    longitude_deg, latitude_deg : float
        Galactic direction.
    bright, faint : float
        Limits of apparent r magnitude.
    """

    def __init__(
        self,
        config: GalaxyModelConfig,
        longitude_deg: float,
        latitude_deg: float,
        bright: float,
        faint: float,
    ) -> None:
        self.config = config
        table = np.array(config.sequence)
        self.luminosity = np.arange(table[0, 0], table[-1, 0], STEP_MAG) + STEP_MAG / 2
        self.modulus = np.arange(-2.0, 20.5, STEP_MAG) + STEP_MAG / 2
        distance = 10 ** (self.modulus / 5.0 + 1.0)
        self.reddening = _reddening(config, longitude_deg, latitude_deg, distance)
        function = 10 ** np.interp(self.luminosity, table[:, 0], table[:, 1])
        # Stars per square degree, magnitude of luminosity and magnitude of distance modulus.
        volume = np.radians(1.0) ** 2 * distance**3 * np.log(10.0) / 5.0 * STEP_MAG**2
        apparent = self.luminosity[:, None] + (
            self.modulus + config.extinction_coefficients["r"] * self.reddening
        )
        self.apparent = apparent
        inside = (apparent >= bright) & (apparent < faint)
        cells = []
        for index, population in enumerate(config.populations):
            density = _density(config, index, longitude_deg, latitude_deg, distance)
            young = np.where(self.luminosity < population.oldest_bright_mag, config.giant_suppression, 1.0)
            cells.append((function * young)[:, None] * (density * volume) * inside)
        self.cells: Floats = np.stack(cells)

    @property
    def per_square_degree(self) -> float:
        """Expected stars per square degree between the limits."""
        return float(self.cells.sum())

    def limit_of(self, per_square_degree: float) -> float:
        """Return the apparent r magnitude to which there are so many stars per square degree."""
        density, order = self.cells.sum(axis=0).ravel(), np.argsort(self.apparent, axis=None)
        reached = np.searchsorted(np.cumsum(density[order]), per_square_degree)
        return float(self.apparent.ravel()[order[min(int(reached), len(order) - 1)]])

    def draw(
        self, random: np.random.Generator, count: int
    ) -> tuple[NDArray[np.intp], Floats, Floats, Floats]:
        """Return `count` stars: population, absolute r magnitude, distance modulus, reddening E(B-V)."""
        cumulative = np.cumsum(self.cells.ravel())
        flat = np.searchsorted(cumulative, random.random(count) * cumulative[-1], side="right")
        population, luminosity, modulus = np.unravel_index(flat, self.cells.shape)
        jitter = random.uniform(-STEP_MAG / 2, STEP_MAG / 2, (2, count))
        moduli = self.modulus[modulus] + jitter[1]
        reddening = np.interp(moduli, self.modulus, self.reddening)
        return population, self.luminosity[luminosity] + jitter[0], moduli, reddening


def galactic(ra_deg: Floats, dec_deg: Floats) -> tuple[Floats, Floats]:
    """Return Galactic longitude and latitude of ICRS directions, degrees."""
    x, y, z = TO_GALACTIC @ _unit(ra_deg, dec_deg)
    return np.degrees(np.arctan2(y, x)) % 360.0, np.degrees(np.arcsin(np.clip(z, -1.0, 1.0)))


def proper_motions(
    config: GalaxyModelConfig,
    random: np.random.Generator,
    population: NDArray[np.intp],
    ra_deg: Floats,
    dec_deg: Floats,
    distance_pc: Floats,
) -> tuple[Floats, Floats]:
    """Return proper motions (toward east, cos(dec) included, and north; mas/yr) from drawn velocities."""
    dispersion = np.array([p.dispersion_kms for p in config.populations])[population].T
    velocity = random.normal(size=(3, len(population))) * dispersion
    velocity[1] -= np.array([p.lag_kms for p in config.populations])[population]
    velocity -= np.array(config.solar_motion_kms)[:, None]
    x, y, z = TO_GALACTIC.T @ velocity
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    east = -np.sin(ra) * x + np.cos(ra) * y
    north = -np.sin(dec) * (np.cos(ra) * x + np.sin(ra) * y) + np.cos(dec) * z
    per_kms = 1000.0 / (4.740_47 * distance_pc)
    return east * per_kms, north * per_kms


def _unit(ra_deg: Floats, dec_deg: Floats) -> Floats:
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    return np.array([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])


def _places(
    config: GalaxyModelConfig, longitude_deg: float, latitude_deg: float, distance: Floats
) -> tuple[Floats, Floats]:
    """Galactocentric radius in the plane and height above it, pc."""
    longitude, latitude = np.radians(longitude_deg), np.radians(latitude_deg)
    flat = distance * np.cos(latitude)
    across, along = flat * np.sin(longitude), config.solar_radius_pc - flat * np.cos(longitude)
    return np.hypot(across, along), distance * np.sin(latitude) + config.solar_height_pc


def _density(
    config: GalaxyModelConfig, index: int, longitude_deg: float, latitude_deg: float, distance: Floats
) -> Floats:
    """Density relative to the thin disc's at the Sun."""
    population = config.populations[index]
    radius, height = _places(config, longitude_deg, latitude_deg, distance)
    sun, zero = config.solar_radius_pc, abs(config.solar_height_pc)
    if population is config.halo:
        flattening = population.scale_height_pc / sun
        size = np.sqrt(radius**2 + (height / flattening) ** 2 + 1000.0**2)
        return population.local_fraction * (size / sun) ** -config.halo_slope
    falling = np.exp(-(radius - sun) / population.scale_length_pc)
    shape: Floats = falling * np.exp(-(np.abs(height) - zero) / population.scale_height_pc)
    return population.local_fraction * shape


def _reddening(
    config: GalaxyModelConfig, longitude_deg: float, latitude_deg: float, distance: Floats
) -> Floats:
    """E(B-V) out to each distance, integrated through the dust layer."""
    steps = np.concatenate([[0.0], np.geomspace(1.0, distance[-1], 400)])
    radius, height = _places(config, longitude_deg, latitude_deg, steps)
    depth = np.abs(height) / config.dust_scale_height_pc
    depth += (radius - config.solar_radius_pc) / config.dust_scale_length_pc
    per_pc = config.dust_reddening_per_kpc / 1000.0 * np.exp(-depth)
    column = np.concatenate([[0.0], np.cumsum((per_pc[1:] + per_pc[:-1]) / 2 * np.diff(steps))])
    return np.interp(distance, steps, column)
