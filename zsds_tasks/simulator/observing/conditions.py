"""The weather of a night: seeing, clouds, sky brightness, readings of the dome, and how they follow time.

Slow quantities are sums of a few sinusoids with seeded phases, so that the value at an instant depends on
the night alone and not on which exposures were made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.simulator.effects import Effects
from zsds_tasks.simulator.products import Weather
from zsds_tasks.simulator.randomness import generator
from zsds_tasks.sky.tangent import separation_deg
from zsds_tasks.survey.nights import ObservingNight
from zsds_tasks.survey.survey import Filter

Fraction = Annotated[float, Field(ge=0, le=1)]


class BandConditions(Declaration):
    """Air and sky of one filter."""

    dark_sky_mag: float  # per square arcsecond at zenith
    extinction_per_airmass: Annotated[float, Field(ge=0)]
    moon_brightening: Annotated[float, Field(ge=0)]  # relative to V in the scattered-moonlight law
    seeing_factor: Annotated[float, Field(gt=0)]


class ConditionsConfig(Declaration):
    """Climate of the simulated site."""

    bands: dict[str, BandConditions]  # by the filter's name
    seeing_median_arcsec: Annotated[float, Field(gt=0)]  # at zenith, in r, before pixel and diffusion
    seeing_night_scatter_dex: Annotated[float, Field(ge=0)]
    seeing_hour_scatter_dex: Annotated[float, Field(ge=0)]
    seeing_floor_arcsec: Annotated[float, Field(gt=0)]
    ellipticity_mean: Fraction
    cloudy_night_fraction: Fraction
    cloud_mean_mag: Annotated[float, Field(ge=0)]
    cloud_gradient_mag_per_deg: Annotated[float, Field(ge=0)]
    transparency_scatter_mag: Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class NightWeather:
    """The weather of one night. Obtain one with `NightWeather.of`."""

    config: ConditionsConfig
    effects: Effects
    seeing_night: float
    is_cloudy: bool
    phases: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, config: ConditionsConfig, effects: Effects, seed: int, night: ObservingNight) -> NightWeather:
        """Draw the weather of a night."""
        random = generator(seed, "weather", night)
        scatter = float(random.normal(0.0, config.seeing_night_scatter_dex))
        return cls(
            config=config,
            effects=effects,
            seeing_night=config.seeing_median_arcsec * 10 ** (scatter if effects.seeing_variation else 0.0),
            is_cloudy=bool(random.random() < config.cloudy_night_fraction) and effects.clouds,
            phases=tuple(tuple(random.uniform(0, 2 * np.pi, 4).tolist()) for _ in range(6)),
        )

    def seeing_arcsec(self, hours: float, airmass: float, band: str) -> float:
        """Return the FWHM of air and optics at an hour of the night: the site's times airmass^0.6."""
        wander = self._wave(0, hours, 1.3) * self.config.seeing_hour_scatter_dex
        factor = 10**wander if self.effects.seeing_variation else 1.0
        value = self.seeing_night * factor * airmass**0.6 * self.config.bands[band].seeing_factor
        return float(max(value, self.config.seeing_floor_arcsec))

    def ellipticity(self, hours: float) -> tuple[float, float]:
        """Return ellipticity and position angle (degrees) of the PSF at the centre of the field."""
        if not self.effects.psf_variation:
            return 0.0, 0.0
        size = self.config.ellipticity_mean * (1.0 + 0.6 * self._wave(1, hours, 0.8))
        return float(size), float((90.0 * self._wave(2, hours, 2.1)) % 180.0)

    def clouds_mag(self, hours: float) -> float:
        """Return grey extinction above the clear air's; never negative."""
        if not self.effects.clouds:
            return 0.0
        haze = self.config.transparency_scatter_mag * (1.0 + self._wave(3, hours, 1.7))
        cloud = (
            self.config.cloud_mean_mag * max(0.0, 0.4 + self._wave(4, hours, 0.9)) if self.is_cloudy else 0.0
        )
        return float(haze + cloud)

    def clouds_gradient(self, hours: float) -> tuple[float, float]:
        """Return the gradient of the clouds, mag per degree toward camera (east, north)."""
        size = self.config.cloud_gradient_mag_per_deg * self.clouds_mag(hours)
        angle = np.pi * self._wave(5, hours, 0.5)
        return float(size * np.sin(angle)), float(size * np.cos(angle))

    def weather(self, hours: float) -> Weather:
        """Return the dome's readings; hours since the night's first noon."""
        cooling = np.cos((hours - 3.0) / 24.0 * 2 * np.pi)
        return Weather(
            temperature_c=round(float(12.0 + 6.0 * cooling + self._wave(3, hours, 0.4)), 2),
            humidity_percent=round(
                float(
                    np.clip(
                        45.0 - 15.0 * cooling + 25.0 * self.is_cloudy + 5.0 * self._wave(4, hours, 0.4), 3, 99
                    )
                ),
                1,
            ),
            wind_speed_kmh=round(float(12.0 + 8.0 * self._wave(5, hours, 1.1)), 1),
            pressure_mbar=round(float(829.0 + 2.0 * self._wave(1, hours, 0.1)), 1),
        )

    def _wave(self, which: int, hours: float, cycles_per_hour: float) -> float:
        """Return a slow wander between -1 and 1."""
        frequencies = cycles_per_hour * np.array([0.13, 0.31, 0.57, 1.0])
        return float(np.mean(np.sin(2 * np.pi * frequencies * hours + np.array(self.phases[which]))))


