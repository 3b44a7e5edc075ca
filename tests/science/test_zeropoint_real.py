"""A real image's zero point beside the one its observatory states.

LCO 1 m telescope at Sutherland (cpt1m012, 2020-01-13, i band, 250.032 s): 2752 sources with
reference magnitudes. Their test of the same table (LCOGT/banzai, banzai/tests/test_photometry.py) gives 23.1
mag for one second, to a tenth, as another program found it.
"""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from zsds_tasks.science.photometry.calibrators import CatalogStars, MeasuredSources
from zsds_tasks.science.photometry.comparison import compare
from zsds_tasks.science.photometry.zeropoint import calibrate
from zsds_tasks.science.photometry.zeropoint_config import CalibratorConfig, ZeroPointConfig

EXPTIME_S = 250.032
SHAPE = (4096, 4096)
STATED = {"L1ZP": 23.1 + 2.5 * np.log10(EXPTIME_S)}
BRIGHT = CalibratorConfig(bright_mag=12.5, faint_mag=18.5)


@pytest.fixture(scope="module")
def tables(real_data):
    path = real_data / "catalogs" / "cpt1m012-fa06-20200113-0102-matched-cat.fits.gz"
    rows = fits.getdata(path)
    column = {name: np.asarray(rows[name], np.float64) for name in rows.names}
    sources = MeasuredSources(
        x=column["x"], y=column["y"], ra=column["ra"], dec=column["dec"],
        flux=column["flux"], flux_error=column["fluxerr"],
        flags=np.where(column["flag"] == 0, 0, 1), chi=np.ones(len(rows)),
    )  # fmt: skip
    mags = {band: column[f"{band}mag"] for band in "gri"}
    errors = {band: column[f"{band}magerr"] for band in "gri"}
    return sources, CatalogStars(column["ra"], column["dec"], mags, errors, np.ones(len(rows)))


def test_the_zero_point_is_the_observatorys(tables):
    found = calibrate(*tables, "i", SHAPE, ZeroPointConfig(calibrators=BRIGHT))
    (row,) = compare(found.header(), STATED)
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
        halves.append(calibrate(part, stars, "i", SHAPE, ZeroPointConfig(calibrators=BRIGHT)))
    first, second = halves
    assert abs(first.magzp - second.magzp) < 3.5 * np.hypot(first.magzpunc, second.magzpunc)
    assert abs(first.clrcoeff - second.clrcoeff) < 3.5 * np.hypot(first.clrcounc, second.clrcounc)
    assert first.magzpunc < 0.01
