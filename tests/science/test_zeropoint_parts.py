"""Calibrators, the robust fit, and the spatial term, each by itself."""

from __future__ import annotations

import time

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from hypothesis import given, settings
from hypothesis import strategies as st
from zeropoint_builders import SHAPE, make_tables

from zsds_tasks.products.masks import MaskBit
from zsds_tasks.science.photometry import spatial
from zsds_tasks.science.photometry.calibrators import CatalogStars, choose_calibrators
from zsds_tasks.science.photometry.comparison import compare, table
from zsds_tasks.science.photometry.robust_fit import Prior, fit_robustly, shortest_half
from zsds_tasks.science.photometry.zeropoint_config import CalibratorConfig, ZeroPointConfig

BAND = ZeroPointConfig().filters["r"]
CONFIG = CalibratorConfig()


def changed(table, **columns):
    return type(table)(**{**table.__dict__, **columns})


def altered(values, row, value):
    out = np.array(values)
    out[row] = value
    return out


def is_among(sources, stars, star=3, config=CONFIG):
    return star in choose_calibrators(sources, stars, BAND, config).star


@pytest.mark.parametrize(
    "centre", [(150.0, 20.0), (0.01, -30.0), (200.0, 88.5)], ids=["sky", "ra zero", "pole"]
)
def test_the_same_stars_are_found_as_by_astropy(centre):
    sources, stars, _ = make_tables(1, centre=centre)
    found = choose_calibrators(sources, stars, BAND, CONFIG)
    entry, away, _ = SkyCoord(sources.ra * u.deg, sources.dec * u.deg).match_to_catalog_sky(
        SkyCoord(stars.ra * u.deg, stars.dec * u.deg)
    )
    close = away.arcsec < CONFIG.match_radius_arcsec
    assert len(found) > 300
    assert found.n_matched == len(set(entry[close]))
    np.testing.assert_array_equal(entry[found.source], found.star)
    np.testing.assert_array_equal(found.source, found.star)  # planted so
    assert len(set(found.star)) == len(found)


def test_ten_thousand_sources_take_hundredths_of_a_second():
    sources, stars, _ = make_tables(2, 10_000, 20_000, 1200)
    choose_calibrators(sources, stars, BAND, CONFIG)
    times = []
    for _ in range(5):
        began = time.process_time()
        choose_calibrators(sources, stars, BAND, CONFIG)
        times.append(time.process_time() - began)
    assert min(times) < 0.1  # 0.022 on an idle core


def test_what_is_no_calibrator():
    sources, stars, _ = make_tables(3, n_stars=300)
    assert is_among(sources, stars)
    r, g = stars.mag["r"], stars.mag["g"]
    for sources_, stars_ in (
        (changed(sources, flags=altered(sources.flags, 3, MaskBit.SATURATED.flag)), stars),
        (changed(sources, flags=altered(sources.flags, 3, -1)), stars),
        (changed(sources, flux=altered(sources.flux, 3, -5.0)), stars),
        (changed(sources, flux_error=altered(sources.flux_error, 3, np.nan)), stars),
        (changed(sources, chi=altered(sources.chi, 3, 9.0)), stars),
        (changed(sources, ra=altered(sources.ra, 3, sources.ra[3] + 2 / 3600)), stars),
        (sources, changed(stars, star_score=altered(stars.star_score, 3, 0.1))),
        (sources, changed(stars, mag={**stars.mag, "g": altered(g, 3, np.nan)})),
        (sources, changed(stars, mag={**stars.mag, "g": altered(g, 3, r[3] + 2.5)})),
        (sources, changed(stars, mag={**stars.mag, "r": altered(r, 3, 13.9), "g": altered(g, 3, 14.5)})),
        (sources, changed(stars, mag_error={**stars.mag_error, "r": altered(stars.mag_error["r"], 3, 0.2)})),
    ):
        assert not is_among(sources_, stars_)
    assert is_among(changed(sources, flags=altered(sources.flags, 3, MaskBit.DETECTION.flag)), stars)
    assert is_among(changed(sources, chi=altered(sources.chi, 3, np.nan)), stars)


@pytest.mark.parametrize(
    ("fainter", "away", "single"), [(1.0, 3.0, False), (5.0, 3.0, True), (1.0, 7.0, True)]
)
def test_a_neighbour_in_the_catalogue_counts_by_its_light_and_distance(fainter, away, single):
    sources, stars, _ = make_tables(4, n_rows=300, n_stars=300, n_sources=300)
    assert is_among(sources, stars)
    r = stars.mag["r"]
    moved = changed(
        stars,
        ra=altered(stars.ra, 7, stars.ra[3]),
        dec=altered(stars.dec, 7, stars.dec[3] + away / 3600),
        mag={**stars.mag, "r": altered(r, 7, r[3] + fainter)},
    )
    assert is_among(sources, moved) == single


