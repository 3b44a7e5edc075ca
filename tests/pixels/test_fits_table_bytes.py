"""Binary tables, against astropy and our own reader."""

import io

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.pixels.fits_tables import Column, decode_table, encode_table

TYPES = st.sampled_from(["bool", "u1", "i2", "i4", "i8", "f4", "f8"])


@st.composite
def tables(draw):
    rows = draw(st.integers(0, 7))
    found = {}
    for number in range(draw(st.integers(1, 6))):
        width = draw(st.sampled_from([None, 2, 6]))
        shape = (rows,) if width is None else (rows, width)
        found[f"c{number}"] = draw(arrays(draw(TYPES), shape))
    return found


@settings(max_examples=100)
@given(tables())
def test_what_is_written_is_read_back(columns):
    content = encode_table({name: (values, "") for name, values in columns.items()}, [], name="T")
    found = decode_table(content, subject="x")
    assert list(found) == list(columns)
    for name, values in columns.items():
        assert found[name].dtype == values.dtype
        np.testing.assert_array_equal(found[name], values)


@settings(max_examples=40)
@given(tables())
def test_astropy_reads_the_same(columns):
    content = encode_table({name: (values, "adu") for name, values in columns.items()}, [], name="T")
    with fits.open(io.BytesIO(content), checksum=True) as hdus:
        hdus.verify("exception")
        for name, values in columns.items():
            np.testing.assert_array_equal(hdus["T"].data[name].reshape(values.shape), values)
            assert hdus["T"].columns[name].unit == "adu"


def test_units_comments_texts_and_cards():
    columns = {
        "mag": Column(np.array([1.5, np.nan], np.float32), "mag", "brightness"),
        "name": Column(np.array(["a", "long"])),
        "plain": (np.arange(2), ""),
    }
    content = encode_table(columns, [("RCID", 3, "channel")], name="CAT")
    with fits.open(io.BytesIO(content)) as hdus:
        header = hdus["CAT"].header
        assert header["TUNIT1"] == "mag"
        assert header.comments["TTYPE1"] == "brightness"
        assert "TUNIT2" not in header
        assert header["RCID"] == 3
        assert list(hdus["CAT"].data["name"]) == ["a", "long"]
    assert list(decode_table(content, subject="x")["name"]) == ["a", "long"]
    assert encode_table(columns, [("RCID", 3, "channel")], name="CAT") == content


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({}, "0 columns"),
        ({"a": (np.zeros(2), ""), "b": (np.zeros(3), "")}, "different lengths: a 2, b 3"),
        ({"1a": (np.zeros(2), "")}, "'1a' is no name"),
        ({"a": (np.zeros(2, complex), "")}, "a: 1 dimensions of complex128"),
        ({"a": (np.zeros((2, 2, 2)), "")}, "a: 3 dimensions"),
        ({"a": (np.zeros(2, np.uint16), "")}, "a: 1 dimensions of uint16"),
        ({"a": (np.zeros((2, 2), "U3"), "")}, "a: one text to a row"),
    ],
)
def test_what_has_no_format_is_refused(columns, reason):
    with pytest.raises(ValueError, match=reason):
        encode_table(columns, [], name="T")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda _: b"rot", "does not begin with SIMPLE"),
        (lambda d: d[:2880], "there is no extension"),
        (lambda d: d.replace(b"TFORM1  = 'D       '", b"TFORM1  = '1PD(3)  '"), "TFORM1 is '1PD"),
        (
            lambda d: d.replace(b"TFORM1  = 'D       '", b"TFORM1  = 'E       '"),
            "take 4 bytes, NAXIS1 says 8",
        ),
    ],
)
def test_broken_files_are_named(spoil, reason):
    content = encode_table({"a": (np.zeros(3), "")}, [], name="T")
    with pytest.raises(UnusableInputError, match=reason) as caught:
        decode_table(spoil(content), subject="sci/x_psfcat.fits")
    assert "sci/x_psfcat.fits" in str(caught.value)
