"""Sums along lines are what they say, and a line that is drawn is found where it was drawn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsds_tasks.pixels.lines import Line, LineSearchConfig, bin_cells, radon, strongest_line
from zsds_tasks.pixels.lines_profile import best_shift, boxcar, piece_profiles, set_along
from zsds_tasks.pixels.mesh import Mesh

CONFIG = LineSearchConfig()


def rises(n, s):
    """Row offsets of the dyadic line that rises by s over n columns, by its recursive definition."""
    if n == 1:
        return [0]
    half = rises(n // 2, s // 2)
    return half + [(s + 1) // 2 + r for r in half]


@given(st.integers(1, 17), st.integers(1, 21), st.integers(0, 99))
def test_the_transform_sums_along_lines(nx, ny, seed):
    image = np.random.default_rng(seed).normal(size=(ny, nx)).astype(np.float32)
    sums = radon(np.ascontiguousarray(image.T))
    n = len(sums)
    assert n >= nx
    assert n // 2 < nx
    assert sums.shape == (n, ny + n)
    for s in range(n):
        path = rises(n, s)
        assert path[-1] == s
        # Never more than a row and a bit off the straight line.
        assert np.abs(np.array(path) - s * np.arange(n) / max(n - 1, 1)).max() <= max(1.0, np.log2(n) / 3)
        for i in range(ny + n):
            rows = i - n + np.array(path[:nx])
            inside = (rows >= 0) & (rows < ny)
            expected = image[rows[inside], np.flatnonzero(inside)].sum()
            assert sums[s, i] == pytest.approx(expected, abs=1e-4)


@given(st.integers(1, 40), st.integers(1, 45), st.integers(0, 99))
def test_cells_are_means_in_sigmas(ny, nx, seed):
    rng = np.random.default_rng(seed)
    image = rng.normal(0, 5, (ny, nx)).astype(np.float32)
    image[rng.random((ny, nx)) < 0.1] = np.nan
    mask = rng.choice(np.array([0, 0, 0, 2, 8], np.uint16), (ny, nx))
    wide = LineSearchConfig(smooth_cells=201)
    cells = bin_cells(image, mask, 2, Mesh.constant(5.0, (ny, nx)), wide)
    assert cells.signal.shape == (-(-ny // 8), -(-nx // 8))
    good = np.isfinite(image) & (mask & 2 == 0)
    for y, x in np.ndindex(cells.signal.shape):
        part = np.s_[8 * y : 8 * y + 8, 8 * x : 8 * x + 8]
        assert cells.known[y, x] == (good[part].sum() >= 16)
    assert np.abs(cells.signal).max() <= CONFIG.cell_clip
    assert not cells.signal[cells.known == 0].any()


@given(
    st.booleans(),
    st.floats(-0.99, 0.99),
    st.floats(0.2, 0.8),
    st.integers(0, 9),
    st.sampled_from([1.0, 30.0]),
)
@settings(max_examples=25)
def test_a_drawn_line_is_found(is_steep, slope, middle, seed, height):
    ny, nx = 501, 607
    n_main, n_other = (ny, nx) if is_steep else (nx, ny)
    true = Line(is_steep, middle * n_other - slope * n_main / 2, slope)
    image = np.random.default_rng(seed).normal(size=(ny, nx)).astype(np.float32)
    y, x = np.mgrid[:ny, :nx]
    main, other = (y, x) if is_steep else (x, y)
    image += (height * np.exp(-0.5 * ((other - true.at(main)) / true.stretch / 1.2) ** 2)).astype(np.float32)
    mask, noise = np.zeros(image.shape, np.uint16), Mesh.constant(1.0, image.shape)
    line, significance = strongest_line(bin_cells(image, mask, 1, noise, CONFIG), CONFIG)
    assert significance > 8
    first, after = true.span(image.shape)
    y, x = (np.array([first, after - 1.0]), true.at(np.array([first, after - 1.0])))
    y, x = (y, x) if is_steep else (x, y)
    # Within a cell or so of the truth at both ends, whichever axis the found line runs along.
    main, other = (y, x) if line.is_steep else (x, y)
    assert np.abs(line.at(main) - other).max() < 14
    for _ in range(2):
        profiles, middles = piece_profiles(image, mask, 1, noise, line, 40, 8)
        line = line.moved(*best_shift(profiles, middles, 5, 14, 3.0), line.span(image.shape))
    assert np.abs(line.at(main) - other).max() < 1.6


def test_noise_has_no_line():
    image = np.random.default_rng(1).normal(size=(900, 1000)).astype(np.float32)
    cells = bin_cells(image, np.zeros(image.shape, np.uint16), 1, Mesh.constant(1.0, image.shape), CONFIG)
    assert strongest_line(cells, CONFIG)[1] < 6


def test_an_image_too_small_for_a_line_has_none():
    image = np.ones((30, 20), np.float32)
    cells = bin_cells(image, np.zeros(image.shape, np.uint16), 1, Mesh.constant(1.0, image.shape), CONFIG)
    assert strongest_line(cells, CONFIG)[1] == -np.inf


@given(st.booleans(), st.floats(-1, 1), st.floats(-60, 120), st.floats(0, 12))
def test_a_band_holds_the_pixels_near_the_line(is_steep, slope, offset, half_width):
    line = Line(is_steep, offset, slope)
    mask = np.zeros((53, 61), np.uint16)
    mask[3, 4] = 8
    n = set_along(mask, line, half_width, 4)
    y, x = np.mgrid[:53, :61]
    main, other = (y, x) if is_steep else (x, y)
    near = np.abs(other - line.at(main)) / line.stretch
    assert np.all((mask & 4 > 0)[near < half_width - 1e-6])
    assert not np.any((mask & 4 > 0)[near > half_width + 1e-6])
    assert n == np.count_nonzero(mask & 4)
    assert mask[3, 4] & 8


@given(st.booleans(), st.floats(-1, 1), st.floats(-80, 140))
def test_the_span_is_where_the_line_is_inside(is_steep, slope, offset):
    line, shape = Line(is_steep, offset, slope), (53, 61)
    first, after = line.span(shape)
    n_main, n_other = shape if is_steep else shape[::-1]
    main = np.arange(n_main)
    inside = (line.at(main) >= -0.5) & (line.at(main) <= n_other - 0.5)
    assert after - first == pytest.approx(inside.sum(), abs=1)
    if inside.any() and after > first:
        assert abs(first - np.flatnonzero(inside)[0]) <= 1
    assert line.length(shape) == pytest.approx((after - first) * np.hypot(1, slope))


def test_moving_a_line_moves_its_ends():
    line = Line(is_steep=False, offset=10.0, slope=0.5)
    moved = line.moved(2.0, 3.0, (20, 60))
    assert moved.at(20) == pytest.approx(line.at(20) + 2 - 3)
    assert moved.at(60) == pytest.approx(line.at(60) + 2 + 3)


def test_profiles_leave_out_what_is_masked():
    image = np.zeros((100, 120), np.float32)
    image[50] = 3
    image[50, :60] = 40
    mask = np.zeros(image.shape, np.uint16)
    mask[50, :60] = 1
    line = Line(is_steep=False, offset=50.0, slope=0.0)
    profiles, middles = piece_profiles(image, mask, 1, Mesh.constant(1.0, image.shape), line, 5, 4)
    assert np.isnan(profiles[:2, 5]).all()
    np.testing.assert_allclose(profiles[2:, 5], 3)
    assert not profiles[:, :5].any()
    np.testing.assert_allclose(middles, [-0.75, -0.25, 0.25, 0.75])


@given(st.integers(0, 99), st.sampled_from([1, 3, 5]))
def test_the_boxcar_is_a_running_mean(seed, box):
    row = np.random.default_rng(seed).normal(size=21)
    expected = [row[max(0, i - box // 2) : i + box // 2 + 1].mean() for i in range(21)]
    np.testing.assert_allclose(boxcar(row[None], box)[0], expected)


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="pixels"):
        bin_cells(
            np.zeros((9, 9), np.float32), np.zeros((9, 8), np.uint16), 1, Mesh.constant(1.0, (9, 9)), CONFIG
        )
