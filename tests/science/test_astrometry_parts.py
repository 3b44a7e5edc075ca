"""The parts of the solver, each by its own law."""

from __future__ import annotations

import numpy as np
import pytest
from astrometry_builders import EPOCH_YR, MJD, Instrument, camera_of
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.time import Time
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from zsds_tasks.science.astrometry import (
    DistortionModel,
    Pointing,
    QuadrantView,
    ReferenceStars,
    SearchConfig,
    mean_model,
    nominal_model,
)
from zsds_tasks.science.astrometry.refinement import degree_for, fit_clipped, match_nearest
from zsds_tasks.science.astrometry.shifts import find_shift
from zsds_tasks.science.astrometry.triangles import find_similarity
from zsds_tasks.sky import tangent

seeds = st.integers(0, 2**32 - 1)
shifts = st.floats(-180, 180)


def stars_of(ra, dec, pmra, pmdec):
    columns = np.atleast_2d(np.array([ra, dec, pmra, pmdec, np.zeros_like(ra)], float).T).T
    return ReferenceStars(*columns, epoch_yr=EPOCH_YR)


# --- shifts ---------------------------------------------------------------------------------------------


@given(seeds, shifts, shifts)
def test_a_shift_among_noise_is_found(seed, east, north):
    random = np.random.default_rng(seed)
    catalog = random.uniform(-1000, 1000, (300, 2))
    seen = catalog[np.abs(catalog).max(axis=1) < 700][:60] - (east, north) + random.normal(size=(1, 2)) * 0.1
    false = random.uniform(-700, 700, (60, 2))
    peak = find_shift(np.concatenate([seen, false]), catalog, 200.0, 2.0)
    assert (peak.east, peak.north) == pytest.approx((east, north), abs=2.0)
    assert peak.pairs >= len(seen)
    assert peak.chance < 1e-12


@given(seeds)
def test_no_shift_among_unrelated_positions(seed):
    random = np.random.default_rng(seed)
    peak = find_shift(random.uniform(-500, 500, (100, 2)), random.uniform(-700, 700, (400, 2)), 200.0, 2.0)
    assert peak.chance > 1e-6


def test_a_cluster_of_stars_is_no_peak():
    """Any two clumps make a hill of chance pairs: it is broad."""
    random = np.random.default_rng(3)
    sources = np.concatenate([random.normal(size=(150, 2)) * 60, random.uniform(-500, 500, (150, 2))])
    catalog = np.concatenate([random.normal(size=(500, 2)) * 60 + 50, random.uniform(-800, 800, (900, 2))])
    assert find_shift(sources, catalog, 300.0, 2.0).chance > 1e-4


def test_nothing_within_the_radius():
    peak = find_shift(np.zeros((3, 2)), np.full((4, 2), 1e4), 10.0, 2.0)
    assert (peak.pairs, peak.chance) == (0, 1.0)
    assert find_shift(np.empty((0, 2)), np.empty((0, 2)), 10.0, 2.0).pairs == 0


def test_many_trials_make_a_peak_less_surprising():
    peak = find_shift(np.zeros((1, 2)), np.zeros((1, 2)), 10.0, 2.0)
    assert peak.among(4).chance == pytest.approx(min(1.0, 4 * peak.chance))


# --- triangles ------------------------------------------------------------------------------------------


@settings(max_examples=20)
@given(seeds, st.floats(-180, 180), st.floats(0.98, 1.02), shifts, shifts)
def test_triangles_find_any_similarity(seed, turn, scale, east, north):
    random = np.random.default_rng(seed)
    sources = random.uniform(-1500, 1500, 30) + 1j * random.uniform(-1500, 1500, 30)
    factor, shift = scale * np.exp(1j * np.radians(turn)), east + 1j * north
    true = factor * sources[:15] + shift + 0.2 * (random.normal(size=15) + 1j * random.normal(size=15))
    others = random.uniform(-2000, 2000, 30) + 1j * random.uniform(-2000, 2000, 30)
    found = find_similarity(sources, random.permutation(np.concatenate([true, others])), SearchConfig())
    assert found.votes > 30
    assert abs(found.factor - factor) * 1500 < 5.0
    assert abs(found.shift - shift) < 5.0


def test_triangles_need_three_points():
    few, many = np.zeros(2, complex), np.arange(9.0) + 1j * np.arange(9.0) ** 2
    assert find_similarity(few, many, SearchConfig()).votes == 0
    assert find_similarity(many, few, SearchConfig()).votes == 0
    assert find_similarity(np.zeros(5, complex), many, SearchConfig()).votes == 0  # all in one place


def test_triangles_do_not_match_their_mirror_image():
    random = np.random.default_rng(5)
    points = random.uniform(-1000, 1000, 15) + 1j * random.uniform(-1000, 1000, 15)
    assert find_similarity(points, points, SearchConfig()).votes > 300
    assert find_similarity(points, points.conj(), SearchConfig()).votes < 6


# --- matching and fitting -------------------------------------------------------------------------------


