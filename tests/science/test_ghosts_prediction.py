"""Where ghosts are predicted and what is masked: geometry, limits, the bits, slow versions as oracles."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsds_tasks.products.masks import MaskBit
from zsds_tasks.science.masking.ghost_geometry import CameraFrame, find_frame, plate_map
from zsds_tasks.science.masking.ghost_model import (
    GhostPrior,
    HaloPrior,
    geometry_design,
    prior_model,
    ring_map,
)
from zsds_tasks.science.masking.ghosts import (
    BrightStars,
    ReflectionMasking,
    filter_magnitudes,
    flag_near,
    mask_reflections,
    rough_zero_point,
)
from zsds_tasks.sky import tangent
from zsds_tasks.sky.wcs import fit_wcs
from zsds_tasks.survey.camera import load_camera

GHOST, HALO = MaskBit.GHOST.flag, MaskBit.HALO.flag
PRIOR = prior_model(GhostPrior(), HaloPrior(), 6.0)
MASKING = ReflectionMasking()
EXACT = ReflectionMasking(tolerance_sigmas=0.0, margin_arcsec=0.0, magnitude_tolerance=0.0)
ZERO_POINT, NOISE = 26.0, 4.0
angles = st.floats(-180, 180)


def wcs_of(camera, rcid, frame):
    """Return the exact solution of a quadrant of the camera as drawn, without distortion."""
    shape = camera.quadrant
    x, y = np.meshgrid(np.linspace(1, shape.nx, 9), np.linspace(1, shape.ny, 9))
    x, y = x.ravel(), y.ravel()
    ra, dec = tangent.deproject(*camera.focal_plane(rcid, x, y), (frame.ra, frame.dec), frame.rotation_deg)
    return fit_wcs(x, y, ra, dec, crpix=((shape.nx + 1) / 2, (shape.ny + 1) / 2), degree=3)


def quadrant(include, rcid=0, camera="mini"):
    camera = load_camera(camera, include)
    wcs = wcs_of(camera, rcid, CameraFrame(150.0, 20.0, 0.7))
    return plate_map(wcs, (camera.quadrant.ny, camera.quadrant.nx), find_frame(wcs, camera, rcid))


def stars_at(plate, places, mags):
    places = np.atleast_1d(np.asarray(places, complex))
    frame = plate.frame
    ra, dec = tangent.deproject(places.real, places.imag, (frame.ra, frame.dec), frame.rotation_deg)
    return BrightStars(ra, dec, np.atleast_1d(np.asarray(mags, float)))


def star_over(model, plate, x, y, mag):
    """Return a star whose ghost falls on a pixel."""
    ghost = complex(plate.to_frame(x, y))
    return stars_at(plate, 2 * model.axis - (ghost - model.offset) / model.factor, mag)


def limit_mag(model, plate, sigmas, level):
    """Return the magnitude at which a surface brightness `level` times the flux is some sigmas of noise."""
    return ZERO_POINT - 2.5 * np.log10(sigmas * NOISE / plate.pixel_scale_arcsec**2 / level)


def mask_of(plate, stars, model=PRIOR, config=MASKING, start=0):
    mask = np.full(plate.shape, start, np.uint16)
    return mask, mask_reflections(mask, plate, stars, ZERO_POINT, NOISE, model, config)


@given(ra=st.floats(0, 360), dec=st.floats(-89, 89), rotation=angles, rcid=st.integers(0, 7))
@settings(max_examples=25)
def test_the_frame_of_a_perfect_quadrant_is_the_exposures_own(include, ra, dec, rotation, rcid):
    camera, frame = load_camera("mini", include), CameraFrame(ra, dec, rotation)
    found = find_frame(wcs_of(camera, rcid, frame), camera, rcid)
    assert tangent.separation_deg(found.ra, found.dec, ra, dec) * 3600 < 0.02
    # Near a pole the position angle is that of another meridian: compare places instead.
    east, north = (1000.0 + 0j, 1000j)
    for place in (east, north):
        sky = tangent.deproject(place.real, place.imag, (ra, dec), rotation)
        assert abs(complex(found.places(*sky)) - place) < 0.05


@pytest.mark.parametrize(("camera", "rcid"), [("mini", 5), ("ztf", 0), ("ztf", 35)])
def test_pixels_go_to_the_frame_and_back(include, camera, rcid):
    plate = quadrant(include, rcid, camera)
    ny, nx = plate.shape
    x, y = np.meshgrid(np.linspace(-0.5 * nx, 1.5 * nx, 21), np.linspace(-0.5 * ny, 1.5 * ny, 21))
    back = plate.to_pixels(plate.to_frame(x, y))
    assert np.abs(np.array(back) - (x, y)).max() < 0.02
    drawn = load_camera(camera, include).focal_plane(rcid, x, y)
    assert np.abs(plate.to_frame(x, y) - (drawn[0] + 1j * drawn[1])).max() < 0.1


@given(shift=st.complex_numbers(max_magnitude=2000), turn=st.floats(-0.02, 0.02), scale=st.floats(0.9, 1.1))
@settings(max_examples=50)
def test_a_ghost_moves_against_its_star(shift, turn, scale):
    import dataclasses

    model = dataclasses.replace(PRIOR, axis=30 - 20j, offset=5 + 9j, factor=scale * np.exp(1j * turn))
    star = np.array([100 + 200j, 100 + 200j + shift])
    ghost = model.ghost_places(star)
    assert ghost[1] - ghost[0] == pytest.approx(-model.factor * shift, abs=1e-9)
    assert model.ghost_places(np.zeros(1, complex))[0] == pytest.approx(model.centre_ghost)
    rows = geometry_design(2 * model.axis - star)
    assert rows[0] @ model.parameters == pytest.approx(ghost.real)
    assert rows[1] @ model.parameters == pytest.approx(ghost.imag)


def test_the_place_is_predicted_worse_far_from_the_axis():
    sigma = PRIOR.position_sigma(np.array([0, 3000, 3000j, 10000 + 0j]))
    assert sigma[0] == pytest.approx(60.0)
    assert sigma[1] == pytest.approx(np.hypot(60, 3000 * 0.015))
    assert sigma[2] == pytest.approx(sigma[1])
    assert sigma[3] > 2 * sigma[1]


def test_a_bright_star_is_masked_where_its_ghost_falls_and_nowhere_else(include):
    plate = quadrant(include)
    model = prior_model(GhostPrior(outer_arcsec=60.0, inner_arcsec=25.0), HaloPrior(), 2.0)
    mag = limit_mag(model, plate, 1.0, model.shape.peak) - 1.0
    star = star_over(model, plate, 400.0, 300.0, mag)
    mask, counts = mask_of(plate, star, model, EXACT, start=MaskBit.SATURATED.flag)
    y, x = np.mgrid[1 : plate.shape[0] + 1, 1 : plate.shape[1] + 1]
    radius = np.hypot(x - 400, y - 300) * plate.pixel_scale_arcsec
    ghost = (mask & GHOST) > 0
    assert ghost[(radius > 28) & (radius < 57)].all()
    assert not ghost[(radius < 22) | (radius > 63)].any()
    assert ((mask & ~np.uint16(GHOST | HALO)) == MaskBit.SATURATED.flag).all()
    assert (counts.n_ghosts, counts.ghost_pixels) == (1, np.count_nonzero(ghost))


def test_tolerance_widens_the_mask_by_so_many_sigmas(include):
    plate = quadrant(include)
    model = prior_model(GhostPrior(outer_arcsec=40.0, offset_sigma_arcsec=30.0), HaloPrior(), 4.0)
    star = star_over(model, plate, 384.0, 385.0, limit_mag(model, plate, 1.0, model.shape.peak) - 1.0)
    sigma = float(model.position_sigma(plate.frame.places(star.ra, star.dec))[0])
    mask, _ = mask_of(
        plate, star, model, EXACT.model_copy(update={"tolerance_sigmas": 3.0, "margin_arcsec": 7.0})
    )
    area = np.count_nonzero(mask & GHOST) * plate.pixel_scale_arcsec**2
    assert np.sqrt(area / np.pi) == pytest.approx(40 + 3 * sigma + 7, abs=4)


def test_only_light_over_the_limit_is_masked(include):
    plate = quadrant(include)
    for sigmas in (0.3, 1.0):
        config = EXACT.model_copy(update={"ghost_sigmas": sigmas})
        edge = limit_mag(PRIOR, plate, sigmas, PRIOR.shape.peak)
        masked = [
            mask_of(plate, star_over(PRIOR, plate, 300.0, 300.0, edge + d), PRIOR, config)[1].n_ghosts
            for d in (0.01, -0.01)
        ]
        assert masked == [0, 1]
    rough = EXACT.model_copy(update={"magnitude_tolerance": 0.3})
    edge = limit_mag(PRIOR, plate, 1.0, PRIOR.shape.peak)
    assert mask_of(plate, star_over(PRIOR, plate, 300.0, 300.0, edge + 0.29), PRIOR, rough)[1].n_ghosts == 1
    assert mask_of(plate, star_over(PRIOR, plate, 300.0, 300.0, edge + 0.31), PRIOR, rough)[1].n_ghosts == 0


def test_faint_stars_no_stars_and_ghosts_elsewhere_change_nothing(include):
    plate = quadrant(include)
    nobody = BrightStars(*np.empty((3, 0)))
    behind = BrightStars(
        np.array([(plate.frame.ra + 180) % 360]), np.array([-plate.frame.dec]), np.array([0.0])
    )
    far = star_over(PRIOR, plate, -2000.0, 300.0, 0.0)
    faint = star_over(PRIOR, plate, 300.0, 300.0, 12.0)
    for stars in (nobody, behind, far, faint):
        mask, counts = mask_of(plate, stars, start=3)
        assert (mask == 3).all()
        assert (counts.n_ghosts, counts.n_halos, counts.ghost_pixels, counts.halo_pixels) == (0, 0, 0, 0)


@given(
    x=st.floats(-30, 60), y=st.floats(-30, 60), angle=angles, size=st.floats(0.2, 1.5), flip=st.booleans(),
    reach=st.floats(0, 6), seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=60)
def test_pixels_near_a_map_are_those_of_the_slow_way(x, y, angle, size, flip, reach, seed):
    distance = np.random.default_rng(seed).uniform(0, 8, (9, 13)).astype(np.float32)
    sin, cos = np.sin(np.radians(angle)) * size, np.cos(np.radians(angle)) * size
    matrix = np.array([[cos, -sin], [sin, cos]]) @ np.diag([-1.0 if flip else 1.0, 1.0])
    mask = np.full((37, 29), 2, np.uint16)
    count = flag_near(mask, x, y, matrix, distance, reach, np.uint16(GHOST))
    row, column = np.mgrid[0:37, 0:29]
    u = np.floor(matrix[0, 0] * (column - x) + matrix[0, 1] * (row - y) + 0.5).astype(int) + 6
    v = np.floor(matrix[1, 0] * (column - x) + matrix[1, 1] * (row - y) + 0.5).astype(int) + 4
    inside = (u >= 0) & (u < 13) & (v >= 0) & (v < 9)
    expected = inside & (distance[np.clip(v, 0, 8), np.clip(u, 0, 12)] <= reach)
    assert ((mask & GHOST) > 0).tolist() == expected.tolist()
    assert ((mask & 2) == 2).all()
    assert count == expected.sum()


def test_what_cannot_be_is_refused(include):
    plate = quadrant(include)
    stars = star_over(PRIOR, plate, 300.0, 300.0, 4.0)
    mask = np.zeros(plate.shape, np.uint16)
    with pytest.raises(ValueError, match="a mask of"):
        mask_reflections(mask[:-1], plate, stars, ZERO_POINT, NOISE, PRIOR, MASKING)
    for zero_point, noise in ((np.nan, NOISE), (ZERO_POINT, 0.0), (ZERO_POINT, np.nan)):
        with pytest.raises(ValueError, match="predict no ghost"):
            mask_reflections(mask, plate, stars, zero_point, noise, PRIOR, MASKING)
    with pytest.raises(ValueError, match="one length"):
        BrightStars(np.zeros(2), np.zeros(2), np.zeros(3))
    with pytest.raises(ValueError, match="a ring from 5 to 5"):
        ring_map(5.0, 5.0, 1e-3, 2.0)


def test_a_ring_map_holds_the_ghosts_light():
    shape = ring_map(65.0, 27.0, 5e-4, 2.0)
    assert shape.values.sum() * 2.0**2 == pytest.approx(5e-4, rel=0.01)
    assert len(shape.values) % 2 == 1


def test_a_rough_zero_point_survives_bad_stars():
    rng = np.random.default_rng(3)
    mag = rng.uniform(12, 19, 200)
    flux = 10 ** (-0.4 * (mag - 25.3)) * rng.normal(1, 0.05, 200)
    flux[:40] *= 5
    flux[40:50] = -1
    assert rough_zero_point(flux, mag) == pytest.approx(25.3, abs=0.1)
    with pytest.raises(ValueError, match="no zero point"):
        rough_zero_point(np.array([-1.0]), np.array([15.0]))


def test_magnitudes_of_another_band():
    found = filter_magnitudes(np.array([10.0, 11.0, 12.0]), np.array([0.5, np.nan, 1.5]), (0.2, -0.6))
    assert found == pytest.approx([10 - 0.2 + 0.3, 11 - 0.2 + 0.6, 12 - 0.2 + 0.9])
    alone = filter_magnitudes(np.array([10.0]), np.array([np.nan]), (0.0, 1.0))
    assert alone == pytest.approx([9.2])
