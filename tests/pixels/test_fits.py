import io

import numpy as np
import pytest
from astropy.io import fits as astropy_fits
from hypothesis import example, given
from hypothesis import strategies as st

from zsds_tasks.pixels.fits import (
    CardError,
    Header,
    NotFitsError,
    StructureError,
    TruncatedError,
    checksum_faults,
    ones_complement_sum,
    scan,
)


def file_of(*hdus, checksum=True):
    stream = io.BytesIO()
    astropy_fits.HDUList([astropy_fits.PrimaryHDU(), *hdus]).writeto(stream, checksum=checksum)
    return stream.getvalue()


def card(text):
    return Header({"X": [text]}).value("X")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("                   T / a comment", True),
        ("                   F", False),
        ("                  42", 42),
        ("                 -042 / x", -42),
        ("          1.5D-3", 1.5e-3),
        ("                  .5E2", 50.0),
        ("                  3.", 3.0),
        ("'it''s    '         / quoted", "it's"),
        ("'a / b'", "a / b"),
        ("''", ""),
        ("                     / no value", None),
        ("", None),
    ],
)
def test_values(text, value):
    found = card(text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("NaN", "cannot be read: NaN"),
        ("(1, 2)", "cannot be read"),
        ("1 2", "cannot be read: 1 2"),
        ("'open", "is an unfinished string"),
        ("'a' b", "is an unfinished string"),
        ("12\x00", "has unprintable characters"),
        ("12 / \xe9", "has unprintable characters"),
    ],
)
def test_malformed_values(text, reason):
    with pytest.raises(CardError, match=reason.replace("(", r"\(").replace(")", r"\)")):
        card(text)


def test_structural_integers_are_checked():
    header = Header({"NAXIS": ["  2.0"], "PCOUNT": ["'x'"]})
    with pytest.raises(StructureError, match=r"NAXIS is 2\.0, not an integer"):
        header.integer("NAXIS")
    with pytest.raises(StructureError, match="GCOUNT is missing"):
        header.integer("GCOUNT")
    assert header.integer("GCOUNT", 1) == 1
    assert header.text("NAXIS", "none") == "none"


@given(
    st.dictionaries(
        st.from_regex(r"[A-Z][A-Z0-9]{0,7}", fullmatch=True).filter(
            lambda k: not k.startswith(("NAXIS", "BITPIX", "END", "SIMPLE", "EXTEND", "COMMENT", "HISTORY"))
        ),
        st.one_of(
            st.booleans(),
            st.integers(-(2**63), 2**63),
            st.floats(allow_nan=False, allow_infinity=False),
            st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30),
        ),
        max_size=8,
    )
)
@example({"A": "'/"})
def test_what_astropy_writes_is_read_alike(values):
    primary = astropy_fits.PrimaryHDU()
    for keyword, value in values.items():
        primary.header[keyword] = value
    stream = io.BytesIO()
    primary.writeto(stream)
    (hdu,) = scan(stream.getvalue())
    again = astropy_fits.Header.fromstring(stream.getvalue()[:2880].decode())
    for keyword, value in values.items():
        # Of text, what was written: astropy itself reads "'/" back as "'". Blanks at its end do not count.
        expected = value.rstrip() if isinstance(value, str) else again[keyword]
        assert hdu.header.value(keyword) == expected


def test_hdus_cover_the_file():
    table = astropy_fits.BinTableHDU.from_columns([astropy_fits.Column("a", "J", array=np.arange(1000))])
    data = file_of(astropy_fits.ImageHDU(np.zeros((40, 50), np.int16)), table)
    hdus = scan(data)
    assert [hdu.data_size for hdu in hdus] == [0, 4000, 4000]
    assert [hdu.start for hdu in hdus[1:]] == [hdu.end for hdu in hdus[:-1]]
    assert hdus[-1].end == len(data)
    assert list(checksum_faults(data, hdus)) == []


def test_refusals():
    data = file_of(astropy_fits.ImageHDU(np.zeros((40, 50), np.int16)))
    with pytest.raises(TruncatedError, match="HDU 1 claims 4000 bytes of data, 2880 are there"):
        scan(data[:-2880])
    with pytest.raises(NotFitsError, match="does not begin with SIMPLE"):
        scan(b"XTENSION" + data[8:])
    with pytest.raises(StructureError, match="more than 1 HDUs"):
        scan(data, max_hdus=1)
    with pytest.raises(StructureError, match="HDU 1: BITPIX is 17"):
        scan(data.replace(b"BITPIX  =                   16", b"BITPIX  =                   17"))
    with pytest.raises(StructureError, match=r"NAXISn \[-50, 40\]"):
        scan(data.replace(b"NAXIS1  =                   50", b"NAXIS1  =                  -50"))


@given(st.binary(max_size=9000))
def test_any_bytes_are_refused_cleanly(data):
    for candidate in (data, b"SIMPLE  =" + data):
        with pytest.raises((NotFitsError, TruncatedError, StructureError)):
            scan(candidate)


@given(st.integers(0, 2**32 - 1), st.integers(0, 699))
def test_any_changed_word_breaks_the_checksum(word, place):
    data = bytearray(file_of(astropy_fits.ImageHDU(np.arange(1400, dtype=np.int16))))
    hdus = scan(bytes(data))
    start = hdus[1].data_start + 4 * place
    before = bytes(data[start : start + 4])
    data[start : start + 4] = word.to_bytes(4, "big")
    # Ones' complement knows two zeros.
    same = bytes(data[start : start + 4]) == before or {word, int.from_bytes(before, "big")} == {
        0,
        0xFFFFFFFF,
    }
    assert (list(checksum_faults(bytes(data), hdus)) == []) == same


def test_the_sum_of_nothing_is_zero():
    assert ones_complement_sum(b"", 0, 0) == 0
