"""Objects over the sky: a local rule, one star each, across filters, fields and quadrants."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matching_builders import UNIT, make_sky, reference_seeds

from zsds_tasks.science.matching.config import GroupingConfig
from zsds_tasks.science.matching.group import UNIT_STEP, group
from zsds_tasks.science.matching.rows import Seeds
from zsds_tasks.science.matching.score import score_objects
from zsds_tasks.sky import healpix
from zsds_tasks.sky.tangent import deproject, separation_deg
from zsds_tasks.survey.identifiers import ObjectId

CONFIG = GroupingConfig()
COLUMNS = tuple(Seeds.__dataclass_fields__)


def seeds_at(unit, ra, dec, origin=0):
    count, zeros = len(ra), np.zeros(len(ra))
    number = int(ObjectId(600, 1 + unit % 3, 1 + unit // 3, 1, 0)) + np.arange(count)
    return Seeds(number, ra, dec, zeros, zeros, zeros + 58000.0, zeros + 0.05, zeros + origin)


def joined(parts):
    return Seeds(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS})


def crowded(rng, centre, units=6, count=150, side=40.0):
    return joined(
        [
            seeds_at(unit, *deproject(*rng.uniform(-side / 2, side / 2, (2, count)), centre))
            for unit in range(units)
        ]
    )


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10)
def test_pixels_with_margins_give_what_the_whole_sky_gives(seed):
    rng = np.random.default_rng(seed)
    centre = healpix.position_of(int(rng.integers(12 << 30)) << 28)  # a corner where pixels of order 15 meet
    seeds = crowded(rng, (float(centre[0][0]), float(centre[1][0])))
    whole = group(seeds, CONFIG)
    places = healpix.unit_vectors(seeds.ra, seeds.dec)
    pixel = healpix.ancestor(healpix.index_of(seeds.ra, seeds.dec), 15)  # 6.4 arcsec: smaller than the margin
    margin = np.radians(CONFIG.margin_arcsec / 3600)
    for one in np.unique(pixel)[:12]:
        inside = np.flatnonzero(pixel == one)
        apart = np.linalg.norm(places[:, None] - places[inside], axis=-1).min(axis=1)
        part = rng.permutation(np.flatnonzero(apart <= margin))
        some = group(seeds.take(part), CONFIG)
        is_inside = pixel[part] == one
        np.testing.assert_array_equal(some.objectid[is_inside], whole.objectid[part][is_inside])
        np.testing.assert_array_equal(some.separation[is_inside], whole.separation[part][is_inside])


@pytest.mark.parametrize("centre", [(0.0, 5.0), (90.0, 89.9999)])
def test_members_are_near_their_leader_and_of_different_units(centre):
    seeds = crowded(np.random.default_rng(2), centre)
    found = group(seeds, CONFIG)
    np.testing.assert_array_equal(found.leader[found.leader], found.leader)
    np.testing.assert_array_equal(found.objectid, seeds.objectid[found.leader])
    gaps = 3600 * separation_deg(seeds.ra, seeds.dec, seeds.ra[found.leader], seeds.dec[found.leader])
    np.testing.assert_allclose(found.separation, gaps, atol=1e-4)
    assert gaps.max() <= CONFIG.radius_arcsec
    pairs = np.stack([seeds.objectid // UNIT_STEP, found.leader])
    assert np.unique(pairs, axis=1).shape == pairs.shape
    assert len(np.unique(found.leader)) < len(seeds)


def test_a_chain_of_neighbours_does_not_become_one_object():
    dec = np.arange(12) * 0.9 / 3600
    seeds = joined([seeds_at(unit, np.array([40.0]), dec[unit : unit + 1]) for unit in range(12)])
    found = group(seeds, CONFIG)
    assert np.bincount(found.leader).max() <= 3


def test_the_leader_is_a_reference_source_of_the_lowest_objectid():
    place = (np.array([10.0]), np.array([-20.0]))
    seeds = joined([seeds_at(0, *place, origin=1), seeds_at(2, *place), seeds_at(1, *place)])
    order = np.argsort(seeds.objectid[1:]) + 1
    assert group(seeds, CONFIG).leader.tolist() == [order[0]] * 3


def test_seeds_of_different_epochs_meet_at_the_common_one():
    early, late = (
        seeds_at(0, np.array([50.0]), np.array([10.0])),
        seeds_at(1, np.array([50.0]), np.array([10.0])),
    )
    late = replace(late, mjd0=late.mjd0 + 3652.5, dec=late.dec + 10 / 3600)
    motion = np.array([1000.0])
    moving = joined([replace(early, pmdec=motion), replace(late, pmdec=motion)])
    assert group(moving, CONFIG).leader.tolist() == [0, 0]
    assert group(joined([early, late]), CONFIG).leader.tolist() == [0, 1]


def test_nothing_groups_to_nothing():
    assert len(group(seeds_at(0, np.empty(0), np.empty(0)), CONFIG).leader) == 0


def test_stars_in_overlapping_quadrants_and_filters_are_one_object_each():
    """Six units, each showing two thirds of the sky between them: borders run through the middle."""
    rng = np.random.default_rng(31)
    sky = make_sky(rng, 3000, 900.0)
    parts, stars = [], []
    for fid in (1, 2, 3):
        for quadrant, inside in (
            (1, sky.dec < np.quantile(sky.dec, 0.66)),
            (2, sky.dec > np.quantile(sky.dec, 0.33)),
        ):
            unit = replace(UNIT, fid=fid, qid=quadrant)
            seeds, star = reference_seeds(sky, rng, unit, fwhm=rng.uniform(1.6, 2.2))
            parts.append(seeds.take(inside[star]))
            stars.append(star[inside[star]])
    seeds, star = joined(parts), np.concatenate(stars)
    objectid = group(seeds, CONFIG).objectid
    alone = score_objects(star, objectid, sky.alone(5.0))
    assert alone.stars > 1000
    assert alone.wrong_share < 0.001
    assert alone.missed == 0
    assert score_objects(star, objectid).wrong_share < 0.005
