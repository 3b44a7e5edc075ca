"""Some rows of a compressed float image: only the tiles that hold them are read and decoded."""

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
REMEDY = "build it again"


@dataclass
class ImageRows:
    """A compressed image of floats whose rows are decoded when asked for. Obtain one with `open_rows`.

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

    def read(self, wanted: NDArray[np.bool_]) -> Image:
        """Return the image with the rows that are wanted.

        Parameters
        ----------
        wanted : numpy.ndarray (ny), bool

        Returns
        -------
        numpy.ndarray (ny, nx), float32
            0 in all rows whose tiles hold none that is wanted; those take neither time nor memory.

        Raises
        ------
        UnusableInputError
            If a tile's bytes are broken.
        """
        ny, nx = self.shape
        rows, columns = self._tiles.tile_shape
        padded = np.zeros(-(-ny // rows) * rows, bool)
        padded[:ny] = wanted
        # Up to the last one wanted: what lies behind it in a tile need not be decoded.
        last = (padded.reshape(-1, rows) * np.arange(1, rows + 1)).max(axis=1)
        heights = np.repeat(last, -(-nx // columns)).astype(np.int64)
        image = np.zeros(self.shape, np.float32)
        try:
            data, tiles = self._fetch(heights > 0)
            restore(data, replace(tiles, heights=heights), image)
        except UnusableInputError as error:
            raise _refusal(error, self._subject) from error
        return image

    def _fetch(self, used: NDArray[np.bool_]) -> tuple[bytes, StoredTiles]:
        """Read the bytes of some tiles, neighbours in one go; say where they are in what was read."""
        tiles = self._tiles
        has_rice = tiles.ends > tiles.starts
        first = np.where(has_rice, tiles.starts, tiles.gzip_starts)
        last = np.where(tiles.gzip_ends > tiles.gzip_starts, tiles.gzip_ends, tiles.ends)
        chosen = np.flatnonzero(used)
        parts: list[bytes] = []
        shift = np.zeros(len(used), np.int64)
        at = 0
        for group in np.split(chosen, np.flatnonzero(np.diff(chosen) > 1) + 1):
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
