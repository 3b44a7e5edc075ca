"""The mean ghost: cut-outs stacked in ghost-centred coordinates, its ring, and a map for masking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from zsds_tasks.science.masking.ghost_find import Prepared
from zsds_tasks.science.masking.ghost_geometry import Floats
from zsds_tasks.science.masking.ghost_model import GhostMap, map_radii, ring_level, ring_map, ring_profile

OUTLIER_SIGMAS = 5.0
BORDER = 1.5  # a stack reaches so many outer radii


@dataclass(frozen=True)
class Stack:
    """Mean ghost over its star's flux, per square arcsecond.

    Parameters
    ----------
    values, error : numpy.ndarray (n, n), float64
        [north, east]; error is infinite in cells without light.
    cell_arcsec : float
    softness_arcsec : float
        How much the bins blur an edge.
    """

    values: Floats
    error: Floats
    cell_arcsec: float
    softness_arcsec: float

    @property
    def half(self) -> int:
        """Cells beside the middle one."""
        return len(self.values) // 2


@dataclass(frozen=True)
class Ring:
    """Radii (arcsec) and flux ratio of a stack, with errors.

    Parameters
    ----------
    outer, inner, flux_ratio : float
    outer_sigma, inner_sigma, flux_ratio_sigma : float
    """

    outer: float
    inner: float
    flux_ratio: float
    outer_sigma: float
    inner_sigma: float
    flux_ratio_sigma: float


def stack_ghosts(
    ghosts: Sequence[Prepared], centres: Sequence[complex], outer_arcsec: float, cell_arcsec: float
) -> Stack:
    """Return the weighted mean of ghosts, each about its own centre and over its star's flux.

    Bins far off a first mean (stars, bleeds) are left out of the second.
    """
    half = int(np.ceil(BORDER * outer_arcsec / cell_arcsec))
    n = 2 * half + 1
    parts = [_normalised(g, c, outer_arcsec, half, cell_arcsec) for g, c in zip(ghosts, centres, strict=True)]
    cell = np.concatenate([p[0] for p in parts])
    value, weight = np.concatenate([p[1] for p in parts]), np.concatenate([p[2] for p in parts])
    keep = np.ones(len(cell), bool)
    for _ in range(3):
        total = np.bincount(cell[keep], weight[keep], n * n)
        light = np.bincount(cell[keep], (weight * value)[keep], n * n)
        mean = np.where(total > 0, light / np.where(total > 0, total, 1.0), 0.0)
        keep = np.abs(value - mean[cell]) * np.sqrt(weight) < OUTLIER_SIGMAS
    error = np.where(total > 0, 1 / np.sqrt(np.where(total > 0, total, 1.0)), np.inf)
    softness = float(np.hypot(cell_arcsec, np.median([g.stamp.bin_arcsec for g in ghosts])))
    return Stack(mean.reshape(n, n), error.reshape(n, n), cell_arcsec, softness)


def _normalised(
    ghost: Prepared, centre: complex, outer: float, half: int, cell_arcsec: float
) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], Floats, Floats]:
    """Return cell numbers, brightness over flux per square arcsecond, and weights of the bins in a stack."""
    stamp = ghost.stamp
    away = stamp.places - centre
    column = np.rint(away.real / cell_arcsec).astype(np.int64) + half
    row = np.rint(away.imag / cell_arcsec).astype(np.int64) + half
    usable, n = ghost.usable > 0, 2 * half + 1
    ground = usable & (np.abs(away) > 1.15 * outer) & (np.abs(away) < BORDER * outer + 2 * cell_arcsec)
    level = float(np.median(ghost.light[ground])) if np.count_nonzero(ground) > 8 else 0.0
    inside = usable & (row >= 0) & (row < n) & (column >= 0) & (column < n)
    factor = stamp.per_arcsec2 / stamp.flux
    value = (ghost.light[inside] - level) * factor
    weight = np.full(len(value), 1 / (ghost.noise * factor) ** 2)
    return (row[inside] * n + column[inside]), value, weight


def fit_ring(stack: Stack, outer: float, inner: float) -> Ring | None:
    """Fit radii and brightness to a stack, beginning with radii found before; None if it has no ring."""
    radius = map_radii(stack.half, stack.cell_arcsec)
    seen = np.isfinite(stack.error) & (radius < BORDER * outer)
    r, value, error = radius[seen], stack.values[seen], stack.error[seen]
    if len(r) < 16:
        return None
    unit = max(float(np.mean(value[(r < outer) & (r > inner)])), float(np.median(error)))

    def miss(p: Floats) -> Floats:
        level, out, hole, ground = p
        model = level * ring_profile(r, out, hole * out, stack.softness_arcsec) + ground
        return np.asarray((value / unit - model) * unit / error)

    start = [1.0, outer, min(max(inner / outer, 0.05), 0.9), 0.0]
    # Inside the ring's own softness the profile is flat in its parameters: a wide step sees across.
    best = least_squares(
        miss, start, bounds=([0, 0.3 * outer, 0, -np.inf], [np.inf, 1.4 * outer, 0.95, np.inf]),
        diff_step=1e-2, x_scale=[0.1, 3.0, 0.05, 0.1],
    )  # fmt: skip
    level, out, hole, _ = best.x
    chi2 = max(1.0, float(2 * best.cost / (len(r) - 4)))
    covariance = np.linalg.pinv(best.jac.T @ best.jac) * chi2
    if level <= 0:
        return None
    ratio = level * unit / ring_level(out, hole * out, 1.0)
    slope = np.array(
        [ratio / level, 2 * ratio / out, -2 * hole * ratio / (1 - hole**2), 0.0]
    )  # of level pi out^2 (1 - hole^2)
    sigma = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    return Ring(
        outer=float(out),
        inner=float(hole * out),
        flux_ratio=float(ratio),
        outer_sigma=float(sigma[1]),
        inner_sigma=float(np.hypot(sigma[2] * out, sigma[1] * hole)),
        flux_ratio_sigma=float(np.sqrt(max(slope @ covariance @ slope, 0.0))),
    )


def ghost_map(stack: Stack, ring: Ring) -> GhostMap:
    """Return the map to mask with: the stack where it is well known, else the even ring.

    Both are mixed cell by cell with weights t^2 / (t^2 + error^2); t is by how much ghosts depart from an
    even ring, measured over the stack.
    """
    even = ring_map(ring.outer, ring.inner, ring.flux_ratio, stack.cell_arcsec, stack.half).values
    near = map_radii(stack.half, stack.cell_arcsec) <= ring.outer + stack.softness_arcsec
    known = near & np.isfinite(stack.error)
    off, error = stack.values - even, np.where(known, stack.error, 1.0)
    excess = max(0.0, float(np.mean(off[known] ** 2 - error[known] ** 2))) if known.any() else 0.0
    weight = np.where(known, excess / (excess + error**2), 0.0)
    return GhostMap((even + weight * off).astype(np.float32), stack.cell_arcsec)
