"""Some places of a compressed float image: only the tiles that hold them are read and decoded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.pixels.fits import BLOCK, MAX_HEADER_BLOCKS, Header, TruncatedError, scan_headers
from zsds_tasks.pixels.rice_floats import StoredTiles, restore, stored_tiles

Image = NDArray[np.float32]
HEAD = 8 * BLOCK
"""Bytes read at first: two headers and the table of a hundred tiles."""
MOST_HEAD = 2 * MAX_HEADER_BLOCKS * BLOCK
GAP = 32_768
"""Bytes between two tiles up to which it is cheaper to read them in one go."""
REMEDY = "build it again"


@dataclass
class ImageRows:
    """A compressed image of floats whose pixels are decoded when asked for. Obtain one with `open_rows`.

    Parameters
    ----------
    header : Header
        Of the image.
    shape : (ny, nx)
    """

    header: Header
    shape: tuple[int, int]
    _stream: BinaryIO
    _tiles: StoredTiles
    _subject: str

    def read_around(self, x: NDArray[np.int64], y: NDArray[np.int64], half: int) -> Image:
        """Return the image with the squares around some pixels.

        Parameters
        ----------
        x, y : numpy.ndarray (n), int64
            0-based; squares may reach beyond the image, or lie there.
        half : int
            Half side of the squares, px.

        Returns
        -------
        numpy.ndarray (ny, nx), float32
            0 in all tiles that hold none of them; those take neither time nor memory.

        Raises
        ------
        UnusableInputError
            If a tile's bytes are broken.
        """
        ny, nx = self.shape
        rows, columns = self._tiles.tile_shape
        across = -(-nx // columns)
        heights = np.zeros(-(-ny // rows) * across, np.int64)
        inside = (x >= -half) & (x < nx + half) & (y >= -half) & (y < ny + half)
        top, right = np.minimum(y[inside] + half, ny - 1), np.minimum(x[inside] + half, nx - 1)
        lowest, leftmost = np.maximum(y[inside] - half, 0) // rows, np.maximum(x[inside] - half, 0) // columns
        for i in range(2 * half // rows + 2):
            for j in range(2 * half // columns + 2):
                row, column = lowest + i, leftmost + j
                there = (row * rows <= top) & (column * columns <= right)
                # Up to the last row wanted: what lies behind it in a tile need not be decoded.
                last = np.minimum(top - row * rows + 1, rows)
                np.maximum.at(heights, (row * across + column)[there], last[there])
        return self._decoded(heights)

    def _decoded(self, heights: NDArray[np.int64]) -> Image:
        """Return the image with so many rows of each tile."""
        image = np.zeros(self.shape, np.float32)
        try:
            data, tiles = self._fetch(heights > 0)
            restore(data, replace(tiles, heights=heights), image)
        except UnusableInputError as error:
            raise _refusal(error, self._subject) from error
        return image

    def _fetch(self, used: NDArray[np.bool_]) -> tuple[bytes, StoredTiles]:
        """Read the bytes of some tiles, those close by in one go; say where they are in what was read."""
        tiles = self._tiles
        has_rice = tiles.ends > tiles.starts
        first = np.where(has_rice, tiles.starts, tiles.gzip_starts)
        last = np.where(tiles.gzip_ends > tiles.gzip_starts, tiles.gzip_ends, tiles.ends)
        chosen = np.flatnonzero(used)
        parts: list[bytes] = []
        shift = np.zeros(len(used), np.int64)
        at = 0
        apart = (np.diff(chosen) > 1) & (first[chosen[1:]] - last[chosen[:-1]] > GAP)
        for group in np.split(chosen, np.flatnonzero(apart) + 1):
            if not group.size:
                continue
            low, high = int(first[group].min()), int(last[group].max())
            self._stream.seek(low)
            part = self._stream.read(high - low)
            if len(part) < high - low:
                raise TruncatedError("the file ends inside a tile")
            shift[group] = at - low
            parts.append(part)
            at += len(part)

        def moved(places: NDArray[np.int64]) -> NDArray[np.int64]:
            return np.where(used, places + shift, 0)

        there = replace(
            tiles,
            starts=moved(tiles.starts),
            ends=moved(tiles.ends),
            gzip_starts=moved(tiles.gzip_starts),
            gzip_ends=moved(tiles.gzip_ends),
        )
        return b"".join(parts), there


def open_rows(stream: BinaryIO, size: int, *, subject: str) -> ImageRows:
    """Read header and table of tiles of a compressed image of floats in the first extension of a file.

    Parameters
    ----------
    stream : binary file
        At its beginning; can seek. Stays open as long as rows are read.
    size : int
        Bytes of the file.
    subject : str
        The file, named in errors.

    Raises
    ------
    UnusableInputError
        If the bytes are no such file.
    """
    head = stream.read(HEAD)
    while True:
        try:
            header, shape, tiles = _described(head, size)
        except TruncatedError as error:
            more = stream.read(len(head)) if len(head) < min(size, MOST_HEAD) else b""
            if not more:
                raise _refusal(error, subject) from error
            head += more
        except UnusableInputError as error:
            raise _refusal(error, subject) from error
        else:
            return ImageRows(header, shape, stream, tiles, subject)


def _described(head: bytes, size: int) -> tuple[Header, tuple[int, int], StoredTiles]:
    hdu = scan_headers(head, size, 2)[1]
    if hdu.data_start + hdu.header.integer("NAXIS1", 0) * hdu.header.integer("NAXIS2", 0) > len(head):
        raise TruncatedError("its table of tiles is not all there")
    return hdu.header, *stored_tiles(head, hdu)


def _refusal(error: UnusableInputError, subject: str) -> UnusableInputError:
    return UnusableInputError(
        f"no compressed FITS image can be read: {error.reason}", subject=subject, remedy=REMEDY
    )
