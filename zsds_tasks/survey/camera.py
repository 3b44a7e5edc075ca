"""A camera as its YAML file describes it: CCDs, quadrants, amplifiers, where each lies in the focal plane.

Focal-plane coordinates (east, north) are arcseconds on the tangent plane, measured from the camera's centre
with north up and the rotator at zero. Pixel coordinates are FITS 1-based: the centre of the first pixel is 1.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from zsds_tasks.declarations import Declaration, read_declaration

QUADRANTS_PER_CCD = 4
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class Observatory(Declaration):
    """What the camera writes about itself into headers."""

    origin: str
    telescope: str
    instrument: str


class Site(Declaration):
    """Where the telescope stands; noon_utc_hour separates one observing night from the next."""

    name: str
    mpc_code: Annotated[str, Field(pattern=r"^[0-9A-Z]\d\d$")]
    latitude_deg: Annotated[float, Field(ge=-90, le=90)]
    longitude_deg: Annotated[float, Field(ge=-180, le=180)]
    elevation_m: float
    noon_utc_hour: Annotated[int, Field(ge=0, le=23)]


class ExposureTimes(Declaration):
    """Nominal times of the standard exposure, seconds."""

    standard_s: Positive
    readout_s: Positive
    cycle_s: Positive


class Mosaic(Declaration):
    """The grid of CCDs."""

    columns: Count
    rows: Count
    pixel_scale_arcsec: Positive
    column_gap_arcsec: Annotated[float, Field(ge=0)]
    row_gap_arcsec: Annotated[float, Field(ge=0)]


class QuadrantShape(Declaration):
    """Pixels of one readout channel; overscan columns are stored in an extension of their own."""

    nx: Count
    ny: Count
    overscan: Count


class PixelAxes(Declaration):
    """Which way the axes of stored images point on the sky."""

    x: Literal["east", "west"]
    y: Literal["north", "south"]


class Position(StrEnum):
    """Place of a quadrant in its CCD on the sky."""

    NE = "NE"
    NW = "NW"
    SW = "SW"
    SE = "SE"


class Amplifier(Declaration):
    """One of the four amplifiers of every CCD."""

    qid: Annotated[int, Field(ge=1, le=QUADRANTS_PER_CCD)]
    position: Position
    amp_id: Annotated[int, Field(ge=0, le=QUADRANTS_PER_CCD - 1)]
    name: str
    read_x: Literal[1, -1]
    read_y: Literal[1, -1]


class Linearity(Declaration):
    """Coefficients of DN_true = x / (a x^2 + b x + 1), x the overscan-subtracted raw DN."""

    a: float
    b: float


class Detector(Declaration):
    """What one readout channel does to light."""

    gain: Positive
    read_noise: Positive
    saturation: Annotated[float, Field(gt=0, le=65535)]
    dark_current: Annotated[float, Field(ge=0)]
    linearity: Linearity


class ChannelOverride(Declaration):
    """Values of one readout channel that differ from the camera's common ones."""

    gain: Positive | None = None
    read_noise: Positive | None = None
    saturation: Annotated[float, Field(gt=0, le=65535)] | None = None
    dark_current: Annotated[float, Field(ge=0)] | None = None
    linearity: Linearity | None = None


class Quadrant(Declaration):
    """One readout channel: its numbers, its place and its detector."""

    rcid: int
    ccdid: int
    amplifier: Amplifier
    detector: Detector
    centre_east_arcsec: float
    centre_north_arcsec: float

    @property
    def qid(self) -> int:
        """Number of the quadrant in its CCD, 1 to 4."""
        return self.amplifier.qid


