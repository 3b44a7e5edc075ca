"""Stars of a channel against the catalogue: sources matched, and their differences in magnitude."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.lakehouse.hats_reader import HatsReader
from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.science.calibration.starresiduals import StarResiduals
from zsds_tasks.sky.tangent import project, separation_deg
from zsds_tasks.steps.calibration.configuration import StarSelection
from zsds_tasks.steps.calibration.selection import Row

Floats = NDArray[np.float64]
SOURCE_COLUMNS = ("pid", "xpos", "ypos", "ra", "dec", "mag", "sigmag", "zpcorr")
SLACK_ARCSEC = 600.0
"""A part of the catalogue read for one image serves others whose middle lies so near: dithers, repeats."""


@dataclass(frozen=True)
class CatalogStars:
    """Catalogued stars around a place that are fit to calibrate with; arrays (n)."""

    ra: Floats
    dec: Floats
    mag: Floats
    colour: Floats
    error: Floats


@dataclass
class Catalog:
    """The reference catalogue in one filter; what was read is kept.

    Parameters
    ----------
    reader : HatsReader
    selection : StarSelection
    band : str
        Name of the filter.
    radius_arcsec : float
        Of the parts that are asked for.
    """

    reader: HatsReader
    selection: StarSelection
    band: str
    radius_arcsec: float
    _read: list[tuple[float, float, CatalogStars]] = field(default_factory=list)

    def around(self, ra: float, dec: float) -> CatalogStars:
        """Return the stars around a place (degrees)."""
        for ra0, dec0, stars in self._read:
            if float(separation_deg(ra, dec, ra0, dec0)) * 3600.0 < SLACK_ARCSEC:
                return stars
        stars = self._stars(ra, dec)
        self._read.append((ra, dec, stars))
        return stars

    def _stars(self, ra: float, dec: float) -> CatalogStars:
        chosen, band = self.selection, self.band
        blue, red = chosen.colours[band]
        bands = sorted({band, blue, red})
        names = ["ra", "dec", "sgscore", *(f"{b}mag" for b in bands), *(f"{b}mag_error" for b in bands)]
        found = self.reader.read(names, cone=(ra, dec, self.radius_arcsec + SLACK_ARCSEC))
        column = {name: found[name].to_numpy().astype(np.float64) for name in names}
        mag = column[f"{band}mag"]
        good = np.isfinite(mag) & (column["sgscore"] >= chosen.min_star_score)
        good &= (mag >= chosen.magnitudes[0]) & (mag <= chosen.magnitudes[1])
        good &= column[f"{band}mag_error"] <= chosen.max_catalog_error_mag
        good &= ~_has_neighbour(column["ra"], column["dec"], mag, (ra, dec), chosen)
        colour = column[f"{blue}mag"] - column[f"{red}mag"]
        good &= np.isfinite(colour)
        values = (column["ra"], column["dec"], mag, colour, column[f"{band}mag_error"])
        return CatalogStars(*(v[good] for v in values))


def _has_neighbour(
    ra: Floats, dec: Floats, mag: Floats, centre: tuple[float, float], selection: StarSelection
) -> NDArray[np.bool_]:
    """Say which catalogue objects have another one near that is not much fainter."""
    crowded = np.zeros(len(ra), np.bool_)
    if len(ra) > 1:
        tree = cKDTree(np.column_stack(project(ra, dec, centre)))
        pairs = tree.query_pairs(selection.isolation_arcsec, output_type="ndarray")
        fainter = mag[pairs[:, 1]] - mag[pairs[:, 0]]
        # A magnitude that is unknown may be a bright one.
        crowded[pairs[~(fainter > selection.isolation_mag), 0]] = True
        crowded[pairs[~(-fainter > selection.isolation_mag), 1]] = True
    return crowded


def star_residuals(
    lakehouse: Lakehouse,
    images: Sequence[Row],
    catalog: Catalog,
    applied: Mapping[int, Mesh],
) -> StarResiduals:
    """Match the sources of one channel, filter and night and return catalogue minus measured magnitudes.

    Parameters
    ----------
    lakehouse : Lakehouse
    images : sequence of dict
        Rows of science_images: pid, night, rcid, fid, ra, dec, clrcoeff.
    catalog : Catalog
    applied : mapping of Mesh
        By pid, the star flat that the image had been divided by; images without one are not named.

    Returns
    -------
    StarResiduals
        The spatial term of the zero point is taken out of the measured magnitudes; of `residual` also the
        star flat that the image had.
    """
    if not images:
        return StarResiduals.concatenate([])
    by_pid = {row["pid"]: row for row in images}
    first = images[0]
    where = {
        "night": first["night"], "rcid": first["rcid"], "fid": first["fid"], "flags": 0,
        "snr": (catalog.selection.min_snr, None),
    }  # fmt: skip
    sources = lakehouse.table("sources").read(list(SOURCE_COLUMNS), where)
    parts = []
    pids = sources["pid"].to_numpy()
    for pid in np.unique(pids):
        row = by_pid.get(int(pid))
        if row is not None:
            parts.append(
                _of_image(sources.filter(pa.array(pids == pid)), row, catalog, applied.get(int(pid)))
            )
    return StarResiduals.concatenate(parts)


def _of_image(sources: pa.Table, image: Row, catalog: Catalog, applied: Mesh | None) -> StarResiduals:
    column = {
        name: sources[name].to_numpy(zero_copy_only=False).astype(np.float64) for name in SOURCE_COLUMNS[1:]
    }
    stars = catalog.around(image["ra"], image["dec"])
    centre = (image["ra"], image["dec"])
    mine, theirs = match(
        project(column["ra"], column["dec"], centre),
        project(stars.ra, stars.dec, centre),
        catalog.selection.match_arcsec,
    )
    x, y = column["xpos"][mine] - 1.0, column["ypos"][mine] - 1.0
    measured = column["mag"][mine] - column["zpcorr"][mine] + image["clrcoeff"] * stars.colour[theirs]
    as_found = stars.mag[theirs] - measured
    error = np.hypot(column["sigmag"][mine], stars.error[theirs])
    had = np.zeros(len(x)) if applied is None else 2.5 * np.log10(applied.at(x, y).astype(np.float64))
    known = np.isfinite(as_found) & np.isfinite(error) & (error > 0)
    found = StarResiduals(x, y, as_found + had, error, np.full(len(x), image["pid"], np.int64), as_found)
    return found.take(known)


def match(
    mine: tuple[Floats, Floats], theirs: tuple[Floats, Floats], limit_arcsec: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the places of pairs that are each other's nearest, no farther than a limit.

    Parameters
    ----------
    mine, theirs : (east, north), arcsec
        Places on one tangent plane; those that are not finite match nothing.
    limit_arcsec : float

    Returns
    -------
    mine, theirs : numpy.ndarray (n), int64
    """
    here, there = (np.column_stack(places) for places in (mine, theirs))
    a, b = (np.flatnonzero(np.isfinite(places).all(axis=1)) for places in (here, there))
    if not (len(a) and len(b)):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    distance, nearest = cKDTree(there[b]).query(here[a], distance_upper_bound=limit_arcsec)
    _, back = cKDTree(here[a]).query(there[b])
    found = np.isfinite(distance)
    found[found] = back[nearest[found]] == np.flatnonzero(found)
    return np.asarray(a[found], np.int64), np.asarray(b[nearest[found]], np.int64)
