"""Catalogues of the simulated sky as others would have published them: Gaia, Pan-STARRS, known asteroids.

Each is measured: noise of the survey's own size is added to the truth, and stars and galaxies are confused
where the real scores confuse them. `published_catalogs` stores them as HATS.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zsds_tasks.simulator.randomness import generator
from zsds_tasks.simulator.sky.asteroids import Asteroids
from zsds_tasks.simulator.sky.census import Census
from zsds_tasks.simulator.sky.identities import RUNNING_BITS, Family, family_of
from zsds_tasks.simulator.sky.stars import BANDS
from zsds_tasks.sky import ephemeris, healpix
from zsds_tasks.sky.horizon import Observer

Floats = NDArray[np.float64]
GAIA_LIMIT_MAG = 20.7
PS1_LIMIT_MAG = 22.0  # of r
PS1_SATURATION_MAG = 13.5  # brighter stars have no good Pan-STARRS magnitudes
ORBIT_LIMIT_MAG = 21.5  # of V in the middle of the night
GAIA_ID_ORDER = 12
MAS_PER_DEGREE = 3.6e6


def gaia_table(census: Census, seed: int) -> pa.Table:
    """Return a Gaia-like catalogue: astrometry at epoch 2016.0 with errors, G and BP-RP.

    Columns: source_id; ra, dec (deg); ra_error, dec_error (mas); pmra, pmdec (mas/yr); parallax (mas) and
    their errors; phot_g_mean_mag, bp_rp (mag); ref_epoch (yr).
    """
    stars = census.stars
    g, r, i, _ = stars.mags
    magnitude = r - 0.10 * (g - i) + 0.02
    keep = np.flatnonzero(magnitude < GAIA_LIMIT_MAG)
    stars, magnitude = stars.take(keep), magnitude[keep]
    random = generator(seed, "gaia")
    # Errors by G: a floor, then photon noise (shape of Gaia Collaboration, Lindegren et al. 2021, table 4).
    error = np.hypot(0.02, 0.03 * 10 ** (0.2 * (magnitude - 15.0)) * np.where(magnitude > 19, 1.3, 1.0))
    noise = random.normal(size=(5, len(keep)))
    cell = healpix.ancestor(healpix.index_of(stars.ra, stars.dec), GAIA_ID_ORDER)
    running = np.arange(len(keep), dtype=np.int64) % (1 << RUNNING_BITS)
    colour = stars.mags[0] - stars.mags[2]
    return pa.table(
        {
            "source_id": (cell << 35) + running,
            "ra": (stars.ra + noise[0] * error / MAS_PER_DEGREE / np.cos(np.radians(stars.dec))) % 360.0,
            "dec": np.clip(stars.dec + noise[1] * error / MAS_PER_DEGREE, -90.0, 90.0),
            "ra_error": error.astype(np.float32),
            "dec_error": error.astype(np.float32),
            "pmra": stars.pmra + noise[2] * error,
            "pmdec": stars.pmdec + noise[3] * error,
            "pmra_error": error.astype(np.float32),
            "pmdec_error": error.astype(np.float32),
            "parallax": stars.parallax + noise[4] * 1.2 * error,
            "parallax_error": (1.2 * error).astype(np.float32),
            "phot_g_mean_mag": magnitude.astype(np.float32),
            "bp_rp": (0.35 + 0.85 * colour).astype(np.float32),
            "ref_epoch": np.full(len(keep), 2016.0),
        }
    )


def ps1_table(census: Census, seed: int) -> pa.Table:
    """Return a Pan-STARRS-like catalogue of stars and galaxies: mean magnitudes, errors, star-galaxy score.

    Columns: objid; ra, dec (deg); gmag, rmag, imag, zmag and their errors (mag); sgscore (1: star).
    """
    random = generator(seed, "ps1")
    mags = np.concatenate([census.stars.mags, census.galaxies.mags], axis=1)
    ra = np.concatenate([census.stars.ra, census.galaxies.ra])
    dec = np.concatenate([census.stars.dec, census.galaxies.dec])
    is_star = np.arange(len(ra)) < len(census.stars)
    keep = np.flatnonzero((mags[1] < PS1_LIMIT_MAG) & (mags[1] > PS1_SATURATION_MAG))
    mags, ra, dec, is_star = mags[:, keep], ra[keep], dec[keep], is_star[keep]
    errors = np.hypot(0.004, 0.08 * 10 ** (0.4 * (mags - 21.8)))
    measured = mags + errors * random.normal(size=mags.shape)
    place = np.hypot(0.010, 0.05 * 10 ** (0.4 * (mags[1] - 21.5))) / 3600.0
    shift = place * random.normal(size=(2, len(keep)))
    columns: dict[str, NDArray[np.generic]] = {
        "objid": _ps1_ids(ra, dec),
        "ra": (ra + shift[0] / np.cos(np.radians(dec))) % 360.0,
        "dec": np.clip(dec + shift[1], -90.0, 90.0),
    }
    for band, values, sigma in zip(BANDS, measured, errors, strict=True):
        columns[f"{band}mag"] = values.astype(np.float32)
        columns[f"{band}mag_error"] = sigma.astype(np.float32)
    columns["sgscore"] = star_galaxy_scores(random, is_star, mags[1]).astype(np.float32)
    return pa.table(columns)


def star_galaxy_scores(random: np.random.Generator, is_star: NDArray[np.bool_], r: Floats) -> Floats:
    """Return scores in [0, 1] like Tachibana and Miller's (2018, PASP 130, 128001).

    The score is a logistic function of a Gaussian evidence whose separation shrinks with magnitude: nearly
    perfect to r = 20, little better than a coin at r = 23.
    """
    separation = np.interp(r, [14.0, 19.0, 20.0, 21.0, 22.0, 23.0], [8.0, 7.0, 5.5, 3.6, 2.2, 1.0])
    evidence = np.where(is_star, separation, -separation) + random.normal(0.0, 1.6, len(r))
    return np.asarray(1.0 / (1.0 + np.exp(-evidence)))


def orbit_table(bodies: Asteroids, mjd_utc: float, observer: Observer) -> pa.Table:
    """Return the known asteroids that are bright enough, with elements and their place at one instant.

    Columns: name; ra, dec (deg), v_mag (mag) at `mjd_utc` (column ref_mjd); epoch_mjd (TT); a_au, e,
    inclination_deg, node_deg, perihelion_deg, anomaly_deg (ecliptic J2000); h_mag, g_slope.
    """
    known = bodies.take(bodies.is_known)
    seen = ephemeris.observe(known.orbits, mjd_utc, observer)
    keep = np.flatnonzero(seen.v_mag < ORBIT_LIMIT_MAG)
    known, orbits = known.take(keep), known.orbits.take(keep)
    numbers = known.object_id & ((1 << RUNNING_BITS) - 1)
    prefix = np.where(family_of(known.object_id) == Family.FAST_ASTEROID, "F", "S")
    elements = ("epoch_mjd", "a_au", "e", "inclination_deg", "node_deg", "perihelion_deg", "anomaly_deg")
    return pa.table(
        {
            "name": [f"{p}{n:07d}" for p, n in zip(prefix, numbers, strict=True)],
            "ra": seen.ra[keep],
            "dec": seen.dec[keep],
            "v_mag": seen.v_mag[keep].astype(np.float32),
            "ref_mjd": np.full(len(keep), mjd_utc),
            **{name: getattr(orbits, name) for name in (*elements, "h_mag", "g_slope")},
        }
    )


def _ps1_ids(ra: Floats, dec: Floats) -> NDArray[np.int64]:
    """Pan-STARRS numbers objects by zone of declination and right ascension: so do we."""
    zone = np.floor((dec + 90.0) / 0.0083333).astype(np.int64)
    return zone * 10**13 + np.round(ra * 1e6).astype(np.int64) * 10**4 + np.arange(len(ra)) % 10**4
