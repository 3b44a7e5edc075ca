"""Read the skeleton of a FITS file from bytes nobody vouches for: headers, sizes, checksums.

A general FITS library trusts sizes it reads and allocates what they claim. Here every number is held against
the bytes at hand first, so that a hostile or broken file costs no more memory than its own length.
Format: FITS Standard 4.0, sections 3, 4 and appendix J (checksums).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from zsds_tasks.errors import UnusableInputError

BLOCK = 2880
CARD = 80
MAX_HEADER_BLOCKS = 64  # 2304 cards; real headers have one to five blocks
MAX_AXES = 9
BITPIX = (8, 16, 32, 64, -32, -64)
ALL_ONES = 0xFFFFFFFF  # negative zero in ones' complement: what the words of an HDU with CHECKSUM add up to

Value = str | int | float | bool | None

_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")
_REAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[EDed][+-]?[0-9]{1,4})?")
_STRING = re.compile(r"'((?:[^']|'')*)'\s*(?:/.*)?")
_KEYWORD = re.compile(r"[A-Z0-9_-]{1,8} *")


class NotFitsError(UnusableInputError):
    """These bytes are no FITS file."""


class TruncatedError(UnusableInputError):
    """The bytes end before the file does."""


class StructureError(UnusableInputError):
    """FITS, but not put together as it has to be."""


class CardError(ValueError):
    """A keyword's value cannot be read; the text says why."""


@dataclass(frozen=True)
class Header:
    """Keywords of one header; values are read when asked for."""

    cards: dict[str, list[str]] = field(default_factory=dict)

    def __contains__(self, keyword: str) -> bool:
        return keyword in self.cards

    def value(self, keyword: str) -> Value:
        """Return a value; None if the keyword is absent or has no value.

        Raises
        ------
        CardError
            If the card is malformed, or the keyword appears again with another value.
        """
        texts = self.cards.get(keyword)
        if not texts:
            return None
        values = [_value_of(text) for text in texts]
        if any(value != values[0] for value in values[1:]):
            raise CardError(f"appears {len(values)} times with different values")
        return values[0]

    def integer(self, keyword: str, default: int | None = None) -> int:
        """Return a structural integer.

        Raises
        ------
        StructureError
            If it is absent (and has no default) or not an integer.
        """
        try:
            value = self.value(keyword)
        except CardError as error:
            raise StructureError(f"{keyword} {error}") from error
        if value is None and default is not None:
            return default
        if not isinstance(value, int) or isinstance(value, bool):
            raise StructureError(
                f"{keyword} is {'missing' if value is None else f'{value!r}, not an integer'}"
            )
        return value

    def text(self, keyword: str, default: str = "") -> str:
        """Return a structural string; the default if it is absent or not a string."""
        try:
            value = self.value(keyword)
        except CardError:
            return default
        return value if isinstance(value, str) else default


@dataclass(frozen=True)
class Hdu:
    """One header and data unit inside the bytes of a file."""

    number: int
    header: Header
    start: int
    data_start: int
    data_size: int
    """Bytes of data, without the fill to the block."""
    end: int


def scan(data: bytes, *, max_hdus: int = 64) -> tuple[Hdu, ...]:
    """Find every header and data unit.

    Parameters
    ----------
    data : bytes
        The whole file.
    max_hdus : int
        Refuse files with more.

    Returns
    -------
    tuple of Hdu
        They cover the bytes without gap or rest.

    Raises
    ------
    NotFitsError
        If the bytes do not begin as a FITS file does.
    TruncatedError
        If a header or its data run beyond the end, or the length is not a multiple of 2880.
    StructureError
        If a header claims what cannot be; the message names HDU and keyword.
    """
    _check_beginning(data)
    hdus: list[Hdu] = []
    start = 0
    while start < len(data):
        if len(hdus) == max_hdus:
            raise StructureError(f"more than {max_hdus} HDUs")
        hdu = _hdu(data, start, len(hdus))
        hdus.append(hdu)
        start = hdu.end
    if len(data) % BLOCK:
        raise TruncatedError(f"length {len(data)} is not a multiple of {BLOCK}")
    return tuple(hdus)


def scan_headers(data: bytes, size: int, count: int) -> tuple[Hdu, ...]:
    """Find the first header and data units of a file of which only the beginning is at hand.

    Parameters
    ----------
    data : bytes
        The beginning, the headers in it.
    size : int
        Bytes of the whole file.
    count : int
        How many units are wanted.

    Returns
    -------
    tuple of Hdu

    Raises
    ------
    NotFitsError, TruncatedError, StructureError
        As `scan`; `TruncatedError` also if a header is not wholly among the bytes at hand.
    """
    _check_beginning(data)
    hdus: list[Hdu] = []
    start = 0
    for number in range(count):
        hdu = _hdu(data, start, number, size)
        hdus.append(hdu)
        start = hdu.end
    return tuple(hdus)


def _check_beginning(data: bytes) -> None:
    if not data:
        raise TruncatedError("the file is empty")
    if data[:2] == b"\x1f\x8b":
        raise NotFitsError("this is a gzip file")
    if not data.startswith(b"SIMPLE  ="[: len(data)]):
        raise NotFitsError(f"does not begin with SIMPLE but with {data[:8]!r}")


