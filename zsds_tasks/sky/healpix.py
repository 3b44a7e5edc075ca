"""HEALPix in the nested scheme: the order-29 index, pixels of any order, regions as ranges of the index.

A pixel of order k covers the contiguous range ``[p << 2(29-k), (p + 1) << 2(29-k))`` of the order-29 index,
so that layouts, prunings and joins are integer comparisons. Only the geometry comes from cdshealpix, which
is imported on first use: it brings astropy.coordinates along, about 1 s.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

INDEX_ORDER = 29
"""The order of the spatial index, the finest that fits 64-bit integers."""
SKY_RANGE = 12 << (2 * INDEX_ORDER)
"""One past the largest index."""

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


@cache
def _geometry() -> tuple[Any, Any, Any]:
    from astropy import units  # noqa: PLC0415 - see the module's docstring
    from astropy.coordinates import Latitude, Longitude  # noqa: PLC0415
    from cdshealpix import nested  # noqa: PLC0415

    def angles(ra_deg: Any, dec_deg: Any) -> tuple[Any, Any]:
        return (
            Longitude(np.atleast_1d(np.asarray(ra_deg, float)), units.deg),
            Latitude(np.atleast_1d(np.asarray(dec_deg, float)), units.deg),
        )

    return nested, angles, units.deg


@dataclass(frozen=True, order=True)
class Pixel:
    """One HEALPix pixel, in the nested scheme."""

    order: int
    number: int

    def __post_init__(self) -> None:
        if not 0 <= self.order <= INDEX_ORDER:
            raise ValueError(f"order {self.order} is not between 0 and {INDEX_ORDER}")
        if not 0 <= self.number < 12 * 4**self.order:
            raise ValueError(f"pixel {self.number} is not between 0 and {12 * 4**self.order - 1}")

    @property
    def first(self) -> int:
        """The first order-29 index inside."""
        return self.number << (2 * (INDEX_ORDER - self.order))

    @property
    def end(self) -> int:
        """One past the last order-29 index inside."""
        return (self.number + 1) << (2 * (INDEX_ORDER - self.order))

    @property
    def children(self) -> tuple[Pixel, Pixel, Pixel, Pixel]:
        """The four pixels of the next order inside."""
        first = 4 * self.number
        order = self.order + 1
        return (
            Pixel(order, first),
            Pixel(order, first + 1),
            Pixel(order, first + 2),
            Pixel(order, first + 3),
        )


def index_of(ra_deg: Any, dec_deg: Any) -> Integers:
    """Return the order-29 index of positions.

    Parameters
    ----------
    ra_deg, dec_deg : array_like (N)
        Right ascension (any turn) and declination, degrees.

    Returns
    -------
    numpy.ndarray (N), int64

    Raises
    ------
    ValueError
        If a position is not finite or a declination lies beyond a pole; names the first such row.
    """
    ra = np.atleast_1d(np.asarray(ra_deg, dtype=np.float64))
    dec = np.atleast_1d(np.asarray(dec_deg, dtype=np.float64))
    wrong = ~(np.isfinite(ra) & np.isfinite(dec) & (np.abs(dec) <= 90.0))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(f"row {row}: ({ra[row]}, {dec[row]}) deg is no position on the sky")
    if ra.size == 0:
        return np.empty(0, dtype=np.int64)
    nested, angles, _ = _geometry()
    longitude, latitude = angles(ra, dec)
    found: Integers = nested.lonlat_to_healpix(longitude, latitude, INDEX_ORDER).astype(np.int64)
    return found


def position_of(index: Any) -> tuple[Floats, Floats]:
    """Return the centres of order-29 cells: ra, dec in degrees; the inverse of `index_of` to 0.4 mas."""
    nested, _, degree = _geometry()
    cells = np.atleast_1d(np.asarray(index)).astype(np.uint64)
    longitude, latitude = nested.healpix_to_lonlat(cells, INDEX_ORDER)
    return longitude.to_value(degree), latitude.to_value(degree)


def ancestor(index: Integers, order: int) -> Integers:
    """Return the pixel numbers of the given order that hold order-29 indexes."""
    return np.asarray(index, dtype=np.int64) >> (2 * (INDEX_ORDER - order))


def resolution_deg(order: int) -> float:
    """Return the side of a square with the area of a pixel, degrees."""
    return float(np.degrees(np.sqrt(np.pi / 3.0)) / 2**order)


def finest_order_wider_than(angle_deg: float) -> int:
    """Return the finest order whose pixels are at least `angle_deg` across everywhere.

    The narrowest pixels, near the poles, are a little over half as wide as `resolution_deg`; a third is safe.
    """
    order = int(np.floor(np.log2(resolution_deg(0) / (3.0 * angle_deg))))
    return int(np.clip(order, 0, INDEX_ORDER))


def cone_ranges(ra_deg: float, dec_deg: float, radius_deg: float) -> Integers:
    """Return ranges of the order-29 index that cover a cone.

    Parameters
    ----------
    ra_deg, dec_deg, radius_deg : float
        Centre and radius, degrees.

    Returns
    -------
    numpy.ndarray (R, 2), int64
        Sorted, disjoint, half-open; together they cover the cone and little more.
    """
    nested, angles, degree = _geometry()
    longitude, latitude = angles(ra_deg, dec_deg)
    # Pixels about as wide as the radius: a handful of ranges, and few false rows.
    order = min(finest_order_wider_than(max(radius_deg, 1e-7) / 3.0), INDEX_ORDER)
    numbers, orders, _ = nested.cone_search(longitude[0], latitude[0], radius_deg * degree, order)
    return merge_ranges(_ranges(numbers.astype(np.int64), orders.astype(np.int64)))


def box_ranges(ra_deg: tuple[float, float], dec_deg: tuple[float, float]) -> Integers:
    """Return ranges of the order-29 index that cover a box in right ascension and declination.

    Parameters
    ----------
    ra_deg : tuple of float
        From the first eastward to the second, degrees; may cross 0 h.
    dec_deg : tuple of float
        South and north, degrees.

    Returns
    -------
    numpy.ndarray (R, 2), int64
        As `cone_ranges`.
    """
    nested, _, degree = _geometry()
    extent = max(min(_eastward(ra_deg), dec_deg[1] - dec_deg[0]), 1e-5)
    finest = min(finest_order_wider_than(extent / 12.0), 12)
    numbers = np.arange(12, dtype=np.int64)
    for order in range(finest + 1):
        longitude, latitude = nested.healpix_to_lonlat(numbers.astype(np.uint64), order)
        near = _near_box(longitude.to_value(degree), latitude.to_value(degree), order, ra_deg, dec_deg)
        numbers = numbers[near]
        if order < finest:
            numbers = (4 * numbers[:, None] + np.arange(4)).ravel()
    return merge_ranges(_ranges(numbers, np.full(len(numbers), finest)))


def _eastward(ra_range: tuple[float, float]) -> float:
    """Return how far it is from the first right ascension eastward to the second, degrees."""
    width = ra_range[1] - ra_range[0]
    return width if width >= 360.0 else width % 360.0


def _near_box(
    ra: Floats, dec: Floats, order: int, ra_range: tuple[float, float], dec_range: tuple[float, float]
) -> NDArray[np.bool_]:
    """Say which pixels, given by their centres, may touch a box: by circles around them, so some do not.

    cdshealpix's own zone search is not used: it misses pixels at the corners of small zones.
    """
    # No pixel reaches farther from its centre than 1.05 sides of a square of its area (measured to order 7).
    reach = 1.1 * resolution_deg(order)
    touching: NDArray[np.bool_] = (dec + reach >= dec_range[0]) & (dec - reach <= dec_range[1])
    cosine = np.cos(np.radians(dec))
    sine = np.sin(np.radians(min(reach, 90.0)))
    # Where the circle holds a pole it has every right ascension.
    polar = np.abs(dec) + reach >= 90.0
    half = np.where(polar, 180.0, np.degrees(np.arcsin(np.minimum(sine / np.maximum(cosine, sine), 1.0))))
    width = _eastward(ra_range)
    offset = (ra - ra_range[0] + half) % 360.0
    return touching & (polar | (width + 2.0 * half >= 360.0) | (offset <= width + 2.0 * half))


def _ranges(numbers: Integers, orders: Integers) -> Integers:
    shift = 2 * (INDEX_ORDER - orders)
    return np.stack([numbers << shift, (numbers + 1) << shift], axis=1)


def merge_ranges(ranges: Integers) -> Integers:
    """Sort half-open ranges (R, 2) and join those that touch or overlap."""
    if len(ranges) == 0:
        return np.empty((0, 2), dtype=np.int64)
    ordered = ranges[np.argsort(ranges[:, 0], kind="stable")]
    reach = np.maximum.accumulate(ordered[:, 1])
    begins = np.flatnonzero(np.concatenate([[True], ordered[1:, 0] > reach[:-1]]))
    ends = np.concatenate([begins[1:] - 1, [len(ordered) - 1]])
    return np.stack([ordered[begins, 0], reach[ends]], axis=1)


def in_ranges(index: Integers, ranges: Integers) -> NDArray[np.bool_]:
    """Say which indexes lie in sorted disjoint half-open ranges (R, 2)."""
    if len(ranges) == 0:
        return np.zeros(len(index), dtype=bool)
    slot = np.searchsorted(ranges[:, 0], index, side="right") - 1
    inside: NDArray[np.bool_] = (slot >= 0) & (index < ranges[np.maximum(slot, 0), 1])
    return inside


def overlaps_ranges(first: Integers, last: Integers, ranges: Integers) -> NDArray[np.bool_]:
    """Say which closed intervals ``[first, last]`` touch sorted disjoint half-open ranges (R, 2)."""
    if len(ranges) == 0:
        return np.zeros(len(first), dtype=bool)
    # The first range that ends after `first` is the only one that may begin by `last`.
    slot = np.searchsorted(ranges[:, 1], first, side="right")
    begins = np.append(ranges[:, 0], np.iinfo(np.int64).max)[slot]
    touching: NDArray[np.bool_] = begins <= last
    return touching


def neighbours(numbers: Integers, order: int) -> Integers:
    """Return the eight neighbours of pixels, as (N, 8); -1 where a pixel has only seven."""
    nested, _, _ = _geometry()
    found = nested.neighbours(np.asarray(numbers).astype(np.uint64), order)
    around: Integers = np.delete(found, 4, axis=1).astype(np.int64)  # the fifth is the pixel itself
    return around


def outline(pixel: Pixel, steps: int) -> tuple[Floats, Floats]:
    """Return points along the border of a pixel: ra, dec in degrees, 4 `steps` of them, in order."""
    ra, dec = outlines(np.array([pixel.number]), pixel.order, steps)
    return ra[0], dec[0]


def outlines(numbers: Integers, order: int, steps: int) -> tuple[Floats, Floats]:
    """Return the borders of pixels (N) of one order, each as `outline`: two arrays (N, 4 `steps`)."""
    nested, _, degree = _geometry()
    longitude, latitude = nested.vertices(np.asarray(numbers).astype(np.uint64), order, step=steps)
    return longitude.to_value(degree), latitude.to_value(degree)


def unit_vectors(ra_deg: Any, dec_deg: Any) -> Floats:
    """Return directions as unit vectors (N, 3)."""
    ra, dec = np.radians(np.asarray(ra_deg, float)), np.radians(np.asarray(dec_deg, float))
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def within_cone(
    ra_deg: Any, dec_deg: Any, centre: tuple[float, float], radius_deg: float
) -> NDArray[np.bool_]:
    """Say which positions lie within a great-circle distance of `centre` (ra, dec); degrees.

    Distances are compared as chords, which stay exact for small angles where cosines do not.
    """
    chord = unit_vectors(ra_deg, dec_deg) - unit_vectors(*centre)
    limit = 2.0 * np.sin(np.radians(min(radius_deg, 180.0)) / 2.0)
    inside: NDArray[np.bool_] = np.einsum("...i,...i", chord, chord) <= limit * limit
    return inside


def within_box(
    ra_deg: Any, dec_deg: Any, ra_range: tuple[float, float], dec_range: tuple[float, float]
) -> NDArray[np.bool_]:
    """Say which positions lie in a box, borders included; `ra_range` runs eastward and may cross 0 h."""
    ra, dec = np.asarray(ra_deg, float), np.asarray(dec_deg, float)
    width = _eastward(ra_range)
    inside: NDArray[np.bool_] = (
        (((ra - ra_range[0]) % 360.0) <= width) & (dec >= dec_range[0]) & (dec <= dec_range[1])
    )
    return inside
