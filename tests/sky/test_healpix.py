"""Laws of the order-29 index and of regions as ranges of it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsds_tasks.sky import healpix
from zsds_tasks.sky.healpix import Pixel

RIGHT_ASCENSION = st.floats(0.0, 360.0, exclude_max=True)
DECLINATION = st.floats(-90.0, 90.0)
quick = settings(max_examples=60, derandomize=True)


@quick
@given(RIGHT_ASCENSION, DECLINATION)
def test_a_position_lies_in_all_its_ancestors(ra, dec):
    index = healpix.index_of(ra, dec)
    assert 0 <= index[0] < healpix.SKY_RANGE
    for order in (0, 3, 12, 29):
        pixel = Pixel(order, int(healpix.ancestor(index, order)[0]))
        assert pixel.first <= index[0] < pixel.end


@quick
@given(RIGHT_ASCENSION, DECLINATION)
def test_the_centre_of_a_cell_is_within_a_milliarcsecond(ra, dec):
    back = healpix.position_of(healpix.index_of(ra, dec))
    chord = healpix.unit_vectors(ra, dec) - healpix.unit_vectors(*back)
    assert np.degrees(np.linalg.norm(chord)) * 3.6e6 < 1.0


@quick
@given(RIGHT_ASCENSION, DECLINATION, st.floats(0.001, 40.0), st.integers(0, 2**32 - 1))
def test_ranges_cover_the_cone(ra, dec, radius, seed):
    random = np.random.default_rng(seed)
    decs = np.clip(dec + random.uniform(-1.2, 1.2, 300) * radius, -90.0, 90.0)
    ras = (ra + random.uniform(-1.2, 1.2, 300) * radius / np.maximum(np.cos(np.radians(decs)), 0.01)) % 360.0
    inside = healpix.within_cone(ras, decs, (ra, dec), radius)
    assert healpix.in_ranges(healpix.index_of(ras, decs), healpix.cone_ranges(ra, dec, radius))[inside].all()


@quick
@given(RIGHT_ASCENSION, st.floats(0.01, 360.0), DECLINATION, DECLINATION, st.integers(0, 2**32 - 1))
def test_ranges_cover_the_box(ra, width, south, north, seed):
    south, north = sorted((south, north))
    box = ((ra, ra + width), (south, max(north, south + 0.01) if south < 89.9 else 90.0))
    random = np.random.default_rng(seed)
    ras = (ra + random.uniform(-0.1, 1.1, 300) * width) % 360.0
    decs = np.clip(random.uniform(box[1][0] - 0.1, box[1][1] + 0.1, 300), -90.0, 90.0)
    inside = healpix.within_box(ras, decs, *box)
    assert healpix.in_ranges(healpix.index_of(ras, decs), healpix.box_ranges(*box))[inside].all()


intervals = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9)), max_size=12)


@quick
@given(intervals, st.integers(0, 60), st.integers(0, 12))
def test_merged_ranges_hold_the_same_numbers(pairs, first, length):
    ranges = np.array([(start, start + size) for start, size in pairs], dtype=np.int64).reshape(-1, 2)
    merged = healpix.merge_ranges(ranges)
    members = {number for start, end in ranges.tolist() for number in range(start, end)}
    assert {number for start, end in merged.tolist() for number in range(start, end)} == members
    assert (merged[1:, 0] > merged[:-1, 1]).all()
    numbers = np.arange(70)
    assert set(numbers[healpix.in_ranges(numbers, merged)].tolist()) == members
    touching = bool(members & set(range(first, first + length + 1)))
    assert healpix.overlaps_ranges(np.array([first]), np.array([first + length]), merged)[0] == touching


@quick
@given(st.integers(0, 12), st.data())
def test_neighbours_know_each_other(order, data):
    number = data.draw(st.integers(0, 12 * 4**order - 1))
    around = healpix.neighbours(np.array([number]), order)[0]
    real = around[around >= 0]
    assert len(real) >= 6
    assert number not in real
    back = healpix.neighbours(real, order)
    assert (back == number).any(axis=1).all()


def test_no_positions_give_no_indexes():
    assert healpix.index_of([], []).tolist() == []
    assert healpix.index_of(0.0, 0.0).dtype == np.int64


def test_an_impossible_position_is_refused_by_row():
    with pytest.raises(ValueError, match=r"row 1: \(nan, 3.0\) deg is no position on the sky"):
        healpix.index_of([1.0, np.nan], [2.0, 3.0])
    with pytest.raises(ValueError, match="row 0"):
        healpix.index_of(0.0, 90.5)


def test_pixels_refuse_what_is_none():
    with pytest.raises(ValueError, match="order 30 is not between 0 and 29"):
        Pixel(30, 0)
    with pytest.raises(ValueError, match="pixel 12 is not between 0 and 11"):
        Pixel(0, 12)


def test_children_fill_their_parent():
    pixel = Pixel(3, 100)
    children = pixel.children
    assert children[0].first == pixel.first
    assert children[-1].end == pixel.end
    assert all(left.end == right.first for left, right in pairwise(children))


def test_orders_are_wide_enough():
    for angle in (1 / 3600, 10 / 3600, 1.0, 30.0):
        order = healpix.finest_order_wider_than(angle)
        assert order == 0 or healpix.resolution_deg(order) >= 3 * angle