@dataclass(frozen=True)
class SkyGeometry:
    """Directions that decide the sky's brightness; degrees."""

    airmass: float
    moon_altitude: float
    moon_illumination: float
    moon_separation: float
    sun_altitude: float


def sky_brightness(
    filter_: Filter, geometry: SkyGeometry, config: ConditionsConfig, effects: Effects
) -> float:
    """Return the surface brightness of the cloudless sky, mag per square arcsecond.

    Dark sky rising with airmass (van Rhijn layer), moonlight after Krisciunas and Schaefer (1991, PASP 103,
    1033), and twilight that brightens the sky by 0.067 mag times the square of the Sun's height above -18
    degrees (2.4 mag at -12), close to Patat et al. (2006, A&A 455, 385).
    """
    band = config.bands[filter_.name]
    airmass = min(geometry.airmass, 10.0)
    zenith = np.degrees(np.arccos(min(1.0, 1.0 / airmass)))
    rhijn = 1.0 / np.sqrt(1.0 - 0.96 * np.sin(np.radians(zenith)) ** 2)
    dark = _nanolamberts(band.dark_sky_mag)
    absorbed = 10 ** (-0.4 * band.extinction_per_airmass * (airmass - 1.0))
    total = dark * rhijn * absorbed
    if effects.moonlight and geometry.moon_altitude > 0.0:
        total += band.moon_brightening * _moonlight(geometry, rhijn, band.extinction_per_airmass)
    if effects.twilight and geometry.sun_altitude > -18.0:
        total += dark * (10 ** (0.4 * 0.067 * (geometry.sun_altitude + 18.0) ** 2) - 1.0)
    return float((20.7233 - np.log(total / 34.08)) / 0.92104)


def moon_separation(ra: float, dec: float, moon_ra: float, moon_dec: float) -> float:
    """Return the angle between a pointing and the Moon, degrees."""
    return float(separation_deg(ra, dec, moon_ra, moon_dec))


def _moonlight(geometry: SkyGeometry, scattering_path: float, extinction: float) -> float:
    """Scattered moonlight in nanolamberts (Krisciunas and Schaefer 1991, equations 3, 20 and 21)."""
    phase = np.degrees(np.arccos(np.clip(2.0 * geometry.moon_illumination - 1.0, -1.0, 1.0)))
    illuminance = 10 ** (-0.4 * (3.84 + 0.026 * phase + 4e-9 * phase**4))
    rho = max(geometry.moon_separation, 1.0)
    scatter = 10**5.36 * (1.06 + np.cos(np.radians(rho)) ** 2)
    scatter += 10 ** (6.15 - rho / 40.0) if rho > 10.0 else 6.2e7 / rho**2
    moon_path = 1.0 / np.sqrt(1.0 - 0.96 * np.cos(np.radians(geometry.moon_altitude)) ** 2)
    dimming = 10 ** (-0.4 * extinction * moon_path)
    return float(scatter * illuminance * dimming * (1.0 - 10 ** (-0.4 * extinction * scattering_path)))


def _nanolamberts(mag: float) -> float:
    """Surface brightness in nanolamberts from magnitudes (Krisciunas and Schaefer 1991, equation 1)."""
    return float(34.08 * np.exp(20.7233 - 0.92104 * mag))
