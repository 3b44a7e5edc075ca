"""Names and places of every file product, in ZTF's tree (reference section 1.8): parse and print.

A name is a frozen value; ``str`` prints the file name and ``path`` the place under the archive's root.
Parsing is strict (whole match, ASCII digits), so that nothing a user or a camera sends can lead a path
elsewhere.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.survey.nights import FileFracDay

RAW_EXTENSION: Final = ".fits.fz"
_PREFIX = r"(?P<prefix>[a-z]+)"
_FILTER = r"(?P<filtercode>[A-Za-z]{2})"
_CCD = r"c(?P<ccdid>[0-9]{2})"
_FIELD = r"(?P<field>[0-9]{6})"
_QUADRANT = r"q(?P<qid>[1-4])"
_EPOCH = r"(?P<epoch>[0-9]{14})"


class ScienceSuffix(StrEnum):
    """Products of one readout channel of one on-sky exposure, differences included."""

    IMAGE = "sciimg.fits"
    UNCERTAINTY = "sciunc.fits"  # ours: ZTF serves none
    MASK = "mskimg.fits"
    PSF_CATALOG = "psfcat.fits"
    APERTURE_CATALOG = "sexcat.fits"
    PSF_MODEL = "sciimgdao.psf"
    PSF_CENTRE = "sciimgdaopsfcent.fits"
    LOG = "sciimlog.txt"
    DIFFERENCE = "scimrefdiffimg.fits.fz"
    DIFFERENCE_PSF = "diffimgpsf.fits"
    CUTOUTS = "alertcutouts.parquet"  # ours: stamps that wait for their packets
    DIFFERENCE_LOG = "diffimlog.txt"
    OVERALL_LOG = "log.txt"


class ReferenceSuffix(StrEnum):
    """Products of one reference image."""

    IMAGE = "refimg.fits"
    COVERAGE = "refcov.fits"
    UNCERTAINTY = "refunc.fits"
    PSF_CATALOG = "refpsfcat.fits"
    APERTURE_CATALOG = "refsexcat.fits"
    PSF_MODEL = "refimgdao.psf"  # ours: ZTF serves none
    IMAGE_LOG = "refimlog.txt"
    OVERALL_LOG = "log.txt"


class CalibrationKind(StrEnum):
    """Kinds of calibration product, each in a folder of its own."""

    BIAS = "bias"
    HIGH_FREQUENCY_FLAT = "hifreqflat"
    BAD_PIXELS = "badpix"
    LINEARITY = "linearity"
    SHUTTER = "shutter"
    LED_FLAT = "ledflat"
    STAR_FLAT = "starflat"


class CalibrationExtension(StrEnum):
    """What follows the kind in a calibration product's name."""

    IMAGE = ".fits"
    UNCERTAINTY = "unc.fits"
    LOG = "log.txt"


@dataclass(frozen=True, order=True)
class RawFileName:
    """A raw frame of one CCD: ``ztf_YYYYMMDDdddddd_FFFFFF_<fc>_cCC_<t>.fits.fz``."""

    epoch: FileFracDay
    field: int
    filtercode: str
    ccdid: int
    imgtypecode: str
    prefix: str = "ztf"

    def __post_init__(self) -> None:
        _check_numbers(self.field, self.ccdid)

    @classmethod
    def parse(cls, name: str) -> RawFileName:
        """Read a file name (not a path)."""
        match = _match(rf"{_PREFIX}_{_EPOCH}_{_FIELD}_{_FILTER}_{_CCD}_(?P<t>[a-z])\.fits\.fz", name, "raw")
        return cls(
            epoch=FileFracDay.parse(match["epoch"]),
            field=int(match["field"]),
            filtercode=match["filtercode"],
            ccdid=int(match["ccdid"]),
            imgtypecode=match["t"],
            prefix=match["prefix"],
        )

    def __str__(self) -> str:
        stem = f"{self.prefix}_{self.epoch}_{self.field:06d}_{self.filtercode}_c{self.ccdid:02d}"
        return f"{stem}_{self.imgtypecode}{RAW_EXTENSION}"

    @property
    def path(self) -> str:
        """``raw/YYYY/MMDD/dddddd/<name>``."""
        return f"raw/{_dated(self.epoch)}/{self}"


@dataclass(frozen=True, order=True)
class ScienceFileName:
    """A product of one readout channel: ``ztf_YYYYMMDDdddddd_FFFFFF_<fc>_cCC_o_qQ_<suffix>``."""

    epoch: FileFracDay
    field: int
    filtercode: str
    ccdid: int
    qid: int
    suffix: ScienceSuffix
    prefix: str = "ztf"

    def __post_init__(self) -> None:
        _check_numbers(self.field, self.ccdid, self.qid)

    @classmethod
    def parse(cls, name: str) -> ScienceFileName:
        """Read a file name (not a path)."""
        match = _match(
            rf"{_PREFIX}_{_EPOCH}_{_FIELD}_{_FILTER}_{_CCD}_o_{_QUADRANT}_(?P<suffix>{_any(ScienceSuffix)})",
            name,
            "science",
        )
        return cls(
            epoch=FileFracDay.parse(match["epoch"]),
            field=int(match["field"]),
            filtercode=match["filtercode"],
            ccdid=int(match["ccdid"]),
            qid=int(match["qid"]),
            suffix=ScienceSuffix(match["suffix"]),
            prefix=match["prefix"],
        )

    def __str__(self) -> str:
        stem = f"{self.prefix}_{self.epoch}_{self.field:06d}_{self.filtercode}_c{self.ccdid:02d}"
        return f"{stem}_o_q{self.qid}_{self.suffix}"

    @property
    def path(self) -> str:
        """``sci/YYYY/MMDD/dddddd/<name>``."""
        return f"sci/{_dated(self.epoch)}/{self}"


