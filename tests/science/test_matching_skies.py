"""Light curves of skies whose stars are known: split, merged and missed, sparse and crowded."""

import numpy as np
import pytest
from matching_builders import CONFIG, UNIT, epochs, light_curves, make_sky, reference_seeds

from zsds_tasks.science.matching.crowding import doubtful
from zsds_tasks.science.matching.score import score_objects


def scored(stars, side, seed, images=25, pm=5.0, motion=True, kept=1.0):
    rng = np.random.default_rng(seed)
    sky = make_sky(rng, stars, side, pm=pm)
    seeds, of_seed = reference_seeds(sky, rng, UNIT, motion)
    present = rng.uniform(size=len(seeds)) < kept
    seeds, of_seed = seeds.take(present), of_seed[present]
    detections, star = epochs(sky, rng, images)
    objectid, _, matches = light_curves(seeds, detections, UNIT, CONFIG)
    in_doubt = doubtful(matches, seeds, detections, CONFIG)

    def score(rows, counted=None):
        everything = np.append(star[rows], of_seed), np.append(objectid[rows], seeds.objectid)
        return score_objects(*everything, counted)

    return (
        score(np.ones(len(star), bool)),
        score(np.ones(len(star), bool), sky.alone(5.0)),
        score(~in_doubt),
        in_doubt,
    )


@pytest.mark.parametrize("seed", [101, 102])
def test_isolated_stars_are_neither_split_nor_merged(seed):
    everything, alone, _, in_doubt = scored(2500, 900.0, seed)
    assert alone.stars > 800
    assert alone.wrong_share < 0.001
    assert alone.missed == 0
    assert everything.wrong_share < 0.005
    assert in_doubt.mean() < 0.002


def test_stars_the_reference_lacks_are_founded_once():
    _, alone, _, _ = scored(2500, 900.0, 103, kept=0.7)
    assert alone.stars > 800
    assert alone.wrong_share < 0.003
    assert alone.stray == 0


def test_stars_of_an_arcsecond_a_year_keep_their_light_curve_if_their_motion_is_known():
    _, known, _, _ = scored(600, 900.0, 104, pm=1000.0)
    _, unknown, _, _ = scored(600, 900.0, 104, pm=1000.0, motion=False)
    assert known.stars > 150
    assert known.split <= 1  # one star of these may cross another's path
    assert unknown.split > 100


def test_crowded_stars_are_few_times_wrong_and_doubt_finds_strangers():
    everything, _, sure, in_doubt = scored(
        1800, 190.0, 105
    )  # 0.02 seeds per square arcsec: the galactic plane
    assert everything.stars > 800
    assert everything.wrong_share < 0.03
    assert everything.stray < 0.006 * everything.rows
    assert sure.stray / sure.rows < 0.9 * everything.stray / everything.rows
    assert in_doubt.mean() < 0.03


def test_the_score_counts_what_it_says():
    star = np.array([0, 0, 0, 1, 1, 2, 3, 3, 4, -1])
    objects = np.array([10, 10, 11, 12, 12, 12, -1, -1, 13, 14])
    score = score_objects(star, objects)
    assert (score.stars, score.split, score.merged, score.missed) == (5, 1, 1, 1)
    assert (score.rows, score.stray) == (7, 1)
    counted = score_objects(star, objects, np.array([False, True, False, True, True]))
    assert (counted.stars, counted.split, counted.merged, counted.missed) == (3, 0, 0, 1)
    nothing = score_objects(np.empty(0, np.int64), np.empty(0, np.int64))
    assert (nothing.stars, nothing.wrong_share) == (0, 0.0)
