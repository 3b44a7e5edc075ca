"""The zero point is that of the field, its error is right, and neither outliers nor clouds move it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zeropoint_builders import SHAPE, PlantedField, make_calibrators, make_tables

from zsds_tasks.errors import ConfigurationError, UnusableInputError
from zsds_tasks.science.photometry import spatial
from zsds_tasks.science.photometry.zeropoint import calibrate, fit_zero_point
from zsds_tasks.science.photometry.zeropoint_config import FilterCalibration, ZeroPointConfig
from zsds_tasks.science.photometry.zeropoint_solution import KEYWORDS

CONFIG = ZeroPointConfig()
BAND = CONFIG.filters["r"]
MIDDLE = 0.65  # colour of most calibrators
MMAG = 1e-3


def fitted(seed, field=None, band=BAND, config=CONFIG, **changes):
    field = field or PlantedField(**changes)
    return fit_zero_point(make_calibrators(seed, field), band, field.shape, config)


def errors(field, seeds):
    """Errors of the zero point at colour zero and at that of most stars, and the former over its claim."""
    zero, middle, pull = [], [], []
    for seed in seeds:
        found = fitted(seed, field)
        zero.append(found.magzp - field.zero_point)
        middle.append(zero[-1] + (found.clrcoeff - field.coefficient) * MIDDLE)
        pull.append(zero[-1] / found.magzpunc)
    return np.array(zero), np.array(middle), np.array(pull)


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


@pytest.mark.parametrize("first", [20_000, 30_000, 40_000])
@pytest.mark.parametrize(
    ("n", "at_zero", "at_middle"), [(30, 10 * MMAG, 6 * MMAG), (500, 2.6 * MMAG, 1.3 * MMAG)]
)
def test_accuracy_at_colour_zero_and_at_that_of_the_stars(n, at_zero, at_middle, first):
    field = PlantedField(n=n, sky_flux_error=25.0)
    zero, middle, _ = errors(field, range(first, first + 40))
    assert rms(zero) < at_zero
    assert rms(middle) < at_middle


@pytest.mark.parametrize(
    "changes",
    [
        {"n": 60},
        {"n": 90, "scatter": 0.02},
        {"n": 90, "outliers": 0.3},
        {"n": 120, "gradient": (0.1, -0.05), "bowl": 0.04},
        {"n": 90, "zero_point": 25.2},  # a magnitude of cloud
    ],
    ids=["few", "scatter", "outliers", "spatial", "cloud"],
)
def test_the_formal_error_is_right(changes):
    seeds = [first + k for first in (21_000, 31_000, 41_000) for k in range(70)]
    _, _, pull = errors(PlantedField(**changes), seeds)
    # Of 210 draws the width of a unit normal is off by 0.05.
    assert 0.8 < rms(pull) < 1.2
    assert np.mean(np.abs(pull) < 1) == pytest.approx(0.68, abs=0.12)


@pytest.mark.parametrize("seed", [51, 52, 53])
@pytest.mark.parametrize(
    "outlier_range", [(-1.0, 1.0), (-1.0, 0.0), (0.2, 0.9)], ids=["both", "blends", "dimmed"]
)
def test_a_third_of_outliers_hardly_matters(seed, outlier_range):
    field = PlantedField(n=500, outliers=0.3, outlier_range=outlier_range)
    found = fitted(seed, field)
    at_middle = found.magzp + found.clrcoeff * MIDDLE - field.zero_point - field.coefficient * MIDDLE
    assert abs(at_middle) < 6 * MMAG
    assert 90 < found.n_clipped < 190
    assert found.scatter == pytest.approx(field.scatter, abs=0.006)


@pytest.mark.parametrize("seed", [61, 62, 63])
@pytest.mark.parametrize("outliers", [0.0, 0.3])
def test_clouds_with_a_gradient(seed, outliers):
    field = PlantedField(n=400, zero_point=25.2, gradient=(0.5, -0.3), outliers=outliers)
    found = fitted(seed, field)
    x, y = spatial.cell_middles(SHAPE, 9)
    assert found.spatial.order == 1
    assert rms(found.spatial.at(x, y) - field.term(x, y)) < 8 * MMAG
    assert abs(found.magzp - field.zero_point) < 4 * found.magzpunc


@pytest.mark.parametrize("seed", [64, 65, 66])
def test_a_bowl_takes_the_second_order_and_flattens_the_cells(seed):
    field = PlantedField(n=900, bowl=0.08, sky_flux_error=25.0)
    found = fitted(seed, field)
    x, y = spatial.cell_middles(SHAPE, 9)
    assert found.spatial.order == 2
    assert rms(found.spatial.at(x, y) - field.term(x, y)) < 4 * MMAG
    assert np.nanstd(found.cells_before) > 3 * np.nanstd(found.cells_after)
    assert found.spatial.rms == pytest.approx(
        rms(field.term(*spatial.cell_middles(SHAPE, 200))), abs=2 * MMAG
    )


def test_a_flat_field_gets_no_spatial_term():
    orders = [fitted(seed, n=n).spatial.order for n in (25, 120, 600) for seed in range(70, 90)]
    assert np.count_nonzero(orders) <= 1


def test_a_term_too_small_to_matter_is_not_applied():
    small = fitted(5, n=4000, gradient=(0.012, 0.0), scatter=0.003, sky_flux_error=5.0)
    assert small.spatial.order == 0
    eager = CONFIG.model_copy(update={"spatial": spatial.SpatialConfig(min_rms_mag=0.001)})
    assert (
        fitted(
            5, config=eager, n=4000, gradient=(0.012, 0.0), scatter=0.003, sky_flux_error=5.0
        ).spatial.order
        == 1
    )


def test_stars_in_a_corner_do_not_say_what_the_rest_is_like():
    field = PlantedField(n=300, gradient=(0.03, 0.0))
    rows = make_calibrators(8, field)
    keep = (rows.x < SHAPE[1] / 5) & (rows.y < SHAPE[0] / 3)
    columns = ("source", "star", "x", "y", "flux", "flux_error", "mag", "colour", "mag_error")
    corner = type(rows)(**{n: getattr(rows, n)[keep] for n in columns}, n_sources=300, n_matched=300)
    found = fit_zero_point(corner, BAND, SHAPE, CONFIG)
    far = found.spatial.at(SHAPE[1], SHAPE[0])
    assert abs(float(far)) < 0.1


@pytest.mark.parametrize("n", [300, 1500])
def test_the_identity_of_medians(n):
    found = fitted(9, n=n)
    assert found.zpmed == pytest.approx(found.magzp + found.clrcoeff * found.clrmed, abs=4 * MMAG)
    assert found.zpavg == pytest.approx(found.magzp + found.clrcoeff * found.clravg, abs=4 * MMAG)
    assert found.zprmsall**2 == pytest.approx(
        found.magzprms**2 + (found.clrcoeff * found.clrrms) ** 2, rel=0.1
    )


def test_the_covariance_is_that_of_zero_point_and_coefficient():
    field = PlantedField(n=80)
    found = [fitted(seed, field) for seed in range(120)]
    scattered = np.cov([f.magzp for f in found], [f.clrcoeff for f in found])
    assert scattered[0, 1] == pytest.approx(np.mean([f.zpclrcov for f in found]), rel=0.25)
    assert scattered[1, 1] == pytest.approx(np.mean([f.clrcounc**2 for f in found]), rel=0.25)


def test_the_pull_tells_whether_the_fluxes_errors_are_right():
    rows = make_calibrators(12, PlantedField(n=1500, scatter=0.0, sky_flux_error=60.0))
    assert fit_zero_point(rows, BAND, SHAPE, CONFIG).pull == pytest.approx(1.0, abs=0.08)
    halved = type(rows)(
        **{**rows.__dict__, "flux_error": rows.flux_error / 2, "mag_error": rows.mag_error / 2}
    )
    assert fit_zero_point(halved, BAND, SHAPE, CONFIG).pull > 1.5


def test_faint_stars_do_not_pull_the_zero_point():
    # Of stars at ten sigma each mean magnitude is 5 mmag too faint, and those measured bright weigh more.
    field = PlantedField(n=4000, zero_point=25.0, sky_flux_error=25.0, scatter=0.01)
    _, middle, _ = errors(field, range(95, 103))
    assert abs(np.mean(middle)) < 0.7 * MMAG


@pytest.mark.parametrize("n", [3, 7, 11])
def test_few_calibrators_keep_the_colour_term_that_is_expected(n):
    found = fitted(13, n=n)
    assert found.colour_held
    assert found.clrcoeff == pytest.approx(BAND.coefficient, abs=1e-4)
    assert found.clrcounc == pytest.approx(BAND.coefficient_error, rel=1e-3)
    assert found.remarks[0].startswith(
        f"colour coefficient held at 0.11: {found.nmatches + found.n_clipped} calib"
    )
    assert abs(found.magzp - 26.2) < 4 * found.magzpunc
    assert found.spatial.order == 0


def test_the_error_of_a_held_colour_term_is_in_that_of_the_zero_point():
    random = np.random.default_rng(14)
    pulls = []
    for seed in range(120):
        field = PlantedField(n=8, coefficient=random.normal(BAND.coefficient, BAND.coefficient_error))
        found = fitted(seed + 700, field)
        pulls.append((found.magzp - field.zero_point) / found.magzpunc)
    assert 0.8 < rms(pulls) < 1.2


def test_stars_of_one_colour_keep_it_too():
    found = fitted(15, n=200, colour_spread=0.02)
    assert found.colour_held
    assert "colours spread by 0.0" in found.remarks[0]


@pytest.mark.parametrize(("count", "words"), [(0, "0 calibrators"), (2, "2 calibrators")])
def test_too_few_calibrators_give_none_and_say_so(count, words):
    with pytest.raises(UnusableInputError, match=words) as caught:
        fit_zero_point(make_calibrators(16, PlantedField(n=count)), BAND, SHAPE, CONFIG, subject="q1.fits")
    assert caught.value.facts["cause"] == "too_few_calibrators"
    assert caught.value.subject == "q1.fits"


def test_stars_too_faint_in_the_image_are_no_calibrators():
    with pytest.raises(UnusableInputError, match=r"0 calibrators agree, .*; \d\d were chosen"):
        fitted(17, n=50, zero_point=16.0, sky_flux_error=400.0, gain=1e3)


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.floats(-3, 3), st.floats(0.2, 5.0))
def test_scaling_all_fluxes_shifts_the_zero_point_alone(seed, shift, stretch):
    rows = make_calibrators(seed, PlantedField(n=120))
    found = fit_zero_point(rows, BAND, SHAPE, CONFIG)
    factor = 10 ** (0.4 * shift)
    scaled = type(rows)(
        **{**rows.__dict__, "flux": rows.flux * factor, "flux_error": rows.flux_error * factor,
           "x": rows.x * stretch, "y": rows.y * stretch}
    )  # fmt: skip
    shape = (SHAPE[0] * stretch, SHAPE[1] * stretch)
    again = fit_zero_point(scaled, BAND, shape, CONFIG)
    assert again.magzp == pytest.approx(found.magzp + shift, abs=1e-5)
    assert again.clrcoeff == pytest.approx(found.clrcoeff, abs=1e-5)
    assert again.nmatches == found.nmatches


@pytest.mark.parametrize("name", ["g", "r", "i"])
def test_from_tables_to_calibrated_magnitudes(name):
    sources, stars, field = make_tables(
        18, n_stars=500, coefficient=CONFIG.filters["r"].coefficient, bowl=0.05, sky_flux_error=25.0
    )
    band = FilterCalibration(band="r", colour=("g", "r"), coefficient=0.1)
    config = ZeroPointConfig(filters={name: band})
    found = calibrate(sources, stars, name, SHAPE, config)
    assert 400 < found.nmatches <= 500
    assert abs(found.magzp - field.zero_point) < 4 * found.magzpunc
    magnitude = found.magnitudes(sources.flux, sources.x, sources.y)
    colour = stars.mag["g"] - stars.mag["r"]
    difference = (stars.mag["r"][found.star] - magnitude[found.source]) - found.clrcoeff * colour[found.star]
    # The logarithm's own bias is not in a magnitude, so the residuals agree to its size.
    np.testing.assert_allclose(difference, found.residual, atol=7 * MMAG)
    assert found.zp30(60.0) == pytest.approx(found.magzp - 0.7526, abs=1e-4)
    assert np.isnan(found.magnitudes(np.array([-1.0, 0.0]), np.ones(2), np.ones(2))).all()


def test_an_empty_table_and_an_unknown_filter_are_said():
    sources, stars, _ = make_tables(19)
    none = type(stars)(**{**stars.__dict__, "ra": stars.ra[:0], "dec": stars.dec[:0]})
    with pytest.raises(UnusableInputError, match="no row of the photometric catalogue") as caught:
        calibrate(sources, none, "r", SHAPE)
    assert caught.value.facts["cause"] == "catalog_empty"
    empty = type(sources)(**{name: values[:0] for name, values in sources.__dict__.items()})
    with pytest.raises(UnusableInputError, match="no sources") as caught:
        calibrate(empty, stars, "r", SHAPE)
    assert caught.value.facts["cause"] == "no_sources"
    with pytest.raises(ConfigurationError, match="filter z is not among g, r, i"):
        calibrate(sources, stars, "z", SHAPE)


def test_the_header_says_it_all_and_gives_the_spatial_term_back():
    found = fitted(20, n=900, bowl=0.08, gradient=(0.05, 0.02))
    header = found.header()
    assert set(KEYWORDS) < set(header)
    assert all(len(word) <= 8 for word in header)
    assert header["PCOLOR"] == "g-r"
    assert (header["MAGZP"], header["NMATCHES"]) == (found.magzp, found.nmatches)
    assert header["ZPORDER"] == 2
    assert spatial.from_header(header, SHAPE) == found.spatial
    del header["ZPL11"]
    with pytest.raises(UnusableInputError, match=r"q\.fits: no ZPL11 in the header"):
        spatial.from_header(header, SHAPE, subject="q.fits")
    with pytest.raises(UnusableInputError, match="ZPORDER is None"):
        spatial.from_header({}, SHAPE)
