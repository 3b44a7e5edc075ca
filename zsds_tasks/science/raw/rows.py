"""From a verified frame to its rows in raw_quadrants and raw_exposures."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from zsds_tasks.science.raw.frame import RawFrame, nominal_centres
from zsds_tasks.survey.camera import Camera
from zsds_tasks.survey.survey import Survey

SHARED_COLUMNS = ("filefracday", "obsmjd", "exptime", "field", "fid", "imgtypecode", "programid", "led")
"""Columns of raw_exposures that every CCD of an exposure must agree on."""


@dataclass(frozen=True)
class ArchivedFile:
    """The bytes of a frame."""

    sha256: str
    size: int
    received_at: dt.datetime


def quadrant_rows(
    frame: RawFrame, file: ArchivedFile, camera: Camera, survey: Survey
) -> list[dict[str, Any]]:
    """Return the four rows of raw_quadrants of one frame, in order of qid."""
    values = frame.values
    pointing = (values["telra"], values["teldec"])
    centres = nominal_centres(camera, frame.name.ccdid, pointing, values["rotator"])
    shared = _shared(frame, survey) | {
        "ccdid": frame.name.ccdid,
        "filename": str(frame.name),
        "path": frame.name.path,
        "sha256": file.sha256,
        "file_size": file.size,
        "received_at": file.received_at,
    }
    rows = []
    for quadrant, header, (ra, dec) in zip(
        camera.quadrants_of(frame.name.ccdid), frame.quadrants, centres, strict=True
    ):
        detector = {name: header[name] for name in ("amp_id", "amp_name", "gain", "readnoise", "saturation")}
        own = {"rcid": quadrant.rcid, "qid": quadrant.qid, "hdu": quadrant.qid, "ra": ra, "dec": dec}
        rows.append(shared | detector | own)
    return rows


def exposure_row(frame: RawFrame, camera: Camera, survey: Survey) -> dict[str, Any]:
    """Return the row of raw_exposures as this frame's header tells it.

    The counts and times of arrival (n_ccds, first_received, last_received) are the archive's to add.
    """
    values = frame.values
    program = survey.program(values["programid"])
    names = (
        "obsmjd", "exptime", "rotator", "azimuth", "elevation", "imgtype", "moonillf", "moonalt",
    )  # fmt: skip
    optional = ("airmass", "led", "humidity", "temperature")
    return (
        _shared(frame, survey)
        | {name: values[name] for name in names}
        | {name: values.get(name) for name in optional}
        | {
            "camera": camera.name,
            "obsdate": frame.shutter_open,
            "ra": values["telra"],
            "dec": values["teldec"],
            "filefracday": str(frame.name.epoch),
            "n_ccds_expected": camera.n_ccds,
            "ipac_gid": program.group,
            "ipac_pub_date": program.public_from(frame.shutter_open),
        }
    )


def _shared(frame: RawFrame, survey: Survey) -> dict[str, Any]:
    values = frame.values
    return {
        "expid": int(frame.exposure),
        "nid": frame.exposure.nid,
        "night": str(frame.night),
        "obsjd": values["obsjd"],
        "field": values["field"],
        "fid": values["fid"],
        "filtercode": frame.name.filtercode,
        "imgtypecode": values["imgtypecode"],
        "programid": values["programid"],
        "is_science": survey.is_science(values["imgtypecode"], values["programid"]),
    }
