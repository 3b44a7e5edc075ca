"""Some places of a compressed image: the same pixels as the whole gives, from a part of the bytes."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.pixels.compressed import decode_image, encode_image
from zsds_tasks.pixels.compressed_rows import HEAD, open_rows


def picture(shape=(150, 90), seed=4):
    image = np.random.default_rng(seed).normal(3, 2, shape).astype(np.float32)
    image[10:14, 20:30] = np.nan
    image[64:96] = 0.0  # a tile without noise is kept by gzip
    return image


DATA = encode_image(picture(), [("CRVAL1", 12.5, "")], name="DIFFIMG")
WHOLE = decode_image(DATA, subject="whole")
ALL = np.array([45]), np.array([75]), 150
NARROW = encode_image(picture(), [], name="DIFFIMG", tile_columns=40)


class Counting(io.BytesIO):
    """A file that tells how much was read."""

    taken = 0

    def read(self, size=-1):
        part = super().read(size)
        self.taken += len(part)
        return part


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(-30, 120), st.integers(-30, 180)), max_size=6), st.integers(0, 20))
def test_squares_around_places_are_those_of_the_whole(places, half):
    x, y = np.array(places, np.int64).reshape(-1, 2).T
    for data in (DATA, NARROW):
        whole = decode_image(data, subject="whole")
        found = open_rows(io.BytesIO(data), len(data), subject="part").read_around(x, y, half)
        for a, b in zip(x, y, strict=True):
            square = np.s_[max(b - half, 0) : max(b + half + 1, 0), max(a - half, 0) : max(a + half + 1, 0)]
            assert np.array_equal(found[square], whole[square], equal_nan=True)


def test_of_narrow_tiles_only_those_needed_are_read():
    data = encode_image(picture((2000, 400)), [], name="DIFFIMG", tile_columns=64)
    stream = Counting(data)
    found = open_rows(stream, len(data), subject="part").read_around(np.array([200]), np.array([910]), 12)
    assert stream.taken < HEAD + len(data) / 40
    assert not found[:, :128].any()
    assert not found[:, 256:].any()


def test_only_the_tiles_needed_are_read():
    data = encode_image(picture((2000, 400)), [], name="DIFFIMG")
    stream = Counting(data)
    rows = open_rows(stream, len(data), subject="part")
    found = rows.read_around(np.array([200]), np.array([912]), 12)
    assert stream.taken < HEAD + len(data) / 20
    assert not found[:800].any()
    assert not found[1000:].any()


def test_a_long_header_is_read_on():
    cards = [(f"KEY{k}", k, "of many") for k in range(600)]
    data = encode_image(picture(), cards, name="DIFFIMG")
    rows = open_rows(io.BytesIO(data), len(data), subject="part")
    assert rows.header.value("KEY599") == 599
    assert np.array_equal(rows.read_around(*ALL), WHOLE, equal_nan=True)


@pytest.mark.parametrize("data", [b"", b"SIMPLE", DATA[:6000], DATA[:3000], b"\x1f\x8b" + DATA])
def test_what_is_no_such_file_is_refused_by_name(data):
    with pytest.raises(UnusableInputError, match=r"x\.fits: no compressed FITS image can be read"):
        open_rows(io.BytesIO(data), len(data), subject="x.fits")


def test_a_file_cut_off_or_broken_inside_is_refused():
    short = io.BytesIO(DATA[:-4000])
    with pytest.raises(UnusableInputError, match=r"x\.fits"):
        open_rows(short, len(DATA), subject="x.fits").read_around(*ALL)
    broken = bytearray(DATA)
    start = DATA.index(b"END" + b" " * 77, 3000) // 2880 * 2880 + 2880 + 5 * 40
    broken[start : start + 400] = bytes(400)
    with pytest.raises(UnusableInputError, match=r"x\.fits.*tile"):
        open_rows(io.BytesIO(bytes(broken)), len(DATA), subject="x.fits").read_around(*ALL)
