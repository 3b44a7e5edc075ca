"""Tables sampled at sub-pixel shifts are what scipy's spline of the same coefficients is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from zsds_tasks.pixels.psf_splines import (
    MARGIN,
    by_phase,
    in_order,
    mix_tables,
    node_offsets,
    sample_slopes,
    sample_table,
    spline_coefficients,
    table_rows,
    terms_at,
)

SHIFT = st.floats(-1, 1)


def sampled(coefficients, half, s, size, shift, orders=(0, 0)):
    table = by_phase(coefficients, s).astype(np.float32)
    n = 2 * size + 1
    out = np.empty((n, n), np.float32)
    work = np.empty((s, n, table.shape[-1]), np.float32)
    sample_table(np.ascontiguousarray(table), *shift, half, size, *orders, out, work)
    return out


def oracle(coefficients, half, s, size, dx, dy):
    pixels = np.arange(-size, size + 1)
    rows, columns = np.meshgrid(
        (pixels - dy + half + MARGIN) * s, (pixels - dx + half + MARGIN) * s, indexing="ij"
    )
    return map_coordinates(coefficients, [rows, columns], order=3, prefilter=False, mode="mirror")


@settings(max_examples=60)
@given(st.integers(2, 7), st.integers(1, 5), SHIFT, SHIFT, st.integers(0, 999), st.data())
def test_sampling_agrees_with_scipy(half, s, dx, dy, seed, data):
    size = data.draw(st.integers(0, half))
    n = table_rows(half) * s
    coefficients = np.random.default_rng(seed).normal(size=(n, n))
    found = sampled(coefficients, half, s, size, (dx, dy))
    np.testing.assert_allclose(found, oracle(coefficients, half, s, size, dx, dy), atol=3e-6)


@pytest.mark.parametrize("size", [0, 3, 7])
def test_slopes_are_samples_at_once(size):
    half, s, n = 7, 3, 2 * size + 1
    side = table_rows(half) * s
    table = by_phase(np.random.default_rng(size).normal(size=(side, side)), s).astype(np.float32)
    out, work = np.empty((3, n, n), np.float32), np.empty((s, n, table.shape[-1]), np.float32)
    sample_slopes(table, 0.31, -0.44, half, size, *out, work)
    for found, orders in zip(out, [(0, 0), (1, 0), (0, 1)], strict=True):
        wanted = np.empty((n, n), np.float32)
        sample_table(table, 0.31, -0.44, half, size, *orders, wanted, work)
        np.testing.assert_array_equal(found, wanted)


@settings(max_examples=40)
@given(st.integers(1, 4), st.floats(-0.9, 0.9), st.floats(-0.9, 0.9), st.sampled_from([0, 1]))
def test_derivatives_are_those_of_the_position(s, dx, dy, axis):
    half, step = 5, 2e-3
    offsets = node_offsets(half, s)
    values = np.exp(-(offsets[None, :] ** 2 + 0.7 * offsets[:, None] ** 2) / 6)
    c = spline_coefficients(values)
    move = (step, 0.0) if axis == 0 else (0.0, step)
    ahead = oracle(c, half, s, half, dx + move[0], dy + move[1])
    behind = oracle(c, half, s, half, dx - move[0], dy - move[1])
    here = oracle(c, half, s, half, dx, dy)
    first = sampled(c, half, s, half, (dx, dy), (1, 0) if axis == 0 else (0, 1))
    second = sampled(c, half, s, half, (dx, dy), (2, 0) if axis == 0 else (0, 2))
    np.testing.assert_allclose(first, (ahead - behind) / (2 * step), atol=1e-4)
    # The second derivative has kinks at the nodes: the difference averages over 2 steps.
    np.testing.assert_allclose(second, (ahead - 2 * here + behind) / step**2, atol=2e-2)


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 99))
def test_storing_by_phase_is_undone(s, terms, seed):
    nodes = np.random.default_rng(seed).normal(size=(terms, 9 * s, 9 * s))
    assert np.array_equal(in_order(by_phase(nodes, s)), nodes)


def test_a_table_holds_the_offsets_its_phases_say():
    half, s = 3, 3
    offsets = node_offsets(half, s)
    table = by_phase(np.broadcast_to(offsets, (len(offsets), len(offsets))), s)
    row, column, phase = 2, 5, 1
    assert table[0, phase, row, column] == pytest.approx(column + phase / s - (half + MARGIN))


def test_a_spline_passes_through_its_values():
    values = np.random.default_rng(1).normal(size=(2, 20, 20))
    c = spline_coefficients(values)
    rows, columns = np.mgrid[0:20, 0:20].astype(float)
    again = [map_coordinates(part, [rows, columns], order=3, prefilter=False, mode="mirror") for part in c]
    np.testing.assert_allclose(again, values, atol=1e-9)


@pytest.mark.parametrize("degree", [0, 1, 2])
@pytest.mark.parametrize("reach", [2, 4])
def test_terms_are_added_up(degree, reach):
    half, s, u, v = 4, 2, 0.3, -0.8
    n, count = table_rows(half), (degree + 1) * (degree + 2) // 2
    tables = np.random.default_rng(degree).normal(size=(count, s, s, n, n)).astype(np.float32)
    terms = np.zeros(6)
    terms_at(u, v, degree, terms)
    expected = [1, u, v, 1.5 * u * u - 0.5, u * v, 1.5 * v * v - 0.5][:count]
    np.testing.assert_allclose(terms[:count], expected)
    m = 2 * (reach + MARGIN) + 1
    out = np.empty((s, s, m, m), np.float32)
    mix_tables(tables, terms, reach, out)
    inner = slice(half - reach, half - reach + m)
    np.testing.assert_allclose(out, np.tensordot(expected, tables[..., inner, inner], 1), atol=1e-5)
