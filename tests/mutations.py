"""Seeded ways to break a FITS file, from a single bit to a header that claims the world."""

import gzip
import re

import numpy as np

BLOCK, CARD = 2880, 80
END = re.compile(rb"END {77}")
NUMBERS = (
    b"0", b"1", b"-1", b"2147483647", b"2147483648", b"-2147483648", b"9223372036854775808",
    b"99999999999999999999", b"1E400", b"-1E-400", b"NaN", b"Infinity", b"'NaN'", b"T", b"(1, 2)", b"0x10",
    b"1..2", b"", b"'", b"''''", b"'unfinished", b"\xff\xfe", b"\x00", b"3.0", b"'2025-02-30T00:00:00'",
)  # fmt: skip
PLAUSIBLE = (
    b"2",
    b"7",
    b"30.0",
    b"61234.5",
    b"2461234.5",
    b"'o'",
    b"'ZTF_g'",
    b"'2025-10-12T04:31:00'",
    b"320618751",
)


def _cards(data):
    """Places of all header cards with a value, found by their look."""
    return [m.start() for m in re.finditer(rb"[A-Z][A-Z0-9_-]{0,7} *= ", data) if m.start() % CARD == 0]


def _edit_card(data, random):
    """Edit any keyword; half the time one of the primary header, half the time to something plausible."""
    places = _cards(data) if random.random() < 0.5 else _cards(data[: 2 * BLOCK])
    place = int(random.choice(places or _cards(data)))
    value = PLAUSIBLE[random.integers(len(PLAUSIBLE))]
    if random.random() < 0.5:
        value = NUMBERS[random.integers(len(NUMBERS))]
    return data[: place + 10] + value.rjust(20)[:70].ljust(70) + data[place + CARD :]


def _structural(data, random):
    """Edit a keyword that says how large things are."""
    words = (
        rb"(?:NAXIS\d?|BITPIX|PCOUNT|GCOUNT|THEAP|TFIELDS|Z?NAXIS\d|ZTILE\d|TFORM1|ZVAL\d|BZERO|ZBITPIX) *= "
    )
    places = [m.start() for m in re.finditer(words, data) if m.start() % CARD == 0]
    place = int(random.choice(places))
    value = NUMBERS[random.integers(len(NUMBERS))]
    return data[: place + 10] + value.rjust(20)[:70].ljust(70) + data[place + CARD :]


def _rename_card(data, random):
    place = int(random.choice(_cards(data)))
    return data[:place] + b"RENAMED " + data[place + 8 :]


def _remove_card(data, random):
    place = int(random.choice(_cards(data)))
    return data[:place] + b" " * CARD + data[place + CARD :]


def _duplicate_card(data, random):
    first, second = (int(place) for place in random.choice(_cards(data), 2))
    return data[:second] + data[first : first + CARD] + data[second + CARD :]


def _flip_bits(data, random):
    flipped = bytearray(data)
    for place in random.integers(len(data), size=int(random.choice([1, 3, 30, 300]))):
        flipped[place] ^= 1 << int(random.integers(8))
    return bytes(flipped)


def _truncate(data, random):
    return data[: int(random.integers(len(data)))]


def _truncate_at_block(data, random):
    return data[: BLOCK * int(random.integers(len(data) // BLOCK))]


def _append(data, random):
    return data + random.bytes(int(random.choice([1, 80, BLOCK, 3 * BLOCK])))


def _swap_blocks(data, random):
    a, b = (BLOCK * int(n) for n in random.integers(len(data) // BLOCK, size=2))
    swapped = bytearray(data)
    swapped[a : a + BLOCK], swapped[b : b + BLOCK] = data[b : b + BLOCK], data[a : a + BLOCK]
    return bytes(swapped)


def _double_block(data, random):
    place = BLOCK * int(random.integers(len(data) // BLOCK))
    return data[:place] + data[place : place + BLOCK] + data[place:]


def _drop_block(data, random):
    place = BLOCK * int(random.integers(len(data) // BLOCK))
    return data[:place] + data[place + BLOCK :]


def _blank(data, random):
    start = int(random.integers(len(data)))
    length = int(random.integers(1, 5000))
    filling = bytes([int(random.choice([0, 32, 255]))])
    return (data[:start] + filling * length + data[start + length :])[: len(data)]


def _break_tiles(data, random):
    """Spoil bytes behind the headers of compressed images: descriptors and streams."""
    heaps = [m.start() for m in END.finditer(data)]
    place = (int(random.choice(heaps)) // BLOCK + 1) * BLOCK + int(random.integers(400))
    junk = random.bytes(int(random.choice([1, 4, 8, 64])))
    return (data[:place] + junk + data[place + len(junk) :])[: len(data)]


def _endless_header(data, random):
    return data.replace(b"END" + b" " * 77, b"COMMENT" + b" " * 73)


def _compress(data, random):
    return gzip.compress(data, 1, mtime=0)


def _nothing(data, random):
    return b""


def _garbage(data, random):
    return random.bytes(int(random.choice([1, 100, BLOCK, 20_000])))


def _unchanged(data, random):
    return data


MUTATIONS = (
    _edit_card, _edit_card, _edit_card, _structural, _structural, _structural, _rename_card, _remove_card,
    _duplicate_card, _flip_bits, _flip_bits, _truncate, _truncate_at_block, _append, _swap_blocks,
    _double_block, _drop_block, _blank, _break_tiles, _break_tiles, _endless_header, _compress, _nothing,
    _garbage, _unchanged,
)  # fmt: skip


def mutate(data: bytes, random: np.random.Generator) -> bytes:
    """Break a file in one way, now and then in two."""
    for _ in range(1 + int(random.random() < 0.2)):
        if len(_cards(data)) < 100 or END.search(data) is None:
            break  # too little is left to break in a second way
        data = MUTATIONS[random.integers(len(MUTATIONS))](data, random)
    return data
