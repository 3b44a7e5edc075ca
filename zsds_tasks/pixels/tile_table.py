"""The binary table behind a tile-compressed image: columns, descriptors and numbers of its tiles.

Every size, row and offset is held against the bytes before it is used.
Format: FITS Standard 4.0, sections 7.3 and 10.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.fits import Hdu, Header, StructureError
from zsds_tasks.pixels.images import COLUMN_WIDTH, MAX_FIELDS, DecodeError

_FORMAT = re.compile(r"([0-9]{0,6})([A-Z])(.*)")


@dataclass(frozen=True)
class TileTable:
    """The rows of a compressed image's table. Obtain one with `read_tile_table`.

    Parameters
    ----------
    rows : (n_tiles, width) uint8
    columns : dict of str to (int, str)
        Byte offset and letter of the format of each column.
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

    def streams(self, name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where each row's array of bytes starts and ends in the file; empty without the column.

        Raises
        ------
        StructureError
            If the column does not hold arrays.
        DecodeError
            If one lies outside the heap.
        """
        if name not in self.columns:
            nothing = np.zeros(len(self.rows), np.int64)
            return nothing, nothing
        offset, kind = self.columns[name]
        if kind not in "PQ":
            raise StructureError(f"its column {name} is no array of bytes")
        size = 8 if kind == "Q" else 4
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
        columns[header.text(f"TTYPE{number}")] = offset, match[2]
        offset += COLUMN_WIDTH[match[2]] * int(match[1] or 1)
    return columns, offset