@pytest.mark.parametrize("missing", [np.nan, -999.0])
def test_a_neighbour_without_a_magnitude_gives_no_light(missing):
    sources, stars, _ = make_tables(4, n_rows=300, n_stars=300, n_sources=300)
    beside = changed(
        stars,
        ra=altered(stars.ra, 7, stars.ra[3]),
        dec=altered(stars.dec, 7, stars.dec[3] + 3 / 3600),
        mag={band: altered(values, 7, missing) for band, values in stars.mag.items()},
    )
    assert is_among(sources, beside)
    assert not is_among(sources, beside, star=7)


def test_two_sources_do_not_share_a_star():
    sources, stars, _ = make_tables(5)
    twice = changed(
        sources,
        ra=altered(sources.ra, 450, sources.ra[3]),
        dec=altered(sources.dec, 450, sources.dec[3] + 1 / 3600),
    )
    found = choose_calibrators(twice, stars, BAND, CONFIG)
    assert list(found.source[found.star == 3]) == [3]


def test_nothing_matches_nothing():
    sources, stars, _ = make_tables(6)
    for rows in (
        changed(stars, ra=stars.ra + 5.0),
        changed(stars, ra=(stars.ra + 180) % 360, dec=-stars.dec),
    ):
        assert len(choose_calibrators(sources, rows, BAND, CONFIG)) == 0
    spoilt = changed(sources, flags=np.full(len(sources), -1))
    found = choose_calibrators(spoilt, stars, BAND, CONFIG)
    assert (len(found), found.n_matched, found.n_sources) == (0, 0, len(sources))


def test_the_catalogues_error_is_that_of_magnitude_less_colour_term():
    sources, stars, _ = make_tables(7)
    errors = {"g": np.full(len(stars), 0.02), "r": np.full(len(stars), 0.01), "i": np.full(len(stars), 0.03)}
    found = choose_calibrators(sources, changed(stars, mag_error=errors), BAND, CONFIG)
    # r - c (g - r) = (1 + c) r - c g.
    assert found.mag_error == pytest.approx(np.hypot(1.11 * 0.01, 0.11 * 0.02))


def test_columns_of_the_published_catalogue_are_taken_by_name():
    names = ["ra", "dec", "sgscore", *(f"{b}mag{e}" for b in "griz" for e in ("", "_error"))]
    columns = {name: np.full(2, k, np.float32) for k, name in enumerate(names)}
    stars = CatalogStars.from_columns(columns)
    assert stars.mag["g"][0] == names.index("gmag")
    assert stars.mag_error["i"][0] == names.index("imag_error")
    assert stars.star_score[0] == names.index("sgscore")
    assert len(stars) == 2


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_without_outliers_the_robust_fit_is_least_squares(seed, k):
    random = np.random.default_rng(seed)
    n = 200
    design = np.column_stack([np.ones(n), random.normal(size=(n, k))])
    truth, sigma = random.normal(size=k + 1), random.uniform(0.05, 0.1, n)
    target = design @ truth + sigma * np.clip(random.normal(size=n), -2.5, 2.5)
    nothing = Prior(np.zeros(k + 1), np.full(k + 1, 1e-9), 0.0, 0.0)
    fit = fit_robustly(design, target, sigma, np.zeros(k + 1), nothing, 20.0)
    total = np.hypot(sigma, fit.scatter)[:, None]
    exact = np.linalg.lstsq(design / total, target / total[:, 0], rcond=None)[0]
    errors = np.sqrt(np.diag(fit.covariance))
    assert np.all(np.abs(fit.coefficients - exact) < 0.1 * errors)
    assert np.all(np.abs(fit.coefficients - truth) < 5 * errors)
    assert fit.keep.all()


def test_exact_data_are_fitted_exactly():
    x = np.linspace(-1, 1, 40)
    design = np.column_stack([np.ones(40), x])
    prior = Prior(np.zeros(2), np.full(2, 1e-9), 0.0, 0.0)
    fit = fit_robustly(design, 3.0 + 2.0 * x, np.full(40, 1e-3), np.zeros(2), prior, 2.0)
    assert fit.coefficients == pytest.approx([3.0, 2.0], abs=1e-9)
    assert fit.scatter == 0.0


def test_a_prior_alone_is_the_answer_where_the_points_say_nothing():
    design = np.column_stack([np.ones(20), np.zeros(20)])
    prior = Prior(np.array([0.0, 0.7]), np.array([1e-9, 4.0]), 0.0, 0.0)
    fit = fit_robustly(design, np.full(20, 5.0), np.full(20, 0.1), np.array([5.0, 0.7]), prior, 2.0)
    assert fit.coefficients == pytest.approx([5.0, 0.7])
    assert fit.covariance[1, 1] == pytest.approx(0.25)


