"""The analytic part of a DAOPHOT PSF: Penny's function, a tilted Gaussian core on tilted Lorentzian wings.

    P(x, y) = s exp(-ln 2 (r^2 + a xy)) + (1 - s) / (1 + r^2 + b xy),   r^2 = (x / hx)^2 + (y / hy)^2

averaged over the pixel by Gauss and Legendre's rule; DAOPHOT II calls it PENNY2.
Source: the program's own PROFIL (P. B. Stetson); A. J. Penny and L. E. Dickens 1986, MNRAS 220, 845.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

FUNCTION = "PENNY2"
N_PARAMETERS = 5
LN2 = 0.6931472
LEGENDRE = {
    1: ([0.0], [1.0]),
    2: ([-0.28867513, 0.28867513], [0.5, 0.5]),
    3: ([-0.38729833, 0.0, 0.38729833], [0.27777778, 0.44444444, 0.27777778]),
    4: (
        [-0.43056816, -0.16999052, 0.16999052, 0.43056816],
        [0.17392742, 0.32607258, 0.32607258, 0.17392742],
    ),
}
"""Places in a pixel and weights along an axis, by number."""
DENSITY = ((0.046, 4), (0.0022, 3), (0.0001, 2), (1e-10, 1))
"""Where the function is at least so much, so many places are averaged; below, it is 0."""
CORE_RADIUS = 6.0
"""Pixels around the star that are fitted."""
START_SHARE = 0.75
SMALLEST_HWHM = 0.3
STEEPEST = 1.8
"""Tilts are kept below this over hx hy: at 2 the ellipses are open."""

Floats = NDArray[np.float64]


def profile(dx: Floats, dy: Floats, parameters: Floats) -> Floats:
    """Return the function, averaged over pixels, on a grid.

    Parameters
    ----------
    dx : (nx) float64
        Columns from the star, px.
    dy : (ny) float64
        Rows from the star, px.
    parameters : (5) float64
        hx, hy (px), s, a, b.

    Returns
    -------
    numpy.ndarray (ny, nx), float64
    """
    at_centres = _penny(dx[None, :], dy[:, None], parameters)
    out, left = np.zeros(at_centres.shape), np.full(at_centres.shape, True)
    for least, number in DENSITY:
        rows, columns = np.nonzero(left & (at_centres >= least))
        out[rows, columns] = _averaged(dx[columns], dy[rows], parameters, number)
        left &= at_centres < least
    return out


def fit_profile(table: Floats, offsets: Floats) -> tuple[float, Floats]:
    """Fit the function to a PSF.

    Parameters
    ----------
    table : (n, n) float64
        The PSF, its peak in the middle.
    offsets : (n) float64
        Of its rows and columns from the star, px.

    Returns
    -------
    height : float
        Factor of the function.
    parameters : (5) float64
    """
    core = np.abs(offsets) <= CORE_RADIUS
    where, peak = offsets[core], float(table.max())
    wanted = table[np.ix_(core, core)] / peak
    x, y = (grid.ravel() for grid in np.meshgrid(where, where))
    spacing = offsets[1] - offsets[0]
    start = max(spacing * float(np.sqrt(np.count_nonzero(table > peak / 2) / np.pi)), SMALLEST_HWHM)

    def misfit(free: Floats) -> Floats:
        return free[0] * _averaged(x, y, _bounded(free[1:]), 2) - wanted.ravel()

    free = np.array([1.0, np.log(start), np.log(start), START_SHARE, 0.0, 0.0])
    found = least_squares(misfit, free).x
    return float(found[0]) * peak, _bounded(found[1:])


def _bounded(free: Floats) -> Floats:
    """Return parameters from numbers that may be anything."""
    x, y = np.exp(free[0]), np.exp(free[1])
    tilts = STEEPEST / (x * y) * np.tanh(free[3:])
    return np.array([x, y, free[2], *tilts])


def _averaged(dx: Floats, dy: Floats, parameters: Floats, number: int) -> Floats:
    """Average over the pixels at (dx, dy), each (N), with so many places along an axis."""
    out = np.zeros(dx.shape)
    places, weights = LEGENDRE[number]
    for y, weight_y in zip(places, weights, strict=True):
        for x, weight_x in zip(places, weights, strict=True):
            out += weight_x * weight_y * _penny(dx + x, dy + y, parameters)
    return out


def _penny(x: Floats, y: Floats, parameters: Floats) -> Floats:
    hx, hy, share, core_tilt, wing_tilt = parameters
    square, product = (x / hx) ** 2 + (y / hy) ** 2, x * y
    core = np.exp(-LN2 * (square + core_tilt * product))
    return share * core + (1 - share) / (1 + square + wing_tilt * product)
