"""Measured sources of one image against the true ones: which is which, and which are fit to judge by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]
Truths = NDArray[np.bool_]
Integers = NDArray[np.int64]
Columns = dict[str, NDArray[Any]]
"""Arrays of equal length by name."""

MATCH_PX = 1.5
"""Largest distance between a source and its truth, and only if each is the other's nearest."""
EDGE_PX = 12.0
"""Sources nearer to an edge judge nothing."""
ISOLATION_FWHM, NEIGHBOUR_FLUX = 4.0, 0.01
"""A source is alone if nothing above this share of its flux lies within so many FWHM."""
SATURATED_RADIUS_PX = 40.0
"""Sources this near to a saturated one judge nothing: spikes of charge and wings are there."""
PEAK_OF_FLUX = 0.75
"""Share of a star's flux in its brightest pixel times FWHM^2 (a Moffat profile: 0.66; with a margin)."""
REAL_PX, REAL_FAINTER_MAG = 2.5, 1.5
"""A source is real if a true one, at most so much fainter, lies within this distance."""


@dataclass(frozen=True)
class Channel:
    """What the tables say of one calibrated image.

    Parameters
    ----------
    expid, rcid, fid : int
    magzp, clrcoeff, maglimit : float
        Zero point, colour coefficient, 5-sigma limit (mag).
    saturate : float
        DN.
    fwhm_px, gain : float
        Pixels; electrons per DN.
    shape : (ny, nx)
    """

    expid: int
    rcid: int
    fid: int
    magzp: float
    clrcoeff: float
    maglimit: float
    saturate: float
    fwhm_px: float
    gain: float
    shape: tuple[int, int]

    def expected_flux(self, mag: Floats, colour: Floats) -> Floats:
        """Return the flux (DN) of true magnitudes, as this image's calibration has it."""
        return np.asarray(10 ** (-0.4 * (mag - self.clrcoeff * colour - self.magzp)))

    def expected_snr(self, flux: Floats) -> Floats:
        """Return S/N of fluxes (DN): the sky's noise is what the limiting magnitude says, and photons."""
        sky = 10 ** (-0.4 * (self.maglimit - self.magzp)) / 5.0
        return np.asarray(flux / np.sqrt(sky**2 + np.maximum(flux, 0.0) / self.gain))


@dataclass(frozen=True)
class Match:
    """True and found sources of one image, brought together.

    Parameters
    ----------
    partner : (n_true) int64
        Row of the found source that is this one; -1 if it was not found.
    fit : (n_true) bool
        Alone, inside, not saturated: fit to judge accuracy and completeness by.
    snr : (n_true) float64
        Expected S/N.
    is_real : (n_found) bool
        A true source is there.
    judged : (n_found) bool
        Clean by its flags, with a magnitude.
    """

    partner: Integers
    fit: Truths
    snr: Floats
    is_real: Truths
    judged: Truths


def columns_of(table: pa.Table) -> Columns:
    """Return a table's columns as arrays; nulls of floats are NaN."""
    return {name: table.column(name).to_numpy(zero_copy_only=False) for name in table.column_names}


def rows_of(columns: Columns, rows: NDArray[Any]) -> Columns:
    """Return some rows, by number or by truth."""
    return {name: values[rows] for name, values in columns.items()}


def match_sources(truth: Columns, found: Columns, channel: Channel) -> Match:
    """Match the sources of one image in its pixels, so that a wrong astrometry cannot hide them.

    Parameters
    ----------
    truth : Columns
        x, y (FITS 1-based), mag, flux_dn of everything true in this image; colour, NaN where unknown.
    found : Columns
        xpos, ypos, mag, flags of its `sources`; either may be empty.
    channel : Channel

    Returns
    -------
    Match
    """
    here, there = _places(truth, "x", "y"), _places(found, "xpos", "ypos")
    peak = PEAK_OF_FLUX * truth["flux_dn"] / max(channel.fwhm_px, 1.0) ** 2
    saturated = peak > channel.saturate
    ny, nx = channel.shape
    inside = (
        (here[:, 0] > EDGE_PX)
        & (here[:, 0] < nx + 1 - EDGE_PX)
        & (here[:, 1] > EDGE_PX)
        & (here[:, 1] < ny + 1 - EDGE_PX)
    )
    alone = is_alone(here, truth["flux_dn"], ISOLATION_FWHM * channel.fwhm_px)
    fit = inside & alone & ~near(here, here[saturated], SATURATED_RADIUS_PX)
    colour = np.nan_to_num(truth["colour"])
    snr = channel.expected_snr(channel.expected_flux(truth["mag"], colour))
    judged = (found["flags"] == 0) & np.isfinite(found["mag"])
    return Match(mutual_nearest(here, there, MATCH_PX), fit, snr, _is_real(here, there, truth, found), judged)


def mutual_nearest(here: Floats, there: Floats, radius: float) -> Integers:
    """Return for every place (n, 2) the row of its nearest there (m, 2), if the two choose each other.

    Returns
    -------
    (n) int64
        -1 without one within `radius`.
    """
    partner = np.full(len(here), -1, np.int64)
    if not len(here) or not len(there):
        return partner
    distance, nearest = cKDTree(there).query(here, distance_upper_bound=radius)
    _, back = cKDTree(here).query(there)
    rows = np.flatnonzero(np.isfinite(distance))
    chosen = nearest[rows]
    mutual = back[chosen] == rows
    partner[rows[mutual]] = chosen[mutual]
    return partner


def is_alone(places: Floats, flux: Floats, radius: float) -> Truths:
    """Say which places (n, 2) have no neighbour within `radius` with `NEIGHBOUR_FLUX` of their flux."""
    alone = np.ones(len(places), np.bool_)
    if len(places) > 1:
        pairs = cKDTree(places).query_pairs(radius, output_type="ndarray")
        for this, other in ((0, 1), (1, 0)):
            disturbed = flux[pairs[:, other]] > NEIGHBOUR_FLUX * flux[pairs[:, this]]
            alone[pairs[disturbed, this]] = False
    return alone


def near(places: Floats, others: Floats, radius: float) -> Truths:
    """Say which places (n, 2) have one of `others` (m, 2) within `radius`."""
    if not len(places) or not len(others):
        return np.zeros(len(places), np.bool_)
    distance, _ = cKDTree(others).query(places, distance_upper_bound=radius)
    return np.asarray(np.isfinite(distance))


def _is_real(here: Floats, there: Floats, truth: Columns, found: Columns) -> Truths:
    """Say of each found source whether one of the five nearest true ones may be it."""
    if not len(here) or not len(there):
        return np.zeros(len(there), np.bool_)
    _, nearest = cKDTree(here).query(there, k=5, distance_upper_bound=REAL_PX)
    faintest = np.append(truth["mag"], np.inf)[nearest]  # a missing neighbour has the number after the last
    return np.asarray((faintest < found["mag"][:, None] + REAL_FAINTER_MAG).any(axis=1))


def _places(columns: Columns, x: str, y: str) -> Floats:
    return np.column_stack([columns[x], columns[y]]).astype(np.float64)
