"""The stellar sky: real densities, colours and motions; the same from every camera."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from scene_builders import MJD, light_config, make_world

from zsds_tasks.simulator.randomness import generator
from zsds_tasks.simulator.sky.galaxy_model import SightLine, galactic, proper_motions
from zsds_tasks.simulator.sky.scene import tiles_in
from zsds_tasks.simulator.sky.stars import Stars, planted_stars, star_tile
from zsds_tasks.sky import healpix, horizon
from zsds_tasks.sky.tangent import project, separation_deg

CONFIG = light_config().stars
QUADRANT_DEG2 = 0.75


def density(ra, dec, limit=21.0):
    longitude, latitude = galactic(np.array(ra), np.array(dec))
    return SightLine(CONFIG.galaxy, float(longitude), float(latitude), 9.5, limit).per_square_degree


def tile_at(ra, dec):
    return tiles_in((ra, dec), 0.01, CONFIG.tile_order)[0]


@pytest.fixture(scope="module")
def rich():
    """Stars of all tiles around a field of moderate latitude."""
    tiles = tiles_in((320.0, 12.0), 0.5, CONFIG.tile_order)
    return Stars.concatenate([star_tile(CONFIG, 5, tile) for tile in tiles])


def test_galactic_coordinates_agree_with_astropy():
    import astropy.units as u
    from astropy.coordinates import SkyCoord

    ra, dec = np.array([0.0, 83.6, 180.0, 266.4]), np.array([0.0, 22.0, 40.0, -29.0])
    expected = SkyCoord(ra * u.deg, dec * u.deg).galactic
    longitude, latitude = galactic(ra, dec)
    assert latitude == pytest.approx(expected.b.deg, abs=1e-4)
    assert np.exp(1j * np.radians(longitude)) == pytest.approx(np.exp(1j * expected.l.rad), abs=1e-3)


def test_densities_run_from_the_pole_to_the_plane_as_the_reference_says():
    """Reference 15.5: 3e3 (with galaxies) to above 5e4 sources per quadrant."""
    pole, plane = density(192.86, 27.13) * QUADRANT_DEG2, density(300.0, 35.0) * QUADRANT_DEG2
    assert pole == pytest.approx(1_850, rel=0.02)
    assert plane == pytest.approx(165_000, rel=0.02)
    assert pole < density(320.0, 12.0) * QUADRANT_DEG2 < plane


def test_the_crowded_plane_gives_up_its_faintest_stars():
    tile = tile_at(300.0, 35.0)
    stars = star_tile(CONFIG, 5, tile)
    limit = CONFIG.crowding_limit_per_deg2
    assert len(stars) == pytest.approx(limit * healpix.resolution_deg(CONFIG.tile_order) ** 2, rel=0.1)
    assert limit * QUADRANT_DEG2 > 50_000
    assert 18 < stars.mags[1].max() < 21.5


def test_counts_rise_with_magnitude():
    counts = [density(345.0, 32.0, limit) for limit in (13, 15, 17, 19, 21, 22.5)]
    assert all(1.3 < b / a < 6 for a, b in itertools.pairwise(counts))


def test_a_tile_is_the_same_every_time_and_other_for_another_seed():
    tile = tile_at(20.5, 9.5)
    one, again, other = (star_tile(CONFIG, seed, tile) for seed in (5, 5, 6))
    for field in dataclasses.fields(Stars):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(again, field.name))
    assert len(one) != len(other) or not np.array_equal(one.ra, other.ra)


def test_stars_lie_in_their_tile_between_the_limits(rich):
    tile = tile_at(20.5, 9.5)
    stars = star_tile(CONFIG, 5, tile)
    assert (healpix.ancestor(healpix.index_of(stars.ra, stars.dec), CONFIG.tile_order) == tile).all()
    assert 9.2 < rich.mags[1].min() < 13
    assert rich.mags[1].max() < CONFIG.faint_limit + 0.5
    assert len(np.unique(rich.object_id)) == len(rich)


def test_the_number_of_stars_is_what_the_galaxy_says(rich):
    area = len(tiles_in((320.0, 12.0), 0.5, CONFIG.tile_order)) * healpix.resolution_deg(8) ** 2
    expected = density(320.0, 12.0, CONFIG.faint_limit) * area
    assert len(rich) == pytest.approx(expected, rel=0.1)


def test_colours_follow_the_stellar_locus(rich):
    g, r, i, _ = rich.mags
    colour = g - r
    assert np.median(np.diff(np.percentile(colour, [5, 95]))) > 0.8  # from turn-off blue to dwarf red
    middle = (colour > 0.45) & (colour < 0.55)
    assert np.median((r - i)[middle]) == pytest.approx(0.16, abs=0.06)
    red = colour > 1.35
    assert 0.05 < red.mean() < 0.7
    assert np.std((r - i)[red]) > 0.2  # M dwarfs spread in r-i at one g-r


def test_near_stars_move_and_far_ones_do_not(rich):
    motion = np.hypot(rich.pmra, rich.pmdec)
    near, far = rich.parallax > 2.0, rich.parallax < 0.2
    assert np.median(motion[near]) > 15.0
    assert np.median(motion[far]) < 8.0


def test_velocities_become_proper_motions_at_the_right_scale():
    """A body of the thin disc's dispersion at 1 kpc: km/s over 4.74 kpc."""
    random, n = generator(1, "motions"), 4000
    zeros = np.zeros(n, np.intp)
    ra, dec = np.full(n, 40.0), np.full(n, 20.0)
    pm = proper_motions(CONFIG.galaxy, random, zeros, ra, dec, np.full(n, 1000.0))
    assert 15 < np.hypot(*pm).mean() * 4.74 < 70


