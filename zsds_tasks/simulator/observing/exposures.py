"""From a plan to what truly happened: pointing with its errors, air, sky and zero point of each exposure."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.simulator.effects import Effects
from zsds_tasks.simulator.observing.conditions import (
    ConditionsConfig,
    NightWeather,
    SkyGeometry,
    moon_separation,
    sky_brightness,
)
from zsds_tasks.simulator.observing.schedule import Plan, ScheduleConfig, Site
from zsds_tasks.simulator.products import Exposure, Weather
from zsds_tasks.simulator.randomness import generator
from zsds_tasks.sky import horizon
from zsds_tasks.survey.identifiers import ExposureId
from zsds_tasks.survey.nights import ObservingNight, mjd

Sigma = Annotated[float, Field(ge=0)]
FOCUS_SWEEP_BLUR = 1.5  # a focus frame is taken on one side of focus


class PointingConfig(Declaration):
    """How well the telescope goes where it is sent."""

    dither_arcsec: tuple[float, float]  # least and most, of each visit
    model_error_arcsec: Sigma  # a smooth function of hour angle and declination
    random_error_arcsec: Sigma
    encoder_error_arcsec: Sigma  # of the header's TELRA and TELDEC against the request
    rotation_error_deg: Sigma


@dataclass(frozen=True)
class ExposureMaker:
    """Turns the plans of one night into exposures. Obtain one with `ExposureMaker.of`."""

    site: Site
    schedule: ScheduleConfig
    conditions: ConditionsConfig
    pointing: PointingConfig
    effects: Effects
    seed: int
    night: ObservingNight
    weather: NightWeather

    def make(self, plan: Plan) -> Exposure:
        """Return the exposure of a plan."""
        return self._on_sky(plan) if plan.field is not None else self._indoors(plan)

    def _on_sky(self, plan: Plan) -> Exposure:
        pointing = self._point(plan)
        heavens = self._heavens(mjd(_middle(plan)))
        return Exposure(
            **self._identity(plan),
            lamp_dn_per_s=0.0,
            **pointing,
            **heavens,
            **self._air(plan, pointing, heavens),
            nominal_gain=self.site.camera.detector.gain,
            weather=self._weather_at(plan.start),
        )

    def _point(self, plan: Plan) -> dict[str, Any]:
        """Return what was asked, what was true and what the header claims of the pointing."""
        assert plan.field is not None  # noqa: S101 - narrows for mypy; `make` decides
        random = generator(self.seed, "pointing", self.site.camera.name, plan.start.isoformat())
        middle, observer = mjd(_middle(plan)), self.site.observer
        requested = _offset(plan.field.ra, plan.field.dec, *self._dither(random))
        hour_angle, _, _ = horizon.horizontal(*requested, middle, observer)
        error, rotation = self._pointing_error(random, float(hour_angle), requested[1])
        boresight = _offset(*requested, *error)
        encoder = random.normal(0.0, self.pointing.encoder_error_arcsec, 2)
        header = _offset(*requested, *(encoder if self.effects.pointing_error else np.zeros(2)))
        hour_angle, azimuth, altitude = horizon.horizontal(*boresight, middle, observer)
        return {
            "requested_ra": requested[0],
            "requested_dec": requested[1],
            "boresight_ra": boresight[0],
            "boresight_dec": boresight[1],
            "rotation_deg": rotation,
            "header_ra": header[0],
            "header_dec": header[1],
            "header_rotation_deg": 0.0,
            "airmass": float(horizon.airmass(altitude)),
            "hour_angle_deg": float(hour_angle),
            "azimuth_deg": float(azimuth),
            "elevation_deg": float(altitude),
            "parallactic_deg": _parallactic(float(hour_angle), boresight[1], observer.latitude_deg),
        }

    def _air(self, plan: Plan, pointing: dict[str, Any], heavens: dict[str, Any]) -> dict[str, Any]:
        """Return seeing, clouds, sky brightness and zero point through this airmass."""
        assert plan.filter is not None  # noqa: S101 - narrows for mypy: the sky is seen through a filter
        hours, airmass = self._hours(plan.start), pointing["airmass"]
        band = self.conditions.bands[plan.filter.name]
        gain, rate = self.site.camera.detector.gain, plan.filter.electrons_per_s_at_20
        absorbed = band.extinction_per_airmass * (airmass - 1.0)
        clouds = self.weather.clouds_mag(hours)
        ellipticity, angle = self.weather.ellipticity(hours)
        defocus = FOCUS_SWEEP_BLUR if plan.imgtypecode == "c" else 1.0
        geometry = SkyGeometry(
            airmass=airmass,
            moon_altitude=heavens["moon_altitude_deg"],
            moon_illumination=heavens["moon_illumination"],
            moon_separation=moon_separation(
                pointing["boresight_ra"], pointing["boresight_dec"], heavens["moon_ra"], heavens["moon_dec"]
            ),
            sun_altitude=heavens["sun_altitude_deg"],
        )
        brightness = sky_brightness(plan.filter, geometry, self.conditions, self.effects)
        jitter = float(generator(self.seed, "focus", plan.start.isoformat()).normal())
        clear = 20.0 + 2.5 * np.log10(rate * plan.exptime_s / gain)
        return {
            "seeing_fwhm_arcsec": defocus * self.weather.seeing_arcsec(hours, airmass, plan.filter.name),
            "psf_ellipticity": ellipticity,
            "psf_angle_deg": angle,
            # The law gives what is seen from the ground; the zero point absorbs once more.
            "sky_mag_per_arcsec2": brightness - absorbed,
            "extinction_mag": clouds,
            "extinction_gradient": self.weather.clouds_gradient(hours),
            "zero_point": float(clear - absorbed - clouds),
            "focus_mm": round(10.0 + 0.02 * jitter + 0.3 * (defocus - 1.0), 4),
        }

    def _indoors(self, plan: Plan) -> Exposure:
        """Telescope parked at the dome screen: due south, 45 degrees up."""
        when = mjd(plan.start)
        sidereal = float(horizon.sidereal_deg(when, self.site.observer))
        parked_dec = self.site.observer.latitude_deg - 45.0
        random = generator(self.seed, "lamp", plan.led, self.night)
        level = self.schedule.flat_level_dn / self.schedule.flat_exposure_s
        lamp = level * float(random.normal(1.0, 0.02)) * _led_factor(self.seed, plan.led) if plan.led else 0.0
        return Exposure(
            **self._identity(plan),
            lamp_dn_per_s=lamp,
            requested_ra=sidereal,
            requested_dec=parked_dec,
            boresight_ra=sidereal,
            boresight_dec=parked_dec,
            rotation_deg=0.0,
            header_ra=sidereal,
            header_dec=parked_dec,
            header_rotation_deg=0.0,
            airmass=float(horizon.airmass(45.0)),
            hour_angle_deg=0.0,
            azimuth_deg=180.0,
            elevation_deg=45.0,
            parallactic_deg=0.0,
            **self._heavens(when),
            seeing_fwhm_arcsec=0.0,
            psf_ellipticity=0.0,
            psf_angle_deg=0.0,
            sky_mag_per_arcsec2=99.0,
            extinction_mag=0.0,
            extinction_gradient=(0.0, 0.0),
            zero_point=0.0,
            nominal_gain=self.site.camera.detector.gain,
            focus_mm=10.0,
            weather=self._weather_at(plan.start),
        )

    def _identity(self, plan: Plan) -> dict[str, Any]:
        lag = generator(self.seed, "file epoch", plan.start.isoformat()).uniform(
            *self.schedule.file_epoch_lag_s
        )
        exposure_id = ExposureId.of(plan.start, self.site.survey.night_zero)
        return {
            "expid": int(exposure_id),
            "nid": exposure_id.nid,
            "start": plan.start,
            "file_epoch": plan.start - dt.timedelta(microseconds=round(float(lag) * 1e6)),
            "exptime_s": plan.exptime_s,
            "imgtypecode": plan.imgtypecode,
            "is_sky": plan.field is not None,
            "field": plan.field.id if plan.field else 0,
            "filter": plan.filter,
            "programid": plan.programid,
            "led": plan.led,
        }

    def _heavens(self, when: float) -> dict[str, Any]:
        observer = self.site.observer
        moon_ra, moon_dec, illumination = horizon.moon(when, observer)
        _, _, moon_altitude = horizon.horizontal(moon_ra, moon_dec, when, observer)
        _, sun_azimuth, sun_altitude = horizon.horizontal(*horizon.sun(when), when, observer)
        return {
            "moon_ra": float(moon_ra),
            "moon_dec": float(moon_dec),
            "moon_altitude_deg": float(moon_altitude),
            "moon_illumination": float(illumination),
            "sun_altitude_deg": float(sun_altitude),
            "sun_azimuth_deg": float(sun_azimuth),
        }

    def _hours(self, instant: dt.datetime) -> float:
        first, _ = self.night.bounds(self.site.camera.site.noon_utc_hour)
        return (instant - first).total_seconds() / 3600.0

    def _weather_at(self, instant: dt.datetime) -> Weather:
        return self.weather.weather(self._hours(instant))

    def _dither(self, random: np.random.Generator) -> tuple[float, float]:
        size, angle = random.uniform(*self.pointing.dither_arcsec), random.uniform(0.0, 2 * np.pi)
        if not self.effects.dithers:
            return 0.0, 0.0
        return float(size * np.sin(angle)), float(size * np.cos(angle))

    def _pointing_error(
        self, random: np.random.Generator, hour_angle: float, dec: float
    ) -> tuple[tuple[float, float], float]:
        """Offset of the true boresight (east, north; arcsec) and true rotation (degrees)."""
        jitter = random.normal(0.0, self.pointing.random_error_arcsec, 2)
        turn = random.normal(0.0, self.pointing.rotation_error_deg)
        if not self.effects.pointing_error:
            return (0.0, 0.0), 0.0
        # Flexure and polar misalignment: low harmonics of hour angle and declination, fixed for a telescope.
        coefficients = generator(self.seed, "pointing model").normal(0.0, 1.0, (2, 3))
        terms = np.array([1.0, np.sin(np.radians(hour_angle)), np.sin(np.radians(dec))])
        model = self.pointing.model_error_arcsec * coefficients @ terms
        offset = model + jitter
        return (float(offset[0]), float(offset[1])), float(turn)


def _offset(ra: float, dec: float, east_arcsec: float, north_arcsec: float) -> tuple[float, float]:
    """Move a pointing by a small angle, never beyond a pole."""
    moved = dec + north_arcsec / 3600.0
    moved = min(max(moved, -89.999), 89.999)
    return (ra + east_arcsec / 3600.0 / np.cos(np.radians(moved))) % 360.0, moved


def _middle(plan: Plan) -> dt.datetime:
    return plan.start + dt.timedelta(seconds=plan.exptime_s / 2)


def _parallactic(hour_angle_deg: float, dec_deg: float, latitude_deg: float) -> float:
    """Position angle of the zenith, degrees."""
    hour, dec, latitude = np.radians([hour_angle_deg, dec_deg, latitude_deg])
    across = np.tan(latitude) * np.cos(dec) - np.sin(dec) * np.cos(hour)
    return float(np.degrees(np.arctan2(np.sin(hour), across)))


def _led_factor(seed: int, led: int | None) -> float:
    """Brightness of one LED against the others."""
    return float(generator(seed, "led", led).uniform(0.85, 1.15))
