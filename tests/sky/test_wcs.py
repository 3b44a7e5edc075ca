"""A WCS is a round trip, is what astropy reads from its header, and is recovered from pairs."""

from __future__ import annotations

import time

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.sky.tangent import separation_deg
from zsds_tasks.sky.wcs import Wcs, fit_wcs, from_header, monomials, n_terms

NX, NY = 3072, 3080
SCALE = 1.012 / 3600


def random_wcs(seed, ra=150.0, dec=20.0, degree=4):
    """A quadrant of a wide camera: some degrees of rotation, tens of arcseconds of distortion."""
    random = np.random.default_rng(seed)
    angle = np.radians(random.uniform(-180, 180))
    cd = SCALE * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    cd[0] *= random.choice([-1, 1])
    matrices = np.zeros((2, degree + 1, degree + 1))
    for i in range(degree + 1):
        for j in range(degree + 1 - i):
            matrices[:, i, j] = random.normal(size=2) * 2e-3
    matrices[0, 1, 0] += 1.0
    matrices[1, 0, 1] += 1.0
    pairs = [tuple(map(tuple, m.tolist())) for m in (cd, *matrices)]
    return Wcs((ra, dec), (NX / 2, NY / 2), *pairs)


def pixels(seed, n=300):
    random = np.random.default_rng(seed)
    return random.uniform(-50, NX + 50, n), random.uniform(-50, NY + 50, n)


def astropy_of(wcs):
    """Through the text of a FITS header, as another program would read it."""
    header = fits.Header()
    for name, value in wcs.header().items():
        header[name] = value
    return WCS(fits.Header.fromstring(header.tostring()))


seeds = st.integers(0, 2**32 - 1)
ras = st.floats(0, 359.999)
decs = st.floats(-90, 90)


@given(seeds, ras, decs, st.integers(1, 7))
def test_pixels_to_sky_and_back(seed, ra, dec, degree):
    wcs = random_wcs(seed, ra, dec, degree)
    x, y = pixels(seed)
    back = wcs.sky_to_pixel(*wcs.pixel_to_sky(x, y))
    np.testing.assert_allclose(back, (x, y), atol=1e-7)


@given(seeds, ras, decs, st.integers(1, 7))
def test_astropy_reads_the_header_exactly(seed, ra, dec, degree):
    wcs = random_wcs(seed, ra, dec, degree)
    x, y = pixels(seed, 50)
    theirs = astropy_of(wcs).all_pix2world(x, y, 1)
    ours = wcs.pixel_to_sky(x, y)
    assert separation_deg(*ours, *theirs).max() / SCALE < 1e-6
    back = wcs.sky_to_pixel(*theirs)
    np.testing.assert_allclose(back, (x, y), atol=1e-6)


@given(seeds, ras, decs, st.integers(1, 7))
def test_header_round_trip_is_bit_exact(seed, ra, dec, degree):
    wcs = random_wcs(seed, ra, dec, degree)
    assert from_header(wcs.header()) == wcs


@settings(max_examples=30)
@given(seeds, ras, st.floats(-89.9, 89.9), st.integers(1, 5))
def test_fit_recovers_what_made_the_pairs(seed, ra, dec, degree):
    truth = random_wcs(seed, ra, dec, degree)
    x, y = pixels(seed)
    fitted = fit_wcs(x, y, *truth.pixel_to_sky(x, y), crpix=(NX / 2, NY / 2), degree=degree + 2)
    other = pixels(seed + 1)
    assert separation_deg(*fitted.pixel_to_sky(*other), *truth.pixel_to_sky(*other)).max() * 3600 < 2e-4
    assert fitted.degree == degree + 2
    # The polynomial is the identity to first order: CRVAL and CD say where the image lies.
    assert np.array(fitted.east)[:2, 0] == pytest.approx([0, 1], abs=1e-6)
    assert np.array(fitted.north)[0, :2] == pytest.approx([0, 1], abs=1e-6)


