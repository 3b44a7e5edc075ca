"""Supernovae in galaxies and transients without a host: made per HEALPix tile and season of the calendar.

A season's events depend on the seed, the tile and the season alone, so that any night finds the same ones.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.simulator.randomness import generator
from zsds_tasks.simulator.sky.galaxies import Galaxies
from zsds_tasks.simulator.sky.identities import Family, object_ids
from zsds_tasks.simulator.sky.stars import BANDS, uniform_in
from zsds_tasks.sky import healpix

Floats = NDArray[np.float64]
Density = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
LIGHT_KMS = 299_792.458


class EventKind(Declaration):
    """One kind of transient: how often, how bright, and its light curve.

    `template` rows are (days since peak in the rest frame, then mag below peak in g, r, i, z); before the
    first row and after the last there is nothing. `peak_colour` is g, r, i, z minus r at peak.
    """

    per_square_degree_and_season: Density
    hosted: bool
    peak_mag: tuple[float, float]  # hosted: absolute r and its scatter; hostless: apparent, from and to
    peak_colour: tuple[float, float, float, float]
    stretch: tuple[float, float]
    template: tuple[tuple[float, float, float, float, float], ...]


class TransientsConfig(Declaration):
    """All kinds; the order of keys numbers them."""

    season_days: Positive
    max_redshift: Positive
    host_r_limit: float
    hubble_kms_mpc: Positive
    kinds: dict[str, EventKind]


@dataclasses.dataclass(frozen=True)
class Events:
    """Transients as arrays (N).

    Parameters
    ----------
    kind : (N) int64
        Number of the kind in the configuration, from 0.
    peak_mjd, peak_mag, stretch, redshift : (N) float64
        `peak_mag` is apparent, in r; redshift 0 means hostless.
    host_id : (N) int64
        Galaxy, or 0.
    """

    object_id: NDArray[np.int64]
    kind: NDArray[np.int64]
    ra: Floats
    dec: Floats
    peak_mjd: Floats
    peak_mag: Floats
    stretch: Floats
    redshift: Floats
    host_id: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.object_id)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Events:
        """Return some rows, by number or by truth."""
        return Events(**{f.name: getattr(self, f.name)[rows] for f in dataclasses.fields(self)})

    @classmethod
    def empty(cls) -> Events:
        """Return no events."""
        whole, none = np.zeros(0, np.int64), np.zeros(0)
        return cls(whole, whole, none, none, none, none, none, none, whole)

    @classmethod
    def concatenate(cls, parts: list[Events]) -> Events:
        """Return all rows of `parts` in order; at least one part."""
        names = [f.name for f in dataclasses.fields(cls)]
        return cls(**{n: np.concatenate([getattr(p, n) for p in parts]) for n in names})


def season_of(config: TransientsConfig, mjd: float) -> int:
    """Return the number of the season an instant is in."""
    return int(mjd // config.season_days)


def season_events(
    config: TransientsConfig, seed: int, order: int, tile: int, season: int, galaxies: Galaxies
) -> Events:
    """Return the transients that peak in one season in one tile."""
    random = generator(seed, "transients", order, tile, season)
    area = healpix.resolution_deg(order) ** 2
    hosts = np.flatnonzero(
        (galaxies.redshift < config.max_redshift) & (galaxies.mags[1] < config.host_r_limit)
    )
    parts = [Events.empty()]
    for number, kind in enumerate(config.kinds.values()):
        count = int(random.poisson(kind.per_square_degree_and_season * area))
        count = 0 if kind.hosted and not len(hosts) else count
        family = Family.SUPERNOVA if kind.hosted else Family.TRANSIENT
        if count == 0:
            continue
        # Tile and season make the cell; each kind has a running range of its own.
        identity = object_ids(family, (tile << 12) + season % 4096, count, start=number << 16)
        when = (season + random.random(count)) * config.season_days
        stretch = random.uniform(*kind.stretch, count)
        if kind.hosted:
            parts.append(_in_hosts(config, random, kind, number, identity, when, stretch, galaxies, hosts))
        else:
            ra, dec = uniform_in(random, healpix.Pixel(order, tile), count)
            mag = random.uniform(*kind.peak_mag, count)
            numbers, none = np.full(count, number), np.zeros(count, np.int64)
            parts.append(Events(identity, numbers, ra, dec, when, mag, stretch, np.zeros(count), none))
    return Events.concatenate(parts)


def event_mags(config: TransientsConfig, events: Events, mjd: float) -> Floats:
    """Return magnitudes (4, N) in `stars.BANDS` at an instant; infinite where nothing shines."""
    mags = np.full((len(BANDS), len(events)), np.inf)
    for number, kind in enumerate(config.kinds.values()):
        rows = np.flatnonzero(events.kind == number)
        age = (mjd - events.peak_mjd[rows]) / (1.0 + events.redshift[rows]) / events.stretch[rows]
        table = np.array(kind.template)
        inside = (age >= table[0, 0]) & (age <= table[-1, 0])
        for band in range(len(BANDS)):
            below = np.interp(age, table[:, 0], table[:, 1 + band])
            light = events.peak_mag[rows] + kind.peak_colour[band] + below
            mags[band, rows] = np.where(inside, light, np.inf)
    return mags


def distance_modulus(redshift: Floats, hubble_kms_mpc: float) -> Floats:
    """Distance modulus at low redshift: c z / H (1 + z / 2), a coasting universe."""
    megaparsec = LIGHT_KMS / hubble_kms_mpc * redshift * (1.0 + redshift / 2.0)
    return np.asarray(5.0 * np.log10(megaparsec) + 25.0)


def _in_hosts(
    config: TransientsConfig,
    random: np.random.Generator,
    kind: EventKind,
    number: int,
    identity: NDArray[np.int64],
    when: Floats,
    stretch: Floats,
    galaxies: Galaxies,
    hosts: NDArray[np.intp],
) -> Events:
    """Supernovae follow the light of their hosts, out to twice the half-light ellipse."""
    count = len(identity)
    light = 10 ** (-0.4 * galaxies.mags[1][hosts])
    host = random.choice(hosts, count, p=light / light.sum())
    radius = galaxies.half_light_arcsec[host] * np.minimum(random.exponential(0.6, count), 2.0)
    angle = random.uniform(0.0, 2 * np.pi, count)
    along, across = radius * np.cos(angle), radius * np.sin(angle) * galaxies.axis_ratio[host]
    position = np.radians(galaxies.angle_deg[host])
    east = along * np.sin(position) + across * np.cos(position)
    north = along * np.cos(position) - across * np.sin(position)
    redshift = galaxies.redshift[host]
    absolute = random.normal(*kind.peak_mag, count)
    return Events(
        object_id=identity,
        kind=np.full(count, number),
        ra=(galaxies.ra[host] + east / 3600.0 / np.cos(np.radians(galaxies.dec[host]))) % 360.0,
        dec=galaxies.dec[host] + north / 3600.0,
        peak_mjd=when,
        peak_mag=absolute + distance_modulus(redshift, config.hubble_kms_mpc),
        stretch=stretch,
        redshift=redshift,
        host_id=galaxies.object_id[host],
    )
