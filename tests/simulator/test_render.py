import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from instrument_builders import configuration, make_exposure, small_camera

from zsds_tasks.simulator.instrument import render
from zsds_tasks.simulator.instrument.psf import SMALLEST_SIGMA_PX, galaxy_shapes, pixel_variance, psf_shapes

PSF = configuration().instrument.psf
CORE = PSF.core


def blank(nx=201, ny=183):
    return np.zeros((ny, nx), np.float32)


def draw(image, x, y, flux, profile=None, half_light=0.0, threshold=1e-6, exposure=None):
    shape = psf_shapes(exposure or make_exposure(), small_camera(), PSF, (np.zeros(1), np.zeros(1)))
    own = galaxy_shapes(small_camera(), np.array([half_light]), np.ones(1), np.zeros(1))
    row = [x, y, flux, shape.xx[0], shape.xy[0], shape.yy[0], own.xx[0], own.xy[0], own.yy[0]]
    weights, variances = (profile.weights, profile.variances) if profile else (np.ones(1), np.zeros(1))
    render.add_sources(
        image, np.array([row]), CORE.weights, CORE.variances, weights, variances, pixel_variance(PSF),
        SMALLEST_SIGMA_PX**2, threshold,
    )  # fmt: skip
    return image


@given(x=st.floats(99.5, 100.5), y=st.floats(89.5, 90.5))
@settings(max_examples=40)
def test_a_star_keeps_its_flux_wherever_it_lies_on_the_pixel(x, y):
    assert draw(blank(), x, y, 1e6).sum(dtype=float) == pytest.approx(1e6, rel=1e-4)


def test_in_the_best_seeing_the_core_is_widened_enough_to_keep_the_flux():
    best = make_exposure(seeing_fwhm_arcsec=configuration().conditions.seeing_floor_arcsec)
    fluxes = [draw(blank(), 100 + dx, 90 + dx, 1e6, exposure=best).sum(dtype=float) for dx in (0, 0.25, 0.5)]
    assert fluxes == pytest.approx([1e6] * 3, rel=1e-3)


@pytest.mark.parametrize(("profile", "loss"), [(PSF.exponential, 1e-3), (PSF.de_vaucouleurs, 2e-2)])
def test_a_galaxy_keeps_its_flux_and_holds_half_of_it_in_its_half_light_radius(profile, loss):
    image = draw(blank(801, 801), 400, 400, 1e6, profile, half_light=25.0)
    assert image.sum(dtype=float) == pytest.approx(1e6, rel=loss)
    y, x = np.indices(image.shape)
    inside = image[np.hypot(x - 400, y - 400) < 25.0 / 1.012].sum(dtype=float)
    assert inside == pytest.approx(0.5e6, rel=0.03)


def test_a_star_has_its_centre_and_moments():
    image = blank()
    render.add_gaussian(image, 100.3, 90.8, 1e5, 4.0, 1.2, 2.5, 1e-9)
    y, x = np.indices(image.shape)
    w = image / image.sum(dtype=float)
    mean = (w * x).sum(), (w * y).sum()
    assert mean == pytest.approx((100.3, 90.8), abs=1e-3)
    moments = [
        (w * a * b).sum() for a, b in ((x - 100.3, x - 100.3), (x - 100.3, y - 90.8), (y - 90.8, y - 90.8))
    ]
    assert moments == pytest.approx([4.0, 1.2, 2.5], abs=5e-3)


def test_the_stepped_gaussian_equals_the_formula():
    image = blank(64, 65)
    render.add_gaussian(image, 30.2, 31.7, 1e4, 3.0, -0.7, 2.0, 1e-3)
    y, x = np.indices(image.shape)
    inverse = np.linalg.inv([[3.0, -0.7], [-0.7, 2.0]])
    d = np.stack([x - 30.2, y - 31.7])
    law = 1e4 / (2 * np.pi * np.sqrt(6 - 0.49)) * np.exp(-0.5 * np.einsum("iyx,ij,jyx->yx", d, inverse, d))
    drawn = image > 0
    assert np.abs(image - law)[drawn].max() < 1e-3
    assert law[~drawn].max() < 2e-3


