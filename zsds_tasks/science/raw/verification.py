"""Verify a delivered file: from the name inward to the pixels, then what the headers claim.

A broken shell ends the examination at once, since nothing inside it can be trusted; once the shell holds,
all further defects are found and named together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.pixels.fits import (
    Hdu,
    NotFitsError,
    StructureError,
    TruncatedError,
    checksum_faults,
    scan,
)
from zsds_tasks.pixels.images import image_shape, read_image
from zsds_tasks.pixels.tile_table import DecodeError
from zsds_tasks.science.raw import sanity
from zsds_tasks.science.raw.contract import read_fields
from zsds_tasks.science.raw.defects import DefectCode, Refusal
from zsds_tasks.science.raw.frame import RawFrame
from zsds_tasks.science.raw.rules import RawRules
from zsds_tasks.survey.camera import QUADRANTS_PER_CCD
from zsds_tasks.survey.filenames import RawFileName
from zsds_tasks.survey.identifiers import ExposureId
from zsds_tasks.survey.nights import ObservingNight, from_mjd

N_HDUS = 1 + 2 * QUADRANTS_PER_CCD  # primary, images of qid 1 to 4, overscans of qid 1 to 4


class _RefusedError(Exception):
    """Ends the examination."""

    def __init__(self, code: DefectCode, *reasons: str, **facts: Any) -> None:
        self.refusal = Refusal.of(code, *reasons, **facts)


def verify(data: bytes, filename: str, rules: RawRules) -> RawFrame | Refusal:
    """Examine one delivered file.

    Parameters
    ----------
    data : bytes
        Its whole content.
    filename : str
        Its name, without folders.
    rules : RawRules
        What it is held against.

    Returns
    -------
    RawFrame or Refusal
        Never raises for what the bytes or the name contain.
    """
    try:
        name = _name(filename, rules)
        hdus = _shell(data, rules)
        _pixels(data, hdus, rules)
        values, quadrants = _fields(hdus, name, rules)
    except _RefusedError as refused:
        return refused.refusal
    defects = [
        *sanity.camera_defects(values, quadrants, name.ccdid, rules),
        *sanity.identity_defects(name, values, rules),
        *sanity.time_defects(values, rules),
        *sanity.pointing_defects(values, rules),
    ]
    if defects:
        return Refusal(tuple(defects), {"expid": values["expid"]})
    start = from_mjd(values["obsmjd"])
    return RawFrame(
        name=name,
        exposure=ExposureId.parse(values["expid"]),
        shutter_open=start,
        night=ObservingNight.containing(start, rules.camera.site.noon_utc_hour),
        values=values,
        quadrants=quadrants,
    )


def oversize_reason(size: int, rules: RawRules) -> str:
    """Say that a file is larger than any frame of the camera."""
    return f"{size} bytes; no frame of camera {rules.camera.name} exceeds {rules.max_file_bytes}"


def _name(filename: str, rules: RawRules) -> RawFileName:
    survey, camera = rules.survey, rules.camera
    try:
        name = RawFileName.parse(filename)
    except UnusableInputError as error:
        raise _RefusedError(DefectCode.NOT_A_RAW_NAME, error.reason) from error
    if name.prefix != survey.file_prefix:
        raise _RefusedError(
            DefectCode.NOT_A_RAW_NAME, f"prefix {name.prefix}, the survey's is {survey.file_prefix}"
        )
    if name.filtercode not in survey.filter_codes:
        raise _RefusedError(
            DefectCode.NOT_A_RAW_NAME, f"filter code {name.filtercode} is none of the survey's"
        )
    if name.imgtypecode not in {kind.code for kind in survey.image_types}:
        raise _RefusedError(
            DefectCode.NOT_A_RAW_NAME, f"image type {name.imgtypecode} is none of the survey's"
        )
    if name.ccdid not in camera.ccdids:
        raise _RefusedError(
            DefectCode.WRONG_CAMERA, f"CCD {name.ccdid}, camera {camera.name} has 1 to {camera.n_ccds}"
        )
    return name


def _shell(data: bytes, rules: RawRules) -> tuple[Hdu, ...]:
    """Headers, sizes, checksums, the camera's own words, and the number of HDUs."""
    if len(data) > rules.max_file_bytes:
        raise _RefusedError(DefectCode.OVERSIZED, oversize_reason(len(data), rules))
    try:
        hdus = scan(data)
    except NotFitsError as error:
        raise _RefusedError(DefectCode.NOT_FITS, error.reason) from error
    except TruncatedError as error:
        raise _RefusedError(DefectCode.TRUNCATED, error.reason) from error
    except StructureError as error:
        raise _RefusedError(DefectCode.WRONG_STRUCTURE, error.reason) from error
    if faults := list(checksum_faults(data, hdus)):
        raise _RefusedError(DefectCode.CHECKSUM_MISMATCH, *faults)
    if foreign := list(_foreign_words(hdus[0], rules)):
        raise _RefusedError(DefectCode.WRONG_CAMERA, *foreign)
    if len(hdus) != N_HDUS:
        raise _RefusedError(DefectCode.WRONG_STRUCTURE, f"{len(hdus)} HDUs, a raw frame has {N_HDUS}")
    return hdus


