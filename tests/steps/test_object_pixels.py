"""Pixels with margins: what a place touches, and what part of the sky a pixel needs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsds_tasks.sky import healpix
from zsds_tasks.sky.healpix import Pixel
from zsds_tasks.steps.objects.pixels import centre_of, name_of, named, radius_of, ranges_around, touched

REACH = 10.0  # arcsec
PLACES = st.tuples(st.floats(0, 359.999), st.floats(-90, 90), st.integers(1, 8))


def around(ra, dec, radius_arcsec, steps=24):
    """Return places on a circle about a place."""
    centre = healpix.unit_vectors(ra, dec)
    east = np.cross([0.0, 0.0, 1.0], centre) if abs(dec) < 89.9 else np.array([1.0, 0.0, 0.0])
    east = east - centre * (east @ centre)
    east /= np.linalg.norm(east)
    angle = 2 * np.pi * np.arange(steps)[:, None] / steps
    rim = centre + np.radians(radius_arcsec / 3600) * (
        np.cos(angle) * east + np.sin(angle) * np.cross(centre, east)
    )
    return np.degrees(np.arctan2(rim[:, 1], rim[:, 0])) % 360, np.degrees(
        np.arctan2(rim[:, 2], np.hypot(rim[:, 0], rim[:, 1]))
    )


@given(PLACES)
@settings(max_examples=25)
def test_every_pixel_within_reach_is_touched_and_needs_the_place(place):
    """Also at poles, and where a place is on a border: there the circle is in several pixels."""
    ra, dec, order = place
    pixel = Pixel(order, int(healpix.ancestor(healpix.index_of(ra, dec), order)[0]))
    corner = healpix.outline(pixel, 1)
    for at in ((ra, dec), (float(corner[0][0]), float(corner[1][0]))):
        index = healpix.index_of(*at)
        row, number = touched(index, REACH, order)
        rim = healpix.ancestor(healpix.index_of(*around(*at, 0.999 * REACH)), order)
        assert set(rim.tolist()) <= set(number.tolist())
        assert not row.any()
        for near in set(rim.tolist()):
            assert healpix.in_ranges(index, ranges_around(Pixel(order, near), REACH))[0]


@given(PLACES)
@settings(max_examples=25)
def test_a_pixel_lies_within_its_radius_and_its_ranges(place):
    ra, dec, order = place
    pixel = Pixel(order, int(healpix.ancestor(healpix.index_of(ra, dec), order)[0]))
    border = healpix.outline(pixel, 4)
    assert healpix.within_cone(*border, centre_of(pixel), radius_of(pixel)).all()
    ranges = ranges_around(pixel, REACH)
    assert healpix.in_ranges(np.array([pixel.first, pixel.end - 1]), ranges).all()
    # Nothing that is far away.
    rows = (ranges[:, 1] - ranges[:, 0]).sum() / (pixel.end - pixel.first)
    assert rows < 1.5


@pytest.mark.parametrize("order", [0, 1, 6, 10])
def test_one_number_names_a_pixel_of_any_order(order):
    for number in (0, 1, 12 * 4**order - 1):
        assert named(name_of(Pixel(order, number))) == Pixel(order, number)
    assert name_of(Pixel(order, 12 * 4**order - 1)) < name_of(Pixel(order + 1, 0))


def test_places_of_many_pixels_are_told_apart():
    ra, dec = np.array([10.0, 200.0, 10.0]), np.array([5.0, -40.0, 5.0])
    row, number = touched(healpix.index_of(ra, dec), REACH, 6)
    assert set(row.tolist()) == {0, 1, 2}
    assert number[row == 0].tolist() == number[row == 2].tolist()
    assert touched(np.zeros(0, np.int64), REACH, 6)[0].size == 0