def test_a_star_on_the_border_leaves_half_of_its_light():
    assert draw(blank(), -0.5, 90.0, 1e6).sum(dtype=float) == pytest.approx(0.5e6, rel=1e-3)
    assert draw(blank(), -500.0, 90.0, 1e6).sum() == 0


def test_the_psf_is_a_moffat_of_the_seeing():
    r = np.linspace(0, 4, 400)
    variances = CORE.variances
    mixture = (CORE.weights / (2 * np.pi * variances) * np.exp(-0.5 * r[:, None] ** 2 / variances)).sum(
        axis=1
    )
    alpha = 0.5 / np.sqrt(2 ** (1 / 3) - 1)
    moffat = 2 / (np.pi * alpha**2) * (1 + (r / alpha) ** 2) ** -3
    assert np.abs(mixture - moffat).max() < 0.01 * moffat[0]
    assert np.interp(-0.5 * mixture[0], -mixture, r) == pytest.approx(0.5, abs=0.01)


def test_the_psf_drifts_only_if_it_may():
    camera, exposure = small_camera(), make_exposure()
    place = (np.array([0.0, 300.0]), np.array([0.0, 150.0]))
    drifting = psf_shapes(exposure, camera, PSF, place)
    constant = psf_shapes(exposure, camera, PSF, place, is_variable=False)
    assert drifting.xx[0] != pytest.approx(drifting.xx[1], rel=1e-3)
    assert constant.xx[0] == constant.xx[1]
    # The geometric mean of the axes is the seeing.
    area = np.sqrt(constant.xx * constant.yy - constant.xy**2)
    assert np.sqrt(area) == pytest.approx(2.0 / 1.012, rel=1e-9)


def test_position_angles_run_from_north_through_east_on_a_mirrored_detector():
    # x points west and y south: an ellipse along north-east has x and y of the same sign.
    shape = galaxy_shapes(small_camera(), np.array([5.0]), np.array([0.3]), np.array([45.0]))
    assert shape.xy[0] > 0
    assert galaxy_shapes(small_camera(), np.array([5.0]), np.array([0.3]), np.array([0.0])).yy[0] > 5


@pytest.mark.parametrize("angle", [0.0, 37.0, 90.0, 141.0])
def test_a_trail_has_its_light_per_length(angle):
    image = blank(301, 301)
    dx, dy = 60 * np.cos(np.deg2rad(angle)), 60 * np.sin(np.deg2rad(angle))
    ends = np.array([150 - dx, 150 - dy, 150 + dx, 150 + dy])
    render.add_trail(image, ends, CORE.weights, CORE.variances * 4, np.array([50.0, 0.0, 0.0]), 1e-4)
    assert image.sum(dtype=float) == pytest.approx(50 * 120, rel=0.01)


def test_a_tumbling_trail_blinks_and_an_empty_one_is_nothing():
    image = blank()
    render.add_trail(
        image, np.array([10.0, 90, 190, 90]), np.ones(1), np.ones(1), np.array([50.0, 0.8, 40.0]), 1e-4
    )
    along = image[88:93, 12:188].sum(axis=0)
    assert along.max() > 4 * along.min()
    before = image.copy()
    render.add_trail(
        image, np.array([50.0, 50, 50, 50]), np.ones(1), np.ones(1), np.array([50.0, 0, 0]), 1e-4
    )
    assert (image == before).all()


def test_a_ring_has_its_level_and_its_hole():
    image = blank()
    render.add_ring(image, 100.0, 90.0, 50.0, 20.0, 3.0, 6.0)
    assert image[90, 100] == 0
    assert image[90, 135] == 3
    assert image[90, 160] == 0
    assert image.sum(dtype=float) == pytest.approx(3 * np.pi * (50**2 - 20**2), rel=0.02)


def test_no_sources_draw_nothing():
    image = blank()
    nothing = np.zeros((0, 9))
    render.add_sources(image, nothing, CORE.weights, CORE.variances, np.ones(1), np.zeros(1), 0.1, 0.5, 0.1)
    assert not image.any()
