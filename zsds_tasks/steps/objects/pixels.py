"""Pixels of the sky with a margin: which of them a place touches, and which part of a table they need.

A pixel is named in tables by one number for all orders, 4 4^order + number (the "uniq" of the MOC standard).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.sky import healpix
from zsds_tasks.sky.healpix import Integers, Pixel

Floats = NDArray[np.float64]


def name_of(pixel: Pixel) -> int:
    """Return the one number of a pixel."""
    return int(4 * 4**pixel.order + pixel.number)


def named(name: int) -> Pixel:
    """Return the pixel of a number; the inverse of `name_of`."""
    order = (name.bit_length() - 1) // 2 - 1
    return Pixel(order, name - 4 * 4**order)


def centre_of(pixel: Pixel) -> tuple[float, float]:
    """Return the middle of a pixel: ra, dec in degrees, to a milliarcsecond."""
    ra, dec = healpix.position_of([pixel.children[3].first])
    return float(ra[0]), float(dec[0])


def radius_of(pixel: Pixel) -> float:
    """Return how far from its middle no part of a pixel lies, degrees."""
    return 1.1 * healpix.resolution_deg(pixel.order)


def touched(index: Integers, reach_arcsec: float, order: int) -> tuple[Integers, Integers]:
    """Return the pixels that places lie in or near.

    Parameters
    ----------
    index : numpy.ndarray (n), int64
        Order-29 index of the places.
    reach_arcsec : float
        Pixels within it are found, and some up to a few times farther.
    order : int
        Of the pixels.

    Returns
    -------
    row, number : numpy.ndarray (m), int64
        Place and number of a pixel that it touches; each pair once, in order.
    """
    fine = max(order, healpix.finest_order_wider_than(reach_arcsec / 3600.0))
    cells, cell_of = np.unique(healpix.ancestor(index, fine), return_inverse=True)
    if not len(cells):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    block = np.concatenate([cells[:, None], healpix.neighbours(cells, fine)], axis=1)
    numbers = np.where(block < 0, block[:, :1], block) >> (2 * (fine - order))
    rows = np.repeat(np.arange(len(index), dtype=np.int64), block.shape[1])
    pairs = np.unique(np.stack([rows, numbers[cell_of].ravel()], axis=1), axis=0)
    return pairs[:, 0], pairs[:, 1]


def ranges_around(pixel: Pixel, reach_arcsec: float) -> Integers:
    """Return ranges (R, 2) of the order-29 index that cover a pixel and all within reach of it."""
    fine = healpix.finest_order_wider_than(reach_arcsec / 3600.0)
    if fine <= pixel.order:
        cells = np.array([pixel.number >> (2 * (pixel.order - fine))], np.int64)
    else:
        cells = (pixel.number << (2 * (fine - pixel.order))) + _border(fine - pixel.order)
    around = healpix.neighbours(cells, fine)
    found = np.unique(np.concatenate([cells, around[around >= 0]]))
    shift = 2 * (healpix.INDEX_ORDER - fine)
    ranges = np.stack([found << shift, (found + 1) << shift], axis=1)
    return healpix.merge_ranges(np.append(ranges, [[pixel.first, pixel.end]], axis=0))


def _border(depth: int) -> Integers:
    """Return the numbers, within a pixel, of the cells `depth` orders finer that lie along its border."""
    along = np.arange(2**depth, dtype=np.int64)
    spread = np.zeros_like(along)  # nested numbers interleave the bits of two coordinates
    for bit in range(depth):
        spread |= ((along >> bit) & 1) << (2 * bit)
    last = spread[-1]
    return np.unique(np.concatenate([spread, 2 * spread, spread + 2 * last, 2 * spread + last]))


def cell_ranges(index: Integers) -> Integers:
    """Return ranges (R, 2) that hold exactly these order-29 indexes."""
    cells = np.unique(index)
    return healpix.merge_ranges(np.stack([cells, cells + 1], axis=1))
