"""Quantised, dithered, Rice-compressed floats: by the standard, against astropy, and in the face of rot."""

import io

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zsds_tasks.pixels import quantize as q
from zsds_tasks.pixels.compressed import QUANTIZE_LEVEL, TILE_ROWS, decode_image, encode_image
from zsds_tasks.pixels.fits import StructureError, scan
from zsds_tasks.pixels.images import DecodeError
from zsds_tasks.pixels.rice import decode_tile
from zsds_tasks.pixels.rice_encoder import SLACK, bound, encode_tile
from zsds_tasks.pixels.rice_floats import read_floats

SHAPES = [(1, 1), (1, 9), (3, 5), (45, 37), (64, 1), (97, 130)]


def noise_image(shape, seed, level=100.0, sigma=2.0):
    return np.random.default_rng(seed).normal(level, sigma, shape).astype(np.float32)


def by_astropy(data):
    with fits.open(io.BytesIO(data), checksum=True) as hdus:
        hdus.verify("exception")
        return np.asarray(hdus[1].data), hdus[1].header.copy()


def of_astropy(image, **options):
    stream = io.BytesIO()
    hdu = fits.CompImageHDU(image, compression_type="RICE_1", **options)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(stream)
    return stream.getvalue()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", [11, 12, 13])
def test_astropy_restores_the_same_pixels_as_we_do(shape, seed):
    image = noise_image(shape, seed)
    image.flat[:: max(image.size // 7, 2)] = np.nan
    data = encode_image(image, [], name="IMAGE")
    ours, (theirs, _) = decode_image(data, subject="x"), by_astropy(data)
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(image))


@pytest.mark.parametrize("tile", [None, (1, 130), (32, 130), (40, 60), (97, 130)])
@pytest.mark.parametrize("method", [-1, 1, 2])
def test_files_of_astropy_are_read(tile, method):
    image = noise_image((97, 130), 5)
    image[10:20, 30:40] = 0
    options = {"tile_shape": tile, "quantize_method": method, "dither_seed": 77}
    data = of_astropy(image, quantize_level=16, **options)
    np.testing.assert_array_equal(decode_image(data, subject="x"), by_astropy(data)[0])


@pytest.mark.parametrize("seed", [21, 22, 23])
@pytest.mark.parametrize("sigma", [1e-3, 2.0, 300.0])
def test_rounding_is_within_half_a_step_and_without_bias(seed, sigma):
    image = noise_image((64, 500), seed, sigma=sigma)
    error = decode_image(encode_image(image, [], name="I"), subject="x").astype(np.float64) - image
    step = sigma / QUANTIZE_LEVEL
    assert np.abs(error).max() < 0.55 * step + np.spacing(np.float32(200))
    assert abs(error.std() / step - 12**-0.5) < 0.03
    assert abs(error.mean()) < 5 * error.std() / np.sqrt(error.size)
    assert abs(np.corrcoef(error.ravel(), image.ravel())[0, 1]) < 0.03


def test_the_sequence_is_the_standards():
    numbers = q.random_numbers()
    seed = 1
    for number in numbers[:50]:
        seed = seed * 16807 % 2147483647
        assert number == np.float32(seed / 2147483647)
    assert len(numbers) == 10_000
    assert 0 < numbers.min() < numbers.max() < 1


@pytest.mark.parametrize("seed", [31, 32, 33])
def test_noise_is_found_among_stars_and_undefined_pixels(seed):
    rng = np.random.default_rng(seed)
    tile = rng.normal(50, 3, (32, 700)).astype(np.float32)
    tile[rng.random(tile.shape) < 0.02] += 5000
    tile[rng.random(tile.shape) < 0.02] = np.nan
    assert q.tile_noise(tile.ravel()) == pytest.approx(3, rel=0.15)
    assert q.tile_noise(np.full(1000, 7, np.float32)) == 0
    assert q.tile_noise(np.full(1000, np.nan, np.float32)) == 0
    assert q.tile_noise(np.arange(5, dtype=np.float32)) == 0


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((40, 33), np.float32),
        np.full((33, 40), 1.25, np.float32),
        np.full((33, 40), np.nan, np.float32),
        np.where(np.eye(40, 41) > 0, np.inf, 3).astype(np.float32),
        np.where(np.eye(40, 41) > 0, 1e30, np.arange(41) % 7).astype(np.float32),
    ],
)
def test_tiles_without_noise_or_beyond_integers_are_exact(image):
    data = encode_image(image, [], name="IMAGE")
    np.testing.assert_array_equal(decode_image(data, subject="x"), image)
    np.testing.assert_array_equal(by_astropy(data)[0], image)


def test_quantising_again_changes_nothing():
    once = decode_image(encode_image(noise_image((40, 300), 3), [], name="I"), subject="x")
    # Of the same steps, not of those of the restored noise, which is a little larger.
    out = np.empty(once.size, np.int32)
    step = 0.125
    values = (np.round(once.ravel() / step) * step).astype(np.float32)
    again = np.empty(once.size, np.float32)
    q.quantize(values, 0.0, step, 0, np.full(10_000, 0.5, np.float32), 0, out)
    q.dequantize(out, 0.0, step, 1 << 40, 1, np.full(10_000, 0.5, np.float32), 0, again)
    np.testing.assert_array_equal(again, values)


WORDS = st.one_of(st.integers(-(2**31), 2**31 - 1), st.integers(-40, 40), st.just(q.BLANK))


