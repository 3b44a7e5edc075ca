"""A spike is sharper than any sum of sources can be; whatever is seen through the PSF is left alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import fftconvolve

from zsds_tasks.pixels.cosmic_rays import SpikeConfig, mark_spikes
from zsds_tasks.pixels.cosmic_rays_width import CoreConfig, core_fwhm
from zsds_tasks.pixels.mesh import Mesh

BAD, MARK = 0b1011, 0b0100
NOISE, GAIN = 5.0, 6.0


def make_field(ny, nx, fwhm, n_stars, seed, brightest=2e5):
    """Stars with wings (Moffat, beta 3) at any place in their pixels, Poisson noise and sky noise."""
    rng = np.random.default_rng(seed)
    image = np.zeros((ny, nx))
    alpha2 = (fwhm / 2) ** 2 / (2 ** (1 / 3) - 1)
    flux = 60 * (brightest / 60) ** (rng.random(n_stars) ** 1.5)
    at = rng.uniform(0, [ny, nx], (n_stars, 2))
    for f, (y0, x0) in zip(flux, at, strict=True):
        y, x = np.ogrid[max(0, int(y0) - 15) : int(y0) + 16, max(0, int(x0) - 15) : int(x0) + 16]
        y, x = y[y[:, 0] < ny], x[:, x[0] < nx]
        star = f * 2 / np.pi / alpha2 * (1 + ((y - y0) ** 2 + (x - x0) ** 2) / alpha2) ** -3
        image[y, x] += star
    noise = np.sqrt(NOISE**2 + image / GAIN) * rng.standard_normal(image.shape)
    return (image + noise).astype(np.float32), at


def mark(image, fwhm, mask=None, **changes):
    mask = np.zeros(image.shape, np.uint16) if mask is None else mask
    noise = Mesh.constant(NOISE, image.shape, 64)
    return mark_spikes(image, mask, BAD, MARK, noise, GAIN, fwhm, SpikeConfig(**changes)), mask


def by_scipy(image, config):
    """L / (2 sigma) of van Dokkum, literally: twice as fine, convolved, cut at zero, binned."""
    fine = np.repeat(np.repeat(image.astype(float), 2, axis=0), 2, axis=1)
    kernel = np.array([[0, -1, 0], [-1, 4, -1], [0, -1, 0]])
    edges = np.maximum(fftconvolve(fine, kernel, mode="same"), 0)
    binned = edges.reshape(image.shape[0], 2, image.shape[1], 2).mean(axis=(1, 3))
    return binned / 2 / NOISE > config.sigma_clip


@pytest.mark.parametrize("fwhm", [1.6, 2.0, 3.3])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_star_is_hit_in_a_crowded_field(fwhm, seed):
    image, _ = make_field(301, 287, fwhm, 1500, seed)
    found, mask = mark(image, fwhm)
    assert len(found.places) == 0
    assert not mask.any()


@pytest.mark.parametrize("fwhm", [1.6, 2.0, 3.3])
def test_planted_spikes_are_found_also_beside_and_on_stars(fwhm):
    image, stars = make_field(301, 287, fwhm, 300, 4, brightest=3e3)
    rng = np.random.default_rng(5)
    free = rng.integers(5, 280, (60, 2))
    near = np.clip(np.rint(stars[:40] + np.array([0, 2])).astype(int), 1, 280)
    for y, x in np.concatenate([free, near]):
        image[y, x] += 60 * NOISE
    _, mask = mark(image, fwhm)
    marked = mask == MARK
    assert marked[tuple(free.T)].mean() > 0.95
    assert marked[tuple(near.T)].mean() > 0.85
    assert marked.sum() < 100 * 1.3


@given(st.floats(0, np.pi), st.sampled_from([1.7, 2.0, 3.0]))
@settings(max_examples=15)
def test_a_track_is_found_along_its_length_and_little_beside_it(angle, fwhm):
    """Some sixty neighbours are tested at 2.5 sigma: noise adds half a pixel on average, now and then six."""
    planted = np.zeros((61, 67), np.float32)
    for t in np.arange(-12, 12, 0.25):
        y, x = np.rint([30 + t * np.sin(angle), 33 + t * np.cos(angle)]).astype(int)
        planted[y, x] += 12 * NOISE
    where = planted > 20 * NOISE
    beside = []
    for seed in range(40):
        image = np.random.default_rng(seed).normal(0, NOISE, planted.shape).astype(np.float32)
        _, mask = mark(image + planted, fwhm)
        assert (mask[where] == MARK).mean() > 0.9
        beside.append(np.count_nonzero(mask[planted == 0]))
    assert np.mean(beside) < 1.5


def test_whatever_is_marked_has_a_laplacian_and_all_isolated_ones_are_marked():
    rng = np.random.default_rng(6)
    image = rng.normal(0, NOISE, (157, 203)).astype(np.float32)
    places = rng.integers(2, 150, (40, 2))
    image[tuple(places.T)] += rng.uniform(5, 200, 40) * NOISE
    _, mask = mark(image, 2.0, growths=0)
    fires = by_scipy(image, SpikeConfig())
    inner = (slice(2, -2), slice(2, -2))
    assert not np.any((mask == MARK)[inner] & ~fires[inner])
    strong = fires & (image > 30 * NOISE)
    assert (mask == MARK)[strong].all()


def test_of_pure_noise_nothing_is_marked():
    image = np.random.default_rng(7).normal(0, NOISE, (1500, 1500)).astype(np.float32)
    found, _ = mark(image, 2.0)
    assert len(found.places) <= 1


def test_bad_pixels_are_neither_marked_nor_trusted():
    image = np.random.default_rng(8).normal(0, NOISE, (50, 60)).astype(np.float32)
    mask = np.zeros(image.shape, np.uint16)
    image[10, 10], mask[10, 10] = 5000, 1  # a hot pixel, known
    image[20, 20:23], mask[20, 20], mask[20, 22] = 40 * NOISE, 2, 2  # a spike between two bad pixels
    image[30, 30] = np.nan
    image[30, 31] = 50 * NOISE
    image[0, 5] = image[49, 59] = 80 * NOISE  # on the border; the corner has no pair of neighbours
    found, mask = mark(image, 2.0, mask)
    assert mask[10, 10] == 1
    assert mask[20, 21] == MARK
    assert mask[30, 30] == 0
    assert mask[30, 31] == MARK
    assert mask[0, 5] == MARK
    assert mask[49, 59] == 0
    assert {tuple(p) for p in found.places} == set(map(tuple, np.argwhere(mask & MARK)))


def test_the_image_stays_and_odd_shapes_work():
    for shape in ((1, 1), (1, 9), (2, 2), (7, 1), (3, 65)):
        image = np.ones(shape, np.float32)
        before = image.copy()
        found, _ = mark(image, 2.0)
        assert len(found.places) == 0
        np.testing.assert_array_equal(image, before)


def test_wrong_input_is_refused():
    image, mask = np.zeros((5, 6), np.float32), np.zeros((5, 6), np.uint16)
    with pytest.raises(ValueError, match="FWHM of 0"):
        mark_spikes(image, mask, BAD, MARK, Mesh.constant(1.0, (5, 6)), 1.0, 0.0, SpikeConfig())
    with pytest.raises(ValueError, match="pixels"):
        mark_spikes(image, mask, BAD, MARK, Mesh.constant(1.0, (5, 7)), 1.0, 2.0, SpikeConfig())


@pytest.mark.parametrize("fwhm", [1.6, 2.0, 2.6, 3.4])
def test_the_width_of_cores_is_measured(fwhm):
    image, _ = make_field(501, 487, fwhm, 400, 9, brightest=5e4)
    mask = np.zeros(image.shape, np.uint16)
    width = core_fwhm(image, mask, BAD, Mesh.constant(NOISE, image.shape), CoreConfig())
    # The core of a Moffat is somewhat wider than a Gaussian of its FWHM where that is a pixel and a half.
    assert 0.93 * fwhm < width < 1.12 * fwhm


def test_without_stars_there_is_no_width():
    image = np.random.default_rng(10).normal(0, NOISE, (200, 210)).astype(np.float32)
    mask = np.zeros(image.shape, np.uint16)
    noise = Mesh.constant(NOISE, image.shape)
    assert np.isnan(core_fwhm(image, mask, BAD, noise, CoreConfig()))
    stars, _ = make_field(200, 210, 2.0, 300, 11)
    assert np.isfinite(core_fwhm(stars, mask, BAD, noise, CoreConfig()))
    assert np.isnan(core_fwhm(stars, mask + np.uint16(2), BAD, noise, CoreConfig()))
