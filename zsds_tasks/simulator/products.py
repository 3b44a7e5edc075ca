"""What the two halves of the simulator hand each other: an exposure, its sources, the trails across it.

The scene half (schedule, conditions, stars, asteroids, ...) makes these; the instrument half (optics, PSF,
detector, writer) turns them into raw frames. Angles are degrees unless a name says otherwise.

The camera frame (east, north; arcsec) is the gnomonic projection about the exposure's *true* boresight,
turned by its true rotation: what an undistorted camera would see. Distortion and CCD placement come after.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.survey.filenames import RawFileName
from zsds_tasks.survey.nights import FileFracDay
from zsds_tasks.survey.survey import Filter, Survey

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Kind(IntEnum):
    """What a source is."""

    STAR = 0
    GALAXY = 1
    VARIABLE = 2  # a star whose light changes: eclipsing, RR Lyrae, long period
    SUPERNOVA = 3  # in a galaxy
    TRANSIENT = 4  # hostless
    ASTEROID = 5


class Profile(IntEnum):
    """How the light of a source is spread before the atmosphere."""

    POINT = 0
    EXPONENTIAL = 1
    DE_VAUCOULEURS = 2


@dataclasses.dataclass(frozen=True)
class Weather:
    """Readings of the dome's instruments."""

    temperature_c: float
    humidity_percent: float
    wind_speed_kmh: float
    pressure_mbar: float


@dataclasses.dataclass(frozen=True)
class Exposure:
    """One exposure of the whole camera: what was asked, what was true, what the header will claim.

    Parameters
    ----------
    start : datetime.datetime
        Shutter open, UTC. Mid-exposure is `middle`.
    file_epoch : datetime.datetime
        The instant in the file name; it precedes `start` by some seconds (reference 1.6).
    is_sky : bool
        Whether the shutter opens on the sky, so that the exposure has sources.
    field : int
        Field of the grid; 0 for calibration frames.
    filter : Filter or None
        None for frames without light.
    led, lamp_dn_per_s : int or None, float
        Flats only: which LED, and the mean signal per second at the field's centre and the nominal gain.
    requested_ra, requested_dec : float
        Where the scheduler sent the telescope (field centre plus dither).
    boresight_ra, boresight_dec, rotation_deg : float
        Where it truly looked: ICRS centre of the focal plane, and the angle by which the camera frame is
        turned (north of the camera points to position angle `rotation_deg`, east of north on the sky).
    header_ra, header_dec, header_rotation_deg : float
        TELRA, TELDEC, INST_ROT: what the telescope believes; wrong by realistic amounts.
    parallactic_deg : float
        Direction of the zenith at the boresight, east of north on the sky.
    seeing_fwhm_arcsec : float
        FWHM of the PSF at the centre before the pixel and the diffusion of charge widen it (`psf`).
    psf_ellipticity, psf_angle_deg : float
        1 - b/a of the PSF at the centre, and its major axis, from camera north through camera east.
    sky_mag_per_arcsec2 : float
        Surface brightness of the sky at the centre, Moon and twilight included, in the natural system of
        the filter *as measured through the airmass* (that is, relative to `zero_point` without clouds).
    extinction_mag : float
        Grey extinction by clouds at the centre; it is inside `zero_point` already.
    extinction_gradient : tuple[float, float]
        Change of the clouds' extinction, mag per degree toward camera (east, north); already applied to the
        electrons of `Sources`.
    zero_point : float
        Natural magnitude of a source that gives 1 DN in the exposure at the nominal gain.
    nominal_gain : float
        Electrons per DN that `zero_point` means.
    """

    expid: int
    nid: int
    start: dt.datetime
    file_epoch: dt.datetime
    exptime_s: float
    imgtypecode: str
    is_sky: bool
    field: int
    filter: Filter | None
    programid: int
    led: int | None
    lamp_dn_per_s: float
    requested_ra: float
    requested_dec: float
    boresight_ra: float
    boresight_dec: float
    rotation_deg: float
    header_ra: float
    header_dec: float
    header_rotation_deg: float
    airmass: float
    hour_angle_deg: float
    azimuth_deg: float
    elevation_deg: float
    parallactic_deg: float
    moon_ra: float
    moon_dec: float
    moon_altitude_deg: float
    moon_illumination: float
    sun_altitude_deg: float
    sun_azimuth_deg: float
    seeing_fwhm_arcsec: float
    psf_ellipticity: float
    psf_angle_deg: float
    sky_mag_per_arcsec2: float
    extinction_mag: float
    extinction_gradient: tuple[float, float]
    zero_point: float
    nominal_gain: float
    focus_mm: float
    weather: Weather

    @property
    def is_engineering(self) -> bool:
        """Whether it belongs to the engineering programme."""
        return self.programid == 0

    @property
    def middle(self) -> dt.datetime:
        """Mid-exposure, UTC."""
        return self.start + dt.timedelta(seconds=self.exptime_s / 2)

    @property
    def shutter_closed(self) -> dt.datetime:
        """End of the exposure, UTC."""
        return self.start + dt.timedelta(seconds=self.exptime_s)

    @property
    def fid(self) -> int:
        """Number of the filter, 0 without light."""
        return self.filter.fid if self.filter else 0

    @property
    def sky_electrons_per_arcsec2(self) -> float:
        """Sky brightness in the whole exposure, electrons per square arcsecond, before vignetting."""
        if not self.is_sky:
            return 0.0
        clear = self.zero_point + self.extinction_mag
        return self.nominal_gain * float(10 ** (-0.4 * (self.sky_mag_per_arcsec2 - clear)))

    @property
    def lamp_electrons(self) -> float:
        """Mean lamp signal of a flat, electrons per pixel."""
        return self.lamp_dn_per_s * self.exptime_s * self.nominal_gain

    def raw_name(self, survey: Survey, ccdid: int) -> RawFileName:
        """Return the name of the raw file of one CCD."""
        return RawFileName(
            epoch=FileFracDay.of(self.file_epoch),
            field=self.field,
            filtercode=self.filter.code if self.filter else survey.dark_filter_code,
            ccdid=ccdid,
            imgtypecode=self.imgtypecode,
            prefix=survey.file_prefix,
        )


