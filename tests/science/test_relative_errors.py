"""Errors are as wide as the scatter of stars that do not vary, at every magnitude; scatter shrinks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from relative_builders import make_unit, photon_error, shuffled

from zsds_tasks.science.relative.config import ErrorModelConfig, RelativeConfig
from zsds_tasks.science.relative.error_model import ErrorModel, catflags, epoch_errors, fit_error_model
from zsds_tasks.science.relative.refine import refine_unit
from zsds_tasks.science.relative.scatter import SeedScatter, good_epochs, repeatability, seed_scatter

CONFIG = ErrorModelConfig()
UNUSABLE = RelativeConfig().ensemble.unusable_flags


def measured(seed, **changes):
    epochs, truth = make_unit(seed, **changes)
    images = refine_unit(epochs, RelativeConfig()).images
    use = good_epochs(epochs, images, UNUSABLE)
    mag = images.applied(epochs)
    return epochs, truth, use, mag, seed_scatter(epochs, mag, use)


def pulls_by_bin(seed, least=3000, **changes):
    """Width of the pulls of epochs of non-variable stars, in bins of half a magnitude or more."""
    epochs, truth, use, mag, scatter = measured(seed, **changes)
    model, _ = fit_error_model(scatter, CONFIG)
    n = scatter.n[epochs.seed]
    pull = (mag - scatter.mag[epochs.seed]) / model.sigma(scatter.mag[epochs.seed])
    pull *= np.sqrt(n / np.maximum(n - 1, 1))
    keep = np.flatnonzero(use & ~truth.off & ~truth.variable[epochs.seed] & (n > 1))
    keep = keep[np.argsort(truth.mag[epochs.seed[keep]], kind="stable")]
    bins = np.searchsorted(np.arange(13.5, 21.5, 0.5), truth.mag[epochs.seed[keep]])
    parts = [keep[bins == k] for k in np.unique(bins)]
    return np.array([np.sqrt(np.mean(pull[part] ** 2)) for part in parts if len(part) >= least])


@pytest.mark.parametrize(
    "changes", [{}, {"error_factor": 1.3}, {"floor": 0.015}, {"limit": 21.5, "faint": 21.5}]
)
def test_pulls_are_one_at_every_magnitude(changes):
    pulls = pulls_by_bin(91, stars=6000, images=60, **changes)
    assert len(pulls) > 10
    assert np.all((pulls > 0.95) & (pulls < 1.05)), pulls


def test_many_variables_widen_errors_little():
    pulls = pulls_by_bin(92, stars=4000, images=60, variables=0.25)
    assert np.all((pulls > 0.93) & (pulls < 1.05)), pulls


def test_relative_photometry_makes_stars_repeat():
    epochs, _, use, _, after = measured(93, stars=3000, images=50, zero_sigma=0.02, gradients=0.3)
    before = seed_scatter(epochs, epochs.mag, use)
    table = repeatability(before, after, np.arange(13.0, 22.0))
    assert table.n.sum() == np.count_nonzero((np.minimum(before.n, after.n) >= 5) & (after.mag < 21))
    assert np.all(table.before[1:4, 1] > 0.02)
    assert np.all(table.after[1:3, 1] < 0.009)
    full = table.n > 20
    assert np.all(np.diff(table.after[full], axis=1) > 0)


def test_scatter_is_that_of_numpy():
    epochs, _ = make_unit(94, stars=200, images=9, outliers=0.0)
    use = epochs.usable(UNUSABLE)
    found = seed_scatter(epochs, epochs.mag, use, outlier_sigma=np.inf)
    for seed in range(0, 200, 17):
        rows = use & (epochs.seed == seed)
        assert found.n[seed] == np.count_nonzero(rows)
        assert found.mag[seed] == pytest.approx(np.mean(epochs.mag[rows]), abs=1e-12)
        assert found.rms[seed] == pytest.approx(np.std(epochs.mag[rows], ddof=1), abs=1e-12)
        assert found.formal[seed] == pytest.approx(np.sqrt(np.mean(epochs.magerr[rows] ** 2)), abs=1e-12)


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_the_order_of_epochs_changes_no_bit_of_scatter_and_model(seed):
    epochs, _ = make_unit(seed, stars=200, images=10)
    mixed = shuffled(epochs, np.random.default_rng(seed))
    one, two = (seed_scatter(e, e.mag, e.usable(UNUSABLE)) for e in (epochs, mixed))
    for name in ("n", "mag", "rms", "formal"):
        assert np.array_equal(getattr(one, name), getattr(two, name), equal_nan=True)
    assert fit_error_model(one, CONFIG)[0] == fit_error_model(two, CONFIG)[0]


def stars(seed, n, epochs, sigma):
    random = np.random.default_rng(seed)
    mag = random.uniform(14, 20.4, n)
    rms = sigma(mag) * np.sqrt(random.chisquare(epochs - 1, n) / (epochs - 1))
    return SeedScatter(np.full(n, epochs), mag, rms, photon_error(mag))


def published(m):
    """Return sigma of the reference's example (section 11.1)."""
    return 0.02111 - 5.81e-4 * m + 1.695e-9 * 10 ** (0.4 * m) - 4.41e-18 * 10 ** (0.8 * m)


