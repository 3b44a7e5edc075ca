"""What is known of the place of an object: catalogue sources, the star next to it, the object that alerted.

A catalogue that is not there is no error: its columns stay empty until it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from zsds_tasks.lakehouse.hats_reader import HatsReader
from zsds_tasks.science.astrometry import ReferenceStars
from zsds_tasks.settings import Settings
from zsds_tasks.sky.healpix import unit_vectors
from zsds_tasks.steps.exposure.catalogs import GAIA, GAIA_COLUMNS, PS1

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
NONE = "none"
OF_GAIA = ("source_id", *GAIA_COLUMNS)
OF_PS1 = ("objid", "ra", "dec", "sgscore")
ARCSEC = np.pi / 180 / 3600


def editions(settings: Settings) -> list[str]:
    """Return what tells the catalogues in use from others: where they are, and a digest of what they say."""
    found = []
    for name in (GAIA, PS1):
        reader = HatsReader(f"{settings.catalogs_uri}/{name}")
        if not reader.is_there:
            found.append(f"{name} {NONE}")
            continue
        words = "\n".join(f"{key}={value}" for key, value in sorted(reader.properties.items()))
        found.append(f"{name} {hashlib.sha256(words.encode()).hexdigest()[:12]}")
    return found


def astrometric(
    settings: Settings, places: Floats, mjd: float, cone: tuple[float, float, float], reach_arcsec: float
) -> dict[str, NDArray[np.generic]]:
    """Return columns gaia_id (0: none), gaia_distance (arcsec), gaia_mag of the nearest source of each place.

    Parameters
    ----------
    places : numpy.ndarray (n, 3), float64
        Directions.
    mjd : float
        When the places were so: sources are moved to that time.
    cone : (ra, dec, radius)
        That holds them all; degrees, degrees, arcsec.
    reach_arcsec : float
    """
    rows = _rows(settings, GAIA, OF_GAIA, cone)
    ids, (ra, dec, pmra, pmdec, mag, epoch) = (
        _ids(rows, "source_id"),
        (_floats(rows, n) for n in GAIA_COLUMNS),
    )
    stars = ReferenceStars(ra, dec, pmra, pmdec, mag, float(epoch[0]) if len(epoch) else 2016.0)
    star, distance = nearest(places, unit_vectors(*stars.at(mjd)), reach_arcsec)
    return {"gaia_id": _of(ids, star, 0), "gaia_distance": distance, "gaia_mag": _of(mag, star, np.nan)}


def photometric(
    settings: Settings, places: Floats, cone: tuple[float, float, float], reach_arcsec: float
) -> dict[str, NDArray[np.generic]]:
    """Return columns ps1_id (0: none), ps1_distance (arcsec), sgscore of the nearest source of each place."""
    rows = _rows(settings, PS1, OF_PS1, cone)
    source, distance = nearest(places, unit_vectors(_floats(rows, "ra"), _floats(rows, "dec")), reach_arcsec)
    ids, score = _of(_ids(rows, "objid"), source, 0), _of(_floats(rows, "sgscore"), source, np.nan)
    return {"ps1_id": ids, "ps1_distance": distance, "sgscore": score}


def alerted(
    places: Floats, alerts: Sequence[tuple[str, float, float]], reach_arcsec: float
) -> list[str | None]:
    """Return the name of the nearest object that alerted, None where there is none within reach."""
    where = np.array([[ra, dec] for _, ra, dec in alerts], np.float64).reshape(-1, 2)
    found, _ = nearest(places, unit_vectors(where[:, 0], where[:, 1]), reach_arcsec)
    return [alerts[k][0] if k >= 0 else None for k in found.tolist()]


def other_stars(
    places: Floats, seeds: Floats, object_of: Integers, reach_arcsec: float, most: int = 24
) -> Floats:
    """Return the distance (arcsec) of the nearest seed that is no member of an object; NaN beyond reach.

    Parameters
    ----------
    places : numpy.ndarray (n, 3), float64
        Of the objects.
    seeds : numpy.ndarray (s, 3), float64
    object_of : numpy.ndarray (s), int64
        Number of the object a seed is a member of; -1 for those of others.
    reach_arcsec : float
    most : int
        Seeds looked at: more than an object has members, and the nearest beyond.
    """
    distance = np.full(len(places), np.nan)
    if not len(places) or not len(seeds):
        return distance
    most = min(max(most, int(np.bincount(object_of[object_of >= 0]).max(initial=0)) + 1), len(seeds))
    chord, seed = cKDTree(seeds).query(
        places, k=np.arange(1, most + 1), distance_upper_bound=_chord(reach_arcsec)
    )
    there = np.isfinite(chord)
    own = object_of[np.where(there, seed, 0)] == np.arange(len(places))[:, None]
    other = there & ~own
    first = other.argmax(axis=1)
    found = other[np.arange(len(places)), first]
    distance[found] = _arcsec(chord[np.arange(len(places)), first][found])
    return distance


def nearest(places: Floats, others: Floats, reach_arcsec: float) -> tuple[Integers, Floats]:
    """Return the row of the nearest other direction within reach, -1 for none, and how far it is, arcsec."""
    row, distance = np.full(len(places), -1, np.int64), np.full(len(places), np.nan)
    if len(places) and len(others):
        chord, found = cKDTree(others).query(places, distance_upper_bound=_chord(reach_arcsec))
        near = np.isfinite(chord)
        row[near], distance[near] = found[near], _arcsec(chord[near])
    return row, distance


def _rows(
    settings: Settings, name: str, columns: tuple[str, ...], cone: tuple[float, float, float]
) -> pa.Table:
    reader = HatsReader(f"{settings.catalogs_uri}/{name}")
    if not reader.is_there:
        return pa.table({column: pa.array([], pa.float64()) for column in columns})
    return reader.read(columns, cone=cone)


def _of(values: NDArray[np.generic], row: Integers, none: float) -> NDArray[np.generic]:
    found = np.full(len(row), none, values.dtype)
    found[row >= 0] = values[row[row >= 0]]
    return found


def _floats(rows: pa.Table, name: str) -> Floats:
    return np.asarray(rows.column(name).to_numpy(), np.float64)


def _ids(rows: pa.Table, name: str) -> Integers:
    return np.asarray(rows.column(name).to_numpy(), np.int64)


def _chord(arcsec: float) -> float:
    return float(2.0 * np.sin(arcsec * ARCSEC / 2.0))


def _arcsec(chord: Floats) -> Floats:
    return np.asarray(2.0 * np.arcsin(chord / 2.0) / ARCSEC, np.float64)
