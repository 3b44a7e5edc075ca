"""Forced photometry: fluxes at places that are known, on differences whose stars and noise are known."""

import numpy as np
import pytest

from zsds_tasks.science.forced.measure import (
    FEW_SKY_PIXELS,
    MOSTLY_BAD,
    OFF_THE_IMAGE,
    SOME_BAD,
    ForcedConfig,
    measure_forced,
)

CONFIG, GAIN, SIGMA = ForcedConfig(), 6.2, 6.0
BETA, FINE = 3.5, 9


def moffat(fwhm, dx=0.0, dy=0.0, half=12):
    """Return a PSF integrated over its pixels, its star off the middle by so much."""
    width = fwhm / 2 / np.sqrt(2 ** (1 / BETA) - 1)
    part = (np.arange(FINE) + 0.5) / FINE - 0.5
    at = (np.arange(-half, half + 1)[:, None] + part).ravel()
    light = (1 + ((at[:, None] - dy) ** 2 + (at - dx) ** 2) / width**2) ** -BETA
    side = 2 * half + 1
    binned = light.reshape(side, FINE, side, FINE).mean(axis=(1, 3))
    return binned * (BETA - 1) / (np.pi * width**2)


def scene(fwhm, seed, n=18, level=0.7):
    """Return an image with n x n stars of either sign, a quarter of them of no flux; places; fluxes."""
    random = np.random.default_rng(seed)
    gx, gy = np.meshgrid(*[np.arange(n) * 40 + 25] * 2)
    x, y = (grid.ravel() + random.uniform(-0.5, 0.5, n * n) for grid in (gx, gy))
    flux = random.choice([-1, 1], n * n) * 10 ** random.uniform(1.5, 4.2, n * n)
    flux[::4] = 0.0
    image = random.normal(level, SIGMA, (n * 40 + 10, n * 40 + 10))
    for a, b, light in zip(x, y, flux, strict=True):
        column, row = int(np.floor(a + 0.5)), int(np.floor(b + 0.5))
        stamp = light * moffat(fwhm, a - column, b - row)
        noise = random.normal(0, np.sqrt(np.clip(stamp, 0, None) / GAIN))
        image[row - 12 : row + 13, column - 12 : column + 13] += stamp + noise
    return image.astype(np.float32), x, y, flux


def unit(fwhm):
    psf = moffat(fwhm)
    return (psf / psf.sum()).astype(np.float32)


@pytest.mark.parametrize(("fwhm", "seed"), [(1.8, 1), (2.2, 2), (3.2, 3)])
def test_fluxes_are_unbiased_and_errors_true(fwhm, seed):
    image, x, y, flux = scene(fwhm, seed)
    found = measure_forced(image, unit(fwhm), x, y, GAIN, CONFIG)
    assert set(found.status) == {"0"}
    pull = (found.flux - flux) / found.sigma
    faint = np.abs(flux) < 3000
    assert abs(pull[faint].mean()) < 0.25
    assert pull[faint].std() == pytest.approx(1.0, abs=0.12)
    assert np.median(found.flux[~faint] / flux[~faint]) == pytest.approx(1.0, abs=0.006)
    assert np.median(found.chi2) == pytest.approx(1.0, abs=0.1)
    assert np.median(found.sky) == pytest.approx(0.7, abs=0.1)


def test_the_same_as_a_plain_sum():
    image, x, y, _ = scene(2.2, 7, n=2)
    column, row = np.round(x[:1]), np.round(y[:1])
    found = measure_forced(image, unit(2.2), column, row, GAIN, CONFIG)
    i, j = int(row[0]), int(column[0])
    stamp = image[i - 12 : i + 13, j - 12 : j + 13].astype(float)
    radius = np.hypot(*np.mgrid[-12:13, -12:13])
    psf = np.where(radius <= CONFIG.fit_radius_px, unit(2.2), 0.0)
    light = stamp - np.median(stamp[radius > CONFIG.sky_radius_px])
    assert found.flux[0] == pytest.approx((psf * light).sum() / (psf**2).sum(), rel=1e-5)