def test_the_published_example_comes_back():
    model, steady = fit_error_model(stars(1, 3000, 40, published), CONFIG)
    m = np.arange(14.2, 20.4, 0.2)
    np.testing.assert_allclose(model.sigma(m), published(m), rtol=0.02)
    assert model.origin == "scatter"
    assert np.mean(steady) > 0.99


def test_the_model_is_continuous_and_a_line_above():
    model, _ = fit_error_model(stars(2, 2000, 30, published), CONFIG)
    assert model.sigma(20.5 + 1e-9) == pytest.approx(model.sigma(20.5), abs=1e-8)
    above = model.sigma(np.array([20.6, 21.1, 21.6]))
    assert above[2] - above[1] == pytest.approx(above[1] - above[0], abs=1e-12)
    slope = (published(20.5) - published(20.49)) / 0.01
    assert model.slope == pytest.approx(slope, rel=0.4)
    assert model.sigma(10.0) == model.sigma(model.bright)
    assert np.isnan(model.sigma(np.nan))


def test_few_epochs_take_the_formal_errors():
    random = np.random.default_rng(3)
    mag = random.uniform(14, 20, 30)
    formal = photon_error(mag)
    rms = np.hypot(formal, 0.01) * np.sqrt(random.chisquare(3, 30) / 3)
    model, _ = fit_error_model(SeedScatter(np.full(30, 4), mag, rms, formal), CONFIG)
    assert model.origin == "formal"
    m = np.arange(14.5, 20, 0.5)
    np.testing.assert_allclose(model.sigma(m), np.hypot(photon_error(m), 0.01), rtol=0.35)


def test_two_stars_still_give_an_error():
    scatter = SeedScatter(np.array([3, 3]), np.array([15.0, 16.0]), np.array([0.01, 0.02]), np.full(2, 0.01))
    model, _ = fit_error_model(scatter, CONFIG)
    assert np.all((model.sigma(np.arange(12.0, 22.0)) > 0.005) & (model.sigma(np.arange(12.0, 22.0)) < 0.03))


def test_nothing_known_gives_no_model():
    nothing = np.full(3, np.nan)
    assert fit_error_model(SeedScatter(np.ones(3, np.int64), nothing, nothing, nothing), CONFIG) is None


def test_no_error_is_under_the_floor():
    model = ErrorModel(-0.01, 0.0, 0.0, 0.0, 0.0, 20.5, 14.0, 0.002, 0, "formal")
    assert np.all(model.sigma([14, 18, 22]) == 0.002)


def test_catflags_are_mask_bits_bad_exposure_and_edge():
    flags = np.array([0, 2, 256, 0, 256, -1, -1, 8192])
    bad = np.array([False, False, False, True, True, False, True, False])
    assert catflags(flags, bad).tolist() == [0, 2, 256, 32768, 33024, 65535, 65535, 0]
    assert catflags(flags, bad).dtype == np.uint16


def test_a_fits_own_error_counts_only_where_it_is_clearly_larger():
    config = ErrorModelConfig(own_excess=1.5)
    model = np.array([0.01, 0.01, 0.01, 0.01, 0.01])
    formal, chi = np.array([0.008, 0.014, 0.03, 0.008, np.nan]), np.array([1.0, 1.0, 0.5, 3.0, 1.0])
    assert epoch_errors(model, formal, chi, config) == pytest.approx([0.01, 0.01, 0.03, 0.024, 0.01])


@given(st.integers(0, 1000))
@settings(max_examples=20)
def test_errors_of_epochs_are_never_under_the_models(seed):
    rng = np.random.default_rng(seed)
    model, formal, chi = 10 ** rng.uniform(-3, 0, (3, 40))
    found = epoch_errors(model, formal, chi, ErrorModelConfig())
    assert (found >= model).all()
    assert ((found == model) | (found >= formal)).all()
