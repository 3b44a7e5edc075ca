"""Real pixels and catalogues through the chain from where they enter, beside what their files state.

`tests/benchmarks/bench_real.py` prints the same comparison as the table of docs/benchmarks.md. Bounds say how
well two programs agree that do not measure quite the same thing.
"""

from __future__ import annotations

import numpy as np
import pytest
import real_images


def pairs(rows, what):
    found = np.array([(row.ours, row.stated) for row in rows if row.what == what])
    assert len(found), what
    return found.T


def test_decam_stamps(real_data):
    rows = list(real_images.decam(real_data))
    ours, stated = pairs(rows, "FWHM, px")
    assert len(ours) >= 5
    assert ours / stated == pytest.approx(0.95, abs=0.03)  # theirs is a whole CCD's
    ours, stated = pairs(rows, "sky noise, DN")
    assert np.all((ours / stated > 0.75) & (ours / stated < 1.02))  # resampling has smoothed it
    refused = [row for row in rows if row.what.startswith("refused")]
    assert all("too few stars make a PSF" in row.what for row in refused)


def test_seeing_and_sky_of_a_crowded_field(real_data):
    rows = list(real_images.saao(real_data, every=10))
    ours, stated = pairs(rows, "FWHM, px")
    assert np.corrcoef(ours, stated)[0, 1] > 0.9
    assert 0.75 < np.median(ours / stated) < 1.0  # blends widen theirs: Moffat fits of bright stars give ours
    ours, stated = pairs(rows, "sky, DN")
    assert np.median(ours / stated) == pytest.approx(0.97, abs=0.02)
    assert np.corrcoef(ours, stated)[0, 1] > 0.99


def test_seeing_is_that_of_fits_to_bright_stars(real_data):
    chain, by_hand = real_images.seeing_by_hand(real_data)
    assert len(by_hand) > 15
    assert chain.psf.fwhm == pytest.approx(np.median(by_hand), rel=0.06)


def test_two_ways_to_measure_stars_of_ztf(real_data):
    rows = list(real_images.ztf(real_data))
    change, _ = pairs(rows, "PSF magnitude less 6 px aperture")
    assert len(change) >= 8
    assert abs(np.median(change)) < 0.015
    assert np.median(np.abs(change)) < 0.03


@pytest.mark.parametrize("turn_deg", [0.0, 0.5])
def test_another_programs_astrometry_of_the_same_image(real_data, turn_deg):
    rows = list(real_images.panoptes(real_data, turn_deg))
    ours, stated = pairs(rows, "Tycho-2 stars within 2 px")
    assert ours >= stated >= 30
    ours, stated = pairs(rows, "their median distance, arcsec")
    assert ours < 0.6 * stated
    assert ours < 6.0  # of pixels of 10


def test_hyper_suprime_cam(real_data):
    ours, _ = pairs(list(real_images.hsc(real_data, every=6)), "our RMS; the first guess is off; mas")
    assert len(ours) == 11
    assert np.median(ours) < 20


def test_the_zero_point_of_another_observatory(real_data):
    (row,) = real_images.lco(real_data)
    assert row.ours == pytest.approx(row.stated, abs=0.1)