def test_the_shortest_half_stays_with_the_crowd():
    random = np.random.default_rng(3)
    crowd, others = random.normal(10.0, 0.1, 650), random.uniform(10.5, 14.0, 350)
    middle, half = shortest_half(np.concatenate([crowd, others]))
    assert middle == pytest.approx(10.0, abs=0.05)
    assert 0.05 < half < 0.2
    assert shortest_half(np.array([4.0])) == (4.0, 0.0)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.sampled_from([(3080, 3072), (770, 768), (31, 57)]))
def test_the_spatial_term_has_zero_mean_and_the_rms_it_says(seed, order, shape):
    values = np.random.default_rng(seed).normal(size=len(spatial.term_degrees(order)))
    term = spatial.SpatialTerm(order, tuple(values.tolist()), shape)
    # Gauss's nodes: the mean over the image is exact.
    nodes, weights = np.polynomial.legendre.leggauss(8)
    x = (nodes * shape[1] + shape[1] + 1) / 2
    y = (nodes * shape[0] + shape[0] + 1) / 2
    at = term.at(*np.meshgrid(x, y))
    weight = np.multiply.outer(weights, weights) / 4
    assert abs(np.sum(weight * at)) < 1e-12 * max(1.0, np.abs(values).max())
    assert np.sqrt(np.sum(weight * at**2)) == pytest.approx(term.rms, rel=1e-9)
    px, py = np.meshgrid(x, y)
    columns = spatial.spatial_design(px.ravel(), py.ravel(), shape, order)
    np.testing.assert_allclose(columns @ values, at.ravel(), atol=1e-10)
    assert spatial.from_header(term.header(), shape) == term


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.integers(0, 5), st.sampled_from([(97, 131), (64, 200), (130, 31)]))
def test_a_flattened_image_has_one_zero_point(seed, order, shape):
    random = np.random.default_rng(seed)
    values = 0.05 * random.normal(size=len(spatial.term_degrees(order)))
    term = spatial.SpatialTerm(order, tuple(values.tolist()), shape)
    y, x = np.mgrid[1 : shape[0] + 1, 1 : shape[1] + 1]
    # What a source of magnitude 20 gives wherever it is, by the term's own definition.
    image = (1000 * 10 ** (0.4 * term.at(x, y))).astype(np.float32)
    image[3, 4] = np.nan
    term.flatten(image)
    known = np.isfinite(image)
    assert known.sum() == image.size - 1
    np.testing.assert_allclose(image[known], 1000.0, rtol=3e-6)
    np.testing.assert_allclose(term.flux_factor(x, y), 10 ** (-0.4 * term.at(x, y)), rtol=1e-12)


def test_no_spatial_term_is_zero():
    term = spatial.SpatialTerm.none(SHAPE)
    assert term.rms == 0.0
    assert not term.at(np.ones(4), np.ones(4)).any()
    assert spatial.spatial_design(np.ones(4), np.ones(4), SHAPE, 0).shape == (4, 0)
    assert term.header() == {"ZPORDER": 0, "ZPSPRMS": 0.0}


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(0, 300), st.integers(1, 6))
def test_cell_medians_are_those_of_a_loop(seed, n, cells):
    random = np.random.default_rng(seed)
    shape = (97, 131)
    x, y, values = random.uniform(0.5, 131.5, n), random.uniform(0.5, 97.5, n), random.normal(size=n)
    found = spatial.cell_medians(x, y, values, shape, cells, 3)
    for row in range(cells):
        for column in range(cells):
            inside = (np.ceil((x - 0.5) * cells / 131) == column + 1) & (
                np.ceil((y - 0.5) * cells / 97) == row + 1
            )
            expected = np.median(values[inside]) if inside.sum() >= 3 else np.nan
            np.testing.assert_equal(found[row, column], expected)
    middles = spatial.cell_middles(shape, cells)
    np.testing.assert_array_equal(
        spatial.cell_of(*(m.ravel() for m in middles), shape, cells), np.arange(cells * cells)
    )


def test_places_beside_the_image_count_in_its_outer_cells():
    cell = spatial.cell_of(np.array([-3.0, 200.0]), np.array([-3.0, 200.0]), (97, 131), 4)
    assert list(cell) == [0, 15]


def test_ours_beside_a_header():
    header = {
        "MAGZERO": 30.1,
        "L1ZP": 25.0,
        "MAGLIM": 20.4,
        "CLRCOEFF": "none",
        "ZPMED": True,
        "NMATCHES": 12,
    }
    ours = {"MAGZP": 30.125, "MAGLIM": 20.5, "CLRCOEFF": 0.1, "ZPMED": 30.2, "PCOLOR": "g-r"}
    rows = compare(ours, header)
    assert [(row.keyword, row.their_keyword) for row in rows] == [("MAGZP", "MAGZERO"), ("MAGLIM", "MAGLIM")]
    assert rows[0].difference == pytest.approx(0.025)
    text = table(rows).splitlines()
    assert text[2] == "| MAGZP | MAGZERO | 30.12 | 30.1 | +0.0250 |"
    assert table(()).count("\n") == 1
