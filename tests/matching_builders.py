"""Skies whose stars are known, seen through seeing: faint stars missing, close ones blended."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from zsds_tasks.science.matching.config import MatchingConfig
from zsds_tasks.science.matching.found import found, founded_seeds
from zsds_tasks.science.matching.match import match
from zsds_tasks.science.matching.rows import Detections, Seeds, Unit
from zsds_tasks.survey.identifiers import ObjectId

REFERENCE_MJD = 58_300.0
YEAR = 365.25
DEEP, SHALLOW = 22.0, 20.6  # 5 sigma at 2 arcsec: of the reference and of an epoch
BLEND_FWHM = 0.8  # closer pairs are one detection


@dataclass(frozen=True)
class Sky:
    """Stars around a place: degrees at the reference's epoch, mas/yr, magnitudes."""

    ra: np.ndarray
    dec: np.ndarray
    pmra: np.ndarray
    pmdec: np.ndarray
    mag: np.ndarray

    def at(self, mjd):
        lapse = (mjd - REFERENCE_MJD) / YEAR / 3.6e6
        return self.ra + self.pmra * lapse / np.cos(np.radians(self.dec)), self.dec + self.pmdec * lapse

    def alone(self, radius_arcsec):
        """Which stars have no other within a radius."""
        tree = cKDTree(plane(self, self.ra, self.dec))
        return np.array([len(near) == 1 for near in tree.query_ball_point(tree.data, radius_arcsec)])


def plane(sky, ra, dec):
    across = np.cos(np.radians(sky.dec.mean()))
    return np.stack([(ra - sky.ra.mean()) * across * 3600, (dec - sky.dec.mean()) * 3600], axis=-1)


def make_sky(rng, stars, side_arcsec, centre=(200.0, 40.0), pm=5.0, faintest=23.0):
    half = side_arcsec / 7200
    mag = 14 + np.log10(1 + rng.uniform(size=stars) * (10 ** (0.3 * (faintest - 14)) - 1)) / 0.3
    return Sky(
        centre[0] + rng.uniform(-half, half, stars) / np.cos(np.radians(centre[1])),
        centre[1] + rng.uniform(-half, half, stars),
        rng.normal(0, pm, stars),
        rng.normal(0, pm, stars),
        mag,
    )


def observe(sky, rng, mjd, fwhm, depth):
    """Return star, ra, dec, sigma of what an image shows; a blend counts as its brighter star."""
    ra, dec = sky.at(mjd)
    xy = plane(sky, ra, dec)
    flux = 10 ** (-0.4 * sky.mag)
    total, centroid, lives = flux.copy(), xy * flux[:, None], np.ones(len(flux), bool)
    for pair in sorted(cKDTree(xy).query_pairs(BLEND_FWHM * fwhm)):
        bright, faint = sorted(pair, key=lambda k: sky.mag[k])
        if lives[bright] and lives[faint]:
            total[bright] += flux[faint]
            centroid[bright] += xy[faint] * flux[faint]
            lives[faint] = False
    snr = 5 * total / 10 ** (-0.4 * depth) * 2.0 / fwhm
    star = np.flatnonzero(lives & (snr + rng.normal(size=len(snr)) > 5))
    sigma = np.hypot(fwhm / 2.355 / snr[star], 0.03)
    shift = centroid[star] / total[star, None] - xy[star] + rng.normal(size=(len(star), 2)) * sigma[:, None]
    across = np.cos(np.radians(dec[star]))
    return star, ra[star] + shift[:, 0] / 3600 / across, dec[star] + shift[:, 1] / 3600, sigma


def reference_seeds(sky, rng, unit, motion=True, fwhm=2.0):
    """Return the seeds of a unit, their stars among the sky's; their motions are those of a catalogue."""
    star, ra, dec, sigma = observe(sky, rng, REFERENCE_MJD, fwhm, DEEP)
    pmra, pmdec = (sky.pmra[star], sky.pmdec[star]) if motion else (0 * ra, 0 * ra)
    number = int(ObjectId(unit.field, unit.fid, unit.ccdid, unit.qid, 0)) + np.arange(len(star))
    epoch, origin = np.full(len(star), REFERENCE_MJD), np.zeros(len(star), np.int64)
    return Seeds(number, ra, dec, pmra, pmdec, epoch, sigma, origin), star


def epochs(sky, rng, count, years=6.0, first_pid=1):
    """Return the detections of images over some years, and their stars."""
    parts, stars = [], []
    for k in range(count):
        mjd = REFERENCE_MJD + rng.uniform(-0.5, years) * YEAR
        star, ra, dec, sigma = observe(
            sky, rng, mjd, 1.7 + rng.exponential(0.5), SHALLOW + rng.normal(0, 0.4)
        )
        parts.append(
            (np.full(len(star), first_pid + k), np.arange(len(star)), np.full(len(star), mjd), ra, dec, sigma)
        )
        stars.append(star)
    return Detections(*(np.concatenate(column) for column in zip(*parts, strict=True))), np.concatenate(stars)


def light_curves(seeds, detections, unit, config):
    """Return the objectid of each detection: matched to the reference, then founded."""
    matches = match(seeds, detections, config)
    rest = np.flatnonzero(matches.seed < 0)
    unmatched = detections.take(rest)
    new, seed = founded_seeds(unmatched, found(unmatched, config), unit, config)
    objectid = seeds.objectid[matches.seed]
    objectid[rest] = new.objectid[seed]
    return objectid, new, matches


UNIT = Unit(600, 2, 7, 3, 200.0, 40.0)
CONFIG = MatchingConfig()
