"""Radius and brightness of halos, from the step at their rim in cut-outs around bright stars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zsds_tasks.science.masking.ghost_find import SIGMA_PER_MAD
from zsds_tasks.science.masking.ghost_geometry import Floats
from zsds_tasks.science.masking.ghost_model import ring_level, ring_profile
from zsds_tasks.science.masking.ghost_stamps import GhostStamp

INNER_SHARE = 0.6  # of the radius: inside, the star's own wings are brighter
LEAST_BINS = 60
WING_POWER = -3.0  # of the star's scattered light at these distances: surface brightness against radius
STEP_ARCSEC = 2.0
LEAST_SHARE_OF_RIM = 0.05  # of a disc's pixels that must lie on each side of the rim


@dataclass(frozen=True)
class HaloFit:
    """What halos are like.

    Parameters
    ----------
    radius_arcsec, radius_sigma_arcsec : float
    flux_ratio, flux_ratio_sigma : float
    gain : float
        By how much halos lower chi square.
    n_halos, n_stars : int
        Cut-outs that show a rim, and stars behind them.
    """

    radius_arcsec: float
    radius_sigma_arcsec: float
    flux_ratio: float
    flux_ratio_sigma: float
    gain: float
    n_halos: int
    n_stars: int


def fit_halos(stamps: Sequence[GhostStamp], radius_arcsec: float, reach_arcsec: float) -> HaloFit | None:
    """Fit one radius and one flux ratio to all cut-outs; None where no rim is seen.

    At each trial radius every cut-out is a disc, the star's wings and a plane, by least squares.

    Parameters
    ----------
    stamps : sequence of GhostStamp
        Around stars.
    radius_arcsec : float
        Where to look.
    reach_arcsec : float
        How far to either side.
    """
    radii = np.arange(radius_arcsec - reach_arcsec, radius_arcsec + reach_arcsec + 1e-6, STEP_ARCSEC)
    fits = [(s, *fit) for s in stamps for fit in [_disc_gains(s, radii, radius_arcsec)] if fit is not None]
    if not fits:
        return None
    gains = np.array([gain for _, gain, _ in fits])
    heights = np.array([height for _, _, height in fits])
    total = gains.sum(axis=0)
    best = int(np.argmax(total))
    if not 0 < best < len(radii) - 1 or total[best] <= 0:
        return None
    before, here, after = total[best - 1 : best + 2]
    bend = max(2 * here - before - after, 1e-12)
    radius = radii[best] + STEP_ARCSEC * float(np.clip((after - before) / (2 * bend), -0.5, 0.5))
    own = radii[np.argmax(gains, axis=1)]
    seen = gains[:, best] > max(9.0, 1e-3 * here)
    scatter = SIGMA_PER_MAD * float(np.median(np.abs(own[seen] - radius))) if seen.any() else reach_arcsec
    area = 1 / ring_level(radius, 0.0, 1.0)
    ratios = heights[:, best] * area
    weights = gains[:, best] / np.maximum(ratios**2, 1e-30)
    ratio, sigma, n_stars = _mean_of_stars(
        [s.star_id for s, _, _ in fits], ratios, np.where(seen, weights, 0)
    )
    return HaloFit(
        radius_arcsec=float(radius),
        radius_sigma_arcsec=float(
            np.hypot(STEP_ARCSEC * np.sqrt(2 / bend), scatter / np.sqrt(max(seen.sum(), 1)))
        ),
        flux_ratio=ratio,
        flux_ratio_sigma=sigma,
        gain=float(here),
        n_halos=int(seen.sum()),
        n_stars=n_stars,
    )


def _disc_gains(stamp: GhostStamp, radii: Floats, middle: float) -> tuple[Floats, Floats] | None:
    """Return the drop of chi square and the height (over flux, per square arcsecond) for every radius."""
    away = stamp.places - stamp.star
    r = np.abs(away)
    used = np.isfinite(stamp.values) & (r > INNER_SHARE * middle)
    if np.count_nonzero(used) < LEAST_BINS:
        return None
    value = stamp.values[used].astype(np.float64) * stamp.per_arcsec2 / stamp.flux
    rr, u, v = r[used], away.real[used] / middle, away.imag[used] / middle
    inside = rr < middle
    if min(inside.mean(), 1 - inside.mean()) < LEAST_SHARE_OF_RIM:
        return None
    ground = np.stack([np.ones(len(rr)), u, v, (rr / middle) ** WING_POWER], axis=1)
    keep = np.ones(len(rr), bool)
    disc = ring_profile(rr, middle, 0.0, stamp.bin_arcsec)
    for _ in range(3):  # stars and bleeds go
        design = np.column_stack([ground, disc])
        off = value - design @ np.linalg.lstsq(design[keep], value[keep], rcond=None)[0]
        noise = SIGMA_PER_MAD * float(np.median(np.abs(off[keep] - np.median(off[keep]))))
        keep = np.abs(off - np.median(off[keep])) < 4 * noise
    noise = max(noise, stamp.noise * stamp.per_arcsec2 / stamp.flux)
    basis, _ = np.linalg.qr(ground[keep])
    left = value[keep] - basis @ (basis.T @ value[keep])
    gain, height = np.zeros(len(radii)), np.zeros(len(radii))
    for k, radius in enumerate(radii):
        step = ring_profile(rr[keep], radius, 0.0, stamp.bin_arcsec)
        step -= basis @ (basis.T @ step)
        power = float(step @ step)
        height[k] = float(step @ left) / max(power, 1e-30)
        gain[k] = max(height[k], 0.0) ** 2 * power / noise**2
    return gain, height


def _mean_of_stars(star: Sequence[int], ratio: Floats, weight: Floats) -> tuple[float, float, int]:
    """Return the mean over stars, its error, their number: a star's magnitude is wrong every time."""
    stars = np.array(star)
    use = weight > 0
    ids = np.unique(stars[use])
    if len(ids) == 0:
        return 0.0, np.inf, 0
    means = np.array([np.average(ratio[use & (stars == i)], weights=weight[use & (stars == i)]) for i in ids])
    middle = float(np.median(means))
    formal = float(1 / np.sqrt(weight.sum()))
    if len(ids) == 1:
        return middle, float(np.hypot(formal, 0.3 * middle)), 1  # nothing is known of the scatter
    scatter = 1.2533 * float(np.std(means, ddof=1)) / np.sqrt(len(ids))
    return middle, float(np.hypot(formal, scatter)), len(ids)
