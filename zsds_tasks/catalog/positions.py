"""Positions as people write them: degrees or sexagesimal, checked number by number."""

from __future__ import annotations

import re

from zsds_tasks.errors import UnusableInputError

_DEGREES = re.compile(r"([+-]?)(\d{1,3}(?:\.\d*)?|\.\d+)d?")
_SEXAGESIMAL = re.compile(
    r"([+-]?)(\d{1,3})(?:[:\s]|[hd°]\s*)(\d{1,2})(?:[:\s]|[m']\s*)(\d{1,2}(?:\.\d*)?)[s\"]?"
)
_REMEDY = "give degrees (188.73, -12.5) or sexagesimal (12:34:55.2, -12:30:00); hours only in right ascension"


def parse_position(ra: str, dec: str) -> tuple[float, float]:
    """Read a position.

    Parameters
    ----------
    ra : str
        Degrees from 0 up to 360, or hours, minutes, seconds: ``12:34:55.2``, ``12h34m55.2s``, ``12 34 55.2``.
    dec : str
        Degrees, or degrees, arcminutes, arcseconds: ``-12:30:00``, ``-12d30m00s``.

    Returns
    -------
    tuple of float
        Right ascension and declination, degrees.

    Raises
    ------
    UnusableInputError
        If one is not readable or out of range.
    """
    hours = re.fullmatch(r"[+]?\d{1,2}\s*[h:\s].*", ra.strip()) is not None
    alpha = _angle(ra, "right ascension") * (15.0 if hours else 1.0)
    delta = _angle(dec, "declination")
    if "h" in dec:
        raise UnusableInputError("a declination has no hours", subject=repr(dec), remedy=_REMEDY)
    if not 0.0 <= alpha < 360.0:
        raise UnusableInputError(
            "is not from 0 up to 360 degrees", subject=f"right ascension {ra!r}", remedy=_REMEDY
        )
    if not -90.0 <= delta <= 90.0:
        raise UnusableInputError(
            "is not from -90 to 90 degrees", subject=f"declination {dec!r}", remedy=_REMEDY
        )
    return alpha, delta


def _angle(text: str, what: str) -> float:
    word = text.strip()
    plain = _DEGREES.fullmatch(word)
    if plain:
        return float(plain[1] + plain[2])
    parts = _SEXAGESIMAL.fullmatch(word)
    if parts is None:
        raise UnusableInputError("is no angle", subject=f"{what} {text!r}", remedy=_REMEDY)
    whole, minutes, seconds = float(parts[2]), float(parts[3]), float(parts[4])
    if minutes >= 60.0 or seconds >= 60.0:
        raise UnusableInputError(
            "has minutes or seconds of 60 or more", subject=f"{what} {text!r}", remedy=_REMEDY
        )
    # The sign stands for all of it: -0:30:00 lies south.
    return (-1.0 if parts[1] == "-" else 1.0) * (whole + minutes / 60.0 + seconds / 3600.0)
