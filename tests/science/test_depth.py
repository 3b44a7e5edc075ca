"""The faint limit is where a fit's error says five sigma, the bright one where stars begin to saturate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from zeropoint_builders import SHAPE, PlantedField, make_calibrators

from zsds_tasks.science.photometry.depth import (
    DepthConfig,
    effective_pixels,
    measure_depth,
    peak_fraction,
    point_source_limit,
    saturation_limit,
)
from zsds_tasks.science.photometry.spatial import cell_middles
from zsds_tasks.science.photometry.zeropoint import fit_zero_point
from zsds_tasks.science.photometry.zeropoint_config import ZeroPointConfig


def gaussian(fwhm, size=25, offset=(0.0, 0.0)):
    sigma = fwhm / 2.3548
    y, x = np.mgrid[:size, :size] - size // 2
    stamp = np.exp(-((x - offset[0]) ** 2 + (y - offset[1]) ** 2) / (2 * sigma**2))
    return (stamp / stamp.sum()).astype(np.float32)


def test_the_references_example():
    # Section 4.6: g, 4.53 DN, FWHM 2.55 px, ZP 26.28 -> 21.4.
    n_eff = effective_pixels(gaussian(2.55))
    assert n_eff == pytest.approx(4 * np.pi * (2.55 / 2.3548) ** 2, rel=0.01)
    assert float(point_source_limit(26.28, 4.53, n_eff)) == pytest.approx(21.4, abs=0.05)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_star_at_the_limit_has_five_sigma_by_psf_fitting(seed):
    random = np.random.default_rng(seed)
    stamp, noise, zero_point = gaussian(2.2, offset=(0.3, -0.2)).astype(float), 5.0, 26.1
    limit = float(point_source_limit(zero_point, noise, effective_pixels(stamp)))
    flux = 10 ** (0.4 * (zero_point - limit))
    images = flux * stamp + random.normal(0, noise, (4000, *stamp.shape))
    fitted = np.einsum("nij,ij->n", images, stamp) / np.sum(stamp**2)
    assert fitted.mean() == pytest.approx(flux, rel=0.02)
    assert flux / fitted.std() == pytest.approx(5.0, rel=0.05)


@given(st.floats(1.2, 6.0), st.floats(0.1, 100.0))
def test_a_stamps_scale_does_not_matter(fwhm, scale):
    stamp = gaussian(fwhm, 41)
    assert effective_pixels(scale * stamp) == pytest.approx(effective_pixels(stamp), rel=1e-4)
    assert peak_fraction(scale * stamp) == pytest.approx(peak_fraction(stamp), rel=1e-4)


@given(st.floats(20, 30), st.floats(0.1, 100), st.floats(1, 100))
def test_the_limit_falls_as_noise_and_seeing_rise(zero_point, noise, n_eff):
    limit = point_source_limit(zero_point, noise, n_eff)
    assert point_source_limit(zero_point, noise * 10, n_eff) == pytest.approx(limit - 2.5)
    assert point_source_limit(zero_point, noise, n_eff * 100) == pytest.approx(limit - 2.5)
    assert point_source_limit(zero_point + 1, noise, n_eff) == pytest.approx(limit + 1)


def test_the_saturation_limit_is_where_the_highest_pixel_is_full():
    stamp, zero_point, sky, level = gaussian(2.0), 26.2, 150.0, 56_000.0
    limit = saturation_limit(zero_point, level - sky, peak_fraction(stamp))
    image = sky + 10 ** (0.4 * (zero_point - limit)) * stamp
    assert image.max() == pytest.approx(level, rel=1e-4)
    assert 12.0 < limit < 13.5  # reference section 1.1
    assert saturation_limit(zero_point, -5.0, 0.2) == float("inf")


def test_cells_have_their_own_noise_psf_and_zero_point():
    field = PlantedField(n=900, gradient=(0.3, 0.0))
    config = ZeroPointConfig()
    zero_point = fit_zero_point(make_calibrators(5, field), config.filters["r"], SHAPE, config)
    assert zero_point.spatial.order == 1
    cells = cell_middles(SHAPE, 4)
    noise = np.full((4, 4), 5.0)
    noise[0] = 10.0
    stamps = np.array([[gaussian(2.0 + 0.2 * column) for column in range(4)] for _ in range(4)])
    depth = measure_depth(zero_point, noise, stamps, gaussian(2.3), 50_000.0, cells)
    assert depth.cells.shape == (4, 4)
    np.testing.assert_allclose(depth.cells[1] - depth.cells[0], 2.5 * np.log10(2), atol=5e-3)
    narrow, wide = effective_pixels(gaussian(2.0)), effective_pixels(gaussian(2.6))
    across = depth.cells[2, 3] - depth.cells[2, 0]
    assert across == pytest.approx(0.3 * 0.75 - 1.25 * np.log10(wide / narrow), abs=0.02)
    assert depth.limit == pytest.approx(
        zero_point.magzp - 2.5 * np.log10(25.0 * np.sqrt(effective_pixels(gaussian(2.3))))
    )
    assert depth.header() == {"MAGLIM": depth.limit, "MAGSAT": depth.saturation}
    deeper = measure_depth(
        zero_point, noise, stamps, gaussian(2.3), 50_000.0, cells, DepthConfig(n_sigma=3.0)
    )
    assert deeper.limit == pytest.approx(depth.limit + 2.5 * np.log10(5 / 3))
