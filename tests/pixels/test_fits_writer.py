"""Cards, headers and checksums, against astropy and our own reader."""

import io
import shutil
import subprocess

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from zsds_tasks.pixels.compressed import decode_image, encode_image
from zsds_tasks.pixels.fits import ALL_ONES, checksum_faults, scan
from zsds_tasks.pixels.fits_tables import encode_table
from zsds_tasks.pixels.fits_writer import (
    encode_checksum,
    encode_plain_image,
    format_card,
    format_hdu,
    primary_hdu,
    sum_words,
)

TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=34)
VALUES = st.one_of(
    st.booleans(), st.integers(-(2**63), 2**63), st.floats(allow_nan=False, allow_infinity=False), TEXTS
)


@settings(max_examples=150)
@given(st.from_regex(r"[A-Z][A-Z0-9_]{0,7}", fullmatch=True), VALUES, TEXTS)
def test_astropy_and_our_reader_read_what_was_written(keyword, value, comment):
    text = format_card(keyword, value, comment)
    assert len(text) == 80
    if keyword in {"COMMENT", "HISTORY", "CONTINUE", "END"}:
        return
    card = fits.Card.fromstring(text)
    expected = value.rstrip() if isinstance(value, str) else value
    assert card.value == expected
    assert type(card.value) is type(expected)
    ours = scan(primary_hdu([(f"{keyword[:6]}_Q", value, comment)]))[0].header
    assert ours.value(f"{keyword[:6]}_Q") == expected


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float32_is_written_by_its_own_shortest_decimal(value):
    card = fits.Card.fromstring(format_card("X", np.float32(value)))
    assert np.float32(card.value) == np.float32(value)
    assert len(format_card("X", np.float32(0.1)).rstrip()) == 30


@pytest.mark.parametrize(
    ("card", "reason"),
    [
        (("lower", 1, ""), "'lower' is no FITS keyword"),
        (("TOOLONGKEY", 1, ""), "is no FITS keyword"),
        (("X", "x" * 69, ""), "X: 69 characters, 68 fit"),
        (("X", "'" * 35, ""), "X: 70 characters, 68 fit"),
        (("X", "\u03c3", ""), "X: has characters a header cannot hold"),
        (("X", 1, "a\nb"), "X: its comment has characters"),
        (("X", float("nan"), ""), "X: nan has no place in a header"),
        (("X", float("inf"), ""), "X: inf has no place"),
        (("HISTORY", "x" * 73, ""), "HISTORY: 73 characters, 72 fit"),
    ],
)
def test_what_cannot_be_written_exactly_is_refused(card, reason):
    with pytest.raises(ValueError, match=reason):
        format_card(*card)


def test_a_long_comment_is_cut_and_commentary_has_no_value():
    assert format_card("X", 1, "c" * 100) == b"X       =                    1 / " + b"c" * 47
    assert format_card("COMMENT", "some words").rstrip() == b"COMMENT some words"


@settings(max_examples=100)
@given(st.binary(max_size=6000))
def test_checksums_hold(data):
    own = [("SIMPLE", True, ""), ("BITPIX", 8, ""), ("NAXIS", 1, ""), ("NAXIS1", len(data), "")]
    header, fill = format_hdu(own, data)
    content = header + data + fill
    assert len(content) % 2880 == 0
    assert list(checksum_faults(content, scan(content))) == []
    with fits.open(io.BytesIO(content), checksum=True) as hdus:  # a broken sum is a warning, hence an error
        hdus.verify("exception")
        assert hdus[0].data is None or hdus[0].data.tobytes() == data


def test_a_changed_byte_breaks_the_checksum():
    header, fill = format_hdu(
        [("SIMPLE", True, ""), ("BITPIX", 8, ""), ("NAXIS", 1, ""), ("NAXIS1", 5, "")], b"12345"
    )
    content = header + b"12346" + fill
    assert len(list(checksum_faults(content, scan(content)))) == 2


@given(st.binary(max_size=200))
def test_the_sum_is_that_of_big_endian_words(data):
    padded = data + bytes(-len(data) % 4)
    expected = sum(int.from_bytes(padded[k : k + 4], "big") for k in range(0, len(padded), 4))
    while expected > ALL_ONES:
        expected = (expected & ALL_ONES) + (expected >> 32)
    assert sum_words(data) == expected
    assert sum_words(np.frombuffer(data, np.uint8).copy()) == expected


@given(st.integers(0, ALL_ONES))
def test_an_encoded_checksum_is_of_letters_and_digits_and_brings_the_sum_to_all_ones(total):
    text = encode_checksum(total)
    assert len(text) == 16
    assert text.isalnum()
    turned = text[1:] + text[:1]
    added = sum(int.from_bytes(turned[k : k + 4], "big") - 0x30303030 for k in range(0, 16, 4))
    assert total + added == ALL_ONES


def test_a_plain_image_is_read_back():
    image = np.random.default_rng(3).normal(size=(25, 7)).astype(np.float32)
    content = encode_plain_image(image, [("RCID", 3, "channel")])
    with fits.open(io.BytesIO(content), checksum=True) as hdus:
        hdus.verify("exception")
        np.testing.assert_array_equal(hdus[0].data, image)
        assert hdus[0].header["RCID"] == 3
    assert encode_plain_image(image, [("RCID", 3, "channel")]) == content


def files():
    rng = np.random.default_rng(9)
    image = rng.normal(100, 3, (70, 53)).astype(np.float32)
    image[5, 6] = np.nan
    image[32:64] = 7.5
    mask = rng.integers(0, 2, (70, 53)).astype(np.uint16) << 8
    cards = [("RCID", 3, "channel"), ("COMMENT", "of a test", "")]
    columns = {"ra": (rng.random(9), "deg"), "six": (rng.random((9, 6)).astype(np.float32), "mag")}
    return {
        "image": encode_image(image, cards, name="IMAGE"),
        "mask": encode_image(mask, cards, name="MASK"),
        "table": encode_table(columns, cards, name="TABLE"),
        "plain": encode_plain_image(image, cards),
    }


@pytest.mark.skipif(shutil.which("fitsverify") is None, reason="fitsverify is not installed")
@pytest.mark.parametrize("name", ["image", "mask", "table", "plain"])
def test_fitsverify_has_nothing_to_say(tmp_path, name):
    path = tmp_path / f"{name}.fits"
    path.write_bytes(files()[name])
    found = subprocess.run(["fitsverify", str(path)], capture_output=True, text=True, check=False)
    assert "found 0 warning(s) and 0 error(s)" in found.stdout, found.stdout


@pytest.mark.skipif(shutil.which("funpack") is None, reason="funpack (libcfitsio-bin) is not installed")
@pytest.mark.parametrize("name", ["image", "mask"])
def test_funpack_restores_the_same_pixels(tmp_path, name):
    packed, plain = tmp_path / "a.fits.fz", tmp_path / "a.fits"
    packed.write_bytes(files()[name])
    subprocess.run(["funpack", "-O", str(plain), str(packed)], capture_output=True, check=True)
    with fits.open(plain) as hdus:
        stored = [hdu.data for hdu in hdus if hdu.data is not None]
        np.testing.assert_array_equal(stored[0], decode_image(packed.read_bytes(), subject="x"))
