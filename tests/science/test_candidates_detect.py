"""Peaks of both signs are found once, and nothing else is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import fft, ndimage
from scipy.spatial import cKDTree

from zsds_tasks.science.candidates.detect import DetectConfig, detect

CONFIG = DetectConfig()
NEVER = 1e9
WHOLE = CONFIG.model_copy(update={"between_pixels": False})


def bumps(places, heights, shape=(90, 101), sigma=1.2):
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = np.zeros(shape)
    for (px, py), height in zip(places, heights, strict=True):
        image += height * np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * sigma**2))
    return image.astype(np.float32)


def filtered(noise, fwhm):
    """White noise through the matched filter of a Gaussian star, of unit variance."""
    f = [fft.fftfreq(n) for n in noise.shape]
    ways = [np.exp(-2 * (np.pi * fwhm / 2.3548 * part) ** 2) for part in f]
    kernel = ways[0][:, None] * ways[1]
    spectrum = fft.fft2(noise) * kernel / np.sqrt((kernel**2).mean())
    return fft.ifft2(spectrum).real.astype(np.float32)


def scores_of_stars(x, y, height, shape, fwhm):
    """What stars add to the score: the filter's own correlation, root of two as wide as a star."""
    score, variance = np.zeros(shape, np.float32), 2 * (fwhm / 2.3548) ** 2
    for i in range(-8, 9):
        for j in range(-8, 9):
            row, column = np.rint(y).astype(int) + i, np.rint(x).astype(int) + j
            squares = (row - y) ** 2 + (column - x) ** 2
            score[row, column] += height * np.exp(-squares / (2 * variance))
    return score


def test_both_signs_are_found_between_pixels():
    found = detect(bumps([(30.3, 40.2), (70.6, 20.9)], [20, -9]), CONFIG)
    assert found.sign.tolist() == [-1.0, 1.0]
    assert found.x == pytest.approx([70.6, 30.3], abs=0.01)
    assert found.y == pytest.approx([20.9, 40.2], abs=0.01)
    assert found.score == pytest.approx([9, 20], rel=0.01)
    whole = detect(bumps([(30.3, 40.2), (70.6, 20.9)], [20, -9]), WHOLE)
    assert whole.score[1] == bumps([(30.3, 40.2)], [20]).max()
    assert whole.x.tolist() == [71.0, 30.0]


@given(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5), st.floats(1.2, 2.0), st.sampled_from([1.0, -1.0]))
@settings(max_examples=30)
def test_a_peak_is_as_high_as_it_is_between_pixels(dx, dy, sigma, sign):
    image = sign * bumps([(30 + dx, 40 + dy)], [10], sigma=sigma)
    found = detect(image, CONFIG)
    assert found.score == pytest.approx([10], rel=0.015)
    assert found.x == pytest.approx([30 + dx], abs=0.04)
    assert found.y == pytest.approx([40 + dy], abs=0.04)


def test_a_source_under_the_threshold_at_every_pixel_is_found_if_it_is_over_it_between_them():
    image = bumps([(30.5, 40.5)], [5.2])
    assert image.max() < 4.5
    assert len(detect(image, CONFIG).brighter_than(5.0)) == 1
    assert len(detect(image, WHOLE).brighter_than(5.0)) == 0


def test_beside_something_unknown_the_pixel_counts():
    image = bumps([(30.4, 40.4)], [10])
    image[37, 27] = np.nan
    found = detect(image, CONFIG)
    assert (found.x[0], found.y[0], found.score[0]) == (30.0, 40.0, image[40, 30])


def test_what_is_asked_for_from_a_height_on_is_the_same():
    score = filtered(np.random.default_rng(5).normal(0, 1, (200, 210)), 2.2)
    every, some = detect(score, CONFIG), detect(score, CONFIG, 3.5)
    assert 0 < len(some) < len(every)
    assert np.array_equal(every.brighter_than(3.5).x, some.x)
    assert np.array_equal(every.brighter_than(3.5).score, some.score)


def test_noise_has_as_many_peaks_as_theory_says():
    side, fwhm = 1000, 2.2
    score = filtered(np.random.default_rng(11).normal(0, 1, (side, side)), fwhm)
    found, whole = (detect(score, config.model_copy(update={"merge_px": 0.0})) for config in (CONFIG, WHOLE))
    for u in (3.5, 4.0):
        expected = 2 * 0.176 * side**2 / fwhm**2 * u * np.exp(-(u**2) / 2)
        n = len(found.brighter_than(u))
        assert abs(n / expected - 1) < 0.1 + 3 / np.sqrt(expected)
        assert len(whole.brighter_than(u)) < 0.7 * n


