"""The PSF of an image as DAOPHOT II keeps it: an analytic function and look-up tables, as text.

A value of the PSF is the analytic function (`psf_profile`) plus what the tables hold, at half-pixel steps and
with cubic interpolation; the tables are the terms 1, X, Y, (3X^2 - 1)/2, XY, (3Y^2 - 1)/2 of the place in the
image. docs/products.md gives the format. Source: P. B. Stetson 1987, PASP 99, 191; 1992, ASP Conf. 25, 297,
and the program's own reader. Places are FITS 1-based.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.products.psf_profile import FUNCTION, N_PARAMETERS, fit_profile, profile

N_TABLES = (1, 3, 6)
"""For a PSF that is constant, linear or quadratic in the image."""
ZERO_POINT = 25.0
"""DAOPHOT's: a star of flux 1 has this magnitude."""
PSF_MAGNITUDE = 12.5
"""Magnitude of the star the file describes: flux 100,000, so that its fixed decimals are precise enough."""
HALF = 12
"""Radius in pixels to which the PSF is kept: a stamp of 25 x 25."""
WIDTH = 13
PER_LINE = 6
SMALLEST = 1e-30
"""What is smaller is written as 0: exponents have two digits."""
MAX_SIDE = 207
MOST_KEPT = 256
"""Shifts of which the analytic part and the weights of the tables are remembered."""

Floats = NDArray[np.float64]
_HEADER = re.compile(r" (.{8})(.{5})(.{5})(.{5})(.{5})(.{9})(.{15})(.{9})(.{9})\s*")


class PsfSource(Protocol):
    """Anything that draws the PSF; `zsds_tasks.pixels.psf_model.PsfModel` does."""

    def stamp(
        self, x: float, y: float, size: int = 25, shift: tuple[float, float] = (0.0, 0.0)
    ) -> NDArray[np.float32]:
        """Return the PSF at 0-based place (x, y), (size, size), the star `shift` px from its middle."""


