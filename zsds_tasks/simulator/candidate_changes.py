"""What truly changed on the sky between an image and its reference, object by object, from truth."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zsds_tasks.simulator.score_matching import Columns, Integers, rows_of
from zsds_tasks.sky import tangent

Floats = NDArray[np.float64]
MAG_OF_UNIT = 20.0
"""Fluxes of truth are in units of a source of this magnitude."""
FAINTEST_CHANGE_MAG = 23.5
TRAIL_ARCSEC = 5.0
"""Bodies that move farther during an exposure leave streaks, not points."""
LOBE_OF_FWHM = 0.6
"""The halves of a displaced star's residual peak so far from it, in FWHM: sqrt(2) sigma of a Gaussian."""
EVENTS = ("supernova", "transient")
TRANSIENT, VARIABLE, ASTEROID, STREAK, MOVING_STAR = (
    "transient", "variable", "asteroid", "streak", "moving_star",
)  # fmt: skip
REAL_KINDS = (TRANSIENT, VARIABLE, ASTEROID, STREAK, MOVING_STAR)


@dataclass(frozen=True)
class Changes:
    """Changes of one image against its reference, arrays (n).

    Parameters
    ----------
    object_id : int64
    kind : str
        One of `REAL_KINDS`.
    ra, dec : float64, degrees
        Where the change is, at the image's instant.
    x, y : float64
        The same in pixels (FITS 1-based); NaN of what the image itself does not show.
    flux : float64
        Difference of fluxes, signed; 1 is magnitude `MAG_OF_UNIT`.
    natural : float64
        The same without colour terms: as an image shows it whose zero point is that of its median star.
    light : float64
        Flux of the object in the image, for its photon noise.
    trail_east, trail_north : float64, arcsec
        Half of the way it moved during the exposure.
    """

    object_id: Integers
    kind: NDArray[np.str_]
    ra: Floats
    dec: Floats
    x: Floats
    y: Floats
    flux: Floats
    natural: Floats
    light: Floats
    trail_east: Floats
    trail_north: Floats

    def __len__(self) -> int:
        return len(self.object_id)

    @property
    def mag(self) -> Floats:
        """Magnitude of the difference, of either sign."""
        return magnitude_of(np.abs(self.flux))

    def take(self, rows: NDArray[Any]) -> Changes:
        """Return some rows, by number or by truth."""
        return Changes(**{f.name: getattr(self, f.name)[rows] for f in dataclasses.fields(self)})

    @classmethod
    def of(cls, columns: Mapping[str, Any]) -> Changes:
        """Return changes from columns; x, y, natural, light and the trail may be left out."""
        n = len(columns["object_id"])
        given = {"x": np.full(n, np.nan), "y": np.full(n, np.nan), "light": np.maximum(columns["flux"], 0.0)}
        given |= {"trail_east": np.zeros(n), "trail_north": np.zeros(n), "natural": columns["flux"]}
        given |= columns
        return cls(**{f.name: np.asarray(given[f.name]) for f in dataclasses.fields(cls)})

    @classmethod
    def concatenate(cls, parts: Iterable[Changes]) -> Changes:
        """Return all rows of `parts` in order; at least one part."""
        parts = list(parts)
        return cls(
            **{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in dataclasses.fields(cls)}
        )


