"""The gnomonic projection: an exact inverse, right at the poles, and astropy's numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsds_tasks.sky.tangent import deproject, project, separation_deg, turn

ras = st.floats(0.0, 359.999)
decs = st.floats(-89.9, 89.9)
offsets = st.floats(-15_000.0, 15_000.0)
angles = st.floats(-180.0, 180.0)


@given(ras, decs, offsets, offsets, angles)
def test_projection_undoes_deprojection(ra, dec, east, north, rotation):
    sky = deproject(east, north, (ra, dec), rotation)
    assert project(*sky, (ra, dec), rotation) == pytest.approx((east, north), abs=1e-5)


@given(offsets, offsets, angles)
def test_turning_back_restores_a_vector(east, north, angle):
    assert turn(*turn(east, north, angle), -angle) == pytest.approx((east, north), abs=1e-8)


def test_the_second_axis_points_to_the_position_angle():
    ra, dec = deproject(0.0, 3600.0, (10.0, 0.0), 90.0)
    assert (float(ra), float(dec)) == pytest.approx((11.0, 0.0), abs=2e-4)


def test_the_far_side_of_the_sky_is_nan():
    east, _ = project([10.0, 190.0], [0.0, 0.0], (10.0, 0.0))
    assert np.isnan(east).tolist() == [False, True]


def test_no_positions_give_no_positions():
    assert project([], [], (1.0, 2.0))[0].shape == (0,)


def test_agrees_with_astropy_wcs():
    from astropy.wcs import WCS

    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [123.0, 67.0]
    wcs.wcs.cdelt = [1 / 3600, 1 / 3600]
    random = np.random.default_rng(1)
    ra, dec = 123.0 + random.uniform(-8, 8, 50), 67.0 + random.uniform(-3, 3, 50)
    expected = wcs.wcs_world2pix(ra, dec, 0)
    east, north = project(ra, dec, (123.0, 67.0))
    np.testing.assert_allclose([east, north], np.array(expected) + 1.0, atol=1e-6)


@given(ras, decs, st.floats(1e-7, 179.0), angles)
def test_separation_is_the_arc_walked(ra, dec, arc, bearing):
    d, b, a = np.radians([dec, bearing, arc])
    end = np.arcsin(np.clip(np.sin(d) * np.cos(a) + np.cos(d) * np.sin(a) * np.cos(b), -1, 1))
    turned = np.arctan2(np.sin(b) * np.sin(a) * np.cos(d), np.cos(a) - np.sin(d) * np.sin(end))
    end_ra, end_dec = ra + np.degrees(turned), np.degrees(end)
    assert separation_deg(ra, dec, end_ra, end_dec) == pytest.approx(arc, abs=2e-6)