@settings(max_examples=150)
@given(arrays(np.int32, st.integers(1, 150), elements=WORDS))
def test_any_integers_come_back_and_nothing_is_written_beyond_the_bound(counts):
    heap = np.full(bound(counts.size, 4) + 40, 0xAA, np.uint8)
    used = encode_tile(counts, heap, 8)
    assert used - 8 <= bound(counts.size, 4) - SLACK
    assert (heap[:8] == 0xAA).all()
    assert (heap[used + SLACK :] == 0xAA).all()
    out = np.zeros(counts.size, np.int32)
    assert decode_tile(heap, 8, used, counts.size, 32, out) == counts.size
    np.testing.assert_array_equal(out, counts)
    # One byte less is noticed, unless it held no bit of a pixel.
    short = decode_tile(heap, 8, used - 1, counts.size, 32, np.zeros(counts.size, np.int32))
    assert short < counts.size


@settings(max_examples=200)
@given(st.binary(max_size=80), st.integers(1, 300), st.sampled_from([16, 32, 64]))
def test_any_stream_stays_inside_its_bytes(stream, count, block):
    data = np.frombuffer(b"\xaa" * 16 + stream + b"\xaa" * 16, np.uint8)
    out = np.full(count + 8, 12345, np.int32)
    done = decode_tile(data, 16, 16 + len(stream), count, block, out)
    assert 0 <= done <= count
    assert (out[count:] == 12345).all()
    alone, other = np.frombuffer(stream or b"", np.uint8), np.full(count, 12345, np.int32)
    assert decode_tile(alone, 0, len(stream), count, block, other) == done
    np.testing.assert_array_equal(other[:done], out[:done])


def test_a_buffer_receives_the_image_and_must_fit():
    image = noise_image((50, 60), 8)
    data = encode_image(image, [], name="IMAGE")
    buffer = np.zeros((50, 60), np.float32)
    assert decode_image(data, subject="x", out=buffer) is buffer
    np.testing.assert_array_equal(buffer, decode_image(data, subject="x"))
    hdu = scan(data)[1]
    with pytest.raises(StructureError, match="holds 50 x 60 pixels, not 5 x 6"):
        read_floats(data, hdu, np.zeros((5, 6), np.float32))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"'RICE_1  '", b"'PLIO_1  '", "no Rice-compressed image"),
        (b"'SUBTRACTIVE_DITHER_1'", b"'SUBTRACTIVE_DITHER_9'", "quantised by SUBTRACTIVE_DITHER_9"),
        (b"ZTILE1  =                   60", b"ZTILE1  =                   61", "cannot be"),
        (b"ZNAXIS1 =                   60", b"ZNAXIS1 =              6000060", "cannot hold"),
        (b"ZVAL2   =                    4", b"ZVAL2   =                    2", "BYTEPIX is 2"),
        (
            b"NAXIS2  =                    2 / tiles",
            b"NAXIS2  =                    1 / tiles",
            "1 rows for 2",
        ),
        (b"TFORM3  = '1D", b"TFORM3  = '1K", "no column ZSCALE of doubles"),
        (b"'COMPRESSED_DATA'", b"'COMPRESSED_DUST'", "has no column COMPRESSED_DATA"),
        (b"TFORM1  = '1PB", b"TFORM1  = '1PI", "column COMPRESSED_DATA is no array of bytes"),
        (b"ZDITHER0=                    1", b"ZDITHER0=                    0", "seed 0"),
    ],
)
def test_what_cannot_be_is_refused_with_its_reason(old, new, reason):
    data = encode_image(noise_image((50, 60), 8), [], name="IMAGE")
    assert data.count(old) == 1
    edited = data.replace(old, new)
    with pytest.raises(StructureError, match=reason):
        read_floats(edited, scan(edited)[1])


def test_broken_tiles_are_named():
    data = encode_image(noise_image((50, 60), 8), [], name="IMAGE")
    hdu = scan(data)[1]
    rot = bytearray(data)
    rot[hdu.data_start : hdu.data_start + 4] = (3).to_bytes(4, "big")
    with pytest.raises(DecodeError, match="tile 1 of 2 does not decode"):
        read_floats(bytes(rot), hdu)
    rot[hdu.data_start : hdu.data_start + 4] = bytes(4)
    with pytest.raises(DecodeError, match="tile 1 of 2 has no bytes"):
        read_floats(bytes(rot), hdu)
    rot[hdu.data_start : hdu.data_start + 4] = b"\x7f\xff\xff\xff"
    with pytest.raises(DecodeError, match="tile 1 of 2 lies outside the heap"):
        read_floats(bytes(rot), hdu)
    constant = encode_image(np.zeros((50, 60), np.float32), [], name="IMAGE")
    hdu = scan(constant)[1]
    place = constant.index(b"\x1f\x8b", hdu.data_start)
    with pytest.raises(DecodeError, match="tile 1 of 2 is no gzip stream"):
        read_floats(constant[:place] + b"\0\0" + constant[place + 2 :], hdu)


@settings(max_examples=150)
@given(st.integers(0, 10**6), st.integers(0, 255))
def test_one_rotten_byte_is_refused_or_survived(place, value):
    data = bytearray(encode_image(noise_image((40, 50), 8), [], name="IMAGE"))
    hdu = scan(bytes(data))[1]
    data[hdu.data_start + place % hdu.data_size] = value
    try:
        image = read_floats(bytes(data), hdu)
    except (DecodeError, StructureError):
        return
    assert image.shape == (40, 50)


def test_tiles_are_of_whole_rows():
    _, header = by_astropy(encode_image(noise_image((100, 30), 8), [("RCID", 3, "")], name="IMAGE"))
    assert header["RCID"] == 3
    assert TILE_ROWS == 32  # files on disk have it; a reader takes it from the header, this is for a person
