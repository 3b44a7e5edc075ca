"""Find the ghost in a cut-out by a matched filter, and the geometry that puts all ghosts where they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.science.masking.ghost_geometry import Floats, Places
from zsds_tasks.science.masking.ghost_model import N_GEOMETRY, GhostModel, geometry_design, ring_profile
from zsds_tasks.science.masking.ghost_stamps import GhostStamp

SIGMA_PER_MAD = 1.4826
NOISE_CLIP = 5.0
BRIGHTEST = 3.0  # times the expected ghost: what is brighter is no ghost
LEAST_COVERED = 0.4  # of a ring that must lie on usable bins
ROBUST_STEPS = 20
LEAST_FOR_TAILS = (
    20  # ghosts that show the tails of their scatter: among fewer one false one would be the tail
)
RAYLEIGH_90 = 2.146  # distance within which nine of ten lie, over sigma per axis
CAUCHY = 2.385  # 95 per cent efficient where errors are normal


@dataclass(frozen=True)
class Prepared:
    """A cut-out ready to be searched.

    Parameters
    ----------
    stamp : GhostStamp
    light : numpy.ndarray (n, m), float64
        DN per pixel above a plane; 0 where there is none.
    usable : numpy.ndarray (n, m), float64
        1 or 0.
    noise : float
        Of a bin, measured, DN per pixel.
    """

    stamp: GhostStamp
    light: Floats
    usable: Floats
    noise: float


@dataclass(frozen=True)
class FoundGhost:
    """The best place of a ring in one cut-out.

    Parameters
    ----------
    place : complex
        Camera frame, arcsec.
    sigma_arcsec : float
        Per axis, from the sharpness of the peak.
    gain : float
        By how much the ring lowers chi square.
    ratio : float
        Brightness of the ring over the star's flux, per square arcsecond.
    """

    place: complex
    sigma_arcsec: float
    gain: float
    ratio: float


@dataclass(frozen=True)
class GeometryFit:
    """Where ghosts fall, fitted.

    Parameters
    ----------
    offset, factor : complex
        c and Z.
    covariance : numpy.ndarray (4, 4), float64
    scatter_arcsec : float
    n_places : int
        Different places of stars in the field that were used.
    is_outlier : numpy.ndarray (N), bool
        Of the ghosts given.
    """

    offset: complex
    factor: complex
    covariance: Floats
    scatter_arcsec: float
    n_places: int
    is_outlier: NDArray[np.bool_]


def prepare(stamp: GhostStamp, expected: float) -> Prepared | None:
    """Take the plane of the background out of a cut-out and clip what is no ghost; None if nothing is left.

    Parameters
    ----------
    stamp : GhostStamp
    expected : float
        Brightness of the ghost, DN per pixel.
    """
    usable = np.isfinite(stamp.values)
    if np.count_nonzero(usable) < 16:
        return None
    n, m = stamp.values.shape
    v, u = np.mgrid[-1 : 1 : n * 1j, -1 : 1 : m * 1j]
    design = np.stack([np.ones(usable.sum()), u[usable], v[usable]], axis=1)
    values = stamp.values[usable].astype(np.float64)
    keep = np.ones(len(values), bool)
    for _ in range(4):
        plane = np.linalg.lstsq(design[keep], values[keep], rcond=None)[0]
        off = values - design @ plane
        noise = max(stamp.noise, SIGMA_PER_MAD * float(np.median(np.abs(off - np.median(off)))))
        keep = np.abs(off - np.median(off)) < 2.5 * noise
        if np.count_nonzero(keep) < 16:
            return None
    light = np.zeros(stamp.values.shape)
    light[usable] = np.clip(off, -NOISE_CLIP * noise, max(NOISE_CLIP * noise, BRIGHTEST * expected))
    return Prepared(stamp, light, usable.astype(np.float64), noise)


def find_ring(
    prepared: Prepared, outer: float, inner: float, expected: complex, reach_arcsec: float
) -> FoundGhost | None:
    """Return the best place of a ring near an expected one; None where too little of a ring is seen.

    Light is fitted as a ring times a brightness on an even ground, at every bin at once by convolutions.
    """
    stamp = prepared.stamp
    bin_arcsec, usable, light = stamp.bin_arcsec, prepared.usable, prepared.light
    half = int(np.ceil(outer / bin_arcsec)) + 1
    side = np.arange(-half, half + 1) * bin_arcsec
    ring = ring_profile(np.hypot(side[:, None], side), outer, inner, bin_arcsec)
    total, total_light = usable.sum(), light.sum()
    from scipy.signal import fftconvolve  # noqa: PLC0415 - imports statistics, 2 s, which other tasks spare

    seen = fftconvolve(usable, ring, "same")
    squared = fftconvolve(usable, ring**2, "same")
    matched = fftconvolve(light, ring, "same")
    spread = squared - seen**2 / total
    places = stamp.places
    possible = (np.abs(places - expected) <= reach_arcsec) & (seen > LEAST_COVERED * ring.sum())
    possible &= spread > 1e-6 * total
    if not possible.any():
        return None
    height = (matched - total_light * seen / total) / np.where(possible, spread, 1.0)
    gain = np.where(possible & (height > 0), height**2 * spread, 0.0) / prepared.noise**2
    best = np.unravel_index(int(np.argmax(gain)), gain.shape)
    row, column = int(best[0]), int(best[1])
    if gain[row, column] <= 0:
        return None
    (d_row, s_row), (d_column, s_column) = (
        _vertex(gain[:, column], row),
        _vertex(gain[row], column),
    )
    shift = stamp.axes @ np.array([d_column, d_row])
    return FoundGhost(
        place=complex(places[row, column]) + complex(shift[0], shift[1]),
        sigma_arcsec=max(s_row, s_column) * bin_arcsec,
        gain=float(gain[row, column]),
        ratio=float(height[row, column]) * stamp.per_arcsec2 / stamp.flux,
    )


def _vertex(gain: Floats, k: int) -> tuple[float, float]:
    """Return where a parabola through three values peaks, and its sigma, in steps; one at an edge."""
    if not 0 < k < len(gain) - 1:
        return 0.0, 1.0
    before, here, after = gain[k - 1], gain[k], gain[k + 1]
    bend = 2 * here - before - after
    if bend <= 0:
        return 0.0, 1.0
    # A drop of chi square by one is one sigma: gain = peak - (t / sigma)^2 and bend = 2 / sigma^2.
    return float(np.clip((after - before) / (2 * bend), -0.5, 0.5)), float(np.sqrt(2.0 / bend))


def fit_geometry(
    stars: Places,
    found: Places,
    sigma: Floats,
    prior: GhostModel,
    least_scatter_arcsec: float,
    same_place_arcsec: float,
) -> GeometryFit:
    """Fit c and Z to ghosts found, with the prior as further data; single false ones hardly count.

    Parameters
    ----------
    stars, found : (N) complex128, arcsec
        Stars and their ghosts in the camera frame, N at least 1.
    sigma : (N) float64, arcsec
        Of the ghosts, per axis.
    prior : GhostModel
        Its geometry and covariance.
    least_scatter_arcsec : float
        Ghosts scatter by no less, were they ever so few.
    same_place_arcsec : float
        Ghosts of stars so near each other are one: exposures of one field see the same stars beneath.
    """
    group = _groups(stars, same_place_arcsec)
    count = np.bincount(group)
    u = _means(2 * prior.axis - stars, group, count)
    place = _medians(found + (prior.factor * (stars - _means(stars, group, count)[group])), group, len(count))
    error = np.sqrt(np.bincount(group, sigma**2)) / count
    rows = np.concatenate(geometry_design(u))
    data = np.concatenate([place.real, place.imag])
    inverse = np.linalg.inv(prior.covariance)
    theta = prior.parameters.copy()
    miss = place - prior.offset - prior.factor * u
    theta[:2] += np.median(miss.real), np.median(miss.imag)
    scatter, weight = least_scatter_arcsec, np.ones(len(count))
    free = 2 * len(count) / max(2 * len(count) - N_GEOMETRY, 1)
    covariance = prior.covariance
    for _ in range(ROBUST_STEPS):
        residual = (data - rows @ theta).reshape(2, -1)
        middle = SIGMA_PER_MAD * float(np.median(np.abs(residual)))
        scatter = max(least_scatter_arcsec, middle * np.sqrt(free))
        spread = np.sqrt(scatter**2 + error**2)
        weight = 1 / (1 + (np.hypot(*residual) / (CAUCHY * spread)) ** 2)
        w = np.tile(weight / spread**2, 2)
        covariance = np.linalg.inv(rows.T @ (w[:, None] * rows) + inverse)
        theta = covariance @ (rows.T @ (w * data) + inverse @ prior.parameters)
    factor, offset = complex(theta[2], theta[3]), complex(theta[0], theta[1])
    off = np.abs(found - offset - factor * (2 * prior.axis - stars))
    is_outlier = off > 5 * np.sqrt(scatter**2 + sigma**2)
    n_places = len(np.unique(group[~is_outlier]))
    if np.count_nonzero(~is_outlier) >= LEAST_FOR_TAILS:
        # What distortion leaves has tails, which the median does not see and the mask has to cover.
        scatter = max(scatter, float(np.quantile(off[~is_outlier], 0.9)) / RAYLEIGH_90)
    return GeometryFit(offset, factor, covariance, float(scatter), n_places, is_outlier)


def _groups(places: Places, radius: float) -> NDArray[np.int64]:
    """Return numbers of places; those within a radius of an earlier one share its number."""
    heads: list[complex] = []
    numbers = np.empty(len(places), np.int64)
    for k, place in enumerate(places):
        near = [n for n, head in enumerate(heads) if abs(place - head) < radius]
        if not near:
            heads.append(complex(place))
        numbers[k] = near[0] if near else len(heads) - 1
    return numbers


def _means(values: Places, group: NDArray[np.int64], count: NDArray[np.int64]) -> Places:
    real, imaginary = np.bincount(group, values.real), np.bincount(group, values.imag)
    return np.asarray((real + 1j * imaginary) / count)


def _medians(values: Places, group: NDArray[np.int64], n: int) -> Places:
    parts = [values[group == k] for k in range(n)]
    return np.array([np.median(part.real) + 1j * np.median(part.imag) for part in parts])
