"""Detections to seeds: the slow obvious rule as oracle, laws, places where coordinates turn."""

from dataclasses import replace

import erfa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.science.matching.config import MatchingConfig
from zsds_tasks.science.matching.crowding import doubtful, safe_radii
from zsds_tasks.science.matching.match import match
from zsds_tasks.science.matching.rows import Detections, Matches, Seeds
from zsds_tasks.sky.tangent import deproject, separation_deg

CONFIG = MatchingConfig()
CENTRES = [(200.0, 40.0), (0.0, 0.0), (359.9999, -30.0), (10.0, 90.0), (77.0, -89.9999), (180.0, 2.0)]


def make_seeds(ra, dec, **given_):
    count = len(ra)
    columns = {
        "objectid": np.arange(count) + 100,
        "ra": ra,
        "dec": dec,
        "pmra": np.zeros(count),
        "pmdec": np.zeros(count),
        "mjd0": np.full(count, 58000.0),
        "sigma": np.full(count, 0.05),
        "origin": np.zeros(count),
    }
    return Seeds(**(columns | given_))


def make_detections(ra, dec, pid=1, row=None, mjd=58000.0):
    count = len(ra)
    pids = np.broadcast_to(np.asarray(pid), count)
    epochs = np.broadcast_to(np.asarray(mjd, float), count)
    return Detections(pids, np.arange(count) if row is None else row, epochs, ra, dec, np.full(count, 0.1))


def crowd(rng, centre, seeds=60, images=3, side=30.0):
    """Far more crowded than any sky, so that every conflict occurs."""
    places = deproject(*rng.uniform(-side / 2, side / 2, (2, seeds)), centre)
    moving = {name: rng.normal(0, 300.0, seeds) for name in ("pmra", "pmdec")}
    stars = make_seeds(*places, objectid=rng.permutation(seeds) + 100, **moving)
    pid = np.repeat(np.arange(images), seeds)
    found = deproject(*rng.uniform(-side / 2, side / 2, (2, seeds * images)), centre)
    detections = make_detections(
        *found, pid=pid, row=np.tile(np.arange(seeds), images), mjd=58000.0 + 300 * pid
    )
    shuffled = rng.permutation(len(detections))
    return stars, detections.take(shuffled)


def slowly(seeds, detections, config):
    """Match by the rule as it is written, with the sphere's trigonometry."""
    seed, apart = np.full(len(detections), -1), np.full(len(detections), np.nan)
    for pid in np.unique(detections.pid):
        rows = np.flatnonzero(detections.pid == pid)
        years = (detections.mjd[rows[0]] - seeds.mjd0) / 365.25
        ra, dec = erfa.pmsafe(
            np.radians(seeds.ra),
            np.radians(seeds.dec),
            np.radians(seeds.pmra / 3.6e6) / np.cos(np.radians(seeds.dec)),
            np.radians(seeds.pmdec / 3.6e6),
            np.full(len(seeds), 0.01),
            np.zeros(len(seeds)),
            2400000.5,
            seeds.mjd0,
            2400000.5,
            seeds.mjd0 + years * 365.25,
        )[:2]
        gaps = 3600 * separation_deg(
            detections.ra[rows, None], detections.dec[rows, None], np.degrees(ra), np.degrees(dec)
        )
        pairs = [
            (gaps[i, s], seeds.objectid[s], detections.row[rows[i]], i, s) for i, s in np.ndindex(gaps.shape)
        ]
        free_rows, free_seeds = set(range(len(rows))), set(range(len(seeds)))
        for gap, _, _, i, s in sorted(pair for pair in pairs if pair[0] <= config.radius_arcsec):
            if i in free_rows and s in free_seeds:
                free_rows.remove(i)
                free_seeds.remove(s)
                seed[rows[i]], apart[rows[i]] = s, gap
    return Matches(seed, apart)


@pytest.mark.parametrize("centre", CENTRES[:3] + CENTRES[5:])
def test_the_fast_rule_is_the_slow_rule(centre):
    rng = np.random.default_rng(5)
    for side in (15.0, 60.0):
        seeds, detections = crowd(rng, centre, side=side)
        fast, slow = match(seeds, detections, CONFIG), slowly(seeds, detections, CONFIG)
        assert (slow.seed >= 0).sum() > 20
        np.testing.assert_array_equal(fast.seed, slow.seed)
        np.testing.assert_allclose(fast.separation, slow.separation, atol=2e-5)


@pytest.mark.parametrize("centre", CENTRES)
def test_every_part_of_the_sky_is_alike(centre):
    rng = np.random.default_rng(8)
    east, north = rng.uniform(-300, 300, (2, 500))
    errors = rng.normal(0, 0.1, (2, 500))
    seeds = make_seeds(*deproject(east, north, centre))
    detections = make_detections(*deproject(east + errors[0], north + errors[1], centre))
    found = match(seeds, detections, CONFIG)
    reference = match(
        make_seeds(*deproject(east, north, (120.0, 15.0))),
        make_detections(*deproject(east + errors[0], north + errors[1], (120.0, 15.0))),
        CONFIG,
    )
    np.testing.assert_array_equal(found.seed, reference.seed)
    np.testing.assert_allclose(found.separation, reference.separation, atol=1e-4)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_order_and_portions_of_rows_change_nothing(seed):
    rng = np.random.default_rng(seed)
    seeds, detections = crowd(rng, (0.0, 89.0))
    whole = match(seeds, detections, CONFIG)
    order, stars = rng.permutation(len(detections)), rng.permutation(len(seeds))
    again = match(seeds.take(stars), detections.take(order), CONFIG)
    np.testing.assert_array_equal(np.where(again.seed >= 0, stars[again.seed], -1), whole.seed[order])
    np.testing.assert_array_equal(again.separation, whole.separation[order])
    one = detections.pid == rng.choice(detections.pid)
    np.testing.assert_array_equal(match(seeds, detections.take(one), CONFIG).seed, whole.seed[one])


