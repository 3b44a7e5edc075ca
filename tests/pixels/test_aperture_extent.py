"""The extent of a point is 0 wherever it lies in its pixel, that of the disc 1; the error says how sure."""

import numpy as np
import pytest
from aperture_builders import GAIN, NOISE, RoundPsf, add_gaussians, add_noise
from scipy.signal import fftconvolve

from zsds_tasks.pixels.aperture_extent import DISC_OF_FWHM, _disc, measure_extent, window_psf
from zsds_tasks.pixels.aperture_sources import _window_ladder

PSF = RoundPsf(0.85)
LADDER = np.array([1.2, 1.6]) * PSF.sigma


def extent_of(stamps, x, y, floor=0.0):
    light = np.zeros((len(stamps), len(LADDER)))
    for k, stamp in enumerate(stamps):
        _window_ladder(stamp, x[k], y[k], LADDER, np.empty(31), light[k])
    windowed = window_psf(PSF, (31, 31), LADDER)
    noise = np.full(len(stamps), NOISE)
    return measure_extent(windowed, x, y, light, noise, GAIN, floor)


def points(x, y, flux):
    stamps = np.zeros((len(x), 31, 31), np.float32)
    for k in range(len(x)):
        add_gaussians(stamps[k], x[k : k + 1], y[k : k + 1], [flux], PSF.sigma**2)
    return stamps


def test_a_point_has_no_extent_wherever_it_lies_in_its_pixel():
    x, y = (15 + p.ravel() for p in np.meshgrid(np.linspace(-0.5, 0.5, 7), np.linspace(-0.5, 0.5, 7)))
    extent, _ = extent_of(points(x, y, 1e5), x, y)
    np.testing.assert_allclose(extent, 0, atol=0.04)
    assert abs(np.mean(extent)) < 0.005


def test_the_disc_has_an_extent_of_one_and_a_spike_less_than_a_point():
    stamp = points(np.array([15.0]), np.array([15.0]), 1e5)[0].astype(float)
    disc = fftconvolve(stamp, _disc(DISC_OF_FWHM * PSF.fwhm), mode="same").astype(np.float32)
    spike = np.zeros((31, 31), np.float32)
    spike[15, 15] = 1e5
    at = np.array([15.0, 15.0])
    extent, error = extent_of([disc, spike], at, at)
    assert abs(extent[0] - 1) < 0.02
    assert extent[1] < -10 * error[1]


@pytest.mark.parametrize("seed", [21, 22, 23])
@pytest.mark.parametrize("flux", [500.0, 3000.0])
def test_the_error_is_the_scatter(seed, flux):
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(14.5, 15.5, (2, 300))
    stamps = points(x, y, flux)
    for stamp in stamps:
        add_noise(stamp, rng)
    extent, error = extent_of(stamps, x, y)
    pull = extent / error
    assert abs(np.mean(pull)) < 0.2
    assert 0.88 < np.std(pull) < 1.12


def test_the_floor_covers_what_depends_on_the_place_in_a_pixel():
    rng = np.random.default_rng(24)
    x, y = rng.uniform(14.5, 15.5, (2, 300))
    extent, error = extent_of(points(x, y, 1e6), x, y, floor=0.012)
    assert np.max(np.abs(extent) / error) < 1


def test_without_light_there_is_no_answer():
    extent, error = extent_of(np.full((1, 31, 31), -1, np.float32), np.array([15.0]), np.array([15.0]))
    assert np.isnan(extent).all()
    assert np.isnan(error).all()
