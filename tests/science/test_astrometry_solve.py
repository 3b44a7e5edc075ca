"""The solver finds the true sky, from good and bad beginnings, and says how it got there."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from astrometry_builders import MJD, Instrument, Sky, camera_of, make_case
from hypothesis import given, settings
from hypothesis import strategies as st

from zsds_tasks.science.astrometry import (
    AstrometryConfig,
    DetectedSources,
    FitConfig,
    QualityCuts,
    ReferenceStars,
    Rung,
    Verdict,
    learn_model,
    mean_model,
    solve,
)

# Apart from the seeds of the sweeps by which the solver was tuned.
SEEDS = (7001, 7002, 7003)


def solved(case, config=None):
    return solve(case.sources, case.stars, case.view, config)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("rcid", [0, 27, 63])
def test_an_ordinary_field(seed, rcid):
    case = make_case(seed, instrument=Instrument(rcid))
    solution = solved(case)
    assert (solution.rung, solution.verdict, solution.remarks) == (Rung.PRIOR, Verdict.GOOD, ())
    assert max(solution.residuals.rms_bright) < 0.020
    errors = case.errors(solution.wcs)
    assert np.median(errors) < 0.005
    assert errors.max() < 0.030
    assert solution.n_matched > 0.95 * solution.n_catalog
    assert solution.degree == 4


def test_the_small_camera():
    instrument = Instrument(5, camera_of("mini"))
    case = make_case(7010, instrument=instrument, sky=Sky(n_stars=300))
    solution = solved(case)
    assert solution.verdict == Verdict.GOOD
    assert case.errors(solution.wcs).max() < 0.06


@pytest.mark.parametrize("seed", SEEDS)
def test_twenty_stars(seed):
    case = make_case(seed, sky=Sky(n_stars=20, faintest=18.0), false_fraction=0.0, catalog_fraction=1.0)
    solution = solved(case)
    assert solution.n_matched >= 0.9 * len(case.sources)
    assert case.errors(solution.wcs).max() < 0.2  # an affine fit leaves the curvature of the distortion


@pytest.mark.parametrize("seed", SEEDS)
def test_a_prior_makes_twenty_stars_enough(seed):
    """The prior keeps the shape of the distortion, the stars only place it."""
    prior = Instrument().true_model()
    case = make_case(seed, sky=Sky(n_stars=22, faintest=18.0), false_fraction=0.3, prior=prior)
    solution = solved(case)
    assert solution.degree == 1
    assert case.errors(solution.wcs).max() < 0.05


def test_a_crowded_field():
    case = make_case(7020, sky=Sky(n_stars=45_000, faintest=21.5))
    assert len(case.sources) > 45_000
    solution = solved(case)
    assert solution.verdict == Verdict.GOOD
    assert case.errors(solution.wcs).max() < 0.010


@pytest.mark.parametrize("seed", SEEDS)
def test_half_the_detections_false_and_half_the_catalog_missing(seed):
    case = make_case(seed, false_fraction=0.5, catalog_fraction=0.5)
    solution = solved(case)
    assert solution.verdict == Verdict.GOOD
    assert case.errors(solution.wcs).max() < 0.040


def test_clouds():
    case = make_case(7030, cloud_mag=5.0)
    solution = solved(case)
    assert len(case.sources) < 500
    assert solution.verdict == Verdict.GOOD
    assert case.errors(solution.wcs).max() < 0.060


@pytest.mark.parametrize("turn", [-1.0, 1.0])
def test_pointing_minutes_off_and_rotation_a_degree_off(turn):
    case = make_case(7040, pointing_error_arcsec=(350.0, -280.0), rotation_error_deg=turn, false_fraction=0.3)
    solution = solved(case)
    assert [a.rung for a in solution.attempts] == [Rung.PRIOR, Rung.TURNED]
    assert "no peak: at best" in solution.attempts[0].reason
    assert solution.attempts[1].cause is None
    assert case.errors(solution.wcs).max() < 0.030
    assert solution.departure.pointing_arcsec == pytest.approx((350, -280), abs=20)  # refraction, CCD shift
    assert solution.departure.rotation_deg == pytest.approx(turn, abs=0.15)
    assert solution.verdict == Verdict.WARN
    assert any("pointing off by" in text for text in solution.remarks)
    assert any(text.startswith("rotation off by") for text in solution.remarks)


@pytest.mark.parametrize("turn", [-35.0, 60.0, 90.0])
def test_unknown_rotation_needs_a_pattern(turn):
    """Near the boresight, so that turning does not carry the quadrant out of the search."""
    instrument = Instrument(1, camera_of("mini"))
    case = make_case(7050, instrument=instrument, sky=Sky(n_stars=300), rotation_error_deg=turn)
    solution = solved(case)
    assert solution.rung == Rung.PATTERN
    assert case.errors(solution.wcs).max() < 0.1
    assert "triangles agree turned by" in solution.attempts[-1].reason


@pytest.mark.parametrize("dec", [-89.7, 0.0, 89.7])
@pytest.mark.parametrize("ra", [0.0, 359.99])
def test_poles_and_the_meridian_of_zero(ra, dec):
    case = make_case(7060, ra=ra, dec=dec, pointing_error_arcsec=(0.5, -0.4))
    assert case.errors(solved(case).wcs).max() < 0.030


@settings(max_examples=12)
@given(
    st.integers(8000, 2**31),
    st.integers(0, 63),
    st.floats(-180, 180),
    st.floats(-75, 75),
    st.integers(60, 3000),
    st.floats(0, 0.5),
)
def test_any_sky_any_quadrant(seed, rcid, rotation, dec, n_stars, false_fraction):
    case = make_case(
        seed,
        instrument=Instrument(rcid),
        sky=Sky(n_stars=n_stars, faintest=19.0),
        dec=dec,
        rotation_deg=rotation,
        false_fraction=false_fraction,
    )
    solution = solved(case)
    assert case.errors(solution.wcs).max() < 0.2
    assert np.median(case.errors(solution.wcs)) < 0.06


def test_the_order_of_rows_does_not_matter():
    case = make_case(7070, sky=Sky(n_stars=1500))
    random = np.random.default_rng(1)
    order, star_order = random.permutation(len(case.sources)), random.permutation(len(case.stars))
    columns = ("x", "y", "x_error", "y_error", "flux", "flux_error", "flags")
    sources = DetectedSources(**{name: getattr(case.sources, name)[order] for name in columns})
    columns = ("ra", "dec", "pmra", "pmdec", "mag")
    stars = ReferenceStars(
        **{name: getattr(case.stars, name)[star_order] for name in columns}, epoch_yr=case.stars.epoch_yr
    )
    one, two = solved(case), solve(sources, stars, case.view)
    places = np.array([1.0, 1500.0, 3000.0])
    np.testing.assert_allclose(
        one.wcs.pixel_to_sky(places, places), two.wcs.pixel_to_sky(places, places), rtol=1e-11
    )
    assert set(zip(one.pairs.source, one.pairs.star, strict=True)) == set(
        zip(order[two.pairs.source], star_order[two.pairs.star], strict=True)
    )


def test_same_input_same_bits():
    case = make_case(7071, sky=Sky(n_stars=800))
    one, two = solved(case), solved(case)
    assert one.wcs == two.wcs
    assert np.array_equal(one.pairs.east, two.pairs.east)


def test_pairs_are_rows_of_the_input_and_residuals_are_source_minus_star():
    case = make_case(7072, sky=Sky(n_stars=800))
    solution = solved(case)
    ra, dec = solution.wcs.pixel_to_sky(
        case.sources.x[solution.pairs.source], case.sources.y[solution.pairs.source]
    )
    star_ra, star_dec = (a[solution.pairs.star] for a in case.stars.at(MJD))
    east = (ra - star_ra) * np.cos(np.radians(dec)) * 3600
    # The residuals live on the plane of the middle, whose north is not quite that of the corners.
    np.testing.assert_allclose(solution.pairs.north, (dec - star_dec) * 3600, atol=2e-3)
    np.testing.assert_allclose(solution.pairs.east, east, atol=2e-3)
    assert len(np.unique(solution.pairs.star)) == len(np.unique(solution.pairs.source)) == solution.n_matched


def test_errors_that_are_right_give_a_pull_of_one():
    case = make_case(7073, sky=Sky(n_stars=9000))
    solution = solved(case, AstrometryConfig(fit=FitConfig(floor_arcsec=0.0)))
    assert solution.residuals.pull == pytest.approx((1, 1), abs=0.05)


def test_proper_motions_matter():
    case = make_case(7074, sky=Sky(n_stars=2000, faintest=17.5))
    still = replace(case.stars, pmra=np.full(len(case.stars), np.nan), pmdec=np.full(len(case.stars), np.nan))
    moving, frozen = solved(case), solve(case.sources, still, case.view)
    assert max(moving.residuals.rms) < 0.02
    assert min(frozen.residuals.rms) > 0.08  # 12 mas per year for ten years


def test_flagged_sources_are_left_out():
    case = make_case(7075, sky=Sky(n_stars=600))
    flags = np.where(np.arange(len(case.sources)) % 3 == 0, 1 << 8, 1 << 1)
    flags[1] = -1
    solution = solve(replace(case.sources, flags=flags), case.stars, case.view)
    assert solution.n_sources == np.count_nonzero(flags == 1 << 1)
    assert (flags[solution.pairs.source] == 1 << 1).all()


def test_what_is_learnt_helps_the_next_exposure():
    """Models of three exposures, each with its own pointing and rotator error, agree and serve a fourth."""
    models = []
    for seed, (shift, turn) in enumerate([((40.0, 10.0), 0.1), ((-60.0, 5.0), -0.1), ((0.0, -30.0), 0.02)]):
        case = make_case(7080 + seed, pointing_error_arcsec=shift, rotation_error_deg=turn)
        solution, pointing = solved(case), case.view.pointing
        models.append(learn_model(solution.wcs, case.view.nominal, pointing.centre, pointing.rotation_deg))
    prior = mean_model(models)
    assert prior.n_exposures == 3
    x, y = np.meshgrid(np.linspace(1, 3072, 7), np.linspace(1, 3080, 7))
    for model in models:
        spread = np.subtract(model.camera_frame(x, y), prior.camera_frame(x, y))
        assert np.abs(spread).max() < 0.15  # what pointing errors change in the refraction stays
    few = make_case(7090, sky=Sky(n_stars=22, faintest=18.0), false_fraction=0.0, prior=prior)
    assert few.errors(solved(few).wcs).max() < 0.08


def test_the_cuts_make_the_verdict():
    case = make_case(7091, sky=Sky(n_stars=800))
    harsh = QualityCuts(
        min_matches=5000,
        rms_warn_arcsec=0.001,
        scale_tolerance=1e-6,
        rotation_tolerance_deg=1e-6,
        pointing_tolerance_arcsec=0.1,
        median_tolerance_arcsec=1e-9,
        cell_tolerance_arcsec=1e-6,
    )
    solution = solved(case, AstrometryConfig(cuts=harsh))
    assert solution.verdict == Verdict.FAIL
    text = "; ".join(solution.remarks)
    for words in (
        "stars matched, under 5000",
        "arcsec, over 0.001",
        "pixel scale off by",
        "rotation off by",
        "pointing off by",
        "median residual",
        "a cell's median residual is",
    ):
        assert words in text
    assert solved(case, AstrometryConfig(cuts=QualityCuts(rms_warn_arcsec=0.001))).verdict == Verdict.WARN


def test_cells_of_few_stars_do_not_judge():
    case = make_case(7092, sky=Sky(n_stars=30, faintest=18.0))
    residuals = solved(case).residuals
    assert residuals.cells.shape == (4, 4, 2)
    assert np.isnan(residuals.cells).any()
    assert residuals.worst_cell < 0.15


def test_ten_thousand_sources_take_a_tenth_of_a_second():
    case = make_case(7093, sky=Sky(n_stars=9000))
    solved(case)
    times = []
    for _ in range(3):
        began = time.process_time()
        solved(case)
        times.append(time.process_time() - began)
    assert min(times) < 0.2  # 0.06 on a quiet machine: the bound leaves room for a busy one
