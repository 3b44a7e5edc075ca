"""From calibrated magnitudes on the sky to electrons in the camera frame of one exposure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.simulator.effects import Effects
from zsds_tasks.simulator.products import Exposure, Kind, Profile, Sources
from zsds_tasks.simulator.sky.stars import BANDS
from zsds_tasks.sky import tangent

Floats = NDArray[np.float64]
Positive = Annotated[float, Field(gt=0)]
NEUTRAL_COLOUR = 0.5  # g-r of the Sun: refraction of this colour is inside the optics' own


class BandLight(Declaration):
    """How one filter of the camera differs from the calibrated system."""

    colour: tuple[str, str]
    coefficient: float
    refraction_arcsec: float  # toward the zenith, per mag of g-r and unit tan z


class LightConfig(Declaration):
    """Colour terms, chromatic refraction, and how far beside the pixels sources still matter."""

    bands: dict[str, BandLight]
    margin_arcsec: Positive
    bright_margin_arcsec: Positive
    bright_mag: float


@dataclass(frozen=True)
class Shapes:
    """Spread and motion of sources (N each) as in `products.Sources`, but relative to the sky's north."""

    profile: NDArray[np.int8]
    half_light_arcsec: Floats
    axis_ratio: Floats
    angle_deg: Floats
    rate_east: Floats
    rate_north: Floats

    @classmethod
    def points(cls, count: int) -> Shapes:
        """Return the shapes of `count` resting points."""
        zeros = np.zeros(count)
        return cls(np.full(count, Profile.POINT, np.int8), zeros, np.ones(count), zeros, zeros, zeros)


def expose(
    exposure: Exposure,
    config: LightConfig,
    effects: Effects,
    object_id: NDArray[np.int64],
    kind: Kind,
    places: tuple[Floats, Floats],
    mags: Floats,
    shapes: Shapes,
) -> Sources:
    """Return the sources of one exposure.

    Parameters
    ----------
    exposure : Exposure
        On sky, with a filter.
    object_id : (N) int64
    places : ra, dec, each (N), degrees
        At mid-exposure.
    mags : (4, N) float64
        Calibrated magnitudes at mid-exposure in `stars.BANDS`.
    """
    assert exposure.filter is not None  # noqa: S101 - narrows for mypy: only on-sky exposures have sources
    band = config.bands[exposure.filter.name]
    ra, dec = places
    centre = (exposure.boresight_ra, exposure.boresight_dec)
    east, north = tangent.project(ra, dec, centre, exposure.rotation_deg)
    if effects.differential_refraction:
        shift_east, shift_north = _chromatic_shift(exposure, band, mags)
        east, north = east + shift_east, north + shift_north
    mag = mags[BANDS.index(exposure.filter.name)]
    blue, red = (BANDS.index(name) for name in band.colour)
    natural = mag - band.coefficient * (mags[blue] - mags[red]) if effects.colour_terms else mag
    gradient = exposure.extinction_gradient
    dimming = np.maximum((gradient[0] * east + gradient[1] * north) / 3600.0, -exposure.extinction_mag)
    electrons = exposure.nominal_gain * 10 ** (-0.4 * (natural + dimming - exposure.zero_point))
    rate_east, rate_north = tangent.turn(shapes.rate_east, shapes.rate_north, -exposure.rotation_deg)
    return Sources(
        object_id=object_id,
        kind=np.full(len(object_id), kind, np.int8),
        profile=shapes.profile,
        ra=ra,
        dec=dec,
        east=east,
        north=north,
        mag=mag,
        electrons=electrons,
        half_light_arcsec=shapes.half_light_arcsec,
        axis_ratio=shapes.axis_ratio,
        angle_deg=(shapes.angle_deg - exposure.rotation_deg) % 180.0,
        rate_east=rate_east,
        rate_north=rate_north,
    )


def _chromatic_shift(exposure: Exposure, band: BandLight, mags: Floats) -> tuple[Floats, Floats]:
    """Blue light is lifted more than red: displacement toward the zenith in the camera frame, arcsec."""
    colour = np.clip(mags[0] - mags[1], -0.5, 2.0) - NEUTRAL_COLOUR
    tan_z = np.tan(np.radians(90.0 - max(exposure.elevation_deg, 15.0)))
    lift = -band.refraction_arcsec * tan_z * colour
    angle = np.radians(exposure.parallactic_deg - exposure.rotation_deg)
    return lift * np.sin(angle), lift * np.cos(angle)
