import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from instrument_builders import configuration, make_exposure, small_camera

from zsds_tasks.settings import REPOSITORY
from zsds_tasks.simulator.instrument.optics import Optics, quadrant_origin
from zsds_tasks.survey.camera import load_camera

CAMERAS = [small_camera(), *(load_camera(name, REPOSITORY / "include") for name in ("mini", "ztf"))]


def optics(camera=CAMERAS[0], **switches):
    return Optics(camera, configuration().instrument.optics, 3, **switches)


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda c: f"{c.name} {c.quadrant.nx}")
def test_pixels_to_sky_and_back_is_the_identity(camera):
    true, rng = optics(camera), np.random.default_rng(1)
    for exposure in (
        make_exposure(),
        make_exposure(rotation_deg=179.0, boresight_dec=-20.0, elevation_deg=30.0),
    ):
        for rcid in range(0, camera.n_quadrants, 7):
            x, y = (
                rng.uniform(0.6, camera.quadrant.nx + 0.4, 50),
                rng.uniform(0.6, camera.quadrant.ny + 0.4, 50),
            )
            back = true.sky_to_pixels(exposure, *true.pixels_to_sky(exposure, rcid, x, y))
            assert (back.rcid == rcid).all()
            assert np.abs(back.x - x).max() < 1e-5
            assert np.abs(back.y - y).max() < 1e-5


@given(east=st.floats(-1100, 1100), north=st.floats(-900, 900), seed=st.integers(0, 5))
@settings(max_examples=50)
def test_undistorting_inverts_the_focal_plane(east, north, seed):
    true = Optics(CAMERAS[1], configuration().instrument.optics, seed)
    exposure = make_exposure(elevation_deg=27.0)
    assert true.undistorted(exposure, *true.focal_plane(exposure, east, north)) == pytest.approx(
        (east, north), abs=1e-6
    )


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda c: f"{c.name} {c.quadrant.nx}")
def test_without_effects_the_true_camera_is_the_nominal_one(camera):
    ideal = optics(camera, distortion=False, refraction=False, misalignment=False)
    for rcid in range(0, camera.n_quadrants, 5):
        quadrant = camera.quadrants[rcid]
        found = ideal.pixels(
            make_exposure(), quadrant.centre_east_arcsec + 10, quadrant.centre_north_arcsec + 5
        )
        nominal = camera.pixel(rcid, quadrant.centre_east_arcsec + 10, quadrant.centre_north_arcsec + 5)
        assert found.rcid[0] == rcid
        assert (found.x[0], found.y[0]) == pytest.approx(nominal, abs=1e-6)


def test_the_true_camera_is_off_by_arcseconds_and_not_linearly():
    camera = CAMERAS[1]
    true, exposure = optics(camera), make_exposure()
    x, y = np.meshgrid(np.linspace(1, 768, 9), np.linspace(1, 770, 9))
    east, north = true.camera_frame_of_ccd(exposure, 1, x.ravel(), y.ravel())
    nominal_east, nominal_north = camera.focal_plane(0, x.ravel(), y.ravel())
    error = np.hypot(east - nominal_east, north - nominal_north)
    assert 0.3 < error.mean() < 15
    plane = np.column_stack([np.ones(81), x.ravel(), y.ravel()])
    residual = east - plane @ np.linalg.lstsq(plane, east, rcond=None)[0]
    assert 0.01 < np.abs(residual).max() < 2


def test_refraction_squeezes_the_field_along_the_vertical():
    true = optics(CAMERAS[1], distortion=False, misalignment=False)
    # On the meridian the zenith lies north: 60 degrees from it, k (1 + tan^2 z) is about 9e-4.
    low = make_exposure(parallactic_deg=0.0, elevation_deg=30.0, rotation_deg=0.0)
    _, up = true.focal_plane(low, 0.0, 500.0)
    _, down = true.focal_plane(low, 0.0, -500.0)
    across, _ = true.focal_plane(low, 500.0, 0.0)
    assert (up - down) / 1000 == pytest.approx(1 - 9.2e-4, abs=1.5e-4)
    assert across / 500 == pytest.approx(1 - 2.3e-4, abs=0.5e-4)
    indoors = make_exposure(is_sky=False, elevation_deg=30.0)
    assert true.focal_plane(indoors, 0.0, 500.0)[1] == 500.0


def test_points_beside_the_detectors_have_no_channel():
    found = optics().pixels(make_exposure(), [1e4, 0.0, np.nan], [0.0, 1e4, 0.0])
    assert (found.rcid == -1).all()
    assert np.isnan(found.x).all()
    assert len(optics().pixels(make_exposure(), [], []).rcid) == 0


def test_quadrants_tile_the_ccd_as_the_amplifiers_lie():
    camera = small_camera()
    nx, ny = camera.quadrant.nx, camera.quadrant.ny
    assert [quadrant_origin(camera, qid) for qid in (1, 2, 3, 4)] == [(0, 0), (nx, 0), (nx, ny), (0, ny)]


def test_placement_depends_on_seed_and_camera_only():
    config = configuration().instrument.optics
    one, same, other = (Optics(CAMERAS[0], config, seed) for seed in (3, 3, 4))
    place = [o.ccd_pixels(make_exposure(), 1, 0.0, 0.0) for o in (one, same, other)]
    assert place[0] == place[1]
    assert place[0] != place[2]