@dataclass(frozen=True, order=True)
class CalibrationFileName:
    """A calibration product of one channel and night: ``ztf_YYYYMMDD_<fc>_cCC_qQ_<kind><extension>``."""

    date: dt.date
    filtercode: str
    ccdid: int
    qid: int
    kind: CalibrationKind
    extension: CalibrationExtension
    prefix: str = "ztf"

    def __post_init__(self) -> None:
        _check_numbers(0, self.ccdid, self.qid)

    @classmethod
    def parse(cls, name: str) -> CalibrationFileName:
        """Read a file name (not a path)."""
        match = _match(
            rf"{_PREFIX}_(?P<date>[0-9]{{8}})_{_FILTER}_{_CCD}_{_QUADRANT}_"
            rf"(?P<kind>{_any(CalibrationKind)})(?P<extension>{_any(CalibrationExtension)})",
            name,
            "calibration",
        )
        return cls(
            date=FileFracDay.parse(match["date"] + "000000").date,
            filtercode=match["filtercode"],
            ccdid=int(match["ccdid"]),
            qid=int(match["qid"]),
            kind=CalibrationKind(match["kind"]),
            extension=CalibrationExtension(match["extension"]),
            prefix=match["prefix"],
        )

    def __str__(self) -> str:
        stem = f"{self.prefix}_{self.date:%Y%m%d}_{self.filtercode}_c{self.ccdid:02d}_q{self.qid}"
        return f"{stem}_{self.kind}{self.extension}"

    @property
    def path(self) -> str:
        """``cal/YYYY/MMDD/<kind>/<fc>/ccdCC/qQ/<name>``."""
        return f"cal/{self.date:%Y/%m%d}/{self.kind}/{self.filtercode}/ccd{self.ccdid:02d}/q{self.qid}/{self}"


@dataclass(frozen=True, order=True)
class ReferenceFileName:
    """A reference product: ``ztf_FFFFFF_<fc>_cCC_qQ_<suffix>``, in a folder of its version."""

    field: int
    filtercode: str
    ccdid: int
    qid: int
    suffix: ReferenceSuffix
    prefix: str = "ztf"
    version: int = 1

    def __post_init__(self) -> None:
        _check_numbers(self.field, self.ccdid, self.qid)

    @classmethod
    def parse(cls, name: str) -> ReferenceFileName:
        """Read a file name (not a path)."""
        match = _match(
            rf"{_PREFIX}_{_FIELD}_{_FILTER}_{_CCD}_{_QUADRANT}_(?P<suffix>{_any(ReferenceSuffix)})",
            name,
            "reference",
        )
        return cls(
            field=int(match["field"]),
            filtercode=match["filtercode"],
            ccdid=int(match["ccdid"]),
            qid=int(match["qid"]),
            suffix=ReferenceSuffix(match["suffix"]),
            prefix=match["prefix"],
        )

    def __str__(self) -> str:
        stem = f"{self.prefix}_{self.field:06d}_{self.filtercode}_c{self.ccdid:02d}_q{self.qid}"
        return f"{stem}_{self.suffix}"

    @property
    def path(self) -> str:
        """``ref/<ppp>/fieldFFFFFF/<fc>/ccdCC/qQ/<name>``, ppp the first three digits of the field.

        ZTF's tree has room for one version. Ours are all kept: the second lies in ``.../qQ/v2/<name>``.
        """
        field, later = f"{self.field:06d}", f"v{self.version}/" if self.version > 1 else ""
        channel = f"{self.filtercode}/ccd{self.ccdid:02d}/q{self.qid}"
        return f"ref/{field[:3]}/field{field}/{channel}/{later}{self}"


def _dated(epoch: FileFracDay) -> str:
    return f"{epoch.date:%Y/%m%d}/{epoch.fraction:06d}"


def _any(words: type[StrEnum]) -> str:
    return "|".join(re.escape(word.value) for word in words)


def _match(pattern: str, name: str, kind: str) -> re.Match[str]:
    match = re.fullmatch(pattern, name, flags=re.ASCII)
    if match is None:
        raise UnusableInputError(f"not the name of a {kind} product", subject=repr(name))
    return match


def _check_numbers(field: int, ccdid: int, qid: int = 1) -> None:
    if not (0 <= field <= 999_999 and 1 <= ccdid <= 99 and 1 <= qid <= 4):
        raise UnusableInputError("number out of range for a file name", field=field, ccdid=ccdid, qid=qid)
