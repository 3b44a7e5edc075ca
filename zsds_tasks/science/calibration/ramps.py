"""Flats of several exposure times under constant lamps: linearity of every channel and shutter, together.

A cell of a flat holds f(x) = S (t + dt): S the unknown light of its lamp there, f the channel's curve.
From one lamp at two times dt and the curve cannot be told apart:

    ln x1 - ln x2 = ln t1/t2 + dt (1/t1 - 1/t2) + b (x1 - x2) + a (x1^2 - x2^2),

a constant plus what grows with level. Three things break it: lamps differ in strength, so that the same
pair of times is seen at other levels; light falls off inside a channel; and dt is one low-order surface
over the focal plane while every channel has a curve of its own. So all is solved in one least-squares
fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.errors import UnusableInputError
from zsds_tasks.science.calibration.lampcells import LampCells
from zsds_tasks.science.calibration.linearity import CurveFit, jackknife_error

Floats = NDArray[np.float64]
Blocks = dict[tuple[int, int], tuple[Floats, Floats]]
"""Normal matrix and right side of (channel, lamp)."""
Positive = Annotated[float, Field(gt=0)]
LEVEL = 3e4
"""DN; a LEVEL^2 and b LEVEL are numbers of one size."""
CURVE_TERMS = 2


class RampConfig(Declaration):
    """How the joint fit is held."""

    degree: Annotated[int, Field(ge=0, le=4)] = Field(
        2, description="of the shutter's polynomial over the field"
    )
    min_lamps: Annotated[int, Field(ge=2)] = Field(
        4, description="with at least two exposure times; errors come from leaving each out in turn"
    )
    prior_shutter_s: Positive = Field(0.05, description="width of each shutter term about zero")
    prior_a: Positive = Field(1e-11, description="width of a about the configured one, DN^-2")
    prior_b: Positive = Field(1e-6, description="width of b about the configured one, DN^-1")
    iterations: Annotated[int, Field(ge=2, le=20)] = 4


@dataclass(frozen=True)
class ChannelRamp:
    """Flats of one channel and where its cells lie.

    Parameters
    ----------
    cells : LampCells
    u, v : numpy.ndarray (my, mx), float64
        Place of the cells in the focal plane, in half diagonals of the camera.
    configured : (a, b)
    """

    cells: LampCells
    u: Floats
    v: Floats
    configured: tuple[float, float]


@dataclass(frozen=True)
class RampFit:
    """Shutter and curves.

    Parameters
    ----------
    powers : tuple of (i, j)
        Terms u^i v^j.
    coefficients : numpy.ndarray (k), float64
        Seconds.
    covariance : numpy.ndarray (k, k), float64
    replicates : numpy.ndarray (n, k), float64
        Coefficients with each lamp left out.
    curves : dict
        By channel.
    lamps : tuple of int
        LEDs that were used.
    """

    powers: tuple[tuple[int, int], ...]
    coefficients: Floats
    covariance: Floats
    replicates: Floats
    curves: dict[int, CurveFit]
    lamps: tuple[int, ...]

    def shutter(self, u: Floats, v: Floats) -> tuple[Floats, Floats]:
        """Return what is added to the commanded time at places of the focal plane, and its error; seconds."""
        terms = _terms(u, v, self.powers)
        formal = np.sqrt(np.einsum("...i,ij,...j->...", terms, self.covariance, terms))
        jackknife = jackknife_error(np.array([terms @ row for row in self.replicates]))
        return np.asarray(terms @ self.coefficients), np.asarray(np.maximum(formal, jackknife))


def fit_ramps(ramps: Mapping[int, ChannelRamp], config: RampConfig) -> RampFit:
    """Fit shutter and curves to the flats of a night.

    Parameters
    ----------
    ramps : mapping
        By channel.
    config : RampConfig

    Returns
    -------
    RampFit

    Raises
    ------
    UnusableInputError
        If too few lamps were used at more than one exposure time.
    """
    lamps = sorted({led for ramp in ramps.values() for led in timed_lamps(ramp.cells)})
    if len(lamps) < config.min_lamps:
        raise UnusableInputError(
            f"{len(lamps)} lamps with two exposure times, {config.min_lamps} are needed",
            remedy="take flats of every LED at two exposure times or more",
        )
    powers = tuple((i, n - i) for n in range(config.degree + 1) for i in range(n, -1, -1))
    solver = _Solver(ramps, lamps, powers, config)
    for _ in range(config.iterations):
        solver.improve()
    return solver.result()


def timed_lamps(cells: LampCells) -> tuple[int, ...]:
    """Return the LEDs that were used at two exposure times or more."""
    return tuple(int(k) for k in np.unique(cells.led) if len(np.unique(cells.exptime[cells.led == k])) > 1)


def _terms(u: Floats, v: Floats, powers: Sequence[tuple[int, int]]) -> Floats:
    return np.stack([u**i * v**j for i, j in powers], axis=-1)


class _Solver:
    """Gauss-Newton with the curve of each channel eliminated: the cost grows as the channels."""

    def __init__(
        self,
        ramps: Mapping[int, ChannelRamp],
        lamps: Sequence[int],
        powers: tuple[tuple[int, int], ...],
        config: RampConfig,
    ) -> None:
        self.ramps, self.lamps, self.powers, self.config = ramps, lamps, powers, config
        scale = np.array([LEVEL**2, LEVEL])
        self.scale = scale
        self.configured = {rcid: scale * ramp.configured for rcid, ramp in ramps.items()}
        self.curve_precision = np.diag((scale * (config.prior_a, config.prior_b)) ** -2.0)
        self.shutter = np.zeros(len(powers))
        self.curves = {rcid: start.copy() for rcid, start in self.configured.items()}

    def improve(self) -> None:
        """Take one step."""
        self.blocks = self._blocks()
        shutter, curves, self.covariance, self.curve_covariance = self._solve(self.lamps)
        self.shutter = self.shutter + shutter
        self.curves = {rcid: self.curves[rcid] + step for rcid, step in curves.items()}

    def result(self) -> RampFit:
        """Return where the steps led; replicates are one more step from there without each lamp."""
        self.blocks = self._blocks()
        steps = [self._solve([k for k in self.lamps if k != left])[:2] for left in self.lamps]
        curves = {}
        for rcid, curve in self.curves.items():
            a, b = curve / self.scale
            covariance = self.curve_covariance[rcid] / np.outer(self.scale, self.scale)
            left_out = np.array([(curve + step[rcid]) / self.scale for _, step in steps])
            curves[rcid] = CurveFit(float(a), float(b), covariance, left_out)
        replicates = np.array([self.shutter + step for step, _ in steps])
        return RampFit(self.powers, self.shutter, self.covariance, replicates, curves, tuple(self.lamps))

    def _blocks(self) -> Blocks:
        return {
            (rcid, lamp): block
            for rcid, ramp in self.ramps.items()
            for lamp, block in self._of_channel(rcid, ramp).items()
        }

    def _of_channel(self, rcid: int, ramp: ChannelRamp) -> dict[int, tuple[Floats, Floats]]:
        """Return what each lamp says of shutter and curve, its own light eliminated."""
        cells = ramp.cells
        n = len(cells.led)
        terms = _terms(ramp.u.ravel(), ramp.v.ravel(), self.powers)
        mean, error = cells.mean.reshape(n, -1), cells.error.reshape(n, -1)
        known = np.isfinite(mean) & (mean > 0)
        x = np.where(known, mean, 1.0)
        weight = np.where(known, (x / np.where(known, error, 1.0)) ** 2, 0.0)
        level = x / LEVEL
        a, b = self.curves[rcid]
        curve = 1.0 + (a * level + b) * level
        # A cell of a strange shutter far off would end at a negative time: never below a tenth of it.
        seconds = np.maximum(cells.exptime[:, None] + terms @ self.shutter, 0.1 * cells.exptime[:, None])
        residual = np.log(x) - np.log(curve) - np.log(seconds)
        slopes = np.concatenate(
            [terms / seconds[..., None], (level**2 / curve)[..., None], (level / curve)[..., None]], axis=-1
        )
        found = {}
        for lamp in set(self.lamps) & set(timed_lamps(cells)):
            own = cells.led == lamp
            w, r, s = weight[own], residual[own], slopes[own]
            light = np.maximum(w.sum(axis=0), 1e-300)
            r = r - (w * r).sum(axis=0) / light
            s = s - (w[..., None] * s).sum(axis=0) / light[:, None]
            weighted = w[..., None] * s
            found[lamp] = (
                np.einsum("nck,ncl->kl", s, weighted, optimize=True),
                np.einsum("nck,nc->k", weighted, r),
            )
        return found

    def _solve(self, lamps: Sequence[int]) -> tuple[Floats, dict[int, Floats], Floats, dict[int, Floats]]:
        """Return the steps of shutter and curves and their covariances, from some of the lamps."""
        k = len(self.powers)
        precision = self.config.prior_shutter_s**-2.0
        matrix, side = precision * np.eye(k), -precision * self.shutter
        parts = {}
        for rcid in self.ramps:
            normal, right = np.zeros((k + CURVE_TERMS, k + CURVE_TERMS)), np.zeros(k + CURVE_TERMS)
            for lamp in lamps:
                if (rcid, lamp) in self.blocks:
                    normal = normal + self.blocks[rcid, lamp][0]
                    right = right + self.blocks[rcid, lamp][1]
            inverse = np.linalg.inv(normal[k:, k:] + self.curve_precision)
            pull = right[k:] + self.curve_precision @ (self.configured[rcid] - self.curves[rcid])
            across = inverse @ normal[k:, :k]
            matrix = matrix + normal[:k, :k] - normal[:k, k:] @ across
            side = side + right[:k] - normal[:k, k:] @ (inverse @ pull)
            parts[rcid] = inverse, inverse @ pull, across
        covariance = np.linalg.inv(matrix)
        shutter = covariance @ side
        curves = {rcid: alone - across @ shutter for rcid, (_, alone, across) in parts.items()}
        errors = {rcid: inv + across @ covariance @ across.T for rcid, (inv, _, across) in parts.items()}
        return shutter, curves, covariance, errors
