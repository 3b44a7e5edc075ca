"""Product images: compressed, readable by anyone, the same bytes for the same pixels."""

import io

import numpy as np
import pytest
from astropy.io import fits

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.pixels.compressed import QUANTIZE_LEVEL, decode_image, encode_image

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
