"""The same WCS in the SIP convention, for tools that do not read TPV.

    TPV   pixel --CRPIX, CD--> intermediate --polynomial--> tangent plane
    SIP   pixel --CRPIX--> offset --plus polynomial A, B--> corrected offset --CD--> tangent plane

Both are polynomials of the pixel, of the same degree, so one is turned into the other by algebra: CRPIX moves
to the pixel that lies on CRVAL, CD is the derivative there, and A, B are the rest. Nothing is fitted and
nothing is lost but rounding. Only the inverse (AP, BP), which some tools use instead of inverting A and B, is
fitted.
Convention: Shupe et al. 2005, ASP Conf. Ser. 347, 491.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial.polynomial import polyval2d
from numpy.typing import NDArray

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.sky.wcs import Wcs, monomials

Floats = NDArray[np.float64]
Cards = dict[str, str | int | float]
GRID = 25  # points along a side where the inverse is fitted
EXTRA_DEGREES = 2  # of the inverse over the forward polynomial
MAX_INVERSE = 7


@dataclass(frozen=True)
class SipWcs:
    """A WCS as SIP.

    Parameters
    ----------
    cards : dict
        FITS keywords: CTYPE RA---TAN-SIP, CD, A_i_j, B_i_j and their inverse AP_i_j, BP_i_j; plain TAN where
        there is no distortion.
    inverse_error_px : float
        Largest error of AP and BP over the image. A tool that inverts A and B itself, as astropy's
        `all_world2pix`, has none.
    """

    cards: Cards
    inverse_error_px: float


def to_sip(wcs: Wcs, shape: tuple[int, int]) -> SipWcs:
    """Return a WCS in the SIP convention.

    Parameters
    ----------
    wcs : Wcs
    shape : (ny, nx)
        Of the image: over it the inverse is fitted.

    Returns
    -------
    SipWcs

    Raises
    ------
    UnusableInputError
        If no pixel lies on CRVAL, or the mapping has no inverse there.
    """
    x0, y0 = (float(v) for v in wcs.sky_to_pixel(*wcs.crval))
    plane = np.array([_shifted(p, x0 - wcs.crpix[0], y0 - wcs.crpix[1]) for p in _of_pixels(wcs)])
    cd = np.array([plane[:, 1, 0], plane[:, 0, 1]]).T
    if not (np.isfinite(cd).all() and abs(np.linalg.det(cd)) > 0):
        raise UnusableInputError(
            f"no pixel lies on CRVAL {wcs.crval[0]:.4f}, {wcs.crval[1]:.4f}",
            subject="WCS",
            remedy="take a reference point inside the image",
        )
    plane[:, 0, 0] = plane[:, 1, 0] = plane[:, 0, 1] = 0.0
    forward = np.tensordot(np.linalg.inv(cd), plane, axes=1)
    distorted = bool(np.any(forward))
    cards: Cards = {
        f"CTYPE{k + 1}": name + ("-SIP" * distorted) for k, name in enumerate(("RA---TAN", "DEC--TAN"))
    }
    # LONPOLE is 180 by default too, but for a reference point exactly on the northern pole.
    cards |= {"CUNIT1": "deg", "CUNIT2": "deg", "RADESYS": "ICRS", "LONPOLE": 180.0}
    cards |= {"CRVAL1": wcs.crval[0], "CRVAL2": wcs.crval[1], "CRPIX1": x0, "CRPIX2": y0}
    cards |= {f"CD{i + 1}_{j + 1}": float(cd[i, j]) for i in range(2) for j in range(2)}
    if not distorted:
        return SipWcs(cards, 0.0)
    backward, error = _inverse(forward, (x0, y0), shape)
    for names, matrices in ((("A", "B"), forward), (("AP", "BP"), backward)):
        for name, matrix in zip(names, matrices, strict=True):
            cards |= _polynomial(name, matrix)
    return SipWcs(cards, error)


def _of_pixels(wcs: Wcs) -> Floats:
    """Return the polynomials (2, n + 1, n + 1) of the tangent plane in pixels from CRPIX, degrees."""
    n = wcs.degree + 1
    (a, b), (c, d) = wcs.cd
    powers_xi, powers_eta = _powers(a, b, n), _powers(c, d, n)
    out = np.zeros((2, n, n))
    for axis, matrix in enumerate((wcs.east, wcs.north)):
        for i in range(n):
            for j in range(n - i):
                out[axis] += matrix[i][j] * _product(powers_xi[i], powers_eta[j], n)
    return out


def _powers(a: float, b: float, n: int) -> list[Floats]:
    """Return the powers 0 to n - 1 of a u + b v, each (n, n)."""
    line = np.zeros((n, n))
    line[1, 0], line[0, 1] = a, b
    one = np.zeros((n, n))
    one[0, 0] = 1.0
    powers = [one]
    for _ in range(n - 1):
        powers.append(_product(powers[-1], line, n))
    return powers


def _product(p: Floats, q: Floats, n: int) -> Floats:
    """Multiply two polynomials whose product has a total degree under n."""
    out = np.zeros((n, n))
    for i, j in zip(*np.nonzero(p), strict=True):
        out[i:, j:] += p[i, j] * q[: n - i, : n - j]
    return out


def _shifted(p: Floats, u0: float, v0: float) -> Floats:
    """Return the polynomial of (u - u0, v - v0) that equals p of (u, v)."""
    n = len(p)
    pascal = np.array([[_binomial(i, k) for k in range(n)] for i in range(n)])
    distance = np.subtract.outer(np.arange(n), np.arange(n)).clip(0)
    along_u, along_v = pascal * u0**distance, pascal * v0**distance
    return np.asarray(along_u.T @ p @ along_v, np.float64)


def _binomial(n: int, k: int) -> float:
    return float(np.prod([(n - m) / (m + 1) for m in range(k)])) if k <= n else 0.0


def _inverse(forward: Floats, crpix: tuple[float, float], shape: tuple[int, int]) -> tuple[Floats, float]:
    """Fit the polynomials that undo the forward ones over an image; return them and their largest error."""
    ny, nx = shape
    x, y = np.meshgrid(np.linspace(0.5, nx + 0.5, GRID), np.linspace(0.5, ny + 0.5, GRID))
    u, v = x.ravel() - crpix[0], y.ravel() - crpix[1]
    corrected_u, corrected_v = u + polyval2d(u, v, forward[0]), v + polyval2d(u, v, forward[1])
    size = float(max(np.abs(corrected_u).max(), np.abs(corrected_v).max()))
    degree = min(len(forward[0]) - 1 + EXTRA_DEGREES, MAX_INVERSE)
    columns = monomials(corrected_u / size, corrected_v / size, degree)
    target = np.stack([u - corrected_u, v - corrected_v], axis=1)
    solution = np.linalg.lstsq(columns, target, rcond=None)[0]
    error = float(np.hypot(*(columns @ solution - target).T).max())
    matrices = np.zeros((2, degree + 1, degree + 1))
    for n, (i, j) in enumerate((t - k, k) for t in range(degree + 1) for k in range(t + 1)):
        matrices[:, i, j] = solution[n] / size ** (i + j)
    return matrices, error


def _polynomial(name: str, matrix: Floats) -> Cards:
    cards: Cards = {f"{name}_ORDER": len(matrix) - 1}
    for i, j in zip(*np.nonzero(matrix), strict=True):
        cards[f"{name}_{i}_{j}"] = float(matrix[i, j])
    return cards
