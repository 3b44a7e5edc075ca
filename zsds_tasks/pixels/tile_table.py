"""The binary table behind a tile-compressed image: columns, descriptors and numbers of its tiles.

Every size, row and offset is held against the bytes before it is used.
Format: FITS Standard 4.0, sections 7.3 and 10.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.pixels.fits import Hdu, Header, StructureError

MAX_FIELDS = 20  # fpack writes one to four
COLUMN_WIDTH = {
    "L": 1, "B": 1, "A": 1, "I": 2, "J": 4, "E": 4, "K": 8, "D": 8, "P": 8, "Q": 16, "C": 8, "M": 16,
}  # fmt: skip
_FORMAT = re.compile(r"([0-9]{0,6})([A-Z])(.*)")


class DecodeError(UnusableInputError):
    """The compressed pixels are broken."""


@dataclass(frozen=True)
class TileTable:
    """The rows of a compressed image's table. Obtain one with `read_tile_table`.

    Parameters
    ----------
    rows : (n_tiles, width) uint8
    columns : dict of str to (int, str)
        Byte offset and format of each column: its letter, and for one array per row (P, Q) that of the array.
    heap, end : int
        Where the heap lies in the file.
    """

    rows: NDArray[np.uint8]
    columns: dict[str, tuple[int, str]]
    heap: int
    end: int

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return a column of doubles (n_tiles).

        Raises
        ------
        StructureError
            If there is no such column.
        """
        offset, kind = self.columns.get(name, (0, ""))
        if kind != "D":
            raise StructureError(f"has no column {name} of doubles")
        return self._cells(offset, 8).view(">f8").astype(np.float64)[:, 0]

    def streams(self, name: str, *, optional: bool = False) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where each row's array of bytes starts and ends in the file.

        Parameters
        ----------
        name : str
        optional : bool
            Without the column every array is empty.

        Raises
        ------
        StructureError
            If the column is missing or does not hold arrays of bytes.
        DecodeError
            If one lies outside the heap.
        """
        if name not in self.columns:
            if not optional:
                raise StructureError(f"has no column {name}")
            nothing = np.zeros(len(self.rows), np.int64)
            return nothing, nothing
        offset, kind = self.columns[name]
        if kind not in {"PB", "QB"}:
            raise StructureError(f"its column {name} is no array of bytes")
        size = 8 if kind == "QB" else 4
        descriptors = self._cells(offset, 2 * size).view(f">i{size}").astype(np.int64)
        lengths, offsets = descriptors[:, 0], descriptors[:, 1]
        room = self.end - self.heap
        bad = (lengths < 0) | (offsets < 0) | (lengths > room) | (offsets > room - np.minimum(lengths, room))
        if bad.any():
            tile = int(np.flatnonzero(bad)[0]) + 1
            raise DecodeError(f"tile {tile} of {len(self.rows)} lies outside the heap")
        starts = self.heap + offsets
        return np.ascontiguousarray(starts), np.ascontiguousarray(starts + lengths)

    def _cells(self, offset: int, width: int) -> NDArray[np.uint8]:
        return np.ascontiguousarray(self.rows[:, offset : offset + width])


def read_tile_table(data: bytes, hdu: Hdu, n_tiles: int) -> TileTable:
    """Find the columns and the heap of a compressed image.

    Raises
    ------
    StructureError
        If the table is not as it has to be; says what is wrong.
    """
    header = hdu.header
    if header.integer("BITPIX") != 8 or header.integer("NAXIS") != 2:
        raise StructureError("is no binary table")
    width, rows = header.integer("NAXIS1"), header.integer("NAXIS2")
    if rows != n_tiles:
        raise StructureError(f"{rows} rows for {n_tiles} tiles")
    columns, total = _columns(header)
    if total != width:
        raise StructureError(f"its columns take {total} bytes, NAXIS1 says {width}")
    heap = header.integer("THEAP", width * rows)
    if not width * rows <= heap <= hdu.data_size:
        raise StructureError("THEAP lies outside the data")
    table = np.frombuffer(data, np.uint8, count=width * rows, offset=hdu.data_start)
    return TileTable(
        table.reshape(rows, width), columns, hdu.data_start + heap, hdu.data_start + hdu.data_size
    )


def _columns(header: Header) -> tuple[dict[str, tuple[int, str]], int]:
    """Return offset and format of each column by name, and the bytes of a row."""
    n_fields = header.integer("TFIELDS")
    if not 1 <= n_fields <= MAX_FIELDS:
        raise StructureError(f"TFIELDS is {n_fields}; a compressed image has 1 to {MAX_FIELDS}")
    columns, offset = {}, 0
    for number in range(1, n_fields + 1):
        match = _FORMAT.fullmatch(header.text(f"TFORM{number}"))
        if match is None or match[2] not in COLUMN_WIDTH:
            raise StructureError(f"TFORM{number} cannot be read")
        single = match[1] in {"", "1"} and match[2] in "PQ"
        columns[header.text(f"TTYPE{number}")] = offset, match[2] + (match[3][:1] if single else "")
        offset += COLUMN_WIDTH[match[2]] * int(match[1] or 1)
    return columns, offset