class Camera(Declaration):
    """A mosaic camera. Obtain one with `load_camera`."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
    description: str
    survey: str
    fields: str
    headers: str
    observatory: Observatory
    site: Site
    exposure: ExposureTimes
    mosaic: Mosaic
    quadrant: QuadrantShape
    pixel_axes: PixelAxes
    amplifiers: tuple[Amplifier, ...]
    detector: Detector
    channels: dict[int, ChannelOverride]

    @model_validator(mode="after")
    def _check(self) -> Camera:
        if [a.qid for a in self.amplifiers] != list(range(1, QUADRANTS_PER_CCD + 1)):
            raise ValueError("amplifiers must list qid 1, 2, 3, 4 in this order")
        if len({a.position for a in self.amplifiers}) != QUADRANTS_PER_CCD:
            raise ValueError("amplifiers must have four different positions")
        unknown = sorted(set(self.channels) - set(range(self.n_quadrants)))
        if unknown:
            raise ValueError(f"channels names rcid {unknown}, the camera has 0 to {self.n_quadrants - 1}")
        return self

    @property
    def n_ccds(self) -> int:
        """How many CCDs, and so how many raw files an exposure has."""
        return self.mosaic.columns * self.mosaic.rows

    @property
    def n_quadrants(self) -> int:
        """How many readout channels."""
        return self.n_ccds * QUADRANTS_PER_CCD

    @property
    def ccdids(self) -> range:
        """The numbers of the CCDs, from 1."""
        return range(1, self.n_ccds + 1)

    @property
    def axis_signs(self) -> tuple[int, int]:
        """(d east/d x, d north/d y) as signs."""
        return (1 if self.pixel_axes.x == "east" else -1, 1 if self.pixel_axes.y == "north" else -1)

    @cached_property
    def quadrants(self) -> tuple[Quadrant, ...]:
        """Every readout channel, in order of rcid."""
        return tuple(self._quadrant(rcid) for rcid in range(self.n_quadrants))

    def quadrants_of(self, ccdid: int) -> tuple[Quadrant, ...]:
        """Return the four channels of one CCD, in order of qid."""
        first = rcid_of(ccdid, 1)
        return self.quadrants[first : first + QUADRANTS_PER_CCD]

    def focal_plane(self, rcid: int, x: float, y: float) -> tuple[float, float]:
        """Nominal focal-plane place (east, north; arcsec) of a 1-based pixel position; arrays work too."""
        quadrant, (sign_x, sign_y) = self.quadrants[rcid], self.axis_signs
        scale = self.mosaic.pixel_scale_arcsec
        return (
            quadrant.centre_east_arcsec + sign_x * scale * (x - (self.quadrant.nx + 1) / 2),
            quadrant.centre_north_arcsec + sign_y * scale * (y - (self.quadrant.ny + 1) / 2),
        )

    def pixel(self, rcid: int, east_arcsec: float, north_arcsec: float) -> tuple[float, float]:
        """Inverse of `focal_plane`: nominal 1-based pixel position, also outside the quadrant."""
        quadrant, (sign_x, sign_y) = self.quadrants[rcid], self.axis_signs
        scale = self.mosaic.pixel_scale_arcsec
        return (
            sign_x * (east_arcsec - quadrant.centre_east_arcsec) / scale + (self.quadrant.nx + 1) / 2,
            sign_y * (north_arcsec - quadrant.centre_north_arcsec) / scale + (self.quadrant.ny + 1) / 2,
        )

    @property
    def half_size_arcsec(self) -> tuple[float, float]:
        """Half width (east) and half height (north) of the envelope of all pixels, arcsec."""
        m, q = self.mosaic, self.quadrant
        return (
            m.columns * q.nx * m.pixel_scale_arcsec + (m.columns - 1) * m.column_gap_arcsec / 2,
            m.rows * q.ny * m.pixel_scale_arcsec + (m.rows - 1) * m.row_gap_arcsec / 2,
        )

    def _quadrant(self, rcid: int) -> Quadrant:
        ccdid, amplifier = rcid // QUADRANTS_PER_CCD + 1, self.amplifiers[rcid % QUADRANTS_PER_CCD]
        row, column = divmod(ccdid - 1, self.mosaic.columns)
        scale, shape = self.mosaic.pixel_scale_arcsec, self.quadrant
        ccd_east = ((self.mosaic.columns - 1) / 2 - column) * (
            2 * shape.nx * scale + self.mosaic.column_gap_arcsec
        )
        ccd_north = (row - (self.mosaic.rows - 1) / 2) * (2 * shape.ny * scale + self.mosaic.row_gap_arcsec)
        east = 1 if amplifier.position in (Position.NE, Position.SE) else -1
        north = 1 if amplifier.position in (Position.NE, Position.NW) else -1
        override = self.channels.get(rcid, ChannelOverride()).model_dump(exclude_none=True)
        return Quadrant(
            rcid=rcid,
            ccdid=ccdid,
            amplifier=amplifier,
            detector=Detector.model_validate(self.detector.model_dump() | override),
            centre_east_arcsec=ccd_east + east * shape.nx * scale / 2,
            centre_north_arcsec=ccd_north + north * shape.ny * scale / 2,
        )


def rcid_of(ccdid: int, qid: int) -> int:
    """Return the readout channel of a CCD and quadrant: 4 (ccdid - 1) + (qid - 1)."""
    return QUADRANTS_PER_CCD * (ccdid - 1) + (qid - 1)


@lru_cache(maxsize=8)
def load_camera(name: str, include: Path) -> Camera:
    """Read ``<include>/config/cameras/<name>.yaml``.

    Raises
    ------
    DeclarationError
        If the file is missing or wrong; the message names the key and the reason.
    """
    return read_declaration(include / "config" / "cameras" / f"{name}.yaml", Camera)
