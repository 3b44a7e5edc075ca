"""Images of other telescopes in the chain, from the stage where they enter, beside what their files say.

None of them has passed through our reduction, so each starts at ``background``; gain and saturation are the
header's. What the header states, or a catalogue beside the file, is somebody else's measurement of the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from astropy.io import fits
from pydantic import BaseModel
from real_catalogs import (
    HSC_MJD,
    HSC_SHAPE,
    LCO_CALIBRATORS,
    LCO_SHAPE,
    LCO_STATED,
    astropy_wcs,
    hsc_gaia,
    hsc_paths,
    hsc_sources,
    lco_sources,
    tycho,
    view_around,
)
from scipy.optimize import curve_fit
from scipy.spatial import cKDTree

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.products.masks import MaskBit
from zsds_tasks.science.astrometry import (
    AstrometryConfig,
    Pointing,
    pixel_grid,
    solve,
)
from zsds_tasks.science.calibration.reduce import ReadoutFacts
from zsds_tasks.science.photometry.comparison import compare
from zsds_tasks.science.photometry.zeropoint import calibrate
from zsds_tasks.science.photometry.zeropoint_config import ZeroPointConfig
from zsds_tasks.settings import REPOSITORY
from zsds_tasks.sky import tangent
from zsds_tasks.steps.exposure.chain import Chain
from zsds_tasks.steps.exposure.configuration import load_exposure_config
from zsds_tasks.steps.exposure.given import Buffers, Catalogs, ChainInput
from zsds_tasks.steps.exposure.measures import detected_sources
from zsds_tasks.survey.camera import load_camera

IMAGE_STAGES = ("background", "blemishes", "point_sources", "apertures")
SIDE = 64  # cells of background of small images


@dataclass(frozen=True)
class Measured:
    """One value of one image, ours and what is stated.

    Parameters
    ----------
    image : str
    what : str
    ours, stated : float
    """

    image: str
    what: str
    ours: float
    stated: float


def enter(pixels: np.ndarray, gain: float, saturation: float, name: str) -> Chain:
    """Run the image stages on pixels (ny, nx) in DN that somebody else has reduced."""
    image = np.ascontiguousarray(pixels, np.float32)
    mask = np.where(image >= saturation, MaskBit.SATURATED.flag, 0).astype(np.uint16)
    mask[~np.isfinite(image)] |= np.uint16(MaskBit.NAN.flag)
    config = load_exposure_config(REPOSITORY / "include")
    config = config.model_copy(update={"background": config.background.model_copy(update={"cell": SIDE})})
    chain = Chain(given_of(name, gain, saturation), no_catalogs(), config, Buffers.of(image.shape))
    return chain.enter(image, mask, saturation).run(IMAGE_STAGES)


def given_of(name: str, gain: float, saturation: float) -> ChainInput:
    """What a chain is given of an image that is reduced already."""
    camera, empty = load_camera("mini", REPOSITORY / "include"), np.empty((0, 0))
    ghosts = load_exposure_config(REPOSITORY / "include").ghosts.prior
    return ChainInput(
        subject=name, camera=camera, quadrant=camera.quadrants[0], filter_name="r", raw=empty, overscan=empty,
        bias=empty, flat=empty, static_mask=empty, smooth=None,
        facts=ReadoutFacts(gain, saturation), read_noise=0.0,
        pointing=Pointing(0.0, 0.0, 0.0), mjd=0.0, exptime_s=1.0, airmass=None, calibration_age_d=0.0,
        ghost_model=ghosts,
    )  # fmt: skip


def no_catalogs() -> Catalogs:
    """Catalogues of a chain that does not come so far."""

    def nothing(*_):
        raise AssertionError("a stage without catalogue asked for one")

    return Catalogs(nothing, nothing, nothing)


def decam(data: Path) -> Iterator[Measured]:
    """DECam stamps beside the Community Pipeline's FWHM and sky noise of their whole CCD."""
    for path in sorted((data / "images" / "decam_i_stamps").glob("*.mini.fits.gz")):
        header = fits.getheader(path)
        name = path.name.split(".")[0]
        try:
            chain = enter(fits.getdata(path), header["GAIN"], header["ESATUR"], name)
        except UnusableInputError as error:
            yield Measured(name, f"refused: {error.reason}", np.nan, np.nan)
            continue
        yield Measured(name, "FWHM, px", chain.psf.fwhm, header["FWHM"])
        # AVSIG is that of the raw sky; the stamps were resampled, which smooths.
        yield Measured(name, "sky noise, DN", noise_of(chain), header["AVSIG"])


