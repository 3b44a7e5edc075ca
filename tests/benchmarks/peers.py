"""What a user would pick instead: SExtractor, PSFEx and SCAMP (Debian packages) as a chain on one image."""

from __future__ import annotations

import resource
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from astropy.io import fits
from astropy.wcs import WCS

PROGRAMS = ("source-extractor", "psfex", "scamp")
DETECTION = {
    "DETECT_MINAREA": "3",
    "DETECT_THRESH": "2.5",
    "ANALYSIS_THRESH": "2.5",
    "DEBLEND_MINCONT": "0.001",
    "BACK_SIZE": "128",
    "PHOT_APERTURES": "10",
    "FILTER_NAME": "/usr/share/source-extractor/default.conv",
    "STARNNW_NAME": "/usr/share/source-extractor/default.nnw",
    "NTHREADS": "1",
    "VERBOSE_TYPE": "QUIET",
}
SHAPES = (
    "NUMBER",
    "X_IMAGE",
    "Y_IMAGE",
    "XWIN_IMAGE",
    "YWIN_IMAGE",
    "ERRAWIN_IMAGE",
    "ERRBWIN_IMAGE",
    "ERRTHETAWIN_IMAGE",
    "FLUX_APER",
    "FLUXERR_APER",
    "FLUX_AUTO",
    "FLUXERR_AUTO",
    "FLUX_RADIUS",
    "ELONGATION",
    "FLAGS",
    "SNR_WIN",
    "FLUX_MAX",
    "IMAFLAGS_ISO",
)
POINTS = (*SHAPES, "XPSF_IMAGE", "YPSF_IMAGE", "FLUX_PSF", "FLUXERR_PSF", "CHI2_PSF")


PSFEX = {
    "PSFVAR_DEGREES": "2",
    "PSF_SIZE": "25,25",
    "PSF_SAMPLING": "0",
    "CHECKIMAGE_TYPE": "NONE",
    "CHECKPLOT_TYPE": "NONE",
    "SAMPLE_MINSN": "50",
    "SAMPLE_MAXELLIP": "0.3",
    "SAMPLE_FLAGMASK": "0x00fe",
    "BADPIXEL_FILTER": "N",
    "NTHREADS": "1",
    "WRITE_XML": "N",
    "VERBOSE_TYPE": "QUIET",
}
SCAMP = {
    "ASTREF_CATALOG": "FILE",
    "ASTREFCAT_NAME": "gaia.cat",
    "ASTREFCENT_KEYS": "X_WORLD,Y_WORLD",
    "ASTREFERR_KEYS": "ERRA_WORLD,ERRB_WORLD,ERRTHETA_WORLD",
    "ASTREFMAG_KEY": "MAG",
    "MATCH": "Y",
    "PIXSCALE_MAXERR": "1.02",
    "POSANGLE_MAXERR": "1.0",
    "POSITION_MAXERR": "3.0",
    "DISTORT_DEGREES": "4",
    "CROSSID_RADIUS": "2.0",
    "SOLVE_PHOTOM": "N",
    "CENTROID_KEYS": "XWIN_IMAGE,YWIN_IMAGE",
    "CENTROIDERR_KEYS": "ERRAWIN_IMAGE,ERRBWIN_IMAGE,ERRTHETAWIN_IMAGE",
    "PHOTFLUX_KEY": "FLUX_APER(1)",
    "PHOTFLUXERR_KEY": "FLUXERR_APER(1)",
    "CHECKPLOT_DEV": "NULL",
    "CHECKPLOT_TYPE": "NONE",
    "WRITE_XML": "N",
    "NTHREADS": "1",
    "VERBOSE_TYPE": "QUIET",
    "SN_THRESHOLDS": "10.0,100.0",
}


@dataclass(frozen=True)
class PeerResult:
    """What the chain found, and what each program cost.

    Parameters
    ----------
    core_s : dict
        Processor seconds (user and system) of each program.
    table : numpy structured array
        Of SExtractor's second pass, with PSF photometry.
    wcs : astropy.wcs.WCS
        SCAMP's solution.
    """

    core_s: dict[str, float]
    table: np.ndarray
    wcs: WCS


def installed() -> bool:
    """Whether the chain can run here."""
    return all(shutil.which(name) for name in PROGRAMS)


