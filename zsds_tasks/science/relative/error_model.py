"""Errors of light curves: a smooth function of magnitude, fitted to the scatter of stars that do not vary.

    sigma(m) = A + B m + C 10^(0.4 m) + D 10^(0.8 m)        up to 20.5 mag, a straight line above

as the survey's own (reference section 11.1). Formal errors know photons and sky; flats, PSF models and
scintillation show in the scatter alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zsds_tasks.science.relative.config import ErrorModelConfig
from zsds_tasks.science.relative.epochs import Bools, Floats, Rows
from zsds_tasks.science.relative.scatter import SeedScatter

PIVOT = 18.0  # mag: powers are of m - 18 within the fit, so that its equations are well conditioned
TERM_SETS = ((0, 1, 2, 3), (0, 2, 3), (0, 2), (0,))
"""Terms kept, of A, B, C, D: the most that stars and their range allow and that stay positive."""
GRID = 64


@dataclass(frozen=True)
class ErrorModel:
    """sigma(m) of one unit.

    Parameters
    ----------
    a, b, c, d : float
        mag, 1, mag, mag.
    slope : float
        Of the line above `linear_above`.
    linear_above : float, mag
    bright : float, mag
        Brightest star of the fit; brighter ones get its error.
    floor : float, mag
        Least error.
    n_stars : int
        Of the fit, variables left out.
    origin : {"scatter", "formal"}
        Fitted to the scatter of stars, or, where too few have epochs enough, to scaled formal errors.
    """

    a: float
    b: float
    c: float
    d: float
    slope: float
    linear_above: float
    bright: float
    floor: float
    n_stars: int
    origin: Literal["scatter", "formal"]

    def sigma(self, mag: ArrayLike) -> Floats:
        """Return the error (mag, float64) at magnitudes of any shape; NaN stays NaN."""
        m = np.asarray(mag, np.float64)
        inside = np.clip(m, self.bright, self.linear_above)
        power = 10.0 ** (0.4 * inside)
        curve = self.a + self.b * inside + self.c * power + self.d * power**2
        value = curve + self.slope * np.clip(m - self.linear_above, 0.0, None)
        return np.asarray(np.maximum(value, self.floor), np.float64)


def fit_error_model(
    scatter: SeedScatter, config: ErrorModelConfig, candidates: Bools | None = None
) -> tuple[ErrorModel, Bools] | None:
    """Fit sigma(m) to the locus of scatter against magnitude.

    Parameters
    ----------
    scatter : SeedScatter
        After relative photometry.
    config : ErrorModelConfig
    candidates : (n_seeds) bool, optional
        Seeds that may count; all by default. Variables are found by the fit itself.

    Returns
    -------
    model : ErrorModel
    steady : (n_seeds) bool
        Seeds that it was fitted to: the ones that do not vary.
    None
        If no seed has two epochs: nothing is known.
    """
    known = (scatter.n >= 2) & np.isfinite(scatter.rms) & (scatter.rms > 0)
    if candidates is not None:
        known &= candidates
    if not known.any():
        return None
    told = known & (scatter.n >= config.min_epochs)
    enough = np.count_nonzero(told) >= config.min_stars
    use = told if enough else known
    rows = np.flatnonzero(use)
    freedom = np.maximum(scatter.n[rows] - 1.0, 1.0)
    # The mean of a standard deviation of nu degrees of freedom is lower by 1 / (4 nu).
    target = scatter.rms[rows] * (1.0 + 0.25 / freedom)
    per_term = config.stars_per_coefficient
    if not enough:
        # Formal errors lie on a curve, so few stars draw it; what it lacks shows in the brighter half.
        variance = scatter.formal[rows] ** 2
        beyond = scatter.rms[rows] ** 2 - variance
        excess = float(np.median(beyond[variance <= np.median(variance)]))
        target = np.sqrt(variance + max(excess, config.floor_mag**2))
        freedom, per_term = np.full(len(rows), 50.0), 2
    model, steady = _fit(
        scatter.mag[rows], target, freedom, config, per_term, "scatter" if enough else "formal"
    )
    found = np.zeros(len(use), np.bool_)
    found[rows[steady]] = True
    return model, found


def _design(mag: Floats, config: ErrorModelConfig) -> Floats:
    inside = np.minimum(mag, config.linear_above_mag)
    power = 10.0 ** (0.4 * (inside - PIVOT))
    above = np.clip(mag - config.linear_above_mag, 0.0, None)
    return np.column_stack([np.ones(len(mag)), inside - PIVOT, power, power**2, above])


def _fit(
    mag: Floats,
    target: Floats,
    freedom: Floats,
    config: ErrorModelConfig,
    per_term: int,
    origin: Literal["scatter", "formal"],
) -> tuple[ErrorModel, Bools]:
    design = _design(mag, config)
    above = np.count_nonzero(design[:, 4]) >= per_term
    grid = _design(np.linspace(mag.min(), mag.max(), GRID), config)
    guess = _running_median(mag, target)
    for terms in TERM_SETS:
        if len(terms) > 1 and (len(mag) < per_term * len(terms) or np.ptp(mag) < len(terms) - 1):
            continue
        columns = np.array([*terms, 4] if above else terms)
        solution, steady = _reweighted(design[:, columns], target, freedom, guess, config)
        whole = np.zeros(5)
        whole[columns] = solution
        if not above:
            whole[4] = _end_slope(whole, config)
        if np.all(grid @ whole > 0.5 * config.floor_mag) or len(terms) == 1:
            break
    power = 10.0 ** (-0.4 * PIVOT)
    model = ErrorModel(
        a=float(whole[0] - whole[1] * PIVOT), b=float(whole[1]), c=float(whole[2] * power),
        d=float(whole[3] * power**2), slope=float(max(whole[4], 0.0)), linear_above=config.linear_above_mag,
        bright=float(min(mag.min(), config.linear_above_mag)), floor=config.floor_mag,
        n_stars=int(np.count_nonzero(steady)), origin=origin,
    )  # fmt: skip
    return model, steady


def _end_slope(whole: Floats, config: ErrorModelConfig) -> float:
    """Return the slope of the curve where the line begins."""
    power = 10.0 ** (0.4 * (config.linear_above_mag - PIVOT))
    return float(whole[1] + 0.4 * np.log(10.0) * (whole[2] * power + 2.0 * whole[3] * power**2))


def _running_median(mag: Floats, target: Floats) -> Floats:
    """Return the median of the target of stars as bright: a start that variables do not move."""
    order = np.argsort(mag, kind="stable")
    n_bins = max(1, len(mag) // 25)
    parts = np.array_split(target[order], n_bins)
    middles = np.array([np.median(part) for part in np.array_split(mag[order], n_bins)])
    return np.asarray(np.interp(mag, middles, [np.median(part) for part in parts]), np.float64)


def _reweighted(
    design: Floats, target: Floats, freedom: Floats, guess: Floats, config: ErrorModelConfig
) -> tuple[Floats, Bools]:
    """Solve with the errors of standard deviations, sigma / sqrt(2 nu), taken from the model itself."""
    model = guess
    for _ in range(config.rounds):
        off = (target / model - 1.0) * np.sqrt(2.0 * freedom)
        middle = float(np.median(off))
        lower = off[off <= middle]  # variables are all above
        width = max(1.4826 * float(np.median(middle - lower)), 1.0)
        steady: NDArray[np.bool_] = np.abs(off - min(middle, 0.0)) <= config.variable_sigma * width
        if np.count_nonzero(steady) < design.shape[1]:
            steady = np.ones(len(target), np.bool_)
        root = np.sqrt(freedom[steady]) / model[steady]
        solution = np.linalg.lstsq(design[steady] * root[:, None], target[steady] * root, rcond=None)[0]
        last, model = model, np.maximum(design @ solution, 0.5 * config.floor_mag)
        if np.max(np.abs(model / last - 1.0)) < 1e-6:
            break
    return np.asarray(solution, np.float64), steady


def epoch_errors(model: Floats, formal: Floats, chi: Floats, config: ErrorModelConfig) -> Floats:
    """Return the errors of epochs: those of the model, or their own where these are clearly larger.

    The model knows of magnitudes only: it is what a lonely star has. A fit that shared light between close
    stars, or met what was no star, says so by its error and its chi.

    Parameters
    ----------
    model : numpy.ndarray (n), float64, mag
        Of `ErrorModel.sigma`.
    formal, chi : numpy.ndarray (n), float64
        Errors of the fits, mag, and the RMS of their residuals over that expected.
    config : ErrorModelConfig
    """
    own = formal * np.maximum(chi, 1.0)
    with np.errstate(invalid="ignore"):
        return np.where(own > config.own_excess * model, own, model)


EDGE_CATFLAGS, BAD_EXPOSURE = 65535, 32768


def catflags(flags: Rows, bad_image: Bools) -> NDArray[np.uint16]:
    """Return the catflags of epochs (reference section 11.3).

    Parameters
    ----------
    flags : (n) int64
        OR of the mask over the 5 x 5 pixels around the source; negative near an edge.
    bad_image : (n) bool
        Of the epoch's image: `ImageOffsets.bad`, or known before.

    Returns
    -------
    (n) uint16
        Bits 0 to 12 of the mask, bit 15 for a bad exposure; 65535 near an edge. 0 is clean.
    """
    bits = np.where(flags < 0, EDGE_CATFLAGS, (flags & 0x1FFF) | np.where(bad_image, BAD_EXPOSURE, 0))
    return bits.astype(np.uint16)