def test_a_place_off_the_image_has_a_code_and_no_flux():
    image = np.zeros((60, 80), np.float32)
    places = np.array([[11.4, 30], [79 - 11.4, 30], [40, 11.4], [40, 59 - 11.4], [-300, 1e6]])
    found = measure_forced(image, unit(2.0), *places.T, GAIN, CONFIG)
    assert set(found.status) == {OFF_THE_IMAGE}
    assert np.isnan(found.flux).all()
    random = np.random.default_rng(1).normal(0, 1, image.shape).astype(np.float32)
    inside = measure_forced(random, unit(2.0), np.array([12.0, 67.0]), np.array([12.0, 47.0]), GAIN, CONFIG)
    assert inside.status == ("0", "0")


def test_bad_pixels_are_left_out_and_told():
    image, x, y, flux = scene(2.2, 11, n=6)
    whole = measure_forced(image, unit(2.2), x, y, GAIN, CONFIG)
    broken = image.copy()
    columns, rows = np.round(x).astype(int), np.round(y).astype(int)
    broken[rows, columns + 1] = np.nan
    found = measure_forced(broken, unit(2.2), x, y, GAIN, CONFIG)
    assert set(found.status) == {SOME_BAD}
    assert (found.sigma > whole.sigma).mean() > 0.9
    some = np.abs(flux) < 3000
    assert ((found.flux - flux) / found.sigma)[some].std() < 1.4
    far = image.copy()
    far[rows + 9, columns] = np.nan
    assert set(measure_forced(far, unit(2.2), x, y, GAIN, CONFIG).status) == {"0"}


def test_what_is_mostly_bad_or_has_no_sky_has_no_flux():
    image, x, y, _ = scene(2.2, 12, n=3)
    holes = image.copy()
    for a, b in zip(np.round(x).astype(int), np.round(y).astype(int), strict=True):
        holes[b - 4 : b + 5, a - 4 : a + 1] = np.nan
    found = measure_forced(holes, unit(2.2), x, y, GAIN, CONFIG)
    assert set(found.status) == {f"{MOSTLY_BAD},{SOME_BAD}"}
    assert np.isnan(found.flux).all()
    island = np.full_like(image, np.nan)
    for a, b in zip(np.round(x).astype(int), np.round(y).astype(int), strict=True):
        island[b - 7 : b + 8, a - 7 : a + 8] = image[b - 7 : b + 8, a - 7 : a + 8]
    alone = measure_forced(island, unit(2.2), x, y, GAIN, CONFIG)
    assert set(alone.status) == {FEW_SKY_PIXELS}
    nothing = measure_forced(np.full_like(image, np.nan), unit(2.2), x, y, GAIN, CONFIG)
    assert np.isnan(nothing.flux).all()


def test_a_poor_subtraction_widens_the_error():
    image, x, y, _ = scene(2.2, 13, n=4)
    random = np.random.default_rng(2)
    for a, b in zip(np.round(x).astype(int), np.round(y).astype(int), strict=True):
        image[b - 3 : b + 4, a - 3 : a + 4] += random.normal(0, 40, (7, 7)).astype(np.float32)
    found = measure_forced(image, unit(2.2), x, y, GAIN, CONFIG)
    tight = measure_forced(image, unit(2.2), x, y, GAIN, ForcedConfig(poor_fit=1e9))
    assert (found.chi2 > 4).all()
    assert (found.sigma > 1.9 * tight.sigma).all()


def test_no_places_give_no_fluxes():
    found = measure_forced(np.zeros((40, 40), np.float32), unit(2.0), *np.zeros((2, 0)), GAIN, CONFIG)
    assert (len(found.flux), found.status) == (0, ())
