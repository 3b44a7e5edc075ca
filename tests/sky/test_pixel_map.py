"""Pixels go by way of the sky to pixels, closely between nodes; a reference's grid holds what it must."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsds_tasks.pixels.warp import CoarseMap
from zsds_tasks.sky.pixel_map import north_up_grid, overlap, pixel_map
from zsds_tasks.sky.tangent import deproject, separation_deg
from zsds_tasks.sky.wcs import Wcs

NX, NY = 3072, 3080
SCALE = 1.012
seeds = st.integers(0, 2**32 - 1)
places = st.tuples(st.floats(0, 359.999), st.floats(-90, 90))


def channel(seed, place, shape=(NY, NX), turned_deg=179.7, distortion_arcsec=50.0):
    """A quadrant of a wide camera, off its axis: distortion of second and third order, most at corners."""
    random = np.random.default_rng(seed)
    angle = np.radians(turned_deg)
    cd = SCALE / 3600 * np.array([[-np.cos(angle), np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    half = max(shape) / 2 * SCALE / 3600
    east, north = np.zeros((2, 4, 4))
    east[1, 0] = north[0, 1] = 1.0
    for matrix in (east, north):
        for i, j in ((2, 0), (1, 1), (0, 2), (3, 0), (2, 1), (1, 2), (0, 3)):
            matrix[i, j] = random.choice([-1, 1]) * distortion_arcsec / 3600 / 7 / half ** (i + j)
    tuples = [tuple(map(tuple, m.tolist())) for m in (cd, east, north)]
    return Wcs(place, (shape[1] / 2, shape[0] / 2), *tuples)


@settings(max_examples=8)
@given(seeds, places)
def test_the_map_is_exact_at_nodes_and_close_between(seed, place):
    given_wcs = channel(seed, place)
    output, shape = north_up_grid([(given_wcs, (NY, NX))], scale_arcsec=1.01)
    exact = pixel_map(output, given_wcs)
    chart = CoarseMap.of(exact, shape)
    sky = output.pixel_to_sky(np.array([1.0, 65.0]), np.array([1.0, 33.0]))
    x, y = given_wcs.sky_to_pixel(*sky)
    np.testing.assert_allclose(chart.x[[1, 2], [1, 3]] + 1, x, atol=1e-9)
    np.testing.assert_allclose(chart.y[[1, 2], [1, 3]] + 1, y, atol=1e-9)
    random = np.random.default_rng(seed)
    x, y = random.uniform(0, shape[1] - 1, 2000), random.uniform(0, shape[0] - 1, 2000)
    missed = np.hypot(*(np.array(chart.at(x, y)) - exact(x, y)))
    assert missed.max() < 1e-4


@settings(max_examples=10)
@given(seeds, places)
def test_there_and_back_is_the_same_pixel(seed, place):
    one, other = channel(seed, place), channel(seed + 1, place, turned_deg=10.0)
    x, y = np.random.default_rng(seed).uniform(800, 2000, (2, 50))
    np.testing.assert_allclose(pixel_map(other, one)(*pixel_map(one, other)(x, y)), (x, y), atol=1e-6)
    np.testing.assert_allclose(pixel_map(one, one)(x, y), (x, y), atol=1e-6)


@settings(max_examples=15)
@given(seeds, st.tuples(st.floats(0, 359.999), st.floats(-88, 88)), st.integers(0, 40))
def test_a_grid_covers_its_footprints_and_points_north(seed, place, margin):
    random = np.random.default_rng(seed)
    footprints = []
    for k in range(4):
        dithered = deproject(*random.uniform(-20, 20, 2), place)
        centre = float(dithered[0]), float(dithered[1])
        footprints.append((channel(seed + k, centre, turned_deg=180 + random.normal() * 0.1), (NY, NX)))
    wcs, (ny, nx) = north_up_grid(footprints, scale_arcsec=1.01, margin_px=margin)
    assert wcs.pixel_scale_arcsec == pytest.approx(1.01, rel=1e-9)
    rows = np.concatenate([np.linspace(1, NX, 9)] * 2), np.repeat([1.0, NY], 9)
    columns = np.repeat([1.0, NX], 9), np.concatenate([np.linspace(1, NY, 9)] * 2)
    x, y = np.concatenate(
        [wcs.sky_to_pixel(*w.pixel_to_sky(*e)) for w, _ in footprints for e in (rows, columns)], axis=1
    )
    assert min(x.min(), y.min()) > margin
    assert max(x.max() - nx, y.max() - ny) < 1 - margin
    assert max(x.min(), y.min()) < margin + 12  # and no larger than needed
    middle = (nx + 1) / 2, (ny + 1) / 2
    ra, dec = wcs.pixel_to_sky([middle[0], middle[0] + 1, middle[0]], [middle[1], middle[1], middle[1] + 1])
    assert dec[2] - dec[0] == pytest.approx(1.01 / 3600, rel=1e-6)
    assert (ra[1] - ra[0] + 180) % 360 < 180
    assert separation_deg(ra[1], dec[1], ra[0], dec[0]) == pytest.approx(1.01 / 3600, rel=1e-6)


def test_the_grid_does_not_depend_on_the_order():
    footprints = [(channel(k, (10.0 + k / 100, 5.0)), (NY, NX)) for k in range(3)]
    one, shape = north_up_grid(footprints, scale_arcsec=1.01)
    other, same = north_up_grid(footprints[::-1], scale_arcsec=1.01)
    assert shape == same
    assert separation_deg(*one.crval, *other.crval) * 3600 < 1e-3


def test_overlap_is_the_share_that_is_there():
    wcs = channel(1, (50.0, -20.0), distortion_arcsec=0.0, turned_deg=0.0)
    moved = Wcs(wcs.crval, (wcs.crpix[0] - NX / 2, wcs.crpix[1]), wcs.cd, wcs.east, wcs.north)
    assert overlap(wcs, (NY, NX), wcs, (NY, NX)) == 1.0
    assert overlap(wcs, (NY, NX), moved, (NY, NX)) == pytest.approx(0.5, abs=0.03)
    assert overlap(wcs, (NY, NX), channel(1, (90.0, -20.0)), (NY, NX)) == 0.0


def test_nothing_and_opposite_skies_are_refused():
    with pytest.raises(ValueError, match="covers nothing"):
        north_up_grid([], scale_arcsec=1.0)
    with pytest.raises(ValueError, match="opposite sides"):
        north_up_grid([(channel(k, (180.0 * k, 0.0)), (NY, NX)) for k in range(2)], scale_arcsec=1.0)
