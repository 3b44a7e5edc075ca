"""Images of a unit come to one scale, whatever the order of epochs, the clouds, and the stars that vary."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from relative_builders import make_unit, shuffled

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.science.relative.config import ImageConfig, RelativeConfig
from zsds_tasks.science.relative.epochs import canonical_order, number_by
from zsds_tasks.science.relative.offsets import ImageFlag
from zsds_tasks.science.relative.refine import refine_unit

CONFIG = RelativeConfig()
MMAG = 1e-3


def errors_of(solution, truth):
    """Errors of the offsets of good images, their mean taken off."""
    good = ~solution.images.bad
    off = (solution.images.offset + truth.zero)[good]
    return off - off.mean(), solution.images.error[good]


@pytest.mark.parametrize(
    ("changes", "rms"),
    [
        ({"stars": 3000}, 1.1),
        ({"stars": 3000, "zero_sigma": 0.5}, 1.1),
        ({"stars": 3000, "variables": 0.4}, 1.3),
        ({"stars": 3000, "saturated": 15.0}, 1.3),
        ({"stars": 3000, "outliers": 0.1}, 1.3),
        ({"stars": 3000, "gradients": 0.7}, 1.2),
        ({"stars": 3000, "clouds": 0.2}, 1.1),
        ({"stars": 500}, 2.8),
    ],
)
def test_offsets_are_those_planted(changes, rms):
    found, claimed = zip(
        *(errors_of(*solved(seed, images=30, **changes)) for seed in (81, 82, 83)), strict=True
    )
    assert np.sqrt(np.mean(np.concatenate(found) ** 2)) < rms * MMAG
    assert 0.75 < np.std(np.concatenate(found) / np.concatenate(claimed)) < 1.35


def solved(seed, **changes):
    epochs, truth = make_unit(seed, **changes)
    return refine_unit(epochs, CONFIG), truth


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 3, 8]), st.booleans())
def test_the_order_of_epochs_changes_no_bit(seed, images, cloudy):
    epochs, _ = make_unit(seed, stars=300, images=images, gradients=0.5 if cloudy else 0.0)
    first = refine_unit(epochs, CONFIG)
    second = refine_unit(shuffled(epochs, np.random.default_rng(seed)), CONFIG)
    for part in ("images", "stars"):
        for field in fields(getattr(first, part)):
            one, two = (getattr(getattr(found, part), field.name) for found in (first, second))
            assert np.array_equal(one, two, equal_nan=True), field.name


def test_two_sources_at_one_seed_count_in_neither_order():
    epochs, _ = make_unit(5, stars=300, images=6)
    pair = slice(40, 41)
    double = replace(
        epochs,
        **{name: np.concatenate([getattr(epochs, name), getattr(epochs, name)[pair]])
           for name in ("seed", "image", "magerr", "x", "y", "flags")},
        mag=np.concatenate([epochs.mag, epochs.mag[pair] + 0.3]),
    )  # fmt: skip
    order, starts = canonical_order(double.seed, double.image, double.n_seeds, double.n_images)
    assert len(order) == len(epochs) - 1
    assert starts[-1] == len(order)
    assert not {40, len(epochs)} & set(order.tolist())


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.floats(-3, 3))
def test_a_constant_added_to_an_image_goes_into_its_offset(seed, shift):
    epochs, _ = make_unit(seed, stars=600, images=8)
    first = refine_unit(epochs, CONFIG)
    mag = epochs.mag + np.where(epochs.image == 3, shift, 0.0)
    second = refine_unit(replace(epochs, mag=mag), CONFIG)
    change = second.images.offset - first.images.offset
    change[3] += shift
    # All move alike, because image 3 may enter or leave the mean that is the zero.
    np.testing.assert_allclose(change, change[0], atol=2e-5)
    np.testing.assert_allclose(second.images.terms, first.images.terms, atol=2e-5)
    assert np.array_equal(second.stars.stable, first.stars.stable)


def test_the_mean_of_good_photometric_images_is_zero():
    images = solved(9, stars=800, images=40, gradients=0.3, clouds=0.1)[0].images
    assert 10 < np.count_nonzero(images.gauge) < 40
    assert abs(np.mean(images.offset[images.gauge])) < 1e-9


def test_clouds_with_a_gradient_are_found_and_taken_out():
    solution, truth = solved(12, stars=3000, images=40, gradients=0.4)
    images = solution.images
    assert np.array_equal(images.order > 0, truth.cloudy)
    expected = truth.gradient / 2 / np.sqrt(3)
    np.testing.assert_allclose(images.term_rms, expected, atol=2.5 * MMAG)
    assert np.array_equal((images.flags & ImageFlag.CLOUD) > 0, images.term_rms > 0.02)
    assert not images.bad.any()
    assert np.all(images.scatter_after[truth.cloudy] < images.scatter_before[truth.cloudy])


def test_structured_clouds_are_bad_and_tell_stars_nothing():
    solution, truth = solved(13, stars=2000, images=40, gradients=0.0, clouds=0.2)
    assert np.array_equal(solution.images.bad, truth.structured)
    assert np.all(solution.images.flags[truth.structured] & ImageFlag.SCATTER)


def test_stable_stars_do_not_vary():
    solution, truth = solved(14, stars=2000, images=60, variables=0.3)
    known = np.isfinite(solution.stars.mag)
    assert np.mean(truth.variable[solution.stars.stable]) < 0.02
    assert np.mean(solution.stars.stable[known & ~truth.variable]) > 0.97


def test_saturated_stars_are_left_out():
    solution, truth = solved(15, stars=2000, images=60, saturated=15.0)
    assert not np.any(solution.stars.stable & (truth.mag < 15.0))


def test_excluded_images_are_corrected_but_decide_nothing():
    epochs, truth = make_unit(16, stars=800, images=20, gradients=0.0)
    excluded = np.arange(20) == 7
    other = np.where(excluded[epochs.image], epochs.mag + 0.2, epochs.mag)
    one, two = (
        refine_unit(replace(epochs, mag=mag, excluded=excluded), CONFIG) for mag in (epochs.mag, other)
    )
    assert one.images.flags[7] & ImageFlag.EXCLUDED
    assert abs(two.images.offset[7] - one.images.offset[7] + 0.2) < 1e-5
    rest = ~excluded
    np.testing.assert_allclose(two.images.offset[rest], one.images.offset[rest], atol=1e-7)
    off = (one.images.offset + truth.zero)[rest]
    assert abs((one.images.offset + truth.zero)[7] - off.mean()) < 5 * MMAG


def test_too_few_stars_give_no_correction():
    epochs, _ = make_unit(17, stars=400, images=10)
    keep = (epochs.image != 4) | (np.cumsum(epochs.image == 4) <= 4)
    few = replace(epochs, **{
        name: getattr(epochs, name)[keep] for name in ("seed", "image", "mag", "magerr", "x", "y", "flags")
    })  # fmt: skip
    images = refine_unit(few, CONFIG).images
    assert images.flags[4] & ImageFlag.TOO_FEW_STARS
    assert images.offset[4] == 0.0
    assert np.isnan(images.error[4])
    assert np.count_nonzero(images.bad) == 1


def test_images_without_common_stars_are_not_tied():
    epochs, _ = make_unit(18, stars=2000, images=10, gradients=0.0)
    apart = (epochs.image < 3) == (epochs.seed < 600)
    halves = replace(epochs, **{
        name: getattr(epochs, name)[apart] for name in ("seed", "image", "mag", "magerr", "x", "y", "flags")
    })  # fmt: skip
    images = refine_unit(halves, CONFIG).images
    assert np.array_equal((images.flags & ImageFlag.UNCONNECTED) > 0, np.arange(10) < 3)
    assert np.all(images.offset[:3] == 0.0)


@pytest.mark.parametrize("images", [0, 1])
def test_nothing_to_compare(images):
    epochs, _ = make_unit(19, stars=300, images=max(images, 1))
    if images == 0:
        columns = {n: getattr(epochs, n)[:0] for n in ("seed", "image", "mag", "magerr", "x", "y", "flags")}
        epochs = replace(epochs, **columns, n_images=0, n_seeds=0)
    found = refine_unit(epochs, CONFIG).images
    assert np.all(found.offset == 0.0)
    assert not found.bad.any()


def test_unusable_epochs_do_not_count():
    epochs, _ = make_unit(20, stars=500, images=12)
    random = np.random.default_rng(20)
    spoilt = random.uniform(size=len(epochs)) < 0.1
    flags = np.where(spoilt, random.choice([-1, 256, 1], len(epochs)), epochs.flags)
    wild = np.where(spoilt, random.choice([np.nan, 5.0, np.inf], len(epochs)), epochs.mag)
    one, two = (refine_unit(replace(epochs, mag=mag, flags=flags), CONFIG) for mag in (epochs.mag, wild))
    assert np.array_equal(one.images.offset, two.images.offset)


def test_corrections_are_applied_in_the_order_of_the_epochs():
    epochs, _ = make_unit(21, stars=1500, images=12, gradients=0.5)
    images = refine_unit(epochs, CONFIG).images
    u, v = epochs.normalised()
    columns = np.column_stack([u, v, 1.5 * u**2 - 0.5, u * v, 1.5 * v**2 - 0.5])
    expected = epochs.mag + images.offset[epochs.image]
    expected += np.sum(columns * images.terms[epochs.image], axis=1)
    np.testing.assert_allclose(images.applied(epochs), expected, atol=1e-12)
    assert np.any(images.order > 0)


def test_orders_can_be_forbidden():
    epochs, _ = make_unit(22, stars=1500, images=12, gradients=0.5)
    images = refine_unit(epochs, RelativeConfig(images=ImageConfig(max_order=0))).images
    assert not images.order.any()
    assert not images.terms.any()


def test_identifiers_are_numbered_by_themselves():
    distinct, numbers = number_by(np.array([70, 5, 70, 9]), known=np.array([6, 5]))
    assert distinct.tolist() == [5, 6, 9, 70]
    assert numbers.tolist() == [3, 0, 3, 2]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mag": np.zeros(3)}, "3 values of mag"),
        ({"n_seeds": 10}, "seed from 0 to .*not 0 to 9"),
        ({"excluded": np.zeros(2, bool)}, "2 marks of excluded images for 4"),
    ],
)
def test_what_does_not_fit_is_refused(changes, words):
    epochs, _ = make_unit(23, stars=50, images=4)
    with pytest.raises(UnusableInputError, match=words):
        replace(epochs, **changes)