def saao(data: Path, every: int = 1) -> Iterator[Measured]:
    """Frames of a crowded bulge field beside PLANET's seeing and background."""
    for path in sorted((data / "images" / "saao_kb13475").glob("*.fits.fz"))[::every]:
        header = fits.getheader(path, 1)
        chain = enter(fits.getdata(path, 1), header["GAIN"], 65_300, path.name)
        yield Measured(path.name, "FWHM, px", chain.psf.fwhm, header["PFWHM"])
        yield Measured(
            path.name, "sky, DN", float(np.median(chain.background.level.values)), header["PBKGRND"]
        )


def ztf(data: Path) -> Iterator[Measured]:
    """ZTF cut-outs, which state nothing: two ways to measure a star beside each other, and the PSF's fit."""
    with fits.open(data / "images" / "ztf_sciimg_cutouts_256.fits.gz") as cut_outs:
        for hdu in cut_outs[1:]:
            chain = enter(hdu.data, 6.2, 50_000, hdu.name)
            points, rows = chain.points, chain.apertures
            partner = np.stack([rows.xwin_image, rows.ywin_image], axis=1)
            distance, row = cKDTree(partner).query(np.stack([points.xpos, points.ypos], axis=1))
            good = (distance < 1) & (points.snr > 30) & (rows.imaflags_iso[row] & MaskBit.SATURATED.flag == 0)
            good &= rows.flags[row] == 0
            if np.count_nonzero(good) >= 4:
                total = rows.mag_aper[row[good], 3] + rows.growth.correction[3]
                change = -2.5 * np.log10(points.flux[good]) - total
                yield Measured(hdu.name, "PSF magnitude less 6 px aperture", float(np.median(change)), 0.0)
            yield Measured(hdu.name, "chi", float(np.median(points.chi)), 1.0)


def panoptes(data: Path, turn_deg: float = 0.0) -> Iterator[Measured]:
    """A frame of 10 arcsec pixels against Tycho-2: our solution, and Astrometry.net's in its header."""
    path = data / "images" / "panoptes" / "solved.fits.fz"
    pixels, header = fits.getdata(path, 1), fits.getheader(path, 1)
    shape = (pixels.shape[1], pixels.shape[0])
    chain = enter(pixels, 1.5, 0.95 * float(pixels.max()), "panoptes")
    theirs = astropy_wcs(header)
    view = view_around(theirs, shape, 57_640.35, "panoptes", turn_deg)
    stars = tycho(data, (view.pointing.ra, view.pointing.dec), 2.0)
    scale = header["CD1_2"] * 3600.0
    found = solve(
        detected_sources(chain.points, np.zeros(len(chain.points), np.int32)),
        stars,
        view,
        widened(AstrometryConfig(), scale),
    )
    own, other = (_to_stars(chain, stars, wcs, shape) for wcs in (found.wcs.sky_to_pixel, _pixels(theirs)))
    yield Measured("panoptes", "Tycho-2 stars within 2 px", len(own), len(other))
    yield Measured(
        "panoptes", "their median distance, arcsec", *(float(np.median(d)) * scale for d in (own, other))
    )