def test_each_image_gives_a_seed_once():
    seeds, detections = crowd(np.random.default_rng(3), (50.0, 5.0), images=5)
    found = match(seeds, detections, CONFIG)
    pairs = np.stack([detections.pid, found.seed])[:, found.seed >= 0]
    assert len(np.unique(pairs, axis=1).T) == pairs.shape[1] > 50
    assert (found.separation[found.seed >= 0] <= CONFIG.radius_arcsec).all()
    assert np.isnan(found.separation[found.seed < 0]).all()


def test_equal_distances_go_to_the_lower_objectid_then_the_lower_row():
    arcsec = 1 / 3600
    seeds = make_seeds([10.0 + arcsec, 10.0 - arcsec], [0.0, 0.0], objectid=[9, 4])
    one = make_detections([10.0], [0.0])
    assert match(seeds, one, CONFIG).seed.tolist() == [1]
    seed = make_seeds([10.0], [0.0])
    two = make_detections([10.0, 10.0], [arcsec, -arcsec], row=[7, 3])
    assert match(seed, two, CONFIG).seed.tolist() == [-1, 0]


def test_a_fast_star_is_followed_for_years_and_lost_without_its_motion():
    star = make_seeds([30.0], [60.0], pmra=[800.0], pmdec=[-600.0])
    years = np.arange(1, 9)
    ra = 30.0 + 0.8 * years / 3600 / np.cos(np.radians(60.0))
    seen = make_detections(ra, 60.0 - 0.6 * years / 3600, pid=years, mjd=58000.0 + 365.25 * years)
    found = match(star, seen, CONFIG)
    assert (found.seed == 0).all()
    assert found.separation.max() < 0.001
    still = match(replace(star, pmra=np.zeros(1), pmdec=np.zeros(1)), seen, CONFIG)
    assert still.seed.tolist() == [0] + 7 * [-1]


def test_nothing_matches_nothing():
    empty, one = make_seeds([], []), make_seeds([10.0], [0.0])
    assert match(empty, make_detections([10.0], [0.0]), CONFIG).seed.tolist() == [-1]
    assert len(match(one, make_detections([], []), CONFIG).seed) == 0
    assert len(match(empty, make_detections([], []), CONFIG).seed) == 0


def test_a_far_match_is_in_doubt_only_where_seeds_are_dense():
    rng = np.random.default_rng(2)
    east, north = rng.uniform(-60, 60, (2, 300))
    crowded = make_seeds(*deproject(np.append(0.0, east), np.append(0.0, north), (200.0, 40.0)))
    lonely = make_seeds([200.0], [40.0])
    one, sure = Matches(np.array([0]), np.array([1.2])), Matches(np.array([0]), np.array([0.4]))
    seen = make_detections([200.0], [40.0])
    assert doubtful(one, crowded, seen, CONFIG).tolist() == [True]
    assert doubtful(sure, crowded, seen, CONFIG).tolist() == [False]
    assert doubtful(one, lonely, seen, CONFIG).tolist() == [False]
    assert doubtful(Matches(np.array([-1]), np.array([np.nan])), crowded, seen, CONFIG).tolist() == [False]
    assert safe_radii(lonely, lonely.ra, lonely.dec, CONFIG).tolist() == [CONFIG.radius_arcsec]
    near = (
        3600 * separation_deg(crowded.ra, crowded.dec, 200.0, 40.0) <= CONFIG.density_radius_arcsec
    ).sum() - 1
    expected = np.sqrt(CONFIG.doubtful_chance / near) * CONFIG.density_radius_arcsec
    assert safe_radii(crowded, crowded.ra, crowded.dec, CONFIG)[0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (lambda: make_detections([10.0, np.nan], [0.0, 0.0]), "ra is not finite"),
        (lambda: make_detections([10.0], [95.0]), "no position on the sky"),
        (lambda: make_detections([10.0, 10.0], [0.0, 1.0], row=[1, 1]), "a source appears twice"),
        (lambda: make_detections([10.0, 10.0], [0.0, 1.0], mjd=[1.0, 2.0]), "an image has two epochs"),
        (lambda: make_detections([10.0, 10.0], [0.0]), "dec is not as long as pid"),
        (lambda: make_seeds([10.0, 10.0], [0.0, 1.0], objectid=[1, 1]), "an objectid appears twice"),
    ],
)
def test_what_cannot_be_matched_is_refused(rows, reason):
    with pytest.raises(UnusableInputError, match=reason):
        rows()