@dataclass(frozen=True)
class ReferenceSky:
    """What a reference shows of each object: the weighted mean over its epochs.

    Parameters
    ----------
    object_id : int64 (n)
        Growing; without bodies of the Solar System, which no two epochs show at one place.
    kind : str (n)
    flux, natural : float64 (n)
        Mean; 1 is magnitude `MAG_OF_UNIT`; natural as in `Changes`. Transients do not shine in epochs that do
        not list them.
    ra, dec : float64 (n), degrees
        Mean place.
    passing_ra, passing_dec, passing_flux : float64 (m)
        Bodies that single epochs show; the flux is that of the epoch times its share of the weights.
    """

    object_id: Integers
    kind: NDArray[np.str_]
    flux: Floats
    natural: Floats
    ra: Floats
    dec: Floats
    passing_ra: Floats
    passing_dec: Floats
    passing_flux: Floats

    @classmethod
    def of_epochs(cls, rows: Columns, of_all: float) -> ReferenceSky:
        """Average over epochs.

        Parameters
        ----------
        rows : Columns
            object_id, kind, ra, dec, mag, natural of everything that the epochs' truth lists; weight of the
            epoch, by default 1.
        of_all : float
            Sum of the weights of all epochs.
        """
        rows = {"weight": np.ones(len(rows["mag"]))} | rows
        body = rows["kind"] == "asteroid"
        rest, all_of_them = rows_of(rows, ~body), max(of_all, 1e-9)
        ids, first, place = np.unique(rest["object_id"], return_index=True, return_inverse=True)
        kind, weight = rest["kind"][first].astype(str), rest["weight"]
        share = 1.0 / np.maximum(np.bincount(place, weight, len(ids)), 1e-9)
        ra0 = rest["ra"][first]
        turn = (rest["ra"] - ra0[place] + 180.0) % 360.0 - 180.0  # means must not break at 0 h
        scale: Floats = np.where(np.isin(kind, EVENTS), 1.0 / all_of_them, share)
        return cls(
            object_id=ids,
            kind=kind,
            flux=scale * np.bincount(place, weight * flux_of(rest["mag"]), len(ids)),
            natural=scale * np.bincount(place, weight * rest["natural"], len(ids)),
            ra=ra0 + np.bincount(place, weight * turn, len(ids)) * share,
            dec=np.bincount(place, weight * rest["dec"], len(ids)) * share,
            passing_ra=rows["ra"][body],
            passing_dec=rows["dec"][body],
            passing_flux=rows["weight"][body] * flux_of(rows["mag"][body]) / all_of_them,
        )

    @classmethod
    def of_means(cls, rows: Columns) -> ReferenceSky:
        """Return what a reference is taken to show whose epochs have no truth.

        Parameters
        ----------
        rows : Columns
            As of the image itself; `mean_mag` of variables is what the reference shows of them. Transients
            and bodies are taken to be absent from it.
        """
        steady = ~np.isin(rows["kind"], (*EVENTS, "asteroid"))
        some = rows_of(rows, steady)
        known = (some["kind"] == VARIABLE) & np.isfinite(some["mean_mag"])
        columns = some | {"mag": np.where(known, some["mean_mag"], some["mag"])}
        columns["natural"] = np.where(known, flux_of(columns["mag"]), some["natural"])
        return cls.of_epochs(columns, 1)


def changes_of(image: Columns, reference: ReferenceSky, exposure: Mapping[str, Any]) -> Changes:
    """Return what changed between an image and its reference.

    Parameters
    ----------
    image : Columns
        object_id, kind, x, y, ra, dec, mag, natural, rate_east, rate_north of all that truth lists in it.
    reference : ReferenceSky
    exposure : mapping
        exptime_s, rotation_deg, seeing_fwhm_arcsec: of the truth of exposures.

    Returns
    -------
    Changes
        Those brighter than `FAINTEST_CHANGE_MAG`. Stars that are steady changed where they moved: each gives
        two rows, one of either sign, of the flux a PSF fit finds in the halves of its residual.
    """
    here = flux_of(image["mag"])
    partner = _partners(image["object_id"], reference)
    kind = _kinds(image, exposure)
    comes = np.isin(image["kind"], (*EVENTS, "asteroid"))
    flux, natural = (
        now - np.where(partner >= 0, np.append(then, 0.0)[partner], np.where(comes, 0.0, now))
        for now, then in ((here, reference.flux), (image["natural"], reference.natural))
    )
    trail = tangent.turn(image["rate_east"], image["rate_north"], exposure["rotation_deg"])
    half = exposure["exptime_s"] / 2
    changed = np.isin(kind, REAL_KINDS)
    columns = {name: image[name] for name in ("object_id", "ra", "dec", "x", "y")}
    columns |= {"kind": kind, "flux": flux, "natural": natural, "light": here}
    columns |= {"trail_east": trail[0] * half, "trail_north": trail[1] * half}
    found = [
        Changes.of(rows_of(columns, changed)),
        _gone(image, reference),
        _moved(image, reference, partner, exposure["seeing_fwhm_arcsec"]),
    ]
    every = Changes.concatenate(found)
    return every.take(every.mag < FAINTEST_CHANGE_MAG)