def hsc(data: Path, every: int = 1) -> Iterator[Measured]:
    """Hyper Suprime-Cam's CCDs: residuals of our solutions, and how far the first guess is from them."""
    gaia = hsc_gaia(data)
    for path in hsc_paths(data)[::every]:
        guess = astropy_wcs(fits.getheader(path))
        found = solve(hsc_sources(path), gaia, view_around(guess, HSC_SHAPE, HSC_MJD, path.name))
        x, y = pixel_grid(*HSC_SHAPE)
        off = tangent.separation_deg(*found.wcs.pixel_to_sky(x, y), *guess.all_pix2world(x, y, 1)) * 3.6e6
        yield Measured(
            path.name,
            "our RMS; the first guess is off; mas",
            1e3 * max(found.residuals.rms),
            float(np.median(off)),
        )


def lco(data: Path) -> Iterator[Measured]:
    """Zero point of an image of the LCO 1 m, as stated by LCO's pipeline."""
    found = calibrate(*lco_sources(data), "i", LCO_SHAPE, ZeroPointConfig(calibrators=LCO_CALIBRATORS))
    for row in compare(found.header(), LCO_STATED):
        yield Measured("cpt1m012", "zero point, mag", row.ours, row.theirs)


def noise_of(chain: Chain) -> float:
    """Median noise of blank sky, DN."""
    return float(np.median(chain.background.noise.values))


Config = TypeVar("Config", bound=BaseModel)


def widened(config: Config, factor: float) -> Config:
    """Multiply every angle in arcsec of a configuration, for pixels so much larger than ours."""
    changed = {}
    for name in type(config).model_fields:
        value = getattr(config, name)
        if isinstance(value, BaseModel):
            changed[name] = widened(value, factor)
        elif name.endswith("_arcsec"):
            changed[name] = value * factor
    return config.model_copy(update=changed)


def _to_stars(chain, stars, sky_to_pixel, shape):
    """Distances (px) under 2 of reference stars in an image to the nearest source."""
    places = np.stack(sky_to_pixel(stars.ra, stars.dec), axis=1)
    places = places[((places > 10) & (places < min(shape) - 10)).all(axis=1)]
    distance, _ = cKDTree(np.stack([chain.points.xpos, chain.points.ypos], axis=1)).query(places)
    return distance[distance < 2]


def _pixels(wcs):
    return lambda ra, dec: wcs.all_world2pix(ra, dec, 1, quiet=True)


def seeing_by_hand(data: Path) -> tuple[Chain, list[float]]:
    """Run the chain on one frame of the bulge, and fit Moffat profiles to its brightest stars: FWHM, px."""
    path = min((data / "images" / "saao_kb13475").glob("*.fits.fz"))
    pixels, gain = fits.getdata(path, 1).astype(float), fits.getheader(path, 1)["GAIN"]
    chain = enter(pixels, gain, 65_300, path.name)
    half, widths = 7, []
    y, x = (grid.ravel() for grid in np.mgrid[-half : half + 1, -half : half + 1])
    for star in np.argsort(-chain.points.flux)[:40]:
        column, line = (round(float(v)) - 1 for v in (chain.points.xpos[star], chain.points.ypos[star]))
        if min(column, line) < 12 or max(column, line) > min(pixels.shape) - 12:
            continue
        stamp = pixels[line - half : line + half + 1, column - half : column + half + 1].ravel()
        if stamp.max() > 55_000:
            continue
        first = (stamp.max(), 0.0, 0.0, 4.0, 3.0, np.percentile(stamp, 10))
        fitted, _ = curve_fit(_moffat, (x, y), stamp, first)
        widths.append(2 * abs(fitted[3]) * float(np.sqrt(2 ** (1 / fitted[4]) - 1)))
    return chain, widths


def _moffat(places, height, x, y, alpha, beta, level):
    return level + height * (1 + ((places[0] - x) ** 2 + (places[1] - y) ** 2) / alpha**2) ** -beta
