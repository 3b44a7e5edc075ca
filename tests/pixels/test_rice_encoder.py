import io

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zsds_tasks.pixels.rice import decode_tile
from zsds_tasks.pixels.rice_encoder import compress_rows
from zsds_tasks.simulator.delivery.packed_fits import encode_checksum, image_hdu, ones_sum, primary_hdu


def file_of(*images):
    none = fits.Header()
    return primary_hdu(none) + b"".join(image_hdu(f"I{k}", image, none) for k, image in enumerate(images))


def decoded(image):
    with fits.open(io.BytesIO(file_of(image)), checksum=True) as file:
        file.verify("exception")
        return file[1].data


@given(
    arrays(np.uint16, st.tuples(st.integers(1, 5), st.integers(1, 80)), elements=st.integers(0, 65535)),
    st.sampled_from([1, 16, 5000]),
)
@settings(max_examples=150)
def test_astropy_reads_back_every_pixel(image, divisor):
    smooth = image // divisor + (65535 - 65535 // divisor) // 2
    assert np.array_equal(decoded(smooth.astype(np.uint16)), smooth)


@pytest.mark.parametrize("sigma", [0.0, 0.3, 4.0, 60.0, 3000.0])
def test_the_compressed_rows_are_astropys_own(sigma):
    rng = np.random.default_rng(4)
    image = np.clip(rng.normal(30000, sigma, (33, 301)), 0, 65535).astype(np.uint16)
    image[3, 50:60] = 65535
    image[4, ::7] = 0
    heap, lengths = compress_rows(image)
    packed = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(image, compression_type="RICE_1")]).writeto(packed)
    packed.seek(0)
    with fits.open(packed, disable_image_compression=True) as file:
        rows = [bytes(row) for row in file[1].data["COMPRESSED_DATA"]]
    ends = np.cumsum(lengths)
    assert [bytes(heap[e - n : e]) for e, n in zip(ends, lengths, strict=True)] == rows


@given(st.integers(0, 0xFFFFFFFF))
def test_an_encoded_checksum_brings_the_sum_to_all_ones(total):
    text = encode_checksum(total)
    assert text.isalnum()
    assert len(text) == 16
    # In a header the text starts one byte before a word: rotate it back before summing.
    grown = ones_sum(text[1:] + text[:1], total)
    blank = ones_sum(b"0" * 16)
    assert ones_sum(b"", grown - blank if grown >= blank else grown - blank + 0xFFFFFFFF) in {0, 0xFFFFFFFF}


def test_headers_keep_their_keywords_and_values():
    keywords = fits.Header([("OBSERVER", "someone", "who"), ("EXPTIME", 30.0, "[s]"), ("TOOFLAG", False, "")])
    image = np.arange(12, dtype=np.uint16).reshape(3, 4)
    content = primary_hdu(keywords) + image_hdu("IMAGE1", image, keywords)
    with fits.open(io.BytesIO(content), checksum=True) as file:
        for hdu in file:
            assert [hdu.header[k] for k in ("OBSERVER", "EXPTIME", "TOOFLAG")] == ["someone", 30.0, False]
        assert file[1].data.dtype == np.uint16


def test_our_own_decoder_agrees():
    image = np.random.default_rng(3).integers(0, 65536, (5, 77)).astype(np.uint16)
    heap, lengths = compress_rows(image)
    row, start = np.zeros(77, np.uint16), 0
    for y, length in enumerate(lengths):
        assert decode_tile(heap, start, start + length, 77, 32, row) == 77
        assert np.array_equal(row ^ 0x8000, image[y])
        start += length