def run_chain(
    image: np.ndarray, bad: np.ndarray, gain: float, header: fits.Header, gaia: pa.Table, folder: Path
) -> PeerResult:
    """Run SExtractor, PSFEx, SExtractor with PSF fitting, and SCAMP against the same reference stars.

    Parameters
    ----------
    image : (ny, nx) float32, DN, sky included
    bad : (ny, nx) bool
        Pixels that must not count.
    gain : float
    header : fits.Header
        With an approximate WCS.
    gaia : pyarrow.Table
        ra, dec, errors (mas), phot_g_mean_mag; positions at the epoch of the image.
    folder : Path
    """
    facts = header.copy()
    facts["GAIN"] = gain
    fits.writeto(folder / "image.fits", image, facts, overwrite=True)
    fits.writeto(folder / "flag.fits", bad.astype(np.int16), overwrite=True)
    fits.writeto(folder / "weight.fits", (~bad).astype(np.float32), overwrite=True)
    common = DETECTION | {
        "FLAG_IMAGE": "flag.fits",
        "WEIGHT_TYPE": "MAP_WEIGHT",
        "WEIGHT_IMAGE": "weight.fits",
        "GAIN_KEY": "GAIN",
        "SATUR_KEY": "SATURATE",
    }
    cost = {}
    (folder / "first.param").write_text("\n".join((*SHAPES, "VIGNET(35,35)")) + "\n")
    first = common | {
        "CATALOG_NAME": "first.cat",
        "CATALOG_TYPE": "FITS_LDAC",
        "PARAMETERS_NAME": "first.param",
    }
    cost["SExtractor"] = _run(folder, "source-extractor", "image.fits", first)
    cost["PSFEx"] = _run(folder, "psfex", "first.cat", PSFEX)
    (folder / "second.param").write_text("\n".join(POINTS) + "\n")
    second = common | {
        "CATALOG_NAME": "second.cat",
        "CATALOG_TYPE": "FITS_LDAC",
        "PARAMETERS_NAME": "second.param",
    }
    cost["SExtractor, PSF"] = _run(
        folder, "source-extractor", "image.fits", second | {"PSF_NAME": "first.psf", "PSF_NMAX": "1"}
    )
    _write_reference(gaia, folder / "gaia.cat")
    cost["SCAMP"] = _run(folder, "scamp", "second.cat", SCAMP)
    table = fits.getdata(folder / "second.cat", 2)
    # SCAMP signs its headers with an accented letter.
    text = (folder / "second.head").read_text("latin-1").encode("ascii", "ignore").decode()
    solved = fits.Header.fromstring(text, sep="\n")
    solved["CTYPE1"], solved["CTYPE2"] = "RA---TPV", "DEC--TPV"  # SCAMP says TAN, by an older convention
    return PeerResult(cost, table, WCS(solved))


def _run(folder: Path, program: str, target: str, options: dict[str, str]) -> float:
    (folder / "empty.conf").write_text("")
    words = [word for key, value in options.items() for word in (f"-{key}", value)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [program, target, "-c", "empty.conf", *words], cwd=folder, capture_output=True, text=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{program}: {done.stdout[-500:]}{done.stderr[-1500:]}")
    return (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)


def _write_reference(gaia: pa.Table, path: Path) -> None:
    """Write an LDAC catalogue as SCAMP reads it."""
    error = gaia["ra_error"].to_numpy() / 3.6e6
    n = gaia.num_rows
    columns = [
        fits.Column("X_WORLD", "1D", "deg", array=gaia["ra"].to_numpy()),
        fits.Column("Y_WORLD", "1D", "deg", array=gaia["dec"].to_numpy()),
        fits.Column("ERRA_WORLD", "1E", "deg", array=error),
        fits.Column("ERRB_WORLD", "1E", "deg", array=error),
        fits.Column("ERRTHETA_WORLD", "1E", "deg", array=np.zeros(n)),
        fits.Column("MAG", "1E", "mag", array=gaia["phot_g_mean_mag"].to_numpy()),
        fits.Column("MAGERR", "1E", "mag", array=np.full(n, 0.01)),
        fits.Column("OBSDATE", "1D", "yr", array=np.full(n, 2025.78)),
    ]
    cards = fits.Header([("SIMPLE", True), ("BITPIX", 0), ("NAXIS", 2), ("NAXIS1", 1), ("NAXIS2", 1)])
    text = cards.tostring(endcard=True, padding=False)
    head = fits.BinTableHDU.from_columns(
        [fits.Column("Field Header Card", f"{len(text)}A", array=np.array([text]))]
    )
    head.header["EXTNAME"] = "LDAC_IMHEAD"
    body = fits.BinTableHDU.from_columns(columns)
    body.header["EXTNAME"] = "LDAC_OBJECTS"
    fits.HDUList([fits.PrimaryHDU(), head, body]).writeto(path, overwrite=True)
