"""A PSF is made from stars to a percent of its peak, varies as they allow, and fails with its reason."""

import dataclasses

import numpy as np
import pytest
from psf_builders import BAD, GAIN, NOISE, Optics, draw, nearest, robust_width, star_field, true_model

from zsds_tasks.pixels.peaks import Peaks
from zsds_tasks.pixels.psf_build import build_psf
from zsds_tasks.pixels.psf_config import PsfPhotometryConfig
from zsds_tasks.pixels.psf_moffat import Moffat, fit_moffat
from zsds_tasks.pixels.psf_photometry import isolated_stamps
from zsds_tasks.pixels.psf_star_fit import fit_stars
from zsds_tasks.pixels.psf_stars import (
    PsfBuildConfig,
    TooFewStarsError,
    choose_stars,
    cut_stamps,
    spread_choice,
)
from zsds_tasks.pixels.psf_table import StarPixels, fit_tables

PLACES = [(60, 60), (300, 250), (560, 60), (60, 470), (540, 480)]


def built(field, config=None, isolate=False, **settings):
    peaks = field.peaks(**settings)
    helper = isolated_stamps(*field.pixels, peaks, PsfPhotometryConfig()) if isolate else None
    return build_psf(*field.pixels, peaks, 1.1 * field.optics.fwhm, config or PsfBuildConfig(), helper)


def flux_errors(model, field):
    """Flux of a faint star fitted with the model, over its own, at several places and sub-pixel shifts."""
    out = []
    for number, (x, y) in enumerate(PLACES):
        shift = (0.37 * (number - 2) / 2, 0.11 * number - 0.3)
        true = field.optics.stamp(x, y, field.image.shape, 12, shift)
        light = model.stamp(x, y, 25, shift=shift).astype(float)
        out.append(np.sum(true * light) / np.sum(light**2))
    return np.array(out)


@pytest.mark.parametrize("fwhm", [1.7, 2.2, 3.5, 6.0])
@pytest.mark.parametrize("seed", [101, 202])
def test_many_stars_give_the_psf_anywhere(fwhm, seed):
    field = star_field(seed, n=300, optics=Optics(fwhm), flux=(3_000, 80_000))
    model = built(field, isolate=True)
    assert model.degree == 2
    assert model.n_stars > 100
    for x, y in PLACES:
        true = field.optics.stamp(x, y, field.image.shape)
        true /= true.sum()
        assert np.abs(model.stamp(x, y) - true).max() < 0.03 * true.max()
    errors = flux_errors(model, field)
    assert np.ptp(errors) < (0.012 if fwhm < 4 else 0.02)  # wide stars overlap much here
    assert abs(errors.mean() - 1) < 0.012


def test_the_centre_of_the_psf_is_where_the_stars_are():
    field = star_field(5, n=300, flux=(10_000, 80_000))
    model = built(field)
    k = np.arange(-12, 13)
    for x, y in PLACES:
        stamp = model.stamp(x, y).astype(float)
        window = stamp * np.exp(-(k[None, :] ** 2 + k[:, None] ** 2) / 4)
        assert abs(np.sum(window * k[None, :]) / window.sum()) < 0.01
        assert abs(np.sum(window * k[:, None]) / window.sum()) < 0.01


@pytest.mark.parametrize(("n", "degree"), [(5, 0), (20, 1), (45, 2)])
def test_few_stars_allow_a_lower_degree(n, degree):
    field = star_field(21, n=n, flux=(8_000, 80_000), spacing=28, optics=Optics(slope=0.01))
    model = built(field)
    assert model.degree == degree
    assert n - 4 <= model.n_stars <= n
    true = field.optics.stamp(300, 260, field.image.shape)
    assert np.abs(model.stamp(300, 260) - true / true.sum()).max() < 0.06 * true.max()


@pytest.mark.parametrize("n", [0, 1, 3])
def test_too_few_stars_are_refused_with_their_counts(n):
    field = star_field(3, n=30, flux=(20_000, 80_000), spacing=40)
    peaks = field.peaks()
    peaks = peaks.take(np.sort(np.argsort(np.hypot(peaks.x - 300, peaks.y - 260))[:n]))
    with pytest.raises(TooFewStarsError, match=f"needs 4 stars: of {n} peaks {n} are bright") as caught:
        build_psf(*field.pixels, peaks, 2.2, PsfBuildConfig())
    assert (caught.value.n_peaks, caught.value.n_kept, caught.value.needed) == (n, n, 4)


