"""Identifiers computed from the data, as ZTF's (reference section 1.7): parse, print, order.

All are 64-bit signed integers. None is random and none is a counter, so a re-run gives the same ones.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.survey.camera import QUADRANTS_PER_CCD
from zsds_tasks.survey.nights import MJD_ZERO, utc

EXPID_STEPS = 100_000  # of a day: 0.864 s
RAW_PPID = 0
SCIENCE_PPID = 15  # of the science and differencing chain
FOUNDED = 50_000_000  # numbers of seeds from here on are of founded ones
POSITIVE = 5_000  # added for a positive detection, so a table may hold this many of either sign


@dataclass(frozen=True, order=True)
class ExposureId:
    """An exposure: night number and the hundred-thousandth of the UT day in which the shutter opened."""

    nid: int
    fraction: int

    def __post_init__(self) -> None:
        _check(0 <= self.nid <= 99_999, "nid must be 0 to 99999", self.nid)
        _check(0 <= self.fraction < EXPID_STEPS, "day fraction must be 0 to 99999", self.fraction)

    @classmethod
    def of(cls, shutter_open: dt.datetime, night_zero: dt.date) -> ExposureId:
        """Return the identifier of an exposure: nid 10^5 + floor(10^5 frac(OBSMJD))."""
        instant = utc(shutter_open)
        elapsed = instant - MJD_ZERO
        fraction = (elapsed - dt.timedelta(days=elapsed.days)) * EXPID_STEPS // dt.timedelta(days=1)
        return cls((instant.date() - night_zero).days, fraction)

    @classmethod
    def parse(cls, value: int | str) -> ExposureId:
        """Read the integer or its digits."""
        return cls(*divmod(_integer(value), EXPID_STEPS))

    def __int__(self) -> int:
        return self.nid * EXPID_STEPS + self.fraction

    def __str__(self) -> str:
        return str(int(self))


@dataclass(frozen=True, order=True)
class ProductId:
    """A product of one readout channel of one exposure (``pid``): expid 10^4 + rcid 10^2 + ppid."""

    exposure: ExposureId
    rcid: int
    ppid: int = SCIENCE_PPID

    def __post_init__(self) -> None:
        _check(0 <= self.rcid <= 99, "rcid must be 0 to 99", self.rcid)
        _check(0 <= self.ppid <= 99, "ppid must be 0 to 99", self.ppid)

    @classmethod
    def parse(cls, value: int | str) -> ProductId:
        """Read the integer or its digits."""
        rest, ppid = divmod(_integer(value), 100)
        expid, rcid = divmod(rest, 100)
        return cls(ExposureId.parse(expid), rcid, ppid)

    def __int__(self) -> int:
        return (int(self.exposure) * 100 + self.rcid) * 100 + self.ppid

    def __str__(self) -> str:
        return str(int(self))


@dataclass(frozen=True, order=True)
class CandidateId:
    """A difference-image detection (``candid``): pid 10^6 + pass 10^4 + (5000 if positive) + row.

    The pass of the differencing over its quadrant is 1 normally; 2, 6, 9 and 11 are seen in real alerts of
    nights that were processed again.
    """

    product: ProductId
    number: int
    is_positive: bool
    row: int

    def __post_init__(self) -> None:
        _check(0 <= self.number <= 99, "pass must be 0 to 99", self.number)
        _check(0 <= self.row < POSITIVE, f"row must be 0 to {POSITIVE - 1}", self.row)

    @classmethod
    def parse(cls, value: int | str) -> CandidateId:
        """Read the integer or its digits."""
        pid, rest = divmod(_integer(value), 1_000_000)
        number, rest = divmod(rest, 10_000)
        is_positive, row = divmod(rest, POSITIVE)
        return cls(ProductId.parse(pid), number, bool(is_positive), row)

    def __int__(self) -> int:
        return int(self.product) * 1_000_000 + self.number * 10_000 + self.is_positive * POSITIVE + self.row

    def __str__(self) -> str:
        return str(int(self))


@dataclass(frozen=True, order=True)
class ReferenceId:
    """A reference image (``rfid``): field, 120, fid, rcid."""

    field: int
    fid: int
    rcid: int

    def __post_init__(self) -> None:
        _check(1 <= self.field <= 999_999, "field must be 1 to 999999", self.field)
        _check(1 <= self.fid <= 9, "fid must be 1 to 9", self.fid)
        _check(0 <= self.rcid <= 99, "rcid must be 0 to 99", self.rcid)

    @classmethod
    def parse(cls, value: int | str) -> ReferenceId:
        """Read the integer or its digits."""
        rest, rcid = divmod(_integer(value), 100)
        rest, fid = divmod(rest, 10)
        field, marker = divmod(rest, 1000)
        _check(marker == 120, "the digits 120 must follow the field", value)
        return cls(field, fid, rcid)

    def __int__(self) -> int:
        return ((self.field * 1000 + 120) * 10 + self.fid) * 100 + self.rcid

    def __str__(self) -> str:
        return str(int(self))


@dataclass(frozen=True, order=True)
class LightCurveId:
    """A released light curve (``oid``): field, fid, ccdid (2), qid, sequence (8)."""

    field: int
    fid: int
    ccdid: int
    qid: int
    sequence: int

    def __post_init__(self) -> None:
        _check(1 <= self.field <= 999_999, "field must be 1 to 999999", self.field)
        _check(1 <= self.fid <= 9, "fid must be 1 to 9", self.fid)
        _check(1 <= self.ccdid <= 99, "ccdid must be 1 to 99", self.ccdid)
        _check(1 <= self.qid <= QUADRANTS_PER_CCD, "qid must be 1 to 4", self.qid)
        _check(0 <= self.sequence < 10**8, "sequence must have eight digits", self.sequence)

    @classmethod
    def parse(cls, value: int | str) -> LightCurveId:
        """Read the integer or its digits."""
        rest, sequence = divmod(_integer(value), 10**8)
        rest, qid = divmod(rest, 10)
        rest, ccdid = divmod(rest, 100)
        field, fid = divmod(rest, 10)
        return cls(field, fid, ccdid, qid, sequence)

    def __int__(self) -> int:
        return (((self.field * 10 + self.fid) * 100 + self.ccdid) * 10 + self.qid) * 10**8 + self.sequence

    def __str__(self) -> str:
        return str(int(self))


@dataclass(frozen=True, order=True)
class ObjectId(LightCurveId):
    """A seed (``objectid``): the identifier of its light curve, whose sequence says where it came from.

    Below 5 10^7 it is the number of a source of the reference image; from there on, the cell in which the
    detection that founded the seed lies, so a rebuild gives the same one.
    """

    @property
    def is_founded(self) -> bool:
        """Whether no source of the reference image stands behind it."""
        return self.sequence >= FOUNDED


def _integer(value: int | str) -> int:
    text = str(value)
    _check(text.isascii() and text.isdigit() and len(text) <= 19, "not an identifier: digits only", value)
    return int(text)


def _check(ok: bool, reason: str, value: object) -> None:
    if not ok:
        raise UnusableInputError(reason, subject=repr(value))
