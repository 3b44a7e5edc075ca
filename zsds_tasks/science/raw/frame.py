"""A raw frame of one CCD that has passed every check."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zsds_tasks.sky.tangent import deproject
from zsds_tasks.survey.camera import Camera
from zsds_tasks.survey.filenames import RawFileName
from zsds_tasks.survey.identifiers import ExposureId
from zsds_tasks.survey.nights import ObservingNight


@dataclass(frozen=True)
class RawFrame:
    """One CCD of one exposure: what its headers say, by the contract's field names.

    Parameters
    ----------
    name : RawFileName
    exposure : ExposureId
    shutter_open : datetime.datetime
        UTC, from OBSMJD.
    night : ObservingNight
    values : mapping
        Fields of the primary header; optional ones that are absent are not in it.
    quadrants : tuple of mapping
        Fields of the four image headers, in order of qid.
    """

    name: RawFileName
    exposure: ExposureId
    shutter_open: dt.datetime
    night: ObservingNight
    values: Mapping[str, Any]
    quadrants: tuple[Mapping[str, Any], ...]


def nominal_centres(
    camera: Camera, ccdid: int, pointing: tuple[float, float], rotator_deg: float
) -> tuple[tuple[float, float], ...]:
    """Return where the centres of a CCD's quadrants point, by the telescope's word.

    Parameters
    ----------
    camera : Camera
    ccdid : int
    pointing : (ra, dec), degrees
        What the telescope reports for the camera's centre.
    rotator_deg : float
        Position angle of camera north.

    Returns
    -------
    tuple of (ra, dec), degrees
        In order of qid. No astrometric solution: good to the pointing error.
    """
    quadrants = camera.quadrants_of(ccdid)
    ra, dec = deproject(
        [q.centre_east_arcsec for q in quadrants],
        [q.centre_north_arcsec for q in quadrants],
        pointing,
        rotator_deg,
    )
    return tuple((float(a), float(d)) for a, d in zip(ra, dec, strict=True))
