"""Stars, made tile by tile of HEALPix, so that every camera and field sees the same ones."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field as Key

from zsds_tasks.declarations import Declaration
from zsds_tasks.simulator.randomness import generator
from zsds_tasks.simulator.sky.galaxy_model import GalaxyModelConfig, SightLine, galactic, proper_motions
from zsds_tasks.simulator.sky.identities import Family, object_ids
from zsds_tasks.sky import healpix
from zsds_tasks.sky.tangent import deproject
from zsds_tasks.survey.camera import Camera
from zsds_tasks.survey.fields import FieldGrid

Floats = NDArray[np.float64]
BANDS = ("g", "r", "i", "z")
CATALOG_EPOCH_MJD = 57388.5  # 2016.0, the epoch of positions
DAYS_PER_YEAR = 365.25


class StarsConfig(Declaration):
    """Limits and tiles of the stellar sky."""

    tile_order: Annotated[int, Key(ge=0, le=10)]
    bright_tile_order: Annotated[int, Key(ge=0, le=10)]
    bright_limit: float
    brightest: float
    faint_limit: float
    crowding_limit_per_deg2: Annotated[float, Key(gt=0)]  # where there are more, the faint limit gives way
    colour_scatter: Annotated[float, Key(ge=0)]
    planted_per_field: Annotated[int, Key(ge=0)]
    planted_mag: tuple[float, float]
    planted_grid_limit: Annotated[int, Key(ge=0)]
    galaxy: GalaxyModelConfig


@dataclasses.dataclass(frozen=True)
class Stars:
    """Stars as arrays (N).

    Parameters
    ----------
    object_id : (N) int64
    ra, dec : (N) float64, degrees
        ICRS at epoch 2016.0, barycentric.
    pmra, pmdec : (N) float64, mas per year
        `pmra` includes cos(dec).
    parallax : (N) float64, mas
    mags : (4, N) float64
        Mean calibrated AB magnitudes in g, r, i, z (`BANDS`).
    """

    object_id: NDArray[np.int64]
    ra: Floats
    dec: Floats
    pmra: Floats
    pmdec: Floats
    parallax: Floats
    mags: Floats

    def __len__(self) -> int:
        return len(self.object_id)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Stars:
        """Return some rows, by number or by truth."""
        columns = {f.name: getattr(self, f.name)[..., rows] for f in dataclasses.fields(self)}
        return Stars(**columns)

    @classmethod
    def empty(cls) -> Stars:
        """Return no stars."""
        none = np.zeros(0)
        return cls(np.zeros(0, np.int64), none, none, none, none, none, np.zeros((len(BANDS), 0)))

    @classmethod
    def concatenate(cls, parts: list[Stars]) -> Stars:
        """Return all rows of `parts` in order."""
        names = [f.name for f in dataclasses.fields(cls)]
        rows = [*parts, cls.empty()]
        return cls(**{n: np.concatenate([getattr(p, n) for p in rows], axis=-1) for n in names})

    def at(self, mjd: float, earth_au: Floats) -> tuple[Floats, Floats]:
        """Return places at an instant: proper motion and parallax applied.

        Parameters
        ----------
        mjd : float
        earth_au : (3) float64
            The observer's barycentric (or heliocentric: the Sun's 0.01 au do not matter) position, ICRS axes.

        Returns
        -------
        ra, dec : (N) float64, degrees
        """
        years = (mjd - CATALOG_EPOCH_MJD) / DAYS_PER_YEAR
        ra, dec = np.radians(self.ra), np.radians(self.dec)
        x, y, z = earth_au
        # The star is displaced opposite to the observer's own displacement.
        east = self.pmra * years - self.parallax * (-np.sin(ra) * x + np.cos(ra) * y)
        north = self.pmdec * years - self.parallax * (
            -np.sin(dec) * (np.cos(ra) * x + np.sin(ra) * y) + np.cos(dec) * z
        )
        moved = np.clip(self.dec + north / 3.6e6, -90.0, 90.0)
        return (self.ra + east / 3.6e6 / np.cos(dec)) % 360.0, moved


def star_tile(config: StarsConfig, seed: int, tile: int, *, bright: bool = False) -> Stars:
    """Return the stars of one tile: of `tile_order`, or the bright ones of `bright_tile_order`."""
    order = config.bright_tile_order if bright else config.tile_order
    limits = (config.brightest, config.bright_limit) if bright else (config.bright_limit, config.faint_limit)
    family = Family.BRIGHT_STAR if bright else Family.STAR
    random = generator(seed, family.name, order, tile)
    pixel = healpix.Pixel(order, tile)
    centre_ra, centre_dec = healpix.position_of([(pixel.first + pixel.end) // 2])
    longitude, latitude = galactic(centre_ra, centre_dec)
    place = (float(longitude[0]), float(latitude[0]))
    line = SightLine(config.galaxy, *place, *limits)
    if line.per_square_degree > config.crowding_limit_per_deg2:
        # In the plane fainter stars are lost in the confusion of these, and would only cost time and memory.
        line = SightLine(config.galaxy, *place, limits[0], line.limit_of(config.crowding_limit_per_deg2))
    area = healpix.resolution_deg(order) ** 2
    count = int(random.poisson(line.per_square_degree * area))
    ra, dec = uniform_in(random, pixel, count)
    return _dress(config, random, line, object_ids(family, tile, count), ra, dec)


def uniform_in(random: np.random.Generator, pixel: healpix.Pixel, count: int) -> tuple[Floats, Floats]:
    """Return positions uniform in a HEALPix pixel: random cells of order 29 (0.4 mas)."""
    if count == 0:
        return np.zeros(0), np.zeros(0)
    return healpix.position_of(random.integers(pixel.first, pixel.end, count))


def planted_stars(config: StarsConfig, seed: int, camera: Camera, fields: FieldGrid) -> Stars:
    """Return the bright stars guaranteed to every field of a small grid, well inside a quadrant.

    A small field holds a naked-eye star once in ten; ghosts, halos and bleeds deserve one each night.
    """
    grid = fields.all_fields
    if len(grid) > config.planted_grid_limit:
        return Stars.empty()
    parts = []
    for field in grid:
        random = generator(seed, Family.PLANTED_STAR.name, camera.name, field.id)
        count = config.planted_per_field
        rcids = random.integers(0, camera.n_quadrants, count)
        x = random.uniform(0.3, 0.7, count) * camera.quadrant.nx
        y = random.uniform(0.3, 0.7, count) * camera.quadrant.ny
        places = [camera.focal_plane(int(r), xx, yy) for r, xx, yy in zip(rcids, x, y, strict=True)]
        east, north = np.array(places).reshape(-1, 2).T
        ra, dec = deproject(east, north, (field.ra, field.dec))
        longitude, latitude = galactic(np.array([field.ra]), np.array([field.dec]))
        line = SightLine(config.galaxy, float(longitude[0]), float(latitude[0]), *config.planted_mag)
        parts.append(_dress(config, random, line, object_ids(Family.PLANTED_STAR, field.id, count), ra, dec))
    return Stars.concatenate(parts)


def _dress(
    config: StarsConfig,
    random: np.random.Generator,
    line: SightLine,
    object_id: NDArray[np.int64],
    ra: Floats,
    dec: Floats,
) -> Stars:
    """Give positions their luminosities, distances, colours and motions."""
    model, count = config.galaxy, len(object_id)
    population, luminosity, modulus, reddening = line.draw(random, count)
    table = np.array(model.sequence)
    shift = np.array([p.colour_shift for p in model.populations])[population]
    noise = random.normal(0.0, config.colour_scatter, (3, count))
    gr = np.interp(luminosity, table[:, 0], table[:, 2]) + shift + noise[0]
    ri = np.interp(luminosity, table[:, 0], table[:, 3]) + 0.4 * shift + noise[1]
    iz = 0.55 * ri + 0.5 * noise[2]
    r0 = luminosity + modulus
    clean = np.stack([r0 + gr, r0, r0 - ri, r0 - ri - iz])
    dust = np.array([model.extinction_coefficients[band] for band in BANDS])[:, None]
    distance_pc = 10 ** (modulus / 5.0 + 1.0)
    pmra, pmdec = proper_motions(model, random, population, ra, dec, distance_pc)
    return Stars(
        object_id=object_id,
        ra=ra,
        dec=dec,
        pmra=pmra,
        pmdec=pmdec,
        parallax=1000.0 / distance_pc,
        mags=clean + dust * reddening,
    )
