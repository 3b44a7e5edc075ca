"""World coordinates of an image: a tangent plane with a polynomial distortion, written to FITS as TPV.

    pixel --CRPIX, CD--> intermediate (deg) --polynomial per axis--> tangent plane (deg) --gnomonic--> ICRS

A polynomial is held as a matrix c with c[i][j] the coefficient of x^i y^j, total degree at most 7. The FITS
convention (registered as TPV, https://fits.gsfc.nasa.gov/registry/tpvwcs.html) numbers the same terms in one
row, with x and y exchanged for the second axis, and knows odd powers of the radius, which we do not use.
Pixels are FITS 1-based.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.polynomial.polynomial import polyder, polyval2d
from numpy.typing import ArrayLike, NDArray

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.sky import tangent

Floats = NDArray[np.float64]
Matrix = tuple[tuple[float, ...], ...]
MAX_DEGREE = 7
FIRST_TERM = (0, 1, 4, 7, 12, 17, 24, 31)  # number of the first TPV term of each total degree
RADIAL_TERMS = (3, 11, 23, 39)
ARCSEC_PER_DEGREE = 3600.0
INVERSION_STEPS = 20
INVERSION_TOLERANCE_DEG = 1e-13  # 4e-10 arcsec


@dataclass(frozen=True)
class Wcs:
    """Mapping between pixels and the sky.

    Parameters
    ----------
    crval : (ra, dec), degrees
        Where the plane touches the sphere.
    crpix : (x, y), FITS 1-based pixels
    cd : 2 x 2, degrees per pixel
    east, north : (n + 1) x (n + 1)
        Polynomials of the intermediate coordinates, in degrees.
    """

    crval: tuple[float, float]
    crpix: tuple[float, float]
    cd: Matrix
    east: Matrix
    north: Matrix

    @property
    def degree(self) -> int:
        """Total degree of the distortion."""
        return len(self.east) - 1

    @property
    def pixel_scale_arcsec(self) -> float:
        """Square root of the area of a pixel at CRPIX."""
        jacobian = self._derivatives(np.zeros(1), np.zeros(1))[:, :, 0] @ np.array(self.cd)
        return float(np.sqrt(abs(np.linalg.det(jacobian)))) * ARCSEC_PER_DEGREE

    def pixel_to_sky(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Return right ascension in [0, 360) and declination (deg, float64) of pixels; any shape."""
        xi, eta = self._intermediate(np.asarray(x, np.float64), np.asarray(y, np.float64))
        east, north = self._polynomials
        return tangent.deproject(
            polyval2d(xi, eta, east) * ARCSEC_PER_DEGREE,
            polyval2d(xi, eta, north) * ARCSEC_PER_DEGREE,
            self.crval,
        )

    def sky_to_pixel(self, ra: ArrayLike, dec: ArrayLike) -> tuple[Floats, Floats]:
        """Return pixels (float64) of ICRS places (deg) by Newton's method.

        NaN for directions 90 degrees or more from the centre, and where the polynomial has no inverse,
        which happens only far outside the image.
        """
        east, north = tangent.project(ra, dec, self.crval)
        shape = east.shape
        target = np.array([np.ravel(east), np.ravel(north)]) / ARCSEC_PER_DEGREE
        xi, eta = target.copy()
        step = np.full(xi.shape, np.inf)
        with np.errstate(all="ignore"):  # points without an inverse run away; they end as NaN
            for _ in range(INVERSION_STEPS):
                (a, b), (c, d) = self._derivatives(xi, eta)
                miss = target - np.array([polyval2d(xi, eta, p) for p in self._polynomials])
                determinant = a * d - b * c
                d_xi = (d * miss[0] - b * miss[1]) / determinant
                d_eta = (a * miss[1] - c * miss[0]) / determinant
                xi, eta = xi + d_xi, eta + d_eta
                step = np.maximum(abs(d_xi), abs(d_eta))
                if not np.any(step > INVERSION_TOLERANCE_DEG):
                    break
            lost = ~(step < INVERSION_TOLERANCE_DEG * 1e3)
        xi[lost] = np.nan
        (a, b), (c, d) = self.cd
        determinant = a * d - b * c
        x = self.crpix[0] + (d * xi - b * eta) / determinant
        y = self.crpix[1] + (a * eta - c * xi) / determinant
        return x.reshape(shape), y.reshape(shape)

    def header(self) -> dict[str, str | float]:
        """Return the FITS keywords; `from_header` and astropy read the same mapping back."""
        cards: dict[str, str | float] = {"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV"}
        cards |= {"CUNIT1": "deg", "CUNIT2": "deg", "RADESYS": "ICRS"}
        cards |= {"LONPOLE": 180.0}  # at a pole readers take 0 where nothing is said
        cards |= {"CRVAL1": self.crval[0], "CRVAL2": self.crval[1]}
        cards |= {"CRPIX1": self.crpix[0], "CRPIX2": self.crpix[1]}
        cards |= {f"CD{i + 1}_{j + 1}": self.cd[i][j] for i in range(2) for j in range(2)}
        for axis, matrix in ((1, self.east), (2, self.north)):
            for i, j, term in _terms(axis, self.degree):
                cards[f"PV{axis}_{term}"] = matrix[i][j]
        return cards

    @cached_property
    def _polynomials(self) -> tuple[Floats, Floats]:
        return np.array(self.east), np.array(self.north)

    @cached_property
    def _gradients(self) -> list[list[Floats]]:
        return [[np.asarray(polyder(c, axis=k), np.float64) for k in (0, 1)] for c in self._polynomials]

    def _intermediate(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        dx, dy = x - self.crpix[0], y - self.crpix[1]
        (a, b), (c, d) = self.cd
        return a * dx + b * dy, c * dx + d * dy

    def _derivatives(self, xi: Floats, eta: Floats) -> Floats:
        """Return d(east, north) / d(xi, eta), shape (2, 2, N)."""
        return np.array([[polyval2d(xi, eta, g) for g in row] for row in self._gradients])


def from_header(header: Mapping[str, Any], *, subject: str = "WCS") -> Wcs:
    """Read a TPV or plain TAN header.

    Parameters
    ----------
    header : Mapping
        FITS keywords and values.
    subject : str
        What errors name.

    Raises
    ------
    UnusableInputError
        If the projection is another one, a keyword is missing, or the distortion uses the radius.
    """
    names = ("CTYPE1", "CTYPE2", "CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CD1_1", "CD1_2", "CD2_1", "CD2_2")
    missing = [name for name in names if name not in header]
    if missing:
        raise UnusableInputError(
            f"no {', '.join(missing)} in the header", subject=subject, remedy="write a TPV or TAN header"
        )
    kinds = (str(header["CTYPE1"]).strip(), str(header["CTYPE2"]).strip())
    if kinds not in (("RA---TPV", "DEC--TPV"), ("RA---TAN", "DEC--TAN")):
        raise UnusableInputError(
            f"CTYPE1, CTYPE2 are {kinds[0]}, {kinds[1]}", subject=subject, remedy="write a TPV or TAN header"
        )
    terms = {name: float(value) for name, value in header.items() if name.startswith(("PV1_", "PV2_"))}
    if kinds[0] == "RA---TAN" and terms:
        raise UnusableInputError(
            "TAN with PV keywords, SCAMP's dialect before TPV", subject=subject, remedy="call it TPV"
        )
    radial = [f"PV{axis}_{n}" for axis in (1, 2) for n in RADIAL_TERMS if terms.get(f"PV{axis}_{n}", 0.0)]
    if radial:
        raise UnusableInputError(
            f"{', '.join(radial)} multiply the radius", subject=subject, remedy="fit without radial terms"
        )
    degree = max([1, *(n for n in range(MAX_DEGREE + 1) for name in terms if int(name[4:]) >= FIRST_TERM[n])])
    values = {name: float(header[name]) for name in names[2:]}
    return Wcs(
        crval=(values["CRVAL1"], values["CRVAL2"]),
        crpix=(values["CRPIX1"], values["CRPIX2"]),
        cd=((values["CD1_1"], values["CD1_2"]), (values["CD2_1"], values["CD2_2"])),
        east=_matrix_of(terms, 1, degree),
        north=_matrix_of(terms, 2, degree),
    )


def monomials(u: Floats, v: Floats, degree: int) -> Floats:
    """Return 1, u, v, u^2, uv, v^2, ... up to a total degree, as columns: (N, (n + 1)(n + 2) / 2)."""
    columns = np.empty((n_terms(degree), len(u)))
    columns[0] = 1.0
    for total in range(1, degree + 1):
        first, before = n_terms(total - 1), n_terms(total - 2)
        columns[first : first + total] = columns[before:first] * u
        columns[first + total] = columns[first - 1] * v
    return columns.T


def n_terms(degree: int) -> int:
    """Return the number of monomials of two variables up to a total degree."""
    return (degree + 1) * (degree + 2) // 2


def fit_wcs(
    x: Floats,
    y: Floats,
    ra: Floats,
    dec: Floats,
    *,
    crpix: tuple[float, float],
    degree: int,
    weights: Floats | None = None,
) -> Wcs:
    """Fit a WCS to pairs of pixels and places by weighted least squares.

    CRVAL and CD are the place and the derivative of the fit at CRPIX, so that the polynomial is the identity
    to first order.

    Parameters
    ----------
    x, y : (N) float64, FITS 1-based pixels
    ra, dec : (N) float64, degrees
    crpix : (x, y)
        Inside the image, best at its centre.
    degree : int
        1 to 7.
    weights : (N) float64, optional
        Inverse of the variance; equal when left out.

    Raises
    ------
    ValueError
        If the degree is out of range or has more coefficients than there are pairs.
    """
    if not 1 <= degree <= MAX_DEGREE:
        raise ValueError(f"degree {degree} is not between 1 and {MAX_DEGREE}")
    if len(x) < n_terms(degree):
        raise ValueError(f"{len(x)} pairs cannot fix {n_terms(degree)} coefficients of degree {degree}")
    root = np.ones(len(x)) if weights is None else np.sqrt(weights)
    half = max(float(np.ptp(x)), float(np.ptp(y))) / 2
    design = monomials((x - crpix[0]) / half, (y - crpix[1]) / half, degree) * root[:, None]
    crval = _mean_direction(ra, dec)
    for _ in range(3):  # the first move of the tangent point leaves an error of second order
        plane = np.stack(tangent.project(ra, dec, crval), axis=1)
        solution = np.linalg.lstsq(design, plane * root[:, None], rcond=None)[0]
        crval = _place(solution[0], crval)
    plane = np.stack(tangent.project(ra, dec, crval), axis=1) / ARCSEC_PER_DEGREE
    cd = np.asarray(solution[1:3].T / (half * ARCSEC_PER_DEGREE), np.float64)
    xi, eta = cd @ np.stack([x - crpix[0], y - crpix[1]])
    east, north = _polynomial_pair(xi, eta, plane, degree, root)
    return Wcs(crval, crpix, _tuples(cd), east, north)


def _polynomial_pair(
    xi: Floats, eta: Floats, plane: Floats, degree: int, root: Floats
) -> tuple[Matrix, Matrix]:
    """Fit both axes of the plane (N, 2) by polynomials of the intermediate coordinates; all in degrees."""
    # Of order one, so that the columns of every degree are of the same size.
    size = max(float(np.abs(xi).max()), float(np.abs(eta).max()))
    design = monomials(xi / size, eta / size, degree) * root[:, None]
    solution = np.linalg.lstsq(design, plane * root[:, None], rcond=None)[0]
    east, north = np.zeros((2, degree + 1, degree + 1))
    for n, (i, j) in enumerate((t - k, k) for t in range(degree + 1) for k in range(t + 1)):
        east[i, j], north[i, j] = solution[n] / size ** (i + j)
    return _tuples(east), _tuples(north)


def _terms(axis: int, degree: int) -> list[tuple[int, int, int]]:
    """Powers of x and y and the number of the TPV term, of one axis."""
    powers = [(total - k, k) for total in range(degree + 1) for k in range(total + 1)]
    return [(i, j, FIRST_TERM[i + j] + (j if axis == 1 else i)) for i, j in powers]


def _matrix_of(terms: Mapping[str, float], axis: int, degree: int) -> Matrix:
    matrix = np.zeros((degree + 1, degree + 1))
    for i, j, term in _terms(axis, degree):
        # The convention's default is the identity: the first-order term of the axis itself is 1.
        matrix[i, j] = terms.get(f"PV{axis}_{term}", 1.0 if term == 1 else 0.0)
    return _tuples(matrix)


def _tuples(matrix: Floats) -> Matrix:
    return tuple(tuple(float(value) for value in row) for row in matrix)


def _place(plane_arcsec: Floats, crval: tuple[float, float]) -> tuple[float, float]:
    ra, dec = tangent.deproject(plane_arcsec[0], plane_arcsec[1], crval)
    return float(ra), float(dec)


def _mean_direction(ra: Floats, dec: Floats) -> tuple[float, float]:
    a, d = np.radians(ra), np.radians(dec)
    x, y, z = np.mean([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=1)
    return float(np.degrees(np.arctan2(y, x)) % 360.0), float(np.degrees(np.arctan2(z, np.hypot(x, y))))
