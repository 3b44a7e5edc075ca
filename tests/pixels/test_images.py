import io

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from zsds_tasks.pixels import rice
from zsds_tasks.pixels.fits import StructureError, scan
from zsds_tasks.pixels.images import DecodeError, ImageShape, image_shape, read_image


def stored(image, tile=None, plain=False):
    """Return an image as astropy stores it, and our view of its HDU."""
    hdu = (
        fits.ImageHDU(image)
        if plain
        else fits.CompImageHDU(image, compression_type="RICE_1", tile_shape=tile)
    )
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(stream)
    return stream.getvalue(), scan(stream.getvalue())[1]


IMAGES = arrays(
    np.uint16,
    array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=70),
    elements=st.one_of(st.integers(0, 65535), st.integers(1000, 1010)),
)


@settings(max_examples=60)
@given(IMAGES, st.integers(1, 70), st.integers(1, 70), st.booleans())
def test_decoding_gives_back_what_astropy_stored(image, tile_ny, tile_nx, plain):
    tile = (min(tile_ny, image.shape[0]), min(tile_nx, image.shape[1]))
    data, hdu = stored(image, tile, plain)
    shape = image_shape(hdu)
    assert (shape.ny, shape.nx) == image.shape
    found = read_image(data, hdu, shape)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, image)


@pytest.mark.parametrize("sigma", [0.3, 3, 30, 3000, 30000])
def test_every_block_kind_decodes(sigma):
    image = np.clip(np.random.default_rng(3).normal(32000, sigma, (13, 501)), 0, 65535).astype(np.uint16)
    image[5] = 7
    data, hdu = stored(image)
    np.testing.assert_array_equal(read_image(data, hdu, image_shape(hdu)), image)


@settings(max_examples=200)
@given(st.binary(max_size=80), st.integers(1, 300), st.sampled_from([16, 32, 64]))
def test_any_stream_stays_inside_its_bytes(stream, count, block):
    """The kernel says how far it came; guards around bytes and pixels stay untouched."""
    data = np.frombuffer(b"\xaa" * 16 + stream + b"\xaa" * 16, np.uint8)
    out = np.full(count + 8, 12345, np.uint16)
    done = rice.decode_tile(data, 16, 16 + len(stream), count, block, out[: count + 8])
    assert 0 <= done <= count
    assert (out[count:] == 12345).all()
    alone = np.frombuffer(stream or b"", np.uint8)
    other = np.full(count, 12345, np.uint16)
    assert rice.decode_tile(alone, 0, len(stream), count, block, other) == done  # nothing read beyond the end
    np.testing.assert_array_equal(other[:done], out[:done])


def test_refusals_name_the_hdu():
    data, hdu = stored(np.arange(600, dtype=np.uint16).reshape(20, 30))
    shape = image_shape(hdu)

    def changed(old, new):
        edited = data.replace(old, new)
        assert edited != data
        return edited, scan(edited)[1]

    with pytest.raises(StructureError, match="HDU 1 is compressed by HCOMPRESS_1, not RICE_1"):
        image_shape(changed(b"'RICE_1  '   ", b"'HCOMPRESS_1'")[1])
    with pytest.raises(StructureError, match="HDU 1: BYTEPIX is 4, BLOCKSIZE 32"):
        read_image(*changed(b"ZVAL2   =                    2", b"ZVAL2   =                    4"), shape)
    with pytest.raises(StructureError, match="HDU 1: 20 rows for 21 tiles"):
        read_image(data, hdu, ImageShape(21, 30, True))
    with pytest.raises(StructureError, match="tiles of 1 x 31 in 20 x 30 pixels cannot be"):
        read_image(*changed(b"ZTILE1  =                   30", b"ZTILE1  =                   31"), shape)
    with pytest.raises(StructureError, match="HDU 1: has no column COMPRESSED_DATA"):
        read_image(*changed(b"'COMPRESSED_DATA'", b"'COMPRESSED_DUST'"), shape)
    place = hdu.data_start
    broken = data[:place] + (2).to_bytes(4, "big") + data[place + 4 :]
    with pytest.raises(DecodeError, match="HDU 1: tile 1 of 20 does not decode to its 30 pixels"):
        read_image(broken, scan(broken)[1], shape)
    with pytest.raises(StructureError, match="HDU 0 is no extension, not an image"):
        image_shape(scan(data)[0])


def test_signed_images_are_refused():
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros((3, 4), np.int16))]).writeto(stream)
    with pytest.raises(StructureError, match="does not hold 16-bit unsigned integers"):
        image_shape(scan(stream.getvalue())[1])