@dataclasses.dataclass(frozen=True)
class Sources:
    """Everything that shines on one exposure, as arrays of equal length (N).

    Parameters
    ----------
    object_id : (N) int64
        Identity in the truth table `objects`.
    kind, profile : (N) int8
        `Kind` and `Profile` codes.
    ra, dec : (N) float64, degrees
        ICRS place at mid-exposure: proper motion, parallax and orbital motion included.
    east, north : (N) float64, arcsec
        The same in the camera frame, shifted by what refraction does to this colour more than to a solar one.
    mag : (N) float64
        Calibrated (Pan-STARRS system) AB magnitude in the exposure's filter at mid-exposure.
    electrons : (N) float64
        Expected electrons in the whole exposure, clouds included, before vignetting and pixel response.
    half_light_arcsec, axis_ratio, angle_deg : (N) float64
        Galaxies: semi-major axis of the half-light ellipse, b/a, major axis from camera north through east.
    rate_east, rate_north : (N) float64, arcsec per second
        Motion in the camera frame during the exposure; zero for everything but asteroids.
    """

    object_id: Integers
    kind: NDArray[np.int8]
    profile: NDArray[np.int8]
    ra: Floats
    dec: Floats
    east: Floats
    north: Floats
    mag: Floats
    electrons: Floats
    half_light_arcsec: Floats
    axis_ratio: Floats
    angle_deg: Floats
    rate_east: Floats
    rate_north: Floats

    def __len__(self) -> int:
        return len(self.object_id)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Sources:
        """Return some rows, by number or by truth."""
        return Sources(**{f.name: getattr(self, f.name)[rows] for f in dataclasses.fields(self)})

    @classmethod
    def concatenate(cls, parts: list[Sources]) -> Sources:
        """Return all rows of `parts`, in order; at least one part."""
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in names})

    @classmethod
    def empty(cls) -> Sources:
        """Return no sources."""
        types = {"object_id": np.int64, "kind": np.int8, "profile": np.int8}
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: np.zeros(0, types.get(name, np.float64)) for name in names})


@dataclasses.dataclass(frozen=True)
class Trail:
    """A satellite or aircraft crossing the camera: a straight line of constant brightness.

    Ends are in the camera frame, arcsec, and may lie outside the detectors. `width_arcsec` is the FWHM the
    object itself adds to the PSF (a near object is out of focus). `period_arcsec` above 0: the brightness
    is modulated sinusoidally with this period by `modulation` (0 to 1), as of a tumbling body.
    """

    object_id: int
    east0: float
    north0: float
    east1: float
    north1: float
    electrons_per_arcsec: float
    width_arcsec: float
    period_arcsec: float
    modulation: float


@dataclasses.dataclass(frozen=True)
class Scene:
    """Everything that reaches one CCD, or the whole camera, in one exposure.

    Parameters
    ----------
    sources : Sources
        All that can leave light on the pixels asked for, a margin included.
    bright : Sources
        Stars bright enough for ghosts and halos, anywhere in the camera's field and a margin around it; those
        near the pixels asked for are among `sources` too.
    trails : tuple[Trail, ...]
        Satellites, for the whole camera.
    """

    exposure: Exposure
    sources: Sources
    bright: Sources
    trails: tuple[Trail, ...]