def _foreign_words(primary: Hdu, rules: RawRules) -> Iterator[str]:
    for field, wanted in rules.camera.observatory.model_dump().items():
        keyword = rules.keyword(field)
        found = primary.header.text(keyword)
        if found and found != wanted:
            yield f"{keyword} is {found[:40]!r}, camera {rules.camera.name} writes {wanted!r}"


def _pixels(data: bytes, hdus: tuple[Hdu, ...], rules: RawRules) -> None:
    """Shapes first, since they bound what decoding allocates; then every tile must decode."""
    quadrant = rules.camera.quadrant
    widths = [quadrant.nx] * QUADRANTS_PER_CCD + [quadrant.overscan] * QUADRANTS_PER_CCD
    try:
        shapes = [image_shape(hdu) for hdu in hdus[1:]]
    except StructureError as error:
        raise _RefusedError(DefectCode.WRONG_STRUCTURE, error.reason) from error
    wrong = [
        f"HDU {hdu.number} is {shape.ny} x {shape.nx} pixels, the camera has {quadrant.ny} x {nx}"
        for hdu, shape, nx in zip(hdus[1:], shapes, widths, strict=True)
        if (shape.ny, shape.nx) != (quadrant.ny, nx)
    ]
    if wrong:
        raise _RefusedError(DefectCode.WRONG_SHAPE, *wrong)
    for hdu, shape in zip(hdus[1:], shapes, strict=True):
        try:
            read_image(data, hdu, shape)
        except StructureError as error:
            raise _RefusedError(DefectCode.WRONG_STRUCTURE, error.reason) from error
        except DecodeError as error:
            raise _RefusedError(DefectCode.UNDECODABLE, error.reason) from error


def _fields(
    hdus: tuple[Hdu, ...], name: RawFileName, rules: RawRules
) -> tuple[dict[str, Any], tuple[Mapping[str, Any], ...]]:
    """Read the contract's keywords from the primary and the four image headers."""
    values, faults = read_fields(
        hdus[0].header, rules.contract.of("exposure", "ccd"), name.imgtypecode, where=""
    )
    quadrants = []
    for hdu in hdus[1 : 1 + QUADRANTS_PER_CCD]:
        found, wrong = read_fields(
            hdu.header, rules.contract.of("quadrant"), name.imgtypecode, where=f"HDU {hdu.number}"
        )
        quadrants.append(found)
        faults += wrong
    code = values.get("imgtypecode")
    if code is not None and code not in {kind.code for kind in rules.survey.image_types}:
        faults.append(f"{rules.keyword('imgtypecode')} is {code!r}, none of the survey's image types")
    if faults:
        raise _RefusedError(DefectCode.HEADER_CONTRACT, *faults)
    return values, tuple(quadrants)