@given(seeds, st.integers(0, 60), st.integers(0, 60), st.floats(0.5, 40))
def test_matches_are_one_to_one_and_near(seed, n, m, radius):
    random = np.random.default_rng(seed)
    places, stars = random.uniform(0, 100, (n, 2)), random.uniform(0, 100, (m, 2))
    match = match_nearest(places, cKDTree(stars), radius)
    assert len(np.unique(match.source)) == len(match.source) == len(np.unique(match.star))
    distance = np.hypot(*(places[match.source] - stars[match.star]).T)
    assert (distance <= radius).all()
    # Whoever comes away empty had a nearer rival at its nearest star, or no star near.
    for lonely in np.setdiff1d(np.arange(n), match.source):
        gaps = np.hypot(*(stars - places[lonely]).T) if m else np.array([np.inf])
        nearest = int(np.argmin(gaps))
        rivals = distance[match.star == nearest]
        assert gaps[nearest] > radius or (len(rivals) and rivals[0] <= gaps[nearest])


@given(seeds, st.integers(0, 20))
def test_outliers_do_not_bend_the_fit(seed, n_false):
    random = np.random.default_rng(seed)
    columns = np.stack([np.ones(60), *random.uniform(-1, 1, (2, 60))], axis=1)
    truth = random.normal(size=(3, 2))
    target = columns @ truth + random.normal(size=(60, 2)) * 0.01
    target[:n_false] += random.choice([-1, 1], (n_false, 2)) * random.uniform(1, 5, (n_false, 2))
    assume(np.linalg.cond(columns[n_false:]) < 20)
    coefficients, keep = fit_clipped(columns, target, np.full(60, 0.01), 4.0)
    assert not keep[:n_false].any()
    np.testing.assert_allclose(coefficients, truth, atol=0.02)


def test_degrees_by_number_of_stars():
    assert [degree_for(n, 4, 2.0) for n in (0, 1, 2, 5, 6, 12, 20, 30, 10_000)] == [
        -1,
        -1,
        0,
        0,
        1,
        2,
        3,
        4,
        4,
    ]


# --- the catalogue at an instant ------------------------------------------------------------------------


@settings(max_examples=25)
@given(st.floats(0, 359.9), st.floats(-89.9, 89.9), st.floats(-4000, 4000), st.floats(-4000, 4000))
def test_proper_motion_as_astropy_moves_stars(ra, dec, pmra, pmdec):
    moved = stars_of(ra, dec, pmra, pmdec).at(MJD)
    start = SkyCoord(
        ra * u.deg,
        dec * u.deg,
        pm_ra_cosdec=pmra * u.mas / u.yr,
        pm_dec=pmdec * u.mas / u.yr,
        distance=20 * u.pc,
        radial_velocity=0 * u.km / u.s,
        obstime=Time(EPOCH_YR, format="jyear", scale="tcb"),
    )
    theirs = start.apply_space_motion(Time(MJD, format="mjd", scale="tcb"))
    assert tangent.separation_deg(*moved, theirs.ra.deg, theirs.dec.deg)[0] * 3.6e6 < 0.5  # mas


def test_stars_without_proper_motion_stay():
    ra, dec = stars_of([10.0, 20.0], [5.0, -5.0], [np.nan, 0.0], [np.nan, 0.0]).at(MJD)
    np.testing.assert_allclose(ra, [10, 20], atol=1e-12)
    np.testing.assert_allclose(dec, [5, -5], atol=1e-12)


# --- geometry -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ztf", "mini"])
def test_the_nominal_model_is_the_camera(name):
    camera = camera_of(name)
    for rcid in range(camera.n_quadrants):
        model = nominal_model(camera, rcid)
        for x, y in ((1.0, 1.0), (100.5, 700.0), (camera.quadrant.nx, camera.quadrant.ny)):
            assert model.camera_frame(x, y) == pytest.approx(camera.focal_plane(rcid, x, y), abs=1e-8)
        assert model.degree == 1


def test_the_view_knows_where_to_read_the_catalog():
    instrument = Instrument(63)
    view = QuadrantView("a", Pointing(40.0, 10.0, 30.0), MJD, instrument.nominal)
    east, north = instrument.nominal.camera_frame(*instrument.nominal.middle)
    place = tangent.deproject(east, north, (40.0, 10.0), 30.0)
    assert view.centre == pytest.approx((float(place[0]), float(place[1])))
    assert view.search_radius_deg(0.0) == pytest.approx(np.hypot(3072, 3080) / 2 * 1.012 / 3600, rel=1e-3)
    assert view.search_radius_deg(360.0) == pytest.approx(view.search_radius_deg(0.0) + 0.1)


def test_the_mean_weighs_exposures():
    one = DistortionModel(10, 10, (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), 1)
    three = DistortionModel(10, 10, (4.0, 1.0, 0.0), (8.0, 0.0, 1.0), 3)
    mean = mean_model([one, three])
    assert (mean.east[0], mean.north[0], mean.n_exposures) == (3.0, 6.0, 4)
    for models in ([], [one, DistortionModel(10, 11, one.east, one.north)]):
        with pytest.raises(ValueError, match="models of one shape and degree"):
            mean_model(models)