@dataclass(frozen=True)
class DaoPsf:
    """A PSF of DAOPHOT.

    Parameters
    ----------
    parameters : numpy.ndarray (5), float64
        Of the analytic function.
    height : float
        Its factor.
    tables : numpy.ndarray (T, n, n), float64
        Rows are y. The middle is the star, steps are half a pixel. T is 1, 3 or 6.
    magnitude : float
        Of the star it describes: flux 10^(0.4 (25 - magnitude)).
    centre : (x, y), px
        Half of the image's size less 1: an image place becomes (x - 1) / centre - 1.
    """

    parameters: Floats
    height: float
    tables: Floats
    magnitude: float
    centre: tuple[float, float]
    _shifted: dict[tuple[int, float, float], tuple[Floats, Floats, Floats]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _last: dict[tuple[float, float], Floats] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def stamp(
        self, x: float, y: float, size: int = 2 * HALF + 1, shift: tuple[float, float] = (0.0, 0.0)
    ) -> Floats:
        """Return the PSF of a star of flux 1 on a square of pixels.

        Parameters
        ----------
        x, y : float
            Place in the image, FITS 1-based.
        size : int
            Pixels along a side, odd; beyond the tables there is the analytic function alone.
        shift : (dx, dy)
            Place of the star from the middle pixel, px.

        Returns
        -------
        numpy.ndarray (size, size), float64
        """
        analytic, down, across = self._parts(size, shift)
        value = analytic + down @ self._table(x, y) @ across
        return np.asarray(value * 10 ** (-0.4 * (ZERO_POINT - self.magnitude)))

    def _table(self, x: float, y: float) -> Floats:
        """Return the sum of the tables at a place; the last one is asked for with many shifts."""
        table = self._last.get((x, y))
        if table is None:
            terms = _terms((x - 1) / self.centre[0] - 1, (y - 1) / self.centre[1] - 1, len(self.tables))
            table = np.asarray(np.tensordot(terms, self.tables, 1))
            self._last.clear()
            self._last[x, y] = table
        return table

    def _parts(self, size: int, shift: tuple[float, float]) -> tuple[Floats, Floats, Floats]:
        """Return what is the same all over the image: it costs most, and few shifts are asked for.

        The analytic part, and the weights of the tables' rows and columns.
        """
        key = (size, float(shift[0]), float(shift[1]))
        if key not in self._shifted:
            if len(self._shifted) >= MOST_KEPT:
                self._shifted.clear()
            pixels = np.arange(size, dtype=np.float64) - size // 2
            dx, dy = pixels - shift[0], pixels - shift[1]
            analytic = self.height * profile(dx, dy, self.parameters)
            side = self.tables.shape[1]
            self._shifted[key] = analytic, _weights(dy, side), _weights(dx, side).T
        return self._shifted[key]


def tabulate_psf(source: PsfSource, shape: tuple[int, int], degree: int) -> DaoPsf:
    """Put a PSF into DAOPHOT's form.

    Parameters
    ----------
    source : PsfSource
        Of which every pixel varies over the image as a polynomial of this degree.
    shape : (ny, nx)
        Of the image, at least 2 pixels each.
    degree : int
        0, 1 or 2.

    Returns
    -------
    DaoPsf
    """
    ny, nx = shape
    places = [(v, u) for v in (-1.0, 0.0, 1.0) for u in (-1.0, 0.0, 1.0)] if degree else [(0.0, 0.0)]
    samples = np.array(
        [_half_pixels(source, (u + 1) * (nx - 1) / 2, (v + 1) * (ny - 1) / 2) for v, u in places]
    )
    samples *= 10 ** (0.4 * (ZERO_POINT - PSF_MAGNITUDE))
    offsets = _offsets(samples.shape[1])
    middle = samples[len(places) // 2]
    height, parameters = fit_profile(middle, offsets)
    # As the file will hold them, so that the tables take up what rounding leaves.
    height, parameters = round(height, 3), np.array([float(f"{value:.6E}") for value in parameters])
    analytic = height * profile(offsets, offsets, parameters)
    design = np.array([_terms(u, v, N_TABLES[degree]) for v, u in places])
    residuals = (samples - analytic).reshape(len(places), -1)
    tables = np.linalg.lstsq(design, residuals, rcond=None)[0].reshape(-1, *middle.shape)
    return DaoPsf(parameters, height, tables, PSF_MAGNITUDE, ((nx - 1) / 2, (ny - 1) / 2))


def format_psf(psf: DaoPsf) -> bytes:
    """Return the text of a ``.psf`` file."""
    n_tables, side, _ = psf.tables.shape
    head = f" {FUNCTION:8}{side:5d}{N_PARAMETERS:5d}{n_tables:5d}{0:5d}{psf.magnitude:9.3f}{psf.height:15.3f}"
    lines = [f"{head}{psf.centre[0]:9.1f}{psf.centre[1]:9.1f}", *_number_lines(psf.parameters)]
    for table in psf.tables:
        lines += _number_lines(table.ravel())
    return ("\n".join(lines) + "\n").encode("ascii")


def parse_psf(data: bytes, *, subject: str) -> DaoPsf:
    """Read a ``.psf`` file whose analytic function is PENNY2.

    Parameters
    ----------
    data : bytes
    subject : str
        The file, named in errors.

    Raises
    ------
    UnusableInputError
        If it is no such file.
    """
    try:
        return _parsed(data.decode("ascii").splitlines())
    except ValueError as error:  # of which UnicodeDecodeError is one
        raise UnusableInputError(
            f"no DAOPHOT PSF can be read: {error}", subject=subject, remedy="process its image again"
        ) from error


def _parsed(lines: list[str]) -> DaoPsf:
    match = _HEADER.fullmatch(lines[0] if lines else "")
    if match is None:
        raise ValueError("the first line is no header of a PSF")
    label = match[1].strip()
    side, n_parameters, n_tables, n_more = (int(word) for word in match.groups()[1:5])
    magnitude, height, x, y = (float(word) for word in match.groups()[5:])
    if label != FUNCTION or n_parameters != N_PARAMETERS:
        raise ValueError(f"its function is {label} of {n_parameters} parameters, not {FUNCTION}")
    if n_tables not in N_TABLES or n_more or not (5 <= side <= MAX_SIDE and side % 2):
        raise ValueError(f"{n_tables} + {n_more} tables of {side} x {side} cannot be read")
    parameters = _numbers(lines[1:2], N_PARAMETERS)
    per_table = -(-side * side // PER_LINE)
    starts = range(2, 2 + n_tables * per_table, per_table)
    tables = np.array([_numbers(lines[start : start + per_table], side * side) for start in starts])
    return DaoPsf(parameters, height, tables.reshape(n_tables, side, side), magnitude, (x, y))


def _half_pixels(source: PsfSource, x: float, y: float) -> Floats:
    """Return the PSF at steps of half a pixel, (n, n): n is 4 HALF + 3."""
    size = 2 * HALF + 3
    out = np.empty((2 * size, 2 * size))
    for j in (0, 1):
        for i in (0, 1):  # a star half a pixel to the right: its pixels are half a pixel to its left
            out[1 - j :: 2, 1 - i :: 2] = source.stamp(x, y, size, (0.5 * i, 0.5 * j))
    return out[2:-1, 2:-1]  # from 12.5 px left of the star to 12.5 px right of it


def _offsets(side: int) -> Floats:
    return (np.arange(side) - side // 2) / 2.0


def _terms(u: float, v: float, n_tables: int) -> Floats:
    """Return the factors of the tables at a place, each between -1 and 1."""
    return np.array([1.0, u, v, 1.5 * u * u - 0.5, u * v, 1.5 * v * v - 0.5])[:n_tables]


def _weights(offsets: Floats, side: int) -> Floats:
    """Return the weights of the rows of a table at distances from the star, (N, side); four are not 0."""
    place = 2 * offsets + side // 2
    node = np.floor(place).astype(np.int64)
    t = place - node
    cubic = (
        ((2 - t) * t - 1) * t / 2,
        ((3 * t - 5) * t * t + 2) / 2,
        ((4 - 3 * t) * t + 1) * t / 2,
        (t - 1) * t * t / 2,
    )
    out = np.zeros((offsets.size, side))
    for k in range(4):
        row = node + k - 1
        inside = (row >= 0) & (row < side)
        out[inside, row[inside]] = cubic[k][inside]
    return out


def _number_lines(numbers: Floats) -> list[str]:
    values = np.where(np.abs(numbers) < SMALLEST, 0.0, numbers)
    return [
        " " + "".join(f"{value:{WIDTH}.6E}" for value in values[start : start + PER_LINE])
        for start in range(0, values.size, PER_LINE)
    ]


def _numbers(lines: list[str], count: int) -> Floats:
    """Read numbers of fixed width, so many to a line behind a blank."""
    words = [line[at : at + WIDTH] for line in lines for at in range(1, len(line.rstrip()), WIDTH)]
    if len(words) != count:
        raise ValueError(f"{len(words)} numbers where {count} are due")
    numbers = np.array([float(word) for word in words])
    if not np.isfinite(numbers).all():
        raise ValueError("a number is not finite")
    return numbers
