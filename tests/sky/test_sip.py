"""SIP says the same as TPV: by algebra forward, and with an error that is stated backward."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial.polynomial import polyval2d

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.sky.sip import to_sip
from zsds_tasks.sky.tangent import separation_deg
from zsds_tasks.sky.wcs import Wcs

NX, NY = 3072, 3080
SHAPE = (NY, NX)
SCALE = 1.012 / 3600


def distorted(seed, ra=150.0, dec=20.0, degree=4, size=2e-3, shift=0.0):
    """A quadrant turned by any angle, tens of arcseconds of distortion, CRVAL `shift` deg off CRPIX."""
    random = np.random.default_rng(seed)
    angle = np.radians(random.uniform(-180, 180))
    cd = SCALE * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    cd[0] *= random.choice([-1, 1])
    matrices = np.zeros((2, degree + 1, degree + 1))
    for i in range(degree + 1):
        for j in range(degree + 1 - i):
            matrices[:, i, j] = random.normal(size=2) * size
    matrices[:, 0, 0] = random.uniform(-shift, shift, 2)
    matrices[0, 1, 0] += 1.0
    matrices[1, 0, 1] += 1.0
    return Wcs((ra, dec), (NX / 2, NY / 2), *(tuple(map(tuple, m.tolist())) for m in (cd, *matrices)))


def astropy_of(cards):
    """Through the text of a FITS header, as another program would read it."""
    header = fits.Header()
    for name, value in cards.items():
        header[name] = value
    return WCS(fits.Header.fromstring(header.tostring()))


def pixels(seed, n=200):
    random = np.random.default_rng(seed)
    return random.uniform(0.5, NX + 0.5, n), random.uniform(0.5, NY + 0.5, n)


seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=40)
@given(seeds, st.floats(0, 359.999), st.floats(-90, 90), st.integers(2, 7), st.floats(0, 0.3))
def test_astropy_reads_the_same_places_from_sip(seed, ra, dec, degree, shift):
    wcs = distorted(seed, ra, dec, degree, shift=shift)
    x, y = pixels(seed)
    theirs = astropy_of(to_sip(wcs, SHAPE).cards).all_pix2world(x, y, 1)
    assert separation_deg(*wcs.pixel_to_sky(x, y), *theirs).max() / SCALE < 1e-6


@settings(max_examples=30)
@given(seeds, st.integers(2, 5))
def test_astropys_way_back_is_ours(seed, degree):
    wcs = distorted(seed, degree=degree)
    x, y = pixels(seed)
    back = astropy_of(to_sip(wcs, SHAPE).cards).all_world2pix(*wcs.pixel_to_sky(x, y), 1, tolerance=1e-7)
    np.testing.assert_allclose(back, (x, y), atol=1e-5)


@settings(max_examples=30)
@given(seeds, st.integers(2, 5))
def test_the_inverse_polynomials_are_as_good_as_is_said(seed, degree):
    wcs = distorted(seed, degree=degree)
    sip = to_sip(wcs, SHAPE)
    x, y = pixels(seed)
    theirs = astropy_of(sip.cards)
    corrected = theirs.wcs_world2pix(np.stack(wcs.pixel_to_sky(x, y), axis=1), 1) - theirs.wcs.crpix
    inverse = [polyval2d(*corrected.T, matrix) for matrix in (theirs.sip.ap, theirs.sip.bp)]
    back = corrected.T + inverse + theirs.wcs.crpix[:, None]
    worst = float(np.hypot(*(back - (x, y))).max())
    # The grid on which the error is stated has steps of 128 pixels: between its points it is hardly larger.
    assert worst < 1.5 * sip.inverse_error_px + 1e-6
    assert sip.inverse_error_px < 0.1


def test_of_a_camera_like_ours_the_inverse_is_good_to_a_thousandth_of_a_pixel():
    assert to_sip(distorted(5, degree=4, size=5e-4), SHAPE).inverse_error_px < 1e-3


def test_without_distortion_it_is_a_plain_tan():
    wcs = distorted(6, degree=1)
    sip = to_sip(wcs, SHAPE)
    assert (sip.cards["CTYPE1"], sip.cards["CTYPE2"]) == ("RA---TAN", "DEC--TAN")
    assert "A_ORDER" not in sip.cards
    assert sip.inverse_error_px == 0.0
    x, y = pixels(6)
    theirs = astropy_of(sip.cards).all_pix2world(x, y, 1)
    assert separation_deg(*wcs.pixel_to_sky(x, y), *theirs).max() / SCALE < 1e-6


def test_a_reference_point_without_a_pixel_is_refused():
    wcs = distorted(7, degree=2)
    east = ((5.0, 1.0, 0.0), (0.0, 0.0, 0.0), (900.0, 0.0, 0.0))  # never zero: no pixel lies on CRVAL
    north = ((0.0, 1.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    with pytest.raises(UnusableInputError, match="no pixel lies on CRVAL 150"):
        to_sip(Wcs(wcs.crval, wcs.crpix, wcs.cd, east, north), SHAPE)
