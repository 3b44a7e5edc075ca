"""Some rows of a compressed image: the same pixels as the whole gives, from a part of the bytes."""

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


class Counting(io.BytesIO):
    """A file that tells how much was read."""

    taken = 0

    def read(self, size=-1):
        part = super().read(size)
        self.taken += len(part)
        return part


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 149), max_size=6))
def test_wanted_rows_are_those_of_the_whole(rows):
    wanted = np.zeros(150, bool)
    wanted[rows] = True
    found = open_rows(io.BytesIO(DATA), len(DATA), subject="part").read(wanted)
    assert np.array_equal(found[wanted], WHOLE[wanted], equal_nan=True)


def test_only_the_tiles_needed_are_read():
    data = encode_image(picture((2000, 400)), [], name="DIFFIMG")
    stream = Counting(data)
    rows = open_rows(stream, len(data), subject="part")
    wanted = np.zeros(2000, bool)
    wanted[900:925] = True
    found = rows.read(wanted)
    assert stream.taken < HEAD + len(data) / 20
    assert not found[:800].any()
    assert not found[1000:].any()


def test_a_long_header_is_read_on():
    cards = [(f"KEY{k}", k, "of many") for k in range(600)]
    data = encode_image(picture(), cards, name="DIFFIMG")
    rows = open_rows(io.BytesIO(data), len(data), subject="part")
    assert rows.header.value("KEY599") == 599
    assert np.array_equal(rows.read(np.ones(150, bool)), WHOLE, equal_nan=True)


@pytest.mark.parametrize("data", [b"", b"SIMPLE", DATA[:6000], DATA[:3000], b"\x1f\x8b" + DATA])
def test_what_is_no_such_file_is_refused_by_name(data):
    with pytest.raises(UnusableInputError, match=r"x\.fits: no compressed FITS image can be read"):
        open_rows(io.BytesIO(data), len(data), subject="x.fits")


def test_a_file_cut_off_or_broken_inside_is_refused():
    short = io.BytesIO(DATA[:-4000])
    with pytest.raises(UnusableInputError, match=r"x\.fits"):
        open_rows(short, len(DATA), subject="x.fits").read(np.ones(150, bool))
    broken = bytearray(DATA)
    start = DATA.index(b"END" + b" " * 77, 3000) // 2880 * 2880 + 2880 + 5 * 40
    broken[start : start + 400] = bytes(400)
    with pytest.raises(UnusableInputError, match=r"x\.fits.*tile"):
        open_rows(io.BytesIO(bytes(broken)), len(DATA), subject="x.fits").read(np.ones(150, bool))
