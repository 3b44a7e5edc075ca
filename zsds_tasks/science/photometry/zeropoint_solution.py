"""What the photometric calibration of one image is: the zero point with everything known about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zsds_tasks.science.photometry.spatial import SpatialTerm

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
STANDARD_EXPOSURE_S = 30.0
KEYWORDS = {
    "MAGZP": ("magzp", "zero point at colour zero [mag]"),
    "MAGZPUNC": ("magzpunc", "its formal error [mag]"),
    "MAGZPRMS": ("magzprms", "RMS of the calibrators about the fit [mag]"),
    "CLRCOEFF": ("clrcoeff", "colour coefficient"),
    "CLRCOUNC": ("clrcounc", "its formal error"),
    "ZPCLRCOV": ("zpclrcov", "covariance of MAGZP and CLRCOEFF"),
    "PCOLOR": ("pcolor", "colour, of the photometric catalogue"),
    "NMATCHES": ("nmatches", "calibrators in the fit"),
    "ZPMED": ("zpmed", "median zero point without colour term [mag]"),
    "ZPAVG": ("zpavg", "mean zero point without colour term [mag]"),
    "ZPRMSALL": ("zprmsall", "RMS about ZPAVG [mag]"),
    "CLRMED": ("clrmed", "median colour of the calibrators [mag]"),
    "CLRAVG": ("clravg", "mean colour of the calibrators [mag]"),
    "CLRRMS": ("clrrms", "RMS about CLRAVG [mag]"),
    "ZPSCATT": ("scatter", "scatter of calibrators beyond errors [mag]"),
    "ZPCLIP": ("n_clipped", "calibrators left out of the fit"),
    "CLRHELD": ("colour_held", "colour coefficient is the one expected"),
}
"""Keyword -> (attribute of `ZeroPoint`, sentence). ZPSCATT, ZPCLIP and CLRHELD are ours; the rest ZTF's."""


@dataclass(frozen=True)
class ZeroPoint:
    """The photometric calibration of one image; magnitudes throughout.

    Parameters
    ----------
    magzp, magzpunc : float
        Zero point at colour zero for the actual exposure time, with its formal error.
    magzprms : float
        RMS of the calibrators about the fit.
    clrcoeff, clrcounc, zpclrcov : float
        Colour coefficient, its error, and its covariance with the zero point.
    pcolor : str
        The colour.
    nmatches, n_clipped : int
        Calibrators in the fit; calibrators left out of it.
    zpmed, zpavg, zprmsall : float
        Median, mean and RMS about it of the calibrators' zero points without a colour term.
    clrmed, clravg, clrrms : float
        The same of their colours.
    scatter : float
        What the calibrators scatter beyond their errors.
    pull : float
        Robust width of the residuals over the errors of flux and catalogue alone; 1 when these say it all.
    spatial : SpatialTerm
    cells_before, cells_after : numpy.ndarray (n, n), float64, [row, column]
        Median of catalogue minus calibrated magnitude in a grid of cells, without and with the spatial term.
    source, star : (nmatches) int64
        Row numbers of the calibrators in the fit.
    residual : (nmatches) float64
        Catalogue minus calibrated magnitude of these.
    colour_held : bool
        Whether the colour coefficient is the one expected beforehand.
    remarks : tuple of str
        What a user should know, with numbers.
    """

    magzp: float
    magzpunc: float
    magzprms: float
    clrcoeff: float
    clrcounc: float
    zpclrcov: float
    pcolor: str
    nmatches: int
    n_clipped: int
    zpmed: float
    zpavg: float
    zprmsall: float
    clrmed: float
    clravg: float
    clrrms: float
    scatter: float
    pull: float
    spatial: SpatialTerm
    cells_before: Floats
    cells_after: Floats
    source: Integers
    star: Integers
    residual: Floats
    colour_held: bool
    remarks: tuple[str, ...]

    def magnitudes(self, flux: ArrayLike, x: ArrayLike, y: ArrayLike) -> Floats:
        """Return calibrated magnitudes without a colour term; NaN where the flux is not above zero.

        Parameters
        ----------
        flux : (N), DN
        x, y : (N), FITS 1-based pixels
        """
        counts = np.asarray(flux, np.float64)
        logs = np.log10(counts, where=counts > 0, out=np.full(counts.shape, np.nan))
        return np.asarray(self.magzp - 2.5 * logs + self.spatial.at(x, y), np.float64)

    def zp30(self, exptime_s: float) -> float:
        """Return the zero point reduced to 30 s."""
        return self.magzp - 2.5 * float(np.log10(exptime_s / STANDARD_EXPOSURE_S))

    def header(self) -> dict[str, str | int | float | bool]:
        """Return the FITS keywords of `KEYWORDS`, and those of the spatial term."""
        return {word: getattr(self, name) for word, (name, _) in KEYWORDS.items()} | self.spatial.header()