def test_masked_saturated_and_edge_stars_are_not_chosen():
    field = star_field(9, n=120, flux=(8_000, 80_000), spacing=20)
    mask = field.mask.copy()
    hurt = np.arange(0, 120, 3)
    mask[np.rint(field.y[hurt]).astype(int), np.rint(field.x[hurt]).astype(int) + 1] = BAD
    peaks = field.peaks()
    rows = choose_stars(field.image, mask, BAD, peaks, 2.2, PsfBuildConfig())
    x, y = peaks.x[rows], peaks.y[rows]
    away = np.hypot(x[:, None] - field.x[hurt], y[:, None] - field.y[hurt]).min(axis=1)
    assert len(rows) >= 40
    assert away.min() > 3
    assert np.all((np.minimum(x, y) >= 11.4) & (x <= 601 - 12.4) & (y <= 520 - 12.4))


def test_galaxies_are_left_out():
    field = star_field(31, n=150, flux=(8_000, 80_000), spacing=25)
    rng = np.random.default_rng(7)
    x, y = rng.uniform(20, 580, 60), rng.uniform(20, 500, 60)
    light = draw(field.image.shape, x, y, np.full(60, 60_000.0), Optics(fwhm=3.3))
    crowded = dataclasses.replace(field, image=field.image + light.astype(np.float32))
    alone, among = built(field), built(crowded, isolate=True)
    assert among.fwhm == pytest.approx(alone.fwhm, rel=0.01)


def test_neighbours_are_subtracted():
    field = star_field(41, n=1200, flux=(1000, 60_000), optics=Optics(slope=0.0))
    shape = field.image.shape
    peaks = field.peaks()
    inside = np.minimum(np.minimum(peaks.x, 600 - peaks.x), np.minimum(peaks.y, 519 - peaks.y)) > 14
    rows = np.flatnonzero(inside & (peaks.significance > 100))
    isolate = isolated_stamps(*field.pixels, peaks, PsfPhotometryConfig())
    stamps, x, y = isolate(true_model(field.optics, shape), rows)
    plain, _ = cut_stamps(field.image, field.mask, BAD, x, y, 12)
    index, distance = nearest(x, y, field.x, field.y)
    assert np.median(distance) < 0.02
    away = np.hypot(*np.meshgrid(np.arange(-12, 13), np.arange(-12, 13))) > 5
    left, before = [], []
    for k, star in enumerate(index):
        shift = (x[k] - np.rint(x[k]), y[k] - np.rint(y[k]))
        own = field.flux[star] * field.optics.stamp(300, 260, shape, 12, shift)
        left.append(np.std((stamps[k] - own)[away]))
        before.append(np.std((plain[k] - own)[away]))
    assert np.median(before) > 5 * NOISE
    assert np.median(left) < 2.5 * NOISE  # photon noise of the neighbours stays


def test_the_same_image_gives_the_same_bits():
    field = star_field(2, n=150)
    first, second = built(field, isolate=True), built(field, isolate=True)
    assert np.array_equal(first.tables, second.tables)
    assert (first.n_stars, first.chi) == (second.n_stars, second.chi)


def test_stars_are_spread_over_the_image():
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.uniform(0, 50, 900), rng.uniform(0, 400, 100)])
    y = np.concatenate([rng.uniform(0, 50, 900), rng.uniform(0, 400, 100)])
    chosen = spread_choice(x, y, rng.normal(size=1000), (400, 400), 100)
    assert len(chosen) == len(set(chosen)) == 100
    assert np.all(np.diff(chosen) > 0)
    assert np.count_nonzero((x[chosen] < 50) & (y[chosen] < 50)) < 40


def test_a_moffat_that_varies_is_recovered():
    rng = np.random.default_rng(4)
    n, half = 80, 12
    u, v = rng.uniform(-1, 1, (2, n))
    terms = np.column_stack([np.ones(n), u, v])
    true = Moffat(np.array([[0.30, 0.02, -0.01], [0.02, 0.0, 0.01], [0.26, 0.01, 0.015]]), 3.2)
    shifts = rng.uniform(-0.5, 0.5, (n, 2))
    k = np.arange(-half, half + 1.0)
    stamps = np.stack(
        [
            4000 * true.at(terms[s], k[None, :] - shifts[s, 0], k[:, None] - shifts[s, 1]) + 3.0
            for s in range(n)
        ]
    )
    stamps += rng.normal(size=stamps.shape)
    stamps[:, 3, 4] = np.nan
    stamps[::7, 18, 18] += 2000  # something else
    guess = shifts + rng.normal(0, 0.1, shifts.shape)
    found, moved = fit_moffat(stamps.astype(np.float32), guess, np.ones(n), 1e9, terms, 3.0)
    np.testing.assert_allclose(found.shape, true.shape, atol=0.004)
    assert found.beta == pytest.approx(3.2, abs=0.06)
    assert np.abs(moved - shifts).max() < 0.01


