"""Product images: compressed, readable by anyone, the same bytes for the same pixels."""

import io

import numpy as np
import pytest
from astropy.io import fits

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.pixels.compressed import (
    QUANTIZE_LEVEL,
    UNCERTAINTY_STEP,
    decode_image,
    encode_image,
    encode_uncertainty,
)
from zsds_tasks.pixels.fits import checksum_faults, scan
from zsds_tasks.pixels.mesh import Mesh, mesh_shape

CARDS = [("RCID", 3, "readout channel"), ("NIGHT", "20251013", "")]


@pytest.fixture
def image():
    noise = np.random.default_rng(4).normal(0.0, 2.0, (45, 37))
    found = (100 + noise).astype(np.float32)
    found[3, 5] = np.nan
    return found


def test_floats_keep_their_values_to_a_fraction_of_their_noise(image):
    data = encode_image(image, CARDS, name="IMAGE")
    again = decode_image(data, subject="here")
    assert again.dtype == np.float32
    assert again.flags.c_contiguous
    assert np.array_equal(np.isnan(again), np.isnan(image))
    assert np.nanmax(np.abs(again - image)) < 1.5 * 2.0 / QUANTIZE_LEVEL
    assert encode_image(image, CARDS, name="IMAGE") == data


@pytest.mark.parametrize("columns", [10, 16, 36, 37, 500])
def test_narrow_tiles_hold_the_same_image_and_others_read_them(columns):
    image = np.random.default_rng(4).normal(100.0, 2.0, (70, 37)).astype(np.float32)
    image[3, 5] = np.nan
    image[32:64, :columns] = 5.0
    restored = np.empty_like(image)
    data = encode_image(image, CARDS, name="IMAGE", tile_columns=columns, restored=restored)
    again = decode_image(data, subject="here")
    assert np.array_equal(again, restored, equal_nan=True)
    assert np.nanmax(np.abs(again - image)) < 1.5 * 2.0 / QUANTIZE_LEVEL
    assert (again[32:64, :columns] == 5.0).all()
    with fits.open(io.BytesIO(data)) as hdus:
        np.testing.assert_allclose(hdus["IMAGE"].data, again, rtol=1e-6)
    assert (data == encode_image(image, CARDS, name="IMAGE")) == (columns >= 37)


def test_integers_are_exact_and_keywords_are_there():
    mask = np.random.default_rng(5).integers(0, 1 << 13, (33, 20)).astype(np.uint16)
    data = encode_image(mask, CARDS, name="MASK")
    again = decode_image(data, subject="here")
    assert again.dtype == np.uint16
    assert np.array_equal(again, mask)
    with fits.open(io.BytesIO(data)) as hdus:
        assert hdus["MASK"].header["RCID"] == 3
        assert hdus["MASK"].header["NIGHT"] == "20251013"


@pytest.mark.parametrize("spoil", [lambda d: d[:4000], lambda _: b"rot", lambda d: d[:2880]])
def test_broken_files_are_named(image, spoil):
    with pytest.raises(UnusableInputError, match=r"cal/x\.fits: no compressed FITS image") as caught:
        decode_image(spoil(encode_image(image, CARDS, name="IMAGE")), subject="cal/x.fits")
    assert "build it again" in str(caught.value)


def smooth_map(shape, low, high, seed):
    values = np.random.default_rng(seed).uniform(low, high, mesh_shape(shape, 16)).astype(np.float32)
    return Mesh(values, 16, shape)


@pytest.mark.parametrize("seed", [6, 7, 8])
@pytest.mark.parametrize("shape", [(45, 37), (5, 70), (16, 16)])
def test_a_map_is_added_on_the_way_as_if_it_had_been_before(shape, seed):
    image = np.random.default_rng(seed).normal(0.0, 2.0, shape).astype(np.float32)
    sky = smooth_map(shape, 90.0, 110.0, seed)
    before = image.copy()
    found = decode_image(encode_image(image, CARDS, name="IMAGE", add=sky), subject="x")
    assert np.abs(found - (image + sky.expand())).max() < 2.0 / QUANTIZE_LEVEL
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("seed", [6, 7, 8])
def test_uncertainties_are_noise_and_photons_and_undefined_under_the_mask(seed):
    rng = np.random.default_rng(seed)
    shape, gain, bits = (70, 43), 6.2, 5
    image = rng.normal(0.0, 5.0, shape).astype(np.float32)
    image[20:25, 10:15] += 20_000
    image[3, 3] = np.nan
    mask = rng.choice(np.array([0, 1, 2, 4], np.uint16), shape, p=[0.9, 0.03, 0.04, 0.03])
    noise = smooth_map(shape, 4.5, 5.5, seed)
    data = encode_uncertainty(image, noise, gain, CARDS, name="UNC", mask=mask, bits=bits)
    found = decode_image(data, subject="x")
    expected = np.sqrt(noise.expand() ** 2 + np.clip(image, 0, None) / gain)
    expected[(mask & bits) != 0] = np.nan
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    assert np.nanmax(np.abs(found - expected)) < 0.51 * UNCERTAINTY_STEP * np.median(noise.values)
    without = decode_image(encode_uncertainty(image, noise, gain, CARDS, name="UNC"), subject="x")
    assert np.isnan(without).sum() == 1


@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
def test_checksums_hold_and_the_order_of_bytes_does_not_matter(image, dtype):
    values = np.nan_to_num(image).astype(dtype)
    data = encode_image(values, CARDS, name="IMAGE")
    assert list(checksum_faults(data, scan(data))) == []
    assert len(scan(data)) == 2
    turned = values.astype(values.dtype.newbyteorder(">"))
    assert encode_image(np.asfortranarray(turned), CARDS, name="IMAGE") == data


def test_what_is_no_image_is_refused(image):
    with pytest.raises(ValueError, match="shape"):
        encode_image(np.zeros((0, 5), np.float32), CARDS, name="IMAGE")
    with pytest.raises(ValueError, match="int64"):
        encode_image(np.zeros((5, 5), np.int64), CARDS, name="IMAGE")
    with pytest.raises(ValueError, match="with a map added"):
        encode_image(np.zeros((45, 37), np.uint16), CARDS, name="I", add=smooth_map((45, 37), 1, 2, 3))
    with pytest.raises(ValueError, match="for an image of"):
        encode_image(image, CARDS, name="IMAGE", add=smooth_map((45, 36), 1, 2, 3))
