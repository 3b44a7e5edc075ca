"""A small instrument with odd-sized quadrants, one exposure of it, and sources to put there."""

from __future__ import annotations

import dataclasses
import datetime as dt
from functools import lru_cache
from typing import Any

import numpy as np

from zsds_tasks.settings import REPOSITORY
from zsds_tasks.simulator.configuration import SimulatorConfig, load_simulator
from zsds_tasks.simulator.effects import Effects
from zsds_tasks.simulator.instrument.instrument import Instrument
from zsds_tasks.simulator.products import Exposure, Kind, Profile, Scene, Sources, Weather
from zsds_tasks.survey.camera import Camera, load_camera
from zsds_tasks.survey.survey import load_survey

INCLUDE = REPOSITORY / "include"
NX, NY = 151, 157
START = dt.datetime(2025, 10, 12, 5, 0, 0, 250_000, tzinfo=dt.UTC)


@lru_cache(maxsize=4)
def small_camera(nx: int = NX, ny: int = NY) -> Camera:
    """The mini camera with smaller quadrants."""
    whole = load_camera("mini", INCLUDE).model_dump()
    return Camera.model_validate(whole | {"quadrant": {"nx": nx, "ny": ny, "overscan": 30}})


@lru_cache(maxsize=1)
def configuration() -> SimulatorConfig:
    return load_simulator(INCLUDE)


def make_instrument(
    *,
    seed: int = 3,
    camera: Camera | None = None,
    only: tuple[str, ...] | None = None,
    without: tuple[str, ...] = (),
) -> Instrument:
    """An instrument with all effects, `only` some, or all `without` some."""
    switches = dict.fromkeys(Effects.model_fields, only is None)
    switches |= dict.fromkeys(only or (), True) | dict.fromkeys(without, False)
    return Instrument(camera or small_camera(), configuration().instrument, Effects(**switches), seed)


def make_exposure(**changes: Any) -> Exposure:
    """A dark 30 s exposure in r near the zenith."""
    exposure = Exposure(
        expid=320620833,
        nid=3206,
        start=START,
        file_epoch=START - dt.timedelta(seconds=3),
        exptime_s=30.0,
        imgtypecode="o",
        field=5,
        filter=load_survey("ztf", INCLUDE).filter_by_code("zr"),
        programid=1,
        led=None,
        is_sky=True,
        lamp_dn_per_s=0.0,
        requested_ra=345.0,
        requested_dec=32.0,
        boresight_ra=345.003,
        boresight_dec=31.998,
        rotation_deg=0.02,
        header_ra=345.001,
        header_dec=32.001,
        header_rotation_deg=0.0,
        airmass=1.2,
        hour_angle_deg=-30.0,
        parallactic_deg=-70.0,
        azimuth_deg=80.0,
        elevation_deg=56.0,
        moon_ra=90.0,
        moon_dec=10.0,
        moon_altitude_deg=-20.0,
        moon_illumination=0.6,
        sun_altitude_deg=-40.0,
        sun_azimuth_deg=300.0,
        seeing_fwhm_arcsec=2.0,
        psf_ellipticity=0.05,
        psf_angle_deg=30.0,
        sky_mag_per_arcsec2=21.2,
        extinction_mag=0.0,
        extinction_gradient=(0.0, 0.0),
        zero_point=26.0,
        nominal_gain=6.2,
        focus_mm=10.0,
        weather=Weather(temperature_c=12.0, humidity_percent=30.0, wind_speed_kmh=10.0, pressure_mbar=830.0),
    )
    return dataclasses.replace(exposure, **changes)


def make_bias(**changes: Any) -> Exposure:
    given = {"is_sky": False, "imgtypecode": "b", "exptime_s": 0.0, "filter": None, "field": 0}
    return make_exposure(**(given | {"programid": 0} | changes))


def make_flat(dn_per_s: float = 2000.0, **changes: Any) -> Exposure:
    given = {"is_sky": False, "imgtypecode": "f", "exptime_s": 10.0, "led": 7, "field": 0, "programid": 0}
    return make_exposure(**(given | {"lamp_dn_per_s": dn_per_s} | changes))


def make_sources(east: Any, north: Any, electrons: Any, **changes: Any) -> Sources:
    """Stars at places in the camera frame (arcsec)."""
    east, north, electrons = (np.atleast_1d(np.asarray(a, float)) for a in (east, north, electrons))
    n = len(east)
    columns: dict[str, Any] = {
        "object_id": np.arange(n, dtype=np.int64) + 100,
        "kind": np.full(n, Kind.STAR, np.int8),
        "profile": np.full(n, Profile.POINT, np.int8),
        "mag": 26.0 - 2.5 * np.log10(electrons / 6.2),
        "axis_ratio": np.ones(n),
    }
    columns |= {"east": east, "north": north, "electrons": electrons}
    given = {name: np.broadcast_to(value, (n,)).copy() for name, value in changes.items()}
    names = [f.name for f in dataclasses.fields(Sources)]
    return Sources(**({name: np.zeros(n) for name in names} | columns | given))


def make_scene(exposure: Exposure | None = None, sources: Sources | None = None, **parts: Any) -> Scene:
    given: dict[str, Any] = {"bright": Sources.empty(), "trails": ()}
    return Scene(exposure or make_exposure(), sources or Sources.empty(), **(given | parts))
