"""Galaxies, variable stars and transients: populations and light curves."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scene_builders import MJD, light_config

from zsds_tasks.simulator.products import Profile
from zsds_tasks.simulator.sky.galaxies import Galaxies, galaxy_tile
from zsds_tasks.simulator.sky.scene import tiles_in
from zsds_tasks.simulator.sky.stars import Stars, star_tile
from zsds_tasks.simulator.sky.transients import Events, distance_modulus, event_mags, season_events, season_of
from zsds_tasks.simulator.sky.variables import Variability, VariableClass, brightness_changes, variability
from zsds_tasks.sky import healpix
from zsds_tasks.sky.tangent import separation_deg

CONFIG = light_config()
ORDER = CONFIG.stars.tile_order
AREA = healpix.resolution_deg(ORDER) ** 2
TILES = tiles_in((320.0, 12.0), 0.8, ORDER)


@pytest.fixture(scope="module")
def galaxies():
    return Galaxies.concatenate([galaxy_tile(CONFIG.galaxies, 5, ORDER, t) for t in TILES])


@pytest.fixture(scope="module")
def curves():
    found = []
    for tile in TILES:
        stars = star_tile(CONFIG.stars, 5, tile)
        found.append((stars, variability(CONFIG.variables, 5, ORDER, tile, stars, AREA)))
    return found


@pytest.fixture(scope="module")
def events():
    parts = []
    for tile in TILES:
        hosts = galaxy_tile(CONFIG.galaxies, 5, ORDER, tile)
        season = season_of(CONFIG.transients, MJD)
        parts += [season_events(CONFIG.transients, 5, ORDER, tile, season + k, hosts) for k in (-1, 0, 1)]
    return Events.concatenate(parts)


def make_curve(kind, *, period=2.0, amplitude=0.8, phase=0.0, shape=0.5, width=0.1):
    return Variability(
        np.array([0]),
        np.array([kind], np.int8),
        *(np.array([x]) for x in (period, amplitude, phase, shape, width)),
    )


def light_curve(curve, phases):
    period = curve.period_days[0]
    return np.array([brightness_changes(CONFIG.variables, curve, 58000.0 + p * period)[0, 0] for p in phases])


def test_galaxy_counts_follow_the_law(galaxies):
    r, area = galaxies.mags[1], len(TILES) * AREA
    between = ((r > 20) & (r < 21)).sum() / area
    assert between == pytest.approx(5000 * 10 ** (0.4 * (20.5 - 22)), rel=0.12)
    assert len(np.unique(galaxies.object_id)) == len(galaxies)


def test_fainter_galaxies_are_smaller_and_farther(galaxies):
    r = galaxies.mags[1]
    bright, faint = (r < 19), (r > 21.5)
    assert np.median(galaxies.half_light_arcsec[bright]) > 2 * np.median(galaxies.half_light_arcsec[faint])
    assert np.median(galaxies.redshift[bright]) < 0.5 * np.median(galaxies.redshift[faint])
    assert set(np.unique(galaxies.profile)) == {Profile.EXPONENTIAL, Profile.DE_VAUCOULEURS}
    assert galaxies.axis_ratio.min() >= CONFIG.galaxies.thinnest


def test_variables_have_their_density_and_colours(curves):
    kinds = np.concatenate([v.kind for _, v in curves])
    for which in VariableClass:
        expected = CONFIG.variables.of(which).per_square_degree * AREA * len(TILES)
        assert abs((kinds == which).sum() - expected) < 5 * np.sqrt(expected) + 2
    for stars, v in curves:
        rr = v.row[v.kind == VariableClass.RR_LYRAE]
        assert ((stars.mags[0] - stars.mags[1])[rr] < 0.45).all()
        assert len(np.unique(v.row)) == len(v)


def test_a_tile_without_stars_has_no_variables():
    none = variability(CONFIG.variables, 5, ORDER, 7, Stars.empty(), AREA)
    assert len(none) == 0
    assert brightness_changes(CONFIG.variables, none, MJD).shape == (4, 0)


def test_an_eclipsing_star_is_dimmed_twice_a_period():
    curve = make_curve(VariableClass.ECLIPSING)
    assert light_curve(curve, [0.0, 0.5, 0.25, 0.75]) == pytest.approx([0.8, 0.4, 0.0, 0.0])


def test_an_rr_lyrae_star_rises_faster_than_it_falls():
    phases = np.linspace(0, 1, 400, endpoint=False)
    light = light_curve(make_curve(VariableClass.RR_LYRAE, period=0.55), phases)
    assert np.ptp(light) == pytest.approx(0.8, rel=0.02)
    rising = (np.roll(light, -1) < light).mean()
    assert rising < 0.4
    assert light.mean() == pytest.approx(0.0, abs=0.02)


def test_long_period_variables_are_slow_and_large():
    light = light_curve(make_curve(VariableClass.LONG_PERIOD, period=300.0), np.linspace(0, 1, 100))
    assert 0.6 < np.ptp(light) / 0.8 < 1.3


def test_light_curves_repeat():
    for which in VariableClass:
        curve = make_curve(which, phase=0.3)
        once, later = (brightness_changes(CONFIG.variables, curve, 58000.7 + n * 2.0) for n in (0, 25))
        np.testing.assert_allclose(once, later, atol=1e-9)


def test_some_transients_are_alive_on_any_night(events):
    for night in MJD + np.arange(0, 30, 3):
        alive = event_mags(CONFIG.transients, events, night)[1] < 20.5
        assert alive.sum() >= 1
    kinds = list(CONFIG.transients.kinds)
    assert set(np.unique(events.kind)) == set(range(len(kinds)))


def test_supernovae_sit_on_galaxies_and_others_do_not(events, galaxies):
    hosted = events.host_id > 0
    assert (hosted == (events.redshift > 0)).all()
    rows = {int(i): k for k, i in enumerate(galaxies.object_id)}
    for event in np.flatnonzero(hosted):
        host = rows[int(events.host_id[event])]
        distance = 3600 * separation_deg(
            events.ra[event], events.dec[event], galaxies.ra[host], galaxies.dec[host]
        )
        assert distance <= 2.01 * galaxies.half_light_arcsec[host]


def test_a_type_ia_peaks_when_and_as_bright_as_it_says():
    config = CONFIG.transients
    one = Events(
        *(
            np.array([x])
            for x in (1, list(config.kinds).index("sn_ia"), 10.0, 10.0, 60000.0, 18.0, 1.0, 0.05, 2)
        )
    )
    times = 60000.0 + np.arange(-30, 90)
    r = np.array([event_mags(config, one, t)[1, 0] for t in times])
    assert times[np.argmin(r)] == 60000.0
    assert r.min() == pytest.approx(18.0)
    assert np.isinf(r[times < 60000 - 18]).all()
    fading = [event_mags(config, one, t)[0, 0] for t in (60000.0, 60000.0 + 15 * 1.05)]
    assert fading[1] - fading[0] == pytest.approx(1.05, abs=0.02)  # Delta m15 in g
    stretched = dataclasses.replace(one, stretch=np.array([1.1]))
    assert event_mags(config, stretched, 60020.0)[1, 0] < event_mags(config, one, 60020.0)[1, 0]


def test_distances_are_hubbles():
    assert distance_modulus(np.array([0.1]), 70.0) == pytest.approx(38.26, abs=0.06)


def test_seasons_do_not_depend_on_each_other():
    tile = TILES[0]
    hosts = galaxy_tile(CONFIG.galaxies, 5, ORDER, tile)
    one, again = (season_events(CONFIG.transients, 5, ORDER, tile, 1000, hosts) for _ in range(2))
    for field in dataclasses.fields(Events):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(again, field.name))


def test_a_tile_without_galaxies_has_no_supernovae():
    found = [season_events(CONFIG.transients, 5, ORDER, 3, n, Galaxies.empty()) for n in range(40)]
    everything = Events.concatenate(found)
    assert len(everything) > 0
    assert (everything.host_id == 0).all()