def test_tables_solve_the_least_squares_problem():
    """Against numpy's dense solution of the same problem, built column by column."""
    rng = np.random.default_rng(6)
    half, s, n_stars = 2, 1, 25
    m = 2 * (half + 2) + 1
    flux, shifts = rng.uniform(50, 200, n_stars), rng.uniform(-0.5, 0.5, (n_stars, 2))
    terms = np.column_stack([np.ones(n_stars), rng.uniform(-1, 1, (n_stars, 2))])
    weight = rng.uniform(0.5, 2, (n_stars, 5, 5)).astype(np.float32)
    weight[3, 2, 2] = 0
    residual = rng.normal(size=(n_stars, 5, 5)).astype(np.float32)
    stars = StarPixels(residual, weight, flux, shifts, terms)
    size = (3, s, s, m, m)
    prior = np.full(size, 0.05, np.float32)
    prior[:, :, :, 0] = 0
    found = fit_tables(stars, prior, np.zeros(size, np.float32), 400, 1e-7)
    columns = []
    for k in range(int(np.prod(size))):
        unit = np.zeros(size)
        unit.flat[k] = 1
        columns.append(model_pixels(unit, stars, half).ravel() * np.sqrt(weight).ravel())
    matrix = np.column_stack(columns)
    free = prior.ravel() > 0
    normal = matrix.T @ matrix + np.diag(1 / np.maximum(prior.ravel(), 1e-9) ** 2)
    right = matrix.T @ (residual * np.sqrt(weight)).ravel()
    expected = np.zeros(len(free))
    expected[free] = np.linalg.solve(normal[np.ix_(free, free)], right[free])
    np.testing.assert_allclose(found.ravel(), expected, atol=2e-4 * np.abs(expected).max())


def model_pixels(coefficients, stars, half):
    from test_psf_splines import oracle

    out = []
    for star in range(len(stars.flux)):
        table = np.tensordot(stars.terms[star], coefficients[:, 0, 0], 1)
        out.append(stars.flux[star] * oracle(table, half, 1, half, *stars.shifts[star]))
    return np.array(out)


def test_single_stars_are_fitted_without_bias():
    optics = Optics(slope=0.0)
    shape, n = (300, 301), 400
    model = true_model(optics, shape)
    rng = np.random.default_rng(12)
    shifts = rng.uniform(-0.5, 0.5, (n, 2))
    flux = np.exp(rng.uniform(np.log(1000), np.log(50_000), n))
    light = np.stack(
        [f * optics.stamp(150, 150, shape, 12, tuple(s)) for f, s in zip(flux, shifts, strict=True)]
    )
    stamps = rng.poisson(light * GAIN) / GAIN + 5 * rng.standard_normal(light.shape) + 2.0
    middle = (np.full(n, 150.0), np.full(n, 150.0))
    fit = fit_stars(model, stamps.astype(np.float32), 0 * shifts, middle, np.full(n, 5.0), GAIN, 2.0)
    relative = fit.flux / flux - 1
    assert abs(np.median(relative[flux > 5000])) < 0.002
    assert robust_width(fit.shifts[flux > 20_000] - shifts[flux > 20_000]) < 0.01
    # A percent of a bright star's light counts as noise, so only faint ones reach one.
    assert np.median(fit.chi[flux < 4000]) == pytest.approx(1.0, abs=0.06)
    assert abs(np.median(fit.sharp)) < 0.01


def test_a_wide_star_is_sharp_above_zero_and_a_narrow_one_below():
    shape = (300, 301)
    model = true_model(Optics(slope=0.0), shape)
    stamps = [20_000 * Optics(fwhm=f, slope=0.0).stamp(150, 150, shape) for f in (2.3, 2.2, 2.1)]
    middle = (np.full(3, 150.0), np.full(3, 150.0))
    pixels = np.array(stamps, np.float32)
    fit = fit_stars(model, pixels, np.zeros((3, 2)), middle, np.full(3, 5.0), GAIN, 0.0)
    # The excess variance of the core: a tenth of a pixel more in FWHM is 0.08 square px, wings count in part.
    assert 0.04 < fit.sharp[0] < 0.16
    assert abs(fit.sharp[1]) < 0.01
    assert -0.16 < fit.sharp[2] < -0.04


def test_no_peaks_at_all_are_too_few():
    field = star_field(3, n=5)
    empty = np.zeros(0)
    with pytest.raises(TooFewStarsError, match="of 0 peaks"):
        build_psf(*field.pixels, Peaks(empty, empty, empty, empty, np.zeros(0, bool)), 2.2, PsfBuildConfig())
