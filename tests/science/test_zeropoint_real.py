"""A real image's zero point beside the one its observatory states.

LCO 1 m telescope at Sutherland (cpt1m012, 2020-01-13, i band, 250.032 s): 2752 sources with
reference magnitudes. Their test of the same table (LCOGT/banzai, banzai/tests/test_photometry.py) gives 23.1
mag for one second, to a tenth, as another program found it.
"""

from __future__ import annotations

import numpy as np
import pytest
from real_catalogs import LCO_CALIBRATORS, LCO_SHAPE, LCO_STATED, lco_sources

from zsds_tasks.science.photometry.calibrators import MeasuredSources
from zsds_tasks.science.photometry.comparison import compare
from zsds_tasks.science.photometry.zeropoint import calibrate
from zsds_tasks.science.photometry.zeropoint_config import ZeroPointConfig


@pytest.fixture(scope="module")
def tables(real_data):
    return lco_sources(real_data)


def test_the_zero_point_is_the_observatorys(tables):
    found = calibrate(*tables, "i", LCO_SHAPE, ZeroPointConfig(calibrators=LCO_CALIBRATORS))
    (row,) = compare(found.header(), LCO_STATED)
    assert (row.keyword, row.their_keyword) == ("MAGZP", "L1ZP")
    assert abs(row.difference) < 0.1
    assert found.nmatches > 300
    assert found.magzprms < 0.06
    assert abs(found.clrcoeff) < 0.1


def test_halves_of_the_stars_agree_within_their_errors(tables):
    sources, stars = tables
    halves = []
    for half in (0, 1):
        chosen = np.arange(len(sources)) % 2 == half
        part = MeasuredSources(**{name: values[chosen] for name, values in sources.__dict__.items()})
        halves.append(calibrate(part, stars, "i", LCO_SHAPE, ZeroPointConfig(calibrators=LCO_CALIBRATORS)))
    first, second = halves
    assert abs(first.magzp - second.magzp) < 3.5 * np.hypot(first.magzpunc, second.magzpunc)
    assert abs(first.clrcoeff - second.clrcoeff) < 3.5 * np.hypot(first.clrcounc, second.clrcounc)
    assert first.magzpunc < 0.01