def test_places_move_with_proper_motion_and_parallax():
    star = Stars(
        np.array([1]),
        np.array([90.0]),
        np.array([0.0]),
        np.array([100.0]),
        np.array([-50.0]),
        np.array([0.0]),
        np.zeros((4, 1)),
    )
    ra, dec = star.at(57388.5 + 3652.5, np.zeros(3))
    assert ((ra[0] - 90) * 3.6e6, dec[0] * 3.6e6) == pytest.approx((1000.0, -500.0), abs=0.01)
    near = dataclasses.replace(star, pmra=np.zeros(1), pmdec=np.zeros(1), parallax=np.array([500.0]))
    swing = [near.at(57388.5 + d, horizon.earth(57388.5 + d)[0])[0][0] for d in range(0, 366, 5)]
    assert np.ptp(swing) * 3.6e6 == pytest.approx(1000.0, rel=0.03)


def test_every_mini_field_has_its_bright_star_inside_a_quadrant():
    site = make_world().site
    stars = planted_stars(CONFIG, 5, site.camera, site.fields)
    assert len(stars) == len(site.fields.all_fields)
    for field in site.fields.all_fields:
        near = separation_deg(stars.ra, stars.dec, field.ra, field.dec) < 0.6
        east, north = project(stars.ra[near], stars.dec[near], (field.ra, field.dec))
        inside = 0
        for quadrant in site.camera.quadrants:
            x, y = site.camera.pixel(quadrant.rcid, east, north)
            inside += int(((x > 200) & (x < 570) & (y > 200) & (y < 570)).sum())
        assert inside >= 1
        assert 5.0 <= stars.mags[1][near].min() <= 7.2


def test_a_large_grid_gets_no_planted_stars():
    site = make_world("ztf").site
    assert len(planted_stars(CONFIG, 5, site.camera, site.fields)) == 0


def test_tiles_cover_a_cone_wherever_it_is():
    random = np.random.default_rng(4)
    for ra, dec in ((0.0, 0.0), (45.0, 41.8), (123.0, 89.9), (300.0, -67.0)):
        tiles = tiles_in((ra, dec), 0.6, 8)
        bearing, distance = random.uniform(0, 2 * np.pi, 300), 0.6 * np.sqrt(random.random(300))
        d0 = np.radians(dec)
        arc = np.radians(distance)
        dec2 = np.arcsin(np.sin(d0) * np.cos(arc) + np.cos(d0) * np.sin(arc) * np.cos(bearing))
        ra2 = np.radians(ra) + np.arctan2(
            np.sin(bearing) * np.sin(arc) * np.cos(d0), np.cos(arc) - np.sin(d0) * np.sin(dec2)
        )
        found = healpix.ancestor(healpix.index_of(np.degrees(ra2), np.degrees(dec2)), 8)
        assert set(found.tolist()) <= set(tiles)


def test_no_stars_have_no_places():
    ra, dec = Stars.empty().at(MJD, np.zeros(3))
    assert ra.shape == dec.shape == (0,)