def _hdu(data: bytes, start: int, number: int, file_size: int | None = None) -> Hdu:
    where = f"HDU {number}"
    if number and data[start : start + 8] != b"XTENSION":
        raise StructureError(f"{where} does not begin with XTENSION but with {data[start : start + 8]!r}")
    header, data_start = _header(data, start, where)
    try:
        size = _data_size(header)
    except StructureError as error:
        raise StructureError(f"{where}: {error.reason}") from error
    end = data_start + -(-size // BLOCK) * BLOCK
    whole = len(data) if file_size is None else file_size
    if end > whole:
        raise TruncatedError(f"{where} claims {size} bytes of data, {whole - data_start} are there")
    return Hdu(number, header, start, data_start, size, end)


def _header(data: bytes, start: int, where: str) -> tuple[Header, int]:
    cards: dict[str, list[str]] = {}
    limit = start + MAX_HEADER_BLOCKS * BLOCK
    for position in range(start, limit, CARD):
        card = data[position : position + CARD]
        if len(card) < CARD:
            raise TruncatedError(f"{where}: the file ends inside its header")
        if card[:8] == b"END     ":
            used = position + CARD - start
            data_start = start + -(-used // BLOCK) * BLOCK
            if data_start > len(data):
                raise TruncatedError(f"{where}: the file ends inside its header")
            return Header(cards), data_start
        if card[8:10] == b"= ":
            # Latin-1 never fails; `_value_of` refuses what is not ASCII, where somebody needs the value.
            text = card.decode("latin-1")
            if _KEYWORD.fullmatch(text[:8]):
                cards.setdefault(text[:8].rstrip(), []).append(text[10:])
    raise StructureError(f"{where}: no END within {MAX_HEADER_BLOCKS} header blocks")


def _data_size(header: Header) -> int:
    bitpix, n_axes = header.integer("BITPIX"), header.integer("NAXIS")
    if bitpix not in BITPIX:
        raise StructureError(f"BITPIX is {bitpix}")
    if not 0 <= n_axes <= MAX_AXES:
        raise StructureError(f"NAXIS is {n_axes}")
    axes = [header.integer(f"NAXIS{i}") for i in range(1, n_axes + 1)]
    extra, groups = header.integer("PCOUNT", 0), header.integer("GCOUNT", 1)
    if any(axis < 0 for axis in axes) or extra < 0 or groups != 1:
        raise StructureError(f"NAXISn {axes}, PCOUNT {extra}, GCOUNT {groups} cannot be")
    return abs(bitpix) // 8 * (extra + (math.prod(axes) if axes else 0))


def _value_of(text: str) -> Value:
    """Read what follows the value indicator of a card."""
    stripped = text.strip()
    if not text.isascii() or not text.isprintable():
        raise CardError(f"has unprintable characters: {stripped[:40]!a}")
    if stripped.startswith("'"):
        match = _STRING.fullmatch(stripped)
        if match is None:
            raise CardError(f"is an unfinished string: {stripped[:40]}")
        return match[1].replace("''", "'").rstrip()
    word = stripped.partition("/")[0].strip()
    if not word:
        return None
    if word in {"T", "F"}:
        return word == "T"
    if _INTEGER.fullmatch(word):
        return int(word)
    if _REAL.fullmatch(word):
        return float(word.upper().replace("D", "E"))
    raise CardError(f"cannot be read: {word[:40]}")


def checksum_faults(data: bytes, hdus: tuple[Hdu, ...]) -> Iterator[str]:
    """Verify CHECKSUM and DATASUM where they are present; yield one sentence per broken one.

    Parameters
    ----------
    data : bytes
        The whole file.
    hdus : tuple of Hdu
        From `scan`.
    """
    for hdu in hdus:
        wanted, has_checksum = hdu.header.text("DATASUM"), bool(hdu.header.text("CHECKSUM"))
        if not wanted and not has_checksum:
            continue
        in_data = ones_complement_sum(data, hdu.data_start, hdu.end)
        if wanted and (not wanted.strip().isdigit() or int(wanted) != in_data):
            yield f"HDU {hdu.number}: DATASUM is {wanted[:12]}, the data give {in_data}"
        if has_checksum:
            total = ones_complement_sum(data, hdu.start, hdu.data_start) + in_data
            if _folded(total) not in {0, ALL_ONES}:
                yield f"HDU {hdu.number}: CHECKSUM does not hold"


def ones_complement_sum(data: bytes, start: int, end: int) -> int:
    """Return the 32-bit ones' complement sum of big-endian words; start and end lie on words."""
    words = np.frombuffer(data, dtype=">u4", count=(end - start) // 4, offset=start)
    # 2^32 words of 32 bits fit into 64 bits: no carry is lost before the folding.
    return _folded(int(words.sum(dtype=np.uint64)))


def _folded(total: int) -> int:
    while total > ALL_ONES:
        total = (total & ALL_ONES) + (total >> 32)
    return total
