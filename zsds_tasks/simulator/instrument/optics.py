"""From the sky to pixels, truly: refraction, distortion of the optics, and where each CCD really sits.

    ICRS --gnomonic, rotation--> camera frame --refraction--> apparent --distortion--> focal plane
         --shift and turn of the CCD--> pixel of a CCD --> pixel of a readout channel

The header knows none of it but the pointing; the pipeline has to solve the rest. Every step has an inverse.
CCD pixel coordinates (column, row) are FITS 1-based over the whole CCD in the orientation of stored images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.simulator.products import Exposure, Floats
from zsds_tasks.simulator.randomness import generator
from zsds_tasks.sky import tangent
from zsds_tasks.sky.tangent import ARCSEC_PER_RADIAN
from zsds_tasks.survey.camera import Camera, Position, rcid_of

REFRACTION_AT_45_ARCSEC = 58.2  # at 1013 mbar and 10 deg C; R = 58.2 tan z
STANDARD_PRESSURE_MBAR = 1013.25
STANDARD_TEMPERATURE_K = 283.15
INVERSION_STEPS = 12  # the distortion changes by under 3 % over its own size: 12 steps reach rounding


class Distortion(Declaration):
    """Departure from a gnomonic projection, in arcseconds at the camera's half diagonal."""

    radial3_arcsec: float = Field(4.0, description="cubic radial distortion")
    radial5_arcsec: float = Field(-1.0, description="quintic radial distortion")
    decentring_arcsec: tuple[float, float] = Field(
        (0.5, -0.35), description="quadratic terms, east and north"
    )


class OpticsConfig(Declaration):
    """What the telescope does to places, and the scatter of the CCDs'."""

    distortion: Distortion = Distortion()
    distortion_of: dict[str, Distortion] = Field(
        default_factory=dict, description="by camera, where it differs: field angles differ tenfold"
    )
    scale_error: float = Field(4e-4, description="true plate scale over the nominal one, minus one")
    ccd_shift_arcsec: Annotated[float, Field(ge=0)] = Field(1.5, description="scatter of CCD centres")
    ccd_turn_deg: Annotated[float, Field(ge=0)] = Field(0.03, description="scatter of CCD angles")


@dataclass(frozen=True)
class Pixels:
    """Where points fall: readout channel (-1: on no detector) and FITS 1-based pixel, as arrays."""

    rcid: NDArray[np.int64]
    x: Floats
    y: Floats