def flux_of(mag: Any) -> Floats:
    """Return fluxes of magnitudes, in units of `MAG_OF_UNIT`."""
    return np.asarray(10 ** (-0.4 * (np.asarray(mag, np.float64) - MAG_OF_UNIT)))


def magnitude_of(flux: Any) -> Floats:
    """Return magnitudes of fluxes; infinite of none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(MAG_OF_UNIT - 2.5 * np.log10(np.asarray(flux, np.float64)))


def kinds_of(table: pa.Table) -> NDArray[np.str_]:
    """Return the column `kind` of a table of truth as text."""
    return np.asarray(table.column("kind").to_numpy(zero_copy_only=False)).astype(str)


def _kinds(image: Columns, exposure: Mapping[str, Any]) -> NDArray[np.str_]:
    way = np.hypot(image["rate_east"], image["rate_north"]) * exposure["exptime_s"]
    kind = np.asarray(image["kind"]).astype("U16")
    kind[np.isin(kind, EVENTS)] = TRANSIENT
    kind[(kind == ASTEROID) & (way > TRAIL_ARCSEC)] = STREAK
    return kind


def _partners(object_id: Integers, reference: ReferenceSky) -> Integers:
    """Return the rows of objects in the reference; -1 of those it does not show."""
    known = reference.object_id
    if not len(known):
        return np.full(len(object_id), -1, np.int64)
    row = np.minimum(np.searchsorted(known, object_id), len(known) - 1)
    return np.where(known[row] == object_id, row, -1)


def _gone(image: Columns, reference: ReferenceSky) -> Changes:
    """Return transients of the reference that the image does not show."""
    gone = np.isin(reference.kind, EVENTS) & ~np.isin(reference.object_id, image["object_id"])
    return Changes.of(
        {
            "object_id": reference.object_id[gone],
            "kind": np.full(int(gone.sum()), TRANSIENT),
            "ra": reference.ra[gone],
            "dec": reference.dec[gone],
            "flux": -reference.flux[gone],
            "light": np.zeros(int(gone.sum())),
        }
    )


def _moved(image: Columns, reference: ReferenceSky, partner: Integers, fwhm_arcsec: float) -> Changes:
    """Return the two halves of the residual of each star that is elsewhere than in the reference.

    A Gaussian of flux F displaced by d leaves halves to which the best PSF gives F d / FWHM.
    """
    rows = np.flatnonzero((image["kind"] == "star") & (partner >= 0))
    there = partner[rows]
    cos = np.cos(np.radians(image["dec"][rows]))
    east = ((image["ra"][rows] - reference.ra[there] + 180.0) % 360.0 - 180.0) * cos * 3600
    north = (image["dec"][rows] - reference.dec[there]) * 3600
    way = np.hypot(east, north)
    flux = flux_of(image["mag"][rows]) * way / fwhm_arcsec
    far = flux > flux_of(FAINTEST_CHANGE_MAG)
    rows, way, flux, cos = rows[far], way[far], flux[far], cos[far]
    step = LOBE_OF_FWHM * fwhm_arcsec / 3600 / np.maximum(way, 1e-9)
    parts = [
        {
            "object_id": image["object_id"][rows],
            "kind": np.full(len(rows), MOVING_STAR),
            "ra": image["ra"][rows] + sign * step * east[far] / cos,
            "dec": image["dec"][rows] + sign * step * north[far],
            "x": image["x"][rows],
            "y": image["y"][rows],
            "flux": sign * flux,
            "light": flux_of(image["mag"][rows]),
        }
        for sign in (1.0, -1.0)
    ]
    return Changes.concatenate(Changes.of(part) for part in parts)
