"""Observing nights and the ways this survey writes an instant: nid, filefracday, JD, MJD.

An instant is an aware UTC `datetime`. Arithmetic is in whole microseconds, so that printing and parsing are
exact inverses. An observing night is named by the UT date of its morning; it runs from one local noon of the
site to the next, so that afternoon calibrations belong to the night they serve.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

from zsds_tasks.errors import UnusableInputError

MJD_ZERO = dt.datetime(1858, 11, 17, tzinfo=dt.UTC)
JD_OF_MJD_ZERO = 2_400_000.5
MICROSECONDS_PER_DAY = 86_400_000_000
FRACTION_STEPS = 1_000_000  # of a day in filefracday: 86.4 ms


@dataclass(frozen=True, order=True)
class ObservingNight:
    """One night, named by the UT date of its morning.

    Parameters
    ----------
    date : datetime.date
        UT date of the morning.
    """

    date: dt.date

    @classmethod
    def parse(cls, text: str) -> ObservingNight:
        """Read ``YYYYMMDD`` or ``YYYY-MM-DD``."""
        # The pattern keeps out what fromisoformat also takes: week dates, full-width digits.
        digits = text if re.fullmatch(r"[0-9]{8}|[0-9]{4}-[0-9]{2}-[0-9]{2}", text) else ""
        try:
            return cls(dt.date.fromisoformat(digits))
        except ValueError as error:
            raise UnusableInputError(
                "not an observing night", subject=repr(text), remedy="write it as YYYYMMDD or YYYY-MM-DD"
            ) from error

    @classmethod
    def containing(cls, instant: dt.datetime, noon_utc_hour: int) -> ObservingNight:
        """Return the night an instant belongs to, at a site whose noon is at this UT hour."""
        shifted = utc(instant) - dt.timedelta(hours=noon_utc_hour)
        # From a noon hour of 12 on, the night that starts at noon ends on the next UT date.
        return cls(shifted.date() + dt.timedelta(days=1 if noon_utc_hour >= 12 else 0))

    def bounds(self, noon_utc_hour: int) -> tuple[dt.datetime, dt.datetime]:
        """Return the first instant of the night and the first one after it."""
        day = self.date - dt.timedelta(days=1 if noon_utc_hour >= 12 else 0)
        start = dt.datetime.combine(day, dt.time(noon_utc_hour), tzinfo=dt.UTC)
        return start, start + dt.timedelta(days=1)

    def nid(self, night_zero: dt.date) -> int:
        """Return the night number: days since the survey's zero."""
        return (self.date - night_zero).days

    def __str__(self) -> str:
        return f"{self.date:%Y%m%d}"


@dataclass(frozen=True, order=True)
class FileFracDay:
    """The instant in a file name: UT date and a millionth-of-a-day fraction, ``YYYYMMDDdddddd``.

    It precedes the shutter's opening by up to a minute in real data: never take a time from it.
    """

    date: dt.date
    fraction: int

    def __post_init__(self) -> None:
        if not 0 <= self.fraction < FRACTION_STEPS:
            raise UnusableInputError("fraction of day must have six digits", subject=str(self.fraction))

    @classmethod
    def of(cls, instant: dt.datetime) -> FileFracDay:
        """Return the name of an instant, rounded down."""
        instant = utc(instant)
        return cls(instant.date(), _microseconds_of_day(instant) * FRACTION_STEPS // MICROSECONDS_PER_DAY)

    @classmethod
    def parse(cls, text: str) -> FileFracDay:
        """Read ``YYYYMMDDdddddd``."""
        if re.fullmatch(r"[0-9]{14}", text) is None:
            raise UnusableInputError("not YYYYMMDD and six digits", subject=repr(text))
        return cls(ObservingNight.parse(text[:8]).date, int(text[8:]))

    @property
    def start(self) -> dt.datetime:
        """The first instant with this name (to a microsecond)."""
        midnight = dt.datetime.combine(self.date, dt.time(), tzinfo=dt.UTC)
        return midnight + dt.timedelta(
            microseconds=-(-self.fraction * MICROSECONDS_PER_DAY // FRACTION_STEPS)
        )

    def __str__(self) -> str:
        return f"{self.date:%Y%m%d}{self.fraction:06d}"


def utc(instant: dt.datetime) -> dt.datetime:
    """Return the instant in UTC; a naive one is refused rather than guessed."""
    if instant.tzinfo is None:
        raise UnusableInputError("instant has no time zone", subject=str(instant), remedy="give UTC")
    return instant.astimezone(dt.UTC)


def mjd(instant: dt.datetime) -> float:
    """Return the Modified Julian Date (UTC days) of an instant; good to about a microsecond."""
    elapsed = utc(instant) - MJD_ZERO
    return elapsed.days + (elapsed.seconds * 1_000_000 + elapsed.microseconds) / MICROSECONDS_PER_DAY


def jd(instant: dt.datetime) -> float:
    """Return the Julian Date (UTC days) of an instant; a float holds it to about 40 microseconds."""
    return mjd(instant) + JD_OF_MJD_ZERO


def from_mjd(value: float) -> dt.datetime:
    """Return the instant of a Modified Julian Date, to the nearest microsecond."""
    days = int(value // 1)
    return MJD_ZERO + dt.timedelta(days=days, microseconds=round((value - days) * MICROSECONDS_PER_DAY))


def _microseconds_of_day(instant: dt.datetime) -> int:
    midnight = dt.datetime.combine(instant.date(), dt.time(), tzinfo=dt.UTC)
    return (instant - midnight) // dt.timedelta(microseconds=1)
