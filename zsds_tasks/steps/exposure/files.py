"""The files of one calibrated image: ZTF's names and keywords, each written whole before any row names it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.pixels.compressed import encode_image, encode_uncertainty
from zsds_tasks.pixels.fits_tables import encode_table
from zsds_tasks.pixels.fits_writer import encode_plain_image
from zsds_tasks.products.fits_tables import APERTURE_CATALOG, PSF_CATALOG, catalog_columns
from zsds_tasks.products.masks import UNUSABLE, MaskBit
from zsds_tasks.products.psf_files import format_psf, tabulate_psf
from zsds_tasks.products.science_headers import CARRIED, carried, science_cards
from zsds_tasks.science.photometry.apertures import ApertureCatalog
from zsds_tasks.science.photometry.apertures_columns import COLUMNS
from zsds_tasks.settings import Settings
from zsds_tasks.steps.exposure.calibrated import Calibrated
from zsds_tasks.steps.exposure.work import QuadrantWork
from zsds_tasks.steps.readouts import RawReadout
from zsds_tasks.survey.camera import load_camera
from zsds_tasks.survey.filenames import CalibrationKind, RawFileName, ScienceFileName, ScienceSuffix
from zsds_tasks.survey.identifiers import ExposureId, ProductId
from zsds_tasks.survey.survey import load_survey

Values = dict[str, Any]
MASTER_KEYWORDS = {
    CalibrationKind.BIAS: ("BIASFILE", "BIASSHA"),
    CalibrationKind.HIGH_FREQUENCY_FLAT: ("FLATFILE", "FLATSHA"),
    CalibrationKind.BAD_PIXELS: ("BPIXFILE", "BPIXSHA"),
}
FROM_ZERO_POINT = (
    "magzp", "magzpunc", "magzprms", "clrcoeff", "clrcounc", "zpclrcov", "pcolor", "nmatches", "zpmed",
    "zpavg", "zprmsall", "clrmed", "clravg", "clrrms",
)  # fmt: skip


@dataclass(frozen=True)
class Written:
    """The files of a calibrated image.

    Parameters
    ----------
    products : dict
        SHA-256 by suffix.
    path : str
        Of the science image, under the archive's root.
    image_file, psf_file : bytes
        Of the science image and of its PSF.
    """

    products: dict[str, str]
    path: str
    image_file: bytes = field(repr=False)
    psf_file: bytes = field(repr=False)


def write_products(
    work: QuadrantWork,
    found: Calibrated,
    readout: RawReadout,
    settings: Settings,
    lakehouse: Lakehouse,
    restored: NDArray[np.float32] | None = None,
) -> Written:
    """Write image, mask, uncertainty, PSF and both catalogues.

    Parameters
    ----------
    work : QuadrantWork
    found : Calibrated
        Bits 1 and 11 of its mask are set here.
    readout : RawReadout
        Its headers are carried over.
    settings : Settings
    lakehouse : Lakehouse
    restored : numpy.ndarray (ny, nx), float32, optional
        Receives what the file of the science image will give back.
    """
    camera = load_camera(settings.camera, settings.include)
    prefix = load_survey(camera.survey, settings.include).file_prefix
    raw = RawFileName.parse(work.quadrant["filename"])
    digests: dict[str, str] = {}
    paths: dict[ScienceSuffix, str] = {}
    kept: dict[ScienceSuffix, bytes] = {}
    for suffix, data in _encoded(found, _values(work, found, readout), restored):
        name = ScienceFileName(
            raw.epoch, raw.field, raw.filtercode, raw.ccdid, work.quadrant["qid"], suffix, prefix
        )
        lakehouse.storage.put_bytes_atomically(data, name.path)
        digests[suffix.value] = hashlib.sha256(data).hexdigest()
        paths[suffix] = name.path
        if suffix in {ScienceSuffix.IMAGE, ScienceSuffix.PSF_MODEL}:
            kept[suffix] = data
    image, psf = ScienceSuffix.IMAGE, ScienceSuffix.PSF_MODEL
    return Written(digests, paths[image], kept[image], kept[psf])


def _encoded(
    found: Calibrated, values: Values, restored: NDArray[np.float32] | None
) -> Iterator[tuple[ScienceSuffix, bytes]]:
    chain, wcs = found.chain, found.solution.wcs.header()
    _mark_sources(found)

    def cards(suffix: ScienceSuffix, **more: Any) -> list[Any]:
        return science_cards(suffix, values | more, wcs)

    unit = {"BUNIT": "adu"}
    suffix = ScienceSuffix.IMAGE
    level, noise = found.background.level, found.background.noise
    yield (
        suffix,
        encode_image(chain.image, cards(suffix, **unit), name="SCIIMG", add=level, restored=restored),
    )
    suffix = ScienceSuffix.MASK
    yield suffix, encode_image(chain.mask, cards(suffix), name="MSKIMG")
    suffix = ScienceSuffix.UNCERTAINTY
    yield suffix, encode_uncertainty(
        chain.image, noise, chain.given.facts.gain, cards(suffix, **unit), name="SCIUNC", mask=chain.mask,
        bits=UNUSABLE,
    )  # fmt: skip
    suffix = ScienceSuffix.PSF_CATALOG
    columns = catalog_columns(PSF_CATALOG, psf_columns(found))
    yield suffix, encode_table(columns, cards(suffix), name="PSFCAT")
    suffix = ScienceSuffix.APERTURE_CATALOG
    columns = catalog_columns(APERTURE_CATALOG, aperture_columns(found))
    yield suffix, encode_table(columns, cards(suffix), name="SEXCAT")
    dao = tabulate_psf(found.psf, chain.shape, found.psf.degree)
    yield ScienceSuffix.PSF_MODEL, format_psf(dao)
    suffix = ScienceSuffix.PSF_CENTRE
    ny, nx = chain.shape
    stamp = found.psf.stamp((nx - 1) / 2, (ny - 1) / 2)
    yield suffix, encode_plain_image(stamp, science_cards(suffix, values))


def _mark_sources(found: Calibrated) -> None:
    """Set the bits of detected pixels and of fitted places: signal, not blemishes."""
    mask, (ny, nx) = found.chain.mask, found.chain.shape
    found.apertures.mark_detections(mask)
    x, y = np.rint(found.points.xpos).astype(np.int64) - 1, np.rint(found.points.ypos).astype(np.int64) - 1
    inside = (x >= 0) & (x < nx) & (y >= 0) & (y < ny)
    mask[y[inside], x[inside]] |= np.uint16(MaskBit.PSF_SOURCE.flag)


def _values(work: QuadrantWork, found: Calibrated, readout: RawReadout) -> Values:
    """Return the value of every keyword; each file takes what is declared for it."""
    raw = {
        name: header.value(name)
        for header in (readout.primary, readout.header)
        for name in CARRIED
        if name in header
    }
    zero_point, chain = found.zero_point, found.chain
    values: Values = carried(raw) | {
        "MJD-OBS": work.exposure["obsmjd"],
        "NIGHT": work.exposure["night"],
        "PID": int(ProductId(ExposureId.parse(work.exposure["expid"]), work.quadrant["rcid"])),
        "STATUS": found.verdict.status,
        "INFOBITS": found.verdict.infobits,
        "RAWFILE": work.quadrant["filename"],
        "RAWSHA": work.quadrant["sha256"],
        "PROCVERS": work.version,
        "SATURATE": chain.reduced.saturation_level if chain.reduced else None,
        "SEEING": found.psf.fwhm * found.pixel_scale_arcsec,
        "SKYLEVEL": float(np.median(found.background.level.values)),
        "SKYNOISE": float(np.median(found.background.noise.values)),
        "ASTNMTCH": found.solution.n_matched,
        "ASTRRMS1": found.solution.residuals.rms[0],
        "ASTRRMS2": found.solution.residuals.rms[1],
        "MAGLIM": found.depth.limit,
        "ZPSCATT": zero_point.scatter,
        "ZPCLIP": zero_point.n_clipped,
        "CLRHELD": zero_point.colour_held,
        "FIXAPERS": ",".join(f"{d:g}" for d in chain.config.apertures.measure.diameters),
    }
    values |= {name.upper(): getattr(zero_point, name) for name in FROM_ZERO_POINT}
    values |= zero_point.spatial.header()
    growth = found.apertures.growth
    for n, (correction, error) in enumerate(zip(growth.correction, growth.error, strict=True), start=1):
        values |= {f"APCOR{n}": float(correction), f"APCORUN{n}": float(error)}
    for kind, (file, digest) in MASTER_KEYWORDS.items():
        master = work.calibration.rows[kind]
        values |= {file: master["path"].rpartition("/")[2], digest: master["sha256"]}
    return values


def psf_columns(found: Calibrated) -> dict[str, NDArray[Any]]:
    """Return the columns of psfcat: instrumental magnitudes, as ZTF has them."""
    points = found.points
    instrumental = found.mag - found.zero_point.magzp - found.zpcorr
    return {
        "sourceid": np.arange(len(points)),
        "xpos": points.xpos,
        "ypos": points.ypos,
        "ra": found.ra,
        "dec": found.dec,
        "flux": points.flux,
        "sigflux": points.sigflux,
        "mag": instrumental,
        "sigmag": found.mag_error,
        "snr": points.flux / points.sigflux,
        "chi": points.chi,
        "sharp": points.sharp,
        "flags": found.flags,
    }


def aperture_columns(found: Calibrated) -> dict[str, NDArray[Any]]:
    """Return the columns of sexcat."""
    apertures, scale = found.apertures, found.pixel_scale_arcsec / 3600.0
    ra, dec = found.solution.wcs.pixel_to_sky(apertures.xwin_image, apertures.ywin_image)
    major, minor = _error_axes(apertures)
    own = {
        "ALPHAWIN_J2000": ra,
        "DELTAWIN_J2000": dec,
        "ERRAWIN_IMAGE": major,
        "ERRBWIN_IMAGE": minor,
        "AWIN_WORLD": apertures.awin_image * scale,
        "BWIN_WORLD": apertures.bwin_image * scale,
    }
    return own | {column.name: getattr(apertures, column.attribute) for column in COLUMNS}


def _error_axes(apertures: ApertureCatalog) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the axes of the error ellipses of places, from their covariances."""
    xx, yy, xy = apertures.errx2win_image, apertures.erry2win_image, apertures.errxywin_image
    with np.errstate(invalid="ignore"):  # a place that could not be measured has an infinite error
        mean, half = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
        return np.sqrt(mean + half), np.sqrt(np.maximum(mean - half, 0))
