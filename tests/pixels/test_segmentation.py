"""Sources are the connected pixels scipy finds, parted where two peaks stand apart."""

import numpy as np
import pytest
from aperture_builders import add_gaussians
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.pixels.segmentation import SegmentationConfig, gaussian_kernel, segment

WHOLE = SegmentationConfig(
    threshold_sigma=1.5, filtered_sigma=100, min_area=3, contrast=1.0, significance=1e9
)
FWHM = 2.2


def find(image, config=WHOLE, mask=None, noise=1.0, **options):
    mask = np.zeros(image.shape, np.uint16) if mask is None else mask
    options = {"bits": 1, "full_bits": 0} | options
    bits = options.pop("bits")
    return segment(image, mask, bits, Mesh.constant(noise, image.shape, 32), FWHM, config, **options)


@settings(max_examples=40)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 9999), st.floats(0.5, 3.0))
def test_connected_pixels_are_those_of_scipy(ny, nx, seed, threshold):
    rng = np.random.default_rng(seed)
    image = rng.normal(0, 3, (ny, nx)).astype(np.float32)
    found = find(image, WHOLE.model_copy(update={"threshold_sigma": threshold}))
    kernel = gaussian_kernel(FWHM).astype(float)
    filtered = ndimage.correlate1d(image.astype(float), kernel, axis=1, mode="constant")
    filtered = ndimage.correlate1d(filtered, kernel, axis=0, mode="constant")
    sure = np.abs(filtered - threshold) > 1e-4  # rounding decides the others
    labels, n = ndimage.label(filtered > threshold, np.ones((3, 3)))
    sizes = ndimage.sum_labels(np.ones_like(labels), labels, np.arange(1, n + 1))
    kept = np.isin(labels, 1 + np.flatnonzero(sizes >= WHOLE.min_area))
    if not sure.all():
        return
    np.testing.assert_array_equal(found.labels > 0, kept)
    pairs = np.unique(np.column_stack([labels[kept], found.labels[kept]]), axis=0)
    assert len(pairs) == len(found) == np.count_nonzero(sizes >= WHOLE.min_area)


@settings(max_examples=30)
@given(st.integers(5, 60), st.integers(5, 60), st.integers(0, 9999))
def test_lists_and_label_map_say_the_same(ny, nx, seed):
    rng = np.random.default_rng(seed)
    image = rng.normal(0, 4, (ny, nx)).astype(np.float32)
    found = find(image, SegmentationConfig(threshold_sigma=1.0, min_area=4))
    flat = found.labels.reshape(-1)
    for k in range(len(found)):
        pixels = found.pixels[found.first[k] : found.first[k + 1]]
        assert len(pixels) == found.area[k] >= 4
        assert np.all(flat[pixels] == k + 1)
        assert found.peak[k] in pixels
    assert np.count_nonzero(flat) == len(found.pixels)
    wanted = rng.random(len(found)) < 0.5
    rest = find(image, SegmentationConfig(threshold_sigma=1.0, min_area=4)).keep(wanted)
    assert len(rest) == np.count_nonzero(wanted)
    for new, old in enumerate(np.flatnonzero(wanted)):
        np.testing.assert_array_equal(rest.labels == new + 1, found.labels == old + 1)
    assert np.count_nonzero(rest.labels) == len(rest.pixels)


def stars(*places, shape=(41, 53), flux=3000.0):
    image = np.zeros(shape, np.float32)
    x, y, share = (np.array(p, float) for p in zip(*places, strict=True))
    add_gaussians(image, x, y, flux * share, 0.9)
    return image


def test_two_stars_that_touch_are_parted_between_them():
    found = find(stars((20, 20, 1.0), (25, 20, 0.3)), SegmentationConfig(), gain=6.0)
    assert len(found) == 2
    assert found.is_parted.all()
    assert sorted(int(p) % 53 for p in found.peak) == [20, 25]
    assert found.labels[20, 20] != found.labels[20, 25] != 0


def test_a_star_is_one_source_however_bright():
    for flux in (100.0, 1e4, 1e7):
        found = find(stars((20.3, 20.1, 1.0), flux=flux), SegmentationConfig())
        assert len(found) == 1
        assert not found.is_parted.any()


def test_a_faint_companion_counts_only_above_contrast_and_noise():
    image = stars((20, 20, 10.0), (28, 20, 0.5))

    def sources(**changes):
        return len(find(image, SegmentationConfig(prominence=1e9).model_copy(update=changes), gain=6.0))

    assert sources() == 2
    assert sources(contrast=0.2) == 1
    assert sources(significance=5000.0) == 1
    assert sources(contrast=0.2, prominence=0.5) == 2


def test_a_chain_of_stars_keeps_every_member():
    """A giant clump does not swallow its faint members."""
    faint = [(14.0 + 6 * k, 20.0, 0.1) for k in range(6)]
    assert len(find(stars((5.0, 20.0, 30.0), *faint), SegmentationConfig(), gain=6.0)) == 7


def test_a_saturated_core_is_one_source():
    image = stars((20, 20, 1.0), flux=4e5)
    mask = np.zeros(image.shape, np.uint16)
    mask[18:23, 17:24] = 4
    image[18:23, 17:24] = np.nan
    found = find(image, SegmentationConfig(), mask, bits=4, full_bits=4)
    assert len(found) == 1
    assert found.labels[20, 20] == 1


def test_a_dead_pixel_and_a_hot_one_are_no_sources_and_hide_none():
    image = stars((20, 20, 1.0))
    mask = np.zeros(image.shape, np.uint16)
    mask[20, 20], mask[5, 5] = 1, 1
    image[20, 20], image[5, 5] = np.nan, 1e6
    found = find(image, SegmentationConfig(), mask)
    assert len(found) == 1
    assert found.labels[20, 20] == 1


def test_marking_sets_one_bit_at_the_sources_pixels():
    image = stars((20, 20, 1.0))
    mask = np.full(image.shape, 4, np.uint16)
    found = find(image, mask=mask)
    found.mark(mask, 2)
    np.testing.assert_array_equal(mask, np.where(found.labels > 0, 6, 4))


def test_the_buffer_is_used_and_what_was_in_it_forgotten():
    image = stars((20, 20, 1.0))
    out = np.full(image.shape, 77, np.int32)
    found = find(image, out=out)
    assert found.labels is out
    np.testing.assert_array_equal(out, find(image).labels)


def test_nothing_is_found_in_nothing():
    found = find(np.zeros((30, 31), np.float32))
    assert len(found) == len(found.pixels) == 0
    assert found.first.tolist() == [0]


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="disagree"):
        find(np.zeros((30, 31), np.float32), mask=np.zeros((30, 30), np.uint16))
