"""Asteroids from orbits, fast ones planted backward, satellites across the camera."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scene_builders import INCLUDE, MJD, NIGHT, light_config, make_night, make_world, science

from zsds_tasks.simulator.configuration import load_simulator
from zsds_tasks.simulator.products import Kind
from zsds_tasks.simulator.sky.asteroids import candidates, fast_asteroids, population
from zsds_tasks.simulator.sky.identities import Family, family_of
from zsds_tasks.simulator.sky.satellites import trails
from zsds_tasks.sky import ephemeris, horizon
from zsds_tasks.sky.tangent import separation_deg
from zsds_tasks.survey.nights import mjd

CONFIG = light_config().asteroids
OBSERVER = make_world().site.observer


@pytest.fixture(scope="module")
def bodies():
    return population(CONFIG, 5)


def ecliptic(ra, dec):
    a, d, tilt = np.radians(ra), np.radians(dec), np.radians(ephemeris.OBLIQUITY_DEG)
    latitude = np.degrees(np.arcsin(np.sin(d) * np.cos(tilt) - np.cos(d) * np.sin(tilt) * np.sin(a)))
    longitude = np.arctan2(np.sin(a) * np.cos(tilt) + np.tan(d) * np.sin(tilt), np.cos(a))
    return np.degrees(longitude) % 360, latitude


def test_the_full_belt_has_the_real_density_near_opposition():
    """Reference 15.5: 5 to 10 per square degree at V < 20.5 on the ecliptic."""
    config = load_simulator(INCLUDE).asteroids
    share = CONFIG.main_belt.count / config.main_belt.count
    seen = [ephemeris.observe(population(CONFIG, s).orbits, MJD, OBSERVER) for s in range(8)]
    sun_longitude, _ = ecliptic(*horizon.sun(MJD))
    count = 0
    for s in seen:
        longitude, latitude = ecliptic(s.ra, s.dec)
        opposite = np.abs((longitude - sun_longitude) % 360 - 180) < 40
        count += (opposite & (np.abs(latitude) < 3) & (s.v_mag < 20.5)).sum()
    assert 5 < count / len(seen) / share / (80 * 6) < 10


def test_orbits_avoid_the_gaps_and_near_earth_ones_come_near(bodies):
    a, e = bodies.orbits.a_au, bodies.orbits.e
    belt = np.arange(len(bodies)) < CONFIG.main_belt.count
    for low, high in CONFIG.gaps_au:
        assert not ((a > low) & (a < high)).any()
    assert (a * (1 - e))[~belt].max() < 1.3
    assert len(bodies) == CONFIG.main_belt.count + CONFIG.near_earth.count
    assert len(np.unique(bodies.object_id)) == len(bodies)
    assert bodies.is_known.mean() == pytest.approx(CONFIG.known_fraction, abs=0.02)


def test_the_population_is_the_same_every_time():
    population.cache_clear()
    one = population(CONFIG, 5)
    population.cache_clear()
    again = population(CONFIG, 5)
    np.testing.assert_array_equal(one.orbits.a_au, again.orbits.a_au)
    np.testing.assert_array_equal(one.phase, again.phase)


def test_candidates_lose_nothing_that_crosses_an_exposure(bodies):
    night = make_night()
    kept = candidates(CONFIG, 5, OBSERVER, night.exposures, 0.6)
    assert len(kept) < len(bodies) / 10
    known = set(kept.object_id.tolist())
    for exposure in science(night)[::5]:
        seen = ephemeris.observe(bodies.orbits, mjd(exposure.middle), OBSERVER)
        inside = separation_deg(seen.ra, seen.dec, exposure.boresight_ra, exposure.boresight_dec) < 0.55
        bright = seen.v_mag < CONFIG.faint_limit
        assert set(bodies.object_id[inside & bright].tolist()) <= known


def test_a_night_indoors_has_no_candidates():
    indoors = tuple(e for e in make_night().exposures if not e.is_sky)
    assert len(candidates(CONFIG, 5, OBSERVER, indoors, 0.6)) == 0


def test_fast_asteroids_streak_through_exposures_of_the_night():
    night, camera = make_night(), make_world().site.camera
    found = fast_asteroids(CONFIG, 5, NIGHT, camera, OBSERVER, night.exposures)
    assert len(found) == CONFIG.fast_per_night
    assert not found.is_known.any()
    assert (found.orbits.e < 0.9).all()
    for k in range(len(found)):
        one = found.take(np.array([k]))
        hits = []
        for exposure in science(night):
            seen = ephemeris.observe(one.orbits, mjd(exposure.middle), OBSERVER)
            rate = 60 * np.hypot(seen.rate_east[0], seen.rate_north[0])
            near = separation_deg(seen.ra[0], seen.dec[0], exposure.boresight_ra, exposure.boresight_dec)
            if near < 0.5:
                hits.append((rate, seen.v_mag[0]))
        assert hits
        assert any(9.5 < rate < 205 and 13 < v < 17.6 for rate, v in hits)


def test_a_night_without_science_has_no_fast_asteroids():
    camera = make_world().site.camera
    assert len(fast_asteroids(CONFIG, 5, NIGHT, camera, OBSERVER, ())) == 0


def test_streaks_reach_the_scene_with_their_rate():
    night = make_night()
    rates = []
    for exposure in science(night):
        sources = night.scene(exposure).sources
        moving = sources.take(family_of(sources.object_id) == Family.FAST_ASTEROID)
        assert (moving.kind == Kind.ASTEROID).all()
        rates += np.hypot(moving.rate_east, moving.rate_north).tolist()
    assert len(rates) >= 1
    assert max(rates) > 10 / 60


def test_rotation_changes_the_light():
    night = make_night()
    some = population(CONFIG, 5).take(np.arange(200))
    seen = ephemeris.observe(some.orbits, MJD, OBSERVER)
    mags = np.array([some.mags(seen, MJD + h / 24)[1] for h in np.linspace(0, 20, 200)])
    assert np.ptp(mags, axis=0) == pytest.approx(some.amplitude_mag, rel=0.05)
    assert night.maker.bodies.object_id.dtype == np.int64


def test_satellite_trails_cross_the_whole_camera_and_stay_the_same():
    camera, config = make_world().site.camera, light_config().satellites
    busy = config.model_copy(update={"per_degree_and_exposure": 3.0})
    exposure = science(make_night())[0]
    found = trails(busy, 5, camera, exposure)
    assert found == trails(busy, 5, camera, exposure)
    assert len(found) > 1
    radius = np.hypot(*camera.half_size_arcsec) + 120
    for trail in found:
        assert np.hypot(trail.east0, trail.north0) == pytest.approx(radius, rel=1e-9)
        assert np.hypot(trail.east1, trail.north1) == pytest.approx(radius, rel=1e-9)
        assert trail.electrons_per_arcsec > 0
    assert trails(busy, 5, camera, make_night().exposures[0]) == ()


def test_traffic_is_as_heavy_as_declared():
    camera, config = make_world().site.camera, light_config().satellites
    exposure = next(e for e in science(make_night()) if e.sun_altitude_deg < -25)
    width = 2 * (np.hypot(*camera.half_size_arcsec) + 120) / 3600
    counts = [len(trails(config, seed, camera, exposure)) for seed in range(1500)]
    expected = config.per_degree_and_exposure * width
    assert np.mean(counts) == pytest.approx(expected, abs=4 * np.sqrt(expected / 1500))
    dusk = dataclasses.replace(exposure, sun_altitude_deg=-13.0)
    more = [len(trails(config, seed, camera, dusk)) for seed in range(1500)]
    assert np.mean(more) > 2 * np.mean(counts)
