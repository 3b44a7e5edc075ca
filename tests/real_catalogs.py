"""Real catalogues and solutions of other observatories, as our solvers take them."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning

from zsds_tasks.science.astrometry import (
    DetectedSources,
    Pointing,
    QuadrantView,
    ReferenceStars,
    model_of_plane,
    pixel_grid,
)
from zsds_tasks.science.photometry.calibrators import CatalogStars, MeasuredSources
from zsds_tasks.science.photometry.zeropoint_config import CalibratorConfig
from zsds_tasks.sky import tangent

HSC_SHAPE = (2048, 4176)
HSC_MJD = 56_744.2909
GAIA_EPOCH_YR = 2000.0 + (57_388.4994 - 51_544.5) / 365.25
LCO_SHAPE = (4096, 4096)
LCO_EXPTIME_S = 250.032
LCO_STATED = {"L1ZP": 23.1 + 2.5 * np.log10(LCO_EXPTIME_S)}
"""As LCO's own test of the same table has it (LCOGT/banzai, banzai/tests/test_photometry.py), to a tenth."""
LCO_CALIBRATORS = CalibratorConfig(bright_mag=12.5, faint_mag=18.5)


def astropy_wcs(header: fits.Header) -> WCS:
    """Return a header's WCS without astropy's remarks about its age."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        return WCS(header)


def view_around(
    wcs: WCS, shape: tuple[int, int], mjd: float, subject: str, turn: float = 0.0
) -> QuadrantView:
    """Take somebody else's WCS for the nominal camera of `shape` (nx, ny), its middle for the boresight."""
    nx, ny = shape
    centre = tuple(float(v) for v in wcs.all_pix2world((nx + 1) / 2, (ny + 1) / 2, 1))
    x, y = pixel_grid(nx, ny)
    plane = np.stack(tangent.project(*wcs.all_pix2world(x, y, 1), centre), axis=1)
    return QuadrantView(subject, Pointing(*centre, turn), mjd, model_of_plane(x, y, plane, nx, ny, 3))


def hsc_paths(data: Path) -> list[Path]:
    """Files of the CCDs of the Hyper Suprime-Cam visit."""
    return sorted((data / "catalogs" / "hsc_visit1180").glob("*.fits.gz"))


def hsc_gaia(data: Path) -> ReferenceStars:
    """Gaia stars of the visit's field."""
    table = pq.read_table(data / "catalogs" / "hsc_visit1180" / "gaia_reference.parquet")
    column = {name: table[name].to_numpy() for name in table.column_names}
    known = np.isfinite(column["coord_ra"] + column["coord_dec"] + column["phot_g_mean_flux"])
    column = {name: values[known] for name, values in column.items()}
    mas = np.degrees(1.0) * 3.6e6
    return ReferenceStars(
        ra=np.degrees(column["coord_ra"]),
        dec=np.degrees(column["coord_dec"]),
        pmra=column["pm_ra"] * mas,
        pmdec=column["pm_dec"] * mas,
        mag=-2.5 * np.log10(column["phot_g_mean_flux"]),
        epoch_yr=GAIA_EPOCH_YR,
    )


def hsc_sources(path: Path) -> DetectedSources:
    """Centroids and errors only: sources with small errors are the bright ones. Pixels count from 0 there."""
    rows = fits.getdata(path, 1)
    x_error, y_error = rows["xErr"].astype(float), rows["yErr"].astype(float)
    flux = 1.0 / (x_error * y_error)
    return DetectedSources(
        rows["x"].astype(float) + 1,
        rows["y"].astype(float) + 1,
        x_error,
        y_error,
        flux,
        np.sqrt(flux),
        np.zeros(len(rows), np.int64),
    )


def lco_sources(data: Path) -> tuple[MeasuredSources, CatalogStars]:
    """Sources of an i image of the LCO 1 m at Sutherland (2020-01-13) and their reference magnitudes."""
    rows = fits.getdata(data / "catalogs" / "cpt1m012-fa06-20200113-0102-matched-cat.fits.gz")
    column = {name: np.asarray(rows[name], np.float64) for name in rows.names}
    sources = MeasuredSources(
        x=column["x"], y=column["y"], ra=column["ra"], dec=column["dec"],
        flux=column["flux"], flux_error=column["fluxerr"],
        flags=np.where(column["flag"] == 0, 0, 1), chi=np.ones(len(rows)),
    )  # fmt: skip
    mags = {band: column[f"{band}mag"] for band in "gri"}
    errors = {band: column[f"{band}magerr"] for band in "gri"}
    return sources, CatalogStars(column["ra"], column["dec"], mags, errors, np.ones(len(rows)))


def tycho(data: Path, centre: tuple[float, float], radius_deg: float) -> ReferenceStars:
    """Brightest stars of Tycho-2 around (ra, dec); its proper motions are not in the file."""
    table = pq.read_table(data / "catalogs" / "tycho2_brightest_362950.parquet")
    ra, dec, mag = (table[name].to_numpy().astype(float) for name in ("ra", "dec", "mag_vt"))
    near = tangent.separation_deg(ra, dec, *centre) < radius_deg
    still = np.zeros(np.count_nonzero(near))
    return ReferenceStars(ra[near], dec[near], still, still, mag[near], 2000.0)
