"""Stars around a quadrant from the reference catalogues (HATS), as the science rooms want them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zsds_tasks.lakehouse.hats_reader import HatsReader
from zsds_tasks.science.astrometry import ReferenceStars
from zsds_tasks.settings import Settings
from zsds_tasks.sky import healpix
from zsds_tasks.sky.healpix import Pixel
from zsds_tasks.sky.tangent import separation_deg
from zsds_tasks.steps.exposure.cache import store_array

GAIA, PS1 = "gaia", "ps1"
SPARE_ARCSEC = 120.0
"""Read around a cone: candidates are looked up a little farther out than stars to calibrate with."""
GAIA_COLUMNS = ("ra", "dec", "pmra", "pmdec", "phot_g_mean_mag", "ref_epoch")
BRIGHT_COLUMNS = ("ra", "dec", "phot_g_mean_mag", "bp_rp")
PS1_BANDS = ("g", "r", "i", "z")
PS1_COLUMNS = (
    "objid", "ra", "dec", *(f"{band}mag" for band in PS1_BANDS), *(f"{band}mag_error" for band in PS1_BANDS),
    "sgscore",
)  # fmt: skip


@lru_cache(maxsize=8)
def _reader(uri: str) -> HatsReader:
    return HatsReader(uri)


@dataclass(frozen=True)
class _Cone:
    """Rows of a catalogue around a place, a little more than was asked for."""

    reader: HatsReader
    columns: tuple[str, ...]
    centre: tuple[float, float]
    radius_deg: float
    rows: pa.Table

    def holds(self, columns: tuple[str, ...], centre: tuple[float, float], radius_deg: float) -> bool:
        """Say whether all that lies so near to a place is here."""
        away = float(separation_deg(*centre, *self.centre))
        return columns == self.columns and away + radius_deg <= self.radius_deg


_latest: dict[str, _Cone] = {}
"""By catalogue: of one channel the same rows are wanted for its calibration, and again for its candidates."""


def _cone(
    settings: Settings, name: str, columns: tuple[str, ...], centre: tuple[float, float], radius_deg: float
) -> pa.Table:
    reader = _reader(f"{settings.catalogs_uri}/{name}")
    cone = _latest.get(name)
    if cone is None or cone.reader is not reader or not cone.holds(columns, centre, radius_deg):
        wide = radius_deg + SPARE_ARCSEC / 3600
        cone = _Cone(reader, columns, centre, wide, reader.read(columns, cone=(*centre, wide * 3600)))
        _latest[name] = cone
    ra, dec = (cone.rows.column(name).to_numpy() for name in ("ra", "dec"))
    return cone.rows.filter(pa.array(healpix.within_cone(ra, dec, centre, radius_deg)))


def astrometric_stars(settings: Settings, centre: tuple[float, float], radius_deg: float) -> ReferenceStars:
    """Return Gaia-like stars around a place (ra, dec; degrees).

    Raises
    ------
    ConfigurationError
        If there is no such catalogue.
    TransientError
        If it cannot be reached.
    """
    rows = _cone(settings, GAIA, GAIA_COLUMNS, centre, radius_deg)
    ra, dec, pmra, pmdec, mag, epoch = (_floats(rows, name) for name in GAIA_COLUMNS)
    usable = np.isfinite(mag)
    epoch_yr = float(epoch[0]) if len(epoch) else 2016.0
    return ReferenceStars(ra[usable], dec[usable], pmra[usable], pmdec[usable], mag[usable], epoch_yr)


def photometric_stars(settings: Settings, centre: tuple[float, float], radius_deg: float) -> pa.Table:
    """Return Pan-STARRS-like rows around a place; columns `PS1_COLUMNS`, errors as `astrometric_stars`."""
    return _cone(settings, PS1, PS1_COLUMNS, centre, radius_deg)


def bright_stars(
    settings: Settings, centre: tuple[float, float], radius_deg: float, brighter_than: float
) -> NDArray[np.float64]:
    """Return the bright stars around a place, however wide: a ghost lies far from its star.

    A camera sees millions of catalogue rows and a handful of bright stars. Each pixel of the catalogue
    is searched once; what is found stays in ``<var>/cache/bright``.

    Parameters
    ----------
    settings : Settings
    centre : (ra, dec), degrees
    radius_deg : float
    brighter_than : float
        G magnitude.

    Returns
    -------
    numpy.ndarray (N, 4), float64
        ra, dec (degrees), G, BP - RP (NaN where there is none).
    """
    uri = f"{settings.catalogs_uri}/{GAIA}"
    reader = _reader(uri)
    edition = " ".join([uri, *(f"{k}={v}" for k, v in sorted(reader.properties.items())), str(brighter_than)])
    folder = settings.var / "cache" / "bright" / hashlib.sha256(edition.encode()).hexdigest()[:16]
    ranges = healpix.cone_ranges(*centre, radius_deg)
    found = [np.empty((0, len(BRIGHT_COLUMNS)))]
    found += [
        _bright_of(reader, pixel, folder, brighter_than)
        for pixel in reader.pixels
        if healpix.overlaps_ranges(np.array([pixel.first]), np.array([pixel.end - 1]), ranges)[0]
    ]
    stars = np.concatenate(found)
    return stars[separation_deg(stars[:, 0], stars[:, 1], *centre) < radius_deg]


def _bright_of(reader: HatsReader, pixel: Pixel, folder: Path, brighter_than: float) -> NDArray[np.float64]:
    path = folder / f"{pixel.order}-{pixel.number}.npy"
    if path.exists():
        return np.asarray(np.load(path, allow_pickle=False))
    rows = reader.read(BRIGHT_COLUMNS, pixels=[pixel])
    table = np.stack([_floats(rows, name) for name in BRIGHT_COLUMNS], axis=1)
    table = table[table[:, 2] < brighter_than]
    store_array(path, table)
    return table


def _floats(rows: pa.Table, name: str) -> NDArray[np.float64]:
    return rows.column(name).to_numpy().astype(np.float64)
