"""Real sources against real catalogues: 63 CCDs of Hyper Suprime-Cam, and a blind solve of another camera."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from real_catalogs import HSC_MJD, HSC_SHAPE, astropy_wcs, hsc_gaia, hsc_paths, hsc_sources, view_around

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.science.astrometry import (
    AstrometryConfig,
    DetectedSources,
    Pointing,
    QuadrantView,
    ReferenceStars,
    Rung,
    SearchConfig,
    model_of_plane,
    pixel_grid,
    solve,
)
from zsds_tasks.sky import tangent


@pytest.fixture(scope="module")
def gaia(real_data):
    return hsc_gaia(real_data)


def solve_visit(real_data, gaia, turn=0.0, every=1):
    solutions, guesses = {}, {}
    for path in hsc_paths(real_data)[::every]:
        guess = astropy_wcs(fits.getheader(path))
        view = view_around(guess, HSC_SHAPE, HSC_MJD, path.name, turn)
        try:
            solutions[path.name] = solve(hsc_sources(path), gaia, view)
        except UnusableInputError:
            continue
        guesses[path.name] = guess
    return solutions, guesses


def test_every_ccd_of_a_hyper_suprime_cam_visit(real_data, gaia):
    solutions, guesses = solve_visit(real_data, gaia)
    assert len(solutions) == 63
    tight = {name: s for name, s in solutions.items() if max(s.residuals.rms) < 0.030}
    assert len(tight) >= 61
    assert np.median([max(s.residuals.rms) for s in tight.values()]) < 0.015
    assert min(s.n_matched for s in tight.values()) >= 8
    # The first guess, by its makers' word, is off by 0.1 to 0.9 arcsec.
    for name, solution in tight.items():
        x, y = pixel_grid(*HSC_SHAPE)
        sky = solution.wcs.pixel_to_sky(x, y)
        off = tangent.separation_deg(*sky, *guesses[name].all_pix2world(x, y, 1)) * 3600
        assert np.median(off) < 8.0
    loose = set(solutions) - set(tight)
    assert all(solutions[name].verdict == "fail" for name in loose)  # and says so


def test_a_visit_turned_by_a_degree(real_data, gaia):
    solutions, _ = solve_visit(real_data, gaia, turn=1.0, every=8)
    tight = [s for s in solutions.values() if max(s.residuals.rms) < 0.030]
    assert len(tight) == 8
    assert np.median([s.departure.rotation_deg for s in tight]) == pytest.approx(-1.0, abs=0.02)


@pytest.mark.parametrize("rotation", [0.0, 90.0, 200.0])
def test_a_nearly_blind_solve(real_data, rotation):
    """Known: parity, pixel scale within 5 %, pointing within 12 arcmin. Not known: rotation, magnitudes."""
    stem = str(real_data / "catalogs" / "plate_solve" / "wdd7.040920_0452.051_6")
    rows, index = fits.getdata(f"{stem}.axy"), fits.getdata(f"{stem}.rdls")
    header = fits.getheader(f"{stem}.wcs")
    n, m = len(rows), len(index)
    sources = DetectedSources(
        rows["X"].astype(float),
        rows["Y"].astype(float),
        *np.full((2, n), 0.1),
        rows["FLUX"].astype(float),
        np.full(n, 100.0),
        np.zeros(n, np.int64),
    )
    stars = ReferenceStars(
        index["RA"].astype(float), index["DEC"].astype(float), *np.zeros((3, m)), epoch_yr=2000.0
    )
    nx, ny = header["IMAGEW"], header["IMAGEH"]
    x, y = pixel_grid(nx, ny)
    plane = np.stack([(y - (ny + 1) / 2) * 0.26, (x - (nx + 1) / 2) * 0.26], axis=1)
    pointing = Pointing(38.3557650198, -8.92809767751, rotation)
    view = QuadrantView("wdd7", pointing, 53_268.2, model_of_plane(x, y, plane, nx, ny, 1))
    config = AstrometryConfig(search=SearchConfig(pattern_scale_tolerance=0.05))
    solution = solve(sources, stars, view, config)
    assert solution.rung == Rung.PATTERN
    assert solution.n_matched >= 20
    assert max(solution.residuals.rms) < 0.3
    theirs = astropy_wcs(header).all_pix2world(x, y, 1)
    assert np.median(tangent.separation_deg(*solution.wcs.pixel_to_sky(x, y), *theirs)) * 3600 < 1.0
    # Astrometry.net's own solution on the pairs it lists leaves 0.9 arcsec.
    assert solution.wcs.pixel_scale_arcsec == pytest.approx(0.2688, rel=0.01)
