"""Put FITS files together: cards, headers, checksums. The same values give the same bytes.

A general library needs milliseconds for a header and signs checksums with the date; this needs microseconds
and no clock. Every card is checked: what cannot be written exactly is refused, not bent.
Format: FITS Standard 4.0, sections 3 and 4 and appendix J (checksums). The reader's half is `fits`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numba import types
from numpy.typing import NDArray

from zsds_tasks.pixels.fits import ALL_ONES, BLOCK, CARD
from zsds_tasks.pixels.kernels import compiled

Value = str | int | float | bool
Card = tuple[str, Value, str]
"""Keyword, value, comment."""

COMMENTARY = frozenset({"COMMENT", "HISTORY"})
VALUE_WIDTH = 20
TEXT_WIDTH = 72
"""Characters of a COMMENT or HISTORY card."""
LONGEST_STRING = 68
CHECKSUM_CARD = b"CHECKSUM= '"
ZERO_CHECKSUM = "0" * 16
FORBIDDEN = frozenset(b":;<=>?@[\\]^_`")  # punctuation that an encoded checksum must not hold

_KEYWORD = re.compile(r"[A-Z0-9_-]{1,8}")
_WORDS = types.Array(types.uint32, 1, "C", readonly=True)


def format_card(keyword: str, value: Value, comment: str = "") -> bytes:
    """Return one card of 80 characters.

    Parameters
    ----------
    keyword : str
        At most eight of A-Z, 0-9, _ and -.
    value : str, int, float or bool
        A float32 is written by its shortest decimal. The text of COMMENT and HISTORY.
    comment : str
        Cut where the card ends.

    Raises
    ------
    ValueError
        If keyword or value cannot be written; names the keyword.
    """
    if _KEYWORD.fullmatch(keyword) is None:
        raise ValueError(f"{keyword!r} is no FITS keyword")
    if not comment.isascii() or not comment.isprintable():
        raise ValueError(f"{keyword}: its comment has characters a header cannot hold: {comment!a}")
    if keyword in COMMENTARY:
        text = f"{keyword:8}{_plain(keyword, str(value), TEXT_WIDTH)}"
    else:
        text = f"{keyword:8}= {_value_text(keyword, value)}"
        text += f" / {comment}" if comment else ""
    return text[:CARD].ljust(CARD).encode("ascii")


def _value_text(keyword: str, value: Value) -> str:
    if isinstance(value, str):
        quoted = _plain(keyword, value, LONGEST_STRING).replace("'", "''")
        if len(quoted) > LONGEST_STRING:
            raise ValueError(f"{keyword}: {len(quoted)} characters, {LONGEST_STRING} fit: {value!r}")
        return f"'{quoted:8}'".ljust(VALUE_WIDTH)
    if isinstance(value, bool | np.bool_):
        return ("T" if value else "F").rjust(VALUE_WIDTH)
    if isinstance(value, int | np.integer):
        return str(int(value)).rjust(VALUE_WIDTH)
    if not math.isfinite(value):
        raise ValueError(f"{keyword}: {value} has no place in a header")
    # NumPy's str gives the shortest decimal of its own type, which for float32 is not that of the double.
    text = str(value).upper()
    mantissa, mark, exponent = text.partition("E")
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}{mark}{exponent}".rjust(VALUE_WIDTH)


def _plain(keyword: str, text: str, longest: int) -> str:
    if not text.isascii() or not text.isprintable():
        raise ValueError(f"{keyword}: has characters a header cannot hold: {text!a}")
    if len(text) > longest:
        raise ValueError(f"{keyword}: {len(text)} characters, {longest} fit: {text!r}")
    return text


def format_header(cards: Iterable[Card]) -> bytes:
    """Return a header: its cards, END and blanks to a multiple of 2880."""
    text = b"".join([*(format_card(*card) for card in cards), b"END".ljust(CARD)])
    return text.ljust(-(-len(text) // BLOCK) * BLOCK)


def format_hdu(cards: Sequence[Card], data: bytes | NDArray[np.uint8] = b"") -> tuple[bytes, bytes]:
    """Return the header, with CHECKSUM and DATASUM, of an HDU, and the fill behind its data.

    Parameters
    ----------
    cards : sequence of Card
        Mandatory ones first.
    data : bytes or (n) uint8
        Without fill; not copied.

    Returns
    -------
    header : bytes
    fill : bytes
        Zeros up to the next block; to be written behind the data.
    """
    data_sum = sum_words(data)
    sums: list[Card] = [
        ("CHECKSUM", ZERO_CHECKSUM, "HDU checksum"),
        ("DATASUM", str(data_sum), "data unit checksum"),
    ]
    text = format_header([*cards, *sums])
    place = text.index(CHECKSUM_CARD) + len(CHECKSUM_CARD)
    signature = encode_checksum(sum_words(text, data_sum))
    header = text[:place] + signature + text[place + len(ZERO_CHECKSUM) :]
    return header, bytes(-len(data) % BLOCK)


def primary_hdu(cards: Iterable[Card] = ()) -> bytes:
    """Return a primary HDU without data."""
    own: list[Card] = [
        ("SIMPLE", True, "conforms to the FITS standard"),
        ("BITPIX", 8, "no data here"),
        ("NAXIS", 0, ""),
        ("EXTEND", True, "extensions may follow"),
    ]
    return format_hdu([*own, *cards])[0]


def encode_plain_image(image: NDArray[np.float32], cards: Iterable[Card]) -> bytes:
    """Return a FITS file with one uncompressed image (ny, nx) float32 in its primary HDU; for small ones."""
    ny, nx = image.shape
    own: list[Card] = [
        ("SIMPLE", True, "conforms to the FITS standard"),
        ("BITPIX", -32, "32-bit floating point"),
        ("NAXIS", 2, ""),
        ("NAXIS1", nx, ""),
        ("NAXIS2", ny, ""),
    ]
    data = image.astype(">f4").tobytes()
    header, fill = format_hdu([*own, *cards], data)
    return header + data + fill


def sum_words(data: bytes | NDArray[np.uint8], start: int = 0) -> int:
    """Return the 32-bit ones'-complement sum of big-endian words, the last filled with zeros (appendix J)."""
    buffer = np.frombuffer(data, np.uint8)
    whole = buffer.size // 4 * 4
    total = start + int(_sum_swapped(buffer[:whole].view(np.uint32)))
    total += int.from_bytes(buffer[whole:].tobytes().ljust(4, b"\0"), "big")
    while total > ALL_ONES:
        total = (total & ALL_ONES) + (total >> 32)
    return total


