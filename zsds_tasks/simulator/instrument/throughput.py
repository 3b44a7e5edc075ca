"""What reaches a pixel, smoothly over the field: vignetting, lamp screen, shutter timing, sky gradient.

Maps are computed at the nodes of a coarse grid over one CCD (every `GRID_STEP` pixels) and interpolated
bilinearly when light is collected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.simulator.instrument.readout import GRID_STEP
from zsds_tasks.simulator.products import Exposure, Floats
from zsds_tasks.simulator.randomness import generator
from zsds_tasks.survey.camera import Camera

if TYPE_CHECKING:
    from zsds_tasks.simulator.instrument.instrument import Instrument

NotNegative = Annotated[float, Field(ge=0)]


class ThroughputConfig(Declaration):
    """Sizes of the smooth effects; the field is measured in units of the camera's half diagonal."""

    vignetting: tuple[float, float] = Field((0.05, 0.05), description="loss at the edge: r^2 and r^4 terms")
    screen_tilt: NotNegative = Field(0.02, description="scatter of the lamps' gradients across the field")
    screen_bowl: NotNegative = Field(0.02, description="scatter of their curvature")
    shutter_delay_s: float = Field(0.008, description="exposure beyond the command, at the centre")
    shutter_slope_s: float = Field(0.006, description="its change from centre to northern edge")
    moon_gradient: NotNegative = Field(0.03, description="sky gradient toward a full Moon, centre to edge")


def node_counts(camera: Camera) -> tuple[int, int]:
    """Return how many nodes (rows, columns) cover one CCD."""
    return 2 * camera.quadrant.ny // GRID_STEP + 2, 2 * camera.quadrant.nx // GRID_STEP + 2


def node_places(instrument: Instrument, exposure: Exposure, ccdid: int) -> tuple[Floats, Floats]:
    """Return the place of every node in the field, in half diagonals (east, north)."""
    rows, columns = node_counts(instrument.camera)
    # Node 0 is the centre of the first pixel, FITS coordinate 1.
    row, column = np.mgrid[0:rows, 0:columns] * float(GRID_STEP) + 1.0
    east, north = instrument.optics.camera_frame_of_ccd(exposure, ccdid, column, row)
    radius = instrument.optics.radius_arcsec
    return east / radius, north / radius


def throughput(
    instrument: Instrument, exposure: Exposure, ccdid: int, place: tuple[Floats, Floats]
) -> Floats:
    """Return the relative throughput at the nodes: vignetting, shutter, smooth response."""
    factor = smooth_response(instrument, ccdid, place)
    if exposure.exptime_s > 0:
        factor *= 1 + shutter_seconds(instrument, place) / exposure.exptime_s
    return factor


def smooth_response(instrument: Instrument, ccdid: int, place: tuple[Floats, Floats]) -> Floats:
    """Return the relative throughput at the nodes that does not depend on the exposure."""
    config, effects = instrument.config.throughput, instrument.effects
    u, v = place
    factor = np.ones_like(u)
    if effects.vignetting:
        r2 = u * u + v * v
        factor -= config.vignetting[0] * r2 + config.vignetting[1] * r2 * r2
    if effects.prnu:
        factor *= _smooth_response(instrument, ccdid)
    return factor


def shutter_seconds(instrument: Instrument, place: tuple[Floats, Floats]) -> Floats:
    """Return what the shutter adds to the commanded time at places of the field, s."""
    config = instrument.config.throughput
    added = config.shutter_delay_s + config.shutter_slope_s * place[1]
    return np.asarray(added * instrument.effects.shutter)


def screen(instrument: Instrument, exposure: Exposure, place: tuple[Floats, Floats]) -> Floats:
    """Return the electrons per pixel of a flat's lamp at the nodes."""
    config, (u, v) = instrument.config.throughput, place
    pattern = np.ones_like(u)
    if instrument.effects.illumination:
        rng = generator(instrument.seed, "lamp", instrument.camera.name, exposure.led)
        tilt_u, tilt_v = config.screen_tilt * rng.standard_normal(2)
        pattern += tilt_u * u + tilt_v * v + config.screen_bowl * rng.standard_normal() * (u * u + v * v)
    return exposure.lamp_electrons * pattern


def sky(instrument: Instrument, exposure: Exposure, place: tuple[Floats, Floats]) -> Floats:
    """Return the electrons per pixel of the sky at the nodes, brighter toward the Moon."""
    level = exposure.sky_electrons_per_arcsec2 * instrument.camera.mosaic.pixel_scale_arcsec**2
    if not (instrument.effects.moonlight and exposure.moon_altitude_deg > 0):
        return np.full_like(place[0], level)
    bearing = _bearing(exposure.boresight_ra, exposure.boresight_dec, exposure.moon_ra, exposure.moon_dec)
    angle = bearing - np.deg2rad(exposure.rotation_deg)
    slope = instrument.config.throughput.moon_gradient * exposure.moon_illumination
    return level * (1 + slope * (place[0] * np.sin(angle) + place[1] * np.cos(angle)))


def _smooth_response(instrument: Instrument, ccdid: int) -> Floats:
    """Waves of sensitivity of some hundred pixels, as of coatings and thinning."""
    camera, config = instrument.camera, instrument.config.detector
    rng = generator(instrument.seed, "smooth response", camera.name, ccdid)
    rows, columns = node_counts(camera)
    row, column = np.mgrid[0:rows, 0:columns] * float(GRID_STEP)
    response = np.ones((rows, columns))
    for _ in range(config.qe_waves):
        wavelength, angle, phase = rng.uniform(250, 1500), *rng.uniform(0, 2 * np.pi, 2)
        wave = (column * np.cos(angle) + row * np.sin(angle)) * 2 * np.pi / wavelength
        response += config.qe_wave_amplitude * np.sin(wave + phase)
    return response


def _bearing(ra: float, dec: float, to_ra: float, to_dec: float) -> float:
    """Position angle (radian, east of north) of one direction seen from another; degrees in."""
    a, d, d1 = np.deg2rad(to_ra - ra), np.deg2rad(dec), np.deg2rad(to_dec)
    return float(
        np.arctan2(np.sin(a) * np.cos(d1), np.cos(d) * np.sin(d1) - np.sin(d) * np.cos(d1) * np.cos(a))
    )
