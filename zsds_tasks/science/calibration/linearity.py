"""Non-linearity of a channel: DN_true = x / (a x^2 + b x + 1), fitted or configured (reference 3.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration

Floats = NDArray[np.float64]
Positive = Annotated[float, Field(gt=0)]
FITTED, CONFIGURED = "fitted", "configured"
RANGE_POINTS = 60
"""So many levels, evenly from nothing to saturation, at which curves are compared."""


class LinearityConfig(Declaration):
    """When a fitted curve takes the place of the configured one."""

    max_error: Positive = Field(1e-3, description="1-sigma error of DN_true/x, worst of all levels, relative")
    max_change: Positive = Field(
        0.01, description="difference of DN_true/x from the configured curve, worst of all levels, relative"
    )


@dataclass(frozen=True)
class CurveFit:
    """A fitted curve and what is not known of it.

    Parameters
    ----------
    a, b : float
        DN^-2, DN^-1.
    covariance : numpy.ndarray (2, 2), float64
        Of (a, b), from the noise of the cells and the prior.
    replicates : numpy.ndarray (n, 2), float64
        (a, b) with each lamp left out in turn: whatever differs from lamp to lamp shows in them.
    """

    a: float
    b: float
    covariance: Floats
    replicates: Floats

    def errors(self) -> tuple[float, float]:
        """Return the 1-sigma errors of a and b: the larger of formal and jackknife."""
        formal = np.sqrt(np.diag(self.covariance))
        error = np.maximum(formal, jackknife_error(self.replicates))
        return float(error[0]), float(error[1])

    def error(self, saturation: float) -> float:
        """Return the 1-sigma error of DN_true/x, worst of all levels (DN) to saturation."""
        x = levels(saturation)
        ratio = true_over_raw(x, self.a, self.b)
        slope = -np.stack([x**2, x], axis=-1) * ratio[:, None] ** 2
        formal = np.sqrt(np.einsum("ni,ij,nj->n", slope, self.covariance, slope))
        curves = np.array([true_over_raw(x, a, b) for a, b in self.replicates]).reshape(-1, len(x))
        return float(np.maximum(formal, jackknife_error(curves)).max())


@dataclass(frozen=True)
class CurveChoice:
    """The curve to use in a channel.

    Parameters
    ----------
    a, b : float
    choice : str
        ``fitted`` or ``configured``.
    reason : str
        In words.
    error : float or None
        Of DN_true/x of the fit, worst of all levels; None without a fit.
    change : float or None
        Worst difference of the fit from the configured curve.
    """

    a: float
    b: float
    choice: str
    reason: str
    error: float | None = None
    change: float | None = None


def choose_curve(
    fit: CurveFit | None,
    configured: tuple[float, float],
    saturation: float,
    config: LinearityConfig,
    *,
    why_none: str = "",
) -> CurveChoice:
    """Take the fitted curve if it is known well enough and no surprise, else the configured one.

    Parameters
    ----------
    fit : CurveFit or None
    configured : (a, b)
    saturation : float
        DN over the bias: curves are compared up to here.
    config : LinearityConfig
    why_none : str
        Why there is no fit.

    Returns
    -------
    CurveChoice
    """
    if fit is None:
        return CurveChoice(*configured, CONFIGURED, why_none or "no fit")
    error, change = fit.error(saturation), curve_difference((fit.a, fit.b), configured, saturation)
    faults = []
    # Written so that a NaN fails.
    if not error <= config.max_error:
        faults.append(f"the fit is too uncertain: {error:.1e}, {config.max_error:.1e} allowed")
    if not change <= config.max_change:
        faults.append(f"the fit is too far off: {change:.1e}, {config.max_change:.1e} allowed")
    if faults:
        return CurveChoice(*configured, CONFIGURED, "; ".join(faults), error, change)
    reason = f"known to {error:.1e}, {change:.1e} from the configured curve"
    return CurveChoice(fit.a, fit.b, FITTED, reason, error, change)


def curve_difference(one: tuple[float, float], other: tuple[float, float], saturation: float) -> float:
    """Return the largest difference of DN_true/x between two curves, up to a level in DN."""
    x = levels(saturation)
    return float(np.abs(true_over_raw(x, *one) - true_over_raw(x, *other)).max())


def true_over_raw(x: Floats, a: float, b: float) -> Floats:
    """Return DN_true / x at levels x over the bias, DN."""
    return np.asarray(1.0 / ((a * x + b) * x + 1.0))


def levels(saturation: float) -> Floats:
    """Return the levels (DN) at which curves are compared."""
    return np.linspace(0.0, saturation, RANGE_POINTS)


def jackknife_error(replicates: Floats) -> Floats:
    """Return the standard error (k) of statistics from replicates (n, k) that each lack one of n parts."""
    n = len(replicates)
    if n < 2:
        return np.full(replicates.shape[1:], np.inf)
    return np.asarray(np.sqrt((n - 1) / n * np.sum((replicates - replicates.mean(axis=0)) ** 2, axis=0)))
