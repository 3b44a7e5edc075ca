"""Known Solar-System objects next to candidates: predicted from a catalogue of orbits (sections 6.8, 10.4).

The catalogue is HATS like the others, each body at its place of some night (`ref_mjd`), which is of no use
on another: so it is read whole, and each night every orbit is propagated once, roughly; see `sky.almanac`.
Planets do not pull on two-body orbits: a place is off by 0.6 arcsec 30 days from the epoch of the elements
for a body at 0.4 au, by 8 arcsec after 262 days and 40 after 393 in the main belt, by minutes after years.
Elements of an epoch farther away than `furthest_epoch_days` are therefore not used.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field
from scipy.spatial import cKDTree

from zsds_tasks.declarations import Declaration
from zsds_tasks.errors import ConfigurationError
from zsds_tasks.lakehouse.hats_reader import HatsReader
from zsds_tasks.products.packets import MISSING
from zsds_tasks.settings import Settings
from zsds_tasks.sky import almanac, ephemeris
from zsds_tasks.sky.ephemeris import Orbits
from zsds_tasks.sky.healpix import unit_vectors
from zsds_tasks.sky.horizon import Observer
from zsds_tasks.steps.exposure.cache import store_array
from zsds_tasks.survey.camera import Camera, load_camera
from zsds_tasks.survey.nights import JD_OF_MJD_ZERO, ObservingNight, mjd

logger = logging.getLogger(__name__)
ELEMENTS: Final = (
    "epoch_mjd", "a_au", "e", "inclination_deg", "node_deg", "perihelion_deg", "anomaly_deg", "h_mag",
    "g_slope",
)  # fmt: skip
NOTHING_KNOWN: Final[dict[str, tuple[Any, pa.DataType]]] = {
    "ssdistnr": (MISSING, pa.float32()),
    "ssmagnr": (MISSING, pa.float32()),
    "ssnamenr": ("null", pa.string()),
}
"""What a packet says where no known object is near, and the types."""
NIGHTS_KEPT: Final = 8
USUAL_SLOPE: Final = 0.15
SECONDS_PER_DAY: Final = 86_400.0


class KnownConfig(Declaration):
    """Which known Solar-System objects are looked for."""

    catalog: str = Field("asteroids", description="name of the catalogue of orbits")
    radius_arcsec: Annotated[float, Field(gt=0)] = Field(30.0, description="about the candidate")
    faintest_mag: float = Field(23.5, description="predicted V of an object that is told")
    furthest_epoch_days: Annotated[float, Field(gt=0)] = Field(
        250.0, description="elements of an epoch farther from the night are not used: places drift by arcsec"
    )


@dataclasses.dataclass(frozen=True)
class Bodies:
    """A catalogue of orbits.

    Parameters
    ----------
    names : tuple of str (N)
    orbits : Orbits (N)
    edition : str
        Digest of what tells one edition of the catalogue from another.
    """

    names: tuple[str, ...]
    orbits: Orbits
    edition: str


def known_objects(
    settings: Settings, triggers: pa.Table, exptime_s: float, config: KnownConfig
) -> dict[str, pa.Array]:
    """Return the nearest known Solar-System object of candidates of one exposure.

    Parameters
    ----------
    settings : Settings
        Of the catalogues and the camera, whose site the observer stands on.
    triggers : pyarrow.Table (n)
        With ra, dec, jd (shutter open), night.
    exptime_s : float
        Objects are predicted for the middle of the exposure.
    config : KnownConfig

    Returns
    -------
    dict
        ssdistnr (arcsec), ssmagnr (predicted V) and ssnamenr, (n) each; -999, -999 and "null" where there is
        none within the radius, or no catalogue.

    Raises
    ------
    TransientError
        If the catalogue cannot be reached.
    """
    n = triggers.num_rows
    columns = {name: [missing] * n for name, (missing, _) in NOTHING_KNOWN.items()}
    bodies = _bodies(settings, config.catalog)
    if bodies is not None and n:
        _fill(columns, settings, bodies, triggers, exptime_s, config)
    return {name: pa.array(columns[name], type_) for name, (_, type_) in NOTHING_KNOWN.items()}


def catalog_edition(settings: Settings, config: KnownConfig) -> str:
    """Return which edition of the catalogue is used; empty if there is none."""
    bodies = _bodies(settings, config.catalog)
    return "" if bodies is None else bodies.edition


def _fill(
    columns: dict[str, list[Any]],
    settings: Settings,
    bodies: Bodies,
    triggers: pa.Table,
    exptime_s: float,
    config: KnownConfig,
) -> None:
    when = float(triggers["jd"][0].as_py()) - JD_OF_MJD_ZERO + exptime_s / 2 / SECONDS_PER_DAY
    camera = load_camera(settings.camera, settings.include)
    observer = Observer(camera.site.latitude_deg, camera.site.longitude_deg, camera.site.elevation_m)
    middle = _middle_of_night(str(triggers["night"][0].as_py()), camera)
    places = unit_vectors(triggers["ra"].to_numpy(), triggers["dec"].to_numpy())
    centre = places.mean(axis=0)
    centre /= np.linalg.norm(centre)
    around = float(np.degrees(2 * np.arcsin(np.linalg.norm(places - centre, axis=1).max() / 2)))
    x, y, z = centre
    there = (float(np.degrees(np.arctan2(y, x)) % 360), float(np.degrees(np.arctan2(z, np.hypot(x, y)))))
    coarse = _coarse(settings.var, bodies, middle, observer)
    rows = almanac.may_be_near(coarse, when - middle, there, around + config.radius_arcsec / 3600)
    rows = rows[np.abs(bodies.orbits.epoch_mjd[rows] - when) <= config.furthest_epoch_days]
    seen = ephemeris.observe(bodies.orbits.take(rows), when, observer)
    bright = seen.v_mag <= config.faintest_mag
    rows = rows[bright]
    if not rows.size:
        return
    predicted = unit_vectors(seen.ra[bright], seen.dec[bright])
    chord, nearest = cKDTree(predicted).query(places)
    distance = np.degrees(2 * np.arcsin(np.minimum(chord / 2, 1.0))) * 3600
    for k in np.flatnonzero(distance <= config.radius_arcsec):
        columns["ssdistnr"][k] = float(distance[k])
        columns["ssmagnr"][k] = float(seen.v_mag[bright][nearest[k]])
        columns["ssnamenr"][k] = bodies.names[rows[nearest[k]]]


def _middle_of_night(night: str, camera: Camera) -> float:
    start, end = ObservingNight.parse(night).bounds(camera.site.noon_utc_hour)
    return (mjd(start) + mjd(end)) / 2


def _bodies(settings: Settings, catalog: str) -> Bodies | None:
    """Return the catalogue as it is now; None, with a warning, if there is none."""
    uri = f"{settings.catalogs_uri}/{catalog}"
    try:
        properties = HatsReader(uri, settings).properties
    except ConfigurationError:
        logger.warning("%s: no catalogue of orbits; packets tell of no known objects", uri)
        return None
    text = " ".join([uri, *(f"{name}={value}" for name, value in sorted(properties.items()))])
    return _read_bodies(uri, hashlib.sha256(text.encode()).hexdigest()[:12], settings)


@lru_cache(maxsize=2)
def _read_bodies(uri: str, edition: str, settings: Settings) -> Bodies:
    rows = HatsReader(uri, settings).read(["name", *ELEMENTS])
    orbits = Orbits(**{name: rows.column(name).to_numpy().astype(np.float64) for name in ELEMENTS})
    # What the MPC assumes of a body whose slope nobody has measured.
    orbits = dataclasses.replace(orbits, g_slope=np.nan_to_num(orbits.g_slope, nan=USUAL_SLOPE))
    elliptic = (orbits.e >= 0) & (orbits.e < 1) & (orbits.a_au > 0)
    if not elliptic.all():
        logger.warning("%s: %d orbits that are no ellipses are left out", uri, int((~elliptic).sum()))
        rows, orbits = rows.filter(pa.array(elliptic)), orbits.take(elliptic)
    return Bodies(tuple(rows.column("name").to_pylist()), orbits, edition)


def _coarse(var: Path, bodies: Bodies, middle: float, observer: Observer) -> NDArray[np.float32]:
    """Return the coarse places of a night, which the processes of all its exposures share."""
    site = hashlib.sha256(repr(observer).encode()).hexdigest()[:8]
    path = var / "cache" / "asteroids" / f"{bodies.edition}-{site}-{middle:.5f}.npy"
    with suppress(FileNotFoundError, ValueError, EOFError):
        kept: NDArray[np.float32] = np.load(path, allow_pickle=False)
        if kept.shape == (len(bodies.orbits), 4):
            return kept
    places = almanac.coarse_places(bodies.orbits, middle, observer)
    store_array(path, places)
    with suppress(FileNotFoundError):  # another process may tidy up as well
        newest = sorted(path.parent.glob("*.npy"), key=lambda file: file.stat().st_mtime, reverse=True)
        for old in newest[NIGHTS_KEPT:]:
            old.unlink(missing_ok=True)
    return places
