"""Sun, Moon, hour angle and altitude against astropy, whose Earth orientation is told to stay at home."""

from __future__ import annotations

import numpy as np
import pytest

from zsds_tasks.sky import horizon
from zsds_tasks.sky.horizon import Observer

PALOMAR = Observer(33.357278, -116.859861, 1707.0)
INSTANTS = [58000.1, 59300.37, 61359.25]


@pytest.fixture(scope="module")
def astropy_sky():
    import astropy.units as u
    from astropy.coordinates import EarthLocation
    from astropy.time import Time
    from astropy.utils import iers

    location = EarthLocation.from_geodetic(
        PALOMAR.longitude_deg * u.deg, PALOMAR.latitude_deg * u.deg, PALOMAR.elevation_m * u.m
    )
    with iers.conf.set_temp("auto_download", False):

        def at(mjd):
            time = Time(mjd, format="mjd", scale="utc")
            time.delta_ut1_utc = 0.0
            return time, location

        yield at


@pytest.mark.parametrize("mjd", INSTANTS)
def test_sun_and_moon_agree_with_astropy(astropy_sky, mjd):
    from astropy.coordinates import get_body, solar_system_ephemeris

    time, location = astropy_sky(mjd)
    with solar_system_ephemeris.set("builtin"):
        sun, moon = get_body("sun", time, location), get_body("moon", time, location)
    # astropy gives apparent directions: aberration and light time are 20 arcsec for the Sun.
    assert horizon.sun(mjd) == pytest.approx((sun.ra.deg, sun.dec.deg), abs=0.012)
    ra, dec, illumination = horizon.moon(mjd, PALOMAR)
    assert (ra, dec) == pytest.approx((moon.ra.deg, moon.dec.deg), abs=0.003)
    elongation = sun.separation(moon).deg
    assert illumination == pytest.approx((1 - np.cos(np.radians(elongation))) / 2, abs=0.006)


@pytest.mark.parametrize("mjd", INSTANTS)
def test_horizontal_agrees_with_astropy(astropy_sky, mjd):
    import astropy.units as u
    from astropy.coordinates import AltAz, SkyCoord

    time, location = astropy_sky(mjd)
    ra, dec = np.array([10.0, 150.0, 300.0]), np.array([41.0, -20.0, 75.0])
    expected = SkyCoord(ra * u.deg, dec * u.deg).transform_to(AltAz(obstime=time, location=location))
    _, azimuth, altitude = horizon.horizontal(ra, dec, mjd, PALOMAR)
    # Aberration is left out: 20 arcsec.
    assert altitude == pytest.approx(expected.alt.deg, abs=0.007)
    assert azimuth == pytest.approx(expected.az.deg, abs=0.02)


def test_hour_angle_grows_with_sidereal_time():
    times = 60000.0 + np.arange(10) / 24
    hour_angle, _, _ = horizon.horizontal(np.full(10, 80.0), np.full(10, 10.0), times, PALOMAR)
    steps = (np.diff(hour_angle) + 180) % 360 - 180
    assert steps == pytest.approx(np.full(9, 15.041), abs=1e-3)


def test_airmass_is_one_overhead_and_infinite_below():
    assert horizon.airmass([90.0, 30.0, -1.0]) == pytest.approx([1.0, 1.995, np.inf], abs=0.002)


def test_the_observer_turns_with_the_earth():
    position, velocity = horizon.site(60000.0, PALOMAR)
    later, _ = horizon.site(60000.0 + 1 / 86400, PALOMAR)
    assert np.linalg.norm(position) * horizon.KM_PER_AU == pytest.approx(6373.0, abs=5.0)
    assert (later - position) * 86400 == pytest.approx(velocity, rel=2e-4, abs=1e-8)


def test_the_earth_moves_as_its_velocity_says():
    before, _ = horizon.earth(60000.0 - 0.01)
    after, _ = horizon.earth(60000.0 + 0.01)
    _, velocity = horizon.earth(60000.0)
    assert (after - before) / 0.02 == pytest.approx(velocity, rel=1e-6)
