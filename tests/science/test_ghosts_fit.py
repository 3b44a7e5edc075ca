"""Ghosts and halos fitted from cut-outs: truth comes back, false ones do no harm, noise keeps the prior."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.products.masks import MaskBit
from zsds_tasks.science.masking.ghost_fit import GhostFitConfig, fit_reflections
from zsds_tasks.science.masking.ghost_geometry import CameraFrame, plate_map
from zsds_tasks.science.masking.ghost_model import (
    GhostPrior,
    HaloPrior,
    prior_model,
    ring_level,
    ring_profile,
)
from zsds_tasks.science.masking.ghost_stamps import (
    EXCLUDED,
    GhostStamp,
    Reflection,
    StampConfig,
    collect_stamps,
    median_bins,
)
from zsds_tasks.science.masking.ghosts import BrightStars
from zsds_tasks.sky.wcs import Wcs

CONFIG = GhostFitConfig()
PRIOR = prior_model(GhostPrior(), HaloPrior(), CONFIG.cell_arcsec)
TRUE = dataclasses.replace(
    PRIOR,
    offset=70 - 40j,
    factor=0.985 * np.exp(0.002j),
    outer_arcsec=58.0,
    inner_arcsec=22.0,
    flux_ratio=6e-4,
)
NOISE, HALO_RADIUS, HALO_RATIO = 0.5, 361.0, 7e-3
AXES = np.diag([-8.1, -8.1])


def stamp_around(kind, star, flux, middle, light, rng, number, half=30, bin_px=8, noise=NOISE):
    """Return a cut-out of `light` (DN per pixel at a place) with noise."""
    empty = GhostStamp(
        kind, number, flux, star, middle, AXES * bin_px / 8, noise, bin_px,
        np.zeros((2 * half + 1, 2 * half - 3), np.float32),
    )  # fmt: skip
    values = light(empty.places) + 0.02 * empty.places.real + rng.normal(100, noise, empty.values.shape)
    return dataclasses.replace(empty, values=values.astype(np.float32))


def ghost_stamps(seed, places=14, model=TRUE, present=True, wrong=0, lopsided=0.0, size=1500.0):
    rng, stamps = np.random.default_rng(seed), []
    for number in range(places):
        star = complex(*rng.uniform(-size, size, 2))
        flux = 10 ** rng.uniform(7.3, 8.2)
        centre = complex(model.ghost_places(np.array([star]))[0])
        if number < wrong:
            centre += complex(*rng.uniform(60, 120, 2) * rng.choice([-1, 1], 2))

        def light(at, centre=centre, flux=flux):
            away = at - centre
            ring = ring_profile(np.abs(away), model.outer_arcsec, model.inner_arcsec, 6.0)
            even = ring_level(model.outer_arcsec, model.inner_arcsec, model.flux_ratio) * ring
            side = 1 + lopsided * np.sign(away.real)
            return flux * even * side * (8.1 / 8) ** 2 * present

        expected = complex(PRIOR.ghost_places(np.array([star]))[0])
        stamps.append(stamp_around(Reflection.GHOST, star, flux, expected, light, rng, number))
    return stamps


def halo_stamps(seed, stars=4, exposures=3, ratio=HALO_RATIO):
    rng, stamps = np.random.default_rng(seed), []
    for number in range(stars):
        flux = 10 ** rng.uniform(7.6, 8.4)
        for _ in range(exposures):
            star = complex(*rng.uniform(-400, 400, 2))

            def light(at, star=star, flux=flux):
                r = np.abs(at - star)
                disc = ring_level(HALO_RADIUS, 0, ratio) * ring_profile(r, HALO_RADIUS, 0, 12.0)
                return flux * (disc + 2e-7 * (np.maximum(r, 20) / 100) ** -3.0) * (8.1 / 8) ** 2

            middle = star + complex(*rng.uniform(-150, 150, 2))
            stamps.append(
                stamp_around(Reflection.HALO, star, flux, middle, light, rng, number, 28, 16, NOISE / 2)
            )
    return stamps


@pytest.mark.parametrize("seed", [401, 402, 403])
@pytest.mark.parametrize("wrong", [0, 3])
def test_the_planted_model_comes_back(seed, wrong):
    fit = fit_reflections(ghost_stamps(seed, wrong=wrong), PRIOR, CONFIG, "20251012")
    assert fit.ghosts.accepted, fit.ghosts.reason
    model, ring = fit.model, fit.ring
    assert model.source == "20251012"
    sigma = np.sqrt(np.diag(model.covariance))
    assert np.abs(model.parameters - TRUE.parameters).max(initial=0, where=[True, True, False, False]) < 4
    assert (np.abs(model.parameters - TRUE.parameters) < 4 * sigma).all()
    assert (sigma[:2] < 5).all()
    assert model.outer_arcsec == pytest.approx(58.0, abs=2.0)
    assert model.inner_arcsec == pytest.approx(22.0, abs=3.0)
    assert model.flux_ratio == pytest.approx(6e-4, rel=0.1)
    assert abs(model.flux_ratio - 6e-4) < 5 * ring.flux_ratio_sigma
    assert fit.n_ghosts >= 14 - wrong - 1
    assert not fit.halos.accepted
    assert (model.halo_radius_arcsec, fit.halos.reason) == (375.0, "no cut-outs of halos")


def test_the_order_of_cut_outs_does_not_matter():
    stamps = ghost_stamps(404, places=8)
    one, other = (fit_reflections(s, PRIOR, CONFIG, "n").model for s in (stamps, stamps[::-1]))
    assert one.parameters == pytest.approx(other.parameters)
    assert np.array_equal(one.shape.values, other.shape.values)


def test_the_map_shows_what_is_no_even_ring():
    fit = fit_reflections(ghost_stamps(405, places=20, lopsided=0.6), PRIOR, CONFIG, "n")
    assert fit.ghosts.accepted, fit.ghosts.reason
    shape = fit.model.shape
    side = (np.arange(len(shape.values)) - len(shape.values) // 2) * shape.cell_arcsec
    east, north = np.meshgrid(side, side)
    ring = (np.hypot(east, north) < 50) & (np.hypot(east, north) > 30)
    bright = shape.values[ring & (east > 12)].mean()
    assert bright / shape.values[ring & (east < -12)].mean() == pytest.approx(1.6 / 0.4, rel=0.25)


@pytest.mark.parametrize("seed", [406, 407, 408])
def test_noise_keeps_the_prior_and_says_why(seed):
    fit = fit_reflections(ghost_stamps(seed, present=False), PRIOR, CONFIG, "20251012")
    assert fit.model is PRIOR
    assert "ghosts found, under 3" in fit.ghosts.reason
    assert fit.model.source == "prior"


def test_too_little_keeps_the_prior_and_says_why():
    nothing = fit_reflections([], PRIOR, CONFIG, "n")
    assert (nothing.model, nothing.ghosts.reason) == (PRIOR, "no cut-outs of ghosts")
    one_star = [dataclasses.replace(s, star_id=1) for s in ghost_stamps(409, places=1)] * 6
    few = fit_reflections(one_star, PRIOR, CONFIG, "n")
    assert few.model is PRIOR
    assert "ghosts of 1 places in the field, under 3" in few.ghosts.reason
    four = ghost_stamps(410, places=4)
    empty = [dataclasses.replace(s, values=np.full_like(s.values, np.nan)) for s in four]
    assert fit_reflections(empty, PRIOR, CONFIG, "n").ghosts.reason == "no cut-outs of ghosts"


@pytest.mark.parametrize(
    ("offset_sigma", "scale_sigma", "reason"),
    [(14.0, 0.01, "sigma from what the camera is built to"), (4.0, 0.001, "about the geometry")],
)
def test_a_geometry_no_camera_has_is_not_believed(offset_sigma, scale_sigma, reason):
    certain = GhostPrior(offset_sigma_arcsec=offset_sigma, scale_sigma=scale_sigma)
    narrow = prior_model(certain, HaloPrior(), CONFIG.cell_arcsec)
    free = CONFIG.model_copy(update={"search_sigmas": 25.0})
    fit = fit_reflections(ghost_stamps(411, places=10), narrow, free, "n")
    assert fit.model is narrow
    assert reason in fit.ghosts.reason


@pytest.mark.parametrize("seed", [412, 413, 414])
def test_planted_halos_come_back(seed):
    fit = fit_reflections(halo_stamps(seed), PRIOR, CONFIG, "n")
    assert fit.halos.accepted, fit.halos.reason
    assert fit.model.halo_radius_arcsec == pytest.approx(HALO_RADIUS, abs=3.0)
    assert fit.model.halo_flux_ratio == pytest.approx(HALO_RATIO, rel=0.15)
    assert (fit.halo.n_stars, fit.ghosts.accepted) == (4, False)
    assert fit.model.outer_arcsec == PRIOR.outer_arcsec


def test_halos_that_are_none_or_of_one_star_keep_the_prior():
    none = fit_reflections(halo_stamps(415, ratio=0.0), PRIOR, CONFIG, "n")
    assert not none.halos.accepted
    assert none.model.halo_radius_arcsec == 375.0
    one = fit_reflections(halo_stamps(416, stars=1), PRIOR, CONFIG, "n")
    assert "rims of 1 stars, under 2" in one.halos.reason


@given(side=st.integers(2, 9), rows=st.integers(1, 4), seed=st.integers(0, 99), least=st.integers(1, 30))
@settings(max_examples=40)
def test_bins_are_medians_of_usable_pixels(side, rows, seed, least):
    rng = np.random.default_rng(seed)
    image = rng.normal(5, 2, (47, 53)).astype(np.float32)
    image[rng.random(image.shape) < 0.05] = np.nan
    mask = np.where(rng.random(image.shape) < 0.3, MaskBit.DEAD.flag, MaskBit.PSF_SOURCE.flag).astype(
        np.uint16
    )
    mask[rng.random(image.shape) < 0.1] = MaskBit.GHOST.flag | MaskBit.HALO.flag
    out = np.empty((rows, rows + 1), np.float32)
    median_bins(image, mask, EXCLUDED, 3, 5, side, least, out)
    for i in range(rows):
        for j in range(rows + 1):
            part = np.s_[3 + i * side : 3 + (i + 1) * side, 5 + j * side : 5 + (j + 1) * side]
            kept = image[part][((mask[part] & MaskBit.DEAD.flag) == 0) & np.isfinite(image[part])]
            if len(kept) < least:
                assert np.isnan(out[i, j])
            else:
                assert out[i, j] == pytest.approx(np.median(kept), rel=1e-6)


@pytest.fixture(scope="module")
def plate():
    wcs = Wcs(
        (30.0, 10.0), (300.0, 280.0), ((-1.01 / 3600, 0.0), (0.0, -1.01 / 3600)),
        ((0.0, 0.0), (1.0, 0.0)), ((0.0, 1.0), (0.0, 0.0)),
    )  # fmt: skip
    return plate_map(wcs, (561, 603), CameraFrame(30.0, 10.0, 0.0))


def test_cut_outs_hold_the_light_and_know_their_place(plate):
    stars = BrightStars(np.array([30.01, 30.02]), np.array([10.01, 9.99]), np.array([5.0, 13.0]))
    star = complex(plate.frame.places(stars.ra[:1], stars.dec[:1])[0])
    x, y = np.meshgrid(np.arange(1, 604), np.arange(1, 562))
    centre = complex(PRIOR.ghost_places(np.array([star]))[0])
    image = np.where(np.abs(plate.to_frame(x, y) - centre) < 50, 20.0, 0.0).astype(np.float32)
    mask = np.zeros(image.shape, np.uint16)
    args = (plate, stars, 26.0, 3.0, PRIOR, StampConfig())
    stamps = collect_stamps(image, mask, None, *args)
    assert [s.kind for s in stamps] == [Reflection.HALO, Reflection.GHOST]
    ghost = stamps[1]
    assert ghost.star == pytest.approx(star)
    away = np.abs(ghost.places - centre)
    assert (ghost.values[away < 50 - 10] == 20).all()
    assert (ghost.values[away > 50 + 10] == 0).all()
    assert ghost.flux == pytest.approx(10 ** (0.4 * 21))
    assert ghost.per_arcsec2 == pytest.approx(1 / 1.01**2, rel=1e-3)
    level = Mesh(np.linspace(40, 50, 6, dtype=np.float32).reshape(2, 3), 281, image.shape)
    subtracted = image - level.expand()
    for whole, added in zip(
        collect_stamps(image, mask, None, *args), collect_stamps(subtracted, mask, level, *args), strict=True
    ):
        assert np.nanmax(np.abs(whole.values - added.values)) < 0.2


def test_where_there_is_nothing_to_collect_nothing_is(plate):
    image, mask = np.zeros((561, 603), np.float32), np.zeros((561, 603), np.uint16)
    bright = BrightStars(np.array([30.01]), np.array([10.01]), np.array([5.0]))
    args = (26.0, 3.0, PRIOR, StampConfig())
    assert collect_stamps(image, mask, None, plate, BrightStars(*np.empty((3, 0))), *args) == []
    assert collect_stamps(image, mask + np.uint16(MaskBit.DETECTION.flag), None, plate, bright, *args) == []
    crowd = BrightStars(np.full(9, 30.01), np.full(9, 10.01), np.linspace(4, 5, 9))
    kept = collect_stamps(image, mask, None, plate, crowd, *args)
    assert [s.flux for s in kept[:4]] == sorted([s.flux for s in kept[:4]], reverse=True)
    assert len(kept) == 8
