"""The residual plot shows what a solution left, for many stars and for few."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
from astrometry_builders import Sky, make_case
from PIL import Image

from zsds_tasks.science.astrometry import solve
from zsds_tasks.science.astrometry.plot import binned_residuals, residual_plot

SHAPE = (3080, 3072)


@pytest.fixture(scope="module")
def solved():
    case = make_case(71, sky=Sky(n_stars=900))
    return case, solve(case.sources, case.stars, case.view)


def pixels_of(png):
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(int)


@pytest.fixture(scope="module")
def picture(solved):
    case, solution = solved
    return residual_plot(solution, case.sources, SHAPE, "quadrant 5")


def test_the_picture_is_the_same_each_time(solved, picture):
    case, solution = solved
    assert picture == residual_plot(solution, case.sources, SHAPE, "quadrant 5")


def test_the_picture_has_points_and_arrows(picture):
    image = pixels_of(picture)
    assert image.shape == (1000, 1100, 3)
    red, green, blue = np.moveaxis(image, 2, 0)
    height, width = red.shape
    arrows = (red - blue > 100) & (red - green > 80)
    # The median residuals over the image, and the ellipse of the RMS beside them.
    assert np.count_nonzero(arrows[: height // 2, : width // 2]) > 300
    assert np.count_nonzero(arrows[: height // 2, width // 2 :]) > 100
    for half in (slice(None, height // 2), slice(height // 2, None)):
        for side in (slice(None, width // 2), slice(width // 2, None)):
            assert np.count_nonzero((blue - red)[half, side] > 30) > 300


def test_few_stars_make_a_picture_too():
    case = make_case(72, sky=Sky(n_stars=22, faintest=18.0))
    solution = solve(case.sources, case.stars, case.view)
    assert pixels_of(residual_plot(solution, case.sources, SHAPE)).shape == (1000, 1100, 3)


def test_bins_are_medians_at_the_middles_of_their_stars():
    random = np.random.default_rng(5)
    x, y = random.uniform(0.5, 300.5, 900), random.uniform(0.5, 200.5, 900)
    slope = (x - 150.5) / 10.0
    slope[:9] += 1e5
    bx, by, east, north = binned_residuals((x, y), (slope, np.zeros(900)), (200, 300), bins=4)
    assert len(bx) == 16
    assert sorted(set(by)) == [25.5, 75.5, 125.5, 175.5]
    np.testing.assert_allclose(east, (bx - 150.5) / 10.0, atol=1.5)
    assert not north.any()
    few = binned_residuals((x[:2], y[:2]), (slope[:2], slope[:2]), (200, 300))
    assert all(len(part) == 0 for part in few)


def test_astrometry_is_imported_without_the_drawing_library():
    code = "import sys, zsds_tasks.science.astrometry.plot; print('matplotlib' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
