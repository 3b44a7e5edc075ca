"""The columns of an aperture catalogue, declared once: SExtractor's names, units, and what each means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class ApertureColumn:
    """One column: its name in a catalogue; the attribute of `ApertureCatalog` is the same in lower case.

    Parameters
    ----------
    name : str
    dtype : str
        NumPy's name of the type of one element.
    unit : str
        As FITS writes it; empty for a plain number.
    sentence : str
    n : int
        Elements per row.
    """

    name: str
    dtype: str
    unit: str
    sentence: str
    n: int = 1

    @property
    def attribute(self) -> str:
        """Name of the array in `ApertureCatalog`."""
        return self.name.lower()


N_APERTURES: Final = 6
COLUMNS: Final[tuple[ApertureColumn, ...]] = (
    ApertureColumn("NUMBER", "i4", "", "Running number from 1; label of the source's pixels"),
    ApertureColumn("XWIN_IMAGE", "f8", "pix", "Windowed column, FITS 1-based"),
    ApertureColumn("YWIN_IMAGE", "f8", "pix", "Windowed row, FITS 1-based"),
    ApertureColumn("ERRX2WIN_IMAGE", "f4", "pix**2", "Variance of XWIN_IMAGE"),
    ApertureColumn("ERRY2WIN_IMAGE", "f4", "pix**2", "Variance of YWIN_IMAGE"),
    ApertureColumn("ERRXYWIN_IMAGE", "f4", "pix**2", "Their covariance"),
    ApertureColumn("X_IMAGE", "f4", "pix", "Isophotal barycentre, column, FITS 1-based"),
    ApertureColumn("Y_IMAGE", "f4", "pix", "Isophotal barycentre, row, FITS 1-based"),
    ApertureColumn("FLUX_APER", "f4", "adu", "Light in circles of FIXAPERS diameter", N_APERTURES),
    ApertureColumn("FLUXERR_APER", "f4", "adu", "1-sigma error of FLUX_APER", N_APERTURES),
    ApertureColumn("MAG_APER", "f4", "mag", "-2.5 log10 FLUX_APER; NaN if not positive", N_APERTURES),
    ApertureColumn("MAGERR_APER", "f4", "mag", "1-sigma error of MAG_APER", N_APERTURES),
    ApertureColumn("LOST_APER", "f4", "pix**2", "Replaced area in the circles", N_APERTURES),
    ApertureColumn("FLUX_AUTO", "f4", "adu", "Light in the Kron ellipse"),
    ApertureColumn("FLUXERR_AUTO", "f4", "adu", "1-sigma error of FLUX_AUTO"),
    ApertureColumn("MAG_AUTO", "f4", "mag", "-2.5 log10 FLUX_AUTO; NaN if not positive"),
    ApertureColumn("MAGERR_AUTO", "f4", "mag", "1-sigma error of MAG_AUTO"),
    ApertureColumn("KRON_RADIUS", "f4", "", "Semi-axes of the Kron ellipse in those of the isophote"),
    ApertureColumn("FLUX_ISO", "f4", "adu", "Light of the isophote's pixels"),
    ApertureColumn("FLUX_MAX", "f4", "adu", "Brightest pixel over the sky"),
    ApertureColumn("FLUX_RADIUS", "f4", "pix", "Radius that holds half of FLUX_AUTO"),
    ApertureColumn("BACKGROUND", "f4", "adu", "Sky level at the source"),
    ApertureColumn("THRESHOLD", "f4", "adu", "Isophotal threshold over the sky"),
    ApertureColumn("ISOAREA_IMAGE", "i4", "pix**2", "Pixels of the isophote"),
    ApertureColumn("A_IMAGE", "f4", "pix", "Isophotal RMS along the major axis"),
    ApertureColumn("B_IMAGE", "f4", "pix", "Isophotal RMS along the minor axis"),
    ApertureColumn("AWIN_IMAGE", "f4", "pix", "RMS along the major axis, Gaussian window taken out"),
    ApertureColumn("BWIN_IMAGE", "f4", "pix", "RMS along the minor axis, Gaussian window taken out"),
    ApertureColumn("THETAWIN_IMAGE", "f4", "deg", "Angle of the major axis from +x toward +y"),
    ApertureColumn("ELONGATION", "f4", "", "AWIN_IMAGE / BWIN_IMAGE"),
    ApertureColumn("FWHM_IMAGE", "f4", "pix", "FWHM of such a Gaussian: 2 sqrt(ln 2 (a^2 + b^2))"),
    ApertureColumn("EXTENT", "f4", "", "Extent beyond the PSF: 0 a point, 1 a disc of 0.35 FWHM"),
    ApertureColumn("EXTENT_ERR", "f4", "", "1-sigma error of EXTENT"),
    ApertureColumn("CLASS_STAR", "f4", "", "Probability of a point source; NaN if it cannot be told"),
    ApertureColumn("FLAGS", "i2", "", "1 neighbours, 2 deblended, 4 saturated, 8 at edge, 16 masked pixels"),
    ApertureColumn("IMAFLAGS_ISO", "i4", "", "OR of the mask over the isophote"),
)  # fmt: skip
