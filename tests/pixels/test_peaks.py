"""Peaks are the local maxima of the filtered image above the noise, however pixels are missing."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psf_builders import BAD, GAIN, NOISE, Optics, draw, nearest, observe, star_field
from scipy.ndimage import convolve1d, maximum_filter

from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.pixels.peaks import PeaksConfig, detect_peaks, estimate_fwhm, filter_kernel

PLAIN = PeaksConfig(threshold_sigma=3.0, contrast_sigma=0.0)


def slow_peaks(image, noise, fwhm, threshold):
    """Positions (row, column) and significances by scipy."""
    half = filter_kernel(fwhm).astype(float)
    kernel = np.concatenate([half[:0:-1], half])
    filtered = convolve1d(
        convolve1d(image.astype(float), kernel, axis=0, mode="constant"), kernel, axis=1, mode="constant"
    )
    significance = filtered / (noise * np.sum(kernel**2))
    is_peak = (filtered == maximum_filter(filtered, 3)) & (significance >= threshold)
    is_peak[[0, -1]] = is_peak[:, [0, -1]] = False
    return np.argwhere(is_peak), significance[is_peak]


@settings(max_examples=40)
@given(st.integers(3, 70), st.integers(3, 70), st.floats(1.6, 6), st.integers(0, 10_000))
def test_peaks_are_those_of_the_slow_filter(ny, nx, fwhm, seed):
    image = np.random.default_rng(seed).normal(size=(ny, nx)).astype(np.float32)
    mask = np.zeros((ny, nx), np.uint16)
    peaks = detect_peaks(image, mask, BAD, Mesh.constant(1.0, (ny, nx)), GAIN, fwhm, PLAIN)
    places, significance = slow_peaks(image, 1.0, fwhm, 3.0)
    found = np.column_stack([np.rint(peaks.y), np.rint(peaks.x)])
    assert len(peaks) == len(places)
    assert np.abs(found - places).max(initial=0) <= 1  # the vertex may lie half a pixel off
    np.testing.assert_allclose(peaks.significance, significance, rtol=1e-4)


@pytest.mark.parametrize("fwhm", [1.7, 2.2, 3.5, 6.0])
def test_bright_stars_are_found_where_they_are(fwhm):
    field = star_field(3, n=60, optics=Optics(fwhm), flux=(20_000, 60_000), spacing=30)
    peaks = field.peaks()
    index, distance = nearest(field.x, field.y, peaks.x, peaks.y)
    assert distance.max() < 0.15
    assert len(peaks) == len(set(index)) == 60
    # The filter's guess of a flux is a guess: these profiles have wings.
    assert np.all(np.abs(peaks.flux[index] / field.flux - 1) < 0.4)


def test_noise_alone_gives_hardly_a_peak():
    image = observe(np.zeros((1000, 1101)), 5)
    noise = Mesh.constant(NOISE, image.shape)
    peaks = detect_peaks(image, np.zeros(image.shape, np.uint16), BAD, noise, GAIN, 2.2, PeaksConfig())
    assert len(peaks) <= 6  # about one expected at five sigma


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 2), (2, 3)])
def test_tiny_images_are_searched_without_harm(shape):
    image = np.full(shape, 7.0, np.float32)
    peaks = detect_peaks(
        image, np.zeros(shape, np.uint16), BAD, Mesh.constant(1.0, shape), GAIN, 2.0, PeaksConfig()
    )
    assert len(peaks) == 0


def test_an_image_without_a_usable_pixel_has_no_peak():
    image = observe(np.zeros((60, 70)), 1) + 1000
    mask = np.full(image.shape, BAD, np.uint16)
    assert len(detect_peaks(image, mask, BAD, Mesh.constant(NOISE, image.shape), GAIN, 2.0, PLAIN)) == 0


def test_dead_columns_and_lost_pixels_make_no_peaks_and_hide_no_stars():
    field = star_field(8, n=80, flux=(8_000, 60_000), spacing=14)
    mask = field.mask.copy()
    mask[:, 100] = mask[:, 300:303] = BAD
    image = field.image.copy()
    image[mask > 0] = 1e6
    image[50, :] = np.nan
    for x, y in zip(field.x[:40], field.y[:40], strict=True):
        mask[round(y), round(x) + 1] = BAD
    peaks = detect_peaks(image, mask, BAD, field.noise, GAIN, 2.3, PeaksConfig(hidden_sigma=20))
    index, distance = nearest(field.x, field.y, peaks.x, peaks.y)
    assert np.mean(distance < 1.0) > 0.97
    assert len(peaks) <= len(set(index)) + 2


@pytest.mark.parametrize("flux", [4e5, 2e6, 2e7])
def test_a_saturated_star_is_one_hidden_peak(flux):
    shape = (121, 131)
    light = draw(shape, [60.3], [55.8], [flux], Optics())
    image, mask = observe(light, 2), np.zeros(shape, np.uint16)
    mask[light > 40_000] = BAD
    image[mask > 0] = np.nan
    noise = Mesh.constant(NOISE, shape)
    peaks = detect_peaks(image, mask, BAD, noise, GAIN, 2.3, PeaksConfig(contrast_sigma=5.0))
    assert len(peaks) == 1
    assert peaks.is_hidden.all()
    assert np.hypot(peaks.x - 60.3, peaks.y - 55.8)[0] < 1.0


def test_ripples_on_bright_light_are_no_peaks():
    image = observe(np.full((201, 203), 400.0), 4)
    mask, noise = np.zeros(image.shape, np.uint16), Mesh.constant(NOISE, image.shape)
    free = detect_peaks(image, mask, BAD, noise, GAIN, 2.2, PeaksConfig(contrast_sigma=0.0))
    found = detect_peaks(image, mask, BAD, noise, GAIN, 2.2, PeaksConfig())
    assert len(free) > 300  # every ripple is a maximum far above the sky
    assert len(found) < 0.15 * len(free)


@pytest.mark.parametrize("fwhm", [1.7, 2.4, 4.0, 6.0])
def test_the_width_of_stars_is_guessed_among_galaxies_and_hits(fwhm):
    field = star_field(11, n=70, optics=Optics(fwhm), flux=(20_000, 60_000), spacing=25)
    rng = np.random.default_rng(2)
    light = np.zeros(field.image.shape)
    x, y = rng.uniform(30, 560, 25), rng.uniform(30, 480, 25)
    light += draw(light.shape, x, y, np.full(25, 60_000.0), Optics(2.2 * fwhm))
    image = field.image + light.astype(np.float32)
    image[rng.integers(10, 510, 40), rng.integers(10, 590, 40)] += 3000
    guess = estimate_fwhm(image, field.mask, BAD, field.noise, GAIN, PeaksConfig())
    assert guess == pytest.approx(1.12 * fwhm, rel=0.18)  # the wings of these profiles widen them


def test_without_stars_the_configured_width_is_returned():
    image = observe(np.zeros((80, 90)), 1)
    noise, mask = Mesh.constant(NOISE, image.shape), np.zeros(image.shape, np.uint16)
    assert estimate_fwhm(image, mask, BAD, noise, GAIN, PeaksConfig(guess_fwhm_px=3.1)) == 3.1


def test_some_peaks_can_be_taken():
    peaks = star_field(1, n=20, spacing=30, flux=(5e3, 5e4)).peaks()
    half = peaks.take(peaks.x > 300)
    assert 0 < len(half) < len(peaks)
    assert all(len(getattr(half, f.name)) == len(half) for f in dataclasses.fields(half))


def test_wrong_arguments_are_refused():
    image, mask, noise = np.zeros((9, 9), np.float32), np.zeros((9, 9), np.uint16), Mesh.constant(1, (9, 9))
    with pytest.raises(ValueError, match="differ in shape"):
        detect_peaks(image, mask[:8], BAD, noise, GAIN, 2.0, PLAIN)
    with pytest.raises(ValueError, match="above zero"):
        detect_peaks(image, mask, BAD, noise, 0.0, 2.0, PLAIN)
    with pytest.raises(ValueError, match="above zero"):
        detect_peaks(image, mask, BAD, noise, GAIN, float("nan"), PLAIN)
