"""Peaks of both signs are found once, and nothing else is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from zsds_tasks.science.candidates.detect import DetectConfig, detect

CONFIG = DetectConfig()


def bumps(places, heights, shape=(90, 101), sigma=1.2):
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = np.zeros(shape)
    for (px, py), height in zip(places, heights, strict=True):
        image += height * np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * sigma**2))
    return image.astype(np.float32)


def test_both_signs_are_found_between_pixels():
    found = detect(bumps([(30.3, 40.2), (70.6, 20.9)], [20, -9]), CONFIG)
    assert found.sign.tolist() == [-1.0, 1.0]
    assert found.x == pytest.approx([70.6, 30.3], abs=0.1)
    assert found.y == pytest.approx([20.9, 40.2], abs=0.1)
    assert (found.score > 0).all()
    assert found.score[1] == bumps([(30.3, 40.2)], [20]).max()


def test_thresholds_are_inclusive_and_two():
    image = np.zeros((60, 60), np.float32)
    image[20, 20], image[40, 40], image[30, 15], image[15, 40] = 5.0, 4.999, -3.0, 2.999
    found = detect(image, CONFIG)
    assert sorted(found.score) == pytest.approx([3.0, 4.999, 5.0])
    assert found.brighter_than(5.0).score.tolist() == [5.0]


def test_of_two_near_peaks_of_one_sign_the_higher_counts_and_a_dipole_keeps_both():
    image = np.zeros((60, 60), np.float32)
    image[20, 20], image[20, 22], image[20, 24] = 6.0, 9.0, 7.0
    image[40, 20], image[40, 22] = 8.0, -8.0
    found = detect(image, CONFIG)
    assert sorted(zip(found.y, found.x, found.sign, strict=True)) == [(20, 22, 1), (40, 20, 1), (40, 22, -1)]


def test_a_peak_taken_away_does_not_take_others_away():
    image = np.zeros((60, 60), np.float32)
    image[30, 20], image[30, 22], image[30, 25] = 9.0, 8.0, 7.0
    assert detect(image, CONFIG).x.tolist() == [20.0, 25.0]


def test_edges_and_unusable_pixels():
    image = np.zeros((60, 70), np.float32)
    image[9, 30], image[10, 30], image[49, 40], image[50, 40] = 9.0, 8.0, 7.0, 8.0
    assert len(detect(image, CONFIG)) == 1 - 1
    image[9, 30] = image[50, 40] = 0.0
    assert len(detect(image, CONFIG)) == 2
    image[10, 31] = image[49, 40] = np.nan
    assert detect(image, CONFIG).score.tolist() == [8.0]
    assert len(detect(np.full((50, 50), np.nan, np.float32), CONFIG)) == 0
    assert len(detect(np.zeros((5, 4), np.float32), CONFIG)) == 0


def test_a_plateau_is_one_peak():
    image = np.zeros((40, 40), np.float32)
    image[20:22, 20:23] = 6.0
    assert len(detect(image, CONFIG)) == 1


def test_more_peaks_than_room_are_all_found():
    image = np.zeros((400, 400), np.float32)
    image[::4, ::4] = 6.0
    assert len(detect(image, CONFIG)) == 95 * 95


@given(st.integers(0, 10_000), st.floats(0.0, 6.0))
@settings(max_examples=15, deadline=None)
def test_detections_obey_their_definition(seed, radius):
    rng = np.random.default_rng(seed)
    image = (ndimage.gaussian_filter(rng.normal(0, 1, (70, 80)), 1.0) * 11).astype(np.float32)
    config = CONFIG.model_copy(update={"merge_px": radius})
    found, mirrored = detect(image, config), detect(-image, config)
    assert np.array_equal(found.sign, -mirrored.sign)
    assert np.array_equal(found.x, mirrored.x)
    for sign in (1, -1):
        side, x, y = sign * image, found.x[found.sign == sign], found.y[found.sign == sign]
        is_peak = (side == ndimage.maximum_filter(side, 3)) & (side >= 3.0)
        is_peak[:10], is_peak[-10:], is_peak[:, :10], is_peak[:, -10:] = False, False, False, False
        heights = [
            side[round(b) - 1 : round(b) + 2, round(a) - 1 : round(a) + 2].max()
            for a, b in zip(x, y, strict=True)
        ]
        assert found.score[found.sign == sign] == pytest.approx(np.array(heights))
        apart = np.hypot(x[:, None] - x, y[:, None] - y) + 1e9 * np.eye(len(x))
        assert len(x) < 2 or apart.min() > radius
        # Every peak has itself or a higher one in reach.
        for b, a in np.argwhere(is_peak):
            assert (np.hypot(x - a, y - b) <= radius + 1.5).any()


def test_a_score_must_be_an_image():
    with pytest.raises(ValueError, match="1 dimensions"):
        detect(np.zeros(5, np.float32), CONFIG)
