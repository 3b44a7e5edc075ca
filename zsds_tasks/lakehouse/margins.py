"""Margin caches: for each pixel, the rows of its neighbours that lie close to its border.

A row belongs to the margin of pixel P if the small pixel (of the finest order still wider than the margin)
that holds it touches P from outside. That is every row within the margin and some a little beyond.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from zsds_tasks.errors import ConfigurationError
from zsds_tasks.sky import healpix
from zsds_tasks.sky.healpix import Integers, Pixel

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class MarginFinder:
    """Says to which margins rows of one pixel belong.

    Parameters
    ----------
    pixels : tuple of Pixel
        All pixels of the catalogue, in the order of the sky.
    order : int
        Of the small pixels.
    """

    pixels: tuple[Pixel, ...]
    order: int

    @classmethod
    def of(cls, pixels: Sequence[Pixel], margin_arcsec: float) -> MarginFinder:
        """Make a finder.

        Raises
        ------
        ConfigurationError
            If the margin is wider than the finest pixels: their neighbours' neighbours would belong to it.
        """
        order = healpix.finest_order_wider_than(margin_arcsec / 3600.0)
        finest = max((pixel.order for pixel in pixels), default=0)
        if finest > order:
            raise ConfigurationError(
                f"a margin of {margin_arcsec:g} arcsec is too wide for pixels of order {finest}",
                remedy=f"use a narrower margin, or stop splitting at order {order}",
            )
        return cls(tuple(sorted(pixels, key=lambda pixel: pixel.first)), order)

    def rows_near_others(self, pixel: Pixel, index: Integers) -> dict[Pixel, Integers]:
        """Return the row numbers that belong to the margins of other pixels.

        Parameters
        ----------
        pixel : Pixel
            The pixel that holds the rows.
        index : numpy.ndarray (N), int64
            Their spatial index.

        Returns
        -------
        dict of Pixel to numpy.ndarray
            Sorted row numbers; only pixels with at least one.
        """
        small = healpix.ancestor(index, self.order)
        at_border = _touches_border(small, self.order - pixel.order)
        rows = np.flatnonzero(at_border)
        if rows.size == 0:
            return {}
        cells, cell_of_row = np.unique(small[rows], return_inverse=True)
        owners = self._owner(healpix.neighbours(cells, self.order))
        own = self._number[pixel]
        found = {}
        for other in np.unique(owners[(owners >= 0) & (owners != own)]):
            touching = (owners == other).any(axis=1)
            found[self.pixels[other]] = rows[touching[cell_of_row]]
        return found

    @cached_property
    def _number(self) -> dict[Pixel, int]:
        return {pixel: number for number, pixel in enumerate(self.pixels)}

    @cached_property
    def _bounds(self) -> tuple[Integers, Integers]:
        """First index of each pixel, and that after its last."""
        first = np.array([pixel.first for pixel in self.pixels], dtype=np.int64)
        return first, np.array([pixel.end for pixel in self.pixels], dtype=np.int64)

    def _owner(self, cells: Integers) -> Integers:
        """Return the number of the pixel that holds each small pixel; -1 where none does."""
        first, end = self._bounds
        start = cells << (2 * (healpix.INDEX_ORDER - self.order))
        slot = np.searchsorted(first, start, side="right") - 1
        held = (cells >= 0) & (slot >= 0) & (start < end[np.maximum(slot, 0)])
        return np.where(held, slot, -1)


def _touches_border(small: Integers, depth: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Say which small pixels lie at the border of their ancestor `depth` orders above.

    In the nested scheme the even bits of a number count along one side, the odd bits along the other: at the
    border one of them is all zeros or all ones.
    """
    inside = small & ((1 << (2 * depth)) - 1)
    even = int("01" * depth, 2) if depth else 0
    along, across = inside & even, (inside >> 1) & even
    return (along == 0) | (along == even) | (across == 0) | (across == even)
