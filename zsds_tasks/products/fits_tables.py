"""Columns of the catalogues in FITS, psfcat and sexcat: names, types, units and sentences, declared once.

psfcat follows reference section 4.3, sexcat has SExtractor's names (section 4.4). The tables of the lakehouse
are declared elsewhere (include/schemas/tables); these are what a reader of the files gets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

N_APERTURES: Final = 6


@dataclass(frozen=True)
class CatalogColumn:
    """One column.

    Parameters
    ----------
    name : str
    dtype : str
        NumPy's code.
    unit : str
        As FITS spells it; empty for none.
    comment : str
    width : int
        Values per row.
    """

    name: str
    dtype: str
    unit: str
    comment: str
    width: int = 1

    @property
    def attribute(self) -> str:
        """Its name as that of a Python attribute."""
        return self.name.lower()


PSF_CATALOG: Final = (
    CatalogColumn("sourceid", "i4", "", "row in this catalogue, from 0"),
    CatalogColumn("xpos", "f4", "pixel", "column, first pixel is 1"),
    CatalogColumn("ypos", "f4", "pixel", "row, first pixel is 1"),
    CatalogColumn("ra", "f8", "deg", "right ascension (ICRS)"),
    CatalogColumn("dec", "f8", "deg", "declination (ICRS)"),
    CatalogColumn("flux", "f4", "adu", "PSF-fit flux"),
    CatalogColumn("sigflux", "f4", "adu", "its 1-sigma error"),
    CatalogColumn("mag", "f4", "mag", "-2.5 log10(flux); add MAGZP"),
    CatalogColumn("sigmag", "f4", "mag", "its 1-sigma error"),
    CatalogColumn("snr", "f4", "", "flux over its error"),
    CatalogColumn("chi", "f4", "", "RMS residual over that expected"),
    CatalogColumn("sharp", "f4", "", "0 points, above extended, below spikes"),
    CatalogColumn("flags", "i4", "", "OR of the mask over 5 x 5; -1 at an edge"),
)
APERTURE_CATALOG: Final = (
    CatalogColumn("NUMBER", "i4", "", "Running number from 1; label of the source's pixels"),
    CatalogColumn("XWIN_IMAGE", "f8", "pixel", "Windowed column, FITS 1-based"),
    CatalogColumn("YWIN_IMAGE", "f8", "pixel", "Windowed row, FITS 1-based"),
    CatalogColumn("ALPHAWIN_J2000", "f8", "deg", "Windowed right ascension (ICRS)"),
    CatalogColumn("DELTAWIN_J2000", "f8", "deg", "Windowed declination (ICRS)"),
    CatalogColumn("ERRX2WIN_IMAGE", "f4", "pixel**2", "Variance of XWIN_IMAGE"),
    CatalogColumn("ERRY2WIN_IMAGE", "f4", "pixel**2", "Variance of YWIN_IMAGE"),
    CatalogColumn("ERRXYWIN_IMAGE", "f4", "pixel**2", "Their covariance"),
    CatalogColumn("ERRAWIN_IMAGE", "f4", "pixel", "Error of the position, major axis"),
    CatalogColumn("ERRBWIN_IMAGE", "f4", "pixel", "Error of the position, minor axis"),
    CatalogColumn("X_IMAGE", "f4", "pixel", "Isophotal barycentre, column, FITS 1-based"),
    CatalogColumn("Y_IMAGE", "f4", "pixel", "Isophotal barycentre, row, FITS 1-based"),
    CatalogColumn("FLUX_APER", "f4", "adu", "Light in circles of FIXAPERS diameter", N_APERTURES),
    CatalogColumn("FLUXERR_APER", "f4", "adu", "1-sigma error of FLUX_APER", N_APERTURES),
    CatalogColumn("MAG_APER", "f4", "mag", "-2.5 log10 FLUX_APER; NaN if not positive", N_APERTURES),
    CatalogColumn("MAGERR_APER", "f4", "mag", "1-sigma error of MAG_APER", N_APERTURES),
    CatalogColumn("LOST_APER", "f4", "pixel**2", "Replaced area in the circles", N_APERTURES),
    CatalogColumn("FLUX_AUTO", "f4", "adu", "Light in the Kron ellipse"),
    CatalogColumn("FLUXERR_AUTO", "f4", "adu", "1-sigma error of FLUX_AUTO"),
    CatalogColumn("MAG_AUTO", "f4", "mag", "-2.5 log10 FLUX_AUTO; NaN if not positive"),
    CatalogColumn("MAGERR_AUTO", "f4", "mag", "1-sigma error of MAG_AUTO"),
    CatalogColumn("KRON_RADIUS", "f4", "", "Semi-axes of the Kron ellipse in those of the isophote"),
    CatalogColumn("FLUX_ISO", "f4", "adu", "Light of the isophote's pixels"),
    CatalogColumn("FLUX_MAX", "f4", "adu", "Brightest pixel over the sky"),
    CatalogColumn("FLUX_RADIUS", "f4", "pixel", "Radius that holds half of FLUX_AUTO"),
    CatalogColumn("BACKGROUND", "f4", "adu", "Sky level at the source"),
    CatalogColumn("THRESHOLD", "f4", "adu", "Isophotal threshold over the sky"),
    CatalogColumn("ISOAREA_IMAGE", "i4", "pixel**2", "Pixels of the isophote"),
    CatalogColumn("A_IMAGE", "f4", "pixel", "Isophotal RMS along the major axis"),
    CatalogColumn("B_IMAGE", "f4", "pixel", "Isophotal RMS along the minor axis"),
    CatalogColumn("AWIN_IMAGE", "f4", "pixel", "RMS along the major axis, Gaussian window taken out"),
    CatalogColumn("BWIN_IMAGE", "f4", "pixel", "RMS along the minor axis, Gaussian window taken out"),
    CatalogColumn("AWIN_WORLD", "f4", "deg", "RMS along the major axis"),
    CatalogColumn("BWIN_WORLD", "f4", "deg", "RMS along the minor axis"),
    CatalogColumn("THETAWIN_IMAGE", "f4", "deg", "Angle of the major axis from +x toward +y"),
    CatalogColumn("ELONGATION", "f4", "", "AWIN_IMAGE / BWIN_IMAGE"),
    CatalogColumn("FWHM_IMAGE", "f4", "pixel", "FWHM of such a Gaussian: 2 sqrt(ln 2 (a^2 + b^2))"),
    CatalogColumn("EXTENT", "f4", "", "Extent beyond the PSF: 0 a point, 1 a disc of 0.35 FWHM"),
    CatalogColumn("EXTENT_ERR", "f4", "", "1-sigma error of EXTENT"),
    CatalogColumn("CLASS_STAR", "f4", "", "Probability of a point source; NaN if it cannot be told"),
    CatalogColumn("FLAGS", "i2", "", "1 neighbours, 2 deblended, 4 saturated, 8 at edge, 16 masked pixels"),
    CatalogColumn("IMAFLAGS_ISO", "i4", "", "OR of the mask over the isophote"),
)


def catalog_columns(
    declared: tuple[CatalogColumn, ...], values: Mapping[str, NDArray[Any]]
) -> dict[str, tuple[NDArray[Any], str, str]]:
    """Return the columns of a catalogue, ready for `zsds_tasks.pixels.fits_tables.encode_table`.

    Parameters
    ----------
    declared : tuple of CatalogColumn
        `PSF_CATALOG` or `APERTURE_CATALOG`.
    values : Mapping of str to numpy.ndarray
        By name, (N) or (N, width), of any number type that fits; a declared column may be missing.

    Returns
    -------
    dict of str to (values, unit, comment)
        In declared order and types.

    Raises
    ------
    ValueError
        If a name is not declared, a shape is not, or an integer does not fit its column; names it.
    """
    unknown = sorted(set(values) - {column.name for column in declared})
    if unknown:
        raise ValueError(f"undeclared columns: {', '.join(unknown)}")
    return {
        column.name: (_stored(column, np.asarray(values[column.name])), column.unit, column.comment)
        for column in declared
        if column.name in values
    }


def _stored(column: CatalogColumn, values: NDArray[Any]) -> NDArray[Any]:
    if values.shape[1:] != ((column.width,) if column.width > 1 else ()):
        raise ValueError(f"{column.name} has {values.shape[1:]} values per row, not {column.width}")
    stored = values.astype(column.dtype)
    if stored.dtype.kind == "i" and not np.array_equal(stored, values):
        raise ValueError(f"{column.name} has values that {stored.dtype} does not hold")
    return stored
