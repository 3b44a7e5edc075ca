"""What a raw frame is held against: camera, survey, header contract, field grid, tolerances and the clock."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.errors import DeclarationError
from zsds_tasks.survey.camera import QUADRANTS_PER_CCD, Camera, load_camera
from zsds_tasks.survey.fields import FieldGrid, load_fields
from zsds_tasks.survey.headers import HeaderContract, load_headers
from zsds_tasks.survey.survey import Survey, load_survey

Positive = Annotated[float, Field(gt=0)]
HEADER_ALLOWANCE_BYTES = 4 << 20
NEEDED_FIELDS = frozenset(
    {
        "field", "programid", "nid", "expid", "imgtype", "imgtypecode", "ccdid",
        "date_obs", "obsjd", "obsmjd", "shutter_open", "shutter_closed", "exptime",
        "telra", "teldec", "azimuth", "elevation", "rotator", "filter", "fid", "moonalt", "moonillf",
        "amp_id", "amp_name", "gain", "readnoise", "saturation",
    }
)  # fmt: skip
"""What checks and tables are made of: a header contract must require these of every frame."""


class VerificationConfig(Declaration):
    """Tolerances of the sanity checks."""

    time_tolerance_s: Positive = Field(
        1.0, description="between DATE-OBS, OBSJD, OBSMJD, SHUTOPEN; real OBSJD are rounded 0.7 s early"
    )
    shutter_tolerance_s: Positive = Field(5.0, description="of SHUTCLSD - SHUTOPEN against EXPTIME")
    clock_skew_s: Annotated[float, Field(ge=0)] = Field(60.0, description="how far in the future is believed")
    name_precedes_s: Positive = Field(
        120.0, description="the name's instant may precede the shutter by this; 0 to 50 s seen"
    )
    name_follows_s: Annotated[float, Field(ge=0)] = Field(5.0, description="... or follow it by this")
    pointing_tolerance_deg: Positive = Field(1.0, description="of telescope and field against the request")
    elevation_tolerance_deg: Positive = Field(
        2.0, description="of ELVATION against time, place and pointing; refraction reaches 0.5 at the horizon"
    )
    airmass_tolerance: Positive = Field(0.05, description="relative, of AIRMASS against ELVATION")
    airmass_checked_above_deg: float = Field(10.0, description="airmass formulae differ near the horizon")
    gain_tolerance: Positive = Field(0.3, description="relative, of GAIN against the camera's")
    scale_tolerance: Positive = Field(0.05, description="relative, of PIXSCALE against the camera's")


@dataclass(frozen=True)
class RawRules:
    """Everything `verify` holds a file against."""

    camera: Camera
    survey: Survey
    contract: HeaderContract
    fields: FieldGrid
    config: VerificationConfig
    now: dt.datetime

    @classmethod
    def load(cls, camera: str, include: Path, config: VerificationConfig, now: dt.datetime) -> RawRules:
        """Read a camera's declarations; a wrong one raises `DeclarationError`."""
        found = load_camera(camera, include)
        contract = load_headers(found.headers, include)
        sure = {k.field for k in contract.keywords if k.required and not k.when}
        if lacking := sorted(NEEDED_FIELDS - sure):
            raise DeclarationError(
                f"does not require {', '.join(lacking)} of every frame",
                subject=f"header contract {contract.name}",
                remedy="declare these fields; ingest and the raw tables are made of them",
            )
        return cls(
            camera=found,
            survey=load_survey(found.survey, include),
            contract=contract,
            fields=load_fields(found.fields, include),
            config=config,
            now=now,
        )

    @property
    def max_file_bytes(self) -> int:
        """No frame of this camera is larger: all its pixels uncompressed, a fifth more, and headers."""
        shape = self.camera.quadrant
        pixels = QUADRANTS_PER_CCD * shape.ny * (shape.nx + shape.overscan)
        return pixels * 2 * 6 // 5 + HEADER_ALLOWANCE_BYTES

    def keyword(self, field: str) -> str:
        """Return the FITS keyword that carries a field, for messages."""
        return next((k.keyword for k in self.contract.keywords if k.field == field), field)