class Optics:
    """The true mapping of one camera.

    Parameters
    ----------
    camera : Camera
        Nominal geometry.
    config : OpticsConfig
        How far reality is from it.
    seed : int
        Fixes where the CCDs sit.
    distortion, refraction, misalignment : bool
        Switches of the three effects.
    """

    def __init__(
        self,
        camera: Camera,
        config: OpticsConfig,
        seed: int,
        *,
        distortion: bool = True,
        refraction: bool = True,
        misalignment: bool = True,
    ) -> None:
        self.camera = camera
        self.config = config
        self.distortion = distortion
        self.refraction = refraction
        half_east, half_north = camera.half_size_arcsec
        self.radius_arcsec = float(np.hypot(half_east, half_north))
        n = camera.n_ccds
        draw = generator(seed, "ccd placement", camera.name).standard_normal((n, 3)) * misalignment
        self._shift = draw[:, :2] * config.ccd_shift_arcsec
        self._turn_deg = draw[:, 2] * config.ccd_turn_deg
        self._centre = np.array([_ccd_centre(camera, ccdid) for ccdid in camera.ccdids])

    def camera_frame(self, exposure: Exposure, ra: ArrayLike, dec: ArrayLike) -> tuple[Floats, Floats]:
        """Return (east, north; arcsec) of ICRS places (deg); points behind the camera become NaN."""
        centre = (exposure.boresight_ra, exposure.boresight_dec)
        return tangent.project(ra, dec, centre, exposure.rotation_deg)

    def sky(self, exposure: Exposure, east: ArrayLike, north: ArrayLike) -> tuple[Floats, Floats]:
        """Inverse of `camera_frame`: ICRS right ascension and declination, deg."""
        centre = (exposure.boresight_ra, exposure.boresight_dec)
        return tangent.deproject(east, north, centre, exposure.rotation_deg)

    def focal_plane(self, exposure: Exposure, east: ArrayLike, north: ArrayLike) -> tuple[Floats, Floats]:
        """Return the place in the focal plane (east, north; arcsec) of places in the camera frame."""
        e, n = np.asarray(east, float), np.asarray(north, float)
        if self.refraction and exposure.is_sky:
            shift_east, shift_north = self._refraction(exposure, e, n)
            e, n = e + shift_east, n + shift_north
        if self.distortion:
            shift_east, shift_north = self._distortion(e, n)
            e, n = e + shift_east, n + shift_north
        return e, n

    def undistorted(self, exposure: Exposure, east: ArrayLike, north: ArrayLike) -> tuple[Floats, Floats]:
        """Inverse of `focal_plane`, by fixed-point iteration."""
        target_east, target_north = np.asarray(east, float), np.asarray(north, float)
        e, n = target_east, target_north
        for _ in range(INVERSION_STEPS):
            image_east, image_north = self.focal_plane(exposure, e, n)
            e, n = e + target_east - image_east, n + target_north - image_north
        return e, n

    def ccd_pixels(
        self, exposure: Exposure, ccdid: int, east: ArrayLike, north: ArrayLike
    ) -> tuple[Floats, Floats]:
        """Return (column, row) on one CCD of places in the camera frame, also of places beside it."""
        e, n = self.focal_plane(exposure, east, north)
        k = ccdid - 1
        e, n = tangent.turn(
            e - self._centre[k, 0] - self._shift[k, 0],
            n - self._centre[k, 1] - self._shift[k, 1],
            float(self._turn_deg[k]),
        )
        (sign_x, sign_y), scale = self.camera.axis_signs, self.camera.mosaic.pixel_scale_arcsec
        shape = self.camera.quadrant
        return sign_x * e / scale + shape.nx + 0.5, sign_y * n / scale + shape.ny + 0.5

    def camera_frame_of_ccd(
        self, exposure: Exposure, ccdid: int, column: ArrayLike, row: ArrayLike
    ) -> tuple[Floats, Floats]:
        """Inverse of `ccd_pixels`."""
        (sign_x, sign_y), scale = self.camera.axis_signs, self.camera.mosaic.pixel_scale_arcsec
        shape, k = self.camera.quadrant, ccdid - 1
        e = sign_x * (np.asarray(column, float) - shape.nx - 0.5) * scale
        n = sign_y * (np.asarray(row, float) - shape.ny - 0.5) * scale
        e, n = tangent.turn(e, n, -float(self._turn_deg[k]))
        return self.undistorted(
            exposure, e + self._centre[k, 0] + self._shift[k, 0], n + self._centre[k, 1] + self._shift[k, 1]
        )

    def pixels(self, exposure: Exposure, east: ArrayLike, north: ArrayLike) -> Pixels:
        """Return readout channel and pixel of places in the camera frame."""
        e, n = np.atleast_1d(np.asarray(east, float)), np.atleast_1d(np.asarray(north, float))
        rcid = np.full(e.shape, -1, np.int64)
        x, y = np.full(e.shape, np.nan), np.full(e.shape, np.nan)
        shape = self.camera.quadrant
        for ccdid in self.camera.ccdids:
            column, row = self.ccd_pixels(exposure, ccdid, e, n)
            for qid in range(1, 5):
                first_column, first_row = quadrant_origin(self.camera, qid)
                qx, qy = column - first_column, row - first_row
                inside = (qx >= 0.5) & (qx < shape.nx + 0.5) & (qy >= 0.5) & (qy < shape.ny + 0.5)
                rcid[inside] = rcid_of(ccdid, qid)
                x[inside], y[inside] = qx[inside], qy[inside]
        return Pixels(rcid, x, y)

    def sky_to_pixels(self, exposure: Exposure, ra: ArrayLike, dec: ArrayLike) -> Pixels:
        """Return readout channel and pixel of ICRS places (deg)."""
        return self.pixels(exposure, *self.camera_frame(exposure, ra, dec))

    def pixels_to_sky(
        self, exposure: Exposure, rcid: int, x: ArrayLike, y: ArrayLike
    ) -> tuple[Floats, Floats]:
        """Return ICRS right ascension and declination (deg) of pixels of one readout channel."""
        quadrant = self.camera.quadrants[rcid]
        first_column, first_row = quadrant_origin(self.camera, quadrant.qid)
        column, row = np.asarray(x, float) + first_column, np.asarray(y, float) + first_row
        return self.sky(exposure, *self.camera_frame_of_ccd(exposure, quadrant.ccdid, column, row))

    def _distortion(self, e: Floats, n: Floats) -> tuple[Floats, Floats]:
        c, radius = (
            self.config.distortion_of.get(self.camera.name, self.config.distortion),
            self.radius_arcsec,
        )
        u, v = e / radius, n / radius
        r2 = u * u + v * v
        radial = self.config.scale_error * radius + c.radial3_arcsec * r2 + c.radial5_arcsec * r2 * r2
        p, q = c.decentring_arcsec
        return u * radial + p * (r2 + 2 * u * u) + 2 * q * u * v, v * radial + q * (
            r2 + 2 * v * v
        ) + 2 * p * u * v

    def _refraction(self, exposure: Exposure, e: Floats, n: Floats) -> tuple[Floats, Floats]:
        """Differential refraction R = k tan z to second order about the boresight."""
        weather = exposure.weather
        k = (
            REFRACTION_AT_45_ARCSEC
            / ARCSEC_PER_RADIAN
            * (weather.pressure_mbar / STANDARD_PRESSURE_MBAR)
            * (STANDARD_TEMPERATURE_K / (273.15 + weather.temperature_c))
        )
        tan_z = np.tan(np.deg2rad(90.0 - max(exposure.elevation_deg, 15.0)))
        # Of the zenith, from camera north through camera east.
        angle = np.deg2rad(exposure.parallactic_deg - exposure.rotation_deg)
        toward = e * np.sin(angle) + n * np.cos(angle)
        across = e * np.cos(angle) - n * np.sin(angle)
        shift = -k * (1 + tan_z**2) * (toward - tan_z * toward**2 / ARCSEC_PER_RADIAN)
        drift = -k * across
        return shift * np.sin(angle) + drift * np.cos(angle), shift * np.cos(angle) - drift * np.sin(angle)


def quadrant_origin(camera: Camera, qid: int) -> tuple[int, int]:
    """Return (columns, rows) of a CCD that lie before the first pixel of a quadrant, as stored."""
    position = camera.amplifiers[qid - 1].position
    is_east, is_north = position in (Position.NE, Position.SE), position in (Position.NE, Position.NW)
    second_in_x = is_east == (camera.pixel_axes.x == "east")
    second_in_y = is_north == (camera.pixel_axes.y == "north")
    return camera.quadrant.nx * second_in_x, camera.quadrant.ny * second_in_y


def _ccd_centre(camera: Camera, ccdid: int) -> tuple[float, float]:
    quadrants = camera.quadrants_of(ccdid)
    return (
        sum(q.centre_east_arcsec for q in quadrants) / len(quadrants),
        sum(q.centre_north_arcsec for q in quadrants) / len(quadrants),
    )
