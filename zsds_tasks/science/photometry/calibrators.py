"""Which sources tell the zero point: matched with a photometric catalogue, single, clean, and stars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from zsds_tasks.science.photometry.zeropoint_config import CalibratorConfig, FilterCalibration
from zsds_tasks.sky import tangent

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
NEIGHBOURS = 6
"""Catalogue entries looked at around a calibrator, itself among them: with more it is not single."""
CHI_GROUPS = 10


@dataclass(frozen=True)
class MeasuredSources:
    """Sources of one image by PSF fitting, one row each.

    Parameters
    ----------
    x, y : (N) float, FITS 1-based pixels
    ra, dec : (N) float64, degrees
    flux, flux_error : (N) float, DN
    flags : (N) integer
        Mask bits under the source; -1 at the edge of the image.
    chi : (N) float
        RMS residual of the fit over that expected.
    """

    x: NDArray[np.floating]
    y: NDArray[np.floating]
    ra: Floats
    dec: Floats
    flux: NDArray[np.floating]
    flux_error: NDArray[np.floating]
    flags: NDArray[np.integer]
    chi: NDArray[np.floating]

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class CatalogStars:
    """Rows of a photometric catalogue around the image: all of them, faint ones and galaxies too.

    Parameters
    ----------
    ra, dec : (M) float64, degrees
    mag, mag_error : mapping from band to (M) float, mag
        NaN where there is none.
    star_score : (M) float
        1 for stars, 0 for galaxies.
    """

    ra: Floats
    dec: Floats
    mag: Mapping[str, NDArray[np.floating]]
    mag_error: Mapping[str, NDArray[np.floating]]
    star_score: NDArray[np.floating]

    def __len__(self) -> int:
        return len(self.ra)

    @classmethod
    def from_columns(cls, columns: Mapping[str, NDArray[np.floating]], bands: str = "gri") -> CatalogStars:
        """Take the columns ra, dec, sgscore, and <band>mag with <band>mag_error of each band."""
        return cls(
            ra=np.asarray(columns["ra"], np.float64),
            dec=np.asarray(columns["dec"], np.float64),
            mag={band: columns[f"{band}mag"] for band in bands},
            mag_error={band: columns[f"{band}mag_error"] for band in bands},
            star_score=columns["sgscore"],
        )


@dataclass(frozen=True)
class Calibrators:
    """Pairs that tell the zero point, one row each.

    Parameters
    ----------
    source, star : (n) int64
        Row numbers in the tables they come from.
    x, y : (n) float64, FITS 1-based pixels
    flux, flux_error : (n) float64, DN, positive
    mag, colour : (n) float64, mag
        Of the catalogue.
    mag_error : (n) float64, mag
        Catalogue's error of mag - coefficient x colour, with the coefficient expected beforehand.
    n_sources, n_matched : int
        How many sources there were, and how many found an entry of any kind.
    """

    source: Integers
    star: Integers
    x: Floats
    y: Floats
    flux: Floats
    flux_error: Floats
    mag: Floats
    colour: Floats
    mag_error: Floats
    n_sources: int
    n_matched: int

    def __len__(self) -> int:
        return len(self.source)


def choose_calibrators(
    sources: MeasuredSources, stars: CatalogStars, band: FilterCalibration, config: CalibratorConfig
) -> Calibrators:
    """Match sources with the catalogue one to one and keep the pairs fit for the zero point.

    Parameters
    ----------
    sources : MeasuredSources
    stars : CatalogStars
        Covering the image with a margin of `config.isolation_arcsec`.
    band : FilterCalibration
    config : CalibratorConfig

    Returns
    -------
    Calibrators
        Possibly none.
    """
    clean = np.flatnonzero(
        ((sources.flags & config.unusable_flags) == 0)
        & np.isfinite(sources.flux + sources.flux_error)
        & (sources.flux > 0)
        & (sources.flux_error > 0)
        & np.isfinite(sources.ra + sources.dec)
    )
    if len(clean) == 0 or len(stars) == 0:
        return _gather(sources, stars, band, clean[:0], clean[:0], 0)
    centre = float(sources.ra[clean[0]]), float(sources.dec[clean[0]])
    places = np.stack(tangent.project(sources.ra[clean], sources.dec[clean], centre), axis=1)
    known = np.stack(tangent.project(stars.ra, stars.dec, centre), axis=1)
    near = np.flatnonzero(_around(known, places, config.isolation_arcsec + config.match_radius_arcsec))
    known = known[near]
    # Neither compact nor balanced: built twice as fast, searched as fast, since stars lie evenly.
    tree = cKDTree(known, compact_nodes=False, balanced_tree=False)
    of_clean, entry = _match(places, tree, config.match_radius_arcsec)
    source, star = clean[of_clean], near[entry]
    n_matched = len(source)
    fit = _is_standard(stars, star, band, config)
    source, star, entry = source[fit], star[fit], entry[fit]
    single = _is_single(tree, entry, np.asarray(stars.mag[band.band], np.float64)[near], config)
    source, star = source[single], star[single]
    good = _has_usual_chi(sources, source, config)
    return _gather(sources, stars, band, source[good], star[good], n_matched)


def _around(known: Floats, places: Floats, margin: float) -> NDArray[np.bool_]:
    """Which rows lie in the rectangle of the places; NaN, behind the plane, does not."""
    low, high = places.min(axis=0) - margin, places.max(axis=0) + margin
    inside: NDArray[np.bool_] = (
        (known[:, 0] >= low[0])
        & (known[:, 0] <= high[0])
        & (known[:, 1] >= low[1])
        & (known[:, 1] <= high[1])
    )
    return inside


def _match(places: Floats, tree: cKDTree, radius: float) -> tuple[Integers, Integers]:
    """Pair each place with its nearest entry; an entry goes to the nearest of its claimants."""
    distance, entry = tree.query(places, distance_upper_bound=radius)
    source = np.flatnonzero(np.isfinite(distance))
    source = source[np.argsort(distance[source], kind="stable")]
    _, first = np.unique(entry[source], return_index=True)
    source = np.sort(source[first])
    return source, entry[source].astype(np.int64)


def _is_standard(
    stars: CatalogStars, star: Integers, band: FilterCalibration, config: CalibratorConfig
) -> NDArray[np.bool_]:
    mag = stars.mag[band.band][star]
    colour = stars.mag[band.colour[0]][star] - stars.mag[band.colour[1]][star]
    fit = (mag >= config.bright_mag) & (mag <= config.faint_mag)
    fit &= (colour >= band.colour_range[0]) & (colour <= band.colour_range[1])
    fit &= stars.star_score[star] >= config.min_star_score
    for name in {band.band, *band.colour}:
        fit &= stars.mag_error[name][star] <= config.max_mag_error
    return fit


def _is_single(tree: cKDTree, entry: Integers, mag: Floats, config: CalibratorConfig) -> NDArray[np.bool_]:
    """Which entries outshine their neighbours in the catalogue."""
    if len(entry) == 0:
        return np.zeros(0, np.bool_)
    # Entries that lie at one place come in any order: each is told by its number, not by its rank.
    near = tree.query(tree.data[entry], k=NEIGHBOURS, distance_upper_bound=config.isolation_arcsec)[1]
    # No light from entries without a magnitude: NaN, or a number far below zero in its place.
    light = np.where(mag > 0, 10.0 ** (-0.4 * (np.clip(mag, 0, None) - config.faint_mag)), 0.0)
    padded = np.append(light, 0.0)
    flux = padded[near]
    flux[near == entry[:, None]] = 0.0
    single: NDArray[np.bool_] = flux.sum(axis=1) <= config.max_neighbour_flux * padded[entry]
    return single & (near[:, -1] == tree.n)


def _has_usual_chi(sources: MeasuredSources, source: Integers, config: CalibratorConfig) -> NDArray[np.bool_]:
    """Which sources are fitted as well as others as bright: the PSF model's own errors grow with flux."""
    chi = np.asarray(sources.chi, np.float64)[source]
    usual = np.ones(len(source), np.bool_)
    known = np.flatnonzero(np.isfinite(chi))
    order = known[np.argsort(-np.asarray(sources.flux)[source[known]], kind="stable")]
    for group in np.array_split(order, max(1, min(CHI_GROUPS, len(known) // CHI_GROUPS))):
        if len(group):
            usual[group] = chi[group] <= config.max_chi_ratio * np.median(chi[group])
    return usual


def _gather(
    sources: MeasuredSources,
    stars: CatalogStars,
    band: FilterCalibration,
    source: Integers,
    star: Integers,
    n_matched: int,
) -> Calibrators:
    def of_source(values: NDArray[np.floating]) -> Floats:
        return np.asarray(values, np.float64)[source]

    def of_star(values: NDArray[np.floating]) -> Floats:
        return np.asarray(values, np.float64)[star]

    blue, red = band.colour
    # Weight of each band in mag - coefficient x colour, whose catalogue errors are independent.
    weight = dict.fromkeys((band.band, blue, red), 0.0)
    weight[band.band] += 1.0
    weight[blue] -= band.coefficient
    weight[red] += band.coefficient
    variance = sum((w * of_star(stars.mag_error[name])) ** 2 for name, w in weight.items())
    return Calibrators(
        source=source,
        star=star,
        x=of_source(sources.x),
        y=of_source(sources.y),
        flux=of_source(sources.flux),
        flux_error=of_source(sources.flux_error),
        mag=of_star(stars.mag[band.band]),
        colour=of_star(stars.mag[blue]) - of_star(stars.mag[red]),
        mag_error=np.sqrt(np.asarray(variance, np.float64)),
        n_sources=len(sources),
        n_matched=n_matched,
    )
