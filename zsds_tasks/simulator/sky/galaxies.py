"""Galaxies, made tile by tile: counts, colours, sizes, shapes and redshifts."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.simulator.products import Profile
from zsds_tasks.simulator.randomness import generator
from zsds_tasks.simulator.sky.identities import Family, object_ids
from zsds_tasks.simulator.sky.stars import BANDS, uniform_in
from zsds_tasks.sky import healpix

Floats = NDArray[np.float64]
Positive = Annotated[float, Field(gt=0)]


class GalaxiesConfig(Declaration):
    """Laws of the galaxy population in terms of r magnitude; logarithms are decimal."""

    bright_limit: float
    faint_limit: float
    counts_at_22: Positive  # per square degree and magnitude
    counts_slope: Positive  # of log counts per magnitude
    half_light_at_18_arcsec: Positive
    half_light_slope: float  # of log size per magnitude
    half_light_scatter_dex: Positive
    redshift_at_18: Positive
    redshift_slope: Positive  # of log redshift per magnitude
    redshift_scatter_dex: Positive
    early_fraction: Annotated[float, Field(ge=0, le=1)]
    thinnest: Annotated[float, Field(gt=0, le=1)]  # smallest axis ratio


@dataclasses.dataclass(frozen=True)
class Galaxies:
    """Galaxies as arrays (N); `mags` is (4, N) in `stars.BANDS`; angles from north through east, degrees."""

    object_id: NDArray[np.int64]
    ra: Floats
    dec: Floats
    mags: Floats
    profile: NDArray[np.int8]
    half_light_arcsec: Floats
    axis_ratio: Floats
    angle_deg: Floats
    redshift: Floats

    def __len__(self) -> int:
        return len(self.object_id)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Galaxies:
        """Return some rows, by number or by truth."""
        return Galaxies(**{f.name: getattr(self, f.name)[..., rows] for f in dataclasses.fields(self)})

    @classmethod
    def empty(cls) -> Galaxies:
        """Return no galaxies."""
        none = np.zeros(0)
        return cls(
            np.zeros(0, np.int64),
            none,
            none,
            np.zeros((len(BANDS), 0)),
            np.zeros(0, np.int8),
            none,
            none,
            none,
            none,
        )

    @classmethod
    def concatenate(cls, parts: list[Galaxies]) -> Galaxies:
        """Return all rows of `parts` in order."""
        names = [f.name for f in dataclasses.fields(cls)]
        rows = [*parts, cls.empty()]
        return cls(**{n: np.concatenate([getattr(p, n) for p in rows], axis=-1) for n in names})


def galaxy_tile(config: GalaxiesConfig, seed: int, order: int, tile: int) -> Galaxies:
    """Return the galaxies of one HEALPix tile."""
    random = generator(seed, Family.GALAXY.name, order, tile)
    slope = config.counts_slope * np.log(10.0)
    low, high = (np.exp(slope * (m - 22.0)) for m in (config.bright_limit, config.faint_limit))
    expected = config.counts_at_22 * (high - low) / slope * healpix.resolution_deg(order) ** 2
    count = int(random.poisson(expected))
    ra, dec = uniform_in(random, healpix.Pixel(order, tile), count)
    r = 22.0 + np.log(low + random.random(count) * (high - low)) / slope
    early = random.random(count) < config.early_fraction
    redshift = _lognormal(
        random, config.redshift_at_18, config.redshift_slope, config.redshift_scatter_dex, r
    )
    size = _lognormal(
        random, config.half_light_at_18_arcsec, config.half_light_slope, config.half_light_scatter_dex, r
    )
    redder = np.minimum(redshift, 0.6)  # the 4000 angstrom break leaves g and enters r
    gr = np.where(early, 0.72 + 1.6 * redder, 0.42 + 0.9 * redder) + random.normal(0.0, 0.08, count)
    ri = np.where(early, 0.35 + 0.4 * redder, 0.22 + 0.3 * redder) + random.normal(0.0, 0.05, count)
    iz = 0.6 * ri + random.normal(0.0, 0.04, count)
    return Galaxies(
        object_id=object_ids(Family.GALAXY, tile, count),
        ra=ra,
        dec=dec,
        mags=np.stack([r + gr, r, r - ri, r - ri - iz]),
        profile=np.where(early, Profile.DE_VAUCOULEURS, Profile.EXPONENTIAL).astype(np.int8),
        half_light_arcsec=np.clip(size, 0.15, 30.0),
        axis_ratio=random.uniform(config.thinnest, 1.0, count),
        angle_deg=random.uniform(0.0, 180.0, count),
        redshift=redshift,
    )


def _lognormal(
    random: np.random.Generator, at_18: float, slope: float, scatter_dex: float, r: Floats
) -> Floats:
    """Draw a quantity whose median is a power of flux, with scatter."""
    exponent = np.log10(at_18) + slope * (r - 18.0) + random.normal(0.0, scatter_dex, len(r))
    return np.asarray(10.0**exponent)
