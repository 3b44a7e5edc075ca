"""The files of a reference: co-add, coverage, uncertainty, PSF and both catalogues."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.pixels.compressed import Card, encode_image
from zsds_tasks.pixels.fits_tables import encode_table
from zsds_tasks.products.fits_tables import APERTURE_CATALOG, PSF_CATALOG, catalog_columns
from zsds_tasks.products.psf_files import format_psf, tabulate_psf
from zsds_tasks.science.reference.build import Reference
from zsds_tasks.settings import Settings
from zsds_tasks.steps.exposure.calibrated import Calibrated
from zsds_tasks.steps.exposure.files import aperture_columns, psf_columns
from zsds_tasks.steps.references.work import ReferenceWork
from zsds_tasks.survey.camera import load_camera
from zsds_tasks.survey.filenames import ReferenceFileName, ReferenceSuffix
from zsds_tasks.survey.survey import load_survey


def write_reference(
    work: ReferenceWork, reference: Reference, found: Calibrated, settings: Settings, lakehouse: Lakehouse
) -> tuple[dict[str, str], str]:
    """Write the files of a reference.

    Returns
    -------
    products : dict
        SHA-256 by suffix.
    path : str
        Of the co-add, under the archive's root.
    """
    camera = load_camera(settings.camera, settings.include)
    prefix = load_survey(camera.survey, settings.include).file_prefix
    first = work.epochs[0]
    digests: dict[str, str] = {}
    path = ""
    for suffix, data in _encoded(work, reference, found):
        name = ReferenceFileName(
            work.rfid.field, first["filtercode"], first["ccdid"], first["qid"], suffix, prefix, work.version
        )
        lakehouse.storage.put_bytes_atomically(data, name.path)
        digests[suffix.value] = hashlib.sha256(data).hexdigest()
        path = name.path if suffix == ReferenceSuffix.IMAGE else path
    return digests, path


def _encoded(
    work: ReferenceWork, reference: Reference, found: Calibrated
) -> Iterator[tuple[ReferenceSuffix, bytes]]:
    image = np.where(reference.coverage > 0, found.chain.image, np.float32(np.nan))
    cards = list(_cards(work, reference, found))
    yield ReferenceSuffix.IMAGE, encode_image(image, cards, name="REFIMG")
    yield ReferenceSuffix.COVERAGE, encode_image(reference.coverage.astype(np.uint16), cards, name="REFCOV")
    yield ReferenceSuffix.UNCERTAINTY, encode_image(reference.uncertainty, cards, name="REFUNC")
    columns = catalog_columns(PSF_CATALOG, psf_columns(found))
    yield ReferenceSuffix.PSF_CATALOG, encode_table(columns, cards, name="PSFCAT")
    columns = catalog_columns(APERTURE_CATALOG, aperture_columns(found))
    yield ReferenceSuffix.APERTURE_CATALOG, encode_table(columns, cards, name="SEXCAT")
    yield ReferenceSuffix.PSF_MODEL, format_psf(tabulate_psf(found.psf, reference.shape, found.psf.degree))


def _cards(work: ReferenceWork, reference: Reference, found: Calibrated) -> Iterator[Card]:
    """Yield the keywords of every file of a reference."""
    first, zero_point = work.epochs[0], found.zero_point
    yield "RFID", int(work.rfid), "reference"
    yield "RFVERS", work.version, "its version"
    yield "FIELDID", work.rfid.field, "field of the grid"
    yield "FILTERID", work.rfid.fid, "filter number"
    yield "RCID", work.rfid.rcid, "readout channel"
    yield "CCDID", first["ccdid"], "CCD"
    yield "QID", first["qid"], "quadrant"
    yield "NFRAMES", len(work.epochs), "epochs"
    yield "JDSTART", work.epochs[0]["obsjd"], "[d] shutter open of the first epoch (JD)"
    yield "JDEND", work.epochs[-1]["obsjd"], "[d] shutter open of the last epoch (JD)"
    yield "BUNIT", "adu", "unit of fluxes"
    yield "GAIN", reference.gain, "[electron/adu] of the weighted mean"
    yield "ZPFIXED", reference.zero_point, "[mag] to which the epochs were scaled"
    yield "MAGZP", zero_point.magzp, "[mag] zero point of its own stars"
    yield "MAGZPUNC", zero_point.magzpunc, "[mag] formal error"
    yield "MAGZPRMS", zero_point.magzprms, "[mag] scatter of the calibrators"
    yield "CLRCOEFF", zero_point.clrcoeff, "colour coefficient"
    for name, number in zero_point.spatial.header().items():
        yield name, number, "of the spatial term of MAGZP, as in science images"
    yield "MAGLIM", found.depth.limit, "[mag] of a point source at 5 sigma"
    yield "SEEING", found.psf.fwhm * found.pixel_scale_arcsec, "[arcsec] FWHM"
    yield "PROCVERS", work.processing_version, "processing version"
    for name, value in found.solution.wcs.header().items():
        yield name, value, ""
