"""The camera frame of an exposure, as one quadrant's astrometry shows it, and its pixels in that frame.

Ghosts are fixed to the optics, not to the sky: they are predicted in the camera frame, the tangent plane of
the boresight with camera north up, in arcseconds. Its places are held as complex numbers, east + i north, so
that turning and scaling are one multiplication.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zsds_tasks.sky import tangent
from zsds_tasks.sky.wcs import Wcs, monomials
from zsds_tasks.survey.camera import Camera

Floats = NDArray[np.float64]
Places = NDArray[np.complex128]
GRID = 7  # samples along a side: many more than the coefficients of degree 2
FRAME_STEPS = 6  # every step leaves an error of third order in what is still to be turned
STEP_PX = 50.0  # over which derivatives are taken: a distortion hardly changes, rounding does not matter
MAP_DEGREE = 2  # follows distortion to 0.1 arcsec inside a quadrant and still behaves one width beside it


@dataclass(frozen=True)
class CameraFrame:
    """Where the camera looks: boresight (degrees) and position angle of camera north (degrees)."""

    ra: float
    dec: float
    rotation_deg: float

    def places(self, ra: ArrayLike, dec: ArrayLike) -> Places:
        """Return places of the sky (degrees) in the frame; NaN behind the camera."""
        east, north = tangent.project(ra, dec, (self.ra, self.dec), self.rotation_deg)
        return as_places(east, north)


@dataclass(frozen=True)
class PlateMap:
    """Pixels of one quadrant in the camera frame of its exposure, both ways; FITS 1-based.

    Parameters
    ----------
    frame : CameraFrame
    shape : (ny, nx)
    forward : (6) complex128
        Frame of normalised pixels, in the order of `zsds_tasks.sky.wcs.monomials`, arcsec.
    backward : (6) complex128
        Normalised pixels, x + i y, of the frame relative to `middle` in units of `half_arcsec`.
    middle : complex
        Frame of the middle of the quadrant.
    half_arcsec : float
    """

    frame: CameraFrame
    shape: tuple[int, int]
    forward: Places
    backward: Places
    middle: complex
    half_arcsec: float

    def to_frame(self, x: ArrayLike, y: ArrayLike) -> Places:
        """Return the camera frame of pixels, any shape."""
        centre, half = _centre(self.shape)
        u = (np.asarray(x, np.float64) - centre[0]) / half
        v = (np.asarray(y, np.float64) - centre[1]) / half
        return (monomials(u.ravel(), v.ravel(), MAP_DEGREE) @ self.forward).reshape(u.shape)

    def to_pixels(self, places: Places | complex) -> tuple[Floats, Floats]:
        """Return pixels of places of the camera frame, also of places beside the quadrant."""
        centre, half = _centre(self.shape)
        t = (np.asarray(places, np.complex128) - self.middle) / self.half_arcsec
        pixel = monomials(t.real.ravel(), t.imag.ravel(), MAP_DEGREE) @ self.backward
        pixel = pixel.reshape(t.shape) * half
        return pixel.real + centre[0], pixel.imag + centre[1]

    def derivative(self, x: float, y: float) -> Floats:
        """Return d(east, north)/d(x, y), (2, 2), arcsec per pixel, at the pixel or the nearest one."""
        ny, nx = self.shape
        x, y = float(np.clip(x, 1, nx)), float(np.clip(y, 1, ny))
        xs = np.array([x + STEP_PX, x - STEP_PX, x, x])
        ys = np.array([y, y, y + STEP_PX, y - STEP_PX])
        place = self.to_frame(xs, ys)
        along_x, along_y = (place[0] - place[1]) / (2 * STEP_PX), (place[2] - place[3]) / (2 * STEP_PX)
        return np.array([[along_x.real, along_y.real], [along_x.imag, along_y.imag]])

    @cached_property
    def pixel_scale_arcsec(self) -> float:
        """Side of a pixel in the middle."""
        centre, _ = _centre(self.shape)
        return float(np.sqrt(abs(np.linalg.det(self.derivative(*centre)))))


def as_places(east: ArrayLike, north: ArrayLike) -> Places:
    """Return east + i north."""
    return np.asarray(np.asarray(east, np.float64) + 1j * np.asarray(north, np.float64), np.complex128)


def find_frame(wcs: Wcs, camera: Camera, rcid: int) -> CameraFrame:
    """Return the boresight and rotation that put a quadrant's solution where the camera is drawn to have it.

    The scale is taken as drawn: a local one, bent by distortion, would be stretched over the whole field. For
    ZTF's field the result is good to about 10 arcsec, for a small camera to 1 or 2.

    Parameters
    ----------
    wcs : Wcs
    camera : Camera
    rcid : int
        Readout channel.
    """
    x, y = _grid((camera.quadrant.ny, camera.quadrant.nx))
    ra, dec = wcs.pixel_to_sky(x, y)
    drawn = as_places(*camera.focal_plane(rcid, x, y))  # type: ignore[arg-type]
    middle = len(x) // 2
    frame = CameraFrame(float(ra[middle]), float(dec[middle]), 0.0)
    for _ in range(FRAME_STEPS):
        seen = frame.places(ra, dec)
        turn = np.vdot(drawn - drawn.mean(), seen - seen.mean())
        turn /= abs(turn)
        shift = seen.mean() - turn * drawn.mean()
        centre = tangent.deproject(shift.real, shift.imag, (frame.ra, frame.dec), frame.rotation_deg)
        rotation = frame.rotation_deg - float(np.degrees(np.angle(turn)))
        frame = CameraFrame(float(centre[0]), float(centre[1]), (rotation + 180.0) % 360.0 - 180.0)
    return frame


def plate_map(wcs: Wcs, shape: tuple[int, int], frame: CameraFrame) -> PlateMap:
    """Return the map between the pixels of a solution and the camera frame.

    Parameters
    ----------
    wcs : Wcs
    shape : (ny, nx)
    frame : CameraFrame
        Of `find_frame`, or a better one from all quadrants of the exposure.
    """
    x, y = _grid(shape)
    centre, half = _centre(shape)
    places = frame.places(*wcs.pixel_to_sky(x, y))
    middle = complex(places[len(places) // 2])
    size = float(np.abs(places - middle).max())
    pixel = ((x - centre[0]) + 1j * (y - centre[1])) / half
    t = (places - middle) / size
    forward = np.linalg.lstsq(monomials(pixel.real, pixel.imag, MAP_DEGREE) + 0j, places, rcond=None)[0]
    backward = np.linalg.lstsq(monomials(t.real, t.imag, MAP_DEGREE) + 0j, pixel, rcond=None)[0]
    return PlateMap(
        frame, shape, np.asarray(forward, np.complex128), np.asarray(backward, np.complex128), middle, size
    )


def _grid(shape: tuple[int, int]) -> tuple[Floats, Floats]:
    ny, nx = shape
    x, y = np.meshgrid(np.linspace(1, nx, GRID), np.linspace(1, ny, GRID))
    return x.ravel(), y.ravel()


def _centre(shape: tuple[int, int]) -> tuple[tuple[float, float], float]:
    ny, nx = shape
    return ((nx + 1) / 2, (ny + 1) / 2), max(nx, ny) / 2