@compiled([types.uint64(_WORDS), types.uint64(types.uint32[::1])], cache=True, nogil=True)
def _sum_swapped(words: NDArray[np.uint32]) -> np.uint64:
    """Add up words with their bytes in reverse order; 2^32 of them fit."""
    total = np.uint64(0)
    for word in words:
        outer = (word >> 24) | ((word << 24) & ALL_ONES)
        total += np.uint64(outer | ((word >> 8) & 0xFF00) | ((word << 8) & 0xFF0000))
    return total


def encode_checksum(total: int) -> bytes:
    """Return the 16 letters and digits that bring a sum up to all ones (appendix J)."""
    columns = [_four_letters((ALL_ONES - total) >> shift & 0xFF) for shift in (24, 16, 8, 0)]
    letters = bytes(column[k] for k in range(4) for column in columns)
    return letters[-1:] + letters[:-1]  # the value begins one byte before a word


def _four_letters(byte: int) -> list[int]:
    """Return four ASCII letters or digits that exceed "0000" by a byte."""
    quarter, rest = divmod(byte, 4)
    first = ord("0") + quarter
    four = [first + rest, first, first, first]
    # Pairs move apart in step, which keeps their sum, until none of the four is punctuation.
    while any(letter in FORBIDDEN for letter in four):
        four = [value for pair in _pairs(four) for value in pair]
    return four


def _pairs(four: list[int]) -> Iterator[tuple[int, int]]:
    for a, b in (four[:2], four[2:]):
        yield (a + 1, b - 1) if a in FORBIDDEN or b in FORBIDDEN else (a, b)