def test_weights_silence_a_bad_pair():
    truth = random_wcs(1, degree=2)
    x, y = pixels(1)
    ra, dec = truth.pixel_to_sky(x, y)
    dec[0] += 1.0
    weights = np.ones(len(x))
    weights[0] = 1e-20
    fitted = fit_wcs(x, y, ra, dec, crpix=(NX / 2, NY / 2), degree=3, weights=weights)
    assert separation_deg(*fitted.pixel_to_sky(x[1:], y[1:]), ra[1:], dec[1:]).max() * 3600 < 1e-2


def test_too_few_pairs_and_bad_degrees_are_refused():
    x, y = pixels(1, 5)
    with pytest.raises(ValueError, match="5 pairs cannot fix 6 coefficients of degree 2"):
        fit_wcs(x, y, x, y, crpix=(0, 0), degree=2)
    with pytest.raises(ValueError, match="degree 8 is not between 1 and 7"):
        fit_wcs(x, y, x, y, crpix=(0, 0), degree=8)


def test_scalars_empties_and_images_keep_their_shape():
    wcs = random_wcs(3)
    ra, dec = wcs.pixel_to_sky(10.0, 20.0)
    assert ra.shape == dec.shape == ()
    x, y = wcs.sky_to_pixel(ra, dec)
    assert (float(x), float(y)) == pytest.approx((10.0, 20.0))
    assert wcs.pixel_to_sky([], [])[0].shape == wcs.sky_to_pixel([], [])[0].shape == (0,)
    image = np.ones((3, 4))
    assert wcs.sky_to_pixel(*wcs.pixel_to_sky(image, image))[0].shape == (3, 4)


def test_the_other_side_of_the_sky_has_no_pixel():
    wcs = random_wcs(4)
    x, y = wcs.sky_to_pixel([330.0, 150.0], [-20.0, 20.0])
    assert np.isnan(x[0])
    assert np.isnan(y[0])
    assert np.isfinite(x[1])


def test_pixel_scale():
    assert random_wcs(5, degree=1).pixel_scale_arcsec == pytest.approx(1.012, rel=0.01)


def test_monomials_are_ordered_by_degree():
    u, v = np.array([2.0]), np.array([3.0])
    assert monomials(u, v, 3)[0].tolist() == [1, 2, 3, 4, 6, 9, 8, 12, 18, 27]
    assert n_terms(3) == 10


def test_plain_tan_is_read():
    cards = random_wcs(6, degree=1).header()
    plain = {k: v for k, v in cards.items() if not k.startswith("PV")} | {
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
    }
    wcs = from_header(plain)
    theirs = WCS(fits.Header(plain)).all_pix2world(100.0, 200.0, 1)
    assert separation_deg(*wcs.pixel_to_sky(100.0, 200.0), *theirs) / SCALE < 1e-6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"CRVAL1": None}, "image.fits: no CRVAL1 in the header"),
        ({"CTYPE1": "RA---SIN"}, "CTYPE1, CTYPE2 are RA---SIN, DEC--TPV"),
        ({"PV1_3": 0.1, "PV2_11": 1e-5}, "PV1_3, PV2_11 multiply the radius"),
        ({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"}, "TAN with PV keywords"),
    ],
)
def test_other_headers_are_refused_by_name(change, message):
    cards = random_wcs(7).header() | change
    with pytest.raises(UnusableInputError, match=message):
        from_header({k: v for k, v in cards.items() if v is not None}, subject="image.fits")


def test_real_tpv_headers_are_read_as_astropy_reads_them(real_data):
    files = sorted((real_data / "images" / "decam_i_stamps").glob("*.mini.fits.gz"))
    assert files
    for path in files:
        header = fits.getheader(path)
        wcs = from_header(header, subject=path.name)
        x, y = np.meshgrid(np.linspace(1, 256, 5), np.linspace(1, 256, 5))
        theirs = WCS(header).all_pix2world(x, y, 1)
        assert separation_deg(*wcs.pixel_to_sky(x, y), *theirs).max() / wcs.pixel_scale_arcsec * 3600 < 1e-6


def test_ten_thousand_places_take_milliseconds():
    wcs = random_wcs(8)
    x, y = pixels(8, 10_000)
    ra, dec = wcs.pixel_to_sky(x, y)
    began = time.process_time()
    wcs.sky_to_pixel(ra, dec)
    assert time.process_time() - began < 0.2