def test_at_equal_false_positives_more_sources_are_found_than_at_whole_pixels():
    rng, side, fwhm, step = np.random.default_rng(12), 1200, 1.9, 16
    noise = filtered(rng.normal(0, 1, (side, side)), fwhm)
    y, x = np.mgrid[20 : side - 20 : step, 20 : side - 20 : step].reshape(2, -1)
    y, x = y + rng.uniform(-0.5, 0.5, y.size), x + rng.uniform(-0.5, 0.5, x.size)
    score = noise + scores_of_stars(x, y, 4.1, noise.shape, fwhm)
    whole, false = (np.sort(detect(noise, config).score) for config in (WHOLE, CONFIG))
    n_false = int((whole >= 4.0).sum())
    shares = []
    for config, least in ((WHOLE, 4.0), (CONFIG, false[-n_false])):
        found = detect(score, config).brighter_than(least)
        places = np.column_stack([found.x, found.y])[found.sign > 0]
        shares.append((cKDTree(places).query(np.column_stack([x, y]))[0] < 1.5).mean())
    assert n_false > 50
    assert shares[1] > shares[0] + 0.01


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
@settings(max_examples=15)
def test_detections_obey_their_definition(seed, radius):
    rng = np.random.default_rng(seed)
    image = (ndimage.gaussian_filter(rng.normal(0, 1, (70, 80)), 1.0) * 11).astype(np.float32)
    config = WHOLE.model_copy(update={"merge_px": radius, "sheet_sigma": NEVER})
    between, whole = (
        detect(image, config.model_copy(update={"merge_px": 0.0, "between_pixels": chosen}))
        for chosen in (True, False)
    )
    # Between pixels every peak of a pixel is there, no lower, within half a pixel.
    index = cKDTree(np.column_stack([between.x, between.y, 1e3 * between.sign]))
    away, row = index.query(np.column_stack([whole.x, whole.y, 1e3 * whole.sign]), p=np.inf)
    assert (away <= 0.5).all()
    assert (between.score[row] >= whole.score).all()
    assert between.score.min() >= 3.0
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


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_on_a_sheet_of_light_a_peak_is_what_rises_over_it(sign):
    rng = np.random.default_rng(31)
    y, x = np.mgrid[:200, :300]
    sheet = np.where(np.hypot(x - 150, y - 100) < 60, 4.0, 0.0)
    noise = filtered(rng.normal(0, 1, sheet.shape), 2.2)
    star = bumps([(150.3, 100.4), (260.2, 50.1)], [9.0, 9.0], sheet.shape)
    score = (sign * (noise + sheet + star)).astype(np.float32)
    found = detect(score, CONFIG).brighter_than(5.0)
    places = np.column_stack([found.x, found.y])[found.sign == sign]
    for place in ((150.3, 100.4), (260.2, 50.1)):
        assert (np.hypot(*(places - place).T) < 1.0).sum() == 1
    assert len(found) <= 4
    without = CONFIG.model_copy(update={"sheet_sigma": NEVER})
    assert len(detect(score, without).brighter_than(5.0)) > 50


@pytest.mark.parametrize("away", [5, 8, 11, 16])
def test_beside_a_sheet_nothing_is_taken_off(away):
    y, x = np.mgrid[:200, :200]
    sheet = np.where(np.hypot(x - 100, y - 100) < 60, 4.0, 0.0)
    score = (sheet + bumps([(160 + away, 100)], [9.0], sheet.shape)).astype(np.float32)
    found = detect(score, CONFIG)
    star = found.take(np.hypot(found.x - 160 - away, found.y - 100) < 1)
    assert star.score == pytest.approx([9.0], rel=0.01)
    assert star.level == pytest.approx([0.0])


@pytest.mark.parametrize("away", [8, 10, 12, 14])
def test_in_the_wings_of_a_bright_star_nothing_is_taken_off(away):
    y, x = np.mgrid[:200, :200]
    wings = 3000 * (1 + ((x - 80) ** 2 + (y - 100) ** 2) / 4.65) ** -3  # Moffat, FWHM 2.2 px
    score = (wings + bumps([(80 + away, 100)], [7.0], wings.shape)).astype(np.float32)
    found = detect(score, CONFIG)
    star = found.take(np.hypot(found.x - 80 - away, found.y - 100) < 1)
    assert star.score == pytest.approx([score[100, 80 + away]], rel=0.01)
    assert found.level.max() == 0
