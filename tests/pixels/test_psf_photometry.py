"""PSF photometry: unbiased, with honest errors, alone and in crowds, and in spite of missing pixels."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psf_builders import (
    BAD,
    GAIN,
    NOISE,
    Field,
    Optics,
    draw,
    nearest,
    observe,
    robust_width,
    star_field,
    true_model,
)

from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.pixels.peaks import Peaks, PeaksConfig
from zsds_tasks.pixels.psf_clean import undetermined
from zsds_tasks.pixels.psf_config import PsfPhotometryConfig
from zsds_tasks.pixels.psf_fit_kernels import RESULT_COLUMNS
from zsds_tasks.pixels.psf_groups import group_sources
from zsds_tasks.pixels.psf_photometry import _without, measure_sources
from zsds_tasks.pixels.psf_scene import Scene
from zsds_tasks.pixels.psf_sky import remaining_sky

STEADY = Optics(slope=0.0)
SHAPE = (520, 601)


def measured(field, config=None, peaks=None, **settings):
    model = true_model(field.optics, field.image.shape)
    peaks = field.peaks(**settings) if peaks is None else peaks
    return measure_sources(
        *field.pixels, model, peaks, PeaksConfig(**settings), config or PsfPhotometryConfig()
    )


def given_stars(x, y, flux, shape=(120, 131), optics=STEADY, seed=1, noise=NOISE):
    x, y, flux = (np.asarray(a, float) for a in (x, y, flux))
    image = observe(draw(shape, x, y, flux, optics), seed, noise)
    return Field(image, np.zeros(shape, np.uint16), Mesh.constant(noise, shape, 64), x, y, flux, optics)


def guesses(x, y, flux):
    n = len(x)
    return Peaks(
        np.asarray(x, float),
        np.asarray(y, float),
        np.full(n, 50.0),
        np.asarray(flux, float),
        np.zeros(n, bool),
    )


def isolated_pulls(seed, fwhm, n):
    """Flux, pulls of flux and positions, chi and sharp of isolated stars."""
    optics = Optics(fwhm, 0.0)
    flux = (130 * fwhm, 100_000)
    field = star_field(seed, n=n, optics=optics, flux=flux, spacing=6 * fwhm, shape=(620, 801))
    sources = measured(field, PsfPhotometryConfig(flux_error_share=0, position_error_px=0)).sources
    index, distance = nearest(field.x, field.y, sources.x, sources.y)
    true = np.flatnonzero(distance < 1.0)
    assert len(true) > 0.99 * len(index)
    k = index[true]
    return np.column_stack(
        [
            field.flux[true],
            (sources.flux[k] - field.flux[true]) / sources.flux_error[k],
            (sources.x[k] - field.x[true]) / sources.x_error[k],
            (sources.y[k] - field.y[true]) / sources.y_error[k],
            sources.chi[k],
            sources.sharp[k],
        ]
    )


@pytest.mark.parametrize(("fwhm", "n"), [(1.8, 420), (2.4, 420), (4.5, 200)])
def test_errors_of_isolated_stars_are_honest_from_faint_to_bright(fwhm, n):
    seeds = range(11, 16)
    flux, pulls, x, y, chi, sharp = np.concatenate([isolated_pulls(s, fwhm, n) for s in seeds]).T
    allowed = max(0.05, 2.5 / np.sqrt(2 * len(flux)))
    assert np.std(np.clip(pulls, -5, 5)) == pytest.approx(1.0, abs=allowed)
    assert np.std(np.clip([x, y], -5, 5)) == pytest.approx(1.0, abs=allowed)
    for part in (flux < 3000, flux >= 3000):
        assert np.std(np.clip(pulls[part], -5, 5)) == pytest.approx(1.0, abs=1.5 * allowed)
        assert abs(np.median(pulls[part])) < 0.2
    assert np.median(chi) == pytest.approx(1.0, abs=0.03)
    assert abs(np.median(sharp[flux > 3000])) < 0.01 * fwhm**2


def test_a_bright_star_has_the_same_flux_at_any_phase_of_the_pixel():
    rng = np.random.default_rng(5)
    x, y = (a.ravel() for a in np.meshgrid(np.arange(20, 590, 28.0), np.arange(20, 500, 28.0)))
    x, y = x + rng.uniform(-0.5, 0.5, x.shape), y + rng.uniform(-0.5, 0.5, x.shape)
    light = draw(SHAPE, x, y, np.full(len(x), 1e5), STEADY)
    field = Field(
        light.astype(np.float32), np.zeros(SHAPE, np.uint16), Mesh.constant(NOISE, SHAPE), x, y, x, STEADY
    )
    sources = measured(field).sources
    index, distance = nearest(x, y, sources.x, sources.y)
    assert distance.max() < 0.002
    assert np.abs(sources.flux[index] / 1e5 - 1).max() < 0.001


@pytest.mark.parametrize("separation", [0.7, 1.0, 1.6])
@pytest.mark.parametrize("ratio", [1.0, 5.0])
def test_blended_pairs_are_told_apart(separation, ratio):
    fwhm = STEADY.fwhm
    rng = np.random.default_rng(9)
    x, y = (a.ravel() for a in np.meshgrid(np.arange(25, 590, 40.0), np.arange(25, 500, 40.0)))
    angle = rng.uniform(0, 2 * np.pi, len(x))
    bx, by = x + separation * fwhm * np.cos(angle), y + separation * fwhm * np.sin(angle)
    all_x, all_y = np.concatenate([x, bx]), np.concatenate([y, by])
    flux = np.concatenate([np.full(len(x), 20_000.0), np.full(len(x), 20_000.0 / ratio)])
    field = given_stars(all_x, all_y, flux, SHAPE)
    start = guesses(
        all_x + rng.normal(0, 0.15, len(all_x)), all_y + rng.normal(0, 0.15, len(all_x)), 0.8 * flux
    )
    sources = measured(field, PsfPhotometryConfig(flux_error_share=0, second_sweeps=8), start).sources
    index, distance = nearest(all_x, all_y, sources.x, sources.y)
    assert len(set(index)) > 0.98 * len(all_x)
    pulls = ((sources.flux[index] - flux) / sources.flux_error[index])[distance < 1]
    assert robust_width(pulls) == pytest.approx(1.0, abs=0.2)
    assert abs(np.median(pulls)) < 0.35


def test_errors_are_those_of_the_dense_least_squares_problem():
    """Against the inverse of the normal matrix summed pixel by pixel in numpy, discs as in the fit."""
    x, y, flux = np.array([40.2, 42.4]), np.array([50.7, 51.5]), np.array([9000.0, 4000.0])
    field = given_stars(x, y, flux, noise=3.0)
    config = PsfPhotometryConfig(flux_error_share=0, position_error_px=0, sky_cell_px=0)
    found = measured(field, config, guesses(x, y, flux))
    sources = found.sources
    assert len(sources) == 2
    rows, columns = np.mgrid[0 : field.image.shape[0], 0 : field.image.shape[1]]
    variance = 9.0 + np.maximum(field.image - found.residual, 0) / GAIN
    reach = round(config.fit_fwhm * true_model(STEADY, field.image.shape).fwhm) + 0.25
    parts, step = [], 1e-3
    for k in range(2):
        sx, sy, f = sources.x[k], sources.y[k], sources.flux[k]

        def light(px, py):
            return STEADY.at(0, 0, field.image.shape, columns - px, rows - py)

        disc = np.hypot(columns - sx, rows - sy) <= reach
        by_x = f * (light(sx + step, sy) - light(sx - step, sy)) / (2 * step)
        by_y = f * (light(sx, sy + step) - light(sx, sy - step)) / (2 * step)
        parts += [light(sx, sy) * disc, by_x * disc, by_y * disc]
    matrix = np.array([[np.sum(a * b / variance) for b in parts] for a in parts])
    expected = np.sqrt(np.diag(np.linalg.inv(matrix))).reshape(2, 3)
    found_errors = np.column_stack([sources.flux_error, sources.x_error, sources.y_error])
    np.testing.assert_allclose(found_errors, expected, rtol=0.01)


def test_a_companion_hidden_in_a_bright_stars_light_is_revealed():
    rng = np.random.default_rng(3)
    x, y = (a.ravel() for a in np.meshgrid(np.arange(25, 590, 40.0), np.arange(25, 500, 40.0)))
    bx, by = x + 3.0, y + 1.5
    flux = np.concatenate([np.full(len(x), 50_000.0), np.full(len(x), 2500.0)])
    field = given_stars(np.concatenate([x, bx]), np.concatenate([y, by]), flux, SHAPE)
    peaks = field.peaks()
    _, seen = nearest(bx, by, peaks.x, peaks.y)
    sources = measured(field, peaks=peaks).sources
    index, distance = nearest(bx, by, sources.x, sources.y)
    assert np.mean(seen < 1) < 0.3
    assert np.mean(distance < 0.5) > 0.95
    assert np.median(sources.flux[index]) == pytest.approx(2500, rel=0.05)
    assert rng is not None


def test_a_crowd_is_measured_without_bias():
    optics = Optics(2.2, 0.0)
    field = star_field(77, n=3500, optics=optics, flux=(200, 30_000), shape=(620, 701))
    sources = measured(field).sources
    index, distance = nearest(field.x, field.y, sources.x, sources.y)
    bright = (field.flux > 3000) & (distance < 0.5)
    errors = sources.flux[index[bright]] / field.flux[bright] - 1
    assert bright.sum() > 0.95 * np.count_nonzero(field.flux > 3000)
    assert abs(np.median(errors)) < 0.004
    assert robust_width(errors) < 0.04


@pytest.mark.parametrize("flux", [4e5, 1e6, 5e6])
def test_a_saturated_star_is_measured_on_its_wings(flux):
    shape = (121, 131)
    field = given_stars([60.3, 100.0], [55.8, 100.0], [flux, 5000.0], shape)
    light = draw(shape, field.x, field.y, field.flux, STEADY)
    mask, image = field.mask.copy(), field.image.copy()
    mask[light > 25_000] = BAD
    mask[20:90, 60] = BAD  # bleeding trail, its last pixels not masked but full
    image[18:20, 60] = image[90:92, 60] = 20_000
    image[mask > 0] = np.nan
    sources = measured(dataclasses.replace(field, image=image, mask=mask)).sources
    star = np.argmax(sources.flux)
    assert sources.is_hidden[star]
    assert np.hypot(sources.x[star] - 60.3, sources.y[star] - 55.8) < 0.05
    assert sources.flux[star] == pytest.approx(flux, rel=0.02)
    assert not sources.is_hidden[np.argmin(np.hypot(sources.x - 100, sources.y - 100))]
    assert len(sources) <= 4


def test_pixels_lost_from_a_star_do_not_bias_it():
    field = star_field(51, n=200, optics=STEADY, flux=(5000, 50_000), spacing=20)
    mask, image = field.mask.copy(), field.image.copy()
    column, row = np.rint(field.x).astype(int), np.rint(field.y).astype(int)
    mask[row, column + 1] = mask[row - 1, column] = BAD
    image[mask > 0] = 1e5
    image[row[::2] + 1, column[::2]] = np.nan
    sources = measured(dataclasses.replace(field, image=image, mask=mask)).sources
    index, distance = nearest(field.x, field.y, sources.x, sources.y)
    assert np.mean(distance < 0.2) > 0.98
    pulls = (sources.flux[index] - field.flux) / sources.flux_error[index]
    assert abs(np.median(pulls)) < 0.3
    assert robust_width(pulls) < 1.25
    assert np.median(sources.n_pixels[index]) < np.max(sources.n_pixels)


def test_stars_at_the_edge_are_measured_on_what_is_inside():
    x, y = np.array([1.3, 60.0, 129.4, 60.2]), np.array([60.0, 1.2, 60.0, 118.3])
    field = given_stars(x, y, np.full(4, 30_000.0))
    sources = measured(field).sources
    index, distance = nearest(x, y, sources.x, sources.y)
    assert distance.max() < 0.1
    assert np.abs(sources.flux[index] / 30_000 - 1).max() < 0.03


@pytest.mark.parametrize(("fwhm", "flux"), [(2.8, 8000), (3.4, 2000), (3.4, 20_000), (4.5, 20_000)])
def test_galaxies_are_wide_and_do_not_break_up(fwhm, flux):
    rng = np.random.default_rng(8)
    x, y = (a.ravel() for a in np.meshgrid(np.arange(30, 580, 45.0), np.arange(30, 490, 45.0)))
    x, y = x + rng.uniform(-0.5, 0.5, x.shape), y + rng.uniform(-0.5, 0.5, x.shape)
    light = draw(SHAPE, x, y, np.full(len(x), float(flux)), Optics(fwhm, 0.0))
    field = Field(observe(light, 3), np.zeros(SHAPE, np.uint16), Mesh.constant(NOISE, SHAPE), x, y, x, STEADY)
    sources = measured(field).sources
    index, distance = nearest(x, y, sources.x, sources.y)
    assert np.mean(distance < 0.3) > 0.97
    assert np.median(sources.sharp[index]) > 0.2
    assert len(sources) < 1.1 * len(x)


def test_the_residual_is_noise_and_sky_left_behind_is_found():
    field = star_field(61, n=150, optics=STEADY, flux=(300, 30_000))
    y = np.arange(SHAPE[0])[:, None] / SHAPE[0]
    tilted = dataclasses.replace(field, image=field.image + (1.5 + y).astype(np.float32))
    plain, found = measured(field), measured(tilted)
    assert np.nanstd(found.residual) == pytest.approx(NOISE, rel=0.1)
    assert abs(np.nanmean(found.residual)) < 0.1
    middle = found.sky.at(np.array([300.0]), np.array([260.0]))[0]
    assert middle == pytest.approx(2.0, abs=0.3)
    a, b = plain.sources, found.sources
    index, distance = nearest(a.x, a.y, b.x, b.y)
    same = (distance < 0.3) & (a.flux > 1000)
    assert abs(np.median((b.flux[index] - a.flux)[same])) < 10


def test_sky_is_found_under_noise_and_lost_pixels():
    rng = np.random.default_rng(2)
    image = (3 + 4 * rng.standard_normal((200, 231))).astype(np.float32)
    image[rng.random(image.shape) < 0.1] = np.nan
    image[rng.random(image.shape) < 0.01] = 500
    image[:, 128:192] = np.nan
    found = remaining_sky(image, Mesh.constant(4.0, image.shape, 50), 64)
    assert np.all(np.abs(found.values[:, [0, 1]] - 3) < 0.35)


@settings(max_examples=60)
@given(st.integers(0, 60), st.floats(0.1, 30), st.integers(1, 9), st.integers(0, 999))
def test_every_source_is_in_one_group_of_bounded_size(n, link, most, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, 100, n), rng.uniform(0, 100, n)
    groups = group_sources(x, y, link, most)
    assert np.array_equal(np.sort(groups.member), np.arange(n))
    sizes = np.diff(groups.start)
    assert np.all((sizes >= 1) & (sizes <= most))
    of = groups.of_sources()
    for g in range(len(groups)):
        assert np.all(of[groups.member[groups.start[g] : groups.start[g + 1]]] == g)
    if n > 1 and most > 1:
        distance = np.hypot(x[:, None] - x, y[:, None] - y) + 1e9 * np.eye(n)
        i, j = np.unravel_index(np.argmin(distance), distance.shape)
        assert (of[i] == of[j]) == (distance[i, j] <= link)


def test_dropping_sources_returns_their_light():
    field = star_field(71, n=60, optics=STEADY)
    scene = Scene(*field.pixels, true_model(STEADY, SHAPE), PsfPhotometryConfig())
    assert scene.add(field.peaks()).all()
    scene.settle(scene.all_groups(), 3)
    assert np.nanstd(scene.residual) < 0.1 * np.std(field.image)
    scene.drop(np.zeros(len(scene), bool))
    assert len(scene) == 0
    np.testing.assert_allclose(scene.residual, field.image, atol=0.01)


def test_no_source_gives_an_empty_table_and_the_image_back():
    field = given_stars([], [], [])
    found = measured(field, PsfPhotometryConfig(sky_cell_px=0))
    assert len(found.sources) == 0
    assert all(len(getattr(found.sources, f.name)) == 0 for f in dataclasses.fields(found.sources))
    assert np.array_equal(found.residual, field.image)


def test_an_image_without_a_usable_pixel_gives_nothing():
    field = star_field(1, n=20)
    lost = dataclasses.replace(field, mask=np.full(SHAPE, BAD, np.uint16))
    found = measured(lost, peaks=field.peaks())
    assert len(found.sources) == 0
    assert np.isnan(found.residual).all()


def test_the_same_image_gives_the_same_bits_and_its_own_is_not_touched():
    field = star_field(81, n=400)
    before = field.image.copy()
    first = measured(field)
    second = measured(field)
    for f in dataclasses.fields(first.sources):
        assert np.array_equal(getattr(first.sources, f.name), getattr(second.sources, f.name)), f.name
    assert np.array_equal(field.image, before)
    order = np.lexsort((first.sources.x, first.sources.y))
    assert np.array_equal(order, np.arange(len(order)))


def test_of_two_that_the_pixels_do_not_tell_apart_the_brighter_stays_with_the_light_of_both():
    """Two that drew together while they were fitted had infinite errors, and were rows of a catalogue."""
    field = given_stars([60.0, 90.0], [60.0, 60.0], [6000.0, 3000.0])
    model = true_model(field.optics, field.image.shape)
    scene = Scene(*field.pixels, model, PsfPhotometryConfig(), None)
    scene.add(guesses([60.0, 60.0, 90.0], [60.0, 60.0, 60.0], [4500.0, 1500.0, 3000.0]))
    results = np.empty((len(scene), RESULT_COLUMNS))
    scene.judge(scene.all_groups(), results)
    lost = undetermined(scene, results)
    assert lost.tolist() == [False, True, False]
    results = _without(scene, lost, results)
    assert not undetermined(scene, results).any()
    assert np.isfinite(results).all()
    assert scene.flux == pytest.approx([6000.0, 3000.0], rel=0.02)
